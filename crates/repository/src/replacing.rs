//! Whether a published package may be replaced.

use std::str::FromStr;

/// Whether the bytes of a published package may be replaced under its name: a parameter of the
/// template.
///
/// A package is published once it has a fragment. The fragment remembers its checksum as long as
/// an object of that name exists.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Replacing {
    /// The index follows what was uploaded last.
    Allowed,
    /// Another package under the name of a published one is rejected.
    Refused,
}

impl Replacing {
    /// The accepted texts, for messages.
    pub const VALUES: &'static str = "allowed or refused";
}

/// A text is none of the accepted ones.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is not {values}", values = Replacing::VALUES)]
pub struct UnknownReplacing(String);

impl FromStr for Replacing {
    type Err = UnknownReplacing;

    fn from_str(text: &str) -> Result<Self, UnknownReplacing> {
        match text {
            "allowed" => Ok(Self::Allowed),
            "refused" => Ok(Self::Refused),
            _ => Err(UnknownReplacing(text.to_owned())),
        }
    }
}

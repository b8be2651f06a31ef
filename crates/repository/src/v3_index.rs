//! Where indexes of format v3 are published.

use std::str::FromStr;

/// Which repository prefixes have an index of format v3: a parameter of the template.
///
/// Once published, it is kept up to date whatever the setting, since clients ask for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum V3Index {
    /// Those that have a v3 package.
    Auto,
    /// All that have a package, or an `APKINDEX.tar.gz`.
    Always,
}

impl V3Index {
    /// The accepted texts, for messages.
    pub const VALUES: &'static str = "auto or always";

    /// Returns whether a repository prefix gets an index of format v3 that has so many packages of
    /// both formats, of which so many are v3 packages. `has_index` says whether it has an
    /// `APKINDEX.tar.gz`, which may list nothing.
    pub(crate) fn is_wanted(self, packages: usize, v3_packages: usize, has_index: bool) -> bool {
        match self {
            Self::Auto => v3_packages > 0,
            Self::Always => packages > 0 || has_index,
        }
    }
}

/// A text is none of the accepted ones.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is not {values}", values = V3Index::VALUES)]
pub struct UnknownV3Index(String);

impl FromStr for V3Index {
    type Err = UnknownV3Index;

    fn from_str(text: &str) -> Result<Self, UnknownV3Index> {
        match text {
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            _ => Err(UnknownV3Index(text.to_owned())),
        }
    }
}

//! Browsers, as Debian packages them.

use std::process::Command;

use crate::{Error, command};

/// A browser that the page is checked in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Browser {
    /// Chromium.
    Chromium,
    /// Firefox, of the release with extended support.
    Firefox,
}

impl Browser {
    /// Returns the name that scripts know it by.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Chromium => "chromium",
            Self::Firefox => "firefox",
        }
    }

    /// Returns where its program is.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if it is not installed.
    pub fn program(self) -> Result<String, Error> {
        let (what, install) = match self {
            Self::Chromium => ("chromium", "sudo apt-get install chromium"),
            Self::Firefox => ("firefox-esr", "sudo apt-get install firefox-esr"),
        };
        let mut which = Command::new("sh");
        let found = command::output(which.args(["-c", "command -v \"$0\"", what]));
        let found = found.map_err(|_| Error::Missing { what, install })?;
        Ok(String::from_utf8_lossy(&found).trim().to_owned())
    }
}

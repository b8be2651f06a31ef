//! Readers of a repository that CloudFront serves: names, tokens, and what they open.
//!
//! `edge/reader.js` reads what is stored here, and has the same rules.

use std::{fmt, str::FromStr};

use base64ct::{Base64UrlUnpadded, Encoding as _};
use rand_core::{OsRng, RngCore as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::repository::RepositoryName;

/// The largest value that CloudFront stores, in bytes.
const MAX_STORED: usize = 1024;

/// The name of a reader: the user name beside the token.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub(crate) struct ReaderName(String);

/// A directory that a reader may read with all below it, or everything.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub(crate) struct OpenPrefix(String);

/// A secret that opens repositories: 32 random bytes. Only its digest is stored.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Token(String);

/// What is stored of a reader.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Reader {
    /// The SHA-256 of the token, in hexadecimal digits.
    sha256: String,
    /// What the token opens.
    #[serde(rename = "in")]
    pub(crate) prefixes: Vec<OpenPrefix>,
    /// When it expires, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<i64>,
}

impl ReaderName {
    /// Returns it as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ReaderName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_safe = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins && text.len() <= 64 && text.bytes().all(is_safe) {
            return Ok(Self(text.to_owned()));
        }
        Err("it is not 1 to 64 ASCII letters, digits, `.`, `_` and `-`, beginning with a letter \
             or digit"
            .to_owned())
    }
}

impl fmt::Display for ReaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl OpenPrefix {
    /// Returns a line for /etc/apk/repositories behind a base URL. What is missing to a repository
    /// is named.
    pub(crate) fn line(&self, base: &str) -> String {
        match self.0.parse::<RepositoryName>() {
            Ok(name) if self.0.contains('/') => format!("{base}/{}", name.without_architecture()),
            Ok(name) => format!("{base}/{name}/REPOSITORY"),
            Err(_) => format!("{base}/BRANCH/REPOSITORY"),
        }
    }
}

impl FromStr for OpenPrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "/" {
            return Ok(Self(String::new()));
        }
        text.parse::<RepositoryName>().map(|name| Self(name.to_string()))
    }
}

impl fmt::Display for OpenPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "/" } else { &self.0 })
    }
}

impl Token {
    /// Returns a new token. Its beginning lets scanners find it where it does not belong.
    pub(crate) fn new() -> Self {
        let mut bytes = [0; 32];
        OsRng.fill_bytes(&mut bytes);
        Self(format!("alp_{}", Base64UrlUnpadded::encode_string(&bytes)))
    }

    /// Returns it as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Reader {
    /// Returns what is stored of a reader with this token.
    pub(crate) fn new(token: &Token, prefixes: Vec<OpenPrefix>, until: Option<i64>) -> Self {
        Self { sha256: hex::encode(Sha256::digest(token.as_str())), prefixes, until }
    }

    /// Returns the text that is stored, unless it is longer than CloudFront allows.
    pub(crate) fn to_stored(&self) -> Option<String> {
        let text = serde_json::to_string(self).ok()?;
        (text.len() <= MAX_STORED).then_some(text)
    }
}

#[cfg(test)]
impl Token {
    /// Returns a token of this text.
    pub(crate) fn of(text: &str) -> Self {
        Self(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_the_shape_that_the_edge_knows() {
        let (token, other) = (Token::new(), Token::new());
        let text = token.as_str();
        assert_eq!((text.len(), &text[..4]), (47, "alp_"));
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)), "{text}");
        assert_ne!(text, other.as_str());
    }

    #[test]
    fn the_token_is_not_stored() {
        let token = Token::of("abc");
        let reader = Reader::new(&token, vec!["3.22/main".parse().unwrap()], Some(5));
        // FIPS 180-2, appendix B.1.
        let stored = r#"{"sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","in":["3.22/main"],"until":5}"#;
        assert_eq!(reader.to_stored().as_deref(), Some(stored));
        assert_eq!(serde_json::from_str::<Reader>(stored).unwrap(), reader);
        let many = vec!["a/long/way/to/a/repository".parse().unwrap(); 40];
        assert_eq!(Reader::new(&token, many, None).to_stored(), None);
    }

    #[test]
    fn a_name_is_safe_in_urls_and_headers() {
        for name in ["ci", "A.b_c-1", &"a".repeat(64)] {
            assert!(name.parse::<ReaderName>().is_ok(), "{name}");
        }
        for name in ["", ".a", "_a", "a:b", "a b", "a/b", "ä", "a\n", &"a".repeat(65)] {
            assert!(name.parse::<ReaderName>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_prefix_is_of_whole_directories() {
        let line = |text: &str| text.parse::<OpenPrefix>().unwrap().line("https://x");
        assert_eq!(line("3.22/main"), "https://x/3.22/main");
        assert_eq!(line("3.22/main/"), "https://x/3.22/main");
        assert_eq!(line("3.22/main/x86_64"), "https://x/3.22/main");
        assert_eq!(line("3.22"), "https://x/3.22/REPOSITORY");
        assert_eq!(line("/"), "https://x/BRANCH/REPOSITORY");
        for wrong in ["", "//", "/3.22", "../main", "3.22/*", ".alpinist/claims", "a b"] {
            assert!(wrong.parse::<OpenPrefix>().is_err(), "{wrong:?}");
        }
    }
}

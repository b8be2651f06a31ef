//! The hashes that tie an index entry to a package's bytes.

use std::{fmt, str::FromStr};

use base64ct::{Base64, Encoding as _};

use crate::value::InvalidValue;

/// SHA-1 of a control section's gzip stream: the `C:` field, `Q1` and 28 characters of base64.
///
/// It identifies the package to apk: a client compares it with what it downloads.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PullChecksum([u8; 20]);

impl PullChecksum {
    /// Wraps a SHA-1 digest.
    pub fn new(digest: [u8; 20]) -> Self {
        Self(digest)
    }
}

impl FromStr for PullChecksum {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let mut digest = [0; 20];
        text.strip_prefix("Q1")
            .and_then(|base64| Base64::decode(base64, &mut digest).ok())
            .filter(|decoded| decoded.len() == 20)
            .ok_or_else(|| {
                InvalidValue::new("checksum", text, "is not `Q1` and the base64 of 20 bytes")
            })?;
        Ok(Self(digest))
    }
}

impl fmt::Display for PullChecksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Q1{}", Base64::encode_string(&self.0))
    }
}

/// SHA-256 of the ADB payload of a v3 package, as inflated: what identifies it to apk, as `hashes`
/// in a v3 index. The payload has a hash of each file.
///
/// As text it is `Q2` and 44 characters of base64, as apk 3 prints and reads it in a v2 index
/// (measured). Alpinist never publishes that: apk 2 can't read it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PayloadHash([u8; 32]);

impl PayloadHash {
    /// Wraps a SHA-256 digest.
    pub fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// Returns the digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for PayloadHash {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let mut digest = [0; 32];
        text.strip_prefix("Q2")
            .and_then(|base64| Base64::decode(base64, &mut digest).ok())
            .filter(|decoded| decoded.len() == 32)
            .ok_or_else(|| {
                InvalidValue::new("hash", text, "is not `Q2` and the base64 of 32 bytes")
            })?;
        Ok(Self(digest))
    }
}

impl fmt::Display for PayloadHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Q2{}", Base64::encode_string(&self.0))
    }
}

/// What identifies a package to apk, by its format.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Identity {
    /// A package of format v2.
    Control(PullChecksum),
    /// A package of format v3.
    Payload(PayloadHash),
}

impl Identity {
    /// Returns the bytes that a v3 index has in `hashes`: 20 or 32.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Control(checksum) => &checksum.0,
            Self::Payload(hash) => &hash.0,
        }
    }
}

impl From<PullChecksum> for Identity {
    fn from(checksum: PullChecksum) -> Self {
        Self::Control(checksum)
    }
}

impl From<PayloadHash> for Identity {
    fn from(hash: PayloadHash) -> Self {
        Self::Payload(hash)
    }
}

/// Parses either of the two texts.
impl FromStr for Identity {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if text.starts_with("Q2") {
            text.parse().map(Self::Payload)
        } else {
            text.parse().map(Self::Control)
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control(checksum) => checksum.fmt(f),
            Self::Payload(hash) => hash.fmt(f),
        }
    }
}

/// SHA-256 of a data section's gzip stream: `datahash` in `.PKGINFO`, 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct DataHash([u8; 32]);

impl DataHash {
    /// Wraps a SHA-256 digest.
    pub fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl FromStr for DataHash {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest)
            .map_err(|_| InvalidValue::new("data hash", text, "is not 64 hexadecimal digits"))?;
        Ok(Self(digest))
    }
}

impl fmt::Display for DataHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(sha1: [u8; 20], sha256: [u8; 32]) {
            let checksum = PullChecksum::new(sha1);
            prop_assert_eq!(checksum.to_string().parse::<PullChecksum>(), Ok(checksum));
            let payload = PayloadHash::new(sha256);
            prop_assert_eq!(payload.to_string().parse::<PayloadHash>(), Ok(payload));
            for identity in [Identity::from(checksum), payload.into()] {
                prop_assert_eq!(identity.to_string().parse::<Identity>(), Ok(identity));
            }
            let hash = DataHash::new(sha256);
            prop_assert_eq!(hash.to_string().parse::<DataHash>(), Ok(hash));
            prop_assert_eq!(hash.to_string().to_uppercase().parse::<DataHash>(), Ok(hash));
        }
    }

    #[test]
    fn a_digest_of_another_length_is_rejected() {
        assert!("Q1AAAA".parse::<PullChecksum>().is_err());
        assert!("Q2AAAA".parse::<PayloadHash>().is_err());
        assert!("Q2DNWZeWkviN7MJedLpYM8yBvmnGM=".parse::<Identity>().is_err());
        assert!("X10000000000000000000000000000000000000000".parse::<PullChecksum>().is_err());
        assert!("00ff".parse::<DataHash>().is_err());
    }
}

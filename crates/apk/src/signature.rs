//! Signatures: what `.SIGN.*` entries hold, and how they are named.

use std::fmt;

use serde::Serialize;
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha512};

use crate::{
    checksum::PullChecksum,
    key::{KeyName, VerifyingKey},
    value::{InvalidValue, checked_string},
};

/// A hash function for a signature, as an entry's name gives it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Algorithm {
    /// `RSA256`: SHA-256; apk-tools 2.7 (2017) and later.
    RsaSha256,
    /// `RSA512`: SHA-512; as `RSA256`.
    RsaSha512,
    /// `RSA`: SHA-1; every apk-tools.
    RsaSha1,
    /// `DSA`: SHA-1. Nobody uses it, and apk 3 looks at nothing but the hash in this name, so that a
    /// signature by an RSA key is valid under it, too (measured).
    DsaSha1,
}

impl Algorithm {
    /// What an index is signed with, in this order: the first entry whose key a client trusts is
    /// the only one that it tries (measured), so the stronger one comes first.
    pub const PUBLISHED: [Self; 2] = [Self::RsaSha256, Self::RsaSha1];

    /// Returns the algorithm's name in `.SIGN.<name>.<key name>`.
    pub fn name(self) -> &'static str {
        match self {
            Self::RsaSha256 => "RSA256",
            Self::RsaSha512 => "RSA512",
            Self::RsaSha1 => "RSA",
            Self::DsaSha1 => "DSA",
        }
    }

    pub(crate) fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::RsaSha256 => Sha256::digest(message).to_vec(),
            Self::RsaSha512 => Sha512::digest(message).to_vec(),
            Self::RsaSha1 | Self::DsaSha1 => Sha1::digest(message).to_vec(),
        }
    }

    pub(crate) fn digest_length(self) -> usize {
        match self {
            Self::RsaSha256 => 32,
            Self::RsaSha512 => 64,
            Self::RsaSha1 | Self::DsaSha1 => 20,
        }
    }

    /// The DER bytes that stand before the digest (RFC 8017, 9.2, note 1). The `rsa` crate derives
    /// them from hashes of an older `digest` than ours.
    pub(crate) fn digest_info(self) -> &'static [u8] {
        match self {
            Self::RsaSha256 => {
                b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"
            }
            Self::RsaSha512 => {
                b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40"
            }
            Self::RsaSha1 | Self::DsaSha1 => {
                b"\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14"
            }
        }
    }
}

/// The bytes of a signature, as long as the modulus of its key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Signature(pub(crate) Vec<u8>);

impl Signature {
    /// The most bytes of a signature; apk 3 passes over longer ones.
    pub(crate) const MAX_LENGTH: usize = 65536;
}

impl Signature {
    /// Returns the bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl From<Vec<u8>> for Signature {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

/// A signature of a package: of its control section, whose `datahash` stands for the rest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PackageSignature {
    /// Its kind, and who claims to have signed.
    pub name: SignatureName,
    signature: Signature,
    digest: Vec<u8>,
}

impl PackageSignature {
    /// Returns whether it was made by `key`.
    pub fn is_by(&self, key: &VerifyingKey) -> bool {
        key.verifies_digest(self.name.algorithm, &self.digest, &self.signature)
    }
}

/// Hashes what may be a control section: always with SHA-1, which is its checksum, and with whatever the
/// signatures before it need.
#[derive(Default)]
pub(crate) struct ControlDigest {
    sha1: Sha1,
    sha256: Option<Sha256>,
    sha512: Option<Sha512>,
}

impl ControlDigest {
    pub(crate) fn of_signatures(signatures: &[(SignatureName, Signature)]) -> Self {
        let needs = |algorithm| signatures.iter().any(|(name, _)| name.algorithm == algorithm);
        Self {
            sha1: Sha1::new(),
            sha256: needs(Algorithm::RsaSha256).then(Sha256::new),
            sha512: needs(Algorithm::RsaSha512).then(Sha512::new),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.sha1.update(bytes);
        self.sha256.iter_mut().for_each(|sha256| sha256.update(bytes));
        self.sha512.iter_mut().for_each(|sha512| sha512.update(bytes));
    }

    /// Returns the checksum of the control section, and its signatures with what they sign.
    pub(crate) fn finish(
        self,
        signatures: Vec<(SignatureName, Signature)>,
    ) -> (PullChecksum, Vec<PackageSignature>) {
        let sha1: [u8; 20] = self.sha1.finalize().into();
        let sha256 = self.sha256.map(|sha256| sha256.finalize().to_vec()).unwrap_or_default();
        let sha512 = self.sha512.map(|sha512| sha512.finalize().to_vec()).unwrap_or_default();
        let signatures = signatures.into_iter().map(|(name, signature)| {
            let digest = match name.algorithm {
                Algorithm::RsaSha256 => sha256.clone(),
                Algorithm::RsaSha512 => sha512.clone(),
                Algorithm::RsaSha1 | Algorithm::DsaSha1 => sha1.to_vec(),
            };
            PackageSignature { name, signature, digest }
        });
        (PullChecksum::new(sha1), signatures.collect())
    }
}

/// The name of a key by which something is said to be signed: that of any file in `/etc/apk/keys` in which apk
/// looks for a key, such as `mykey.pem`.
///
/// A [`KeyName`] is one, and is how we name our own. At most 255 bytes of UTF-8 without a `/` and without control
/// characters, not beginning with `.` (apk skips hidden files, measured).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct SignerName(String);

impl SignerName {
    /// Returns the name as one that our own keys, and trusted ones, may have.
    pub fn to_key_name(&self) -> Option<KeyName> {
        self.0.parse().ok()
    }
}

impl TryFrom<String> for SignerName {
    type Error = InvalidValue;

    fn try_from(value: String) -> Result<Self, InvalidValue> {
        let rule = if value.is_empty() {
            "is empty"
        } else if value.len() > 255 {
            "is longer than 255 bytes"
        } else if value.starts_with('.') {
            "starts with `.`"
        } else if value.contains('/') {
            "has a `/`"
        } else if value.contains(char::is_control) {
            "has a control character"
        } else {
            return Ok(Self(value));
        };
        Err(InvalidValue::new("name of a key", &value, rule))
    }
}

checked_string!(SignerName);

impl From<KeyName> for SignerName {
    fn from(name: KeyName) -> Self {
        Self(name.into())
    }
}

impl PartialEq<KeyName> for SignerName {
    fn eq(&self, name: &KeyName) -> bool {
        self.0 == name.as_str()
    }
}

/// The name of a signature's entry: `.SIGN.<algorithm>.<key name>`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignatureName {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Who signed.
    pub key_name: SignerName,
}

impl SignatureName {
    /// Parses the name of an entry. `None` if it is no signature of a kind that we know; apk passes
    /// over these, too.
    pub fn parse(path: &[u8]) -> Option<Self> {
        let name = str::from_utf8(path).ok()?.strip_prefix(".SIGN.")?;
        let (algorithm, key_name) = name.split_once('.')?;
        let algorithm = match algorithm {
            "RSA256" => Algorithm::RsaSha256,
            "RSA512" => Algorithm::RsaSha512,
            "RSA" => Algorithm::RsaSha1,
            "DSA" => Algorithm::DsaSha1,
            _ => return None,
        };
        Some(Self { algorithm, key_name: key_name.parse().ok()? })
    }
}

impl fmt::Display for SignatureName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ".SIGN.{}.{}", self.algorithm.name(), self.key_name)
    }
}

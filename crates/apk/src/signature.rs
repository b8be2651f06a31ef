//! Signatures: what `.SIGN.*` entries hold, and how they are named.

use std::fmt;

use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha512};

use crate::key_name::SignerName;

/// The algorithm of a signature, as its entry's name gives it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Algorithm {
    /// `RSA256`: SHA-256; apk-tools 2.7 (2017) and later.
    RsaSha256,
    /// `RSA512`: SHA-512; apk-tools 2.7 (2017) and later.
    RsaSha512,
    /// `RSA`: SHA-1; every version of apk-tools.
    RsaSha1,
    /// `DSA`: SHA-1. Nobody uses it. apk 3 takes nothing but the hash from this name, so it also
    /// accepts a signature by an RSA key under it (measured).
    DsaSha1,
}

impl Algorithm {
    /// The algorithms with which an index is signed, in this order: a client tries only the first
    /// entry whose key it trusts (measured), so the stronger one comes first.
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

    /// The DER bytes before the digest (RFC 8017, 9.2, note 1). The `rsa` crate could derive them
    /// only from hashes of an older `digest` crate than ours.
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
    /// The maximum length of a signature in bytes; apk 3 skips longer ones.
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

/// The name of a signature's entry: `.SIGN.<algorithm>.<key name>`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignatureName {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// The name of the key that the signature claims to be by.
    pub key_name: SignerName,
}

impl SignatureName {
    /// Parses the name of an entry. Returns `None` if it is not that of a signature by a known
    /// algorithm, which apk also skips.
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

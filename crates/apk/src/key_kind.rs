//! What keys are made of, and what that kind can sign.

use std::fmt;

/// What a key is made of.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum KeyKind {
    /// RSA. Signs v2 and v3.
    Rsa {
        /// Bits of its modulus.
        bits: usize,
    },
    /// EC on the curve P-256, also called secp256r1 and prime256v1. Signs only v3.
    P256,
    /// EC on the curve P-384, also called secp384r1. Signs only v3.
    P384,
}

impl KeyKind {
    /// Returns whether such a key signs v2 indexes and v2 packages. All kinds sign v3.
    ///
    /// apk 3.0.8 verifies an EC signature in `APKINDEX.tar.gz` (measured), but RSA alone is what
    /// apk-v2(5) has, and what older versions verify.
    pub fn signs_v2(self) -> bool {
        matches!(self, Self::Rsa { .. })
    }

    /// Returns the length of the SHA-512 digest that a key service must be given to sign with such
    /// a key (see [`crate::adb::signature`]).
    pub(crate) fn remote_digest_length(self) -> usize {
        match self {
            Self::Rsa { .. } => 64,
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa { bits } => write!(f, "RSA, {bits} bits"),
            Self::P256 => f.write_str("EC, P-256"),
            Self::P384 => f.write_str("EC, P-384"),
        }
    }
}

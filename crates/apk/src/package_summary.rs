//! What is known of a package that was read.

use crate::{
    adb::{
        container::Schema,
        signature::{AdbSignature, PayloadDigest},
    },
    checksum::Identity,
    key::VerifyingKey,
    metadata::Metadata,
    package_signature::PackageSignature,
};

/// What an index needs to know about a package.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Package {
    /// What it says of itself.
    pub metadata: Metadata,
    /// What identifies it, by its format: the checksum of its control section, or the hash of its
    /// ADB payload.
    pub identity: Identity,
    /// The size of the file in bytes.
    pub size: u64,
    /// Whether it installs a file or runs a script.
    pub has_content: bool,
    /// Its signatures.
    pub signatures: Signatures,
}

/// The signatures of a package, with what is needed to verify them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Signatures {
    /// Those of a v2 package by known algorithms, in the order in which a client searches them.
    Control(Vec<PackageSignature>),
    /// Those of a v3 package.
    Payload(Box<PayloadSignatures>),
}

impl Signatures {
    /// Returns those of a v2 package; none for a v3 package.
    pub fn control(&self) -> &[PackageSignature] {
        match self {
            Self::Control(signatures) => signatures,
            Self::Payload(_) => &[],
        }
    }
}

/// The signatures of a v3 package.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PayloadSignatures {
    digest: PayloadDigest,
    signatures: Vec<AdbSignature>,
}

impl PayloadSignatures {
    pub(crate) fn new(digest: PayloadDigest, signatures: Vec<AdbSignature>) -> Self {
        Self { digest, signatures }
    }

    /// Returns the signatures, in order. Each names its key by an ID.
    pub fn iter(&self) -> impl Iterator<Item = &AdbSignature> {
        self.signatures.iter()
    }

    /// Returns whether one of the signatures, of this package, was made by `key`.
    pub fn is_by(&self, signature: &AdbSignature, key: &VerifyingKey) -> bool {
        signature.is_by(key, Schema::Package, &self.digest)
    }
}

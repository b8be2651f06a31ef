//! Signatures of packages, and what they sign: the control section.

use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha512};

use crate::{
    checksum::PullChecksum,
    key::VerifyingKey,
    signature::{Algorithm, Signature, SignatureName},
};

/// A signature of a package. It signs the control section, whose `datahash` covers the data
/// section.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PackageSignature {
    /// Its algorithm, and the name of the key that it claims to be by.
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

/// Hashes what may be the control section: always with SHA-1, for the checksum, and with the
/// algorithms of the signatures before it.
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

    /// Returns the checksum of the control section, and its signatures, each with the digest that
    /// it signs.
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

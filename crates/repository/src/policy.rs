//! What the operator requires of packages beyond what clients do.

use alpinist_apk::package;

use crate::trust::PackageSignatures;

/// What is required of packages: parameters of the template.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Policy {
    /// What is required of their signatures.
    pub signatures: PackageSignatures,
    /// The maximum size of a package in bytes. A larger one is rejected unread.
    pub max_size: u64,
}

impl Default for Policy {
    /// The defaults of the template: signatures are verified, and any package up to
    /// [`package::MAX_SIZE`] is accepted.
    fn default() -> Self {
        Self { signatures: PackageSignatures::Verify, max_size: package::MAX_SIZE }
    }
}

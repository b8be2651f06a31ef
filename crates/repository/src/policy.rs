//! What the operator asks of packages beyond what clients do.

use alpinist_apk::package;

use crate::trust::PackageSignatures;

/// What is asked of packages: parameters of the template.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Policy {
    /// What is asked of their signatures.
    pub signatures: PackageSignatures,
    /// The most bytes of a package. A larger one is rejected unread.
    pub max_size: u64,
}

impl Default for Policy {
    /// The defaults of the template: signatures are verified, and packages may be as large as any.
    fn default() -> Self {
        Self { signatures: PackageSignatures::Verify, max_size: package::MAX_SIZE }
    }
}

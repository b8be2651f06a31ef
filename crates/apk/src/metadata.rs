//! What a package's `.PKGINFO` and its index entry have in common.

use crate::{
    dependency::Dependencies,
    value::{Architecture, FieldText, PackageName},
    version::Version,
};

/// The fields of a package that both its `.PKGINFO` and its index entry have.
///
/// Each field is documented with its key in `.PKGINFO` and its letter in an index.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Metadata {
    /// `pkgname`, `P:`
    pub name: PackageName,
    /// `pkgver`, `V:`
    pub version: Version,
    /// `arch`, `A:`. May be `noarch` in `.PKGINFO`; a client builds the package's URL from the
    /// value in the index (measured)
    pub architecture: Architecture,
    /// `size`, `I:`: bytes installed, 0 when absent; a client never downloads a package for which
    /// the index says 0 (measured)
    pub installed_size: u64,
    /// `pkgdesc`, `T:`
    pub description: FieldText,
    /// `url`, `U:`
    pub url: FieldText,
    /// `license`, `L:`
    pub license: FieldText,
    /// `origin`, `o:`: the source package. An index omits this and all following fields when empty
    pub origin: FieldText,
    /// `maintainer`, `m:`
    pub maintainer: FieldText,
    /// `builddate`, `t:`: seconds since 1970; 0 when absent
    pub build_time: u64,
    /// `commit`, `c:`
    pub commit: FieldText,
    /// `provider_priority`, `k:`; 0 when absent
    pub provider_priority: u16,
    /// `depend`, `D:`
    pub depends: Dependencies,
    /// `provides`, `p:`
    pub provides: Dependencies,
    /// `install_if`, `i:`
    pub install_if: Dependencies,
}

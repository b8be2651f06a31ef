//! What a package itself and its index entry have in common.

use std::collections::{HashMap, hash_map::Entry};

use crate::{
    dependency::{Dependencies, Dependency},
    tags::Tags,
    text::Excerpt,
    value::{Architecture, FieldText, PackageName},
    version::Version,
};

/// The maximum length of all `replaces` tokens in bytes, each with a space. Above some 5,000, a
/// client fails to write its database (measured).
pub(crate) const MAX_REPLACES: usize = 4000;

/// The fields of a package that both the package itself and its index entry have.
///
/// Each field is documented with its key in `.PKGINFO` and its letter in an index, if it has these.
/// A v3 package has all of them, under the names of [`schema`](crate::adb::schema).
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
    /// `replaces`, in no v2 index: the packages whose files this one may overwrite. A client takes
    /// them from the package
    pub replaces: Dependencies,
    /// Only in v3, where apk does not use them (read in apk-tools 3.0)
    pub recommends: Dependencies,
    /// Only in v3
    pub tags: Tags,
    /// Only in v3; 0 when absent. A client installs no package of layers 1 to 7, unless it was
    /// built for that, as some of OpenWrt are (measured on Alpine's)
    pub layer: u64,
}

/// Why a package can't be installed, whatever else there is.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SelfConflict {
    /// It provides its own name: a client takes that for another package of this name, and finds a
    /// conflict (measured).
    #[error("it provides `{token}`, its own name, with which it conflicts when it is installed")]
    ProvidesItself {
        /// What it provides.
        token: Excerpt,
    },
    /// It provides one name twice, at least once with a version: a client finds a conflict
    /// (measured).
    #[error(
        "it provides `{first}` and `{second}`, one name twice, with which it conflicts when it is \
         installed"
    )]
    ProvidesTwice {
        /// The first of them.
        first: Excerpt,
        /// The second.
        second: Excerpt,
    },
    /// It depends on itself, or on something that it provides, in a version that it does not have:
    /// no client can install it (measured).
    #[error(
        "it depends on `{token}`, but itself is or provides another version of that, so no client \
         can install it"
    )]
    Unmet {
        /// The dependency.
        token: Excerpt,
    },
}

impl Metadata {
    /// Checks that neither `provides` nor `depends` makes the package conflict with itself.
    pub(crate) fn check_itself(&self) -> Result<(), SelfConflict> {
        let excerpt = |provided: &Dependency<'_>| Excerpt::of(provided.to_string().as_bytes());
        let mut names = HashMap::new();
        for provided in self.provides.iter() {
            if provided.name() == self.name.as_str() {
                return Err(SelfConflict::ProvidesItself { token: excerpt(&provided) });
            }
            match names.entry(provided.name()) {
                Entry::Vacant(free) => {
                    free.insert(provided);
                }
                Entry::Occupied(first) if first.get().has_version() || provided.has_version() => {
                    let (first, second) = (excerpt(first.get()), excerpt(&provided));
                    return Err(SelfConflict::ProvidesTwice { first, second });
                }
                Entry::Occupied(_) => {}
            }
        }
        let (name, version) = (self.name.as_str(), self.version.as_str());
        let is_unmet = |wanted: &Dependency<'_>| {
            let own = wanted.name() == name && !wanted.is_met_by(name, version);
            let provided =
                names.get(wanted.name()).filter(|it| it.version_outside_grammar().is_none());
            own || provided.is_some_and(|provided| !wanted.is_met_by_provided(*provided))
        };
        match self.depends.iter().find(|wanted| wanted.is_requirement() && is_unmet(wanted)) {
            Some(wanted) => Err(SelfConflict::Unmet { token: excerpt(&wanted) }),
            None => Ok(()),
        }
    }
}

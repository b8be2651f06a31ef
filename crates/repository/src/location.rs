//! The layout of the bucket.
//!
//! ```text
//! <branch>/<repository>/<architecture>/<name>-<version>.apk     a package
//! <branch>/<repository>/<architecture>/<name>-<version>.index   its fragment
//! <branch>/<repository>/<architecture>/APKINDEX.tar.gz          the index
//! <key name>                                                    a public key of the repository
//! .alpinist/trusted-keys/<key name>                             that of somebody who builds packages
//! .alpinist/published/…, .alpinist/claims/…, .alpinist/reindex/…   internal
//! ```

use std::{fmt, str::FromStr};

use alpinist_apk::{
    key::KeyName,
    value::{Architecture, Excerpt, InvalidValue},
};

use crate::snapshot::Generation;

/// The file name of an index in its repository prefix, as clients ask for it.
const INDEX: &str = "APKINDEX.tar.gz";

/// The most bytes of a `<name>-<version>`: a name has 128 at most, and a version 64. The keys that are
/// made of a longer one could exceed the 1024 bytes that S3 takes.
const MAX_STEM: usize = 128 + 1 + 64;

/// `<branch>/<repository>/<architecture>/`: what one index covers.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct RepositoryPrefix {
    branch: String,
    repository: String,
    architecture: Architecture,
}

impl RepositoryPrefix {
    /// The architecture whose packages lie here.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Returns what a client shows as the repository's description: `<branch>/<repository>`.
    pub fn description(&self) -> String {
        format!("{}/{}", self.branch, self.repository)
    }

    /// Returns the key of the published index.
    pub fn index_key(&self) -> String {
        format!("{self}{INDEX}")
    }

    /// Returns the key of the package `stem`, a `<name>-<version>`.
    pub fn package_key(&self, stem: &str) -> String {
        format!("{self}{stem}.apk")
    }

    /// Returns the key of the fragment of the package `stem`.
    pub fn fragment_key(&self, stem: &str) -> String {
        format!("{self}{stem}.index")
    }

    /// Returns the key of the snapshot of the index that was published last, or is about to be.
    pub fn snapshot_key(&self) -> String {
        format!(".alpinist/published/{self}snapshot.json.gz")
    }

    /// Returns the key of the claim to make the snapshot that comes after the one of `generation`.
    pub fn claim_key(&self, generation: Generation) -> String {
        format!(".alpinist/claims/{self}{generation}")
    }

    /// Returns what the notes of packages that a run of the reindex has indexed begin with.
    pub fn indexed_prefix(&self, run: &str) -> String {
        format!("{}indexed/{self}", reindex_prefix(run))
    }

    fn of_parts(
        branch: &str,
        repository: &str,
        architecture: &str,
    ) -> Result<Self, PackageKeyError> {
        for part in [branch, repository] {
            check_part(part)?;
        }
        let architecture: Architecture = architecture.parse()?;
        if architecture.is_noarch() {
            return Err(PackageKeyError::Noarch);
        }
        Ok(Self { branch: branch.to_owned(), repository: repository.to_owned(), architecture })
    }
}

impl FromStr for RepositoryPrefix {
    type Err = PackageKeyError;

    fn from_str(prefix: &str) -> Result<Self, PackageKeyError> {
        match *prefix.split('/').collect::<Vec<_>>() {
            [branch, repository, architecture, ""] => {
                Self::of_parts(branch, repository, architecture)
            }
            _ => Err(PackageKeyError::Layout),
        }
    }
}

impl fmt::Display for RepositoryPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/", self.branch, self.repository, self.architecture)
    }
}

/// Returns the prefix of all that a run of the reindex writes about itself.
pub fn reindex_prefix(run: &str) -> String {
    format!(".alpinist/reindex/{run}/")
}

/// Returns the key of the object that makes a public key one that packages may be signed by.
pub fn trusted_key(name: &KeyName) -> String {
    format!(".alpinist/trusted-keys/{name}")
}

/// The key of a package.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct PackageKey {
    prefix: RepositoryPrefix,
    stem: String,
}

/// Why a key is not that of a package.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PackageKeyError {
    /// It has not the four parts of the layout.
    #[error("its key is not <branch>/<repository>/<architecture>/<file>.apk")]
    Layout,
    /// The branch or the repository has characters that are unsafe in a URL.
    #[error(
        "`{part}` in its key is not 1 to 64 ASCII letters, digits, `.`, `_` and `-`, beginning \
         with a letter or digit"
    )]
    Part {
        /// The part.
        part: Excerpt,
    },
    /// The third part is not an architecture.
    #[error("its key has no architecture in the third place")]
    Architecture(#[from] InvalidValue),
    /// It has a control character, which most programs would show as something else, or obey.
    #[error("its key has a control character")]
    Control,
    /// The file name has a space.
    #[error("its key has a space, which no name of a package has")]
    Space,
    /// The file name is longer than that of any package.
    #[error("its file name is longer than that of any package, {MAX_STEM} bytes without .apk")]
    Length,
    /// The third part is `noarch`, for which no client asks.
    #[error("no client looks into a directory `noarch`")]
    Noarch,
}

impl PackageKey {
    /// The repository prefix in which the package lies.
    pub fn prefix(&self) -> &RepositoryPrefix {
        &self.prefix
    }

    /// The file name without `.apk`.
    pub fn stem(&self) -> &str {
        &self.stem
    }

    /// Returns the key of the package's fragment.
    pub fn fragment_key(&self) -> String {
        self.prefix.fragment_key(&self.stem)
    }

    /// Returns the key under which S3 looks for the package when a client asks for it with a raw `+`,
    /// if that is another one.
    pub fn plus_copy_key(&self) -> Option<String> {
        self.stem.contains('+').then(|| self.prefix.package_key(&self.stem.replace('+', " ")))
    }
}

impl FromStr for PackageKey {
    type Err = PackageKeyError;

    fn from_str(key: &str) -> Result<Self, PackageKeyError> {
        if key.contains(char::is_control) {
            return Err(PackageKeyError::Control);
        }
        let parts: Vec<_> = key.split('/').collect();
        let &[branch, repository, architecture, file] = parts.as_slice() else {
            return Err(PackageKeyError::Layout);
        };
        let stem = file.strip_suffix(".apk").filter(|stem| !stem.is_empty());
        let stem = stem.ok_or(PackageKeyError::Layout)?.to_owned();
        if stem.contains(' ') {
            return Err(PackageKeyError::Space);
        }
        if stem.len() > MAX_STEM {
            return Err(PackageKeyError::Length);
        }
        let prefix = RepositoryPrefix::of_parts(branch, repository, architecture)?;
        Ok(Self { prefix, stem })
    }
}

/// What an execution is about: a package, or all that an index covers.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Subject {
    /// A package was uploaded, replaced or deleted.
    Package(PackageKey),
    /// The index of this repository prefix is to be made again.
    Index(RepositoryPrefix),
}

impl Subject {
    /// The repository prefix whose index is concerned.
    pub fn prefix(&self) -> &RepositoryPrefix {
        match self {
            Self::Package(key) => key.prefix(),
            Self::Index(prefix) => prefix,
        }
    }

    /// The `<name>-<version>` of the package, if it is one.
    pub fn stem(&self) -> Option<&str> {
        match self {
            Self::Package(key) => Some(key.stem()),
            Self::Index(_) => None,
        }
    }
}

impl FromStr for Subject {
    type Err = PackageKeyError;

    fn from_str(key: &str) -> Result<Self, PackageKeyError> {
        match key.strip_suffix(INDEX) {
            Some(prefix) => prefix.parse().map(Self::Index),
            None => key.parse().map(Self::Package),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Package(key) => key.fmt(f),
            Self::Index(prefix) => f.write_str(&prefix.index_key()),
        }
    }
}

fn check_part(part: &str) -> Result<(), PackageKeyError> {
    let safe = part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    let begins = part.starts_with(|c: char| c.is_ascii_alphanumeric());
    if safe && begins && part.len() <= 64 {
        return Ok(());
    }
    Err(PackageKeyError::Part { part: Excerpt::of(part.as_bytes()) })
}

impl fmt::Display for PackageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}.apk", self.prefix, self.stem)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_key_of_the_layout_is_taken_apart_and_put_together() {
        let key: PackageKey = "3.22/main/x86_64/g++-13.2-r0.apk".parse().unwrap();
        assert_eq!(key.to_string(), "3.22/main/x86_64/g++-13.2-r0.apk");
        assert_eq!(key.fragment_key(), "3.22/main/x86_64/g++-13.2-r0.index");
        assert_eq!(key.prefix().index_key(), "3.22/main/x86_64/APKINDEX.tar.gz");
    }

    #[rstest]
    #[case("main/x86_64/a-1.apk")]
    #[case("3.22/main/x86_64/sub/a-1.apk")]
    #[case("3.22/main/x86_64/.apk")]
    #[case("3.22/main/x86_64/a-1.index")]
    #[case("/main/x86_64/a-1.apk")]
    #[case("../main/x86_64/a-1.apk")]
    #[case(".alpinist/staged/x86_64/a-1.apk")]
    #[case("3.22/ma in/x86_64/a-1.apk")]
    #[case("3.22/main/X86/a-1.apk")]
    #[case("3.22/main/noarch/a-1.apk")]
    #[case("3.22/main/x86_64/libstdc  -13-r0.apk")]
    #[case("3.22/main/x86_64/a\n-1.apk")]
    #[case("3.22/main/x86_64/\u{9b}2Ja-1.apk")]
    fn another_key_is_refused(#[case] key: &str) {
        assert!(key.parse::<PackageKey>().is_err());
    }
}

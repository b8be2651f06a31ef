//! The layout of the bucket.
//!
//! ```text
//! <repository>/<architecture>/<name>-<version>.apk     a package
//! <repository>/<architecture>/<name>-<version>.index   its fragment
//! <repository>/<architecture>/<name>-<version>.withdrawn   takes it off the index
//! <repository>/<architecture>/APKINDEX.tar.gz          the index
//! <repository>/<architecture>/Packages.adb             the index of format v3
//! <repository>/<architecture>/packages.adb             the same, as OpenWrt calls it
//! <repository>/<architecture>/index.json               names and versions, for OpenWrt's tools
//! <key name>                                           a public key of the repository
//! index.html, repositories.json                        the page, and the list that it reads
//! .alpinist/trusted-keys/<key name>                    the public key of a package signer
//! .alpinist/published/…, claims/…, adoption/…, rejected/…, reindex/…   internal
//! ```
//!
//! A repository is a path of at least one part, such as `3.22/main`, `v3.21` or `alpine/8.0/extra`:
//! a client appends nothing but its architecture to the URL that it was given.

use std::{fmt, str::FromStr};

use alpinist_apk::{
    key_name::KeyName,
    text::Excerpt,
    value::{Architecture, InvalidValue},
};

use crate::port::Generation;

/// The file name of an index in its repository prefix, as clients ask for it.
const INDEX: &str = "APKINDEX.tar.gz";

/// The file names of the index of format v3: as clients of Alpine and of OpenWrt ask for it.
pub(crate) const ADB_INDEXES: [&str; 2] = ["Packages.adb", "packages.adb"];

/// The file name of the list of packages that OpenWrt's tools read beside the index.
const INDEX_JSON: &str = "index.json";

/// How the names of objects end that withdraw packages.
pub(crate) const WITHDRAWN: &str = ".withdrawn";

/// The key prefix of snapshots.
const PUBLISHED: &str = ".alpinist/published/";

/// The key prefix of the public keys of those who sign packages.
pub(crate) const TRUSTED_KEYS: &str = ".alpinist/trusted-keys/";

/// The key prefix of notes that ask for a reindex.
const ADOPTION: &str = ".alpinist/adoption/";

/// The file name of a snapshot.
const SNAPSHOT: &str = "snapshot.json.gz";

/// The maximum length of a `<name>-<version>` in bytes: a name has at most 128, and a version 64.
/// Keys derived from a longer one could exceed the 1024 bytes that S3 allows.
const MAX_STEM: usize = 128 + 1 + 64;

/// The maximum length of a repository's path in bytes, so that all keys below it, including ours,
/// have fewer than 1024.
const MAX_REPOSITORY: usize = 512;

/// `<repository>/<architecture>/`: what one index covers.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct RepositoryPrefix {
    repository: String,
    architecture: Architecture,
}

impl RepositoryPrefix {
    /// The architecture of the packages in it.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// The path of the repository, such as `3.22/main`, which a client shows as its description.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns the key of the published index.
    pub fn index_key(&self) -> String {
        format!("{self}{INDEX}")
    }

    /// Returns the keys of what is published for format v3: the index, once more under its name at
    /// OpenWrt, and `index.json`.
    pub fn adb_keys(&self) -> [String; 3] {
        let [index, alias] = ADB_INDEXES;
        [index, alias, INDEX_JSON].map(|file| format!("{self}{file}"))
    }

    /// Returns the key of the package `stem`, a `<name>-<version>`.
    pub fn package_key(&self, stem: &str) -> String {
        format!("{self}{stem}.apk")
    }

    /// Returns the key of the fragment of the package `stem`.
    pub fn fragment_key(&self, stem: &str) -> String {
        format!("{self}{stem}.index")
    }

    /// Returns the key of the object that withdraws the package `stem`.
    pub fn withdrawal_key(&self, stem: &str) -> String {
        format!("{self}{stem}{WITHDRAWN}")
    }

    /// Returns the key of the snapshot, whose index was published last or is about to be.
    pub fn snapshot_key(&self) -> String {
        format!("{PUBLISHED}{self}{SNAPSHOT}")
    }

    /// Returns the key of the note that existing packages were never inspected.
    pub fn adoption_key(&self) -> String {
        format!("{ADOPTION}{self}wanted")
    }

    /// Returns the key of the lease for the snapshot that follows the one of `generation`.
    pub fn lease_key(&self, generation: Generation) -> String {
        format!(".alpinist/claims/{self}{generation}")
    }

    /// Returns the key prefix of the journal objects about packages that a run of the reindex has
    /// indexed.
    pub fn indexed_prefix(&self, run: &str) -> String {
        format!("{}indexed/{self}", reindex_prefix(run))
    }

    /// Creates the prefix of an architecture in a repository.
    ///
    /// # Errors
    ///
    /// [`PackageKeyError`], if a part of the path is unsafe in a URL, the path is too long, or no
    /// client looks for packages there.
    pub fn new(repository: &str, architecture: &str) -> Result<Self, PackageKeyError> {
        for part in repository.split('/') {
            check_part(part)?;
        }
        if repository.len() > MAX_REPOSITORY {
            return Err(PackageKeyError::Repository);
        }
        let architecture: Architecture = architecture.parse()?;
        if architecture.is_noarch() {
            return Err(PackageKeyError::Noarch);
        }
        if let Some(names) = architecture.names_in_apk() {
            return Err(PackageKeyError::Foreign { architecture, names });
        }
        Ok(Self { repository: repository.to_owned(), architecture })
    }
}

impl FromStr for RepositoryPrefix {
    type Err = PackageKeyError;

    fn from_str(prefix: &str) -> Result<Self, PackageKeyError> {
        let directory = prefix.strip_suffix('/').ok_or(PackageKeyError::Layout)?;
        let (repository, architecture) =
            directory.rsplit_once('/').ok_or(PackageKeyError::Layout)?;
        Self::new(repository, architecture)
    }
}

impl fmt::Display for RepositoryPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/", self.repository, self.architecture)
    }
}

/// Returns whether an object with this file name makes its directory one that an index covers: a
/// package, a fragment or an index.
pub(crate) fn is_of_repository(file: &str) -> bool {
    let is_index = file == INDEX || ADB_INDEXES.contains(&file);
    is_index || file.ends_with(".apk") || file.ends_with(".index")
}

/// Returns whether the key of a package can have this `<name>-<version>`.
pub(crate) fn may_be_stem(stem: &str) -> bool {
    !stem.is_empty() && !stem.contains(char::is_control) && check_stem(stem).is_ok()
}

/// Returns the name of the copy of the package `stem`, without `.apk`, if it needs one.
pub(crate) fn plus_copy_stem(stem: &str) -> Option<String> {
    stem.contains('+').then(|| stem.replace('+', " "))
}

fn check_stem(stem: &str) -> Result<(), PackageKeyError> {
    if stem.contains(' ') {
        return Err(PackageKeyError::Space);
    }
    if stem.len() > MAX_STEM {
        return Err(PackageKeyError::Length);
    }
    Ok(())
}

/// Returns whether a directory can hold a repository, by the last part of its path: not if it is
/// one of ours, or if its name is unsafe in a URL.
pub(crate) fn may_hold(directory: &str) -> bool {
    directory
        .strip_suffix('/')
        .and_then(|path| path.rsplit('/').next())
        .is_some_and(|part| check_part(part).is_ok())
}

/// Returns the key prefix of the notes of rejected packages of a repository prefix.
pub fn rejected_prefix(prefix: &RepositoryPrefix) -> String {
    format!(".alpinist/rejected/{prefix}")
}

/// Returns the key prefix of the journal and the report of a run of the reindex.
pub fn reindex_prefix(run: &str) -> String {
    format!(".alpinist/reindex/{run}/")
}

/// Returns the key of the object that makes a public key trusted to sign packages.
pub fn trusted_key(name: &KeyName) -> String {
    format!("{TRUSTED_KEYS}{name}")
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
    /// It does not have the parts of the layout.
    #[error("its key is not <repository>/<architecture>/<file>.apk")]
    Layout,
    /// A part of the repository's path has characters that are unsafe in a URL.
    #[error(
        "`{part}` in its key is not 1 to 64 ASCII letters, digits, `.`, `_` and `-`, beginning \
         with a letter or digit"
    )]
    Part {
        /// The part.
        part: Excerpt,
    },
    /// The repository's path is too long.
    #[error("the path of its repository has more than {MAX_REPOSITORY} bytes")]
    Repository,
    /// The directory is not named like an architecture.
    #[error("its directory is not called like an architecture")]
    Architecture(#[from] InvalidValue),
    /// The directory has another packaging system's name for an architecture.
    #[error(
        "no client looks into a directory `{architecture}`: apk calls this architecture {names}"
    )]
    Foreign {
        /// The directory.
        architecture: Architecture,
        /// What apk calls it: a name, or several with `or`.
        names: &'static str,
    },
    /// It has a control character, which programs may hide or obey.
    #[error("its key has a control character")]
    Control,
    /// The file name has a space.
    #[error("its key has a space, which no name of a package has")]
    Space,
    /// The file name is longer than that of any package.
    #[error("its file name is longer than that of any package, {MAX_STEM} bytes without .apk")]
    Length,
    /// The directory is named `noarch`, for which no client asks.
    #[error("no client looks into a directory `noarch`")]
    Noarch,
}

impl PackageKey {
    /// The repository prefix of the package.
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

    /// Returns the key of the object that withdraws the package.
    pub fn withdrawal_key(&self) -> String {
        self.prefix.withdrawal_key(&self.stem)
    }

    /// Returns the key of the package that an object with this key withdraws, if it can be one.
    pub fn withdrawn_by(key: &str) -> Option<Self> {
        format!("{}.apk", key.strip_suffix(WITHDRAWN)?).parse().ok()
    }

    /// Returns the key under which S3 looks for the package when a client asks for it with a raw
    /// `+`, if that is a different key.
    pub fn plus_copy_key(&self) -> Option<String> {
        plus_copy_stem(&self.stem).map(|stem| self.prefix.package_key(&stem))
    }
}

impl FromStr for PackageKey {
    type Err = PackageKeyError;

    fn from_str(key: &str) -> Result<Self, PackageKeyError> {
        if key.contains(char::is_control) {
            return Err(PackageKeyError::Control);
        }
        let (directory, file) = key.rsplit_once('/').ok_or(PackageKeyError::Layout)?;
        let (repository, architecture) =
            directory.rsplit_once('/').ok_or(PackageKeyError::Layout)?;
        let stem = file.strip_suffix(".apk").filter(|stem| !stem.is_empty());
        let stem = stem.ok_or(PackageKeyError::Layout)?.to_owned();
        check_stem(&stem)?;
        let prefix = RepositoryPrefix::new(repository, architecture)?;
        Ok(Self { prefix, stem })
    }
}

/// What an execution is about: a package, or everything that an index covers.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Subject {
    /// A package was uploaded, replaced or deleted.
    Package(PackageKey),
    /// The index of this repository prefix is to be rebuilt.
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

/// An object that Alpinist derives from packages.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Derived {
    /// The fragment of this package.
    Fragment(PackageKey),
    /// The index of this repository prefix.
    Index(RepositoryPrefix),
    /// What this repository prefix has for format v3. Somebody else may have a file of such a name.
    Adb(RepositoryPrefix),
    /// The snapshot of this repository prefix.
    Snapshot(RepositoryPrefix),
    /// The note that packages of this repository prefix were never inspected.
    Adoption(RepositoryPrefix),
}

impl FromStr for Derived {
    type Err = PackageKeyError;

    fn from_str(key: &str) -> Result<Self, PackageKeyError> {
        if let Some(rest) = key.strip_prefix(PUBLISHED) {
            let prefix = rest.strip_suffix(SNAPSHOT).ok_or(PackageKeyError::Layout)?;
            return prefix.parse().map(Self::Snapshot);
        }
        if let Some(rest) = key.strip_prefix(ADOPTION) {
            let prefix = rest.strip_suffix("wanted").ok_or(PackageKeyError::Layout)?;
            return prefix.parse().map(Self::Adoption);
        }
        if let Some(prefix) = key.strip_suffix(INDEX) {
            return prefix.parse().map(Self::Index);
        }
        let mut adb = ADB_INDEXES.into_iter().chain([INDEX_JSON]);
        if let Some(prefix) = adb.find_map(|file| key.strip_suffix(file)) {
            return prefix.parse().map(Self::Adb);
        }
        let stem = key.strip_suffix(".index").ok_or(PackageKeyError::Layout)?;
        format!("{stem}.apk").parse().map(Self::Fragment)
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
    #[case("v3.21/x86_64/a-1.apk", "v3.21")]
    #[case("3.22/main/x86_64/a-1.apk", "3.22/main")]
    #[case("alpine/8.0/extra/armhf/a-1.apk", "alpine/8.0/extra")]
    #[case("25.12/packages/base/aarch64_cortex-a53/a-1.apk", "25.12/packages/base")]
    fn a_repository_may_lie_at_any_depth(#[case] key: &str, #[case] repository: &str) {
        let package: PackageKey = key.parse().unwrap();
        assert_eq!(package.to_string(), key);
        assert_eq!(package.prefix().repository(), repository);
        assert_eq!(package.prefix().to_string().parse(), Ok(package.prefix().clone()));
    }

    #[test]
    fn what_alpinist_makes_is_known_by_its_key() {
        let prefix: RepositoryPrefix = "3.22/main/x86_64/".parse().unwrap();
        let package: PackageKey = "3.22/main/x86_64/a-1.apk".parse().unwrap();
        let derived = |key: &str| key.parse::<Derived>();
        assert_eq!(derived(&prefix.index_key()), Ok(Derived::Index(prefix.clone())));
        for key in prefix.adb_keys() {
            assert_eq!(derived(&key), Ok(Derived::Adb(prefix.clone())));
        }
        assert_eq!(derived(&prefix.snapshot_key()), Ok(Derived::Snapshot(prefix.clone())));
        assert_eq!(derived(&prefix.adoption_key()), Ok(Derived::Adoption(prefix)));
        assert_eq!(derived(&package.fragment_key()), Ok(Derived::Fragment(package)));
        for other in ["3.22/main/x86_64/a-1.apk", "a-1.index", ".alpinist/published/x", "k.rsa.pub"]
        {
            assert!(derived(other).is_err(), "{other}");
        }
    }

    #[rstest]
    #[case("amd64", "x86_64")]
    #[case("arm64", "aarch64")]
    #[case("all", "noarch")]
    fn a_directory_of_a_foreign_name_is_told_the_right_one(
        #[case] foreign: &str,
        #[case] right: &str,
    ) {
        let error = format!("3.22/main/{foreign}/a-1.apk").parse::<PackageKey>().unwrap_err();
        assert!(error.to_string().contains(right), "{error}");
    }

    #[test]
    fn a_path_longer_than_any_key_of_ours_may_be_is_rejected() {
        let parts = |count: usize| vec!["part-of-15-bytes"; count].join("/");
        let key = |count| format!("{}/x86_64/a-1.apk", parts(count)).parse::<PackageKey>();
        assert!(key(30).is_ok());
        assert_eq!(key(31).unwrap_err(), PackageKeyError::Repository);
    }

    #[rstest]
    #[case("x86_64/a-1.apk")]
    #[case("a-1.apk")]
    #[case("3.22//x86_64/a-1.apk")]
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
    fn another_key_is_rejected(#[case] key: &str) {
        assert!(key.parse::<PackageKey>().is_err());
    }
}

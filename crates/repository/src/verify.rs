//! Whether a published index matches the bucket.

use std::collections::{BTreeSet, HashMap, HashSet};

use alpinist_apk::{
    adb::{
        index::{self as adb_index, AdbIndex, AdbIndexError, ReadIndex},
        index_json,
        signature::AdbSignature,
    },
    checksum::Identity,
    entry::IndexEntry,
    index_archive::{self, ArchiveError, IndexArchive},
    key::VerifyingKey,
    key_name::KeyName,
    warning::{self, Warning},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    failure::Failure,
    fragment,
    listing::Listing,
    location::{PackageKey, RepositoryPrefix},
    message::{Accepted, Found, RejectionReport},
    plus_copy::{self, PlusCopies},
    policy::Policy,
    port::{self, ListedObject, Object, ObjectStore, StoreError},
    rejection::Rejection,
    replacing::Replacing,
    snapshot::Snapshot,
    step,
    trust::MAX_KEY_LENGTH,
    v3_index::V3Index,
    withdrawal,
};

/// How many packages are read at once.
const PARALLEL_READS: usize = 16;

/// How much is checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Depth {
    /// What a listing of the bucket shows, and the content of packages that the index does not
    /// list.
    Listing,
    /// The content of each package and of each fragment.
    Content,
}

/// What to check, and what to expect.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// How much is checked.
    pub depth: Depth,
    /// What is required of packages.
    pub policy: Policy,
    /// Whether copies of packages whose names have a `+` are kept.
    pub plus_copies: PlusCopies,
    /// Whether published packages may be replaced.
    pub replacing: Replacing,
    /// Where there should be an index of format v3.
    pub v3_index: V3Index,
    /// The names of the keys in use, as far as they are known.
    pub signers: Vec<String>,
}

/// What is wrong with an object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// There are packages, but no index.
    #[error("there is no index, although there are packages")]
    NoIndex,
    /// There is no index of format v3, although each repository prefix is to have one.
    #[error("there is no index of format v3, although `V3Index` is `always`")]
    NoV3Index,
    /// A client rejects the index.
    #[error("a client rejects the index")]
    Index(#[from] ArchiveError),
    /// A client rejects the index of format v3.
    #[error("a client rejects the index")]
    Adb(#[from] AdbIndexError),
    /// A published object is larger than any of ours.
    #[error("it is larger than any index")]
    TooLarge,
    /// Somebody else's index of format v3 is where ours should be.
    #[error("somebody else wrote it, and it is not the index of the packages")]
    Foreign,
    /// `packages.adb` is missing, or not the same as `Packages.adb`.
    #[error("it is not a copy of `Packages.adb`")]
    NotTheCopy,
    /// `index.json` is missing, or has something else than `Packages.adb`.
    #[error("it does not say what `Packages.adb` lists")]
    IndexJson,
    /// A signature is wrong.
    #[error("the signature by {key_name} is wrong")]
    Signature {
        /// The name of the key that it claims.
        key_name: KeyName,
    },
    /// No public key of the signers is published.
    #[error("no public key is published of those who signed the index: {}", names.join(", "))]
    Signers {
        /// Their names.
        names: Vec<String>,
    },
    /// A key in use has not signed the index.
    #[error("it is not signed by {key_name}, a key that is in use")]
    NotSigned {
        /// The name of the key.
        key_name: String,
    },
    /// The index lists a package that does not exist.
    #[error("the index lists it, but it is not there")]
    Missing,
    /// The index lists a package with another size.
    #[error("the index says that it has {listed} bytes, but it has {found}")]
    Size {
        /// What the index says.
        listed: u64,
        /// The size of the object.
        found: u64,
    },
    /// The index lists a package that is withdrawn.
    #[error("the index lists it, but it is withdrawn")]
    Withdrawn,
    /// The index does not list a package that may be listed.
    #[error("the index does not list it")]
    Unlisted,
    /// The index of format v3 does not list a package that may be listed.
    #[error("`Packages.adb` does not list it")]
    UnlistedInAdb,
    /// The package may not be listed, and is not.
    #[error("it is not listed: {cause}")]
    Rejected {
        /// Why, and what to do.
        cause: String,
    },
    /// The package may not be listed, and is.
    #[error("it is listed, but may not be: {cause}")]
    ListedThough {
        /// Why, and what to do.
        cause: String,
    },
    /// The index entry of a package does not match it.
    #[error("the index says something else of it than it is")]
    Entry,
    /// A listed package has no fragment.
    #[error("it has no fragment")]
    NoFragment,
    /// A fragment does not describe the package as the index does.
    #[error("its fragment does not describe it")]
    Fragment,
    /// A fragment has no package.
    #[error("it is a fragment without a package")]
    Orphan,
    /// There is no copy under the name with spaces.
    #[error("it has no copy for clients that ask for its name with a `+`")]
    NoCopy,
}

/// How a problem is fixed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Remedy {
    /// By a reindex that skips packages whose fragments describe them.
    ReindexStale,
    /// By a reindex of everything.
    Reindex,
    /// By signing the indexes again.
    Sign,
    /// By deleting the package, or uploading a fixed one.
    Replace,
}

impl Problem {
    /// Returns how it is fixed.
    pub fn fix(&self) -> Remedy {
        match self {
            Self::NoIndex
            | Self::NoV3Index
            | Self::Missing
            | Self::Withdrawn
            | Self::Size { .. }
            | Self::Unlisted
            | Self::UnlistedInAdb
            | Self::Foreign
            | Self::NotTheCopy
            | Self::IndexJson
            | Self::TooLarge
            | Self::Adb(_)
            | Self::NoFragment
            | Self::Orphan
            | Self::NoCopy
            | Self::Index(_) => Remedy::ReindexStale,
            Self::Entry | Self::Fragment | Self::ListedThough { .. } => Remedy::Reindex,
            Self::Signature { .. } | Self::Signers { .. } | Self::NotSigned { .. } => Remedy::Sign,
            Self::Rejected { .. } => Remedy::Replace,
        }
    }
}

/// What was found in a repository prefix.
#[derive(Debug)]
pub struct Verified {
    /// How many packages the indexes list.
    pub packages: usize,
    /// What is wrong, by key.
    pub problems: Vec<(String, Problem)>,
    /// The packages that are withdrawn, and why, in one line; by key.
    pub withdrawn: Vec<(String, String)>,
    /// What the maintainers of listed packages should know, by key.
    pub warnings: Vec<(String, Warning)>,
}

/// Reads the published indexes of both formats as clients do, verifies their signatures, and
/// compares them with the bucket. That of format v3 counts if Alpinist wrote one of its objects,
/// and is missed if there are v3 packages, or [if it is wanted everywhere](V3Index::Always).
///
/// Changes made meanwhile may be reported as problems.
///
/// # Errors
///
/// [`Failure::Store`], if something can't be read.
pub async fn verify<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
    options: &VerifyOptions,
) -> Result<Verified, Failure> {
    let index_key = prefix.index_key();
    let published = read(store, &index_key).await?;
    let listing = Listing::read(store, prefix, &Snapshot::default()).await?;
    let mut keys = PublicKeys { store, known: HashMap::new() };
    let mut problems = Vec::new();
    let mut index = None;
    let mut signers: BTreeSet<_> = options.signers.iter().cloned().collect();
    match published.as_ref().map(|body| body.as_deref().map(IndexArchive::read)) {
        None => {}
        Some(None) => problems.push((index_key, Problem::TooLarge)),
        Some(Some(Err(error))) => problems.push((index_key, error.into())),
        Some(Some(Ok(archive))) => {
            let found = check_signatures(&mut keys, &archive, &options.signers).await?;
            problems.extend(found.into_iter().map(|problem| (index_key.clone(), problem)));
            let names = archive.signatures.iter().map(|(name, _)| name.key_name.to_string());
            signers.extend(names);
            index = Some(archive.index.entries().to_vec());
        }
    }
    let is_published = published.is_some();
    drop(published);
    let adb = PublishedAdb::read(store, prefix).await?;
    let adb_is_ours = adb.objects.iter().flatten().any(|object| object.is_ours);
    let adb_is_there = adb.objects.iter().any(Option::is_some);
    let mut adb_index = None;
    if adb_is_ours {
        let found = adb.check(prefix, &mut problems);
        if let Some(read) = found {
            let [key, ..] = prefix.adb_keys();
            let found = check_adb_signatures(&mut keys, &read, &signers, &options.signers).await?;
            problems.extend(found.into_iter().map(|problem| (key.clone(), problem)));
            adb_index = Some(read.entries);
        }
    }
    drop(adb);
    let (has_index, has_adb) = (index.is_some(), adb_index.is_some());
    let entries = merge(prefix, index, adb_index, &listing, &mut problems);
    let packages = entries.len();
    let warned = |entry: &IndexEntry| {
        let key = prefix.package_key(&entry.file_stem());
        let warnings = warning::warnings(entry).into_iter();
        warnings.map(|warning| (key.clone(), warning)).collect::<Vec<_>>()
    };
    let warnings = entries.iter().flat_map(warned).collect();
    let comparison = Comparison { store, prefix, options, listing };
    comparison.check(entries, &mut problems).await?;
    let withdrawn = comparison.withdrawn().await?;
    // Without a readable index, every package is unlisted. If none of the packages may be listed,
    // there is nothing to index.
    if !has_index && leave_out(&mut problems, |problem| matches!(problem, Problem::Unlisted)) {
        let missing = (!is_published).then(|| (prefix.index_key(), Problem::NoIndex));
        problems.extend(missing);
    }
    let is_of_adb = |problem: &Problem| matches!(problem, Problem::UnlistedInAdb);
    let is_missed = !has_adb && leave_out(&mut problems, is_of_adb);
    let is_wanted = is_missed || options.v3_index.is_wanted(packages, 0, is_published);
    if is_wanted && !adb_is_ours {
        let [key, ..] = prefix.adb_keys();
        let problem = match adb_is_there {
            true => Problem::Foreign,
            false if is_missed => Problem::NoIndex,
            false => Problem::NoV3Index,
        };
        problems.push((key, problem));
    }
    problems.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Verified { packages, problems, withdrawn, warnings })
}

/// Leaves out such problems. Returns whether there were any.
fn leave_out(problems: &mut Problems, is_such: impl Fn(&Problem) -> bool) -> bool {
    let found = problems.len();
    problems.retain(|(_, problem)| !is_such(problem));
    problems.len() < found
}

/// Reads a published object: `None` if it is absent, `Some(None)` if it is too large to be ours.
async fn read<S: ObjectStore>(store: &S, key: &str) -> Result<Option<Option<Vec<u8>>>, StoreError> {
    match port::read(store, key, index_archive::MAX_LENGTH).await {
        Ok(object) => Ok(object.map(|object| Some(object.body))),
        Err(StoreError::TooLarge { .. }) => Ok(Some(None)),
        Err(error) => Err(error),
    }
}

/// Public keys, as they are published.
struct PublicKeys<'a, S> {
    store: &'a S,
    known: HashMap<String, Option<VerifyingKey>>,
}

impl<S: ObjectStore> PublicKeys<'_, S> {
    /// Returns the key with this name. `None` if there is none, or no usable one.
    async fn get(&mut self, name: &str) -> Result<Option<VerifyingKey>, StoreError> {
        if let Some(known) = self.known.get(name) {
            return Ok(known.clone());
        }
        // No repository publishes a key under another kind of name.
        let object = match name.parse::<KeyName>() {
            Ok(_) => port::read(self.store, name, MAX_KEY_LENGTH).await?,
            Err(_) => None,
        };
        let pem = object.map(|object| String::from_utf8_lossy(&object.body).into_owned());
        let key = pem.and_then(|pem| VerifyingKey::from_pem(&pem).ok());
        self.known.insert(name.to_owned(), key.clone());
        Ok(key)
    }
}

async fn check_signatures<S: ObjectStore>(
    keys: &mut PublicKeys<'_, S>,
    index: &IndexArchive<'_>,
    in_use: &[String],
) -> Result<Vec<Problem>, StoreError> {
    let signers: BTreeSet<_> =
        index.signatures.iter().map(|(name, _)| name.key_name.as_str()).collect();
    let mut problems = Vec::new();
    for name in in_use.iter().filter(|name| !signers.contains(name.as_str())) {
        // An EC key signs only format v3.
        if keys.get(name).await?.is_none_or(|key| key.kind().signs_v2()) {
            problems.push(Problem::NotSigned { key_name: name.clone() });
        }
    }
    let mut is_known = false;
    for (name, _) in &index.signatures {
        let Some(key_name) = name.key_name.to_key_name() else { continue };
        let Some(key) = keys.get(key_name.as_str()).await? else { continue };
        is_known = true;
        if !index.is_signed_by(&key_name, &key) {
            problems.push(Problem::Signature { key_name });
            break;
        }
    }
    if !is_known {
        let names = signers.into_iter().map(str::to_owned).collect();
        problems.push(Problem::Signers { names });
    }
    Ok(problems)
}

/// Checks the signatures of an index of format v3, which say only the IDs of their keys: with the
/// keys called `names`, of which some are in use.
async fn check_adb_signatures<S: ObjectStore>(
    keys: &mut PublicKeys<'_, S>,
    index: &ReadIndex,
    names: &BTreeSet<String>,
    in_use: &[String],
) -> Result<Vec<Problem>, StoreError> {
    let mut problems = Vec::new();
    let ids: BTreeSet<_> = index.signatures.iter().map(AdbSignature::key_id).collect();
    let mut is_known = false;
    for name in names {
        let Some(key) = keys.get(name).await? else { continue };
        let has_signed = ids.contains(&key.id());
        is_known |= has_signed;
        if !has_signed && in_use.contains(name) {
            problems.push(Problem::NotSigned { key_name: name.clone() });
        } else if has_signed && !index.is_signed_by(&key) {
            problems.extend(name.parse().map(|key_name| Problem::Signature { key_name }));
        }
    }
    // Without any name, there is no key to look for.
    if !is_known && problems.is_empty() && !names.is_empty() {
        let names = ids.iter().map(ToString::to_string).collect();
        problems.push(Problem::Signers { names });
    }
    Ok(problems)
}

/// What is published for format v3: each object of [`RepositoryPrefix::adb_keys`].
struct PublishedAdb {
    objects: [Option<AdbObject>; 3],
}

struct AdbObject {
    is_ours: bool,
    /// `None` if it is too large.
    body: Option<Vec<u8>>,
}

impl AdbObject {
    fn body(&self) -> Option<&[u8]> {
        self.body.as_deref()
    }
}

impl PublishedAdb {
    async fn read<S: ObjectStore>(
        store: &S,
        prefix: &RepositoryPrefix,
    ) -> Result<Self, StoreError> {
        let [index, alias, json] = prefix.adb_keys();
        let read = async |key: String| match port::read(store, &key, index_archive::MAX_LENGTH)
            .await
        {
            Ok(object) => Ok(object.map(|Object { info, body }| AdbObject {
                is_ours: step::is_ours(&info),
                body: Some(body),
            })),
            Err(StoreError::TooLarge { .. }) => Ok(Some(AdbObject { is_ours: false, body: None })),
            Err(error) => Err(error),
        };
        Ok(Self { objects: [read(index).await?, read(alias).await?, read(json).await?] })
    }

    /// Checks the objects as one. Returns the index, if a client accepts it but for its signatures.
    fn check(&self, prefix: &RepositoryPrefix, problems: &mut Problems) -> Option<ReadIndex> {
        let [index_key, alias_key, json_key] = prefix.adb_keys();
        let [index, alias, json] = &self.objects;
        let Some(index) = index else {
            problems.push((index_key, Problem::NoIndex));
            return None;
        };
        let Some(bytes) = index.body() else {
            problems.push((index_key, Problem::TooLarge));
            return None;
        };
        if alias.as_ref().and_then(AdbObject::body) != Some(bytes) {
            problems.push((alias_key, Problem::NotTheCopy));
        }
        let read = match ReadIndex::read(bytes) {
            Ok(read) => read,
            Err(error) => {
                problems.push((index_key, error.into()));
                return None;
            }
        };
        let expected = index_json::write(prefix.architecture(), &read.entries);
        if json.as_ref().and_then(AdbObject::body) != Some(expected.as_bytes()) {
            problems.push((json_key, Problem::IndexJson));
        }
        Some(read)
    }
}

fn is_v3(entry: &IndexEntry) -> bool {
    matches!(entry.identity, Identity::Payload(_))
}

/// Returns whether an index lists a package, of which this is the whole entry, rightly.
fn is_listed_as(whole: &IndexEntry, listed: &IndexEntry) -> bool {
    whole == listed || is_v3(listed) && adb_index::listed(whole) == *listed
}

/// Returns what the two indexes list, each package once, and adds where they disagree about a
/// package that exists.
fn merge(
    prefix: &RepositoryPrefix,
    index: Option<Vec<IndexEntry>>,
    adb: Option<Vec<IndexEntry>>,
    listing: &Listing,
    problems: &mut Problems,
) -> Vec<IndexEntry> {
    let Some(adb) = adb else { return index.unwrap_or_default() };
    let index = index.unwrap_or_default();
    let (_, left_out) = AdbIndex::new(prefix.repository(), &index);
    let left_out: HashSet<_> = left_out.iter().map(|left_out| left_out.entry.file_stem()).collect();
    let mut in_adb: HashMap<_, _> =
        adb.into_iter().map(|entry| (entry.file_stem(), entry)).collect();
    let mut disagree = |stem: &str, problem| {
        if listing.packages.contains_key(stem) {
            problems.push((prefix.package_key(stem), problem));
        }
    };
    for entry in &index {
        let stem = entry.file_stem();
        match in_adb.remove(&stem) {
            None if left_out.contains(&stem) => {}
            None => disagree(&stem, Problem::UnlistedInAdb),
            Some(other) if other == adb_index::listed(entry) => {}
            Some(_) => disagree(&stem, Problem::Entry),
        }
    }
    for (stem, entry) in &in_adb {
        if !is_v3(entry) {
            disagree(stem, Problem::Unlisted);
        }
    }
    index.into_iter().chain(in_adb.into_values()).collect()
}

/// A repository prefix that is compared with its index.
struct Comparison<'a, S> {
    store: &'a S,
    prefix: &'a RepositoryPrefix,
    options: &'a VerifyOptions,
    listing: Listing,
}

type Problems = Vec<(String, Problem)>;

impl<S: ObjectStore> Comparison<'_, S> {
    /// Returns the packages that are withdrawn, and why.
    async fn withdrawn(&self) -> Result<Vec<(String, String)>, Failure> {
        let mut withdrawn = Vec::new();
        for package in self.listing.withdrawn.values() {
            let Ok(key) = package.key.parse::<PackageKey>() else { continue };
            let reason = withdrawal::reason(self.store, &key).await?;
            withdrawn.extend(reason.map(|reason| (package.key.clone(), reason)));
        }
        withdrawn.sort_unstable();
        Ok(withdrawn)
    }

    async fn check(
        &self,
        entries: Vec<IndexEntry>,
        problems: &mut Problems,
    ) -> Result<(), Failure> {
        let entries: HashMap<_, _> =
            entries.into_iter().map(|entry| (entry.file_stem(), entry)).collect();
        for stem in entries.keys().filter(|stem| !self.listing.packages.contains_key(*stem)) {
            let problem = if self.listing.withdrawn.contains_key(stem) {
                Problem::Withdrawn
            } else {
                Problem::Missing
            };
            problems.push((self.prefix.package_key(stem), problem));
        }
        for (stem, fragment) in &self.listing.fragments {
            let is_withdrawn = self.listing.withdrawn.contains_key(stem);
            if !self.listing.packages.contains_key(stem) && !is_withdrawn {
                problems.push((fragment.key.clone(), Problem::Orphan));
            }
        }
        let found: Vec<_> = stream::iter(&self.listing.packages)
            .map(|(stem, package)| self.check_package(package, entries.get(stem), stem))
            .buffer_unordered(PARALLEL_READS)
            .try_collect()
            .await?;
        problems.extend(found.into_iter().flatten());
        Ok(())
    }

    async fn check_package(
        &self,
        package: &ListedObject,
        entry: Option<&IndexEntry>,
        stem: &str,
    ) -> Result<Problems, Failure> {
        let mut problems = Vec::new();
        match entry {
            None => problems.extend(self.read(package, None).await?),
            Some(entry) => {
                problems.extend(self.check_listed(package, entry, stem).await?);
            }
        }
        Ok(problems.into_iter().map(|problem| (package.key.clone(), problem)).collect())
    }

    async fn check_listed(
        &self,
        package: &ListedObject,
        entry: &IndexEntry,
        stem: &str,
    ) -> Result<Vec<Problem>, Failure> {
        let mut problems = Vec::new();
        if entry.size != package.size {
            problems.push(Problem::Size { listed: entry.size, found: package.size });
        } else if self.options.depth == Depth::Content {
            problems.extend(self.read(package, Some(entry)).await?);
        }
        let Some(fragment) = self.listing.fragments.get(stem) else {
            problems.push(Problem::NoFragment);
            return Ok(problems);
        };
        if self.options.depth == Depth::Content && !self.describes(fragment, package, entry).await?
        {
            problems.push(Problem::Fragment);
        }
        if !self.has_copy(package).await? {
            problems.push(Problem::NoCopy);
        }
        Ok(problems)
    }

    /// Reads a package as the pipeline does, and compares it with its entry.
    async fn read(
        &self,
        package: &ListedObject,
        entry: Option<&IndexEntry>,
    ) -> Result<Option<Problem>, Failure> {
        let found = step::examine(self.store, self.options.policy, &package.key).await?;
        let found = match found {
            Found::Accepted(accepted) => self.judge(package, accepted).await?,
            found => found,
        };
        Ok(match (found, entry) {
            (Found::Nothing | Found::Indexed, _) => None,
            (Found::Accepted(accepted), None) if is_v3(&accepted.entry) => {
                Some(Problem::UnlistedInAdb)
            }
            (Found::Accepted(_), None) => Some(Problem::Unlisted),
            (Found::Accepted(accepted), Some(entry)) => {
                (!is_listed_as(&accepted.entry, entry)).then_some(Problem::Entry)
            }
            (Found::Rejected(report), None) => Some(Problem::Rejected { cause: report.cause }),
            (Found::Rejected(report), Some(_)) => {
                Some(Problem::ListedThough { cause: report.cause })
            }
        })
    }

    /// Rejects a package that replaces a published one and may not.
    async fn judge(
        &self,
        package: &ListedObject,
        accepted: Box<Accepted>,
    ) -> Result<Found, Failure> {
        let key = package.key.parse::<PackageKey>().ok();
        let Some(key) = key.filter(|_| self.options.replacing == Replacing::Refused) else {
            return Ok(Found::Accepted(accepted));
        };
        let read = port::read(self.store, &key.fragment_key(), fragment::MAX_LENGTH).await;
        let published = match read {
            Ok(fragment) => fragment.and_then(|fragment| fragment::published(fragment, &key)),
            Err(StoreError::TooLarge { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let found = accepted.entry.identity;
        Ok(match published.filter(|published| *published != found) {
            None => Found::Accepted(accepted),
            Some(published) => {
                let replaced = Rejection::Replaced { published, found };
                let report = RejectionReport::new(&package.key, accepted.package, &replaced);
                Found::Rejected(report)
            }
        })
    }

    /// Returns whether a fragment describes a package as the index does.
    async fn describes(
        &self,
        fragment: &ListedObject,
        package: &ListedObject,
        entry: &IndexEntry,
    ) -> Result<bool, StoreError> {
        let read = port::read(self.store, &fragment.key, fragment::MAX_LENGTH).await;
        let read = match read {
            Ok(Some(read)) => read,
            Ok(None) | Err(StoreError::TooLarge { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let described = fragment::entry(read, self.prefix, &package.key, &package.etag);
        Ok(described.is_ok_and(|found| is_listed_as(&found, entry)))
    }

    /// Returns whether a package has the copy that it needs, if it needs one.
    async fn has_copy(&self, package: &ListedObject) -> Result<bool, StoreError> {
        let key = package.key.parse::<PackageKey>().ok();
        let copy = key.and_then(|key| key.plus_copy_key());
        let Some(copy) = copy.filter(|_| self.options.plus_copies == PlusCopies::Kept) else {
            return Ok(true);
        };
        let copy = self.store.head(&copy).await?;
        Ok(copy.is_some_and(|copy| plus_copy::is_of(&copy, &package.etag)))
    }
}

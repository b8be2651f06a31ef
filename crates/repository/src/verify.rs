//! Whether a published index matches the bucket.

use std::collections::{BTreeSet, HashMap};

use alpinist_apk::{
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
    message::Found,
    plus_copy::{self, PlusCopies},
    policy::Policy,
    port::{self, ListedObject, ObjectStore, StoreError},
    snapshot::Snapshot,
    step,
    trust::MAX_KEY_LENGTH,
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
    /// A client rejects the index.
    #[error("a client rejects the index")]
    Index(#[from] ArchiveError),
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
    /// The index does not list a package that may be listed.
    #[error("the index does not list it")]
    Unlisted,
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
            | Self::Missing
            | Self::Size { .. }
            | Self::Unlisted
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
    /// How many packages the index lists.
    pub packages: usize,
    /// What is wrong, by key.
    pub problems: Vec<(String, Problem)>,
    /// What the maintainers of listed packages should know, by key.
    pub warnings: Vec<(String, Warning)>,
}

/// Reads the published index as a client does, verifies its signatures, and compares it with the
/// bucket.
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
    let published = port::read(store, &index_key, index_archive::MAX_LENGTH).await?;
    let listing = Listing::read(store, prefix, &Snapshot::default()).await?;
    let mut problems = Vec::new();
    let mut entries = Vec::new();
    let mut is_readable = false;
    match published.as_ref().map(|published| IndexArchive::read(&published.body)) {
        None => {}
        Some(Err(error)) => problems.push((index_key, error.into())),
        Some(Ok(index)) => {
            let found = check_signatures(store, &index, &options.signers).await?;
            problems.extend(found.into_iter().map(|problem| (index_key.clone(), problem)));
            entries = index.index.entries().to_vec();
            is_readable = true;
        }
    }
    let packages = entries.len();
    let warned = |entry: &IndexEntry| {
        let key = prefix.package_key(&entry.file_stem());
        let warnings = warning::warnings(entry).into_iter();
        warnings.map(|warning| (key.clone(), warning)).collect::<Vec<_>>()
    };
    let warnings = entries.iter().flat_map(warned).collect();
    let comparison = Comparison { store, prefix, options, listing };
    comparison.check(entries, &mut problems).await?;
    if !is_readable {
        let found = problems.len();
        // Without a readable index, every package is unlisted.
        problems.retain(|(_, problem)| !matches!(problem, Problem::Unlisted));
        // If none of the packages may be listed, there is nothing to index.
        if published.is_none() && problems.len() < found {
            problems.push((prefix.index_key(), Problem::NoIndex));
        }
    }
    problems.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Verified { packages, problems, warnings })
}

async fn check_signatures<S: ObjectStore>(
    store: &S,
    index: &IndexArchive<'_>,
    in_use: &[String],
) -> Result<Vec<Problem>, StoreError> {
    let signers: BTreeSet<_> =
        index.signatures.iter().map(|(name, _)| name.key_name.as_str()).collect();
    let lacking = in_use.iter().filter(|name| !signers.contains(name.as_str()));
    let mut problems: Vec<_> =
        lacking.map(|name| Problem::NotSigned { key_name: name.clone() }).collect();
    let mut is_known = false;
    for (name, _) in &index.signatures {
        // No repository publishes a key under another kind of name.
        let Some(key_name) = name.key_name.to_key_name() else { continue };
        let object = port::read(store, key_name.as_str(), MAX_KEY_LENGTH).await?;
        let pem = object.map(|object| String::from_utf8_lossy(&object.body).into_owned());
        let Some(Ok(key)) = pem.map(|pem| VerifyingKey::from_pem(&pem)) else { continue };
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

/// A repository prefix that is compared with its index.
struct Comparison<'a, S> {
    store: &'a S,
    prefix: &'a RepositoryPrefix,
    options: &'a VerifyOptions,
    listing: Listing,
}

type Problems = Vec<(String, Problem)>;

impl<S: ObjectStore> Comparison<'_, S> {
    async fn check(
        &self,
        entries: Vec<IndexEntry>,
        problems: &mut Problems,
    ) -> Result<(), Failure> {
        let entries: HashMap<_, _> =
            entries.into_iter().map(|entry| (entry.file_stem(), entry)).collect();
        for stem in entries.keys().filter(|stem| !self.listing.packages.contains_key(*stem)) {
            problems.push((self.prefix.package_key(stem), Problem::Missing));
        }
        for (stem, fragment) in &self.listing.fragments {
            if !self.listing.packages.contains_key(stem) {
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
        Ok(match (found, entry) {
            (Found::Nothing | Found::Indexed, _) => None,
            (Found::Accepted(_), None) => Some(Problem::Unlisted),
            (Found::Accepted(accepted), Some(entry)) => {
                (accepted.entry != *entry).then_some(Problem::Entry)
            }
            (Found::Rejected(report), None) => Some(Problem::Rejected { cause: report.cause }),
            (Found::Rejected(report), Some(_)) => {
                Some(Problem::ListedThough { cause: report.cause })
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
        Ok(described.is_ok_and(|found| found == *entry))
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

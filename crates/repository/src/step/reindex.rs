//! The first and last steps of a reindex. In between, the other steps extract each package and
//! rebuild each index.

use std::collections::{BTreeSet, HashSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use crate::{
    discovery,
    failure::Failure,
    fragment,
    journal::{self, Rejected, RepositoryResult},
    listing::Listing,
    location::{RepositoryPrefix, reindex_prefix},
    port::{Attributes, NewObject, ObjectStore, Precondition},
    snapshot::Snapshot,
};

/// How many indexes one reindex rebuilds at most: their keys travel in one message of 256 KiB.
const MAX_INDEXES: usize = 1500;

/// What a reindex requests of this step.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum ReindexRequest {
    /// To find the indexes below a prefix.
    Discover {
        /// The bucket.
        bucket: String,
        /// `<repository>/<architecture>/`, or its beginning up to a slash, or nothing.
        prefix: String,
    },
    /// To write the report of a run.
    Report {
        /// The bucket.
        bucket: String,
        /// The name of the run.
        run: String,
        /// The keys of indexes that could not be published.
        unpublished: Vec<String>,
        /// The key of the manifest of the distributed map, if there was one.
        #[serde(default)]
        manifest: Option<String>,
    },
}

impl ReindexRequest {
    /// Returns the bucket of the request.
    pub fn bucket(&self) -> &str {
        match self {
            Self::Discover { bucket, .. } | Self::Report { bucket, .. } => bucket,
        }
    }
}

/// The response to a [`ReindexRequest`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ReindexResponse {
    /// The keys of the indexes.
    Discovered {
        /// Each `<repository>/<architecture>/APKINDEX.tar.gz`, whether or not it exists.
        indexes: Vec<String>,
    },
    /// Where the report is, and how many packages it has.
    Reported(Summary),
}

/// Where a report is, and how many packages it has.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Summary {
    /// The key of the report.
    pub report: String,
    /// How many packages got a new fragment.
    pub indexed: usize,
    /// How many already had the right one.
    pub unchanged: usize,
    /// How many were rejected.
    pub rejected: usize,
    /// How many are gone.
    pub removed: usize,
}

/// What a run did: sorted keys of packages.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Report {
    /// Listed, with a fragment that this run wrote.
    pub indexed: Vec<String>,
    /// Listed, with a fragment that was already right.
    pub unchanged: Vec<String>,
    /// Not listed, and why.
    pub rejected: Vec<Rejected>,
    /// Not listed, because somebody withdrew them.
    #[serde(default)]
    pub withdrawn: Vec<String>,
    /// Gone, although they were listed or had a fragment.
    pub removed: Vec<String>,
    /// Existing, but not listed yet: uploaded or replaced during the run. Each has its own
    /// execution.
    pub changed: Vec<String>,
    /// Neither indexed nor rejected, because something else failed: not listed, or listed as
    /// before.
    pub failed: Vec<String>,
    /// The keys of indexes that could not be published.
    pub unpublished: Vec<String>,
}

/// Finds the indexes to rebuild, or writes the report of a run.
///
/// # Errors
///
/// [`Failure::InvalidInput`], if the prefix is neither empty nor ends in a slash;
/// [`Failure::TooManyDirectories`]; [`Failure::TooManyIndexes`]; [`Failure::Incomplete`], if the
/// run did not finish every package and every index, which the report still records;
/// [`Failure::Journal`]; [`Failure::Store`].
pub async fn reindex<S: ObjectStore>(
    store: &S,
    request: ReindexRequest,
) -> Result<ReindexResponse, Failure> {
    match request {
        ReindexRequest::Discover { prefix, .. } => discover(store, prefix).await,
        ReindexRequest::Report { run, unpublished, manifest, .. } => {
            let failed = match manifest {
                Some(manifest) => Some(journal::failed(store, &manifest).await?),
                None => None,
            };
            report(store, &run, unpublished, failed).await
        }
    }
}

async fn discover<S: ObjectStore>(store: &S, prefix: String) -> Result<ReindexResponse, Failure> {
    if !prefix.is_empty() && !prefix.ends_with('/') {
        return Err(Failure::InvalidInput);
    }
    let prefixes = discovery::repositories(store, &prefix).await?;
    let indexes: Vec<_> = prefixes.iter().map(RepositoryPrefix::index_key).collect();
    match indexes.len() {
        found if found > MAX_INDEXES => Err(Failure::TooManyIndexes { found, max: MAX_INDEXES }),
        _ => Ok(ReindexResponse::Discovered { indexes }),
    }
}

async fn report<S: ObjectStore>(
    store: &S,
    run: &str,
    unpublished: Vec<String>,
    failed: Option<BTreeSet<String>>,
) -> Result<ReindexResponse, Failure> {
    let mut report = Report { unpublished, ..Report::default() };
    report.rejected = journal::rejected(store, run).await?;
    let rejected: BTreeSet<_> =
        report.rejected.iter().map(|rejected| rejected.key.clone()).collect();
    let is_told = failed.is_some();
    let failed = failed.unwrap_or_default();
    for found in journal::repositories(store, run).await? {
        report.indexed.extend(found.indexed);
        report.unchanged.extend(found.unchanged.into_iter().filter(|key| !failed.contains(key)));
        report.withdrawn.extend(found.withdrawn);
        report.removed.extend(found.removed);
        let known = |key: &String| rejected.contains(key) || failed.contains(key);
        let unlisted = found.unlisted.into_iter().filter(|key| !known(key));
        // A package that was inspected and neither failed nor was rejected got a fragment. If it is
        // not listed, it was uploaded or replaced since.
        if is_told { &mut report.changed } else { &mut report.failed }.extend(unlisted);
    }
    report.failed.extend(failed);
    let Report { indexed, unchanged, withdrawn, removed, changed, failed, .. } = &mut report;
    for keys in [indexed, unchanged, withdrawn, removed, changed, failed] {
        keys.sort_unstable();
    }
    let key = format!("{}report.json", reindex_prefix(run));
    let bytes = serde_json::to_vec_pretty(&report)
        .map_err(|source| Failure::Journal { key: key.clone(), source })?;
    let object =
        NewObject { bytes, content_type: "application/json", attributes: Attributes::new() };
    store.put(&key, object, Precondition::None).await?;
    let (failed, unpublished) = (report.failed.len(), report.unpublished.len());
    if failed > 0 || unpublished > 0 {
        return Err(Failure::Incomplete { report: key, failed, unpublished });
    }
    Ok(ReindexResponse::Reported(Summary {
        report: key,
        indexed: report.indexed.len(),
        unchanged: report.unchanged.len(),
        rejected: report.rejected.len(),
        removed: report.removed.len(),
    }))
}

/// How many journal objects are read at once.
const PARALLEL_READS: usize = 32;

/// Returns the packages, by `<name>-<version>`, that a reindex rejected although they have not
/// changed since they were listed: a setting became stricter, or a key is no longer trusted. Their
/// fragments are gone, and nothing else distinguishes them from packages whose fragments were lost.
pub(super) async fn rejected<S: ObjectStore>(
    store: &S,
    run: &str,
    listing: &Listing,
    cached: &Snapshot,
) -> Result<Vec<String>, Failure> {
    let doubtful: Vec<_> = cached
        .rows()
        .filter(|row| !listing.fragments.contains_key(row.stem()))
        .filter_map(|row| Some((row, listing.packages.get(row.stem())?)))
        .filter(|(row, package)| row.is_of_package(&package.etag))
        .collect();
    stream::iter(doubtful)
        .map(async |(row, package)| {
            let is_rejected = journal::is_rejected(store, run, &package.key, &package.etag).await?;
            Ok::<_, Failure>(is_rejected.then(|| row.stem().to_owned()))
        })
        .buffer_unordered(PARALLEL_READS)
        .try_filter_map(async |stem| Ok(stem))
        .try_collect()
        .await
}

/// Records what became of each package in the journal of a reindex, and removes the fragments of
/// packages that are gone. `gone` is what is not listed any more, `listed` what is.
pub(super) async fn record_found<S: ObjectStore>(
    store: &S,
    run: &str,
    prefix: &RepositoryPrefix,
    listing: &Listing,
    mut gone: BTreeSet<String>,
    listed: &HashSet<&str>,
) -> Result<(), Failure> {
    let indexed: HashSet<_> = journal::indexed(store, run, prefix).await?.into_iter().collect();
    let mut found = RepositoryResult::default();
    for stem in listing.packages.keys() {
        match listed.contains(stem.as_str()) {
            false => &mut found.unlisted,
            true if indexed.contains(stem) => &mut found.indexed,
            true => &mut found.unchanged,
        }
        .push(prefix.package_key(stem));
    }
    found.withdrawn = listing.withdrawn.keys().map(|stem| prefix.package_key(stem)).collect();
    for (stem, fragment) in &listing.fragments {
        let is_orphan = !listing.packages.contains_key(stem)
            && !listing.withdrawn.contains_key(stem)
            && store.head(&prefix.package_key(stem)).await?.is_none()
            && fragment::is_ours(store, prefix, &fragment.key).await?;
        if is_orphan {
            store.delete(&fragment.key, &fragment.etag).await?;
            gone.insert(stem.clone());
        }
    }
    gone.retain(|stem| {
        !listing.packages.contains_key(stem) && !listing.withdrawn.contains_key(stem)
    });
    found.removed = gone.iter().map(|stem| prefix.package_key(stem)).collect();
    let RepositoryResult { indexed, unchanged, unlisted, withdrawn, .. } = &mut found;
    for keys in [indexed, unchanged, unlisted, withdrawn] {
        keys.sort_unstable();
    }
    journal::record_repository(store, run, prefix, &found).await
}

use std::collections::HashMap;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tracing::{info, warn};

use crate::{
    failure::Failure,
    fragment,
    location::{PackageKey, RepositoryPrefix},
    message::{Aggregated, Staged, Written},
    port::{self, Listed, NewObject, ObjectInfo, ObjectStore, Precondition},
    snapshot::{self, Record, Snapshot},
    step::DIGEST,
};

/// How many fragments are read at once.
const PARALLEL_READS: usize = 32;

/// Makes the index of the repository prefix as the bucket is now, and stages it if it differs from
/// the published one.
///
/// The published index is looked at before the bucket is listed: it may be replaced only if it is
/// still the same, so nobody can have published anything newer than our listing.
///
/// Costs a listing, one read for each fragment that changed since the last publication, and four
/// more requests.
///
/// # Errors
///
/// [`Failure::Superseded`], if the listing shows that the package is not as the request says;
/// [`Failure::Store`].
pub async fn aggregate<S: ObjectStore>(store: &S, request: Written) -> Result<Aggregated, Failure> {
    let Ok(key) = request.target.key.parse::<PackageKey>() else {
        return Ok(Aggregated { written: request, staged: None });
    };
    let prefix = key.prefix();
    let published = store.head(&prefix.index_key()).await?;
    let remembered = remembered_snapshot(store, prefix).await?;
    if is_current(prefix, &remembered, published.as_ref()) && covers(&remembered, &key, &request) {
        info!(index = prefix.index_key(), "published index covers the change already");
        return Ok(Aggregated { written: request, staged: None });
    }
    let listing = Listing::new(store.list(&prefix.to_string()).await?);
    listing.check(&key, &request)?;
    let snapshot = collect(store, prefix, &listing, &remembered).await?;
    let staged = stage(store, prefix, &snapshot, published).await?;
    Ok(Aggregated { written: request, staged })
}

/// Returns the snapshot of the last publication. A lost or damaged one costs time, nothing else.
async fn remembered_snapshot<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
) -> Result<Snapshot, Failure> {
    let key = prefix.snapshot_key();
    let Some(object) = port::read(store, &key, snapshot::MAX_STORED).await? else {
        return Ok(Snapshot::default());
    };
    Ok(Snapshot::from_bytes(&object.body).unwrap_or_else(|error| {
        warn!(key, %error, "snapshot is damaged; all fragments are read again");
        Snapshot::default()
    }))
}

/// Tells whether the published index is the one that `remembered` was taken of.
fn is_current(
    prefix: &RepositoryPrefix,
    remembered: &Snapshot,
    published: Option<&ObjectInfo>,
) -> bool {
    let digest = snapshot::digest(prefix, &remembered.index());
    published.and_then(|index| index.attributes.get(DIGEST)) == Some(&digest)
}

/// Tells whether a snapshot has the change: by ETags, since a name says nothing of the content.
fn covers(snapshot: &Snapshot, key: &PackageKey, request: &Written) -> bool {
    match (&request.fragment, snapshot.record(key.stem())) {
        (None, None) => true,
        (Some(written), Some(record)) => {
            record.package == written.package && record.fragment == written.fragment
        }
        _ => false,
    }
}

/// The packages and fragments of a repository prefix, by `<name>-<version>`.
struct Listing {
    packages: HashMap<String, Listed>,
    fragments: HashMap<String, Listed>,
}

impl Listing {
    fn new(objects: Vec<Listed>) -> Self {
        let mut listing = Self { packages: HashMap::new(), fragments: HashMap::new() };
        for object in objects {
            let file = object.key.rsplit('/').next().unwrap_or_default();
            if let Some(stem) = file.strip_suffix(".apk") {
                listing.packages.insert(stem.to_owned(), object);
            } else if let Some(stem) = file.strip_suffix(".index") {
                listing.fragments.insert(stem.to_owned(), object);
            }
        }
        listing
    }

    /// Checks that the package and its fragment are still as the execution left them.
    fn check(&self, key: &PackageKey, request: &Written) -> Result<(), Failure> {
        let package = self.packages.get(key.stem());
        let fragment = self.fragments.get(key.stem());
        let unchanged = match &request.fragment {
            Some(written) => {
                package.is_some_and(|package| package.etag == written.package)
                    && fragment.is_some_and(|fragment| fragment.etag == written.fragment)
            }
            None => package.is_none() || request.refusal.is_some(),
        };
        if unchanged { Ok(()) } else { Err(Failure::Superseded { key: key.to_string() }) }
    }
}

/// Collects the entries of all packages that have a fragment, reading the fragments that
/// `remembered` does not know.
async fn collect<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
    listing: &Listing,
    remembered: &Snapshot,
) -> Result<Snapshot, Failure> {
    let mut records = Vec::new();
    let mut changed = Vec::new();
    for (stem, package) in &listing.packages {
        let Some(fragment) = listing.fragments.get(stem) else { continue };
        match remembered.record(stem) {
            Some(known) if known.package == package.etag && known.fragment == fragment.etag => {
                records.push(known.clone());
            }
            _ => changed.push((package, fragment)),
        }
    }
    info!(changed = changed.len(), packages = listing.packages.len(), "fragments compared");
    let read: Vec<_> = stream::iter(changed)
        .map(|(package, fragment)| read_record(store, prefix, package, fragment))
        .buffer_unordered(PARALLEL_READS)
        .try_collect()
        .await?;
    records.extend(read.into_iter().flatten());
    Ok(Snapshot::new(records))
}

/// Reads a fragment. One that can't be listed leaves its package out, and nothing else.
async fn read_record<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
    package: &Listed,
    written: &Listed,
) -> Result<Option<Record>, Failure> {
    let key = &written.key;
    let Some(object) = port::read(store, key, fragment::MAX_LENGTH).await? else {
        return Ok(None);
    };
    let fragment_etag = object.info.etag.clone();
    match fragment::entry(object, written, prefix, package) {
        Ok(entry) => {
            Ok(Some(Record { package: package.etag.clone(), fragment: fragment_etag, entry }))
        }
        Err(error) => {
            warn!(key, %error, "fragment passed over");
            Ok(None)
        }
    }
}

async fn stage<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
    snapshot: &Snapshot,
    published: Option<ObjectInfo>,
) -> Result<Option<Staged>, Failure> {
    let index = snapshot.index();
    let digest = snapshot::digest(prefix, &index);
    let right = match &published {
        Some(published) => published.attributes.get(DIGEST) == Some(&digest),
        None => index.entries().is_empty(),
    };
    if right {
        info!(index = prefix.index_key(), "published index is right already");
        return Ok(None);
    }
    let key = prefix.staged_key(&digest);
    let bytes = snapshot
        .to_bytes()
        .map_err(|source| Failure::StagedDamaged { key: key.clone(), source })?;
    store.put(&key, snapshot_object(bytes), Precondition::None).await?;
    Ok(Some(Staged { key, replaces: published.map(|index| index.etag) }))
}

/// Returns a snapshot as an object.
pub(super) fn snapshot_object(bytes: Vec<u8>) -> NewObject {
    NewObject { bytes, content_type: "application/gzip", attributes: port::Attributes::new() }
}

use std::collections::HashMap;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use sha2::{Digest as _, Sha256};
use tracing::{info, warn};

use crate::{
    failure::Failure,
    fragment,
    location::{PackageKey, RepositoryPrefix},
    message::{Aggregated, Staged, Written},
    port::{self, ETag, Listed, NewObject, ObjectInfo, ObjectStore, Precondition, StoreError},
    snapshot::{self, Record, Snapshot},
    step::DIGEST,
};

/// How many fragments are read at once.
const PARALLEL_READS: usize = 32;

/// How often the bucket is looked at while others keep publishing.
const ATTEMPTS: usize = 8;

/// Makes the index of the repository prefix as the bucket is now, and stages it if it differs from
/// the published one.
///
/// What is published is looked at before the bucket is listed, and may be replaced only if it is
/// still the same, so nobody can have published anything newer than our listing. If there is nothing
/// to publish although this execution changed something, the remembered snapshot is replaced all the
/// same: an execution that listed the bucket before our change then can't publish any more.
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
    for _ in 0..ATTEMPTS {
        match attempt(store, &key, &request).await {
            Err(Failure::Store(StoreError::Conflict { .. })) => {}
            outcome => return Ok(Aggregated { staged: outcome?, written: request }),
        }
    }
    Err(Failure::Contended { key: key.prefix().snapshot_key() })
}

async fn attempt<S: ObjectStore>(
    store: &S,
    key: &PackageKey,
    request: &Written,
) -> Result<Option<Staged>, Failure> {
    let prefix = key.prefix();
    let published = store.head(&prefix.index_key()).await?;
    let mut remembered = Remembered::read(store, prefix).await?;
    let is_current = remembered.is_of(prefix, published.as_ref());
    if is_current && covers(&remembered.snapshot, key, request) {
        info!(index = prefix.index_key(), "published index covers the change already");
        return Ok(None);
    }
    if request.fragment.is_none() {
        remembered.snapshot.forget(key.stem());
    }
    let listing = Listing::new(store.list(&prefix.to_string()).await?);
    listing.check(key, request)?;
    let records = collect(store, prefix, &listing, &remembered.snapshot).await?;
    let snapshot = Snapshot::new(remembered.etag.clone(), records);
    let index = snapshot.index();
    let is_right = match &published {
        Some(published) => {
            published.attributes.get(DIGEST) == Some(&snapshot::digest(prefix, &index))
        }
        None => index.entries().is_empty(),
    };
    if !is_right {
        let replaces = published.map(|index| index.etag);
        return stage(store, prefix, &snapshot, replaces, remembered.etag).await.map(Some);
    }
    info!(index = prefix.index_key(), "published index is right already");
    if request.changed {
        let bytes = bytes_of(&snapshot, prefix.snapshot_key())?;
        let still = Precondition::still(remembered.etag);
        store.put(&prefix.snapshot_key(), snapshot_object(bytes), still).await?;
    }
    Ok(None)
}

/// The snapshot of the last publication, and its version.
struct Remembered {
    etag: Option<ETag>,
    snapshot: Snapshot,
}

impl Remembered {
    /// Reads the snapshot. A lost or damaged one costs time, nothing else.
    async fn read<S: ObjectStore>(store: &S, prefix: &RepositoryPrefix) -> Result<Self, Failure> {
        let key = prefix.snapshot_key();
        let Some(object) = port::read(store, &key, snapshot::MAX_STORED).await? else {
            return Ok(Self { etag: None, snapshot: Snapshot::default() });
        };
        let snapshot = Snapshot::from_bytes(&object.body).unwrap_or_else(|error| {
            warn!(key, %error, "snapshot is damaged; all fragments are read again");
            Snapshot::default()
        });
        Ok(Self { etag: Some(object.info.etag), snapshot })
    }

    /// Tells whether the published index is the one that the snapshot was taken of.
    fn is_of(&self, prefix: &RepositoryPrefix, published: Option<&ObjectInfo>) -> bool {
        let digest = snapshot::digest(prefix, &self.snapshot.index());
        published.and_then(|index| index.attributes.get(DIGEST)) == Some(&digest)
    }
}

/// Tells whether a snapshot has the change, so that whoever took it listed the bucket after the
/// change was made. By ETags, since a name says nothing of the content. That a snapshot lacks a
/// fragment which we removed proves nothing: it may never have had it.
fn covers(snapshot: &Snapshot, key: &PackageKey, request: &Written) -> bool {
    match (&request.fragment, snapshot.record(key.stem())) {
        (None, None) => !request.changed,
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

/// Collects the entries of all packages that have a fragment or are remembered, reading the
/// fragments that changed.
///
/// What is remembered of a package that is still the same holds even if its fragment is lost or
/// garbled: an entry follows from the package alone.
async fn collect<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
    listing: &Listing,
    remembered: &Snapshot,
) -> Result<Vec<Record>, Failure> {
    let mut records = Vec::new();
    let mut changed = Vec::new();
    for (stem, package) in &listing.packages {
        let known = remembered.record(stem).filter(|known| known.package == package.etag);
        match (known, listing.fragments.get(stem)) {
            (Some(known), None) => records.push(known.clone()),
            (Some(known), Some(fragment)) if known.fragment == fragment.etag => {
                records.push(known.clone());
            }
            (known, Some(fragment)) => changed.push((package, fragment, known)),
            (None, None) => warn!(key = package.key, "package has no fragment and is not listed"),
        }
    }
    info!(changed = changed.len(), packages = listing.packages.len(), "fragments compared");
    let read: Vec<_> = stream::iter(changed)
        .map(async |(package, fragment, known)| {
            let record = read_record(store, prefix, package, fragment).await?;
            Ok::<_, Failure>(record.or_else(|| known.cloned()))
        })
        .buffer_unordered(PARALLEL_READS)
        .try_collect()
        .await?;
    records.extend(read.into_iter().flatten());
    Ok(records)
}

/// Reads a fragment. One that can't be listed is passed over and harms no other.
async fn read_record<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
    package: &Listed,
    written: &Listed,
) -> Result<Option<Record>, Failure> {
    let key = &written.key;
    let object = match port::read(store, key, fragment::MAX_LENGTH).await {
        Ok(Some(object)) => object,
        Ok(None) => return Ok(None),
        Err(error @ StoreError::TooLarge { .. }) => {
            warn!(key, %error, "fragment passed over");
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
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

/// Stages a snapshot under the digest of its bytes, so that nobody overwrites another's.
async fn stage<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
    snapshot: &Snapshot,
    replaces: Option<ETag>,
    follows: Option<ETag>,
) -> Result<Staged, Failure> {
    let bytes = bytes_of(snapshot, prefix.snapshot_key())?;
    let key = prefix.staged_key(&hex::encode(Sha256::digest(&bytes)));
    store.put(&key, snapshot_object(bytes), Precondition::None).await?;
    Ok(Staged { key, replaces, follows })
}

fn bytes_of(snapshot: &Snapshot, key: String) -> Result<Vec<u8>, Failure> {
    snapshot.to_bytes().map_err(|source| Failure::StagedDamaged { key, source })
}

/// Returns a snapshot as an object.
pub(super) fn snapshot_object(bytes: Vec<u8>) -> NewObject {
    NewObject { bytes, content_type: "application/gzip", attributes: port::Attributes::new() }
}

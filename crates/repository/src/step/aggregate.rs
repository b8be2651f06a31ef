use futures::{StreamExt as _, TryStreamExt as _, stream};
use tracing::{info, warn};

use crate::{
    failure::Failure,
    fragment,
    listing::Listing,
    location::{RepositoryPrefix, Subject},
    message::{Aggregated, Staged, Waiting, Written},
    port::{self, Attributes, Listed, NewObject, ObjectStore, Precondition, StoreError},
    snapshot::{self, Generation, Header, Record, Snapshot},
    step::{
        DIGEST,
        look::{Base, Verdict, Work, look},
    },
};

/// How many fragments are read at once.
const PARALLEL_READS: usize = 32;

/// Makes the index of the repository prefix as the bucket is now, and stages it if it differs from
/// the published one. Before that, looks whether another execution has done so or is at it.
///
/// The remembered snapshot and the published index are looked at before the bucket is listed, and
/// each may be replaced only if it is still the same, so nobody can have published anything newer than
/// our listing. If there is nothing to publish although this execution changed something, the snapshot
/// is replaced all the same: an execution that listed the bucket before our change then can't publish
/// any more.
///
/// Costs two or three requests if the change is covered, four if another execution is at work;
/// otherwise a listing, one read for each fragment that changed since the last publication, and four
/// more requests.
///
/// # Errors
///
/// [`Failure::Superseded`], if the package is not as the request says any more; [`Failure::Store`].
pub async fn aggregate<S: ObjectStore>(
    store: &S,
    request: Aggregated,
) -> Result<Aggregated, Failure> {
    let Ok(subject) = request.written.target.key.parse::<Subject>() else {
        return Ok(request.written.into());
    };
    let generation = match look(store, &subject, &request).await? {
        Verdict::Covered => {
            info!(key = %subject, "published index covers the change already");
            return Ok(request.written.into());
        }
        Verdict::Busy(generation) => generation,
        Verdict::Work(Work { claim, base }) => {
            let generation = base.generation;
            match make(store, &subject, &request.written, base, !claim.is_first()).await {
                Ok(Made::Snapshot(staged)) => {
                    return Ok(Aggregated { written: request.written, staged, waiting: None });
                }
                Err(Failure::Store(StoreError::Conflict { .. })) => generation,
                Ok(Made::Nothing) => {
                    claim.release(store).await?;
                    return Ok(request.written.into());
                }
                Err(failure) => {
                    claim.release(store).await?;
                    return Err(failure);
                }
            }
        }
    };
    let Waiting { since, times } = request.waiting.unwrap_or_default();
    // While nothing is remembered there is nothing to count from.
    let since = if since == 0 { generation } else { since };
    info!(key = %subject, since, times, "another execution is at work");
    let waiting = Some(Waiting { since, times: times + 1 });
    Ok(Aggregated { written: request.written, staged: None, waiting })
}

/// What came of a listing.
enum Made {
    /// A new snapshot, and whether its index is to be published.
    Snapshot(Option<Staged>),
    /// Everything is as it was.
    Nothing,
}

async fn make<S: ObjectStore>(
    store: &S,
    subject: &Subject,
    written: &Written,
    base: Base,
    is_taken_over: bool,
) -> Result<Made, Failure> {
    let Base { etag, generation, snapshot: mut remembered, published } = base;
    let prefix = subject.prefix();
    let is_gone = written.fragment.is_none();
    if let Some(stem) = subject.stem().filter(|_| is_gone) {
        remembered.forget(stem);
    }
    let listing = Listing::read(store, prefix, &remembered).await?;
    check(&listing, subject, written)?;
    let generation = match generation {
        0 => u64::try_from(listing.youngest).unwrap_or_default() + 1,
        generation => generation + 1,
    };
    let snapshot = collect(store, prefix, &listing, &remembered, generation).await?;
    let digest = snapshot::digest(prefix, &snapshot.index());
    let is_right = match &published {
        Some(published) => published.attributes.get(DIGEST) == Some(&digest),
        None => snapshot.is_empty(),
    };
    let is_fence = is_taken_over || written.changed || (subject.stem().is_some() && is_gone);
    if is_right && !is_fence && snapshot == remembered {
        return Ok(Made::Nothing);
    }
    let header = Header { generation, digest, packages: snapshot.len() };
    let key = prefix.snapshot_key();
    let bytes = snapshot
        .to_bytes(&header)
        .map_err(|source| Failure::StagedDamaged { key: key.clone(), source })?;
    let object = NewObject { bytes, content_type: "application/gzip", attributes: Attributes::new() };
    let etag = store.put(&key, object, Precondition::still(etag)).await?;
    info!(key, generation, packages = header.packages, is_right, "snapshot written");
    let replaces = published.map(|index| index.etag);
    if !is_right {
        return Ok(Made::Snapshot(Some(Staged { snapshot: etag, replaces })));
    }
    // Whoever made the snapshot before ours may have come to publish it since we looked at the index.
    let present = store.head(&prefix.index_key()).await?.map(|index| index.etag);
    let is_still_right = present == replaces;
    let staged = Staged { snapshot: etag, replaces: present };
    Ok(Made::Snapshot((!is_still_right).then_some(staged)))
}

/// Checks that the package and its fragment are still as the execution left them.
fn check(listing: &Listing, subject: &Subject, written: &Written) -> Result<(), Failure> {
    let Some(stem) = subject.stem() else { return Ok(()) };
    let package = listing.packages.get(stem);
    let fragment = listing.fragments.get(stem);
    let unchanged = match &written.fragment {
        Some(written) => {
            package.is_some_and(|package| package.etag == written.package)
                && fragment.is_some_and(|fragment| fragment.etag == written.fragment)
        }
        None => package.is_none_or(|package| {
            written.refusal.as_ref().is_some_and(|r| r.package.as_ref() == Some(&package.etag))
        }),
    };
    if unchanged { Ok(()) } else { Err(Failure::Superseded { key: subject.to_string() }) }
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
    generation: Generation,
) -> Result<Snapshot, Failure> {
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
            let record = read_record(store, prefix, package, fragment, generation).await?;
            Ok::<_, Failure>(record.or_else(|| known.cloned()))
        })
        .buffer_unordered(PARALLEL_READS)
        .try_collect()
        .await?;
    records.extend(read.into_iter().flatten());
    Ok(Snapshot::new(records))
}

/// Reads a fragment. One that can't be listed is passed over and harms no other.
async fn read_record<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
    package: &Listed,
    written: &Listed,
    since: Generation,
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
    let fragment = object.info.etag.clone();
    match fragment::entry(object, written, prefix, package) {
        Ok(entry) => Ok(Some(Record { package: package.etag.clone(), fragment, since, entry })),
        Err(error) => {
            warn!(key, %error, "fragment passed over");
            Ok(None)
        }
    }
}

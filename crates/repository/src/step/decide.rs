//! Whether there is work left for an execution.

use std::time::Duration;

use crate::{
    cached_snapshot::CachedSnapshot,
    failure::Failure,
    lease::Lease,
    location::{RepositoryPrefix, Subject},
    message::AggregateRequest,
    port::{ETag, Generation, ObjectStore, StoreError},
    snapshot::Snapshot,
    step::{LISTED, published::Published},
    withdrawal,
};

/// How long a snapshot is presumed to be waiting for its signature, which takes a few seconds.
pub(super) const SIGNING_TIME: Duration = Duration::from_secs(15);

/// How long after a snapshot the next change is presumed to be one of many: its execution lists the
/// bucket and publishes the rest with its own.
const CROWD_TIME: Duration = Duration::from_secs(2);

/// How many packages a snapshot changes at least that was made for very many executions. For the
/// next moments, the others only wait.
const CROWD_SIZE: usize = 8;

/// What an execution has to do.
pub(super) enum Decision {
    /// Nothing: the published index has the change, and nobody can publish one without it.
    UpToDate,
    /// To check again later: another execution is at work.
    Contended(Contention),
    /// To make the next snapshot.
    Work(Box<Job>),
}

/// The current snapshot, while another execution is at work.
pub(super) struct Contention {
    /// Its generation.
    pub(super) generation: Generation,
    /// How many packages it changed, if that was just now.
    pub(super) changes: usize,
}

/// What to start from, and the lease.
pub(super) struct Job {
    pub(super) lease: Lease,
    pub(super) base: Baseline,
    /// Whether no other execution seems to be at work, so that nothing but our own change is
    /// missing.
    pub(super) is_alone: bool,
}

/// The state before the bucket is listed. Nothing else may be replaced.
#[derive(Clone)]
pub(super) struct Baseline {
    /// The version of the snapshot.
    pub(super) etag: Option<ETag>,
    /// Its generation, 0 if there is none.
    pub(super) generation: Generation,
    /// The last generation that was made from a listing of the bucket, 0 if unknown.
    pub(super) listed: Generation,
    /// The snapshot itself.
    pub(super) snapshot: Snapshot,
    /// Whether an index of format v3 belongs to the snapshot.
    pub(super) has_adb: bool,
    /// What is published.
    pub(super) published: Published,
    /// Whether that is what belongs to the snapshot. If not, somebody may be about to publish the
    /// snapshot.
    pub(super) is_published: bool,
}

/// Decides what is left to do, from the snapshot, the index and the lease, which it takes if there
/// is work.
///
/// A snapshot that has our fragment proves nothing alone. If the package and the fragment existed
/// before with the same content, the snapshot may be older than our change, and an execution that
/// inspected the package in between, alone or in a listing, may be about to publish an index
/// without it. That execution started from the snapshot that we see or an older one, and only in
/// the former case can it still publish. So our change is covered if
///
/// - the snapshot agrees with it and is newer than one that we saw after our change, or
/// - the snapshot agrees with it and nobody has ever taken the lease for the next one: whoever does
///   so from now on will see our change.
///
/// A snapshot that disagrees proves nothing if its maker inspected only another package. But if the
/// last snapshot that was made from a listing is newer by two, its maker started from one that is
/// newer than our change, and saw what exists. If the snapshot disagrees nevertheless, others have
/// changed the package since.
///
/// Where apk can't order the versions of a package, only such a listing counts: a snapshot may have
/// the same objects but come from a listing before they were uploaded again in another order.
///
/// Of many executions that wait, most are covered by such a listing before they look again. The
/// published index says so itself, whoever is making the next one, in a single request.
///
/// # Errors
///
/// [`Failure::Superseded`], if others have changed the package since; [`Failure::Store`].
pub(super) async fn decide<S: ObjectStore>(
    store: &S,
    subject: &Subject,
    request: &AggregateRequest,
) -> Result<Decision, Failure> {
    let AggregateRequest { written, staged, waiting } = request;
    let prefix = subject.prefix();
    if let (Subject::Package(_), Some(waiting)) = (subject, waiting)
        && waiting.since > 0
        && written.target.reindex.is_none()
        && published_listing(store, prefix).await?.saturating_sub(waiting.since) > 1
    {
        return Ok(Decision::UpToDate);
    }
    let mut cached = CachedSnapshot::begin(store, prefix).await?;
    let generation = cached.generation();
    let age = cached.age();
    let is_young = age.is_some_and(|age| age < SIGNING_TIME);
    let changes = cached.header().filter(|_| is_young).map_or(0, |header| header.changes);
    let contended = Decision::Contended(Contention { generation, changes });
    let is_new = age.is_some_and(|age| age < CROWD_TIME);
    if is_new && changes >= CROWD_SIZE && staged.is_none() {
        return Ok(contended);
    }
    let has_adb = cached.header().is_some_and(|header| header.adb.is_some());
    let mut published = Published::look(store, prefix, has_adb).await?;
    if cached.header().is_none() && written.is_unlisted() {
        // Somebody else's index of format v3 may still list what is gone.
        published.look_at_adb(store, prefix).await?;
    }
    let listed = cached.header().map_or(0, |header| header.listed);
    let newer_by = |generation: Generation| match waiting.as_ref().map(|waiting| waiting.since) {
        None => 0,
        // There was no snapshot then. The current one may be the first after that.
        Some(0) => generation.min(1),
        Some(since) => generation.saturating_sub(since),
    };
    let (newer_by, listed_by) = (newer_by(generation), newer_by(listed));
    // A change of the last minutes is found at the beginning of the snapshot, or nowhere.
    let is_recent = !written.is_unlisted() && written.changed;
    if !is_recent || listed_by > 1 {
        cached.read_on().await?;
    }
    let is_published = published.is_of(cached.header());
    if is_published {
        let row = subject.stem().and_then(|stem| cached.row(stem));
        let agrees = subject.stem().is_some_and(|stem| match &written.fragment {
            Some(fragment) if !written.withdrawn => cached.has(stem, fragment),
            _ => row.is_none(),
        });
        // Among versions that apk can't tell apart, the latest upload comes first, and only a
        // listing shows when that was.
        let is_tied = || row.is_some_and(|row| row.rank() > 0);
        let is_covered = match newer_by {
            _ if !agrees => false,
            _ if listed_by > 1 => true,
            _ if is_tied() => false,
            0 => !Lease::exists(store, prefix, generation).await?,
            _ => true,
        };
        if is_covered {
            return Ok(Decision::UpToDate);
        }
        match subject {
            // A reindex must record what is listed.
            Subject::Index(_) if listed_by > 1 && written.target.reindex.is_none() => {
                return Ok(Decision::UpToDate);
            }
            // Its maker may have seen a withdrawal that we did not.
            Subject::Package(key)
                if listed_by > 1
                    && !written.is_unlisted()
                    && withdrawal::reason(store, key).await?.is_none() =>
            {
                return Err(Failure::Superseded { key: key.to_string() });
            }
            _ => {}
        }
    }
    // Somebody who replaced our index with their own publishes no snapshot of ours.
    let is_foreign = published.is_foreign();
    let is_ours = staged.as_ref().is_some_and(|ours| Some(&ours.snapshot) == cached.etag());
    if !is_published && !is_ours && !is_foreign && is_young {
        return Ok(contended);
    }
    let owner = &written.target.key;
    let Some(lease) = Lease::take(store, prefix, generation, owner).await? else {
        return Ok(contended);
    };
    let is_alone = generation > 0
        && waiting.is_none()
        && staged.is_none()
        && is_published
        && !lease.was_stolen()
        && !is_new;
    cached.read_on().await?;
    // The rest of it may have turned out to be damaged.
    let generation = cached.generation();
    let etag = cached.etag().cloned();
    let snapshot = cached.into_snapshot().await?;
    let base = Baseline { etag, generation, listed, snapshot, has_adb, published, is_published };
    Ok(Decision::Work(Box::new(Job { lease, base, is_alone })))
}

/// Returns the last generation that was made from a listing of the bucket, up to that of the
/// published index; 0 if unknown.
async fn published_listing<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
) -> Result<Generation, StoreError> {
    let index = store.head(&prefix.index_key()).await?;
    let listed = index.and_then(|index| index.attributes.get(LISTED)?.parse().ok());
    Ok(listed.unwrap_or_default())
}

//! Whether there is work left for an execution.

use std::time::Duration;

use crate::{
    cached_snapshot::CachedSnapshot,
    failure::Failure,
    lease::Lease,
    location::Subject,
    message::{AggregateRequest, Written},
    port::{ETag, Generation, ObjectInfo, ObjectStore},
    snapshot::{Header, Snapshot},
    step::DIGEST,
};

/// How long a snapshot is taken to be on its way to be signed, which takes a few seconds.
pub(super) const SIGNING_TIME: Duration = Duration::from_secs(15);

/// What an execution has to do.
pub(super) enum Decision {
    /// Nothing: the published index has the change, and nobody can publish one that has not.
    UpToDate,
    /// To look again later: somebody else is at work. The snapshot of this generation is the last.
    Contended(Generation),
    /// To list the bucket.
    Work(Box<Job>),
}

/// What to begin with, and the right to it.
pub(super) struct Job {
    pub(super) lease: Lease,
    pub(super) base: Baseline,
}

/// What was there before the bucket is listed: only this may be replaced.
pub(super) struct Baseline {
    /// The version of the snapshot.
    pub(super) etag: Option<ETag>,
    /// Its generation, 0 if there is none.
    pub(super) generation: Generation,
    /// Its records.
    pub(super) snapshot: Snapshot,
    /// The published index.
    pub(super) published: Option<ObjectInfo>,
    /// Whether that is the snapshot's. If not, somebody may be about to publish the snapshot.
    pub(super) is_published: bool,
}

/// Looks at the snapshot, at the index and at the lease.
///
/// A snapshot that has our fragment proves nothing by itself. If the package and the fragment had
/// been there before, with the same content, it may be older than our change, and somebody who
/// listed the bucket in between may be about to publish an index without the package. Such an
/// execution began with the snapshot that we see or an older one, and only the former can come to
/// publish. So our change is covered if
///
/// - the snapshot agrees with it and is newer than one that we saw after our change, or
/// - the snapshot agrees with it and nobody has ever taken the lease for the next one: whoever does
///   so from now on will see our change.
///
/// If the snapshot is newer by two, its maker began with one that is newer than our change and has
/// seen what exists. If it disagrees nevertheless, others have changed the package since.
///
/// Where apk can't order the versions of a package, only the last case counts: a snapshot may have
/// the same objects and come from a listing before they were uploaded again, in another order.
///
/// # Errors
///
/// [`Failure::Superseded`] in the last case; [`Failure::Store`].
pub(super) async fn decide<S: ObjectStore>(
    store: &S,
    subject: &Subject,
    request: &AggregateRequest,
) -> Result<Decision, Failure> {
    let AggregateRequest { written, staged, waiting } = request;
    let prefix = subject.prefix();
    let mut cached = CachedSnapshot::begin(store, prefix).await?;
    let published = store.head(&prefix.index_key()).await?;
    let generation = cached.generation();
    let newer_by = match waiting.as_ref().map(|waiting| waiting.since) {
        None => 0,
        // Nothing was cached then. Whatever is now may be the first to come after that.
        Some(0) => generation.min(1),
        Some(since) => generation.saturating_sub(since),
    };
    // A change of the last minutes is found at the beginning of the snapshot, or nowhere.
    let is_recent = written.fragment.is_some() && written.changed;
    if !is_recent || newer_by > 1 {
        cached.read_on().await?;
    }
    let is_published = is_published(published.as_ref(), cached.header());
    if is_published {
        let agrees = agrees(cached.snapshot(), subject, written);
        // Of versions that apk can't tell apart, the one that was uploaded last comes first, and
        // only a listing shows when that was.
        let is_tied = || {
            let record = subject.stem().and_then(|stem| cached.snapshot().record(stem));
            record.is_some_and(|record| record.rank > 0)
        };
        let is_covered = match newer_by {
            _ if !agrees => false,
            2.. => true,
            _ if is_tied() => false,
            1 => true,
            0 => !Lease::exists(store, prefix, generation).await?,
        };
        if is_covered {
            return Ok(Decision::UpToDate);
        }
        match subject {
            // A reindex wants to know what is listed.
            Subject::Index(_) if newer_by > 1 && written.target.reindex.is_none() => {
                return Ok(Decision::UpToDate);
            }
            Subject::Package(key) if newer_by > 1 && written.fragment.is_some() => {
                return Err(Failure::Superseded { key: key.to_string() });
            }
            _ => {}
        }
    }
    // Whoever put an index of their own in the place of ours publishes no snapshot of ours.
    let is_foreign = published.as_ref().is_some_and(|index| !index.attributes.contains_key(DIGEST));
    let is_ours = staged.as_ref().is_some_and(|ours| Some(&ours.snapshot) == cached.etag());
    let is_being_signed = !is_published
        && !is_ours
        && !is_foreign
        && cached.age().is_some_and(|age| age < SIGNING_TIME);
    if is_being_signed {
        return Ok(Decision::Contended(generation));
    }
    let owner = &written.target.key;
    let Some(lease) = Lease::take(store, prefix, generation, owner).await? else {
        return Ok(Decision::Contended(generation));
    };
    let etag = cached.etag().cloned();
    let snapshot = cached.into_snapshot().await?;
    let base = Baseline { etag, generation, snapshot, published, is_published };
    Ok(Decision::Work(Box::new(Job { lease, base })))
}

/// Returns whether the published index is that of a snapshot. Of an index without a snapshot,
/// nothing is known.
pub(super) fn is_published(index: Option<&ObjectInfo>, snapshot: Option<&Header>) -> bool {
    match (index, snapshot) {
        (Some(index), Some(header)) => index.attributes.get(DIGEST) == Some(&header.digest),
        (Some(_), None) => false,
        (None, header) => header.is_none_or(|header| header.packages == 0),
    }
}

/// Returns whether a snapshot says of the package what the request says. By ETags, since a name
/// says nothing of the content; and by the entry, since somebody may have forged it.
fn agrees(snapshot: &Snapshot, subject: &Subject, written: &Written) -> bool {
    let Some(stem) = subject.stem() else { return false };
    match (&written.fragment, snapshot.record(stem)) {
        (None, None) => true,
        (Some(written), Some(record)) => {
            (&record.package, &record.fragment, &record.entry)
                == (&written.package, &written.fragment, &written.entry)
        }
        _ => false,
    }
}

//! Leases: who makes the next snapshot of a repository prefix.
//!
//! Of many executions for one repository prefix, one lists the bucket and publishes; the rest wait
//! until the published index covers their changes. The lease says who is at work. It only saves
//! work: two owners are kept apart by the snapshot, which only one of them can replace. Nobody must
//! release a lease: it is void once there is a newer snapshot, or when it is [`LEASE_DURATION`] old
//! by the store's clock. Void or not, it also shows that somebody has listed the bucket, or may
//! have. So it must outlive any function; it expires after a day.

use std::time::Duration;

use tracing::debug;

use crate::{
    location::RepositoryPrefix,
    port::{Attributes, ETag, Generation, NewObject, ObjectStore, Precondition, StoreError},
};

/// How long a lease holds before its owner is presumed to have crashed. Owners take seconds, unless
/// they must read very many fragments.
const LEASE_DURATION: Duration = Duration::from_mins(1);

/// How long after its lease a snapshot is written, at most: the timeout of the function.
const MAKING_TIME: Duration = Duration::from_mins(5);

/// How much older an object may seem than another of the same second, because its age is requested
/// later.
const CLOCK_MARGIN: Duration = Duration::from_secs(5);

/// The lease for the snapshot that follows a certain one.
#[derive(Debug)]
pub(crate) struct Lease {
    key: String,
    etag: ETag,
    is_first: bool,
}

impl Lease {
    /// Returns whether anybody has ever taken the lease for the snapshot that follows the one of
    /// `generation`.
    pub(crate) async fn exists<S: ObjectStore>(
        store: &S,
        prefix: &RepositoryPrefix,
        generation: Generation,
    ) -> Result<bool, StoreError> {
        Ok(store.head(&prefix.lease_key(generation)).await?.is_some())
    }

    /// Returns whether a snapshot of `generation` that is `age` old was written by the owner of its
    /// lease, who publishes it or fails and reports that. Otherwise somebody else put it there.
    pub(crate) async fn was_kept<S: ObjectStore>(
        store: &S,
        prefix: &RepositoryPrefix,
        generation: Generation,
        age: Duration,
    ) -> Result<bool, StoreError> {
        // The lease for the next snapshot is taken after this one was written. If that lease is
        // older, its owner saw this snapshot when it existed for the first time.
        let next = store.head(&prefix.lease_key(generation)).await?;
        if next.is_some_and(|next| next.age > age + CLOCK_MARGIN) {
            return Ok(false);
        }
        // The first snapshot follows generation 0, which means none.
        for before in [generation.saturating_sub(1), 0] {
            let lease = store.head(&prefix.lease_key(before)).await?;
            if lease.is_some_and(|lease| (age..=age + MAKING_TIME).contains(&lease.age)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes the lease for the snapshot that follows the one of `generation`, or returns `None` if
    /// another execution has it.
    pub(crate) async fn take<S: ObjectStore>(
        store: &S,
        prefix: &RepositoryPrefix,
        generation: Generation,
        owner: &str,
    ) -> Result<Option<Self>, StoreError> {
        let key = prefix.lease_key(generation);
        match put(store, &key, owner.to_owned(), Precondition::Absent).await {
            Ok(etag) => return Ok(Some(Self { key, etag, is_first: true })),
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
        let Some(other) = store.head(&key).await? else { return Ok(None) };
        if other.age < LEASE_DURATION {
            return Ok(None);
        }
        // The text names the lease that it replaces, so that its ETag differs and only one rival
        // succeeds.
        let text = format!("{owner} after {}", other.etag);
        match put(store, &key, text, Precondition::Unchanged(other.etag)).await {
            Ok(etag) => {
                debug!(key, "lease stolen");
                Ok(Some(Self { key, etag, is_first: false }))
            }
            Err(StoreError::Conflict { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns whether somebody else had the lease before and may still be at work.
    pub(crate) fn was_stolen(&self) -> bool {
        !self.is_first
    }

    /// Releases the lease without having made a snapshot. A stolen lease stays: its first owner may
    /// still be at work, and [`Lease::exists`] must keep showing that.
    pub(crate) async fn release<S: ObjectStore>(self, store: &S) -> Result<(), StoreError> {
        if self.was_stolen() {
            return Ok(());
        }
        match store.delete(&self.key, &self.etag).await {
            Err(StoreError::Conflict { .. }) => Ok(()),
            outcome => outcome,
        }
    }
}

async fn put<S: ObjectStore>(
    store: &S,
    key: &str,
    text: String,
    precondition: Precondition,
) -> Result<ETag, StoreError> {
    let object = NewObject {
        bytes: text.into_bytes(),
        content_type: "text/plain; charset=utf-8",
        attributes: Attributes::new(),
    };
    store.put(key, object, precondition).await
}

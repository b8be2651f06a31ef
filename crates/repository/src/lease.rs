//! Leases: who makes the next snapshot of a repository prefix.
//!
//! Of many executions for one prefix, one lists the bucket and publishes, the others wait and find
//! themselves covered. The lease says who is at it. As a lock it is thrift, nothing else: two
//! owners are kept apart by the snapshot, which only one of them can replace. Nobody has to give a
//! lease back: it is void once there is a newer snapshot, or when it is [`LEASE_DURATION`] old by
//! the store's clock. Void or not, it goes on telling that somebody has listed the bucket, or may
//! have; so it has to outlive any function, and expires after a day.

use std::time::Duration;

use tracing::debug;

use crate::{
    location::RepositoryPrefix,
    port::{Attributes, ETag, Generation, NewObject, ObjectStore, Precondition, StoreError},
};

/// How long the owner of a lease is given before it is taken to have crashed. It takes seconds,
/// except when very many fragments must be read.
const LEASE_DURATION: Duration = Duration::from_mins(1);

/// How long after its lease a snapshot is written, at most: as long as the function may run.
const MAKING_TIME: Duration = Duration::from_mins(5);

/// How much older an object may seem than another of the same second, since its age is asked later.
const CLOCK_MARGIN: Duration = Duration::from_secs(5);

/// The lease to make the snapshot that comes after a certain one.
#[derive(Debug)]
pub(crate) struct Lease {
    key: String,
    etag: ETag,
    is_first: bool,
}

impl Lease {
    /// Returns whether anybody has ever taken the lease for the snapshot that comes after that of
    /// `generation`.
    pub(crate) async fn exists<S: ObjectStore>(
        store: &S,
        prefix: &RepositoryPrefix,
        generation: Generation,
    ) -> Result<bool, StoreError> {
        Ok(store.head(&prefix.lease_key(generation)).await?.is_some())
    }

    /// Returns whether a snapshot of `generation` that is so old was written by the owner of its
    /// lease, who publishes it, or fails and says so. Otherwise somebody else put it there.
    pub(crate) async fn was_kept<S: ObjectStore>(
        store: &S,
        prefix: &RepositoryPrefix,
        generation: Generation,
        age: Duration,
    ) -> Result<bool, StoreError> {
        // Whoever takes the lease for the next one does so after this one was written. A lease that
        // is older has seen this one when it was there for the first time.
        let next = store.head(&prefix.lease_key(generation)).await?;
        if next.is_some_and(|next| next.age > age + CLOCK_MARGIN) {
            return Ok(false);
        }
        // The first snapshot follows none, of generation 0.
        for before in [generation.saturating_sub(1), 0] {
            let lease = store.head(&prefix.lease_key(before)).await?;
            if lease.is_some_and(|lease| (age..=age + MAKING_TIME).contains(&lease.age)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes the lease, or returns `None` if another one has it.
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
        // Names what it follows, so that its ETag is another one and only one rival succeeds.
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

    /// Gives the lease back without having made a snapshot. One that was taken over stays: its
    /// first owner may still be at work, and [`Lease::exists`] must go on telling so.
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

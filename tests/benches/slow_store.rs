//! The bucket in memory, as slow as S3.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use alpinist_repository::{
    memory::{MemoryBody, MemoryStore},
    port::{
        Attributes, Directory, ETag, Listed, NewObject, Object, ObjectInfo, ObjectStore,
        Precondition, Sought, StoreError,
    },
};
use futures::{StreamExt as _, stream};

/// How long each request takes: about what S3 takes.
const LATENCY: Duration = Duration::from_millis(20);

/// How many objects a request lists at most.
const PAGE: usize = 1000;

/// How many parts of a listing are requested at once.
const PARALLEL_LISTINGS: usize = 32;

/// A bucket in memory, as slow as S3.
pub(crate) struct SlowStore {
    store: MemoryStore,
    requests: Arc<AtomicUsize>,
}

impl SlowStore {
    pub(crate) fn new(store: MemoryStore) -> Self {
        Self { store, requests: Arc::default() }
    }

    /// Returns how many requests there were.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    async fn wait(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(LATENCY).await;
    }

    /// Lets the parts of a listing take their time, where `begins` are the places of their first objects.
    async fn wait_for_parts(&self, begins: &[usize], end: usize) {
        let ends = begins.iter().skip(1).copied().chain([end]);
        let parts: Vec<_> = begins.iter().zip(ends).map(|(begin, end)| end - begin).collect();
        let waits = parts.into_iter().map(async |objects: usize| {
            for _ in 0..objects.div_ceil(PAGE).max(1) {
                self.wait().await;
            }
        });
        stream::iter(waits).buffer_unordered(PARALLEL_LISTINGS).collect::<Vec<()>>().await;
    }
}

impl ObjectStore for SlowStore {
    type Body = MemoryBody;

    fn now(&self) -> i64 {
        self.store.now()
    }

    async fn wait_a_second(&self) {
        self.store.wait_a_second().await;
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, StoreError> {
        self.wait().await;
        self.store.head(key).await
    }

    async fn get(&self, key: &str) -> Result<Option<Object<MemoryBody>>, StoreError> {
        self.wait().await;
        self.store.get(key).await
    }

    async fn put(
        &self,
        key: &str,
        object: NewObject,
        precondition: Precondition,
    ) -> Result<ETag, StoreError> {
        self.wait().await;
        self.store.put(key, object, precondition).await
    }

    async fn delete(&self, key: &str, seen: &ETag) -> Result<(), StoreError> {
        self.wait().await;
        self.store.delete(key, seen).await
    }

    async fn copy(
        &self,
        source: &str,
        seen: &ETag,
        target: &str,
        attributes: Attributes,
    ) -> Result<(), StoreError> {
        self.wait().await;
        self.store.copy(source, seen, target, attributes).await
    }

    async fn directory(&self, prefix: &str, sought: Sought) -> Result<Directory, StoreError> {
        self.wait().await;
        self.store.directory(prefix, sought).await
    }

    async fn list(&self, prefix: &str, split_points: &[String]) -> Result<Vec<Listed>, StoreError> {
        let listed = self.store.list(prefix, split_points).await?;
        let place = |cut: &String| listed.partition_point(|object| object.key <= *cut);
        let begins: Vec<_> = [0].into_iter().chain(split_points.iter().map(place)).collect();
        self.wait_for_parts(&begins, listed.len()).await;
        Ok(listed)
    }
}

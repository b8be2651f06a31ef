//! The bucket in memory, as slow as S3.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use alpinist_repository::memory::{Layer, MemoryStore, Request};
use futures::{StreamExt as _, stream};

/// How long each request takes: about what S3 takes.
const LATENCY: Duration = Duration::from_millis(20);

/// How many objects a request lists at most.
const PAGE: usize = 1000;

/// How many parts of a listing are requested at once.
const PARALLEL_LISTINGS: usize = 32;

/// A bucket in memory, as slow as S3.
pub(crate) type SlowStore = MemoryStore<Latency>;

/// The layer that makes it slow.
#[derive(Default)]
pub(crate) struct Latency {
    requests: AtomicUsize,
}

impl Latency {
    /// Returns how many requests there were.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    async fn wait(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(LATENCY).await;
    }

    /// Waits as long as the parts of a listing take, where `begins` are the positions of their
    /// first objects.
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

impl Layer for Latency {
    async fn before(&self, bucket: &MemoryStore, request: Request<'_>) {
        let Request::List { prefix, split_points } = request else { return self.wait().await };
        let mut keys = bucket.keys();
        keys.retain(|key| key.starts_with(prefix));
        let place = |cut: &String| keys.partition_point(|key| key <= cut);
        let begins: Vec<_> = [0].into_iter().chain(split_points.iter().map(place)).collect();
        self.wait_for_parts(&begins, keys.len()).await;
    }
}

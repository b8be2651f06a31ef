//! `cargo bench --bench aggregation`: what one upload into a repository of N packages costs
//! `AggregateApkindex`, `SignAndPublish` with two keys, and all four steps together, compared with
//! what the original Alpinist read, and with the minimum for a listing and a snapshot.
//!
//! The bucket is in memory, with the latency of a real one for each request, and one page for every
//! thousand objects of a listing. The test `counted` of `crates/repository` measures the memory.

#![expect(clippy::print_stdout, reason = "the figures go to standard output")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a benchmark may fail"
)]

mod slow_store;
mod support {
    pub(crate) mod figures;
    pub(crate) mod real_index;
}

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use alpinist_apk::entry::IndexEntry;
use alpinist_repository::{
    location::RepositoryPrefix,
    memory::MemoryStore,
    message::{AggregateRequest, Aggregated, PublishRequest, Target, Written, WrittenFragment},
    plus_copy::PlusCopies,
    policy::Policy,
    port::{
        self, Attributes, ETag, KeyMaterial, KeyStore, KeyStoreError, NewObject, ObjectStore,
        Precondition, Scheme, StoredKey,
    },
    replacing::Replacing,
    step,
    v3_index::V3Index,
};
use alpinist_samples::package::Parts;
use alpinist_tests::KeyPair;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use mimalloc::MiMalloc;
use slow_store::{Latency, SlowStore};
use support::{figures::median, real_index};
use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const PREFIX: &str = "3.22/main/x86_64/";

/// How many fragments the original's function read at once at most: the SDK's connection pool.
const PARALLEL_READS: usize = 64;

/// How often each figure is measured.
const TIMES: usize = 5;

fn main() {
    let runtime = Builder::new_current_thread().enable_time().build().expect("tokio starts");
    println!(
        "       N  aggregate  requests    publish  requests     upload  requests   the least  the original  requests"
    );
    for packages in [1_000, 10_000, 30_000, 100_000] {
        measure(&runtime, packages);
    }
}

/// How long something took, and how many requests it made.
#[derive(Clone, Copy)]
struct Cost {
    time: Duration,
    requests: usize,
}

fn measure(runtime: &Runtime, packages: usize) {
    let repository = runtime.block_on(Repository::publish(packages));
    let slow = || repository.store.duplicate().behind(Latency::default());
    let mut costs = [const { Vec::new() }; 4];
    for _ in 0..TIMES {
        let store = slow();
        let mut aggregated = None;
        let aggregate = async {
            let request = repository.request.clone();
            aggregated =
                Some(step::aggregate(&store, V3Index::Auto, request).await.expect("it aggregates"));
        };
        costs[0].push(runtime.block_on(cost_of(&store, aggregate)));
        let aggregated = aggregated.expect("it has ended");
        let publish = async { repository.publish_next(&store, aggregated).await };
        costs[1].push(runtime.block_on(cost_of(&store, publish)));
        let store = slow();
        store.upload(&repository.uploaded, Parts::new().build());
        costs[2].push(runtime.block_on(cost_of(&store, repository.execute(&store))));
        let store = slow();
        costs[3]
            .push(runtime.block_on(cost_of(&store, the_least(&store, &repository.split_points))));
    }
    let store = slow();
    let original = runtime.block_on(cost_of(&store, the_original(&store)));
    let seconds = |costs: &[Cost]| median(costs.iter().map(|cost| cost.time)).as_secs_f64();
    let [aggregate, publish, upload, least] = &costs;
    print!("{packages:>8}");
    for costs in [aggregate, publish, upload] {
        print!(" {:>9.3}s {:>9}", seconds(costs), costs[0].requests);
    }
    let (least, original_seconds) = (seconds(least), original.time.as_secs_f64());
    println!(" {least:>10.3}s {original_seconds:>12.1}s {:>9}", original.requests);
}

async fn cost_of(store: &SlowStore, work: impl Future<Output = ()>) -> Cost {
    let before = store.layer().requests();
    let start = Instant::now();
    work.await;
    Cost { time: start.elapsed(), requests: store.layer().requests() - before }
}

/// A listing in parallel, one read and one write of the size of a snapshot.
async fn the_least(store: &SlowStore, split_points: &[String]) {
    let prefix: RepositoryPrefix = PREFIX.parse().expect("it is a prefix");
    let snapshot = prefix.snapshot_key();
    let listed = store.list(PREFIX, split_points).await.expect("it lists");
    black_box(listed);
    let read = port::read(store, &snapshot, u64::MAX).await.expect("it reads");
    let bytes = read.unwrap_or_else(|| panic!("{snapshot} is not there")).body;
    put(store, "written", bytes, Attributes::new()).await;
}

/// Lists the fragments page by page, and reads each.
async fn the_original(store: &SlowStore) {
    let listed = store.list(PREFIX, &[]).await.expect("it lists");
    let fragments = listed.into_iter().filter(|object| object.key.ends_with(".index"));
    let reads = stream::iter(fragments).map(async |fragment| {
        port::read(store, &fragment.key, u64::MAX).await.map(|object| object.map(|o| o.body))
    });
    let read: Vec<_> =
        reads.buffer_unordered(PARALLEL_READS).try_collect().await.expect("it reads");
    black_box(read);
}

/// A repository with an index of some packages, and one more package that it does not list yet.
struct Repository {
    store: MemoryStore,
    keys: Keys,
    /// The change of that package, whose fragment is written.
    request: AggregateRequest,
    /// The key to which a whole upload writes another one.
    uploaded: String,
    /// Where a listing is split into parts of about a thousand objects.
    split_points: Vec<String>,
}

impl Repository {
    async fn publish(packages: usize) -> Self {
        let store = MemoryStore::default();
        let mut entries = real_index::entries(packages + 1);
        let last = entries.swap_remove(packages / 2);
        for entry in entries {
            upload(&store, entry).await;
        }
        let whole = AggregateRequest::from(Written {
            target: target("APKINDEX.tar.gz"),
            fragment: None,
            kept: None,
            withdrawn: false,
            changed: false,
            rejection: None,
            signed_by: None,
            warnings: Vec::new(),
        });
        let aggregated =
            step::aggregate(&store, V3Index::Auto, whole).await.expect("it aggregates");
        let staged = aggregated.staged.expect("an index to publish");
        let request = PublishRequest { written: aggregated.written, staged };
        let keys = Keys::generate();
        step::publish(&store, &keys, &mut rand_core::OsRng, request).await.expect("it publishes");
        // No lease is held, and the index is older than this second.
        store.pass(Duration::from_mins(5));
        let present = store.keys();
        let listed = present.iter().filter(|key| key.starts_with(PREFIX)).cloned();
        let split_points = listed.skip(991).step_by(992).collect();
        let target = target(&format!("{}.apk", last.file_stem()));
        let fragment = Some(upload(&store, last).await);
        let written = Written {
            target,
            fragment,
            kept: None,
            withdrawn: false,
            changed: true,
            rejection: None,
            signed_by: None,
            warnings: Vec::new(),
        };
        let uploaded = format!("{PREFIX}hello-1.2.3-r0.apk");
        Self { store, keys, request: written.into(), uploaded, split_points }
    }

    async fn publish_next(&self, store: &SlowStore, aggregated: Aggregated) {
        let staged = aggregated.staged.expect("there is something to publish");
        let request = PublishRequest { written: aggregated.written, staged };
        let published = step::publish(store, &self.keys, &mut rand_core::OsRng, request).await;
        published.expect("it publishes");
    }

    /// Follows the upload of a package through all steps.
    async fn execute(&self, store: &SlowStore) {
        let file = self.uploaded.strip_prefix(PREFIX).expect("it is there");
        let extracted = step::extract(store, Policy::default(), target(file)).await;
        let extracted = extracted.expect("it is a package");
        let written =
            step::write_index(store, PlusCopies::Kept, Replacing::Allowed, extracted).await;
        let request = AggregateRequest::from(written.expect("it writes"));
        let aggregated =
            step::aggregate(store, V3Index::Auto, request).await.expect("it aggregates");
        self.publish_next(store, aggregated).await;
    }
}

fn target(file: &str) -> Target {
    let key = format!("{PREFIX}{file}");
    Target { bucket: "bucket".to_owned(), key, time: None, reindex: None, withdrawal: false }
}

/// Puts a package, whose content nobody reads, and its fragment.
async fn upload(store: &MemoryStore, entry: IndexEntry) -> WrittenFragment {
    let stem = entry.file_stem();
    let key = format!("{PREFIX}{stem}.apk");
    let package = put(store, &key, stem.clone().into_bytes(), Attributes::new()).await;
    let attributes = Attributes::from([("package-etag".to_owned(), package.0.clone())]);
    let text = entry.to_string().into_bytes();
    let fragment = put(store, &format!("{PREFIX}{stem}.index"), text, attributes).await;
    WrittenFragment { package, fragment, entry }
}

async fn put<S: ObjectStore>(store: &S, key: &str, bytes: Vec<u8>, attributes: Attributes) -> ETag {
    let object = NewObject { bytes, content_type: "", attributes };
    store.put(key, object, Precondition::None).await.expect("it writes")
}

/// A key store with two keys of 4096 bits.
struct Keys([KeyPair; 2]);

impl Keys {
    fn generate() -> Self {
        let key = |name| KeyPair::generate(name, KeyPair::BITS).expect("a key");
        Self(["bench@example.com", "second@example.com"].map(key))
    }
}

impl KeyStore for Keys {
    async fn keys(&self) -> Result<Vec<StoredKey>, KeyStoreError> {
        let stored = |key: &KeyPair| {
            let pem = key.private().to_owned().into();
            let material = KeyMaterial::Pem { parameter: "/apk/rsa".to_owned(), pem };
            let (name_parameter, name) = ("/apk/key".to_owned(), key.name().to_owned());
            StoredKey { name_parameter, name, material }
        };
        Ok(self.0.iter().map(stored).collect())
    }

    async fn sign(&self, key: &str, _: Scheme, _: &[u8]) -> Result<Vec<u8>, KeyStoreError> {
        unreachable!("{key} is no key of a key service")
    }
}

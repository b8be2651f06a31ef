//! What one upload costs, as far as it can be counted: requests, bytes read, allocations and
//! memory. Times are not measured here, but follow from these.

#![cfg(test)]

#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "the steps' own tests need more of it")]
mod common;

use std::{
    collections::BTreeMap,
    iter,
    sync::{Arc, Mutex},
    time::Duration,
};

use allocation_counter::AllocationInfo;
use alpinist_apk::entry::IndexEntry;
use alpinist_repository::{
    memory::{MemoryStore, Request},
    page,
    port::{Attributes, NewObject, ObjectStore, Precondition},
    v3_index::V3Index,
};
use common::{
    INDEX, KEY_NAME, Keys, PREFIX,
    execution::{Next, State},
    key, package, target,
};
use tokio::runtime::{Builder, Runtime};

const SNAPSHOT: &str = ".alpinist/published/3.22/main/x86_64/snapshot.json.gz";

/// What the steps of one execution cost, by name.
type Costs = BTreeMap<&'static str, Cost>;

/// What one step cost.
#[derive(Clone, Debug, Default)]
struct Cost {
    /// The operations of the requests, in order.
    operations: Vec<&'static str>,
    /// The prefixes that were listed.
    listed: Vec<String>,
    /// How many bytes were read, by object.
    read: BTreeMap<String, usize>,
    /// The allocations, and their peak.
    heap: AllocationInfo,
}

/// A bucket with an index of `packages` packages.
fn published(runtime: &Runtime, packages: usize) -> MemoryStore {
    let store = MemoryStore::default();
    runtime.block_on(async {
        for number in 0..packages {
            upload(&store, &entry(number)).await;
        }
        let mut state = State::Extract(target(INDEX));
        while let Next::Go(next) = state.run(&store, &Keys::good()).await.unwrap() {
            state = next;
        }
    });
    assert!(store.content(INDEX).is_some());
    // No execution is running, and the index is older than this second.
    store.pass(Duration::from_mins(5));
    store
}

/// The entry of a typical package.
fn entry(number: usize) -> IndexEntry {
    let checksum = format!("{number:026}0=");
    format!(
        "C:Q1{checksum}\nP:usual-{number:06}\nV:1.2.3-r4\nA:x86_64\nS:10000\nI:40000\n\
         T:What it is good for, in some ten words or more\nU:https://example.com/usual\nL:MIT\n\
         o:usual\nm:Somebody <somebody@example.com>\nt:1700000000\n\
         c:0123456789abcdef0123456789abcdef01234567\n\
         D:so:libc.musl-x86_64.so.1 so:libz.so.1 usual-libs>=1.2\n\
         p:cmd:usual-{number}=1.2.3-r4 so:libusual-{number}.so.1=1.2.3\n\n"
    )
    .parse()
    .unwrap()
}

/// Puts a package, whose content nobody reads, and its fragment.
async fn upload(store: &MemoryStore, entry: &IndexEntry) {
    let stem = entry.file_stem();
    let put = async |key: &str, bytes: Vec<u8>, attributes| {
        let object = NewObject { bytes, content_type: "", attributes };
        store.put(key, object, Precondition::None).await.unwrap()
    };
    let etag = put(&key(&stem), stem.clone().into_bytes(), Attributes::new()).await;
    let attributes = Attributes::from([("package-etag".to_owned(), etag.0)]);
    put(&format!("{PREFIX}{stem}.index"), entry.to_string().into_bytes(), attributes).await;
}

/// Uploads a package of one file, and follows the execution.
fn execute(runtime: &Runtime, store: &MemoryStore, content: &str) -> Costs {
    execute_where(runtime, store, V3Index::Auto, content)
}

/// Uploads a package of one file, and follows the execution where this is the setting.
fn execute_where(
    runtime: &Runtime,
    store: &MemoryStore,
    v3_index: V3Index,
    content: &str,
) -> Costs {
    let package = package("hello", "1.0-r0", content);
    store.upload(&key("hello-1.0-r0"), package);
    let mut costs = Costs::new();
    let mut state = State::Extract(target(&key("hello-1.0-r0")));
    loop {
        let (name, counted) = (state.name(), count(store));
        let keys = Keys::good();
        let mut next = None;
        let heap = allocation_counter::measure(|| {
            let run = state.clone().run_where(store, &keys, v3_index);
            next = Some(runtime.block_on(run).unwrap());
        });
        let mut cost = counted.lock().unwrap().clone();
        for prefix in &cost.listed {
            // A page of a listing has a thousand objects.
            let objects = store.keys().into_iter().filter(|key| key.starts_with(prefix)).count();
            cost.operations.extend(iter::repeat_n("LIST", objects.div_ceil(1000) - 1));
        }
        assert!(costs.insert(name, Cost { heap, ..cost }).is_none(), "{name} twice");
        match next {
            Some(Next::Go(next)) => state = next,
            Some(Next::End(None)) => return costs,
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// Counts requests from now on.
fn count(store: &MemoryStore) -> Arc<Mutex<Cost>> {
    let counted = Arc::new(Mutex::new(Cost::default()));
    let cost = Arc::clone(&counted);
    store.before_requests(move |store, request| {
        let mut cost = cost.lock().unwrap();
        let operation = match request {
            Request::Head(_) => "HEAD",
            Request::Get(_) => "GET",
            Request::Put(_) => "PUT",
            Request::Delete(_) => "DELETE",
            Request::Copy(_) => "COPY",
            Request::Directory(_) | Request::List { .. } => "LIST",
        };
        cost.operations.push(operation);
        if let Request::List { prefix, .. } = request {
            cost.listed.push(prefix.to_owned());
        }
        if let Request::Get(key) = request {
            let bytes = store.content(key).map_or(0, |content| content.len());
            *cost.read.entry(key.to_owned()).or_default() += bytes;
        }
        Ok(())
    });
    counted
}

fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

#[test]
fn an_upload_makes_as_many_requests_into_a_large_repository_as_into_a_small_one() {
    let runtime = runtime();
    let operations = |packages| {
        let costs = execute(&runtime, &published(&runtime, packages), "");
        costs.into_iter().map(|(name, cost)| (name, cost.operations)).collect::<BTreeMap<_, _>>()
    };
    let expected = BTreeMap::from([
        ("extract", vec!["GET"]),
        ("write", vec!["PUT", "HEAD"]),
        // Only its own package and fragment are listed.
        ("aggregate", vec!["GET", "HEAD", "PUT", "LIST", "PUT"]),
        ("publish", vec!["GET", "GET", "GET", "PUT", "HEAD"]),
    ]);
    assert_eq!(operations(100), expected);
    assert_eq!(operations(2000), expected);
}

#[test]
fn an_index_of_v3_costs_six_requests_more_whatever_the_number_of_packages() {
    let runtime = runtime();
    let operations = |packages| {
        let store = published(&runtime, packages);
        execute_where(&runtime, &store, V3Index::Always, "first");
        store.pass(Duration::from_mins(5));
        let costs = execute_where(&runtime, &store, V3Index::Always, "second");
        ["aggregate", "publish"].map(|name| costs[name].operations.clone())
    };
    let expected = [
        vec!["GET", "HEAD", "HEAD", "HEAD", "HEAD", "PUT", "LIST", "PUT"],
        vec!["GET", "GET", "GET", "PUT", "PUT", "PUT", "PUT", "HEAD"],
    ];
    assert_eq!(operations(100), expected);
    assert_eq!(operations(2000), expected);
}

#[test]
fn the_page_costs_two_requests_once_in_each_directory_and_none_after_that() {
    let runtime = runtime();
    let store = MemoryStore::default();
    runtime.block_on(page::put(&store, page::MARK)).unwrap();
    let publish = |content: &str| {
        let costs = execute(&runtime, &store, content);
        store.pass(Duration::from_mins(5));
        costs["publish"].operations.clone()
    };
    // The key of the second and third request is missing in the beginning.
    let first = ["GET", "GET", "GET", "PUT", "GET", "PUT", "PUT", "HEAD"];
    assert_eq!(publish("first"), first);
    assert_eq!(publish("second"), ["GET", "GET", "GET", "PUT", "HEAD"]);
}

#[test]
fn an_upload_reads_the_package_once_and_of_all_others_what_is_remembered() {
    let runtime = runtime();
    let packages = 1000;
    let store = published(&runtime, packages);
    let costs = execute(&runtime, &store, "");
    let uploaded = store.content(&key("hello-1.0-r0")).unwrap().len();
    let read = |name: &str| costs[name].read.clone();
    assert_eq!(read("extract"), BTreeMap::from([(key("hello-1.0-r0"), uploaded)]));
    assert_eq!(read("write"), BTreeMap::new());
    assert_eq!(read("aggregate").keys().collect::<Vec<_>>(), [SNAPSHOT]);
    assert_eq!(read("publish").keys().collect::<Vec<_>>(), [SNAPSHOT, INDEX, KEY_NAME]);
    for name in ["aggregate", "publish"] {
        let bytes = read(name)[SNAPSHOT];
        assert!(bytes < 240 * packages, "{name} reads {bytes} bytes");
    }
}

#[test]
fn each_package_that_is_there_costs_memory_and_no_allocation() {
    let runtime = runtime();
    let heap = |packages| execute(&runtime, &published(&runtime, packages), "");
    let (few, many) = (heap(2000), heap(20_000));
    // A larger snapshot takes some more steps of a binary search, and larger buffers: 10 MiB at
    // 30,000 packages. Two runs differ by some dozens of allocations (measured: 44), whatever
    // the number of packages.
    for (name, bytes) in [("extract", 0), ("write", 0), ("aggregate", 330), ("publish", 130)] {
        let [few, many] = [&few, &many].map(|costs| costs[name].heap);
        let (allocations, more) = (few.count_total, many.count_total);
        assert!(more <= allocations + 100, "{name}: {allocations} allocations, and then {more}");
        let for_each = many.bytes_max.saturating_sub(few.bytes_max) / 18_000;
        assert!(for_each <= bytes, "{name}: {for_each} bytes for each package");
    }
}

#[test]
fn a_large_package_takes_no_more_allocations_and_memory_than_a_small_one() {
    let runtime = runtime();
    let heap = |content: &str| execute(&runtime, &MemoryStore::default(), content)["extract"].heap;
    let (small, large) = (heap("x"), heap(&"x".repeat(16 << 20)));
    assert_eq!(large.count_total, small.count_total);
    assert!(small.count_total <= 75, "{} allocations", small.count_total);
    assert!(large.bytes_max <= 192 << 10, "{} bytes", large.bytes_max);
}

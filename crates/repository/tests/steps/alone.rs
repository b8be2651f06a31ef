//! Executions that meet no other: they check their own package, and add its change to the snapshot.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use alpinist_repository::{
    failure::FailureKind,
    memory::{MemoryStore, Request},
    message::{AggregateRequest, Extracted, Found, Waiting},
    plus_copy::PlusCopies,
    policy::Policy,
    replacing::Replacing,
    snapshot::{Header, Snapshot},
    step,
    v3_index::V3Index,
};
use rand_core::OsRng;

use crate::common::execution::travelled;
use crate::support::{
    INDEX, Keys, PREFIX, aggregate_and_publish, execute, key, listed, package, publish,
    rejected_now, target,
};

const SNAPSHOT: &str = ".alpinist/published/3.22/main/x86_64/snapshot.json.gz";

fn header(store: &MemoryStore) -> Header {
    Snapshot::read(&store.content(SNAPSHOT).unwrap()).unwrap().0
}

/// Uploads a package, and runs the steps up to its fragment.
async fn written(store: &MemoryStore, stem: &str, bytes: Vec<u8>) -> AggregateRequest {
    store.upload(&key(stem), bytes);
    let extracted = step::extract(store, Policy::default(), target(&key(stem))).await.unwrap();
    step::write_index(store, PlusCopies::Kept, Replacing::Allowed, extracted).await.unwrap().into()
}

/// A bucket whose index lists one package and was published a minute ago.
async fn one_package() -> MemoryStore {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "a").await;
    store.pass(Duration::from_mins(1));
    store
}

/// Publishes a package in the execution of one who had to wait, and so lists the bucket.
async fn publish_from_listing(store: &MemoryStore, name: &str) {
    let stem = format!("{name}-1-r0");
    let request = written(store, &stem, package(name, "1-r0", name)).await;
    let waiting = Waiting { since: header(store).generation, ..Waiting::default() };
    let request = AggregateRequest { waiting: Some(waiting), ..request };
    aggregate_and_publish(store, &Keys::good(), request).await.unwrap();
}

/// Records the requests for objects from now on.
fn requests(store: &MemoryStore) -> Arc<Mutex<Vec<String>>> {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&requests);
    store.before_requests(move |_, request| {
        noted.lock().unwrap().push(match request {
            Request::Head(key) => format!("HEAD {key}"),
            Request::Get(key) => format!("GET {key}"),
            other => format!("{other:?}"),
        });
        Ok(())
    });
    requests
}

/// Records what is listed from now on.
fn listings(store: &MemoryStore) -> Arc<Mutex<Vec<String>>> {
    let listings = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&listings);
    store.before_requests(move |_, request| {
        if let Request::List { prefix, .. } = request {
            noted.lock().unwrap().push(prefix.to_owned());
        }
        Ok(())
    });
    listings
}

#[tokio::test]
async fn one_upload_after_the_other_lists_its_own_package_alone() {
    let store = one_package().await;
    let generation = header(&store).generation;
    let listings = listings(&store);
    publish(&store, "b", "1-r0", "b").await;
    store.pass(Duration::from_secs(2));
    store.remove(&key("a-1-r0"));
    execute(&store, &key("a-1-r0")).await.unwrap();
    assert_eq!(listed(&store), ["b-1-r0"]);
    let expected = ["a-1-r0", "b-1-r0"].map(|stem| format!("{PREFIX}{stem}."));
    assert_eq!(*listings.lock().unwrap(), [&*expected[1], &*expected[0]]);
    let Header { generation: last, listed, .. } = header(&store);
    assert_eq!((last, listed), (generation + 2, generation));
}

#[tokio::test]
async fn the_next_of_many_publishes_those_who_have_not_come_so_far() {
    let store = one_package().await;
    publish(&store, "b", "1-r0", "b").await;
    written(&store, "c-1-r0", package("c", "1-r0", "c")).await;
    let listings = listings(&store);
    publish(&store, "d", "1-r0", "d").await;
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0", "c-1-r0", "d-1-r0"]);
    assert_eq!(*listings.lock().unwrap(), [PREFIX]);
}

#[tokio::test]
async fn who_had_to_wait_publishes_for_all() {
    let store = one_package().await;
    let first = written(&store, "b-1-r0", package("b", "1-r0", "b")).await;
    let second = written(&store, "c-1-r0", package("c", "1-r0", "c")).await;
    let first = step::aggregate(&store, V3Index::Auto, first).await.unwrap();
    let second = step::aggregate(&store, V3Index::Auto, second).await.unwrap();
    assert!(second.waiting.is_some());
    written(&store, "d-1-r0", package("d", "1-r0", "d")).await;
    let staged = travelled(&first);
    step::publish(&store, &Keys::good(), &mut OsRng, staged).await.unwrap();
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0"]);
    store.pass(Duration::from_secs(5));
    let listings = listings(&store);
    let waited = travelled(&second);
    aggregate_and_publish(&store, &Keys::good(), waited).await.unwrap();
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0", "c-1-r0", "d-1-r0"]);
    assert_eq!(*listings.lock().unwrap(), [PREFIX]);
}

/// How long an upload waits, at first and then, that comes while this many others are published.
async fn waits_behind(others: usize) -> [u64; 2] {
    let store = one_package().await;
    for number in 1..others {
        let (name, version) = (format!("c{number}"), "1-r0");
        let bytes = package(&name, version, &name);
        written(&store, &format!("{name}-{version}"), bytes).await;
    }
    let mut last = written(&store, "b-1-r0", package("b", "1-r0", "b")).await;
    // Who has waited publishes for all.
    last.waiting = Some(Waiting { since: header(&store).generation, ..Waiting::default() });
    assert!(step::aggregate(&store, V3Index::Auto, last).await.unwrap().staged.is_some());
    let late = written(&store, "d-1-r0", package("d", "1-r0", "d")).await;
    let once = step::aggregate(&store, V3Index::Auto, late).await.unwrap();
    let twice = step::aggregate(&store, V3Index::Auto, travelled(&once)).await.unwrap();
    [once, twice].map(|aggregated| aggregated.waiting.unwrap().seconds)
}

#[tokio::test]
async fn who_comes_while_many_are_published_waits_longer_at_first() {
    assert_eq!(waits_behind(1).await, [2, 4]);
    assert_eq!(waits_behind(3).await, [3, 4]);
    assert_eq!(waits_behind(7).await, [4, 4]);
}

#[tokio::test]
async fn who_waited_for_a_listing_asks_the_published_index_alone() {
    let store = one_package().await;
    let request = written(&store, "b-1-r0", package("b", "1-r0", "b")).await;
    let since = header(&store).generation;
    for name in ["c", "d"] {
        publish_from_listing(&store, name).await;
    }
    let Header { listed, .. } = header(&store);
    assert_eq!(listed, since + 2);
    let requests = requests(&store);
    let waiting = Some(Waiting { since, times: 1, ..Waiting::default() });
    let ended = step::aggregate(&store, V3Index::Auto, AggregateRequest { waiting, ..request })
        .await
        .unwrap();
    assert_eq!((ended.staged, ended.waiting), (None, None));
    assert_eq!(*requests.lock().unwrap(), [format!("HEAD {INDEX}")]);
}

#[tokio::test]
async fn a_listing_that_may_be_older_than_the_change_is_not_enough() {
    let store = one_package().await;
    let request = written(&store, "b-1-r0", package("b", "1-r0", "b")).await;
    let since = header(&store).generation;
    publish_from_listing(&store, "c").await;
    let requests = requests(&store);
    let waiting = Some(Waiting { since, times: 1, ..Waiting::default() });
    let ended = step::aggregate(&store, V3Index::Auto, AggregateRequest { waiting, ..request })
        .await
        .unwrap();
    assert_eq!((ended.staged, ended.waiting), (None, None));
    let index = format!("HEAD {INDEX}");
    assert_eq!(*requests.lock().unwrap(), [&*index, &*format!("GET {SNAPSHOT}"), &*index]);
}

#[tokio::test]
async fn who_comes_right_after_a_snapshot_for_many_reads_that_alone() {
    let store = one_package().await;
    for number in 1..10 {
        let name = format!("c{number}");
        let bytes = package(&name, "1-r0", &name);
        written(&store, &format!("{name}-1-r0"), bytes).await;
    }
    publish_from_listing(&store, "b").await;
    let request = written(&store, "d-1-r0", package("d", "1-r0", "d")).await;
    let requests = requests(&store);
    let first = step::aggregate(&store, V3Index::Auto, request).await.unwrap();
    assert_eq!(first.waiting.as_ref().map(|waiting| waiting.seconds), Some(4));
    assert_eq!(*requests.lock().unwrap(), [format!("GET {SNAPSHOT}")]);
    store.pass(Duration::from_secs(4));
    aggregate_and_publish(&store, &Keys::good(), travelled(&first)).await.unwrap();
    assert_eq!(listed(&store).len(), 12);
}

#[tokio::test]
async fn whoever_asks_for_the_index_gets_it_from_a_listing() {
    let store = one_package().await;
    written(&store, "b-1-r0", package("b", "1-r0", "b")).await;
    execute(&store, INDEX).await.unwrap();
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0"]);
    assert_eq!(header(&store).listed, header(&store).generation);
}

#[tokio::test]
async fn versions_that_apk_cannot_order_are_put_in_order_by_a_listing() {
    let store = one_package().await;
    publish(&store, "b", "1_x.1-r0", "b").await;
    store.pass(Duration::from_mins(1));
    let listings = listings(&store);
    publish(&store, "b", "1_x.2-r0", "b").await;
    assert_eq!(listed(&store), ["a-1-r0", "b-1_x.2-r0", "b-1_x.1-r0"]);
    store.pass(Duration::from_mins(1));
    publish(&store, "b", "1_x.1-r0", "b anew").await;
    assert_eq!(listed(&store), ["a-1-r0", "b-1_x.1-r0", "b-1_x.2-r0"]);
    store.pass(Duration::from_mins(1));
    store.remove(&key("b-1_x.2-r0"));
    execute(&store, &key("b-1_x.2-r0")).await.unwrap();
    assert_eq!(listed(&store), ["a-1-r0", "b-1_x.1-r0"]);
    assert_eq!(*listings.lock().unwrap(), [PREFIX; 3]);
}

#[tokio::test]
async fn a_change_that_is_over_is_looked_at_again() {
    let store = one_package().await;
    let request = written(&store, "b-1-r0", package("b", "1-r0", "b")).await;
    store.upload(&key("b-1-r0"), package("b", "1-r0", "another"));
    let failure = step::aggregate(&store, V3Index::Auto, request).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Superseded);
}

#[tokio::test]
async fn what_somebody_else_has_accepted_meanwhile_stays_listed() {
    let store = one_package().await;
    let extracted = rejected_now(&store, &key("a-1-r0")).await;
    let request =
        step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, extracted).await.unwrap();
    assert!(request.rejection.is_some());
    execute(&store, &key("a-1-r0")).await.unwrap();
    store.pass(Duration::from_mins(1));
    let failure = step::aggregate(&store, V3Index::Auto, request.into()).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Superseded);
    assert_eq!(listed(&store), ["a-1-r0"]);
}

#[tokio::test]
async fn a_planted_snapshot_cannot_say_that_it_comes_from_a_later_listing() {
    let store = one_package().await;
    let planted = Header { listed: header(&store).generation + 2, ..header(&store) };
    let (_, snapshot) = Snapshot::read(&store.content(SNAPSHOT).unwrap()).unwrap();
    store.upload(SNAPSHOT, snapshot.to_bytes(&planted).unwrap());
    store.pass(Duration::from_mins(1));
    let extracted = Extracted { target: target(INDEX), found: Found::Nothing };
    let request =
        step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, extracted).await.unwrap();
    let waiting =
        Waiting { since: planted.generation, times: 1, seconds: 2, overtook: false, unknown: 0 };
    let request = AggregateRequest { waiting: Some(waiting), ..request.into() };
    let listings = listings(&store);
    step::aggregate(&store, V3Index::Auto, request).await.unwrap();
    assert_eq!(*listings.lock().unwrap(), [PREFIX]);
}

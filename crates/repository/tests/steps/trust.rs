//! What is not trusted: fragments, snapshots and indexes that somebody else may have written, and
//! keys that can't sign.

use std::time::Duration;

use alpinist_apk::entry::IndexEntry;
use alpinist_repository::{
    failure::FailureKind,
    memory::{MemoryStore, Request},
    message::Staged,
    plus_copy::PlusCopies,
    policy::Policy,
    port::{Generation, NewObject, ObjectStore as _, Precondition},
    replacing::Replacing,
    snapshot::{Header, Record, Snapshot},
    step,
    v3_index::V3Index,
};
use rand_core::OsRng;
use rstest::rstest;

use crate::common::execution::travelled;
use crate::reindex::reindex;
use crate::support::{
    INDEX, KEY_NAME, Keys, PREFIX, aggregate_and_publish, checksum, execute, execute_with, key,
    listed, package, private_key, publish, rejected_now, target,
};

const SNAPSHOT: &str = ".alpinist/published/3.22/main/x86_64/snapshot.json.gz";

/// A bucket with the packages `a` and `b`, both listed.
async fn two_packages() -> MemoryStore {
    let store = MemoryStore::default();
    for name in ["a", "b"] {
        store.upload(&key(&format!("{name}-1-r0")), package(name, "1-r0", name));
        execute(&store, &key(&format!("{name}-1-r0"))).await.unwrap();
    }
    store
}

fn fragment(store: &MemoryStore, stem: &str) -> String {
    let bytes = store.content(&format!("{PREFIX}{stem}.index")).unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Publishes another package, so that the index is rebuilt.
async fn aggregate_anew(store: &MemoryStore) {
    publish(store, "new", "1-r0", "").await;
}

/// Begins an execution, and returns for how many unknown packages it waits.
async fn unknown(store: &MemoryStore, stem: &str) -> usize {
    // The lease of the first snapshot has expired.
    store.pass(Duration::from_mins(1));
    let extracted = step::extract(store, Policy::default(), target(&key(stem))).await.unwrap();
    let written =
        step::write_index(store, PlusCopies::Kept, Replacing::Allowed, extracted).await.unwrap();
    let aggregated = step::aggregate(store, V3Index::Auto, written.into()).await.unwrap();
    assert_eq!(aggregated.staged, None);
    aggregated.waiting.map_or(0, |waiting| waiting.unknown)
}

#[rstest]
#[case::garbage(|_| "\0".to_owned())]
#[case::empty(|_| String::new())]
#[case::entry_of_another_package(|own: String| own.replace("P:b", "P:a"))]
#[case::entry_of_another_architecture(|own: String| own.replace("A:x86_64", "A:armv7"))]
#[case::two_entries(|own: String| format!("{own}{own}"))]
#[case::too_long(|own: String| own.repeat(2000))]
#[case::other_size(|own: String| own.replace("S:", "S:9"))]
#[tokio::test]
async fn a_planted_fragment_is_not_believed(#[case] plant: fn(String) -> String) {
    let store = two_packages().await;
    let checksums = ["a-1-r0", "b-1-r0"].map(|stem| checksum(&store, stem));
    let planted = plant(fragment(&store, "b-1-r0"));
    store.upload(&format!("{PREFIX}b-1-r0.index"), planted);
    aggregate_anew(&store).await;
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0", "new-1-r0"]);
    assert_eq!(["a-1-r0", "b-1-r0"].map(|stem| checksum(&store, stem)), checksums);

    store.remove(SNAPSHOT);
    store.upload(&key("newer-1-r0"), package("newer", "1-r0", ""));
    assert_eq!(unknown(&store, "newer-1-r0").await, 1, "nothing vouches for it");
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0", "new-1-r0"]);
    reindex(&store, PREFIX, true).await.unwrap();
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0", "new-1-r0", "newer-1-r0"]);
    assert_eq!(["a-1-r0", "b-1-r0"].map(|stem| checksum(&store, stem)), checksums);
}

#[tokio::test]
async fn an_execution_puts_right_what_a_planted_fragment_has_published() {
    let store = two_packages().await;
    let own = checksum(&store, "b-1-r0");
    let fragment_key = format!("{PREFIX}b-1-r0.index");
    let attributes = store.head(&fragment_key).await.unwrap().unwrap().attributes;
    let planted = fragment(&store, "b-1-r0").replace(&own, &checksum(&store, "a-1-r0"));
    let object = NewObject { bytes: planted.into(), content_type: "text/plain", attributes };
    store.put(&fragment_key, object, Precondition::None).await.unwrap();
    aggregate_anew(&store).await;
    assert_ne!(checksum(&store, "b-1-r0"), own, "whoever may write fragments says what is listed");
    store.remove(&fragment_key);
    execute(&store, &key("b-1-r0")).await.unwrap();
    assert_eq!(checksum(&store, "b-1-r0"), own);
}

#[tokio::test]
async fn a_lost_snapshot_is_not_the_same_again_if_anything_came_and_went() {
    let store = two_packages().await;
    let mut versions = Vec::new();
    for _ in 0..3 {
        store.remove(SNAPSHOT);
        store.remove(&key("b-1-r0"));
        store.pass(Duration::from_mins(2));
        publish(&store, "b", "1-r0", "b").await;
        versions.push(store.head(SNAPSHOT).await.unwrap().unwrap().etag);
    }
    assert!(versions.windows(2).all(|pair| pair[0] != pair[1]), "{versions:?}");
}

#[tokio::test]
async fn a_lost_fragment_is_not_missed() {
    let store = two_packages().await;
    store.remove(&format!("{PREFIX}b-1-r0.index"));
    aggregate_anew(&store).await;
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0", "new-1-r0"]);
}

#[tokio::test]
async fn a_package_that_is_rejected_now_is_not_listed_from_memory() {
    let store = two_packages().await;
    let rejected = rejected_now(&store, &key("b-1-r0")).await;
    store.remove(&format!("{PREFIX}b-1-r0.index"));
    let written =
        step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, rejected).await.unwrap();
    aggregate_and_publish(&store, &Keys::good(), written.into()).await.unwrap_err();
    assert_eq!(listed(&store), ["a-1-r0"]);
}

#[tokio::test]
async fn a_fragment_of_the_original_project_vouches_for_nothing() {
    let store = two_packages().await;
    let original = fragment(&store, "b-1-r0");
    store.upload(&format!("{PREFIX}b-1-r0.index"), original.clone());
    aggregate_anew(&store).await;
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0", "new-1-r0"]);

    store.upload(&key("newer-1-r0"), package("newer", "1-r0", ""));
    store.remove(SNAPSHOT);
    assert_eq!(unknown(&store, "newer-1-r0").await, 1);
}

#[tokio::test]
async fn a_fragment_without_a_package_is_not_listed() {
    let store = two_packages().await;
    store.remove(&key("b-1-r0"));
    aggregate_anew(&store).await;
    assert_eq!(listed(&store), ["a-1-r0", "new-1-r0"]);
}

#[rstest]
#[case::lost(None)]
#[case::garbage(Some("garbage"))]
#[tokio::test]
async fn a_bad_snapshot_costs_time_and_no_package(#[case] content: Option<&'static str>) {
    let store = two_packages().await;
    assert!(store.content(SNAPSHOT).is_some());
    match content {
        Some(content) => store.upload(SNAPSHOT, content),
        None => store.remove(SNAPSHOT),
    }
    aggregate_anew(&store).await;
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0", "new-1-r0"]);
}

#[tokio::test]
async fn a_planted_snapshot_leaves_room_for_a_greater_generation() {
    let store = two_packages().await;
    let (generation, digest) = (Generation::MAX, String::new());
    let planted = Header {
        generation,
        listed: 0,
        digest,
        adb: None,
        packages: 0,
        v3_packages: 0,
        changes: 0,
    };
    store.upload(SNAPSHOT, Snapshot::default().to_bytes(&planted).unwrap());
    store.pass(Duration::from_mins(1));
    aggregate_anew(&store).await;
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0", "new-1-r0"]);
}

#[tokio::test]
async fn an_index_that_somebody_overwrote_is_made_again() {
    let store = two_packages().await;
    let index = store.content(INDEX).unwrap();
    store.upload(INDEX, "overwritten");
    execute(&store, &key("a-1-r0")).await.unwrap();
    assert_eq!(store.content(INDEX).unwrap(), index);
}

#[tokio::test]
async fn a_missing_key_is_named_and_the_execution_can_be_replayed() {
    let store = MemoryStore::default();
    store.upload(&key("a-1-r0"), package("a", "1-r0", ""));
    let none = Keys { private_key: None, ..Keys::good() };
    let failure = execute_with(&store, &none, &key("a-1-r0")).await.unwrap_err();
    assert!(failure.is(FailureKind::Misconfigured), "{failure:?}");
    insta::assert_snapshot!(failure.cause);
    assert_eq!(store.content(INDEX), None);
    execute(&store, &key("a-1-r0")).await.unwrap();
    assert_eq!(listed(&store), ["a-1-r0"]);
}

#[tokio::test]
async fn an_unusable_key_publishes_nothing_and_is_not_shown() {
    let store = two_packages().await;
    let index = store.content(INDEX).unwrap();
    let good = Keys::good().private_key.unwrap();
    let secret = &good[100..140];
    let cut = Keys { private_key: Some(good[..900].to_owned()), ..Keys::good() };
    let misnamed = Keys { name: "../x.rsa.pub".to_owned(), ..Keys::good() };
    store.upload(&key("c-1-r0"), package("c", "1-r0", ""));
    for keys in [cut, misnamed] {
        let failure = execute_with(&store, &keys, &key("c-1-r0")).await.unwrap_err();
        assert!(failure.is(FailureKind::Misconfigured), "{failure:?}");
        assert!(!failure.cause.contains(secret));
        assert_eq!(store.content(INDEX).unwrap(), index);
    }
}

#[tokio::test]
async fn a_staged_index_that_is_gone_or_damaged_is_aggregated_again() {
    let store = MemoryStore::default();
    store.upload(&key("a-1-r0"), package("a", "1-r0", ""));
    let extracted = step::extract(&store, Policy::default(), target(&key("a-1-r0"))).await.unwrap();
    let written =
        step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, extracted).await.unwrap();
    let aggregated = step::aggregate(&store, V3Index::Auto, written.into()).await.unwrap();
    let staged = store.keys().into_iter().find(|key| key.contains("/published/")).unwrap();
    for damage in [|store: &MemoryStore, key: &str| store.upload(key, "x"), MemoryStore::remove] {
        damage(&store, &staged);
        let outcome =
            step::publish(&store, &Keys::good(), &mut OsRng, travelled(&aggregated)).await;
        assert_eq!(outcome.unwrap_err().kind(), FailureKind::Conflict);
        assert_eq!(store.content(INDEX), None);
    }
}

#[tokio::test]
async fn an_index_that_has_become_too_large_ends_the_execution() {
    let store = MemoryStore::default();
    store.upload(&key("a-1-r0"), package("a", "1-r0", ""));
    let extracted = step::extract(&store, Policy::default(), target(&key("a-1-r0"))).await.unwrap();
    let written =
        step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, extracted).await.unwrap();
    let mut aggregated = step::aggregate(&store, V3Index::Auto, written.into()).await.unwrap();
    let (header, snapshot) = Snapshot::read(&store.content(SNAPSHOT).unwrap()).unwrap();
    let [record] = &snapshot.records().unwrap()[..] else { panic!("one package") };
    let names: Vec<_> = (0..9000).map(|number| format!("d{number:08}")).collect();
    let text = format!("{}\nD:{}\n\n", record.entry.to_string().trim_end(), names.join(" "));
    let entry: IndexEntry = text.parse().unwrap();
    let records = (0..1600).map(|number| {
        let mut record = Record { entry: entry.clone(), ..record.clone() };
        record.entry.metadata.name = format!("a{number}").parse().unwrap();
        record
    });
    let snapshot = Snapshot::new(records);
    let header = Header { packages: snapshot.len(), ..header };
    store.upload(SNAPSHOT, snapshot.to_bytes(&header).unwrap());
    let snapshot = store.head(SNAPSHOT).await.unwrap().unwrap().etag;
    aggregated.staged = aggregated.staged.map(|staged| Staged { snapshot, ..staged });
    let failure =
        step::publish(&store, &Keys::good(), &mut OsRng, travelled(&aggregated)).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Misconfigured);
    assert!(failure.report().contains("another repository"), "{}", failure.report());
}

#[tokio::test]
async fn another_key_under_the_same_name_is_not_replaced() {
    let store = two_packages().await;
    let (index, key_of_clients) = (store.content(INDEX), store.content(KEY_NAME));
    store.upload(&key("c-1-r0"), package("c", "1-r0", ""));
    let other = Keys { private_key: Some(private_key()), ..Keys::good() };
    let failure = execute_with(&store, &other, &key("c-1-r0")).await.unwrap_err();
    assert!(failure.is(FailureKind::Misconfigured), "{failure:?}");
    insta::assert_snapshot!(failure.cause);
    assert_eq!(store.content(KEY_NAME), key_of_clients);
    assert_eq!(store.content(INDEX), index);

    store.upload(KEY_NAME, "garbage");
    execute(&store, &key("c-1-r0")).await.unwrap();
    assert_eq!(store.content(KEY_NAME), key_of_clients);
}

#[tokio::test]
async fn a_key_that_another_execution_publishes_meanwhile_is_not_replaced() {
    let store = MemoryStore::default();
    store.upload(&key("a-1-r0"), package("a", "1-r0", ""));
    let rival = store.duplicate();
    let other = Keys { private_key: Some(private_key()), ..Keys::good() };
    execute_with(&rival, &other, &key("a-1-r0")).await.unwrap();
    let key_of_clients = rival.content(KEY_NAME).unwrap();
    let published = key_of_clients.clone();
    store.before_requests(move |store, request| {
        if request == Request::Put(KEY_NAME) {
            store.upload(KEY_NAME, published.clone());
        }
        Ok(())
    });
    let failure = execute(&store, &key("a-1-r0")).await.unwrap_err();
    assert!(failure.is(FailureKind::Misconfigured), "{failure:?}");
    assert_eq!(store.content(KEY_NAME).unwrap(), key_of_clients);
    assert_eq!(store.content(INDEX), None);
}

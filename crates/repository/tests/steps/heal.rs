//! What somebody else deletes or overwrites, and directories without a snapshot.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use alpinist_repository::{
    failure::FailureKind,
    memory::{MemoryStore, Request},
    message::AggregateRequest,
    plus_copy::PlusCopies,
    policy::Policy,
    port::{NewObject, ObjectStore as _, Precondition, Starter, StoreError},
    replacing::Replacing,
    step::{self, HealRequest, Message},
    v3_index::V3Index,
};
use futures::FutureExt as _;
use serde_json::json;

use crate::{
    common::execution::{Next, State, travelled},
    reindex::reindex,
    support::{
        INDEX, Keys, PREFIX, execute, key, listed, package, package_of, publish, rejected_now,
        target,
    },
};

const SNAPSHOT: &str = ".alpinist/published/3.22/main/x86_64/snapshot.json.gz";
const COPY: &str = "3.22/main/x86_64/libstdc  -13-r0.apk";
const WANTED: &str = ".alpinist/adoption/3.22/main/x86_64/wanted";

async fn heal(store: &MemoryStore, request: HealRequest) -> Vec<String> {
    heal_where(store, Replacing::Allowed, request).await
}

async fn heal_where(
    store: &MemoryStore,
    replacing: Replacing,
    request: HealRequest,
) -> Vec<String> {
    let Next::Start(healed) =
        State::Heal(request).run_where(store, &Keys::good(), replacing).await.unwrap()
    else {
        panic!("healing is to start something, or nothing");
    };
    let reindexes = healed.reindexes.into_iter().map(|prefix| format!("reindex of {prefix}"));
    healed.executions.into_iter().chain(reindexes).collect()
}

/// Returns what is started for events about the objects as they are now.
async fn told(store: &MemoryStore, keys: &[&str]) -> Vec<String> {
    let mut records = Vec::new();
    for key in keys {
        let object = store.head(key).await.unwrap();
        let kind = if object.is_some() { "Object Created" } else { "Object Deleted" };
        let etag = object.map(|object| object.etag.0.trim_matches('"').to_owned());
        records.push(event(kind, key, &etag.unwrap_or_default()));
    }
    heal(store, HealRequest::Messages { records }).await
}

fn event(kind: &str, key: &str, etag: &str) -> Message {
    let object = json!({"key": key, "etag": etag});
    let detail = json!({"bucket": {"name": "bucket"}, "object": object});
    let event = json!({"detail-type": kind, "time": "2026-11-27T17:00:00Z", "detail": detail});
    Message { body: event.to_string() }
}

/// Returns what the scheduled check starts.
pub(crate) async fn check(store: &MemoryStore) -> Vec<String> {
    check_where(store, Replacing::Allowed).await
}

/// The same, where this is the setting.
pub(crate) async fn check_where(store: &MemoryStore, replacing: Replacing) -> Vec<String> {
    let request = HealRequest::Check { bucket: "bucket".to_owned(), prefix: String::new() };
    heal_where(store, replacing, request).await
}

/// A bucket with the packages `a` and `b`, both listed some time ago.
async fn two_packages() -> MemoryStore {
    let store = MemoryStore::default();
    for name in ["a", "b"] {
        store.upload(&key(&format!("{name}-1-r0")), package(name, "1-r0", name));
        execute(&store, &key(&format!("{name}-1-r0"))).await.unwrap();
    }
    store.pass(Duration::from_mins(10));
    store
}

/// A bucket that got a package ten minutes ago, and the bucket as it was before.
async fn a_third_package() -> (MemoryStore, MemoryStore) {
    let store = two_packages().await;
    let before = store.duplicate();
    publish(&store, "c", "1-r0", "").await;
    store.pass(Duration::from_mins(10));
    (store, before)
}

#[tokio::test]
async fn nothing_is_started_for_what_we_write_ourselves() {
    let store = two_packages().await;
    let (a, b) = (format!("{PREFIX}a-1-r0.index"), format!("{PREFIX}b-1-r0.index"));
    let before = store.requests();
    assert_eq!(told(&store, &[&a, &b, INDEX, SNAPSHOT]).await, Vec::<String>::new());
    assert_eq!(store.requests() - before, 4 + 4, "four for the directory, and four by this test");
    assert_eq!(check(&store).await, Vec::<String>::new());

    store.remove(&key("b-1-r0"));
    execute(&store, &key("b-1-r0")).await.unwrap();
    store.upload(&key("c-1-r0"), "no package");
    execute(&store, &key("c-1-r0")).await.unwrap_err();
    store.pass(Duration::from_mins(10));
    let c = format!("{PREFIX}c-1-r0.index");
    assert_eq!(told(&store, &[&b, &c, SNAPSHOT]).await, Vec::<String>::new());
    assert_eq!(check(&store).await, Vec::<String>::new(), "a rejected package is looked at once");
}

#[tokio::test]
async fn an_index_that_somebody_else_deleted_or_overwrote_is_made_again() {
    let store = two_packages().await;
    let index = store.content(INDEX).unwrap();
    for foreign in [None, Some("P:x")] {
        match foreign {
            None => store.remove(INDEX),
            Some(foreign) => store.upload(INDEX, foreign),
        }
        assert_eq!(told(&store, &[INDEX]).await, [INDEX], "{foreign:?}");
        assert_eq!(check(&store).await, [INDEX], "{foreign:?}");
        execute(&store, INDEX).await.unwrap();
        assert_eq!(store.content(INDEX).unwrap(), index);
        store.pass(Duration::from_mins(10));
        assert_eq!(told(&store, &[INDEX]).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_snapshot_that_somebody_else_deleted_or_overwrote_is_made_again() {
    let store = two_packages().await;
    for foreign in [None, Some("garbage")] {
        match foreign {
            None => store.remove(SNAPSHOT),
            Some(foreign) => store.upload(SNAPSHOT, foreign),
        }
        assert_eq!(told(&store, &[SNAPSHOT]).await, [INDEX], "{foreign:?}");
        execute(&store, INDEX).await.unwrap();
        assert_eq!(listed(&store), ["a-1-r0", "b-1-r0"]);
        store.pass(Duration::from_mins(10));
        assert_eq!(told(&store, &[SNAPSHOT]).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn an_index_that_cannot_be_written_is_not_tried_again_for_ever() {
    let store = two_packages().await;
    let older = store.content(SNAPSHOT).unwrap();
    store.upload(&key("c-1-r0"), package("c", "1-r0", ""));
    // As if the function that signs had failed.
    let extracted = step::extract(&store, Policy::default(), target(&key("c-1-r0"))).await.unwrap();
    let written =
        step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, extracted).await.unwrap();
    let aggregated = step::aggregate(&store, V3Index::Auto, written.into()).await.unwrap();
    assert!(aggregated.staged.is_some());
    store.pass(Duration::from_mins(10));
    assert_eq!(told(&store, &[SNAPSHOT]).await, Vec::<String>::new());
    // Events about the previous index are late. What somebody does to the index counts, and so does
    // the check.
    assert_eq!(told(&store, &[SNAPSHOT, INDEX]).await, Vec::<String>::new());
    // In a versioned bucket, the previous version replaces a deleted one.
    let records = vec![event("Object Deleted", INDEX, "")];
    assert_eq!(heal(&store, HealRequest::Messages { records }).await, [INDEX]);
    assert_eq!(check(&store).await, [INDEX]);
    store.upload(INDEX, "P:x");
    assert_eq!(told(&store, &[SNAPSHOT, INDEX]).await, [INDEX]);
    store.remove(INDEX);
    assert_eq!(told(&store, &[SNAPSHOT, INDEX]).await, [INDEX]);

    // No execution is working on an older snapshot that somebody puts back.
    execute(&store, INDEX).await.unwrap();
    store.pass(Duration::from_mins(10));
    store.upload(SNAPSHOT, older);
    store.pass(Duration::from_mins(1));
    assert_eq!(told(&store, &[SNAPSHOT]).await, [INDEX]);
    execute(&store, INDEX).await.unwrap();
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0", "c-1-r0"]);
}

#[tokio::test]
async fn a_fragment_that_somebody_else_deleted_or_overwrote_is_made_again() {
    let store = two_packages().await;
    let fragment = format!("{PREFIX}b-1-r0.index");
    let right = store.content(&fragment).unwrap();
    for foreign in [None, Some("P:x")] {
        match foreign {
            None => store.remove(&fragment),
            Some(foreign) => store.upload(&fragment, foreign),
        }
        assert_eq!(told(&store, &[&fragment]).await, [key("b-1-r0")], "{foreign:?}");
        assert_eq!(check(&store).await, [key("b-1-r0")], "{foreign:?}");
        execute(&store, &key("b-1-r0")).await.unwrap();
        assert_eq!(store.content(&fragment).unwrap(), right);
        assert_eq!(told(&store, &[&fragment]).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn what_has_no_event_is_found_by_the_check() {
    let store = two_packages().await;
    store.remove(&key("b-1-r0"));
    store.upload(&key("a-1-r0"), package("a", "1-r0", "other"));
    store.upload(&key("c-1-r0"), package("c", "1-r0", ""));
    store.upload(&format!("{PREFIX}d-1-r0.index"), "P:d");
    assert_eq!(
        check(&store).await,
        [key("b-1-r0"), key("d-1-r0")],
        "an execution may be under way"
    );
    store.pass(Duration::from_mins(10));
    let found = check(&store).await;
    assert_eq!(found, ["a-1-r0", "b-1-r0", "c-1-r0", "d-1-r0"].map(key));
    for key in found {
        execute(&store, &key).await.unwrap();
    }
    assert_eq!(listed(&store), ["a-1-r0", "c-1-r0"]);
    assert_eq!(check(&store).await, Vec::<String>::new());
}

#[tokio::test]
async fn where_many_packages_are_doubtful_a_reindex_looks_at_them() {
    let store = two_packages().await;
    for number in 0..=100 {
        let name = format!("new{number}");
        store.upload(&key(&format!("{name}-1-r0")), package(&name, "1-r0", ""));
    }
    store.pass(Duration::from_mins(10));
    assert_eq!(check(&store).await, [format!("reindex of {PREFIX}")]);
}

/// Somebody else's bucket, with two packages and an index of their own.
async fn foreign_bucket() -> MemoryStore {
    let store = two_packages().await;
    for key in store.keys() {
        if key.starts_with('.') || key.ends_with(".index") {
            store.remove(&key);
        }
    }
    let index = store.content(INDEX).unwrap();
    store.upload(INDEX, index);
    store
}

#[tokio::test]
async fn an_upload_into_a_bucket_of_somebody_else_takes_nothing_off_its_index() {
    let store = foreign_bucket().await;
    let index = store.content(INDEX).unwrap();
    store.upload(&key("c-1-r0"), package("c", "1-r0", ""));
    let extracted = step::extract(&store, Policy::default(), target(&key("c-1-r0"))).await.unwrap();
    let written =
        step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, extracted).await.unwrap();
    let mut aggregated = step::aggregate(&store, V3Index::Auto, written.into()).await.unwrap();
    assert_eq!(aggregated.waiting.as_ref().unwrap().unknown, 2);
    assert_eq!(told(&store, &[WANTED]).await, [format!("reindex of {PREFIX}")]);

    aggregated.waiting.as_mut().unwrap().times = 100;
    let failure = step::aggregate(&store, V3Index::Auto, travelled(&aggregated)).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Incomplete);
    insta::assert_snapshot!("nobody_looks", failure.report());
    assert_eq!(store.content(INDEX).unwrap(), index);

    let report = reindex(&store, PREFIX, true).await.unwrap();
    assert_eq!(report.indexed, [key("a-1-r0"), key("b-1-r0")]);
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0", "c-1-r0"]);
    let covered = step::aggregate(&store, V3Index::Auto, travelled(&aggregated)).await.unwrap();
    assert_eq!((covered.waiting, covered.staged), (None, None));
}

#[tokio::test]
async fn a_deletion_in_a_bucket_of_somebody_else_reaches_its_index() {
    let store = foreign_bucket().await;
    store.remove(&key("b-1-r0"));
    let extracted = step::extract(&store, Policy::default(), target(&key("b-1-r0"))).await.unwrap();
    let written =
        step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, extracted).await.unwrap();
    let aggregated = step::aggregate(&store, V3Index::Auto, written.into()).await.unwrap();
    assert_eq!(aggregated.waiting.unwrap().unknown, 1);
    reindex(&store, PREFIX, true).await.unwrap();
    assert_eq!(listed(&store), ["a-1-r0"]);
}

#[tokio::test]
async fn a_rejected_package_does_not_stand_in_the_way_of_the_first_good_one() {
    let store = MemoryStore::default();
    store.upload(&key("bad-1-r0"), "no package");
    execute(&store, &key("bad-1-r0")).await.unwrap_err();
    store.pass(Duration::from_hours(1));
    publish(&store, "good", "1-r0", "").await;
    assert_eq!(listed(&store), ["good-1-r0"]);
}

#[tokio::test]
async fn of_versions_that_apk_can_not_tell_apart_the_latest_upload_comes_first() {
    let store = MemoryStore::default();
    let stem = |number: u32| format!("a-1_beta.{number}-r0");
    for number in [1, 3, 2] {
        let version = format!("1_beta.{number}-r0");
        store.upload(&key(&stem(number)), package("a", &version, ""));
        execute(&store, &key(&stem(number))).await.unwrap();
        store.pass(Duration::from_secs(5));
    }
    assert_eq!(listed(&store), [2, 3, 1].map(stem));
    let index = store.content(INDEX).unwrap();
    assert_eq!(reindex(&store, PREFIX, false).await.unwrap().unchanged.len(), 3);
    assert_eq!(store.content(INDEX).unwrap(), index);

    store.upload(&key(&stem(1)), package("a", "1_beta.1-r0", ""));
    execute(&store, &key(&stem(1))).await.unwrap();
    assert_eq!(listed(&store), [1, 2, 3].map(stem), "the same bytes, uploaded again");
    store.pass(Duration::from_mins(10));
    store.upload(&key(&stem(3)), package("a", "1_beta.3-r0", ""));
    assert_eq!(check(&store).await, [INDEX], "an event was lost");
    execute(&store, INDEX).await.unwrap();
    assert_eq!(listed(&store), [3, 1, 2].map(stem));
}

#[tokio::test]
async fn one_directory_that_can_not_be_looked_at_stands_in_the_way_of_no_other() {
    let store = two_packages().await;
    let other = "3.21/main/x86_64/a-1-r0.apk";
    store.upload(other, package("a", "1-r0", ""));
    execute(&store, other).await.unwrap();
    store.pass(Duration::from_mins(10));
    let other_index = "3.21/main/x86_64/APKINDEX.tar.gz";
    store.remove(INDEX);
    store.remove(other_index);
    let denied = |key: &str| Err(StoreError::Denied { key: key.to_owned(), source: "no".into() });
    store.before_requests(move |_, request| match request {
        Request::Head(key) if key == other_index => denied(key),
        _ => Ok(()),
    });
    let records = [other_index, INDEX].map(|key| event("Object Deleted", key, "")).to_vec();
    let check = HealRequest::Check { bucket: "bucket".to_owned(), prefix: String::new() };
    for request in [HealRequest::Messages { records }, check] {
        let starter = Heard::default();
        let failure = step::heal(
            &store,
            &starter,
            PlusCopies::Kept,
            Replacing::Allowed,
            V3Index::Auto,
            request,
        )
        .await
        .unwrap_err();
        assert_eq!(failure.kind(), FailureKind::AccessDenied);
        assert_eq!(*starter.0.lock().unwrap(), [INDEX]);
    }
}

/// Records what is started.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Starter for Heard {
    async fn start(&self, key: &str) -> Result<(), StoreError> {
        self.0.lock().unwrap().push(key.to_owned());
        Ok(())
    }

    async fn reindex(&self, prefix: &str) -> Result<(), StoreError> {
        self.0.lock().unwrap().push(format!("reindex of {prefix}"));
        Ok(())
    }
}

#[tokio::test]
async fn an_index_and_its_snapshot_of_before_are_brought_up_to_date() {
    let (store, before) = a_third_package().await;
    for key in [SNAPSHOT, INDEX] {
        store.restore(key, &before);
    }
    let records = [SNAPSHOT, INDEX].map(|key| event("Object Deleted", key, "")).to_vec();
    assert_eq!(heal(&store, HealRequest::Messages { records }).await, [INDEX]);
    execute(&store, INDEX).await.unwrap();
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0", "c-1-r0"]);
}

#[tokio::test]
async fn a_snapshot_that_somebody_archived_is_made_again() {
    let store = two_packages().await;
    let archived = store.content(SNAPSHOT);
    store.before_requests(move |store, request| match request {
        Request::Get(SNAPSHOT) if store.content(SNAPSHOT) == archived => {
            Err(StoreError::Archived { key: SNAPSHOT.to_owned() })
        }
        _ => Ok(()),
    });
    publish(&store, "c", "1-r0", "").await;
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0", "c-1-r0"]);
    assert_eq!(check(&store).await, Vec::<String>::new());
}

#[tokio::test]
async fn files_of_others_that_are_called_like_fragments_stay() {
    let store = MemoryStore::default();
    let foreign = ["search/segments/part-0001.index", "other/lucene/seg1.index"];
    for key in foreign {
        store.upload(key, "segment");
    }
    store.upload("other/lucene/a-1-r0.apk", "no package");
    store.pass(Duration::from_mins(10));
    let before = store.keys();
    assert_eq!(told(&store, &foreign[..1]).await, Vec::<String>::new());
    for key in foreign.map(|key| key.replace(".index", ".apk")) {
        execute(&store, &key).await.unwrap();
    }
    reindex(&store, "", false).await.unwrap();
    for key in foreign {
        assert!(store.content(key).is_some(), "{key}");
    }
    assert!(before.iter().all(|key| store.content(key).is_some()));
    // Our objects are still ours in a directory whose name is no known architecture.
    let own = "own/mine/a-1-r0.apk";
    store.upload(own, package_of("a", "1-r0", "mine", ""));
    execute(&store, own).await.unwrap();
    store.remove(own);
    execute(&store, own).await.unwrap();
    assert_eq!(store.content("own/mine/a-1-r0.index"), None);
}

#[tokio::test]
async fn a_package_that_was_written_again_is_not_taken_for_rejected() {
    let store = two_packages().await;
    store.upload(&key("c-1-r0"), package("c", "1-r0", ""));
    let rejected = rejected_now(&store, &key("c-1-r0")).await;
    step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, rejected).await.unwrap();
    store.pass(Duration::from_mins(10));
    assert_eq!(check(&store).await, Vec::<String>::new());
    // The same bytes, in another storage class.
    store.upload(&key("c-1-r0"), package("c", "1-r0", ""));
    store.pass(Duration::from_mins(10));
    assert_eq!(check(&store).await, [key("c-1-r0")]);
    let fragment = format!("{PREFIX}c-1-r0.index");
    assert_eq!(told(&store, &[&fragment]).await, [key("c-1-r0")]);
}

#[tokio::test]
async fn what_no_package_can_be_called_is_not_looked_at_each_day() {
    let store = two_packages().await;
    let long = "l".repeat(250);
    for stem in ["", "a\tb-1-r0", &long] {
        store.upload(&key(stem), "no package");
    }
    store.upload(&format!("{PREFIX}{long}.index"), "no fragment");
    store.pass(Duration::from_mins(10));
    assert_eq!(check(&store).await, Vec::<String>::new());
}

#[tokio::test]
async fn news_of_one_fragment_hides_no_other_news_of_it() {
    let store = two_packages().await;
    let fragment = format!("{PREFIX}b-1-r0.index");
    let ours = store.head(&fragment).await.unwrap().unwrap().etag.0;
    store.upload(&fragment, "P:x");
    let foreign = store.head(&fragment).await.unwrap().unwrap().etag.0;
    let [ours, foreign] = [ours, foreign].map(|etag| etag.trim_matches('"').to_owned());
    for order in [[&ours, &foreign], [&foreign, &ours]] {
        let records = order.map(|etag| event("Object Created", &fragment, etag)).to_vec();
        assert_eq!(heal(&store, HealRequest::Messages { records }).await, [key("b-1-r0")]);
    }
}

#[tokio::test]
async fn an_index_and_its_snapshot_of_before_that_somebody_copies_back_are_brought_up_to_date() {
    let (store, before) = a_third_package().await;
    for key in [SNAPSHOT, INDEX] {
        store.copy_back(key, &before);
    }
    store.pass(Duration::from_mins(1));
    assert_eq!(told(&store, &[SNAPSHOT, INDEX]).await, [INDEX]);
    execute(&store, INDEX).await.unwrap();
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0", "c-1-r0"]);
    store.pass(Duration::from_mins(1));
    assert_eq!(told(&store, &[SNAPSHOT, INDEX]).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_fragment_of_a_backup_is_not_believed_when_nothing_is_remembered() {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "old").await;
    let fragment = format!("{PREFIX}a-1-r0.index");
    let backup = store.content(&fragment).unwrap();
    publish(&store, "a", "1-r0", "new").await;
    let index = store.content(INDEX).unwrap();
    store.pass(Duration::from_mins(10));
    // `aws s3 cp` restores only the bytes. Old and new have the same size.
    store.upload(&fragment, backup);
    store.remove(SNAPSHOT);
    assert_eq!(told(&store, &[SNAPSHOT]).await, [INDEX]);
    let extracted = step::extract(&store, Policy::default(), target(INDEX)).await.unwrap();
    let written =
        step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, extracted).await.unwrap();
    let aggregated = step::aggregate(&store, V3Index::Auto, written.into()).await.unwrap();
    assert_eq!(aggregated.waiting.unwrap().unknown, 1);
    assert_eq!(told(&store, &[WANTED]).await, [format!("reindex of {PREFIX}")]);
    reindex(&store, PREFIX, true).await.unwrap();
    assert_eq!(store.content(INDEX).unwrap(), index);
}

#[tokio::test]
async fn the_check_finds_a_copy_that_is_missing_or_of_another_size() {
    let store = MemoryStore::default();
    let package = |content| package("libstdc++", "13-r0", content);
    store.upload(&key("libstdc++-13-r0"), package("a"));
    execute(&store, &key("libstdc++-13-r0")).await.unwrap();
    store.pass(Duration::from_mins(10));
    assert_eq!(check(&store).await, Vec::<String>::new());
    store.upload(COPY, "foreign");
    assert_eq!(check(&store).await, [key("libstdc++-13-r0")]);
    store.remove(COPY);
    assert_eq!(check(&store).await, [key("libstdc++-13-r0")]);
    let starter = Heard::default();
    let request = HealRequest::Check { bucket: "bucket".to_owned(), prefix: String::new() };
    step::heal(&store, &starter, PlusCopies::None, Replacing::Allowed, V3Index::Auto, request)
        .await
        .unwrap();
    assert_eq!(*starter.0.lock().unwrap(), Vec::<String>::new(), "where none are kept");
    execute(&store, &key("libstdc++-13-r0")).await.unwrap();
    assert_eq!(store.content(COPY), store.content(&key("libstdc++-13-r0")));
}

#[tokio::test]
async fn the_same_bytes_uploaded_again_are_not_looked_at_each_day() {
    let store = two_packages().await;
    let plus = "libstdc++-13-r0";
    for _ in 0..2 {
        store.upload(&key(plus), package("libstdc++", "13-r0", "a"));
        execute(&store, &key(plus)).await.unwrap();
        store.upload(&key("bad-1-r0"), "no package");
        execute(&store, &key("bad-1-r0")).await.unwrap_err();
        store.pass(Duration::from_mins(10));
        assert_eq!(check(&store).await, Vec::<String>::new());
    }
    // Our attributes on other bytes.
    let attributes = store.head(COPY).await.unwrap().unwrap().attributes;
    let object = NewObject { bytes: b"foreign".to_vec(), content_type: "x/y", attributes };
    store.put(COPY, object, Precondition::None).await.unwrap();
    assert_eq!(check(&store).await, [key(plus)]);
    execute(&store, &key(plus)).await.unwrap();
    assert_eq!(store.content(COPY), store.content(&key(plus)));
}

#[tokio::test]
async fn a_snapshot_whose_version_before_took_its_place_is_made_again() {
    let (store, before) = a_third_package().await;
    store.restore(SNAPSHOT, &before);
    let records = vec![event("Object Deleted", SNAPSHOT, "")];
    assert_eq!(heal(&store, HealRequest::Messages { records }).await, [INDEX]);
}

#[tokio::test]
async fn an_old_version_that_expires_starts_nothing() {
    let store = two_packages().await;
    for key in [SNAPSHOT, INDEX] {
        let detail = json!({
            "bucket": {"name": "bucket"},
            "object": {"key": key, "etag": "x", "version-id": "v"},
            "reason": "Lifecycle Expiration",
            "deletion-type": "Permanently Deleted",
        });
        let event = json!({"detail-type": "Object Deleted", "detail": detail});
        let records = vec![Message { body: event.to_string() }];
        let started = heal(&store, HealRequest::Messages { records }).await;
        assert_eq!(started, Vec::<String>::new(), "{key}");
    }
}

#[tokio::test]
async fn an_index_and_its_snapshot_of_a_minute_before_are_brought_up_to_date() {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "").await;
    store.pass(Duration::from_secs(30));
    publish(&store, "b", "1-r0", "").await;
    let before = store.duplicate();
    store.pass(Duration::from_mins(1));
    publish(&store, "c", "1-r0", "").await;
    store.pass(Duration::from_mins(1));
    for key in [SNAPSHOT, INDEX] {
        store.copy_back(key, &before);
    }
    store.pass(Duration::from_secs(30));
    assert_eq!(told(&store, &[SNAPSHOT, INDEX]).await, [INDEX]);
    execute(&store, INDEX).await.unwrap();
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0", "c-1-r0"]);
}

#[tokio::test]
async fn a_directory_of_rejected_packages_is_right_and_loses_their_fragments() {
    let store = MemoryStore::default();
    store.upload(&key("c-1-r0"), "no package");
    execute(&store, &key("c-1-r0")).await.unwrap_err();
    store.pass(Duration::from_hours(1));
    assert_eq!(check(&store).await, Vec::<String>::new());
    let fragment = format!("{PREFIX}c-1-r0.index");
    store.upload(&fragment, "P:x");
    assert_eq!(told(&store, &[&fragment]).await, [key("c-1-r0")]);
    assert_eq!(check(&store).await, [key("c-1-r0")]);
    execute(&store, &key("c-1-r0")).await.unwrap_err();
    assert_eq!(store.content(&fragment), None);
    assert_eq!(check(&store).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_young_package_that_lost_all_that_is_known_of_it_is_looked_at() {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "").await;
    let fragment = format!("{PREFIX}a-1-r0.index");
    store.upload(INDEX, "P:x");
    store.upload(&fragment, "P:x");
    store.remove(SNAPSHOT);
    store.pass(Duration::from_secs(30));
    let started = told(&store, &[INDEX, SNAPSHOT, &fragment]).await;
    assert_eq!(started, [INDEX.to_owned(), key("a-1-r0")]);
    for key in started {
        execute(&store, &key).await.unwrap();
    }
    assert_eq!(listed(&store), ["a-1-r0"]);
}

#[tokio::test]
async fn while_a_reindex_is_awaited_fragments_are_not_read_again_each_time() {
    let store = MemoryStore::default();
    for number in 0..50 {
        let name = format!("p{number}");
        store.upload(&key(&format!("{name}-1-r0")), package(&name, "1-r0", ""));
        store.upload(&format!("{PREFIX}{name}-1-r0.index"), "P:x");
    }
    store.pass(Duration::from_hours(1));
    store.upload(&key("new-1-r0"), package("new", "1-r0", ""));
    let extracted =
        step::extract(&store, Policy::default(), target(&key("new-1-r0"))).await.unwrap();
    let written =
        step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, extracted).await.unwrap();
    let mut request = AggregateRequest::from(written);
    for look in 0..3 {
        let before = store.requests();
        let aggregated = step::aggregate(&store, V3Index::Auto, request).await.unwrap();
        assert_eq!(aggregated.waiting.as_ref().unwrap().unknown, 50);
        let requests = store.requests() - before;
        assert_eq!(requests > 50, look == 0, "{requests} requests");
        request = travelled(&aggregated);
        store.pass(Duration::from_secs(20));
    }
}

#[tokio::test]
async fn versions_that_apk_can_not_tell_apart_are_ordered_even_if_they_are_uploaded_at_once() {
    let store = MemoryStore::default();
    let (first, second) = ("a-1_x.1-r0", "a-1_x.2-r0");
    publish(&store, "a", "1_x.1-r0", "").await;
    store.pass(Duration::from_secs(30));
    publish(&store, "a", "1_x.2-r0", "").await;
    store.pass(Duration::from_mins(10));
    // Both are uploaded again, with the same bytes: `first`, then `second`.
    store.upload(&key(first), package("a", "1_x.1-r0", ""));
    let rival = Arc::new(Mutex::new(None));
    let kept = rival.clone();
    let mut armed = true;
    store.before_requests(move |store, request| {
        if armed && matches!(request, Request::Put(SNAPSHOT)) {
            armed = false;
            store.pass(Duration::from_secs(2));
            store.upload(&key(second), package("a", "1_x.2-r0", ""));
            let mut state = State::Extract(target(&key(second)));
            loop {
                match state.run(store, &Keys::good()).now_or_never().unwrap().unwrap() {
                    Next::Go(next) => state = next,
                    Next::Wait(next) => {
                        *kept.lock().unwrap() = Some(next);
                        break;
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        Ok(())
    });
    execute(&store, &key(first)).await.unwrap();
    let mut state = rival.lock().unwrap().take().expect("it waits");
    loop {
        store.pass(Duration::from_secs(5));
        match state.run(&store, &Keys::good()).await.unwrap() {
            Next::Go(next) | Next::Wait(next) => state = next,
            Next::End(_) => break,
            Next::Start(_) => unreachable!(),
        }
    }
    store.pass(Duration::from_mins(10));
    assert_eq!(listed(&store), [second, first]);
}

//! Packages that are withdrawn stay in the bucket, and are in no index until they are restored.

use std::time::Duration;

use alpinist_apk::adb::index::ReadIndex;
use alpinist_repository::{
    failure::FailureKind, memory::MemoryStore, plus_copy::PlusCopies, policy::Policy,
    replacing::Replacing, step, verify::Depth,
};
use rstest::rstest;

use crate::{
    adb::v3_package,
    common::execution::Settings,
    heal::check,
    reindex::reindex,
    support::{
        Failed, INDEX, KEY_NAME, Keys, PREFIX, aggregate_and_publish, execute, key, listed,
        package, publish, target,
    },
    verify::verified_where,
};

const MARK: &str = "3.22/main/x86_64/a-1-r0.withdrawn";
const FRAGMENT: &str = "3.22/main/x86_64/a-1-r0.index";

async fn two_packages() -> MemoryStore {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "").await;
    publish(&store, "b", "1-r0", "").await;
    store.pass(Duration::from_mins(1));
    store
}

async fn withdraw(store: &MemoryStore, reason: &str) {
    store.upload(MARK, reason.as_bytes().to_vec());
    execute(store, MARK).await.unwrap();
}

async fn replay(store: &MemoryStore) -> Result<(), Failed> {
    execute(store, &key("a-1-r0")).await
}

#[tokio::test]
async fn a_withdrawn_package_leaves_the_index_and_nothing_else() {
    let store = two_packages().await;
    let before = [store.content(&key("a-1-r0")), store.content(FRAGMENT)];
    withdraw(&store, "CVE-2026-1234").await;
    assert_eq!(listed(&store), ["b-1-r0"]);
    assert_eq!([store.content(&key("a-1-r0")), store.content(FRAGMENT)], before);
    execute(&store, MARK).await.unwrap();
    store.remove(MARK);
    execute(&store, MARK).await.unwrap();
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0"]);
    execute(&store, MARK).await.unwrap();
}

#[tokio::test]
async fn an_upload_of_a_withdrawn_package_is_rejected_with_the_reason() {
    let store = two_packages().await;
    withdraw(&store, "breaks\n  the \u{1b}[31m boot\n").await;
    let failure = replay(&store).await.unwrap_err();
    assert!(failure.is(FailureKind::PackageRejected), "{failure:?}");
    insta::assert_snapshot!(failure.cause);
    store.upload(&key("a-1-r0"), package("a", "1-r0", "other"));
    let failure = replay(&store).await.unwrap_err();
    assert!(failure.cause.contains("it is withdrawn: breaks"), "{failure:?}");
    assert_eq!(listed(&store), ["b-1-r0"]);
    // What was uploaded last is restored.
    store.remove(MARK);
    execute(&store, MARK).await.unwrap();
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0"]);
}

#[rstest]
#[case::without_a_reason(Vec::new())]
#[case::with_a_long_one(vec![b'a'; 5000])]
#[case::with_garbage(vec![0xff, 0, 0x80])]
#[tokio::test]
async fn any_object_withdraws(#[case] content: Vec<u8>) {
    let store = two_packages().await;
    store.upload(MARK, content);
    execute(&store, MARK).await.unwrap();
    assert_eq!(listed(&store), ["b-1-r0"]);
    let failure = replay(&store).await.unwrap_err();
    assert!(failure.cause.len() < 500, "{failure:?}");
}

#[tokio::test]
async fn no_other_execution_lists_a_withdrawn_package() {
    let store = two_packages().await;
    withdraw(&store, "").await;
    for (name, pause) in [("c", 60), ("d", 0)] {
        store.pass(Duration::from_secs(pause));
        publish(&store, name, "1-r0", "").await;
    }
    execute(&store, INDEX).await.unwrap();
    assert_eq!(listed(&store), ["b-1-r0", "c-1-r0", "d-1-r0"]);
    // Not even one whose event comes first, or alone.
    let store = two_packages().await;
    store.upload(MARK, "");
    publish(&store, "c", "1-r0", "").await;
    execute(&store, INDEX).await.unwrap();
    assert_eq!(listed(&store), ["b-1-r0", "c-1-r0"]);
}

#[tokio::test]
async fn a_withdrawn_package_of_format_v3_leaves_its_index() {
    let store = MemoryStore::default();
    store.upload(&key("a-1-r0"), v3_package("a", "1-r0"));
    execute(&store, &key("a-1-r0")).await.unwrap();
    let adb = || ReadIndex::read(&store.content("3.22/main/x86_64/Packages.adb").unwrap()).unwrap();
    assert_eq!(adb().entries.len(), 1);
    withdraw(&store, "").await;
    assert!(adb().entries.is_empty());
}

#[tokio::test]
async fn a_name_that_was_withdrawn_stays_so_when_its_package_is_uploaded_again() {
    let store = two_packages().await;
    withdraw(&store, "no more").await;
    store.remove(&key("a-1-r0"));
    execute(&store, &key("a-1-r0")).await.unwrap();
    assert_eq!(store.content(FRAGMENT), None);
    store.pass(Duration::from_mins(1));
    store.upload(&key("a-1-r0"), package("a", "1-r0", "again"));
    let failure = replay(&store).await.unwrap_err();
    assert!(failure.cause.contains("it is withdrawn: no more"), "{failure:?}");
    assert_eq!(listed(&store), ["b-1-r0"]);
}

#[tokio::test]
async fn a_withdrawal_between_two_steps_of_an_upload_counts() {
    let store = two_packages().await;
    store.upload(&key("c-1-r0"), package("c", "1-r0", ""));
    let extracted = step::extract(&store, Policy::default(), target(&key("c-1-r0"))).await.unwrap();
    let written =
        step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, extracted).await.unwrap();
    let mark = format!("{PREFIX}c-1-r0.withdrawn");
    store.upload(&mark, "too early");
    let failure = aggregate_and_publish(&store, &Keys::good(), written.clone().into()).await;
    assert!(failure.unwrap_err().cause.contains("it is withdrawn: too early"));
    execute(&store, &mark).await.unwrap();
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0"]);
    // Restored between two steps.
    let target = target(&mark);
    let extracted = step::extract(&store, Policy::default(), target).await.unwrap();
    let written =
        step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, extracted).await.unwrap();
    assert!(written.withdrawn);
    store.remove(&mark);
    let failure = aggregate_and_publish(&store, &Keys::good(), written.into()).await;
    assert!(failure.is_ok(), "{failure:?}");
    execute(&store, &mark).await.unwrap();
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0", "c-1-r0"]);
}

#[tokio::test]
async fn a_missed_event_of_a_withdrawal_is_found_by_the_check() {
    let store = two_packages().await;
    assert_eq!(check(&store).await, Vec::<String>::new());
    store.upload(MARK, "");
    store.pass(Duration::from_mins(10));
    assert_eq!(check(&store).await, [MARK]);
    execute(&store, MARK).await.unwrap();
    store.pass(Duration::from_mins(10));
    assert_eq!(check(&store).await, Vec::<String>::new());
    store.remove(MARK);
    assert_eq!(check(&store).await, [key("a-1-r0")]);
    execute(&store, &key("a-1-r0")).await.unwrap();
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0"]);
    // Nor is anything amiss where nothing is remembered.
    withdraw(&store, "").await;
    for key in store.keys().iter().filter(|key| key.starts_with(".alpinist/")) {
        store.remove(key);
    }
    store.pass(Duration::from_mins(10));
    assert_eq!(check(&store).await, [INDEX]);
    execute(&store, INDEX).await.unwrap();
    assert_eq!(listed(&store), ["b-1-r0"]);
}

#[tokio::test]
async fn verify_and_reindex_know_withdrawn_packages() {
    let store = two_packages().await;
    store.upload(MARK, "why");
    let found =
        async |depth| verified_where(&store, Settings::default(), depth, &[KEY_NAME]).await.1;
    for depth in [Depth::Listing, Depth::Content] {
        let [(file, message, _)] = &found(depth).await[..] else { panic!() };
        assert_eq!(
            (file.as_str(), message.as_str()),
            ("a-1-r0.apk", "the index lists it, but it is withdrawn")
        );
    }
    for only_stale in [true, false] {
        let report = reindex(&store, "", only_stale).await.unwrap();
        assert_eq!(report.withdrawn, [key("a-1-r0")], "{report:?}");
        assert_eq!((&report.removed[..], &report.rejected[..]), (&[][..], &[][..]));
        assert_eq!(listed(&store), ["b-1-r0"]);
        assert!(store.content(FRAGMENT).is_some());
    }
    for depth in [Depth::Listing, Depth::Content] {
        assert_eq!(found(depth).await, []);
    }
}

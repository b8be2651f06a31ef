//! What happens where published packages may not be replaced, and somebody replaces one.

use std::time::Duration;

use alpinist_repository::{
    failure::FailureKind, memory::MemoryStore, replacing::Replacing, trust::PackageSignatures,
    v3_index::V3Index, verify::Depth,
};

use crate::{
    adb::v3_package,
    common::execution::Settings,
    heal::check_where,
    reindex::reindex_under,
    support::{
        Failed, KEY_NAME, PREFIX, checksum, execute_where, key, listed, package, publish, target,
    },
    verify::verified_where,
};

const FRAGMENT: &str = "3.22/main/x86_64/a-1-r0.index";

async fn execute(store: &MemoryStore, stem: &str) -> Result<(), Failed> {
    execute_where(store, Replacing::Refused, target(&key(stem))).await
}

/// A repository with two packages, the first of which somebody replaces.
async fn replaced() -> MemoryStore {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "first").await;
    publish(&store, "b", "1-r0", "").await;
    store.upload(&key("a-1-r0"), package("a", "1-r0", "second"));
    store
}

#[tokio::test]
async fn another_package_under_a_published_name_is_rejected_with_both_checksums() {
    let store = replaced().await;
    let published = checksum(&store, "a-1-r0");
    let fragment = store.content(FRAGMENT);
    let failure = execute(&store, "a-1-r0").await.unwrap_err();
    assert!(failure.is(FailureKind::PackageRejected), "{failure:?}");
    assert!(failure.cause.contains(&published), "{}", failure.cause);
    insta::assert_snapshot!(failure.cause);
    assert_eq!(listed(&store), ["b-1-r0"], "what was published is gone");
    assert_eq!(store.content(FRAGMENT), fragment, "it remembers what was published");
    let again = execute(&store, "a-1-r0").await.unwrap_err();
    assert_eq!(again.cause, failure.cause, "a replay says the same");
}

#[tokio::test]
async fn the_other_format_is_another_package() {
    let store = replaced().await;
    store.upload(&key("a-1-r0"), v3_package("a", "1-r0"));
    let settings = Settings { v3_index: V3Index::Always, replacing: Replacing::Refused };
    let failure = execute_where(&store, settings, target(&key("a-1-r0"))).await.unwrap_err();
    assert!(failure.cause.contains("Q1") && failure.cause.contains("Q2"), "{}", failure.cause);
    assert_eq!(listed(&store), ["b-1-r0"]);
}

#[tokio::test]
async fn what_replaces_a_package_is_listed_by_no_other_execution() {
    let store = replaced().await;
    execute(&store, "a-1-r0").await.unwrap_err();
    for (name, pause) in [("c", 60), ("d", 0), ("e", 0)] {
        store.pass(Duration::from_secs(pause));
        store.upload(&key(&format!("{name}-1-r0")), package(name, "1-r0", ""));
        execute(&store, &format!("{name}-1-r0")).await.unwrap();
    }
    assert_eq!(listed(&store), ["b-1-r0", "c-1-r0", "d-1-r0", "e-1-r0"]);
    // Even if nobody followed the event.
    let store = replaced().await;
    store.upload(&key("c-1-r0"), package("c", "1-r0", ""));
    execute(&store, "c-1-r0").await.unwrap();
    let all = target(&format!("{PREFIX}APKINDEX.tar.gz"));
    execute_where(&store, Replacing::Refused, all).await.unwrap();
    assert_eq!(listed(&store), ["b-1-r0", "c-1-r0"]);
}

#[tokio::test]
async fn the_published_package_may_come_back() {
    let store = replaced().await;
    let published = checksum(&store, "a-1-r0");
    execute(&store, "a-1-r0").await.unwrap_err();
    store.upload(&key("a-1-r0"), package("a", "1-r0", "first"));
    execute(&store, "a-1-r0").await.unwrap();
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0"]);
    assert_eq!(checksum(&store, "a-1-r0"), published);
}

#[tokio::test]
async fn a_broken_package_in_between_makes_nobody_forget_what_was_published() {
    let store = replaced().await;
    store.upload(&key("a-1-r0"), "broken");
    let failure = execute(&store, "a-1-r0").await.unwrap_err();
    assert!(!failure.cause.contains("Replacing"), "{}", failure.cause);
    assert_eq!(listed(&store), ["b-1-r0"]);
    store.upload(&key("a-1-r0"), package("a", "1-r0", "second"));
    let failure = execute(&store, "a-1-r0").await.unwrap_err();
    assert!(failure.cause.contains("`Replacing` is `refused`"), "{}", failure.cause);
    assert_eq!(listed(&store), ["b-1-r0"]);
}

#[tokio::test]
async fn a_deletion_frees_the_name() {
    let store = replaced().await;
    execute(&store, "a-1-r0").await.unwrap_err();
    store.remove(&key("a-1-r0"));
    execute(&store, "a-1-r0").await.unwrap();
    assert_eq!(store.content(FRAGMENT), None);
    store.upload(&key("a-1-r0"), package("a", "1-r0", "second"));
    execute(&store, "a-1-r0").await.unwrap();
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0"]);
}

#[tokio::test]
async fn a_package_that_was_rejected_for_another_reason_may_be_replaced() {
    let store = MemoryStore::default();
    store.upload(&key("a-1-r0"), "broken");
    execute(&store, "a-1-r0").await.unwrap_err();
    store.upload(&key("a-1-r0"), package("a", "1-r0", ""));
    execute(&store, "a-1-r0").await.unwrap();
    assert_eq!(listed(&store), ["a-1-r0"]);
}

#[tokio::test]
async fn checks_and_reindexes_know_a_rejected_replacement() {
    let store = replaced().await;
    execute(&store, "a-1-r0").await.unwrap_err();
    store.pass(Duration::from_mins(10));
    assert_eq!(
        check_where(&store, Replacing::Refused).await,
        Vec::<String>::new(),
        "it is looked at once"
    );
    for depth in [Depth::Listing, Depth::Content] {
        let (_, problems) = verified_where(&store, Replacing::Refused, depth, &[KEY_NAME]).await;
        let [(file, message, _)] = &problems[..] else { panic!("{problems:?}") };
        assert_eq!(file, "a-1-r0.apk");
        assert!(message.contains("`Replacing` is `refused`"), "{message}");
    }
    for only_stale in [true, false] {
        let settings = (PackageSignatures::Verify, Replacing::Refused);
        let report = reindex_under(&store, "", only_stale, settings).await.unwrap();
        let [rejected] = &report.rejected[..] else { panic!("{report:?}") };
        assert!(rejected.report.cause.contains("`Replacing` is `refused`"), "{rejected:?}");
        assert_eq!(listed(&store), ["b-1-r0"]);
        assert!(store.content(FRAGMENT).is_some());
    }
}

//! A bucket whose fragments and indexes are rebuilt from its packages.

use alpinist_repository::{
    failure::{Failure, FailureKind},
    memory::{MemoryStore, Request},
    message::{Found, Reindex, Target},
    plus_copy::PlusCopies,
    policy::Policy,
    replacing::Replacing,
    step::{self, ReindexRequest, ReindexResponse, Report},
    trust::PackageSignatures,
};
use serde_json::{Value, json};

use crate::support::{
    INDEX, Keys, PREFIX, execute, execute_target, key, listed, package, publish, target,
};

const RUN: &str = "run";

pub(crate) async fn reindex(
    store: &MemoryStore,
    prefix: &str,
    only_stale: bool,
) -> Result<Report, Failure> {
    let signatures = PackageSignatures::Verify;
    reindex_under(store, prefix, only_stale, (signatures, Replacing::Allowed)).await
}

/// Does what the state machine of the reindex does.
pub(crate) async fn reindex_under(
    store: &MemoryStore,
    prefix: &str,
    only_stale: bool,
    (signatures, replacing): (PackageSignatures, Replacing),
) -> Result<Report, Failure> {
    let reindex = Reindex { run: RUN.to_owned(), only_stale, sign: false };
    let target = |key: &str| Target { reindex: Some(reindex.clone()), ..target(key) };
    let bucket = target("").bucket;
    let request = ReindexRequest::Discover { bucket: bucket.clone(), prefix: prefix.to_owned() };
    let ReindexResponse::Discovered { indexes } = step::reindex(store, request).await? else {
        panic!("a discovery is answered by the keys of indexes");
    };
    for key in store.keys().iter().filter(|key| key.starts_with(prefix) && key.ends_with(".apk")) {
        let policy = Policy { signatures, ..Policy::default() };
        let extracted = step::extract(store, policy, target(key)).await?;
        if extracted.found != Found::Indexed {
            step::write_index(store, PlusCopies::Kept, replacing, extracted).await?;
        }
    }
    for index in indexes {
        execute_target(store, &Keys::good(), target(&index)).await.unwrap();
    }
    let request = ReindexRequest::Report {
        bucket,
        run: RUN.to_owned(),
        unpublished: Vec::new(),
        manifest: None,
    };
    let outcome = step::reindex(store, request).await;
    let report = store.content(&format!(".alpinist/reindex/{RUN}/report.json")).unwrap();
    let report: Report = serde_json::from_slice(&report).unwrap();
    for finding in store.keys().iter().filter(|key| key.starts_with(".alpinist/reindex/")) {
        store.remove(finding);
    }
    outcome.map(|_| report)
}

#[tokio::test]
async fn packages_that_nobody_told_of_are_listed_and_the_rest_is_reported() {
    let store = MemoryStore::default();
    for name in ["told", "replaced", "deleted"] {
        store.upload(&key(&format!("{name}-1-r0")), package(name, "1-r0", "first"));
        execute(&store, &key(&format!("{name}-1-r0"))).await.unwrap();
    }
    store.upload(&key("new-1-r0"), package("new", "1-r0", ""));
    store.upload(&key("replaced-1-r0"), package("replaced", "1-r0", "second"));
    store.upload(&key("garbage-1-r0"), "garbage");
    store.upload("3.22/community/x86_64/other-1-r0.apk", package("other", "1-r0", ""));
    store.remove(&key("deleted-1-r0"));

    let other = "3.22/community/x86_64/other-1-r0.apk".to_owned();
    let report = reindex(&store, "", false).await.unwrap();
    assert_eq!(listed(&store), ["new-1-r0", "replaced-1-r0", "told-1-r0"]);
    assert_eq!(report.indexed, [other.clone(), key("new-1-r0"), key("replaced-1-r0")]);
    assert_eq!(report.unchanged, [key("told-1-r0")]);
    assert_eq!(report.removed, [key("deleted-1-r0")]);
    let [rejected] = report.rejected.as_slice() else { panic!("{report:?}") };
    assert_eq!(rejected.key, key("garbage-1-r0"));
    assert_eq!(rejected.report.error, FailureKind::PackageRejected.name());
    assert_eq!(store.content(&format!("{PREFIX}deleted-1-r0.index")), None);

    let before = store.written();
    let again = reindex(&store, "", false).await.unwrap();
    assert_eq!(again.unchanged, [other, key("new-1-r0"), key("replaced-1-r0"), key("told-1-r0")]);
    assert_eq!((again.indexed, again.removed), (Vec::new(), Vec::new()));
    assert_eq!(store.written(), before, "what is right is not written again");
}

#[tokio::test]
async fn only_what_is_below_the_prefix_is_made_again() {
    let store = MemoryStore::default();
    store.upload(&key("a-1-r0"), package("a", "1-r0", ""));
    store.upload("3.21/main/x86_64/b-1-r0.apk", package("b", "1-r0", ""));
    let report = reindex(&store, "3.22/", false).await.unwrap();
    assert_eq!(report.indexed, [key("a-1-r0")]);
    assert_eq!(store.content("3.21/main/x86_64/APKINDEX.tar.gz"), None);
    assert_eq!(reindex(&store, PREFIX, false).await.unwrap().unchanged, [key("a-1-r0")]);
    let failure = reindex(&store, "3.2", false).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::InvalidInput);
}

#[tokio::test]
async fn a_search_for_what_is_stale_reads_no_other_package() {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "").await;
    store.upload(&key("b-1-r0"), package("b", "1-r0", ""));
    store.before_requests(|_, request| {
        use alpinist_repository::memory::Request;
        assert!(!matches!(request, Request::Get(key) if key.ends_with("a-1-r0.apk")));
        Ok(())
    });
    let report = reindex(&store, "", true).await.unwrap();
    assert_eq!((report.unchanged, report.indexed), (vec![key("a-1-r0")], vec![key("b-1-r0")]));
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0"]);
}

#[tokio::test]
async fn what_a_reindex_rejects_under_a_stricter_setting_is_not_listed_from_memory() {
    let store = MemoryStore::default();
    for name in ["a", "b"] {
        store.upload(&key(&format!("{name}-1-r0")), package(name, "1-r0", ""));
        execute(&store, &key(&format!("{name}-1-r0"))).await.unwrap();
    }
    store.remove(&format!("{PREFIX}b-1-r0.index"));
    let require = PackageSignatures::Require;
    let report = reindex_under(&store, "", false, (require, Replacing::Allowed)).await.unwrap();
    assert_eq!(listed(&store), Vec::<String>::new());
    let rejected: Vec<_> = report.rejected.into_iter().map(|rejected| rejected.key).collect();
    assert_eq!(rejected, [key("a-1-r0"), key("b-1-r0")]);
    assert_eq!((report.unchanged, report.failed), (Vec::new(), Vec::new()));
}

/// What a distributed map writes about a failed execution for a package, as AWS documents it: one
/// that timed out is among those that failed. Without a package, its input is omitted.
fn record(stem: &str) -> Value {
    let input = json!({"bucket": "bucket", "key": key(stem), "reindex": {"run": RUN}}).to_string();
    let input = if stem.is_empty() { String::new() } else { input };
    json!({
        "Cause": "x".repeat(30_000),
        "Error": "States.Timeout",
        "ExecutionArn": "arn:aws:states:us-east-1:123456789012:execution:reindex/EachObject:61af8e57",
        "Input": input,
        "InputDetails": {"Included": !stem.is_empty()},
        "Name": "61af8e57",
        "RedriveCount": 0,
        "RedriveStatus": "REDRIVABLE_BY_MAP_RUN",
        "StartDate": "2024-01-01T00:00:00.000Z",
        "StateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:reindex/EachObject",
        "Status": "TIMED_OUT",
        "StopDate": "2024-01-01T00:05:00.000Z",
    })
}

/// Makes the index, and then the report of a run in which the executions for the packages `failed`
/// failed.
async fn report_with(store: &MemoryStore, failed: &[&str]) -> (Result<(), Failure>, Report) {
    let reindex = Some(Reindex { run: RUN.to_owned(), only_stale: false, sign: false });
    let reindexed = Target { reindex, ..target(INDEX) };
    execute_target(store, &Keys::good(), reindexed).await.unwrap();
    // As a distributed map writes them.
    let manifest = format!(".alpinist/reindex/{RUN}/executions/1/manifest.json");
    let results = format!(".alpinist/reindex/{RUN}/executions/1/FAILED_0.json");
    let executions: Vec<_> = failed.iter().map(|stem| record(stem)).collect();
    let files = if failed.is_empty() { json!([]) } else { json!([{"Key": results, "Size": 1}]) };
    let files = json!({"FAILED": files, "PENDING": [], "SUCCEEDED": []});
    let about = json!({"DestinationBucket": "bucket", "MapRunArn": "arn", "ResultFiles": files});
    store.upload(&results, json!(executions).to_string());
    store.upload(&manifest, about.to_string());
    let request = ReindexRequest::Report {
        bucket: "bucket".to_owned(),
        run: RUN.to_owned(),
        unpublished: Vec::new(),
        manifest: Some(manifest),
    };
    let outcome = step::reindex(store, request).await.map(|_| ());
    let report = store.content(&format!(".alpinist/reindex/{RUN}/report.json")).unwrap();
    (outcome, serde_json::from_slice(&report).unwrap())
}

#[tokio::test]
async fn a_package_whose_execution_failed_is_not_reported_as_unchanged() {
    let store = MemoryStore::default();
    for name in ["looked-at", "failed"] {
        store.upload(&key(&format!("{name}-1-r0")), package(name, "1-r0", ""));
        execute(&store, &key(&format!("{name}-1-r0"))).await.unwrap();
    }
    let (outcome, report) = report_with(&store, &["failed-1-r0"]).await;
    assert_eq!(outcome.unwrap_err().kind(), FailureKind::Incomplete);
    assert_eq!(report.unchanged, [key("looked-at-1-r0")]);
    assert_eq!(report.failed, [key("failed-1-r0")]);
}

#[tokio::test]
async fn failures_of_any_number_and_without_input_are_reported() {
    let store = MemoryStore::default();
    let stems: Vec<_> = (1000..3500).map(|number| format!("a-{number}-r0")).collect();
    for stem in &stems {
        let version = stem.trim_start_matches("a-");
        store.upload(&key(stem), package("a", version, ""));
    }
    let mut failed: Vec<_> = stems.iter().map(String::as_str).collect();
    failed.push("");
    let (outcome, report) = report_with(&store, &failed).await;
    assert_eq!(outcome.unwrap_err().kind(), FailureKind::Incomplete);
    let expected: Vec<_> = stems.iter().map(|stem| key(stem)).collect();
    assert_eq!(report.failed, [&expected[..], &["the execution 61af8e57".to_owned()]].concat());
}

#[tokio::test]
async fn what_is_uploaded_during_a_run_is_no_failure_of_it() {
    let store = MemoryStore::default();
    store.upload(&key("late-1-r0"), package("late", "1-r0", ""));
    let (outcome, report) = report_with(&store, &[]).await;
    outcome.unwrap();
    assert_eq!(report.failed, Vec::<String>::new());
    let (outcome, report) = report_with(&store, &["late-1-r0"]).await;
    assert_eq!(outcome.unwrap_err().kind(), FailureKind::Incomplete);
    assert_eq!(report.failed, [key("late-1-r0")]);
}

#[tokio::test]
async fn no_note_looks_like_a_package() {
    let store = MemoryStore::default();
    store.upload(&key("a-1.apk"), package("a", "1.apk", ""));
    store.before_requests(|_, request| {
        let is_event = |key: &str| key.starts_with(".alpinist/") && key.ends_with(".apk");
        assert!(!matches!(request, Request::Put(key) if is_event(key)), "{request:?}");
        Ok(())
    });
    assert_eq!(reindex(&store, "", false).await.unwrap().indexed, [key("a-1.apk")]);
}

#[tokio::test]
async fn a_search_for_what_is_stale_finds_a_copy_that_is_missing() {
    const NAME: &str = "libstdc++-13-r0";
    const COPY: &str = "3.22/main/x86_64/libstdc  -13-r0.apk";
    let by_us = MemoryStore::default();
    let store = MemoryStore::default();
    for store in [&by_us, &store] {
        store.upload(&key(NAME), package("libstdc++", "13-r0", ""));
    }
    execute(&by_us, &key(NAME)).await.unwrap();
    upload_like_the_original(&store, NAME, &by_us);
    reindex(&store, "", true).await.unwrap();
    assert_eq!(store.content(COPY), store.content(&key(NAME)));
    assert_eq!(reindex(&store, "", true).await.unwrap().unchanged, [key(NAME)]);
}

/// Writes what the original project writes: fragments without attributes, next to their packages.
fn upload_like_the_original(store: &MemoryStore, stem: &str, entry_of: &MemoryStore) {
    let entry = entry_of.content(&format!("{PREFIX}{stem}.index")).unwrap();
    store.upload(&format!("{PREFIX}{stem}.index"), entry);
}

#[tokio::test]
async fn a_bucket_of_the_original_project_is_adopted() {
    let by_us = MemoryStore::default();
    let store = MemoryStore::default();
    for (name, content) in [("right", "same"), ("wrong", "old")] {
        by_us.upload(&key(&format!("{name}-1-r0")), package(name, "1-r0", content));
        execute(&by_us, &key(&format!("{name}-1-r0"))).await.unwrap();
    }
    store.upload(&key("right-1-r0"), package("right", "1-r0", "same"));
    store.upload(&key("wrong-1-r0"), package("wrong", "1-r0", "another length"));
    store.upload(INDEX, "signed by the original project");
    for stem in ["right-1-r0", "wrong-1-r0"] {
        upload_like_the_original(&store, stem, &by_us);
    }
    store.upload(&format!("{PREFIX}gone-1-r0.index"), "C:Q1\nP:gone\n\n");

    let report = reindex(&store, "", true).await.unwrap();
    assert_eq!(listed(&store), ["right-1-r0", "wrong-1-r0"]);
    // Such a fragment does not say which version of its package it describes, so each package is
    // read.
    assert_eq!(report.indexed, [key("right-1-r0"), key("wrong-1-r0")]);
    assert_eq!(report.removed, [key("gone-1-r0")]);
}

#[tokio::test]
async fn what_is_left_undone_is_reported_as_a_failure() {
    let store = MemoryStore::default();
    store.upload(&key("a-1-r0"), package("a", "1-r0", ""));
    let index = INDEX.to_owned();
    let reindexed = Target {
        reindex: Some(Reindex { run: RUN.to_owned(), only_stale: false, sign: false }),
        ..target(INDEX)
    };
    execute_target(&store, &Keys::good(), reindexed).await.unwrap();
    let request = ReindexRequest::Report {
        bucket: "bucket".to_owned(),
        run: RUN.to_owned(),
        unpublished: vec![index.clone()],
        manifest: None,
    };
    let failure = step::reindex(&store, request).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Incomplete);
    insta::assert_snapshot!(failure.report());
    let report = store.content(&format!(".alpinist/reindex/{RUN}/report.json")).unwrap();
    let report: Report = serde_json::from_slice(&report).unwrap();
    assert_eq!((report.failed, report.unpublished), (vec![key("a-1-r0")], vec![index]));
}

//! Adopting a bucket, and repairing one.

use alpinist_tests::{
    EmulatorOptions, Execution, Fault, FaultAnswer, KeyPair, LocalStack, PackageSpec, Stack, Tools,
};
use serde_json::{Value, json};

use crate::{packages::apkindex, repository::assert_succeeded};

const PREFIX: &str = "3.22/main/x86_64";

/// Deploys the stack with an existing bucket, which sends no events.
async fn deploy_beside_bucket(local_stack: &LocalStack, bucket: &str) -> Stack {
    let stack = local_stack.deploy_beside_bucket(bucket, &[]).unwrap();
    let key_pair = KeyPair::generate("old@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    stack.put_key(&key_pair).await.unwrap();
    stack
}

async fn report(stack: &Stack, reindex: &Execution) -> Value {
    let run = reindex.arn.rsplit(':').next().unwrap();
    let report = stack.get(&format!(".alpinist/reindex/{run}/report.json")).await.unwrap();
    serde_json::from_slice(&report.unwrap()).unwrap()
}

fn count(report: &Value, what: &str) -> usize {
    report[what].as_array().unwrap().len()
}

#[tokio::test]
async fn a_bucket_of_5000_packages_is_adopted_in_one_run() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let stack = deploy_beside_bucket(&local_stack, "adopted").await;
    let tools = Tools::install().unwrap();
    let packages = PackageSpec::new("bulk", "1.0").build_series(&tools, 5000).unwrap();
    let mut objects: Vec<_> =
        packages.into_iter().map(|package| (package.key(PREFIX), package.bytes)).collect();
    objects.push((format!("{PREFIX}/garbage-1.0-r0.apk"), b"no package".to_vec()));
    stack.put_all(objects, 32).await.unwrap();

    let reindex = stack.reindex(&json!({})).await.unwrap();
    assert_succeeded(&reindex);
    let report = report(&stack, &reindex).await;
    assert_eq!(count(&report, "indexed"), 5000);
    assert_eq!(report["rejected"][0]["key"], format!("{PREFIX}/garbage-1.0-r0.apk"));
    assert_eq!(report["rejected"][0]["error"], "Alpinist.PackageRejected");
    assert_eq!(count(&report, "rejected"), 1);
    for nothing in ["unchanged", "removed", "changed", "failed", "unpublished"] {
        assert_eq!(count(&report, nothing), 0, "{nothing}");
    }
    let client = stack.client("3.22/main", "x86_64").await.unwrap();
    client.update().unwrap();
    let listed = client.list().unwrap().text;
    assert_eq!(listed.lines().filter(|line| line.starts_with("bulk")).count(), 5000);
    assert!(client.add(&["bulk03141"]).unwrap().status.success());

    stack.send_events().await.unwrap();
    let new = PackageSpec::new("new", "1.0").build(&tools).unwrap();
    assert_succeeded(&stack.upload(&new.key(PREFIX), new.bytes.clone()).await.unwrap());
    client.update().unwrap();
    assert!(client.list().unwrap().text.contains("new-1.0-r0"));
}

#[tokio::test]
async fn a_bucket_of_the_original_project_is_adopted_without_uploading_again() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let stack = deploy_beside_bucket(&local_stack, "original").await;
    let tools = Tools::install().unwrap();
    let directory = tempfile::tempdir().unwrap();
    // A fragment of the original: the index that `apk index` makes of the package alone.
    let indexed = |spec: PackageSpec| {
        let package = spec.build(&tools).unwrap();
        let file = package.save(directory.path()).unwrap();
        let archive = stack.apk().index("x86_64", std::slice::from_ref(&file)).unwrap();
        (package, archive)
    };
    let (right, archive) = indexed(PackageSpec::new("right", "1.0"));
    let (old, stale) = indexed(PackageSpec::new("wrong", "1.0"));
    let wrong = PackageSpec::new("wrong", "1.0").file("/usr/share/wrong/news", "replaced\n");
    let wrong = wrong.build(&tools).unwrap();
    let (gone, left) = indexed(PackageSpec::new("gone", "1.0"));
    let fragment = |key: String| key.replace(".apk", ".index");
    let objects = [
        (right.key(PREFIX), right.bytes.clone()),
        (fragment(right.key(PREFIX)), apkindex(&archive).into_bytes()),
        (wrong.key(PREFIX), wrong.bytes.clone()),
        (fragment(old.key(PREFIX)), apkindex(&stale).into_bytes()),
        (fragment(gone.key(PREFIX)), apkindex(&left).into_bytes()),
        (format!("{PREFIX}/APKINDEX.tar.gz"), archive),
    ];
    stack.put_all(objects, 1).await.unwrap();

    let mark = stack.requests().mark().unwrap();
    let reindex = stack.reindex(&json!({"only_stale": true})).await.unwrap();
    assert_succeeded(&reindex);
    let adopted = report(&stack, &reindex).await;
    // A fragment of the original does not say which version of its package it describes.
    assert_eq!(adopted["indexed"], json!([right.key(PREFIX), wrong.key(PREFIX)]));
    assert_eq!(adopted["removed"], json!([gone.key(PREFIX)]));
    let requests = stack.requests().since(mark).unwrap();
    let is_written = |name: &str| {
        let mut written = requests.iter().filter(|request| request.method == "PUT");
        written.any(|request| request.by_function() && request.path.ends_with(name))
    };
    assert!(is_written("/right-1.0-r0.index") && !is_written(".apk"), "{requests:#?}");

    let client = stack.client("3.22/main", "x86_64").await.unwrap();
    client.update().unwrap();
    assert!(client.add(&["right"]).unwrap().status.success());
    let (output, fetched) = client.fetch("wrong").unwrap();
    assert_eq!(fetched.as_ref(), Some(&wrong.bytes), "{output}");
    assert!(!client.list().unwrap().text.contains("gone-"));

    let index = stack.get(&format!("{PREFIX}/APKINDEX.tar.gz")).await.unwrap();
    let reindex = stack.reindex(&json!({})).await.unwrap();
    let checked = report(&stack, &reindex).await;
    assert_eq!(checked["unchanged"], json!([right.key(PREFIX), wrong.key(PREFIX)]));
    assert_eq!(stack.get(&format!("{PREFIX}/APKINDEX.tar.gz")).await.unwrap(), index);
}

#[tokio::test]
async fn a_listed_package_that_could_not_be_read_is_reported() {
    let short_waits = EmulatorOptions { wait_percentage: Some(5), ..EmulatorOptions::default() };
    let local_stack = LocalStack::start(short_waits).unwrap();
    let stack = local_stack.deploy_as("unread", &[]).unwrap();
    let key_pair = KeyPair::generate("new@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    stack.put_key(&key_pair).await.unwrap();
    let tools = Tools::install().unwrap();
    let [read, unread] =
        ["read", "unread"].map(|name| PackageSpec::new(name, "1.0").build(&tools).unwrap());
    for package in [&read, &unread] {
        assert_succeeded(&stack.upload(&package.key(PREFIX), package.bytes.clone()).await.unwrap());
    }
    let path = vec!["unread-1.0".to_owned(), ".apk".to_owned()];
    let fault = Fault { method: "GET", path, answer: FaultAnswer::Conflict };
    local_stack.emulator().inject(&[fault]).unwrap();
    let reindex = stack.reindex(&json!({})).await.unwrap();
    assert_eq!(reindex.error.as_deref(), Some("Alpinist.Incomplete"), "{reindex:?}");
    let report = report(&stack, &reindex).await;
    assert_eq!(report["unchanged"], json!([read.key(PREFIX)]));
    assert_eq!(report["failed"], json!([unread.key(PREFIX)]));
}

#[tokio::test]
async fn a_scheduled_reindex_finds_what_nobody_told_of() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let schedule = [("ReindexSchedule", "rate(1 minute)")];
    let stack = local_stack.deploy_as("scheduled", &schedule).unwrap();
    let key_pair = KeyPair::generate("new@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    stack.put_key(&key_pair).await.unwrap();
    stack.send_no_events().await.unwrap();
    let hello = PackageSpec::new("hello", "1.0").build(&Tools::install().unwrap()).unwrap();
    let key = hello.key(PREFIX);
    stack.put(&key, hello.bytes).await.unwrap();
    let index = format!("{PREFIX}/APKINDEX.tar.gz");
    let repair = stack.wait_for_executions(&index, 1).await.unwrap();
    assert_succeeded(&repair[0]);
    assert_eq!(repair[0].input["reindex"]["only_stale"], true);
    assert!(stack.get(&key.replace(".apk", ".index")).await.unwrap().is_some());
    let client = stack.client("3.22/main", "x86_64").await.unwrap();
    assert!(client.add(&["hello"]).unwrap().status.success());
}

#[tokio::test]
async fn a_scheduled_check_finds_what_nobody_told_of() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    // Its bucket sends no events.
    let schedule = [("CheckSchedule", "rate(1 minute)")];
    let stack = local_stack.deploy_beside_bucket("checked", &schedule).unwrap();
    let key_pair = KeyPair::generate("new@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    stack.put_key(&key_pair).await.unwrap();
    let hello = PackageSpec::new("hello", "1.0").build(&Tools::install().unwrap()).unwrap();
    stack.put(&hello.key(PREFIX), hello.bytes).await.unwrap();
    assert_succeeded(&stack.reindex(&json!({})).await.unwrap());
    let index = format!("{PREFIX}/APKINDEX.tar.gz");
    let published = stack.get(&index).await.unwrap();
    let earlier = stack.executions(&index).await.unwrap().len();
    stack.delete(&index).await.unwrap();
    let executions = stack.wait_for_executions(&index, earlier + 1).await.unwrap();
    assert_succeeded(&executions[earlier]);
    assert_eq!(stack.get(&index).await.unwrap(), published);
}

//! Adopting a bucket, and repairing one.

use alpinist_tests::{EmulatorOptions, Execution, KeyPair, LocalStack, PackageSpec, Stack, Tools};
use serde_json::{Value, json};

use crate::repository::assert_succeeded;

const PREFIX: &str = "3.22/main/x86_64";

/// Deploys the stack beside a bucket that is there already and tells nobody of its objects.
async fn deploy_beside_bucket(local_stack: &LocalStack, bucket: &str) -> Stack {
    let stack = local_stack.deploy_beside_bucket(bucket).unwrap();
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
    assert_eq!(report["refused"][0]["key"], format!("{PREFIX}/garbage-1.0-r0.apk"));
    assert_eq!(report["refused"][0]["error"], "Alpinist.PackageRefused");
    assert_eq!(count(&report, "refused"), 1);
    for nothing in ["unchanged", "removed", "failed", "unpublished"] {
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

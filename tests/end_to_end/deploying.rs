//! The life of a stack: deployed, upgraded, removed. Its bucket outlives it.

use alpinist_apk::{archive::IndexArchive, entry::IndexEntry};
use alpinist_tests::{EmulatorOptions, KeyPair, LocalStack, Stack, command};
use serde_json::json;

use crate::repository::{assert_succeeded, publish};

async fn listed(stack: &Stack) -> Vec<String> {
    let index = stack.get("3.22/main/x86_64/APKINDEX.tar.gz").await.unwrap().unwrap();
    let index = IndexArchive::read(&index).unwrap().index;
    index.entries().iter().map(IndexEntry::file_stem).collect()
}

#[tokio::test]
async fn a_bucket_survives_the_upgrade_and_the_removal_of_its_stack() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let stack = local_stack.deploy_as("kept", &[]).unwrap();
    let key_pair = KeyPair::generate("ops@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    stack.put_key(&key_pair).await.unwrap();
    publish(&stack, "a").await;

    let changed = [("PlusCopies", "false"), ("PackageSignatures", "Ignore")];
    let upgraded = local_stack.deploy_as("kept", &changed).unwrap();
    publish(&upgraded, "b").await;
    assert_eq!(listed(&upgraded).await, ["a-1.0-r0", "b-1.0-r0"]);

    let there = upgraded.list("").await.unwrap();
    for action in [&["delete-stack"][..], &["wait", "stack-delete-complete"]] {
        let mut aws = local_stack.emulator().aws();
        aws.arg("cloudformation").args(action).args(["--stack-name", "kept"]);
        command::output(&mut aws).unwrap();
    }
    assert_eq!(upgraded.list("").await.unwrap(), there);

    let again = local_stack.deploy_as("kept", &[("BucketIs", "existing")]).unwrap();
    again.send_events().await.unwrap();
    assert_eq!(listed(&again).await, ["a-1.0-r0", "b-1.0-r0"]);
    publish(&again, "c").await;
    assert_succeeded(&again.reindex(&json!({})).await.unwrap());
    assert_eq!(listed(&again).await, ["a-1.0-r0", "b-1.0-r0", "c-1.0-r0"]);
}

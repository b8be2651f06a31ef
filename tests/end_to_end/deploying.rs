//! The life of a stack: deployed, upgraded, removed. Its bucket outlives it.

use alpinist_apk::{entry::IndexEntry, index_archive::IndexArchive};
use alpinist_tests::{EmulatorOptions, KeyPair, LocalStack, PackageSpec, Stack, Tools, command};
use serde_json::{Value, json};

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

/// Returns the output of the AWS CLI, or its error.
fn aws(local_stack: &LocalStack, arguments: &[&str]) -> Result<Value, String> {
    let mut aws = local_stack.emulator().aws();
    let output = command::output(aws.args(arguments).args(["--output", "json"]));
    let output = output.map_err(|error| error.chain())?;
    Ok(serde_json::from_slice(&output).unwrap_or_default())
}

#[tokio::test]
async fn an_organisation_has_its_way_with_roles_and_the_policy_of_the_bucket() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let document = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
    let create = ["iam", "create-policy", "--policy-name", "bound", "--policy-document"];
    let bound = aws(&local_stack, &[&create[..], &[&document.to_string()]].concat()).unwrap();
    let bound = bound["Policy"]["Arn"].as_str().unwrap();
    let parameters = [
        ("PermissionsBoundary", bound),
        ("RolePath", "/team/packages/"),
        ("ReservedConcurrency", "7"),
        ("BucketPolicyIs", "yours"),
    ];
    let stack = local_stack.deploy_as("bounded", &parameters).unwrap();
    let roles =
        aws(&local_stack, &["iam", "list-roles", "--path-prefix", "/team/packages/"]).unwrap();
    let roles = roles["Roles"].as_array().unwrap();
    assert_eq!(roles.len(), 12, "{roles:#?}");
    let policy = aws(&local_stack, &["s3api", "get-bucket-policy", "--bucket", stack.bucket()]);
    assert!(policy.unwrap_err().contains("NoSuchBucketPolicy"));
    let key_pair = KeyPair::generate("ops@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    stack.put_key(&key_pair).await.unwrap();
    let package = PackageSpec::new("a", "1.0").build(&Tools::install().unwrap()).unwrap();
    let key = package.key("3.22/main/x86_64");
    assert_succeeded(&stack.upload(&key, package.bytes).await.unwrap());
}

#[tokio::test]
async fn a_bucket_keeps_its_policy_when_its_stack_no_longer_manages_it() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let stack = local_stack.deploy_as("handed-over", &[]).unwrap();
    let policy = || aws(&local_stack, &["s3api", "get-bucket-policy", "--bucket", stack.bucket()]);
    let before = policy().unwrap();
    assert!(before.to_string().contains("NobodyOverwritesDerivedObjectsUnawares"), "{before}");
    local_stack.deploy_as("handed-over", &[("BucketIs", "existing")]).unwrap();
    assert_eq!(policy().unwrap(), before);
}

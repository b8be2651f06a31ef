//! What people do to a directory of packages with the real AWS CLI, and what the bucket policy
//! prevents.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use alpinist_tests::{
    Emulator, EmulatorOptions, KeyPair, LocalStack, PackageSpec, Stack, Tools, workspace,
};
use serde_json::{Value, json};

use crate::repository::{assert_succeeded, listed, publish};

const PREFIX: &str = "3.22/main/x86_64";

/// The exit status of the AWS CLI, and each line that it printed.
#[derive(Debug)]
struct CommandOutput {
    status: Option<i32>,
    lines: Vec<String>,
}

impl CommandOutput {
    /// Checks that it failed with `failures`, each the beginning of a line, and with nothing else.
    fn assert_denied(&self, failures: &[&str]) {
        assert_eq!(self.status, Some(1), "{self:#?}");
        let failed: Vec<_> = self.lines.iter().filter(|line| line.contains("failed: ")).collect();
        assert_eq!(failed.len(), failures.len(), "{self:#?}");
        for failure in failures {
            assert!(failed.iter().any(|line| line.starts_with(failure)), "{failure}: {self:#?}");
        }
        for line in failed {
            assert!(line.contains("(AccessDenied)"), "{line}");
            assert!(line.ends_with("with an explicit deny in a resource-based policy"), "{line}");
        }
    }
}

/// Runs the AWS CLI in a directory.
fn aws(emulator: &Emulator, directory: &Path, arguments: &[&str]) -> CommandOutput {
    let output = emulator.aws().current_dir(directory).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let lines = String::from_utf8(text).unwrap().lines().map(str::to_owned).collect();
    CommandOutput { status: output.status.code(), lines }
}

async fn deploy(local_stack: &LocalStack, name: &str) -> Stack {
    let stack = local_stack.deploy_as(name, &[]).unwrap();
    let key_pair = KeyPair::generate("ops@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    stack.put_key(&key_pair).await.unwrap();
    stack
}

/// What Alpinist wrote, except leases, which come and go.
async fn derived(stack: &Stack) -> BTreeMap<String, Vec<u8>> {
    let mut objects = BTreeMap::new();
    for key in stack.list("").await.unwrap() {
        if !key.ends_with(".apk") && !key.starts_with(".alpinist/claims/") {
            let bytes = stack.get(&key).await.unwrap().unwrap();
            objects.insert(key, bytes);
        }
    }
    objects
}

fn build(directory: &Path, tools: &Tools, name: &str) {
    PackageSpec::new(name, "1.0").build(tools).unwrap().save(directory).unwrap();
}

#[tokio::test]
async fn a_build_directory_is_synced_again_and_again() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let stack = deploy(&local_stack, "synced").await;
    let tools = Tools::install().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    build(directory, &tools, "a");
    build(directory, &tools, "b");
    // As abuild and melange leave it.
    let packages = ["a-1.0-r0.apk", "b-1.0-r0.apk"].map(|name| directory.join(name));
    let own = stack.apk().index("x86_64", &packages).unwrap();
    fs::write(directory.join("APKINDEX.tar.gz"), own).unwrap();
    let target = format!("s3://{}/{PREFIX}/", stack.bucket());
    let sync = |filters: &[&str]| {
        let command = ["s3", "sync", "--delete", "--no-progress", ".", &target];
        aws(local_stack.emulator(), directory, &[&command, filters].concat())
    };
    let of = |name: &str| format!("{PREFIX}/{name}-1.0-r0.apk");
    let no_index = format!("upload failed: ./APKINDEX.tar.gz to {target}APKINDEX.tar.gz ");
    let no_fragment = |name: &str| format!("delete failed: {target}{name}-1.0-r0.index ");

    sync(&[]).assert_denied(&[&no_index]);
    for name in ["a", "b"] {
        assert_succeeded(&stack.wait_for_executions(&of(name), 1).await.unwrap()[0]);
    }
    let client = stack.client("3.22/main", "x86_64").await.unwrap();
    assert_eq!(listed(&client), ["a-1.0-r0", "b-1.0-r0"]);

    // No package has changed, but the command would delete what the directory lacks.
    let before = derived(&stack).await;
    assert_eq!(before.len(), 5, "two fragments, index, snapshot and public key: {before:?}");
    sync(&[]).assert_denied(&[&no_index, &no_fragment("a"), &no_fragment("b")]);
    assert_eq!(derived(&stack).await, before);
    assert_eq!(listed(&client), ["a-1.0-r0", "b-1.0-r0"]);
    assert!(client.add(&["a"]).unwrap().status.success());

    // Changed packages are synced, in spite of the denials.
    fs::remove_file(directory.join("b-1.0-r0.apk")).unwrap();
    build(directory, &tools, "c");
    sync(&[]).assert_denied(&[&no_index, &no_fragment("a"), &no_fragment("b")]);
    assert_succeeded(&stack.wait_for_executions(&of("b"), 2).await.unwrap()[1]);
    assert_succeeded(&stack.wait_for_executions(&of("c"), 1).await.unwrap()[0]);
    assert_eq!(listed(&client), ["a-1.0-r0", "c-1.0-r0"]);

    // As documented.
    build(directory, &tools, "d");
    let sync = sync(&["--exclude", "*", "--include", "*.apk"]);
    assert_eq!(sync.status, Some(0), "{sync:#?}");
    assert_eq!(sync.lines.len(), 1, "{sync:#?}");
    assert_succeeded(&stack.wait_for_executions(&of("d"), 1).await.unwrap()[0]);
    assert_eq!(listed(&client), ["a-1.0-r0", "c-1.0-r0", "d-1.0-r0"]);
}

#[tokio::test]
async fn a_directory_that_is_removed_loses_its_packages_and_keeps_its_index() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let stack = deploy(&local_stack, "removed").await;
    publish(&stack, "a").await;
    publish(&stack, "b").await;
    let client = stack.client("3.22/main", "x86_64").await.unwrap();
    assert_eq!(listed(&client), ["a-1.0-r0", "b-1.0-r0"]);

    let target = format!("s3://{}/", stack.bucket());
    let denied = stack.list("").await.unwrap();
    let denied = denied.iter().filter(|key| !key.ends_with(".apk"));
    let denied: Vec<_> = denied.map(|key| format!("delete failed: {target}{key} ")).collect();
    let denied: Vec<_> = denied.iter().map(String::as_str).collect();
    let rm = ["s3", "rm", "--recursive", &target];
    aws(local_stack.emulator(), Path::new("."), &rm).assert_denied(&denied);
    for name in ["a", "b"] {
        let key = format!("{PREFIX}/{name}-1.0-r0.apk");
        assert_eq!(stack.get(&key).await.unwrap(), None);
        assert_succeeded(&stack.wait_for_executions(&key, 2).await.unwrap()[1]);
    }
    assert_eq!(listed(&client), [""; 0]);
    let left = stack.list(PREFIX).await.unwrap();
    assert_eq!(left, [format!("{PREFIX}/APKINDEX.tar.gz")]);
}

#[tokio::test]
async fn an_index_is_overwritten_and_deleted_by_somebody_who_means_it() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let stack = deploy(&local_stack, "meant").await;
    publish(&stack, "a").await;
    stack.send_no_events().await.unwrap();
    let index = format!("{PREFIX}/APKINDEX.tar.gz");
    let published = stack.get(&index).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("APKINDEX.tar.gz"), "of their own").unwrap();
    let aws = |arguments: &[&str]| aws(local_stack.emulator(), directory.path(), arguments);

    let address = format!("s3://{}/{index}", stack.bucket());
    let copy = aws(&["s3", "cp", "--no-progress", "APKINDEX.tar.gz", &address]);
    copy.assert_denied(&[&format!("upload failed: ./APKINDEX.tar.gz to {address} ")]);
    let delete = aws(&["s3", "rm", &address]);
    delete.assert_denied(&[&format!("delete failed: {address} ")]);
    assert_eq!(stack.get(&index).await.unwrap(), published);

    let object = ["--bucket", stack.bucket(), "--key", &index];
    let head = ["s3api", "head-object", "--query", "ETag", "--output", "text"];
    let etag = &aws(&[&head, &object[..]].concat()).lines[0];
    let put = ["s3api", "put-object", "--body", "APKINDEX.tar.gz", "--if-match", etag];
    assert_eq!(aws(&[&put, &object[..]].concat()).status, Some(0));
    assert_eq!(stack.get(&index).await.unwrap().unwrap(), b"of their own");
    let delete = ["s3api", "delete-object", "--if-match", "*"];
    assert_eq!(aws(&[&delete, &object[..]].concat()).status, Some(0));
    assert_eq!(stack.get(&index).await.unwrap(), None);
    let again = stack.execute(&json!({"bucket": stack.bucket(), "key": index})).await.unwrap();
    assert_succeeded(&again);
    assert_eq!(stack.get(&index).await.unwrap(), published);
}

/// The statements of `docs/operations.md` for a bucket that is not the stack's.
fn documented(bucket: &str) -> Vec<Value> {
    let text = fs::read_to_string(workspace::root().join("docs/operations.md")).unwrap();
    let policy = text.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let policy: Value = serde_json::from_str(&policy.replace("example-packages", bucket)).unwrap();
    policy["Statement"].as_array().unwrap().clone()
}

#[tokio::test]
async fn the_documented_policy_is_that_of_the_stack() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let stack = deploy(&local_stack, "documented").await;
    let mut get = local_stack.emulator().aws();
    get.args(["s3api", "get-bucket-policy", "--output", "text", "--query", "Policy", "--bucket"]);
    let policy = get.arg(stack.bucket()).output().unwrap().stdout;
    let policy: Value = serde_json::from_slice(&policy).unwrap();
    let deployed = policy["Statement"].as_array().unwrap();
    let documented = documented(stack.bucket());
    assert_eq!(documented.len(), 2);
    for statement in documented {
        assert!(deployed.contains(&statement), "{statement:#} is not in {policy:#}");
    }
}

//! What heals automatically: an unprotected bucket in which somebody deletes and overwrites
//! objects, and an adoption in the wrong order.

use alpinist_tests::{EmulatorOptions, KeyPair, LocalStack, PackageSpec, Stack, Tools};

use crate::repository::{assert_succeeded, listed};

const PREFIX: &str = "team/edge/testing/x86_64";

fn short_waits() -> EmulatorOptions {
    EmulatorOptions { wait_percentage: Some(5), ..EmulatorOptions::default() }
}

/// Deploys the stack with an existing bucket, which has no policy of ours and sends no events yet.
async fn deploy(local_stack: &LocalStack, name: &str) -> Stack {
    let stack = local_stack.deploy_beside_bucket(name, &[]).unwrap();
    let key_pair = KeyPair::generate("ops@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    stack.put_key(&key_pair).await.unwrap();
    stack
}

#[tokio::test]
async fn what_somebody_deletes_or_overwrites_comes_back_and_then_there_is_peace() {
    let local_stack = LocalStack::start(short_waits()).unwrap();
    let stack = deploy(&local_stack, "healed").await;
    stack.send_events().await.unwrap();
    let hello = PackageSpec::new("hello", "1.0").build(&Tools::install().unwrap()).unwrap();
    let key = hello.key(PREFIX);
    assert_succeeded(&stack.upload(&key, hello.bytes).await.unwrap());
    let index = format!("{PREFIX}/APKINDEX.tar.gz");
    let fragment = key.replace(".apk", ".index");
    let cached = stack.list(&format!(".alpinist/published/{PREFIX}/")).await.unwrap();
    let [snapshot] = cached.as_slice() else { panic!("{cached:?}") };
    let client = stack.client("team/edge/testing", "x86_64").await.unwrap();

    let all = format!("{PREFIX}/");
    let mut ended = 1;
    for damaged in [&index, &fragment, snapshot] {
        let right = stack.get(damaged).await.unwrap().unwrap();
        // A rebuilt snapshot has another generation.
        let is_right = |bytes: &[u8]| {
            if damaged == snapshot { bytes.starts_with(b"alpinist") } else { bytes == right }
        };
        for damage in ["deleted", "overwritten"] {
            match damage {
                "deleted" => stack.delete(damaged).await.unwrap(),
                _ => stack.put(damaged, b"something else".to_vec()).await.unwrap(),
            }
            stack.wait_for_object(damaged, is_right).await.unwrap();
            assert_eq!(listed(&client), ["hello-1.0-r0"], "{damaged} was {damage}");
            // Executions that are still running would also fix the next damage.
            ended = stack.wait_for_executions(&all, ended + 1).await.unwrap().len();
        }
    }
    assert!(client.add(&["hello"]).unwrap().status.success());

    // Healing writes only what was wrong, so it does not set off further healing.
    stack.delete(&index).await.unwrap();
    stack.wait_for_object(&index, |_| true).await.unwrap();
    let after = stack.wait_for_executions(&all, ended + 1).await.unwrap();
    for execution in &after {
        assert_succeeded(execution);
    }
    // Two events may report one damage.
    assert!(after.len() <= 1 + 2 * 7, "{after:#?}");
    assert!(after.len() <= ended + 2, "{after:#?}");
}

#[tokio::test]
async fn a_full_bucket_whose_events_come_before_its_reindex_publishes_nothing_less() {
    let local_stack = LocalStack::start(short_waits()).unwrap();
    let stack = deploy(&local_stack, "early").await;
    let tools = Tools::install().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let [old, older] =
        ["old", "older"].map(|name| PackageSpec::new(name, "1.0").build(&tools).unwrap());
    let files = [&old, &older].map(|package| package.save(directory.path()).unwrap());
    let index = format!("{PREFIX}/APKINDEX.tar.gz");
    let foreign = stack.apk().index("x86_64", &files).unwrap();
    let objects = [&old, &older].map(|package| (package.key(PREFIX), package.bytes.clone()));
    stack.put_all(objects.to_vec(), 1).await.unwrap();
    stack.put(&index, foreign).await.unwrap();

    stack.send_events().await.unwrap();
    let mark = stack.requests().mark().unwrap();
    let new = PackageSpec::new("new", "1.0").build(&tools).unwrap();
    assert_succeeded(&stack.upload(&new.key(PREFIX), new.bytes).await.unwrap());
    let client = stack.client("team/edge/testing", "x86_64").await.unwrap();
    assert_eq!(listed(&client), ["new-1.0-r0", "old-1.0-r0", "older-1.0-r0"]);
    let requests = stack.requests().since(mark).unwrap();
    let is_published = |path: &str| path.ends_with(&index) && !path.contains(".alpinist");
    let published = requests.iter().filter(|it| it.method == "PUT" && is_published(&it.path));
    assert!(published.count() <= 2, "an index of all, and perhaps a later one: {requests:#?}");
}

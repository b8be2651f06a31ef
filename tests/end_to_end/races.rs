//! Uploads at the same time.

use std::time::Duration;

use alpinist_tests::{EmulatorOptions, KeyPair, LocalStack, PackageSpec, Tools};

use crate::repository::{Repository, assert_succeeded, listed};

#[tokio::test]
async fn two_uploads_at_once_are_both_listed() {
    let repository = Repository::open("two-at-once").await;
    let [a, b] = ["a", "b"].map(|name| repository.build(&PackageSpec::new(name, "1.0")));
    let (key_a, key_b) = (a.key(&repository.prefix()), b.key(&repository.prefix()));
    let stack = &repository.stack;
    let both = tokio::join!(stack.put(&key_a, a.bytes), stack.put(&key_b, b.bytes));
    both.0.and(both.1).unwrap();
    let executions = format!("{}/", repository.prefix());
    for execution in stack.wait_for_executions(&executions, 2).await.unwrap() {
        assert_succeeded(&execution);
    }
    assert_eq!(repository.available().await, ["a-1.0-r0", "b-1.0-r0"]);
}

#[tokio::test]
async fn many_uploads_at_once_are_all_listed() {
    let repository = Repository::open("many-at-once").await;
    let mut uploads = Vec::new();
    for number in 10..34 {
        let package = repository.build(&PackageSpec::new(&format!("p{number}"), "1.0"));
        uploads.push((package.key(&repository.prefix()), package.bytes));
    }
    let mut keys: Vec<_> = uploads.iter().map(|(key, _)| key.clone()).collect();
    let stack = std::sync::Arc::new(repository.stack);
    let mut writers = tokio::task::JoinSet::new();
    for (key, bytes) in uploads {
        let stack = stack.clone();
        writers.spawn(async move { stack.put(&key, bytes).await.unwrap() });
    }
    writers.join_all().await;
    let ended = stack.wait_for_executions("many-at-once/main/x86_64/", keys.len()).await.unwrap();
    ended.iter().for_each(assert_succeeded);

    let client = stack.client("many-at-once/main", "x86_64").await.unwrap();
    client.update().unwrap();
    let listed = client.list().unwrap().text;
    keys.retain(|key| {
        let file = key.rsplit('/').next().unwrap_or_default();
        !listed.contains(file.trim_end_matches(".apk"))
    });
    assert_eq!(keys, <[String; 0]>::default(), "not in the index");
}

/// A new AWS account may run 10 functions at once.
#[tokio::test]
async fn a_burst_beyond_what_the_account_may_run_loses_nothing_and_needs_no_replay() {
    const UPLOADS: usize = 200;
    let options = EmulatorOptions {
        concurrency: Some(10),
        wait_percentage: Some(20),
        // Functions that only compute would end too soon to compete.
        s3_latency: Duration::from_millis(20),
        ..EmulatorOptions::default()
    };
    let local_stack = LocalStack::start(options).unwrap();
    let stack = local_stack.deploy_as("young", &[]).unwrap();
    let key_pair = KeyPair::generate("ops@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    stack.put_key(&key_pair).await.unwrap();
    let tools = Tools::install().unwrap();
    let packages = PackageSpec::new("burst", "1.0").build_series(&tools, UPLOADS).unwrap();
    let objects =
        packages.iter().map(|package| (package.key("3.22/main/x86_64"), package.bytes.clone()));
    stack.put_all(objects, 64).await.unwrap();
    let ends = stack.wait_until_idle(UPLOADS, Duration::from_mins(10)).await.unwrap();
    if ends.keys().ne(["SUCCEEDED"]) {
        let executions = stack.executions("3.22/main/x86_64/").await.unwrap();
        let failed = executions.iter().find(|execution| execution.error.is_some());
        panic!("{ends:?}, among them {failed:#?}");
    }
    let client = stack.client("3.22/main", "x86_64").await.unwrap();
    assert_eq!(listed(&client).len(), UPLOADS);
    // The limit was reached.
    let executions = stack.executions("3.22/main/x86_64/").await.unwrap();
    let states = executions.iter().flat_map(|execution| &execution.states);
    let attempts = states.map(|visit| visit.attempts).max();
    assert!(attempts > Some(2), "{attempts:?}");
}

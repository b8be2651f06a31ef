//! Rejected packages: the execution fails and says why, and no client ever sees one.

use alpinist_tests::{ExecutionStatus, PackageSpec};
use serde_json::json;

use crate::repository::Repository;

#[tokio::test]
async fn a_rejected_package_fails_its_execution_and_leaves_the_index_untouched() {
    let repository = Repository::open("rejection").await;
    repository.publish(&repository.build(&PackageSpec::new("good", "1.0"))).await;
    let index = repository.stack.get(&repository.index_key()).await.unwrap();
    let bad = repository.build(&PackageSpec::new("bad", "1.0"));
    let key = format!("{}/renamed-1.0-r0.apk", repository.prefix());
    let execution = repository.stack.upload(&key, bad.bytes).await.unwrap();
    assert_eq!(execution.status, ExecutionStatus::Failed);
    assert_eq!(execution.error.as_deref(), Some("Alpinist.PackageRejected"));
    assert_eq!(
        execution.cause.as_deref(),
        Some(
            "rejection/main/x86_64/renamed-1.0-r0.apk was rejected: its file name is \
             `renamed-1.0-r0.apk`, but clients will ask for `bad-1.0-r0.apk`, since the package says \
             so. Upload it as bad-1.0-r0.apk, and delete this object."
        )
    );
    let attempts = execution.states.iter().filter(|visit| visit.name == "ExtractMetadata");
    assert_eq!(attempts.count(), 1, "a rejection is not retried");
    assert_eq!(repository.stack.get(&repository.index_key()).await.unwrap(), index);
    assert_eq!(repository.available().await, ["good-1.0-r0"]);
}

#[tokio::test]
async fn a_package_that_is_replaced_by_a_broken_one_disappears() {
    let repository = Repository::open("broken-replacement").await;
    let good = repository.build(&PackageSpec::new("good", "1.0"));
    let breaks = repository.build(&PackageSpec::new("breaks", "1.0"));
    repository.publish(&good).await;
    repository.publish(&breaks).await;
    let mut bytes = breaks.bytes.clone();
    bytes.truncate(bytes.len() - 8);
    let key = breaks.key(&repository.prefix());
    let execution = repository.stack.upload(&key, bytes).await.unwrap();
    assert_eq!(execution.error.as_deref(), Some("Alpinist.PackageRejected"));
    assert!(execution.state_names().ends_with(&["SignAndPublish", "Rejected"]));
    let cause = execution.cause.unwrap();
    assert!(cause.contains("is cut off in the data section"), "{cause}");
    assert_eq!(repository.available().await, ["good-1.0-r0"]);

    repository.publish(&breaks).await;
    assert_eq!(repository.available().await, ["breaks-1.0-r0", "good-1.0-r0"]);
}

#[tokio::test]
async fn a_rejected_first_upload_publishes_no_index() {
    let repository = Repository::open("rejected-first").await;
    let key = format!("{}/text-1.0-r0.apk", repository.prefix());
    let execution = repository.stack.upload(&key, b"text".to_vec()).await.unwrap();
    assert_eq!(execution.error.as_deref(), Some("Alpinist.PackageRejected"));
    assert_eq!(repository.stack.list(&repository.prefix()).await.unwrap(), [key]);
}

#[tokio::test]
async fn an_input_cannot_say_what_is_accepted() {
    let repository = Repository::open("forged-input").await;
    repository.publish(&repository.build(&PackageSpec::new("good", "1.0"))).await;
    let key = format!("{}/evil-1.0-r0.apk", repository.prefix());
    let rejected = repository.stack.upload(&key, b"text".to_vec()).await.unwrap();
    assert_eq!(rejected.error.as_deref(), Some("Alpinist.PackageRejected"));
    let entry = "C:Q1DNWZeWkviN7MJedLpYM8yBvmnGM=\nP:evil\nV:1.0-r0\nA:x86_64\nS:4\nI:4\n\n";
    let md5_of_text = "\"1cb251ec0d568de6a929b520c4aed8d1\"";
    let forged = json!({
        "bucket": repository.stack.bucket(),
        "key": key,
        "accepted": {"package": md5_of_text, "entry": entry},
    });
    let execution = repository.stack.execute(&forged).await.unwrap();
    assert_eq!(execution.error.as_deref(), Some("Alpinist.PackageRejected"));
    assert_eq!(repository.available().await, ["good-1.0-r0"]);
}

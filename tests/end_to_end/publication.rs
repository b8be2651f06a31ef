//! Uploading, replacing and deleting: the index follows.

use std::collections::BTreeMap;

use alpinist_tests::{PackageSpec, http};
use serde_json::json;

use crate::repository::{Repository, assert_succeeded};

/// The states of an execution without interference.
const STRAIGHT: [&str; 5] =
    ["ExtractMetadata", "WriteIndex", "AggregateApkindex", "PublishOrFinish", "SignAndPublish"];

#[tokio::test]
async fn a_first_upload_can_be_installed() {
    let repository = Repository::open("first-upload").await;
    let hello = repository.build(&PackageSpec::new("hello", "1.0"));
    let execution = repository.publish(&hello).await;
    assert_eq!(repository.install("hello").await, "hello 1.0\n");
    assert_eq!(execution.state_names(), STRAIGHT);
}

#[tokio::test]
async fn a_second_package_joins_the_first_and_can_depend_on_it() {
    let repository = Repository::open("second-package").await;
    repository.publish(&repository.build(&PackageSpec::new("library", "1.0"))).await;
    let tool = PackageSpec::new("tool", "2.0").depends("library>=1.0");
    repository.publish(&repository.build(&tool)).await;
    assert_eq!(repository.available().await, ["library-1.0-r0", "tool-2.0-r0"]);
    assert_eq!(repository.install("tool").await, "tool 2.0\n");
}

#[tokio::test]
async fn a_replaced_package_is_installed_with_its_new_content() {
    let repository = Repository::open("replacement").await;
    let first = PackageSpec::new("hello", "1.0");
    repository.publish(&repository.build(&first)).await;
    let second = first.file("/usr/share/hello/news", "replaced\n");
    let second = repository.build(&second);
    repository.publish(&second).await;
    repository.install("hello").await;
    let client = repository.client().await;
    client.update().unwrap();
    let (output, fetched) = client.fetch("hello").unwrap();
    assert!(output.status.success(), "{output}");
    assert_eq!(fetched.unwrap(), second.bytes);
}

#[tokio::test]
async fn a_deleted_package_leaves_the_index() {
    let repository = Repository::open("deletion").await;
    let stays = repository.build(&PackageSpec::new("stays", "1.0"));
    let goes = repository.build(&PackageSpec::new("goes", "1.0"));
    repository.publish(&stays).await;
    repository.publish(&goes).await;
    let key = goes.key(&repository.prefix());
    assert_succeeded(&repository.stack.remove(&key).await.unwrap());
    assert_eq!(repository.available().await, ["stays-1.0-r0"]);

    let key = stays.key(&repository.prefix());
    assert_succeeded(&repository.stack.remove(&key).await.unwrap());
    assert_eq!(repository.available().await, <[&str; 0]>::default());
    let objects = repository.stack.list(&repository.prefix()).await.unwrap();
    assert_eq!(objects, [repository.index_key()]);
}

#[tokio::test]
async fn an_index_is_never_of_the_same_second_as_the_one_before() {
    let repository = Repository::open("seconds").await;
    let mut times = Vec::new();
    for number in 0..5 {
        let package = repository.build(&PackageSpec::new(&format!("p{number}"), "1"));
        repository.publish(&package).await;
        times.push(repository.stack.last_modified(&repository.index_key()).await.unwrap());

        let key = package.key(&repository.prefix());
        let rejected = repository.stack.upload(&key, b"no package".to_vec()).await.unwrap();
        let states = rejected.state_names();
        assert!(states.ends_with(&["SignAndPublish", "Rejected"]), "{states:?}");
        times.push(repository.stack.last_modified(&repository.index_key()).await.unwrap());
    }
    assert!(times.is_sorted_by(|before, after| before < after), "{times:?}");
}

#[tokio::test]
async fn what_is_published_has_a_type_and_caches_are_to_ask_whether_it_is_the_same() {
    let repository = Repository::open("caches").await;
    let package = repository.build(&PackageSpec::new("hello++", "1.0"));
    repository.publish(&package).await;
    let stack = &repository.stack;
    let key = package.key(&repository.prefix());
    let published = [
        (repository.index_key(), "application/gzip"),
        (stack.key_name().await.unwrap(), "application/x-pem-file"),
        (key.replace(".apk", ".index"), "text/plain; charset=utf-8"),
        (key.replace('+', "%20"), "application/vnd.alpine.apk"),
    ];
    for (key, content_type) in published {
        let key = key.replace('+', "%2B");
        let url = format!("{}/{}/{key}", stack.endpoint(), stack.bucket());
        let answer = http::get(&url).unwrap();
        let header = |name| (answer.status, answer.header(name));
        assert_eq!(header("content-type"), (200, Some(content_type)), "{key}");
        assert_eq!(header("cache-control"), (200, Some("no-cache")), "{key}");
    }
}

#[tokio::test]
async fn the_same_event_twice_changes_nothing() {
    let repository = Repository::open("same-event").await;
    let hello = repository.build(&PackageSpec::new("hello", "1.0"));
    let first = repository.publish(&hello).await;
    let index = repository.stack.get(&repository.index_key()).await.unwrap();
    let again = repository.stack.execute(&first.input).await.unwrap();
    assert_succeeded(&again);
    assert_eq!(again.state_names(), [&STRAIGHT[..4], &["Published"]].concat());
    assert_eq!(repository.stack.get(&repository.index_key()).await.unwrap(), index);

    let bucket = repository.stack.bucket();
    let by_hand = json!({"bucket": bucket, "key": hello.key(&repository.prefix())});
    assert_succeeded(&repository.stack.execute(&by_hand).await.unwrap());
    assert_eq!(repository.stack.get(&repository.index_key()).await.unwrap(), index);
}

#[tokio::test]
async fn an_upload_costs_the_same_requests_and_transitions_however_many_packages_there_are() {
    let repository = Repository::open("cost").await;
    let stack = &repository.stack;
    repository.publish(&repository.build(&PackageSpec::new("first", "1"))).await;
    let public_key = stack.get(&stack.key_name().await.unwrap()).await.unwrap().unwrap().len();
    let snapshot = async || {
        let published = format!(".alpinist/published/{}/snapshot.json.gz", repository.prefix());
        stack.get(&published).await.unwrap().unwrap().len()
    };
    for number in 0..12 {
        let package = repository.build(&PackageSpec::new(&format!("p{number}"), "1"));
        let before = snapshot().await;
        let index = stack.get(&repository.index_key()).await.unwrap().unwrap().len();
        let mark = stack.requests().mark().unwrap();
        let execution = repository.publish(&package).await;
        let requests = repository.requests(mark);

        assert_eq!(execution.state_names(), STRAIGHT);
        assert_eq!(execution.transitions(), execution.states.len(), "nothing was tried again");
        let mut operations = BTreeMap::new();
        for request in &requests {
            *operations.entry(request.s3_operation()).or_insert(0) += 1;
        }
        let operations: Vec<_> = operations.iter().map(|(name, n)| (&**name, *n)).collect();
        let expected =
            vec![("GetObject", 5), ("HeadObject", 3), ("ListObjectsV2", 1), ("PutObject", 4)];
        let reads = requests.iter().filter(|request| request.s3_operation() == "GetObject");
        let read = reads.filter(|read| read.status == 200).map(|read| read.length).sum::<u64>();
        let bytes = package.bytes.len() + before + snapshot().await + index + public_key;
        assert_eq!(
            (operations, usize::try_from(read).unwrap()),
            (expected, bytes),
            "package {number}: {requests:#?}"
        );
    }
}

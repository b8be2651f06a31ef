//! What is rejected, with which message, and that none of it is ever listed.

use alpinist_repository::{
    failure::FailureKind,
    memory::{MemoryStore, Request},
    message::Found,
    panic,
    plus_copy::PlusCopies,
    policy::Policy,
    port::StoreError,
    rejection::Rejection,
    replacing::Replacing,
    step,
    v3_index::V3Index,
};
use alpinist_samples::adb_package::AdbParts;
use rstest::rstest;

use crate::support::{
    INDEX, Keys, PREFIX, aggregate_and_publish, execute, key, listed, package, package_of, publish,
    rejected_now, signed_package, target,
};

#[rstest]
#[case::key_without_repository("x86_64/a-1-r0.apk", package("a", "1-r0", ""))]
#[case::key_under_a_foreign_name("3.22/main/amd64/a-1-r0.apk", package("a", "1-r0", ""))]
#[case::foreign_architecture("3.22/main/x86_64/a-1-r0.apk", package_of("a", "1-r0", "all", ""))]
#[case::key_in_a_hidden_branch(".alpinist/staged/x86_64/a-1-r0.apk", package("a", "1-r0", ""))]
#[case::key_under_noarch("3.22/main/noarch/a-1-r0.apk", package_of("a", "1-r0", "noarch", ""))]
#[case::file_name_of_another_version("3.22/main/x86_64/a-2-r0.apk", package("a", "1-r0", ""))]
#[case::other_architecture("3.22/main/x86_64/a-1-r0.apk", package_of("a", "1-r0", "aarch64", ""))]
#[case::any_architecture_under_none("3.22/main/a-1-r0.apk", package_of("a", "1-r0", "noarch", ""))]
#[case::empty("3.22/main/x86_64/a-1-r0.apk", Vec::new())]
#[case::text("3.22/main/x86_64/a-1-r0.apk", b"<html>".to_vec())]
#[case::format_v3("3.22/main/x86_64/a-1-r0.apk", AdbParts::new().build())]
#[case::cut_off("3.22/main/x86_64/a-1-r0.apk", cut_off())]
#[case::padded("3.22/main/x86_64/a-1-r0.apk", [package("a", "1-r0", ""), vec![0]].concat())]
#[case::other_data("3.22/main/x86_64/a-1-r0.apk", with_data_of_another())]
#[case::name_that_climbs("3.22/main/x86_64/a-1-r0.apk", package("../a", "1-r0", ""))]
#[case::version_with_a_space("3.22/main/x86_64/a-1-r0.apk", package("a", "1 2", ""))]
#[tokio::test]
async fn a_package_is_rejected_in_words_that_help(#[case] key: &str, #[case] bytes: Vec<u8>) {
    let store = MemoryStore::default();
    store.upload(key, bytes);
    let failure = execute(&store, key).await.unwrap_err();
    assert!(failure.is(FailureKind::PackageRejected), "{failure:?}");
    let case = std::thread::current().name().unwrap_or_default().to_owned();
    let case = case.rsplit("::").next().unwrap_or_default().to_owned();
    insta::assert_snapshot!(case, failure.cause);
    let left = store.keys().into_iter().filter(|key| !key.starts_with(".alpinist/rejected/"));
    assert_eq!(left.collect::<Vec<_>>(), [key], "a rejection leaves no more than a note behind");
}

#[tokio::test]
async fn no_key_of_a_package_makes_one_that_s3_does_not_take() {
    let store = MemoryStore::default();
    let longest = key(&"a".repeat(1024 - PREFIX.len() - ".apk".len()));
    store.upload(&longest, package("a", "1-r0", ""));
    store.before_requests(|_, request| {
        use Request::{Copy, Delete, Directory, Get, Head, List, Put};
        let (Head(key)
        | Get(key)
        | Put(key)
        | Delete(key)
        | Copy(key)
        | Directory(key)
        | List { prefix: key, .. }) = request;
        assert!(key.len() <= 1024, "{request:?}");
        Ok(())
    });
    let failure = execute(&store, &longest).await.unwrap_err();
    assert!(failure.is(FailureKind::PackageRejected), "{failure:?}");
    let name = format!("{}-{}", "a".repeat(128), "1".repeat(64));
    store.upload(&key(&name), package(&"a".repeat(128), &"1".repeat(64), ""));
    execute(&store, &key(&name)).await.unwrap();
    assert_eq!(listed(&store), [name]);
}

fn cut_off() -> Vec<u8> {
    let mut bytes = package("a", "1-r0", "");
    bytes.truncate(bytes.len() - 1);
    bytes
}

/// The control section of one package with the data section of another.
fn with_data_of_another() -> Vec<u8> {
    let (one, other) = (package("a", "1-r0", "one"), package("a", "1-r0", "other"));
    let begin_of_data = |bytes: &[u8]| {
        bytes
            .windows(4)
            .enumerate()
            .skip(1)
            .find(|(_, magic)| *magic == [0x1f, 0x8b, 8, 0])
            .unwrap()
            .0
    };
    [&one[..begin_of_data(&one)], &other[begin_of_data(&other)..]].concat()
}

#[tokio::test]
async fn a_package_that_is_replaced_by_a_broken_one_disappears() {
    let store = MemoryStore::default();
    for name in ["a", "b"] {
        store.upload(&key(&format!("{name}-1-r0")), package(name, "1-r0", name));
        execute(&store, &key(&format!("{name}-1-r0"))).await.unwrap();
    }
    store.upload(&key("a-1-r0"), "broken");
    let failure = execute(&store, &key("a-1-r0")).await.unwrap_err();
    assert!(failure.is(FailureKind::PackageRejected), "{failure:?}");
    assert_eq!(listed(&store), ["b-1-r0"]);
    assert_eq!(store.content(&format!("{PREFIX}a-1-r0.index")), None);
    assert!(store.content(&key("a-1-r0")).is_some(), "the upload itself is not ours to delete");
}

#[tokio::test]
async fn a_package_that_is_replaced_by_an_archived_one_disappears() {
    let store = MemoryStore::default();
    for name in ["a", "b"] {
        store.upload(&key(&format!("{name}-1-r0")), package(name, "1-r0", name));
        execute(&store, &key(&format!("{name}-1-r0"))).await.unwrap();
    }
    store.upload(&key("a-1-r0"), package("a", "1-r0", "archived"));
    store.before_requests(|_, request| match request {
        Request::Get(read) if read == key("a-1-r0") => {
            Err(StoreError::Archived { key: read.to_owned() })
        }
        _ => Ok(()),
    });
    let failure = execute(&store, &key("a-1-r0")).await.unwrap_err();
    assert!(failure.is(FailureKind::PackageRejected), "{failure:?}");
    assert_eq!(
        failure.cause,
        format!(
            "{} was rejected: it is archived, in a storage class from which no client could fetch it. \
             Upload it again, in the storage class STANDARD.",
            key("a-1-r0")
        )
    );
    assert_eq!(listed(&store), ["b-1-r0"]);
}

#[tokio::test]
async fn a_package_that_takes_the_place_of_an_archived_one_is_read() {
    let store = MemoryStore::default();
    store.upload(&key("a-1-r0"), package("a", "1-r0", "archived"));
    let mut reads = 0;
    store.before_requests(move |store, request| match request {
        Request::Get(read) if read == key("a-1-r0") && reads == 0 => {
            reads += 1;
            store.upload(read, package("a", "1-r0", "not archived"));
            Err(StoreError::Archived { key: read.to_owned() })
        }
        _ => Ok(()),
    });
    execute(&store, &key("a-1-r0")).await.unwrap();
    assert_eq!(listed(&store), ["a-1-r0"]);
}

#[tokio::test]
async fn a_rejection_is_one_line_that_no_terminal_obeys() {
    for (stem, shown) in [
        ("a\n-1-r0", "a\\n-1-r0"),
        ("\u{1b}[2Ja-1-r0", "\\u{1b}[2Ja-1-r0"),
        ("\u{9b}2Ja-1-r0", "\\u{9b}2Ja-1-r0"),
        ("a\u{2028}-1-r0", "a\\u{2028}-1-r0"),
    ] {
        let store = MemoryStore::default();
        store.upload(&key("b-1-r0"), package("b", "1-r0", ""));
        store.upload(&key(stem), package("a", "1-r0", ""));
        let failure = execute(&store, &key(stem)).await.unwrap_err();
        assert!(failure.is(FailureKind::PackageRejected), "{failure:?}");
        let begin = format!("{} was rejected: ", key(shown));
        assert!(failure.cause.starts_with(&begin), "{}", failure.cause);
        execute(&store, &key("b-1-r0")).await.unwrap();
        assert_eq!(listed(&store), ["b-1-r0"]);
    }
}

#[tokio::test]
async fn a_package_that_is_too_large_everywhere_is_to_be_split() {
    let cause = async |policy: Policy, size: usize| {
        let store = MemoryStore::default();
        store.upload(&key("a-1-r0"), vec![0; size]);
        let extracted = step::extract(&store, policy, target(&key("a-1-r0"))).await.unwrap();
        let Found::Rejected(rejection) = extracted.found else { panic!("it is too large") };
        rejection.cause
    };
    let advice = cause(Policy { max_size: 9, ..Policy::default() }, 10).await;
    assert!(advice.contains("Split it, or deploy the stack with a greater"), "{advice}");
    let size = alpinist_apk::package::MAX_SIZE;
    for max in [size, size + 1] {
        let rejection = Rejection::Size { size: max + 1, max };
        assert_eq!(rejection.remedy(), "Split it.");
    }
}

#[tokio::test]
async fn a_rejected_package_leaves_the_index_untouched() {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "").await;
    let index = store.content(INDEX);
    store.before_requests(|_, request| {
        let is_note =
            matches!(request, Request::Put(key) if key.starts_with(".alpinist/rejected/"));
        assert!(is_note || !matches!(request, Request::Put(_) | Request::Delete(_)), "{request:?}");
        Ok(())
    });
    store.upload(&key("b-1-r0"), "broken");
    execute(&store, &key("b-1-r0")).await.unwrap_err();
    assert_eq!(store.content(INDEX), index);
}

#[tokio::test]
async fn a_package_over_which_we_panic_is_rejected_with_the_wish_for_a_report() {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "").await;
    store.before_requests(|_, request| match request {
        Request::Get(key) if key.starts_with(".alpinist/trusted-keys/") => panic!("planted"),
        _ => Ok(()),
    });
    store.upload(&key("a-1-r0"), signed_package("a", "1-r0", "signed"));
    let failure = execute(&store, &key("a-1-r0")).await.unwrap_err();
    assert!(failure.is(FailureKind::PackageRejected), "{failure:?}");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        failure.cause,
        format!(
            "{} was rejected: Alpinist {version} panicked: planted. {}",
            key("a-1-r0"),
            panic::REMEDY
        )
    );
    assert_eq!(listed(&store), [""; 0]);
}

#[tokio::test]
async fn a_rejected_key_that_is_deleted_again_is_no_failure() {
    let store = MemoryStore::default();
    execute(&store, "not/a/package/key.apk").await.unwrap();
}

#[tokio::test]
async fn a_late_rejection_does_no_harm_to_the_package_that_came_after() {
    let store = MemoryStore::default();
    store.upload(&key("a-1-r0"), "broken");
    let rejected = step::extract(&store, Policy::default(), target(&key("a-1-r0"))).await.unwrap();
    publish(&store, "a", "1-r0", "").await;

    let late = step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, rejected.clone())
        .await
        .unwrap_err();
    assert_eq!(late.kind(), FailureKind::Superseded);

    let fragment = store.content(&format!("{PREFIX}a-1-r0.index")).unwrap();
    store.remove(&format!("{PREFIX}a-1-r0.index"));
    let written =
        step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, rejected).await.unwrap();
    let late = step::aggregate(&store, V3Index::Auto, written.into()).await.unwrap_err();
    assert_eq!(late.kind(), FailureKind::Superseded);
    store.upload(&format!("{PREFIX}a-1-r0.index"), fragment);
    assert_eq!(listed(&store), ["a-1-r0"]);
}

#[tokio::test]
async fn a_package_that_is_rejected_now_loses_its_fragment() {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "").await;
    let rejected = rejected_now(&store, &key("a-1-r0")).await;
    let write = async || {
        step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, rejected.clone()).await
    };
    write().await.unwrap();
    assert_eq!(store.content(&format!("{PREFIX}a-1-r0.index")), None);
    // The response may be lost, and the step retried.
    let written = write().await.unwrap();
    aggregate_and_publish(&store, &Keys::good(), written.into()).await.unwrap_err();
    assert_eq!(listed(&store), [""; 0]);
}

#[tokio::test]
async fn a_late_rejection_by_an_earlier_rule_does_no_harm() {
    let store = MemoryStore::default();
    store.upload(&key("a-1-r0"), package("a", "1-r0", ""));
    let rejected = rejected_now(&store, &key("a-1-r0")).await;
    execute(&store, &key("a-1-r0")).await.unwrap();
    let fragment = store.content(&format!("{PREFIX}a-1-r0.index"));
    for _ in 0..2 {
        let late =
            step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, rejected.clone())
                .await
                .unwrap_err();
        assert_eq!(late.kind(), FailureKind::Superseded);
    }
    assert_eq!(store.content(&format!("{PREFIX}a-1-r0.index")), fragment);
    assert_eq!(listed(&store), ["a-1-r0"]);
}

#[tokio::test]
async fn a_package_that_is_larger_than_it_may_be_is_rejected() {
    let store = MemoryStore::default();
    let package = package("a", "1-r0", "");
    let size = package.len() as u64;
    store.upload(&key("a-1-r0"), package);
    let extract = async |max_size| {
        let policy = Policy { max_size, ..Policy::default() };
        step::extract(&store, policy, target(&key("a-1-r0"))).await.unwrap().found
    };
    assert!(matches!(extract(size).await, Found::Accepted(_)));
    let Found::Rejected(rejection) = extract(size - 1).await else { panic!("it was not rejected") };
    let cause = rejection.cause.replace(&size.to_string(), "SIZE");
    insta::assert_snapshot!(cause.replace(&(size - 1).to_string(), "MAX"));
}

#[tokio::test]
async fn a_package_that_is_replaced_while_it_is_read_is_read_again() {
    let store = MemoryStore::default();
    store.upload(&key("a-1-r0"), package("a", "1-r0", "old"));
    let conflict = |key: &str| Err(StoreError::Conflict { key: key.to_owned() });
    let mut reads = 0;
    store.before_requests(move |store, request| match request {
        Request::Get(key) if reads == 0 => {
            reads += 1;
            store.upload(key, package("a", "1-r0", "new"));
            conflict(key)
        }
        _ => Ok(()),
    });
    execute(&store, &key("a-1-r0")).await.unwrap();
    assert_eq!(listed(&store), ["a-1-r0"]);

    store.before_requests(move |_, request| match request {
        Request::Get(key) => conflict(key),
        _ => Ok(()),
    });
    let failure = step::extract(&store, Policy::default(), target(&key("a-1-r0"))).await;
    let report = failure.unwrap_err().report();
    assert!(report.contains("others keep changing"), "{report}");
}

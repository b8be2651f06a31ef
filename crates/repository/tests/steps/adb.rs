//! Packages of format v3, and what is published for their clients.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use alpinist_apk::{
    adb::{
        container::Schema,
        index::ReadIndex,
        signature::{AdbSignature, PayloadDigest},
    },
    checksum::Identity,
    entry::IndexEntry,
    key::{SigningKey, VerifyingKey},
};
use alpinist_repository::{
    failure::FailureKind,
    location::trusted_key,
    memory::{MemoryStore, Request},
    message::{Found, Reindex, RejectionReport, Target},
    plus_copy::PlusCopies,
    policy::Policy,
    port::{Starter, StoreError},
    replacing::Replacing,
    snapshot::{Header, Snapshot},
    step::{self, HealRequest, Healed},
    trust::{PackageSignatures, SignedBy},
    v3_index::V3Index,
};
use alpinist_samples::adb_package::{AdbParts, slot, text};
use rand_core::OsRng;
use rstest::rstest;
use serde_json::Value;

use crate::common::{
    PREFIX, PRIVATE_KEY, Second,
    execution::{Next, State, travelled},
};
use crate::reindex::reindex;
use crate::support::{
    INDEX, KEY_NAME, Keys, execute, execute_where, execute_with, key, listed, package, publish,
    target,
};

const ADB: &str = "3.22/main/x86_64/Packages.adb";
const ALIAS: &str = "3.22/main/x86_64/packages.adb";
const JSON: &str = "3.22/main/x86_64/index.json";
const SNAPSHOT: &str = ".alpinist/published/3.22/main/x86_64/snapshot.json.gz";

pub(crate) fn v3_package(name: &str, version: &str) -> Vec<u8> {
    AdbParts::new().info(slot::NAME, text(name)).info(slot::VERSION, text(version)).build()
}

/// Uploads a package of format v3, and publishes it.
async fn publish_v3(store: &MemoryStore, name: &str) {
    let key = key(&format!("{name}-1-r0"));
    store.upload(&key, v3_package(name, "1-r0"));
    execute(store, &key).await.unwrap();
}

/// What the index of format v3 lists, after checking that its copy and `index.json` agree and that
/// our key has signed it.
fn listed_in_adb(store: &MemoryStore) -> Vec<String> {
    let bytes = store.content(ADB).unwrap();
    assert_eq!(store.content(ALIAS).unwrap(), bytes);
    let index = ReadIndex::read(&bytes).unwrap();
    assert_eq!(index.description, "3.22/main");
    assert!(index.is_signed_by(&SigningKey::from_pem(&PRIVATE_KEY).unwrap().verifying_key()));
    let json: Value = serde_json::from_slice(&store.content(JSON).unwrap()).unwrap();
    let names = json["packages"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let listed: Vec<_> = index.entries.iter().map(|entry| entry.metadata.name.as_str()).collect();
    assert_eq!(names, listed);
    assert_eq!(json["architecture"], "x86_64");
    index.entries.iter().map(IndexEntry::file_stem).collect()
}

fn header(store: &MemoryStore) -> Header {
    Snapshot::read(&store.content(SNAPSHOT).unwrap()).unwrap().0
}

#[tokio::test]
async fn a_directory_of_v3_packages_has_their_index_alone() {
    let store = MemoryStore::default();
    publish_v3(&store, "b").await;
    assert_eq!(listed_in_adb(&store), ["b-1-r0"]);
    assert!(store.content(INDEX).is_none());
    let index = ReadIndex::read(&store.content(ADB).unwrap()).unwrap();
    assert!(matches!(index.entries[0].identity, Identity::Payload(_)));
    assert_eq!(index.entries[0].metadata.description.as_str(), "Greets");

    store.remove(&key("b-1-r0"));
    store.pass(Duration::from_mins(1));
    execute(&store, &key("b-1-r0")).await.unwrap();
    assert!(listed_in_adb(&store).is_empty(), "clients still ask for it");
    assert!(store.content(INDEX).is_none());
}

#[tokio::test]
async fn both_formats_are_listed_for_those_who_read_them() {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "a").await;
    assert!(store.content(ADB).is_none(), "nobody needs it");
    store.pass(Duration::from_mins(1));
    publish_v3(&store, "b").await;
    store.pass(Duration::from_mins(1));
    publish(&store, "c", "1-r0", "c").await;
    assert_eq!(listed(&store), ["a-1-r0", "c-1-r0"]);
    assert_eq!(listed_in_adb(&store), ["a-1-r0", "b-1-r0", "c-1-r0"]);

    // A package of the other format in the place of an old one.
    store.pass(Duration::from_mins(1));
    store.upload(&key("a-1-r0"), v3_package("a", "1-r0"));
    execute(&store, &key("a-1-r0")).await.unwrap();
    assert_eq!(listed(&store), ["c-1-r0"]);
    assert_eq!(listed_in_adb(&store), ["a-1-r0", "b-1-r0", "c-1-r0"]);
    let Header { packages, v3_packages, .. } = header(&store);
    assert_eq!((packages, v3_packages), (3, 2));
}

#[tokio::test]
async fn the_last_v2_package_leaves_an_empty_index_and_the_last_v3_package_a_list_of_the_others() {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "a").await;
    store.pass(Duration::from_mins(1));
    publish_v3(&store, "b").await;
    store.pass(Duration::from_mins(1));
    store.remove(&key("a-1-r0"));
    execute(&store, &key("a-1-r0")).await.unwrap();
    assert!(listed(&store).is_empty());
    assert_eq!(listed_in_adb(&store), ["b-1-r0"]);

    store.pass(Duration::from_mins(1));
    publish(&store, "c", "1-r0", "c").await;
    store.pass(Duration::from_mins(1));
    store.remove(&key("b-1-r0"));
    execute(&store, &key("b-1-r0")).await.unwrap();
    assert_eq!(listed(&store), ["c-1-r0"]);
    assert_eq!(listed_in_adb(&store), ["c-1-r0"]);
}

#[tokio::test]
async fn the_same_packages_give_the_same_bytes() {
    let mut published = Vec::new();
    for order in [["a", "b", "c"], ["c", "a", "b"]] {
        let store = MemoryStore::default();
        publish(&store, "d", "1-r0", "d").await;
        for name in order {
            store.pass(Duration::from_mins(1));
            publish_v3(&store, name).await;
        }
        published.push([ADB, ALIAS, JSON, INDEX].map(|key| store.content(key).unwrap()));
    }
    assert_eq!(published[0], published[1]);
}

#[tokio::test]
async fn whatever_dies_between_two_objects_is_completed_by_the_next_execution() {
    for put in [ADB, ALIAS, JSON, INDEX] {
        let store = MemoryStore::default();
        publish(&store, "a", "1-r0", "a").await;
        store.pass(Duration::from_mins(1));
        publish_v3(&store, "b").await;
        store.pass(Duration::from_mins(1));
        let late = put.to_owned();
        store.before_requests(move |_, request| match request {
            Request::Put(key) if key == late => {
                let source = std::io::Error::other("the function died").into();
                Err(StoreError::Permanent { key: key.to_owned(), source })
            }
            _ => Ok(()),
        });
        store.upload(&key("c-1-r0"), v3_package("c", "1-r0"));
        execute(&store, &key("c-1-r0")).await.unwrap_err();
        store.before_requests(|_, _| Ok(()));
        store.pass(Duration::from_mins(1));
        execute(&store, INDEX).await.unwrap();
        assert_eq!(listed(&store), ["a-1-r0"], "{put}");
        assert_eq!(listed_in_adb(&store), ["a-1-r0", "b-1-r0", "c-1-r0"], "{put}");
    }
}

#[tokio::test]
async fn whoever_finds_a_package_in_the_index_finds_it_in_the_other_objects_too() {
    let store = MemoryStore::default();
    publish_v3(&store, "a").await;
    store.pass(Duration::from_mins(1));
    store.upload(&key("b-1-r0"), v3_package("b", "1-r0"));
    let found = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&found);
    store.before_requests(move |store, request| {
        if matches!(request, Request::Put(ADB)) {
            let alias = ReadIndex::read(&store.content(ALIAS).unwrap()).unwrap();
            let json = store.content(JSON).unwrap();
            let json: Value = serde_json::from_slice(&json).unwrap();
            let json = json["packages"].as_object().unwrap().len();
            seen.lock().unwrap().push((alias.entries.len(), json));
        }
        Ok(())
    });
    execute(&store, &key("b-1-r0")).await.unwrap();
    assert_eq!(*found.lock().unwrap(), [(2, 2)]);
}

#[tokio::test]
async fn an_object_that_somebody_overwrites_is_made_again() {
    for planted in [ADB, ALIAS, JSON] {
        let store = MemoryStore::default();
        publish_v3(&store, "b").await;
        store.pass(Duration::from_mins(1));
        store.upload(planted, "planted");
        store.pass(Duration::from_mins(1));
        execute(&store, INDEX).await.unwrap();
        assert_eq!(listed_in_adb(&store), ["b-1-r0"], "{planted}");
    }
}

#[tokio::test]
async fn an_index_of_somebody_else_stays_until_there_is_a_v3_package() {
    let store = MemoryStore::default();
    store.upload(ADB, "somebody's");
    publish(&store, "a", "1-r0", "a").await;
    execute(&store, INDEX).await.unwrap();
    assert_eq!(store.content(ADB).unwrap(), "somebody's");
    store.pass(Duration::from_mins(1));
    publish_v3(&store, "b").await;
    assert_eq!(listed_in_adb(&store), ["a-1-r0", "b-1-r0"]);
}

/// Makes the bucket somebody else's: only the packages and what is published of them stay.
fn give_away(store: &MemoryStore) {
    for key in store.keys() {
        match store.content(&key) {
            Some(content) if [ADB, ALIAS, JSON].contains(&key.as_str()) => {
                store.upload(&key, content);
            }
            _ if key.starts_with('.') || key.ends_with(".index") => store.remove(&key),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_package_that_leaves_somebody_elses_index_of_v3_alone_has_the_directory_adopted() {
    let store = MemoryStore::default();
    publish_v3(&store, "b").await;
    publish_v3(&store, "c").await;
    give_away(&store);
    store.remove(&key("b-1-r0"));
    store.pass(Duration::from_mins(10));
    let extracted = step::extract(&store, Policy::default(), target(&key("b-1-r0"))).await.unwrap();
    let written =
        step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, extracted).await.unwrap();
    let aggregated = step::aggregate(&store, V3Index::Auto, written.into()).await.unwrap();
    assert_eq!(aggregated.waiting.as_ref().unwrap().unknown, 1);
    assert_eq!(listed_in_adb(&store), ["b-1-r0", "c-1-r0"], "it does not shrink meanwhile");
    reindex(&store, PREFIX, true).await.unwrap();
    assert_eq!(listed_in_adb(&store), ["c-1-r0"]);
    let covered = step::aggregate(&store, V3Index::Auto, travelled(&aggregated)).await.unwrap();
    assert_eq!((covered.waiting, covered.staged), (None, None));
}

#[tokio::test]
async fn without_a_snapshot_our_own_index_is_still_known_as_ours() {
    let store = MemoryStore::default();
    publish_v3(&store, "b").await;
    store.remove(&key("b-1-r0"));
    store.remove("3.22/main/x86_64/b-1-r0.index");
    store.remove(SNAPSHOT);
    store.pass(Duration::from_mins(1));
    execute(&store, INDEX).await.unwrap();
    assert!(listed_in_adb(&store).is_empty());
}

/// Runs the daily check, and then what it starts.
async fn check(store: &MemoryStore) -> Healed {
    check_where(store, V3Index::Auto).await
}

/// Runs the daily check where this is the setting, and then what it starts.
async fn check_where(store: &MemoryStore, v3_index: V3Index) -> Healed {
    let request = HealRequest::Check { bucket: "bucket".to_owned(), prefix: String::new() };
    let healed =
        step::heal(store, &Nothing, PlusCopies::Kept, Replacing::Allowed, v3_index, request)
            .await
            .unwrap();
    for key in &healed.executions {
        execute_where(store, v3_index, target(key)).await.unwrap();
    }
    healed
}

struct Nothing;

impl Starter for Nothing {
    async fn start(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    async fn reindex(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_directory_that_holds_an_index_of_v3_alone_is_checked() {
    for has_snapshot in [true, false] {
        let store = MemoryStore::default();
        publish_v3(&store, "b").await;
        store.remove(&key("b-1-r0"));
        store.remove("3.22/main/x86_64/b-1-r0.index");
        if !has_snapshot {
            store.remove(SNAPSHOT);
        }
        store.pass(Duration::from_mins(10));
        assert!(!check(&store).await.executions.is_empty(), "{has_snapshot}");
        assert!(listed_in_adb(&store).is_empty(), "{has_snapshot}");
        store.pass(Duration::from_mins(10));
        assert_eq!(check(&store).await, Healed::default(), "{has_snapshot}");
    }
    let store = MemoryStore::default();
    store.upload(ADB, "somebody's");
    assert_eq!(check(&store).await, Healed::default());
}

#[tokio::test]
async fn an_older_snapshot_does_not_make_the_index_of_v3_forgotten() {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "a").await;
    let before = store.duplicate();
    store.pass(Duration::from_mins(1));
    publish_v3(&store, "b").await;
    store.pass(Duration::from_mins(1));
    store.copy_back(SNAPSHOT, &before);
    store.remove(&key("b-1-r0"));
    store.remove("3.22/main/x86_64/b-1-r0.index");
    store.pass(Duration::from_mins(10));
    check(&store).await;
    assert_eq!(listed_in_adb(&store), ["a-1-r0"]);
    assert!(header(&store).adb.is_some());
    store.pass(Duration::from_mins(1));
    publish(&store, "c", "1-r0", "c").await;
    assert_eq!(listed_in_adb(&store), ["a-1-r0", "c-1-r0"]);
    store.pass(Duration::from_mins(10));
    assert_eq!(check(&store).await, Healed::default());
}

#[tokio::test]
async fn a_young_v3_package_that_was_published_is_not_lost_for_want_of_knowledge() {
    let store = MemoryStore::default();
    publish_v3(&store, "b").await;
    publish_v3(&store, "c").await;
    for key in ["3.22/main/x86_64/b-1-r0.index", SNAPSHOT] {
        store.remove(key);
    }
    let healed = check(&store).await;
    assert_eq!(healed.reindexes.len(), 1, "{healed:?}");
    assert_eq!(listed_in_adb(&store), ["b-1-r0", "c-1-r0"]);
}

/// Keys of which the first is `first`, and the second, if any, `second`.
fn keys(first: &SigningKey, second: Option<&SigningKey>) -> Keys {
    let pem = |key: &SigningKey| key.to_pem().unwrap().to_string();
    let second = second.map(|second| Second {
        name: "second.pem".to_owned(),
        private_key: pem(second),
        remote: None,
    });
    Keys { private_key: Some(pem(first)), name: KEY_NAME.to_owned(), second }
}

fn is_signed_by(store: &MemoryStore, key: &VerifyingKey) -> bool {
    ReadIndex::read(&store.content(ADB).unwrap()).unwrap().is_signed_by(key)
}

#[tokio::test]
async fn an_ec_key_signs_v3_alone_and_an_rsa_key_beside_it_both() {
    let rsa = SigningKey::from_pem(&PRIVATE_KEY).unwrap();
    let ec = SigningKey::generate_p256(&mut OsRng).unwrap();
    let store = MemoryStore::default();
    store.upload(&key("b-1-r0"), v3_package("b", "1-r0"));
    execute_with(&store, &keys(&ec, None), &key("b-1-r0")).await.unwrap();
    assert!(is_signed_by(&store, &ec.verifying_key()));
    let published = String::from_utf8(store.content(KEY_NAME).unwrap().to_vec()).unwrap();
    assert_eq!(VerifyingKey::from_pem(&published).unwrap(), ec.verifying_key());

    store.pass(Duration::from_mins(1));
    store.upload(&key("a-1-r0"), package("a", "1-r0", "a"));
    let failed = execute_with(&store, &keys(&ec, None), &key("a-1-r0")).await.unwrap_err();
    assert!(failed.is(FailureKind::Misconfigured), "{}", failed.error);
    assert!(failed.cause.contains("an EC key signs only format v3"), "{}", failed.cause);
    store.pass(Duration::from_mins(1));
    store.remove(KEY_NAME);
    execute_with(&store, &keys(&rsa, Some(&ec)), &key("a-1-r0")).await.unwrap();
    assert_eq!(listed(&store), ["a-1-r0"]);
    assert_eq!(listed_in_adb(&store), ["a-1-r0", "b-1-r0"]);
    assert!(is_signed_by(&store, &ec.verifying_key()));
}

#[tokio::test]
async fn a_signature_of_a_v3_package_names_its_key_by_id() {
    let store = MemoryStore::default();
    // Its signature is by the key whose ID is sixteen times 7, and is made up.
    store.upload(&key("b-1-r0"), v3_package("b", "1-r0"));
    let ec = SigningKey::generate_p256(&mut OsRng).unwrap();
    store.upload(
        &trusted_key(&"ops.pem".parse().unwrap()),
        ec.verifying_key().to_pem().unwrap().into_bytes(),
    );
    let signed_by = async |signatures| {
        let policy = Policy { signatures, ..Policy::default() };
        let extracted = step::extract(&store, policy, target(&key("b-1-r0"))).await.unwrap();
        match extracted.found {
            Found::Accepted(accepted) => Ok(accepted.signed_by),
            Found::Rejected(report) => Err(report.cause),
            other => panic!("{other:?}"),
        }
    };
    let unknown = "07".repeat(16);
    assert_eq!(signed_by(PackageSignatures::Ignore).await, Ok(None));
    let expected = Some(SignedBy::Unknown(vec![unknown.clone()]));
    assert_eq!(signed_by(PackageSignatures::Verify).await, Ok(expected));
    let cause = signed_by(PackageSignatures::Require).await.unwrap_err();
    assert!(cause.contains(&format!("not signed by a trusted key, but by {unknown}")), "{cause}");
}

/// A v3 package `b`, with the signature of another one by a key.
fn wrongly_signed_by(key: &SigningKey) -> Vec<u8> {
    let parts = AdbParts::new().info(slot::NAME, text("b")).info(slot::VERSION, text("1-r0"));
    let other = PayloadDigest::of(b"another package");
    let signature = AdbSignature::sign(key, Schema::Package, &other, &mut OsRng).unwrap();
    parts.signatures(vec![signature.to_block()]).build()
}

#[rstest]
#[case::ignore(PackageSignatures::Ignore, false)]
#[case::verify(PackageSignatures::Verify, true)]
#[case::require(PackageSignatures::Require, true)]
#[tokio::test]
async fn a_wrong_signature_by_a_trusted_key_is_rejected_unless_nobody_looks(
    #[case] signatures: PackageSignatures,
    #[case] is_rejected: bool,
) {
    let ec = SigningKey::generate_p256(&mut OsRng).unwrap();
    let rsa = SigningKey::from_pem(&PRIVATE_KEY).unwrap();
    for signer in [&ec, &rsa] {
        let store = MemoryStore::default();
        let pem = signer.verifying_key().to_pem().unwrap();
        store.upload(&trusted_key(&"ops.pem".parse().unwrap()), pem.into_bytes());
        store.upload(&key("b-1-r0"), wrongly_signed_by(signer));
        let policy = Policy { signatures, ..Policy::default() };
        let extracted = step::extract(&store, policy, target(&key("b-1-r0"))).await.unwrap();
        let cause = match extracted.found {
            Found::Accepted(accepted) => {
                assert_eq!(accepted.signed_by, None);
                None
            }
            Found::Rejected(report) => Some(report.cause),
            other => panic!("{other:?}"),
        };
        assert_eq!(cause.is_some(), is_rejected, "{cause:?}");
        let wrong = "its signature by ops.pem is wrong";
        assert!(cause.is_none_or(|cause| cause.contains(wrong)));
    }
}

#[tokio::test]
async fn an_index_of_v2_packages_that_appears_meanwhile_does_not_stay() {
    let rival = MemoryStore::default();
    publish(&rival, "b", "1-r0", "").await;
    let late = Mutex::new(rival.content(INDEX));
    let store = MemoryStore::default();
    store.upload(&key("b-1-r0"), v3_package("b", "1-r0"));
    store.before_requests(move |store, request| {
        if matches!(request, Request::Put(key) if key == ADB)
            && let Some(index) = late.lock().unwrap().take()
        {
            store.upload(INDEX, index);
        }
        Ok(())
    });
    execute(&store, &key("b-1-r0")).await.unwrap();
    assert_eq!(listed(&store), Vec::<String>::new());
    assert_eq!(listed_in_adb(&store), ["b-1-r0"]);
}

/// Runs the steps where this is the setting, and returns why the package was rejected, if it was.
async fn run(store: &MemoryStore, v3_index: V3Index, key: &str) -> Option<RejectionReport> {
    let mut state = State::Extract(target(key));
    loop {
        state = match state.run_where(store, &Keys::good(), v3_index).await.unwrap() {
            Next::Go(next) => next,
            Next::End(rejection) => return rejection,
            other => panic!("{other:?}"),
        };
    }
}

#[tokio::test]
async fn where_it_is_always_wanted_v2_packages_have_an_index_of_v3() {
    let always = V3Index::Always;
    let store = MemoryStore::default();
    // What is rejected makes no directory a repository, nor does what is gone.
    let garbage = key("garbage-1-r0");
    store.upload(&garbage, "garbage");
    assert!(run(&store, always, &garbage).await.is_some());
    store.pass(Duration::from_mins(1));
    execute_where(&store, always, target(INDEX)).await.unwrap();
    store.remove(&garbage);
    assert_eq!(run(&store, always, &garbage).await, None);
    store.pass(Duration::from_mins(1));
    execute_where(&store, always, target(INDEX)).await.unwrap();
    assert_eq!((store.content(ADB), store.content(INDEX)), (None, None));

    for name in ["a", "b"] {
        store.pass(Duration::from_mins(1));
        store.upload(&key(&format!("{name}-1-r0")), package(name, "1-r0", name));
        execute_where(&store, always, target(&key(&format!("{name}-1-r0")))).await.unwrap();
    }
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0"]);
    assert_eq!(listed_in_adb(&store), ["a-1-r0", "b-1-r0"]);
    assert!(header(&store).adb.is_some());
    for name in ["a", "b"] {
        store.pass(Duration::from_mins(1));
        store.remove(&key(&format!("{name}-1-r0")));
        execute_where(&store, always, target(&key(&format!("{name}-1-r0")))).await.unwrap();
    }
    assert!(listed(&store).is_empty());
    assert!(listed_in_adb(&store).is_empty());
    store.pass(Duration::from_mins(10));
    assert_eq!(check_where(&store, always).await, Healed::default());
}

/// What brings a directory up to date after a change of the setting.
#[derive(Clone, Copy, Debug)]
enum Occasion {
    Upload,
    Replacement,
    Check,
    Reindex { sign: bool },
}

#[rstest]
#[case::upload(Occasion::Upload)]
#[case::replacement(Occasion::Replacement)]
#[case::check(Occasion::Check)]
#[case::reindex(Occasion::Reindex { sign: false })]
#[case::signing(Occasion::Reindex { sign: true })]
#[tokio::test]
async fn a_directory_from_before_follows_the_setting(#[case] occasion: Occasion) {
    let always = V3Index::Always;
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "a").await;
    store.pass(Duration::from_mins(10));
    let mut expected = vec!["a-1-r0"];
    match occasion {
        Occasion::Upload => {
            store.upload(&key("b-1-r0"), package("b", "1-r0", "b"));
            execute_where(&store, always, target(&key("b-1-r0"))).await.unwrap();
            expected.push("b-1-r0");
        }
        Occasion::Replacement => {
            store.upload(&key("a-1-r0"), package("a", "1-r0", "other"));
            execute_where(&store, always, target(&key("a-1-r0"))).await.unwrap();
        }
        Occasion::Check => {
            assert_eq!(check(&store).await, Healed::default());
            let healed = check_where(&store, always).await;
            assert_eq!(healed.executions.into_iter().collect::<Vec<_>>(), [INDEX]);
        }
        Occasion::Reindex { sign } => {
            let reindex = Some(Reindex { run: "run".to_owned(), only_stale: true, sign });
            execute_where(&store, always, Target { reindex, ..target(INDEX) }).await.unwrap();
        }
    }
    assert_eq!(listed_in_adb(&store), expected);
    assert_eq!(listed(&store), expected);
    store.pass(Duration::from_mins(10));
    assert_eq!(check_where(&store, always).await, Healed::default(), "it ends");

    // What clients ask for is kept up to date whatever the setting.
    publish(&store, "c", "1-r0", "c").await;
    expected.push("c-1-r0");
    assert_eq!(listed_in_adb(&store), expected);
    store.pass(Duration::from_mins(10));
    assert_eq!(check(&store).await, Healed::default());
}

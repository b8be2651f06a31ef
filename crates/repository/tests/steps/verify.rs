//! What a check of the published indexes finds, in both formats.

use std::time::Duration;

use alpinist_apk::{
    adb::index::AdbIndex,
    adb::signature::{AdbSignature, PayloadDigest},
    entry::IndexEntry,
    key::SigningKey,
};
use alpinist_repository::{
    memory::MemoryStore,
    plus_copy::PlusCopies,
    policy::Policy,
    port::{Attributes, NewObject, ObjectStore as _, Precondition},
    v3_index::V3Index,
    verify::{self, Depth, Remedy, VerifyOptions},
};
use alpinist_samples::adb_package::{AdbParts, dependency, slot, text};
use rand_core::OsRng;
use rstest::rstest;

use crate::common::execution::Settings;
use crate::common::{PRIVATE_KEY, Second};
use crate::support::{
    INDEX, KEY_NAME, Keys, PREFIX, execute, execute_where, execute_with, key, publish, target,
};

const ADB: &str = "3.22/main/x86_64/Packages.adb";
const ALIAS: &str = "3.22/main/x86_64/packages.adb";
const JSON: &str = "3.22/main/x86_64/index.json";

fn v3_package(name: &str) -> Vec<u8> {
    let depends = ["z", "a"].map(|name| dependency(name, "", 0)).to_vec();
    AdbParts::new()
        .info(slot::NAME, text(name))
        .info(slot::VERSION, text("1-r0"))
        .info(slot::DEPENDS, alpinist_samples::adb_package::Node::Array(depends))
        .build()
}

/// A repository with `a` of format v2, and `b` of format v3.
async fn both() -> MemoryStore {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "a").await;
    add_v3(&store, "b").await;
    store
}

async fn add_v3(store: &MemoryStore, name: &str) {
    store.pass(Duration::from_mins(1));
    store.upload(&key(&format!("{name}-1-r0")), v3_package(name));
    execute(store, &key(&format!("{name}-1-r0"))).await.unwrap();
}

/// The problems, each as the file name, the message and its remedy; and how many packages there
/// are.
async fn verified(
    store: &MemoryStore,
    depth: Depth,
    signers: &[&str],
) -> (usize, Vec<(String, String, Remedy)>) {
    verified_where(store, Settings::default(), depth, signers).await
}

/// The same, where these are the settings.
pub(crate) async fn verified_where(
    store: &MemoryStore,
    settings: impl Into<Settings>,
    depth: Depth,
    signers: &[&str],
) -> (usize, Vec<(String, String, Remedy)>) {
    let signers = signers.iter().map(|name| (*name).to_owned()).collect();
    let (policy, plus_copies) = (Policy::default(), PlusCopies::Kept);
    let Settings { v3_index, replacing } = settings.into();
    let options = VerifyOptions { depth, policy, plus_copies, replacing, v3_index, signers };
    let prefix = PREFIX.parse().unwrap();
    let verified = verify::verify(store, &prefix, &options).await.unwrap();
    let problems = verified.problems.into_iter().map(|(key, problem)| {
        let file = key.strip_prefix(PREFIX).unwrap_or(&key).to_owned();
        (file, problem.to_string(), problem.fix())
    });
    (verified.packages, problems.collect())
}

async fn problems(store: &MemoryStore) -> Vec<(String, String, Remedy)> {
    verified(store, Depth::Listing, &[KEY_NAME]).await.1
}

fn problem(file: &str, message: &str, remedy: Remedy) -> (String, String, Remedy) {
    (file.to_owned(), message.to_owned(), remedy)
}

/// Writes an object as if Alpinist had.
async fn put(store: &MemoryStore, key: &str, bytes: Vec<u8>) {
    let attributes = Attributes::from([("index-sha256".to_owned(), String::new())]);
    let object = NewObject { bytes, content_type: "application/octet-stream", attributes };
    store.put(key, object, Precondition::None).await.unwrap();
}

/// Publishes an index of format v3 that lists these.
async fn put_adb(store: &MemoryStore, entries: &[IndexEntry]) {
    let key = SigningKey::from_pem(&PRIVATE_KEY).unwrap();
    let (index, _) = AdbIndex::new("3.22/main", entries);
    let payload = index.payload().unwrap();
    let digest = PayloadDigest::of(&payload);
    let schema = alpinist_apk::adb::container::Schema::Index;
    let signature = AdbSignature::sign(&key, schema, &digest, &mut OsRng).unwrap();
    let sealed = index.seal(&payload, &[signature], [&key.verifying_key()]).unwrap();
    put(store, ADB, sealed.clone()).await;
    put(store, ALIAS, sealed).await;
    let json = alpinist_apk::adb::index_json::write(&"x86_64".parse().unwrap(), entries);
    put(store, JSON, json.into_bytes()).await;
}

fn entries(store: &MemoryStore) -> Vec<IndexEntry> {
    alpinist_apk::adb::index::ReadIndex::read(&store.content(ADB).unwrap()).unwrap().entries
}

#[rstest]
#[case::listing(Depth::Listing)]
#[case::content(Depth::Content)]
#[tokio::test]
async fn what_alpinist_publishes_is_right(#[case] depth: Depth) {
    let store = both().await;
    assert_eq!(verified(&store, depth, &[KEY_NAME]).await, (2, vec![]));
    assert_eq!(verified(&store, depth, &[]).await, (2, vec![]), "nobody says which keys sign");

    let store = MemoryStore::default();
    add_v3(&store, "b").await;
    assert_eq!(verified(&store, depth, &[KEY_NAME]).await, (1, vec![]));
    assert_eq!(verified(&store, depth, &[]).await, (1, vec![]));
    store.pass(Duration::from_mins(1));
    store.remove(&key("b-1-r0"));
    execute(&store, &key("b-1-r0")).await.unwrap();
    assert_eq!(verified(&store, depth, &[KEY_NAME]).await, (0, vec![]), "an index of nothing");
}

#[tokio::test]
async fn an_index_of_somebody_else_counts_only_where_there_should_be_ours() {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "a").await;
    store.upload(ADB, "somebody's");
    assert_eq!(problems(&store).await, []);
    store.upload(&key("b-1-r0"), v3_package("b"));
    let message = "somebody else wrote it, and it is not the index of the packages";
    let expected = [problem("Packages.adb", message, Remedy::ReindexStale)];
    assert_eq!(problems(&store).await, expected);
    store.remove(ADB);
    let message = "there is no index, although there are packages";
    assert_eq!(problems(&store).await, [problem("Packages.adb", message, Remedy::ReindexStale)]);
}

#[tokio::test]
async fn each_object_that_is_missing_or_overwritten_is_told_and_fixed_by_its_remedy() {
    let missing = "there is no index, although there are packages";
    let rejected = "a client rejects the index";
    let (copy, json) =
        ("it is not a copy of `Packages.adb`", "it does not say what `Packages.adb` lists");
    for (object, gone, other) in [
        (
            ADB,
            vec![("Packages.adb", missing)],
            vec![("Packages.adb", rejected), ("packages.adb", copy)],
        ),
        (ALIAS, vec![("packages.adb", copy)], vec![("packages.adb", copy)]),
        (JSON, vec![("index.json", json)], vec![("index.json", json)]),
    ] {
        let expected = |problems: Vec<(&str, &str)>| {
            let all = problems.into_iter();
            all.map(|(file, text)| problem(file, text, Remedy::ReindexStale)).collect::<Vec<_>>()
        };
        let store = both().await;
        store.remove(object);
        assert_eq!(problems(&store).await, expected(gone), "{object}");
        store.upload(object, "garbage");
        assert_eq!(problems(&store).await, expected(other), "{object}");
        store.pass(Duration::from_mins(1));
        execute(&store, INDEX).await.unwrap();
        assert_eq!(problems(&store).await, [], "{object}");
    }
}

#[tokio::test]
async fn the_index_lists_exactly_the_packages_of_both_formats() {
    let store = both().await;
    let all = entries(&store);
    for (left_out, stem) in [(0, "a-1-r0"), (1, "b-1-r0")] {
        let mut listed = all.clone();
        listed.remove(left_out);
        put_adb(&store, &listed).await;
        let message = "`Packages.adb` does not list it";
        let expected = [problem(&format!("{stem}.apk"), message, Remedy::ReindexStale)];
        assert_eq!(problems(&store).await, expected);
    }
    for changed in [0, 1] {
        let mut listed = all.clone();
        listed[changed].metadata.license = "Other".parse().unwrap();
        put_adb(&store, &listed).await;
        let stem = all[changed].file_stem();
        let message = "the index says something else of it than it is";
        let expected = problem(&format!("{stem}.apk"), message, Remedy::Reindex);
        let (_, found) = verified(&store, Depth::Content, &[KEY_NAME]).await;
        assert!(found.contains(&expected), "{found:?}");
    }
    put_adb(&store, &all).await;
    assert_eq!(problems(&store).await, []);
    store.remove(&key("b-1-r0"));
    let missing = "the index lists it, but it is not there";
    let orphan = "it is a fragment without a package";
    let expected = [
        problem("b-1-r0.apk", missing, Remedy::ReindexStale),
        problem("b-1-r0.index", orphan, Remedy::ReindexStale),
    ];
    assert_eq!(problems(&store).await, expected);
}

#[tokio::test]
async fn a_v2_package_that_the_other_index_alone_lists_is_told() {
    let store = both().await;
    store.remove(INDEX);
    let message = "there is no index, although there are packages";
    assert_eq!(problems(&store).await, [problem("APKINDEX.tar.gz", message, Remedy::ReindexStale)]);
}

#[tokio::test]
async fn the_keys_in_use_have_signed_what_they_can() {
    let rsa = SigningKey::from_pem(&PRIVATE_KEY).unwrap();
    let ec = SigningKey::generate_p256(&mut OsRng).unwrap();
    let pem = |key: &SigningKey| key.to_pem().unwrap().to_string();
    let second = Second { name: "ec.pem".to_owned(), private_key: pem(&ec), remote: None };
    let keys =
        Keys { private_key: Some(pem(&rsa)), name: KEY_NAME.to_owned(), second: Some(second) };
    let store = both().await;
    let public = ec.verifying_key().to_pem().unwrap();
    store.upload("ec.pem", public.into_bytes());
    let signers = [KEY_NAME, "ec.pem"];
    let (_, found) = verified(&store, Depth::Listing, &signers).await;
    let message = "it is not signed by ec.pem, a key that is in use";
    assert_eq!(found, [problem("Packages.adb", message, Remedy::Sign)]);

    store.pass(Duration::from_mins(1));
    store.upload(&key("c-1-r0"), v3_package("c"));
    execute_with(&store, &keys, &key("c-1-r0")).await.unwrap();
    assert_eq!(verified(&store, Depth::Listing, &signers).await, (3, vec![]));

    let id = rsa.verifying_key().id();
    store.remove(KEY_NAME);
    store.remove("ec.pem");
    let (_, found) = verified(&store, Depth::Listing, &[KEY_NAME]).await;
    let message = |signers: &str| {
        format!("no public key is published of those who signed the index: {signers}")
    };
    let mut ids = [id, ec.verifying_key().id()];
    ids.sort_unstable();
    let [first, last] = ids;
    let expected = [
        problem("APKINDEX.tar.gz", &message(KEY_NAME), Remedy::Sign),
        problem("Packages.adb", &message(&format!("{first}, {last}")), Remedy::Sign),
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn where_an_index_of_v3_is_always_wanted_it_is_missed() {
    let store = MemoryStore::default();
    let always = async |store: &MemoryStore| {
        verified_where(store, V3Index::Always, Depth::Listing, &[KEY_NAME]).await.1
    };
    assert_eq!(always(&store).await, [], "there is no directory");
    publish(&store, "a", "1-r0", "a").await;
    assert_eq!(problems(&store).await, []);
    let message = "there is no index of format v3, although `V3Index` is `always`";
    let expected = [problem("Packages.adb", message, Remedy::ReindexStale)];
    assert_eq!(always(&store).await, expected);
    store.upload(ADB, "somebody's");
    let message = "somebody else wrote it, and it is not the index of the packages";
    assert_eq!(always(&store).await, [problem("Packages.adb", message, Remedy::ReindexStale)]);
    store.pass(Duration::from_mins(1));
    execute_where(&store, V3Index::Always, target(INDEX)).await.unwrap();
    assert_eq!(always(&store).await, []);
    assert_eq!(problems(&store).await, []);
}

#[tokio::test]
async fn a_wrong_signature_by_a_published_key_is_told() {
    let store = both().await;
    let key = SigningKey::from_pem(&PRIVATE_KEY).unwrap();
    let listed = entries(&store);
    let (index, _) = AdbIndex::new("3.22/main", &listed);
    let other = PayloadDigest::of(b"another index");
    let schema = alpinist_apk::adb::container::Schema::Index;
    let wrong = AdbSignature::sign(&key, schema, &other, &mut OsRng).unwrap();
    let sealed = index.seal(&index.payload().unwrap(), &[wrong], []).unwrap();
    for object in [ADB, ALIAS] {
        put(&store, object, sealed.clone()).await;
    }
    let message = format!("the signature by {KEY_NAME} is wrong");
    assert_eq!(problems(&store).await, [problem("Packages.adb", &message, Remedy::Sign)]);
}

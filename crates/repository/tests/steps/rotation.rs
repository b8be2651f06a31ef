//! One key replaces another.

use std::{sync::LazyLock, time::Duration};

use alpinist_apk::{
    index_archive::IndexArchive,
    key::{SigningKey, VerifyingKey},
};
use alpinist_repository::{
    failure::FailureKind,
    memory::MemoryStore,
    message::{Reindex, Target},
};
use rsa::{RsaPrivateKey, pkcs8::EncodePrivateKey as _};
use rstest::{Context, rstest};

use crate::{
    common::PRIVATE_KEY,
    support::{
        INDEX, KEY_NAME, Keys, Second, execute, execute_target, execute_with, key, package,
        private_key, publish, target,
    },
};

const NEW_NAME: &str = "ops@example.com-6a000000.rsa.pub";
static NEW_KEY: LazyLock<String> = LazyLock::new(private_key);

/// What a key service signs, if the key is in one.
type Remote = Option<fn([u8; 32]) -> [u8; 32]>;

const HERE: Remote = None;
const REMOTE: Remote = Some(|digest| digest);
const FAULTY_REMOTE: Remote = Some(|_| [0; 32]);

fn second(name: &str, private_key: &str, remote: Remote) -> Keys {
    let second = Second { name: name.to_owned(), private_key: private_key.to_owned(), remote };
    Keys { second: Some(second), ..Keys::good() }
}

fn public(private_key: &str) -> VerifyingKey {
    SigningKey::from_pem(private_key).unwrap().verifying_key()
}

/// Returns whether clients with only the old key, and those with only the new one, accept the
/// index.
fn accepts(store: &MemoryStore) -> [bool; 2] {
    let bytes = store.content(INDEX).unwrap();
    let index = IndexArchive::read(&bytes).unwrap();
    [(KEY_NAME, &*PRIVATE_KEY), (NEW_NAME, &*NEW_KEY)]
        .map(|(name, key)| index.is_signed_by(&name.parse().unwrap(), &public(key)))
}

async fn one_package() -> MemoryStore {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "").await;
    store
}

async fn sign_again(store: &MemoryStore, keys: &Keys) {
    let reindex = Reindex { run: "run".to_owned(), only_stale: false, sign: true };
    let target = Target { reindex: Some(reindex), ..target(INDEX) };
    execute_target(store, keys, target).await.unwrap();
}

#[tokio::test]
async fn signing_again_hides_no_package_that_nobody_has_inspected() {
    let store = one_package().await;
    for key in store.keys() {
        if key.starts_with(".alpinist/") || key.ends_with(".index") {
            store.remove(&key);
        }
    }
    store.upload(INDEX, "garbage");
    store.pass(Duration::from_mins(10));
    let reindex = Reindex { run: "run".to_owned(), only_stale: false, sign: true };
    let target = Target { reindex: Some(reindex), ..target(INDEX) };
    let failed = execute_target(&store, &Keys::good(), target).await.unwrap_err();
    assert_eq!(failed.error, FailureKind::Incomplete.name(), "{failed:?}");
    assert_eq!(store.content(INDEX).unwrap(), "garbage");
}

#[rstest]
#[tokio::test]
async fn two_keys_sign_until_the_old_one_is_dropped(#[values(HERE, REMOTE)] remote: Remote) {
    let store = one_package().await;
    assert_eq!(accepts(&store), [true, false]);
    let both = second(NEW_NAME, &NEW_KEY, remote);
    execute_with(&store, &both, &key("a-1-r0")).await.unwrap();
    assert_eq!(accepts(&store), [true, false], "the index is right, and stays");
    sign_again(&store, &both).await;
    assert_eq!(accepts(&store), [true, true]);
    let published = String::from_utf8(store.content(NEW_NAME).unwrap().to_vec()).unwrap();
    assert_eq!(VerifyingKey::from_pem(&published).unwrap(), public(&NEW_KEY));

    let new = Keys { private_key: Some(NEW_KEY.clone()), name: NEW_NAME.to_owned(), second: None };
    store.upload(&key("b-1-r0"), package("b", "1-r0", ""));
    execute_with(&store, &new, &key("b-1-r0")).await.unwrap();
    assert_eq!(accepts(&store), [false, true]);
}

#[tokio::test]
async fn nothing_is_signed_again_where_there_is_no_index() {
    let store = MemoryStore::default();
    sign_again(&store, &Keys::good()).await;
    assert_eq!(store.content(INDEX), None);
    assert!(!store.keys().iter().any(|key| key.starts_with(".alpinist/reindex/")), "nor reported");
}

#[rstest]
#[case::same_name(second(KEY_NAME, &NEW_KEY, HERE))]
#[case::no_key(second(NEW_NAME, "garbage", HERE))]
#[case::no_name(second("/", &NEW_KEY, HERE))]
#[case::small_remote_key(second(NEW_NAME, &small_key(), REMOTE))]
#[case::faulty_remote_key(second(NEW_NAME, &NEW_KEY, FAULTY_REMOTE))]
#[tokio::test]
async fn a_second_key_that_can_t_be_used_publishes_nothing(
    #[context] context: Context,
    #[case] keys: Keys,
) {
    let store = one_package().await;
    let index = store.content(INDEX);
    store.upload(&key("b-1-r0"), package("b", "1-r0", ""));
    let failure = execute_with(&store, &keys, &key("b-1-r0")).await.unwrap_err();
    assert!(failure.is(FailureKind::Misconfigured), "{failure:?}");
    insta::assert_snapshot!(context.description.unwrap(), failure.cause);
    assert_eq!(store.content(INDEX), index);
    execute(&store, &key("b-1-r0")).await.unwrap();
    assert_ne!(store.content(INDEX), index);
}

fn small_key() -> String {
    let key = RsaPrivateKey::new(&mut rand_core::OsRng, 1024).unwrap();
    key.to_pkcs8_pem(rsa::pkcs8::LineEnding::LF).unwrap().to_string()
}

#[tokio::test]
async fn the_same_key_in_both_places_signs_once() {
    let store = one_package().await;
    let before = store.content(INDEX);
    sign_again(&store, &second(KEY_NAME, &PRIVATE_KEY, HERE)).await;
    assert_eq!(store.content(INDEX), before);
}

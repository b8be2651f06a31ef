//! Whose packages are listed: each setting with each kind of signature.

use std::sync::LazyLock;

use alpinist_apk::{key::SigningKey, key_name::KeyName, signature::Algorithm};
use alpinist_repository::{
    memory::{MemoryStore, Request},
    message::{Accepted, Found},
    policy::Policy,
    step,
    trust::{PackageSignatures, SignedBy},
};
use alpinist_samples::gzip::streams;
use rand_core::OsRng;
use rstest::rstest;

use crate::support::{KEY_NAME, key, package, private_key, target, with_signatures};

const BUILDER: &str = "builder@example.com-5f3c2a1b.rsa.pub";
const STRANGER: &str = "stranger@example.com-5f3c2a1b.rsa.pub";
const TRUSTED: &str = ".alpinist/trusted-keys/builder@example.com-5f3c2a1b.rsa.pub";

/// The keys of a trusted builder, and of somebody else.
static KEYS: LazyLock<[SigningKey; 2]> =
    LazyLock::new(|| [(); 2].map(|()| SigningKey::from_pem(&private_key()).unwrap()));

fn pem(key: &SigningKey) -> String {
    key.verifying_key().to_pem().unwrap()
}

/// A package with a signature by each of these signers.
fn signed(signers: &[(&str, &SigningKey)]) -> Vec<u8> {
    let package = package("a", "1-r0", "");
    let control = streams(&package)[0].0;
    let sign = |key: &SigningKey| key.sign(Algorithm::RsaSha256, control, &mut OsRng);
    let signatures: Vec<_> = signers
        .iter()
        .map(|(name, key)| (format!("RSA256.{name}"), sign(key).unwrap().into_bytes()))
        .collect();
    let signatures: Vec<_> = signatures.iter().map(|(name, bytes)| (&**name, &**bytes)).collect();
    with_signatures(&package, &signatures)
}

async fn extract(
    store: &MemoryStore,
    signatures: PackageSignatures,
    package: Vec<u8>,
) -> Result<Option<SignedBy>, String> {
    store.upload(&key("a-1-r0"), package);
    let policy = Policy { signatures, ..Policy::default() };
    match step::extract(store, policy, target(&key("a-1-r0"))).await.unwrap().found {
        Found::Accepted(accepted) => {
            let Accepted { signed_by, .. } = *accepted;
            Ok(signed_by)
        }
        Found::Rejected(rejection) => Err(rejection.cause),
        found => panic!("{found:?}"),
    }
}

fn name(name: &str) -> KeyName {
    name.parse().unwrap()
}

#[rstest]
#[tokio::test]
async fn a_right_signature_by_a_trusted_key_is_noted(
    #[values(PackageSignatures::Verify, PackageSignatures::Require)] policy: PackageSignatures,
    #[values(TRUSTED, BUILDER)] place: &str,
) {
    let [builder, stranger] = &*KEYS;
    let store = MemoryStore::default();
    store.upload(place, pem(builder));
    for signers in [
        vec![(BUILDER, builder)],
        vec![(STRANGER, stranger), (BUILDER, builder)],
        vec![(BUILDER, builder), (BUILDER, stranger)],
    ] {
        let signed_by = extract(&store, policy, signed(&signers)).await.unwrap();
        assert_eq!(signed_by, Some(SignedBy::Trusted(name(BUILDER))));
    }
}

#[rstest]
#[tokio::test]
async fn a_wrong_signature_under_the_name_of_a_trusted_key_is_rejected(
    #[values(PackageSignatures::Verify, PackageSignatures::Require)] policy: PackageSignatures,
) {
    let [builder, stranger] = &*KEYS;
    let store = MemoryStore::default();
    store.upload(TRUSTED, pem(builder));
    // A wrong signature is final even if a right one follows, as in apk.
    for signers in [vec![(BUILDER, stranger)], vec![(BUILDER, stranger), (BUILDER, builder)]] {
        let cause = extract(&store, policy, signed(&signers)).await.unwrap_err();
        insta::assert_snapshot!("wrong_signature", cause);
    }
    // A key in `.alpinist/` takes precedence over one that is published under the same name.
    store.upload(BUILDER, pem(stranger));
    extract(&store, policy, signed(&[(BUILDER, stranger)])).await.unwrap_err();
}

#[tokio::test]
async fn a_key_with_a_name_of_another_kind_is_never_a_trusted_one() {
    let [builder, stranger] = &*KEYS;
    let store = MemoryStore::default();
    store.upload(TRUSTED, pem(builder));
    store.upload(".alpinist/trusted-keys/mykey.key", pem(stranger));
    store.upload("mykey.key", pem(stranger));
    let by_other = || signed(&[("mykey.key", stranger)]);
    let signed_by = extract(&store, PackageSignatures::Verify, by_other()).await.unwrap();
    assert_eq!(signed_by, Some(SignedBy::Nobody));
    extract(&store, PackageSignatures::Require, by_other()).await.unwrap_err();
    let signers = signed(&[("mykey.key", stranger), (BUILDER, builder)]);
    let signed_by = extract(&store, PackageSignatures::Require, signers).await.unwrap();
    assert_eq!(signed_by, Some(SignedBy::Trusted(name(BUILDER))));
}

#[tokio::test]
async fn whom_nobody_trusts_is_noted_or_rejected() {
    let [_, stranger] = &*KEYS;
    let store = MemoryStore::default();
    let by_stranger = || signed(&[(STRANGER, stranger), (STRANGER, stranger), (BUILDER, stranger)]);
    let signed_by = extract(&store, PackageSignatures::Verify, by_stranger()).await.unwrap();
    assert_eq!(signed_by, Some(SignedBy::Unknown(vec![STRANGER.to_owned(), BUILDER.to_owned()])));
    let cause = extract(&store, PackageSignatures::Require, by_stranger()).await.unwrap_err();
    insta::assert_snapshot!("by_strangers", cause);

    let by_nobody = || package("a", "1-r0", "");
    let signed_by = extract(&store, PackageSignatures::Verify, by_nobody()).await.unwrap();
    assert_eq!(signed_by, Some(SignedBy::Nobody));
    let cause = extract(&store, PackageSignatures::Require, by_nobody()).await.unwrap_err();
    insta::assert_snapshot!("by_nobody", cause);
}

#[rstest]
#[case::garbage("garbage".to_owned())]
#[case::too_large("x".repeat(70_000))]
#[tokio::test]
async fn an_object_that_is_no_key_makes_nobody_trusted(#[case] content: String) {
    let [builder, _] = &*KEYS;
    let store = MemoryStore::default();
    store.upload(TRUSTED, content);
    let package = signed(&[(BUILDER, builder)]);
    let signed_by = extract(&store, PackageSignatures::Verify, package.clone()).await.unwrap();
    assert_eq!(signed_by, Some(SignedBy::Unknown(vec![BUILDER.to_owned()])));
    store.upload(BUILDER, pem(builder));
    let signed_by = extract(&store, PackageSignatures::Verify, package).await.unwrap();
    assert_eq!(signed_by, Some(SignedBy::Trusted(name(BUILDER))));
}

#[tokio::test]
async fn signatures_are_not_looked_at_if_nobody_cares() {
    let [builder, stranger] = &*KEYS;
    let store = MemoryStore::default();
    store.upload(TRUSTED, pem(builder));
    store.before_requests(|_, request| {
        assert!(matches!(request, Request::Get(key) if key.ends_with(".apk")), "{request:?}");
        Ok(())
    });
    let package = signed(&[(BUILDER, stranger)]);
    assert_eq!(extract(&store, PackageSignatures::Ignore, package).await, Ok(None));
}

#[tokio::test]
async fn a_package_of_many_signers_costs_few_requests() {
    let [builder, stranger] = &*KEYS;
    let store = MemoryStore::default();
    store.upload(TRUSTED, pem(builder));
    let names: Vec<_> = (0..40).map(|number| format!("s{number}-5f3c2a1b.rsa.pub")).collect();
    let mut signers: Vec<_> = names.iter().map(|name| (&**name, stranger)).collect();
    signers.push((BUILDER, builder));
    let before = store.requests();
    extract(&store, PackageSignatures::Require, signed(&signers)).await.unwrap_err();
    // Requests for the package, for each key in both places, and for an earlier acceptance.
    assert_eq!(store.requests() - before, 1 + 2 * 16 + 1);
}

#[tokio::test]
async fn the_key_of_the_repository_is_trusted() {
    let [own, _] = &*KEYS;
    let store = MemoryStore::default();
    store.upload(KEY_NAME, pem(own));
    let signed_by = extract(&store, PackageSignatures::Require, signed(&[(KEY_NAME, own)])).await;
    assert_eq!(signed_by, Ok(Some(SignedBy::Trusted(name(KEY_NAME)))));
}

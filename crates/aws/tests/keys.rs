//! The adapter of SSM and KMS.

#![cfg(test)]

use alpinist_aws::keys::{AwsKeyStore, SigningKeys};
use alpinist_repository::port::{KeyMaterial, KeyStore as _, KeyStoreError, Scheme, StoreError};
use aws_sdk_kms::{
    operation::{get_public_key::GetPublicKeyOutput, sign::SignOutput},
    primitives::Blob,
    types::{MessageType, SigningAlgorithmSpec},
};
use aws_sdk_s3::primitives::SdkBody;
use aws_sdk_ssm::{
    Client, config::http::HttpResponse, operation::get_parameters::GetParametersOutput,
    types::Parameter,
};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};

const ARN: &str = "arn:aws:kms:eu-central-1:000000000000:key/7";

fn key_store(ssm: &Rule, kms: &[&Rule]) -> AwsKeyStore {
    let arn = (!kms.is_empty()).then(|| ARN.to_owned());
    let keys = SigningKeys::new("/apk/rsa".to_owned(), "/apk/key".to_owned(), arn);
    let ssm = mock_client!(aws_sdk_ssm, RuleMode::MatchAny, [ssm]);
    let kms = (!kms.is_empty()).then(|| mock_client!(aws_sdk_kms, RuleMode::MatchAny, kms));
    AwsKeyStore::new(ssm, kms, keys)
}

/// A parameter store that has only these.
fn parameters(there: &'static [(&str, &str)]) -> Rule {
    mock!(Client::get_parameters)
        .match_requests(|request| request.with_decryption() == Some(true))
        .then_output(move || {
            let parameter = |(name, value): &(&str, &str)| {
                Parameter::builder().name(*name).value(*value).build()
            };
            let found = there.iter().map(parameter).collect();
            GetParametersOutput::builder().set_parameters(Some(found)).build()
        })
}

async fn read(there: &'static [(&str, &str)]) -> Result<Vec<(String, String)>, KeyStoreError> {
    let kept = key_store(&parameters(there), &[]).keys().await?;
    assert!(!format!("{kept:?}").contains("PEM"));
    let texts = kept.into_iter().map(|kept| match kept.material {
        KeyMaterial::Pem { pem, .. } => (kept.name, String::clone(&pem)),
        KeyMaterial::Remote { key, .. } => (kept.name, key),
    });
    Ok(texts.collect())
}

const FIRST: [(&str, &str); 2] = [("/apk/key", "a.rsa.pub"), ("/apk/rsa", "PEM 1")];
const SECOND: [(&str, &str); 2] = [("/apk/key-2", "b.rsa.pub"), ("/apk/rsa-2", "PEM 2")];

#[tokio::test]
async fn a_place_counts_if_it_has_a_name() {
    let a = ("a.rsa.pub".to_owned(), "PEM 1".to_owned());
    let b = ("b.rsa.pub".to_owned(), "PEM 2".to_owned());
    assert_eq!(
        read(&[SECOND[0], FIRST[0], FIRST[1], SECOND[1]]).await.unwrap(),
        [a.clone(), b.clone()]
    );
    assert_eq!(read(&[FIRST[0], FIRST[1], SECOND[1]]).await.unwrap(), [a]);
    assert_eq!(read(&[FIRST[1], SECOND[0], SECOND[1]]).await.unwrap(), [b]);
}

#[tokio::test]
async fn a_missing_parameter_is_named() {
    for (there, expected) in [
        (&[][..], "/apk/key"),
        (&[FIRST[1], SECOND[1]], "/apk/key"),
        (&[FIRST[0]], "/apk/rsa"),
        (&[FIRST[0], FIRST[1], SECOND[0]], "/apk/rsa-2"),
    ] {
        let error = read(there).await.unwrap_err();
        let is_named =
            matches!(&error, KeyStoreError::Missing { parameter, .. } if parameter == expected);
        assert!(is_named, "{expected}: {error:?}");
    }
}

#[tokio::test]
async fn a_denied_parameter_is_a_denial() {
    let rule = mock!(Client::get_parameters).then_http_response(|| {
        let body = r#"{"__type":"AccessDeniedException","Message":"no"}"#;
        HttpResponse::new(400.try_into().unwrap(), SdkBody::from(body))
    });
    let error = key_store(&rule, &[]).keys().await.unwrap_err();
    assert!(matches!(error, KeyStoreError::Store(StoreError::Denied { .. })), "{error:?}");
}

#[tokio::test]
async fn a_key_in_kms_takes_the_first_place() {
    let public = mock!(aws_sdk_kms::Client::get_public_key)
        .match_requests(|request| request.key_id() == Some(ARN))
        .then_output(|| GetPublicKeyOutput::builder().public_key(Blob::new(*b"DER")).build());
    let sign = mock!(aws_sdk_kms::Client::sign)
        .match_requests(|request| {
            request.key_id() == Some(ARN)
                && request.message_type() == Some(&MessageType::Digest)
                && request.signing_algorithm() == Some(&SigningAlgorithmSpec::RsassaPkcs1V15Sha256)
                && request.message().is_some_and(|message| message.as_ref() == [7; 32])
        })
        .then_output(|| SignOutput::builder().signature(Blob::new(*b"signature")).build());
    let ssm = parameters(&[("/apk/key", "a.rsa.pub"), SECOND[0], SECOND[1]]);
    let store = key_store(&ssm, &[&public, &sign]);
    let kept = store.keys().await.unwrap();
    let names: Vec<_> = kept.iter().map(|kept| kept.name.as_str()).collect();
    assert_eq!(names, ["a.rsa.pub", "b.rsa.pub"]);
    let KeyMaterial::Remote { key, public_key } = &kept[0].material else { panic!("{kept:?}") };
    assert_eq!((key.as_str(), public_key.as_slice()), (ARN, b"DER".as_slice()));
    assert_eq!(store.sign(ARN, Scheme::RsaSha256, &[7; 32]).await.unwrap(), b"signature");
}

#[tokio::test]
async fn a_key_that_kms_does_not_use_is_no_passing_failure() {
    let disabled = mock!(aws_sdk_kms::Client::get_public_key).then_http_response(|| {
        let body = r#"{"__type":"DisabledException","message":"it is disabled"}"#;
        HttpResponse::new(400.try_into().unwrap(), SdkBody::from(body))
    });
    let ssm = parameters(&[("/apk/key", "a.rsa.pub")]);
    let error = key_store(&ssm, &[&disabled]).keys().await.unwrap_err();
    assert!(matches!(&error, KeyStoreError::Unusable { key, .. } if key == ARN), "{error:?}");
}

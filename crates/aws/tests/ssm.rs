//! The adapter of SSM.

#![cfg(test)]

use alpinist_aws::{config::KeyParameters, ssm::SsmKeyStore};
use alpinist_repository::port::{KeyStore as _, KeyStoreError, StoreError};
use aws_sdk_s3::primitives::SdkBody;
use aws_sdk_ssm::{
    Client, config::http::HttpResponse, operation::get_parameters::GetParametersOutput,
    types::Parameter,
};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};

fn key_store(rule: &Rule) -> SsmKeyStore {
    let client = mock_client!(aws_sdk_ssm, RuleMode::MatchAny, [rule]);
    let parameters = KeyParameters { private_key: "/apk/rsa".into(), key_name: "/apk/key".into() };
    SsmKeyStore::new(client, parameters)
}

fn parameter(name: &str, value: &str) -> Parameter {
    Parameter::builder().name(name).value(value).build()
}

#[tokio::test]
async fn both_parameters_come_decrypted_from_one_request() {
    let rule = mock!(Client::get_parameters)
        .match_requests(|request| {
            request.with_decryption() == Some(true)
                && request.names() == ["/apk/rsa".to_owned(), "/apk/key".to_owned()]
        })
        .then_output(|| {
            GetParametersOutput::builder()
                .parameters(parameter("/apk/key", "a.rsa.pub"))
                .parameters(parameter("/apk/rsa", "PEM"))
                .build()
        });
    let key = key_store(&rule).key().await.unwrap();
    assert_eq!((key.private_key.as_str(), key.name.as_str()), ("PEM", "a.rsa.pub"));
    assert!(!format!("{key:?}").contains("PEM"));
}

#[tokio::test]
async fn a_missing_parameter_is_named() {
    let rule = mock!(Client::get_parameters).then_output(|| {
        GetParametersOutput::builder()
            .parameters(parameter("/apk/rsa", "PEM"))
            .invalid_parameters("/apk/key")
            .build()
    });
    let error = key_store(&rule).key().await.unwrap_err();
    assert!(matches!(&error, KeyStoreError::Missing { parameter } if parameter == "/apk/key"));
}

#[tokio::test]
async fn a_denied_parameter_is_a_denial() {
    let rule = mock!(Client::get_parameters).then_http_response(|| {
        let body = r#"{"__type":"AccessDeniedException","Message":"no"}"#;
        HttpResponse::new(400.try_into().unwrap(), SdkBody::from(body))
    });
    let error = key_store(&rule).key().await.unwrap_err();
    assert!(matches!(error, KeyStoreError::Store(StoreError::Denied { .. })), "{error:?}");
}

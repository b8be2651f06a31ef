//! What the errors of AWS become: each error that botocore's models list for an operation that we
//! use, and others that are documented.

use std::{collections::BTreeSet, fs, process::Command};

use alpinist_aws::{
    keys::{self, AwsKeyStore, SigningKeys},
    s3::S3Store,
};
use alpinist_executions::{Executions, starter::SfnStarter};
use alpinist_repository::{
    failure::Failure,
    port::{
        Attributes, ETag, KeyStore as _, KeyStoreError, NewObject, ObjectStore as _, Precondition,
        Scheme, Starter as _, StoreError,
    },
};
use alpinist_tests::{Tools, command, workspace};
use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// Errors that are documented but in no model: operations, code and status.
const DOCUMENTED: [(&str, &str, u16); 27] = [
    ("s3:HeadObject", "", 400),
    ("s3:HeadObject", "", 403),
    ("s3:GetObject", "AccessDenied", 403),
    ("s3:GetObject", "ExpiredToken", 400),
    ("s3:GetObject", "InternalError", 500),
    ("s3:GetObject", "InvalidRequest", 400),
    ("s3:GetObject", "KMS.DisabledException", 400),
    ("s3:GetObject", "NoSuchBucket", 404),
    ("s3:GetObject", "NotImplemented", 501),
    ("s3:GetObject", "PermanentRedirect", 301),
    ("s3:GetObject", "RequestTimeout", 400),
    ("s3:GetObject", "ServiceUnavailable", 503),
    ("s3:GetObject", "SlowDown", 503),
    ("s3:PutObject", "ConditionalRequestConflict", 409),
    ("s3:PutObject", "NoSuchKey", 404),
    ("s3:PutObject", "NotImplemented", 501),
    ("s3:PutObject", "OperationAborted", 409),
    ("s3:PutObject", "PreconditionFailed", 412),
    ("s3:DeleteObject", "NoSuchKey", 404),
    ("s3:DeleteObject", "NotImplemented", 501),
    ("s3:DeleteObject", "PreconditionFailed", 412),
    ("ssm:GetParameters", "AccessDeniedException", 400),
    ("ssm:GetParameters", "ThrottlingException", 400),
    ("kms:Sign", "AccessDeniedException", 400),
    ("stepfunctions:ListExecutions", "AccessDeniedException", 400),
    ("stepfunctions:ListExecutions", "ThrottlingException", 400),
    ("stepfunctions:ListExecutions", "UnrecognizedClientException", 403),
];

const OPERATIONS: [&str; 14] = [
    "s3:HeadObject",
    "s3:GetObject",
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:ListObjectsV2",
    "s3:CopyObject",
    "ssm:GetParameters",
    "kms:Sign",
    "kms:GetPublicKey",
    "stepfunctions:StartExecution",
    "stepfunctions:ListExecutions",
    "stepfunctions:DescribeExecution",
    "stepfunctions:GetExecutionHistory",
    "stepfunctions:RedriveExecution",
];

/// The errors of the models: operation, code and status.
fn modelled() -> Vec<(String, String, u16)> {
    let mut python = Command::new(Tools::install().unwrap().programs().join("python"));
    python.arg(workspace::root().join("tests/tools/modelled_errors.py")).args(OPERATIONS);
    let output = command::output(&mut python).unwrap_or_else(|error| panic!("{}", error.chain()));
    let found: Vec<(String, String, String, u16)> = serde_json::from_slice(&output).unwrap();
    let joined = found
        .into_iter()
        .map(|(service, operation, code, status)| (format!("{service}:{operation}"), code, status));
    joined.collect()
}

/// Serves the same response to all requests, and returns the endpoint.
async fn answering(operation: &str, code: &str, status: u16) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let body = if operation.starts_with("s3:") {
        format!("<Error><Code>{code}</Code><Message>said</Message></Error>")
    } else {
        json!({"__type": code, "message": "said"}).to_string()
    };
    let body = if operation == "s3:HeadObject" { String::new() } else { body };
    let answer = format!(
        "HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = vec![0; 65536];
            let _ = connection.read(&mut request).await;
            let _ = connection.write_all(answer.as_bytes()).await;
            let _ = connection.shutdown().await;
        }
    });
    endpoint
}

/// What one of our operations makes of this response.
async fn outcome(operation: &str, code: &str, status: u16) -> String {
    let endpoint = answering(operation, code, status).await;
    let credentials = Credentials::new("AKIAEXAMPLE", "secret", None, None, "test");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .retry_config(RetryConfig::disabled())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(endpoint)
        .build();
    let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
    let store = S3Store::new(aws_sdk_s3::Client::from_conf(s3), "bucket");
    let key_store = |kms: Option<&str>| {
        let kms = kms.map(str::to_owned);
        let keys = SigningKeys::new("/apk/rsa".to_owned(), "/apk/key".to_owned(), kms);
        let client = aws_sdk_kms::Client::new(&config);
        AwsKeyStore::new(aws_sdk_ssm::Client::new(&config), Some(client), keys)
    };
    let executions = Executions::new(aws_sdk_sfn::Client::new(&config));
    let (machine, etag) = ("arn:aws:states:eu-central-1:1:stateMachine:m", ETag("\"1\"".into()));
    let object = NewObject { bytes: vec![1], content_type: "x/y", attributes: Attributes::new() };
    let result: Result<(), Failure> = match operation {
        "s3:HeadObject" => store.head("k").await.map(drop).map_err(Failure::from),
        "s3:GetObject" => store.get("k").await.map(drop).map_err(Failure::from),
        "s3:PutObject" => {
            let written = store.put("k", object, Precondition::Unchanged(etag)).await;
            written.map(drop).map_err(Failure::from)
        }
        "s3:DeleteObject" => store.delete("k", &etag).await.map_err(Failure::from),
        "s3:ListObjectsV2" => store.list("k/", &[]).await.map(drop).map_err(Failure::from),
        "s3:CopyObject" => {
            store.copy("k", &etag, "l", Attributes::new()).await.map_err(Failure::from)
        }
        "ssm:GetParameters" => key_store(None).keys().await.map(drop).map_err(Failure::Key),
        "kms:Sign" => {
            let signed = key_store(Some("k")).sign("k", Scheme::RsaSha256, &[0; 32]).await;
            signed.map(drop).map_err(Failure::Key)
        }
        "kms:GetPublicKey" => {
            let kms = aws_sdk_kms::Client::new(&config);
            keys::public_key(&kms, "k").await.map(drop).map_err(Failure::Key)
        }
        "stepfunctions:StartExecution" => {
            let sfn = aws_sdk_sfn::Client::new(&config);
            let starter = SfnStarter::new(sfn, "b".into(), machine.into(), machine.into());
            starter.start("k").await.map_err(Failure::from)
        }
        "stepfunctions:ListExecutions" => {
            executions.list(machine, 0).await.map(drop).map_err(Failure::from)
        }
        "stepfunctions:DescribeExecution" => {
            executions.find(machine).await.map(drop).map_err(Failure::from)
        }
        "stepfunctions:GetExecutionHistory" => {
            executions.visits(machine).await.map(drop).map_err(Failure::from)
        }
        "stepfunctions:RedriveExecution" => {
            executions.redrive(machine).await.map_err(Failure::from)
        }
        other => panic!("{other}"),
    };
    match result {
        Ok(()) => "nothing there".to_owned(),
        Err(failure) => {
            let has_code = code.is_empty() || failure.report().contains(code);
            let is_told = matches!(
                failure,
                Failure::Store(StoreError::Permanent { .. } | StoreError::Unavailable { .. })
                    | Failure::Key(KeyStoreError::Unusable { .. })
            );
            assert!(has_code || !is_told, "{code} is not in: {}", failure.report());
            failure.kind().name().trim_start_matches("Alpinist.").to_owned()
        }
    }
}

#[tokio::test]
async fn each_error_of_aws_becomes_what_it_is() {
    let documented =
        DOCUMENTED.map(|(operation, code, status)| (operation.into(), code.into(), status));
    let mut found = Vec::new();
    for (operation, code, status) in modelled().into_iter().chain(documented) {
        let outcome = outcome(&operation, &code, status).await;
        found.push(format!("{operation} {code} {status}: {outcome}"));
    }
    found.sort();
    let expected = fs::read_to_string(workspace::root().join("tests/deployment/errors.txt"));
    let text = found.join("\n") + "\n";
    assert!(text == expected.unwrap_or_default(), "errors.txt is to be this:\n{text}");
}

#[test]
fn each_code_that_is_matched_is_one_that_aws_answers() {
    let modelled = modelled().into_iter().map(|(_, code, _)| code);
    let documented = DOCUMENTED.iter().map(|(_, code, _)| (*code).to_owned());
    // Errors of operations that only the command uses, or of all services:
    // https://docs.aws.amazon.com.
    let others = ["ExpiredTokenException", "NotAuthorized", "ParameterNotFound"];
    let of_readers =
        ["ConflictException", "ResourceNotFoundException", "ServiceQuotaExceededException"];
    let others =
        [&others[..], &["ParameterAlreadyExists", "ValidationError"], &of_readers].concat();
    let known: BTreeSet<_> =
        modelled.chain(documented).chain(others.iter().map(|code| (*code).to_owned())).collect();
    let directories = ["crates/aws/src", "crates/cli/src/aws", "crates/executions/src"];
    let files = directories.iter().flat_map(|it| fs::read_dir(workspace::root().join(it)).unwrap());
    for file in files {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for word in text.split('"').skip(1).step_by(2) {
            let is_code = word.len() > 8
                && word.chars().all(char::is_alphanumeric)
                && word.chars().next().is_some_and(char::is_uppercase)
                && [
                    "Exception",
                    "Error",
                    "Denied",
                    "Failed",
                    "Conflict",
                    "Exceeded",
                    "State",
                    "Redrivable",
                    "Exist",
                    "Exists",
                    "Found",
                    "Bucket",
                    "Token",
                    "Aborted",
                    "Authorized",
                ]
                .iter()
                .any(|end| word.ends_with(end));
            assert!(!is_code || known.contains(word), "{}: {word}", path.display());
        }
    }
}

#[test]
fn the_models_have_the_operations() {
    let operations: BTreeSet<_> = modelled().into_iter().map(|(operation, ..)| operation).collect();
    // No model lists an error for the deletion of an object.
    let others: Vec<_> = OPERATIONS.iter().filter(|name| !operations.contains(**name)).collect();
    assert_eq!(others, [&"s3:DeleteObject"]);
}

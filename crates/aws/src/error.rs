//! Converts errors of the SDK to errors of the ports.

use std::error::Error;

use alpinist_apk::text::chain;
use alpinist_repository::port::{Cause, StoreError};
use aws_runtime::retries::classifiers::{THROTTLING_ERRORS, TRANSIENT_ERRORS};
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

/// Codes of denied requests whose status is not 403: JSON protocols use 400.
const DENIED: [&str; 6] = [
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "KmsAccessDeniedException",
    "NotAuthorized",
    "UnrecognizedClientException",
];

/// Codes of transient errors, whatever the status, beyond those that the SDK knows: the models give
/// each error of KMS, SSM and Step Functions the status 400.
const PASSING: [&str; 7] = [
    "DependencyTimeoutException",
    "ExecutionLimitExceeded",
    "InternalServerError",
    "KMSInternalException",
    "KeyUnavailableException",
    "KmsThrottlingException",
    "OperationAborted",
];

/// Converts an error of the SDK to one of the ports, and keeps the service's code and message.
pub fn store_error<E>(key: &str, error: &SdkError<E, HttpResponse>) -> StoreError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let key = key.to_owned();
    let source = cause(error);
    if matches!(error.code(), Some("InvalidObjectState" | "ObjectNotInActiveTierError")) {
        return StoreError::Archived { key };
    }
    if status(error) == Some(403) || error.code().is_some_and(|code| DENIED.contains(&code)) {
        return StoreError::Denied { key, source };
    }
    if is_permanent(status(error), error.code()) {
        return StoreError::Permanent { key, source };
    }
    StoreError::Unavailable { key, source }
}

/// Returns whether the same request would fail in the same way each time.
fn is_permanent(status: Option<u16>, code: Option<&str>) -> bool {
    let passes = |code| {
        let lists = [THROTTLING_ERRORS, TRANSIENT_ERRORS, &PASSING];
        lists.iter().any(|list| list.contains(&code))
    };
    match status {
        _ if code.is_some_and(passes) => false,
        // Timeouts, conflicts and throttling are transient.
        Some(408 | 409 | 425 | 429) => false,
        // 301: the bucket is in another region. 501: `NotImplemented`.
        Some(301 | 400..=499 | 501) => true,
        _ => false,
    }
}

/// Returns the HTTP status of a response: all that S3 reports about a failed HEAD.
pub(crate) fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// Returns whether S3 reports that a precondition does not hold, or that a concurrent request was
/// faster.
pub(crate) fn is_conflict(code: Option<&str>) -> bool {
    matches!(code, Some("PreconditionFailed" | "ConditionalRequestConflict"))
}

fn cause<E>(error: &SdkError<E, HttpResponse>) -> Cause
where
    E: Error + ProvideErrorMetadata + 'static,
{
    match (error.code(), error.message(), status(error)) {
        (Some(code), Some(message), _) => format!("{code}: {message}").into(),
        (Some(code), None, _) => code.to_owned().into(),
        (None, _, Some(status @ 400..)) => format!("HTTP status {status}").into(),
        (None, ..) => chain(error).into(),
    }
}

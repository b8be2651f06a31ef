//! Errors of the SDK as errors of the ports.

use std::error::Error;

use alpinist_repository::{
    failure::chain,
    port::{Cause, StoreError},
};
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

/// Turns an error of the SDK into one of the ports, keeping what the service said of it.
pub(crate) fn store_error<E>(key: &str, error: &SdkError<E, HttpResponse>) -> StoreError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let key = key.to_owned();
    let source = cause(error);
    if error.code() == Some("InvalidObjectState") {
        return StoreError::Archived { key };
    }
    if status(error) == Some(403) || error.code() == Some("AccessDeniedException") {
        return StoreError::Denied { key, source };
    }
    StoreError::Unavailable { key, source }
}

/// Returns the HTTP status of an answer: all that S3 says to a HEAD.
pub(crate) fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// Tells whether S3 says that a precondition does not hold, or that a rival was faster.
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

//! The entry point of a function.

use alpinist_repository::{bug, failure::Failure};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use mimalloc::MiMalloc;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tracing::{error, warn};

/// The allocator of glibc fragments: the runtime sets `_X_AMZN_TRACE_ID` for each invocation, glibc keeps
/// each of these texts for good, and between them it finds no room for large buffers. 3,750 packages
/// took a process from 13 to 154 MiB (measured).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Serves invocations with `step` until the environment is shut down.
///
/// A failure becomes a diagnostic whose `errorType` is the name of its kind, which is what the
/// state machine matches, and whose `errorMessage` is the whole chain of causes. A panic is a failure, too.
///
/// # Errors
///
/// Those of the Lambda runtime's own interface.
pub async fn run<Request, Response>(
    step: impl AsyncFn(Request) -> Result<Response, Failure>,
) -> Result<(), lambda_runtime::Error>
where
    Request: DeserializeOwned,
    Response: Serialize,
{
    let step = &step;
    lambda_runtime::run(service_fn(async move |event: LambdaEvent<Value>| {
        let subject = subject(&event.payload);
        let outcome = match serde_json::from_value(event.payload) {
            // Boxed, or the compiler gives up on the depth of the whole.
            Ok(request) => Box::pin(guarded(subject, step(request))).await,
            Err(error) => {
                warn!(%error, "input is not understood");
                Err(Failure::InvalidInput)
            }
        };
        outcome.map_err(|failure| diagnostic(&failure))
    }))
    .await
}

/// Returns what a request is about: an object, or what a reindex is asked for.
fn subject(request: &Value) -> String {
    let places = ["/key", "/detail/object/key", "/prefix", "/run"];
    let subject = places.into_iter().find_map(|place| request.pointer(place)?.as_str());
    subject.unwrap_or("the input").to_owned()
}

/// Turns a panic of `step` into a failure.
async fn guarded<T>(
    subject: String,
    step: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let outcome = bug::caught(step).await;
    outcome.unwrap_or_else(|source| Err(Failure::Bug { subject, source }))
}

fn diagnostic(failure: &Failure) -> Diagnostic {
    let diagnostic = Diagnostic {
        error_type: failure.kind().name().to_owned(),
        error_message: failure.report(),
    };
    error!(error_type = diagnostic.error_type, "{}", diagnostic.error_message);
    diagnostic
}

#[cfg(test)]
mod tests {
    use alpinist_repository::port::StoreError;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_failure_that_names_the_object_and_asks_for_a_report() {
        let event = json!({"detail": {"bucket": {"name": "b"}, "object": {"key": "k"}}});
        let step = async |divisor: u32| Ok(1 / divisor);
        assert_eq!(guarded(subject(&event), step(1)).await.unwrap(), 1);
        let diagnostic = diagnostic(&guarded(subject(&event), step(0)).await.unwrap_err());
        assert_eq!(diagnostic.error_type, "Alpinist.Bug");
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            diagnostic.error_message,
            format!(
                "the step for k came to no end: Alpinist {version} panicked: attempt to divide by zero. \
                 {}",
                bug::REMEDY
            )
        );
    }

    #[test]
    fn the_subject_of_each_request_is_found() {
        let request = |request: Value| subject(&request);
        assert_eq!(request(json!({"bucket": "b", "key": "k", "found": "nothing"})), "k");
        assert_eq!(request(json!({"task": "survey", "bucket": "b", "prefix": "3.22/"})), "3.22/");
        assert_eq!(request(json!({"task": "report", "bucket": "b", "run": "r"})), "r");
        assert_eq!(request(json!({})), "the input");
    }

    #[test]
    fn a_diagnostic_has_the_kind_and_the_whole_chain() {
        let source = "AccessDenied: no".into();
        let failure = Failure::Store(StoreError::Denied { key: "k".into(), source });
        let diagnostic = diagnostic(&failure);
        assert_eq!(diagnostic.error_type, "Alpinist.AccessDenied");
        assert!(
            diagnostic.error_message.starts_with("access to k was denied: AccessDenied: no. Mend "),
            "{diagnostic:?}"
        );
    }
}

//! The entry point of a function.

use std::io;

use alpinist_repository::{failure::Failure, outcome::Response, panic};
use jiff::Timestamp;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::{debug, warn};

use crate::{
    config,
    telemetry::{Invocation, Metrics},
};

/// Serves invocations with `step` until the execution environment is shut down.
///
/// A failure becomes a diagnostic. Its `errorType` is the name of the kind of failure, which the
/// state machine matches; its `errorMessage` is the whole chain of causes, and what to do. A panic
/// counts as a failure. Each invocation writes one log line and its metrics.
///
/// # Errors
///
/// [`config::InvalidVariable`]; those of the Lambda runtime's interface.
pub async fn run<Request: DeserializeOwned, Answer: Response>(
    step: impl AsyncFn(Request) -> Result<Answer, Failure>,
) -> Result<(), lambda_runtime::Error> {
    let (step, metrics) = (&step, &Metrics::collect(config::stack()?)?);
    lambda_runtime::run(service_fn(async move |event: LambdaEvent<Value>| {
        let invocation = Invocation::of(&event.payload);
        let outcome = match serde_json::from_value(event.payload) {
            // Boxed, because the compiler would give up on so deep a type.
            Ok(request) => Box::pin(guarded(&invocation.subject, step(request))).await,
            Err(error) => {
                debug!(%error, "input is not understood");
                Err(Failure::InvalidInput)
            }
        };
        invocation.report(outcome.as_ref(), Timestamp::now());
        if let Err(error) = metrics.flush(io::stdout()) {
            warn!(%error, "metrics were not written");
        }
        outcome.map_err(|failure| diagnostic(&failure))
    }))
    .await
}

/// Turns a panic of `step` into a failure.
async fn guarded<T>(
    subject: &str,
    step: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let outcome = panic::catch(step).await;
    outcome.unwrap_or_else(|source| Err(Failure::Bug { subject: subject.to_owned(), source }))
}

fn diagnostic(failure: &Failure) -> Diagnostic {
    Diagnostic { error_type: failure.kind().name().to_owned(), error_message: failure.report() }
}

#[cfg(test)]
mod tests {
    use alpinist_repository::port::StoreError;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_failure_that_names_the_object_and_asks_for_a_report() {
        let step = async |divisor: u32| Ok(1 / divisor);
        assert_eq!(guarded("k", step(1)).await.unwrap(), 1);
        let diagnostic = diagnostic(&guarded("k", step(0)).await.unwrap_err());
        assert_eq!(diagnostic.error_type, "Alpinist.Bug");
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            diagnostic.error_message,
            format!(
                "internal error while processing k: Alpinist {version} panicked: attempt to divide by zero. \
                 {}",
                panic::REMEDY
            )
        );
    }

    #[test]
    fn a_diagnostic_has_the_kind_and_the_whole_chain() {
        let source = "AccessDenied: no".into();
        let failure = Failure::Store(StoreError::Denied { key: "k".into(), source });
        let diagnostic = diagnostic(&failure);
        assert_eq!(diagnostic.error_type, "Alpinist.AccessDenied");
        assert!(
            diagnostic.error_message.starts_with("access to k was denied: AccessDenied: no. Fix "),
            "{diagnostic:?}"
        );
    }
}

//! The entry point of a function.

use alpinist_repository::failure::Failure;
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
/// state machine matches, and whose `errorMessage` is the whole chain of causes.
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
        let outcome = match serde_json::from_value(event.payload) {
            // Boxed, or the compiler gives up on the depth of the whole.
            Ok(request) => Box::pin(step(request)).await,
            Err(error) => {
                warn!(%error, "input is not understood");
                Err(Failure::InvalidInput)
            }
        };
        outcome.map_err(|failure| diagnostic(&failure))
    }))
    .await
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

    use super::*;

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

//! What a function reports to `CloudWatch`: a log line for each invocation, and metrics.
//!
//! | metric | unit | what it says |
//! |---|---|---|
//! | `PackagesPublished` | count | uploads that the published index lists |
//! | `PackagesRemoved` | count | packages that the published index no longer lists |
//! | `PackagesRejected` | count, by `Rule` | packages that break a rule |
//! | `PackagesWarned` | count | accepted packages with a warning, such as an odd version |
//! | `PublishLatency` | milliseconds | from the upload or deletion to its publication |
//! | `UnpublishedAge` | seconds | since an upload or deletion that is not published yet |
//! | `Conflicts` | count | races lost to another execution, each of which costs a retry |
//! | `Requests` | count | requests to S3, including retries |
//!
//! All are in the namespace `Alpinist`, with the dimension `Stack`. They are written to standard
//! output in the [embedded metric format], from which `CloudWatch` takes them without a request.
//!
//! [embedded metric format]:
//! https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html

use std::io::{self, Write};

use alpinist_apk::text::escaped;
use alpinist_repository::{
    failure::{Failure, FailureKind},
    outcome::{ChangeState, Response},
};
use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextRef,
    },
    error::BoxError,
};
use jiff::{SignedDuration, Timestamp};
use lambda_runtime::tracing::subscriber::{
    self, filter::Targets, fmt::MakeWriter, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};
use metrics::{Unit, counter, describe_histogram, histogram};
use metrics_cloudwatch_embedded::{Builder, Collector};
use serde_json::Value;
use tracing::{Subscriber, error, info, level_filters::LevelFilter, warn};

use crate::config;

/// The log target under which the runtime reports each failure of a step as an error. We report
/// failures and panics ourselves, because not every failure is an error: a lost race is not.
const FAILURES_OF_THE_RUNTIME: &str = "lambda_runtime::layers::panic";

/// Starts the log of this process: a line of JSON for each event, on standard output.
pub fn start_log() {
    log(config::log_level(), io::stdout).init();
}

fn log<W>(level: LevelFilter, out: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = Targets::new().with_default(level);
    let filter = filter.with_target(FAILURES_OF_THE_RUNTIME, LevelFilter::OFF);
    let log = subscriber::fmt().json().with_target(false).without_time().with_span_list(false);
    log.with_max_level(level).with_writer(out).finish().with(filter)
}

/// The metrics of this process.
#[expect(missing_debug_implementations, reason = "the collector has none")]
pub struct Metrics {
    collector: &'static Collector,
}

impl Metrics {
    /// Starts to collect metrics for the stack of this name.
    ///
    /// # Errors
    ///
    /// If metrics are already being collected.
    pub fn collect(stack: String) -> Result<Self, lambda_runtime::Error> {
        let builder =
            Builder::new().cloudwatch_namespace("Alpinist").with_dimension("Stack", stack);
        let collector = builder.init()?;
        describe_histogram!("PublishLatency", Unit::Milliseconds, "");
        describe_histogram!("UnpublishedAge", Unit::Seconds, "");
        Ok(Self { collector })
    }

    /// Writes the metrics that were collected since the last call.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn flush(&self, out: impl Write) -> io::Result<()> {
        self.collector.flush(out)
    }
}

/// What an invocation is about.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The key of an object, or the prefix or run of a reindex, escaped for messages.
    pub subject: String,
    /// When the change that the execution handles was made.
    changed: Option<Timestamp>,
}

impl Invocation {
    /// Reads what a request is about from its payload, which is not validated.
    pub fn of(request: &Value) -> Self {
        let text = |place| request.pointer(place).and_then(Value::as_str);
        let places = ["/key", "/detail/object/key", "/prefix", "/run"];
        Self {
            subject: escaped(places.into_iter().find_map(text).unwrap_or("the input")),
            changed: text("/time").and_then(|time| time.parse().ok()),
        }
    }

    /// Logs what a step did, in one line, and counts it.
    pub fn report(&self, outcome: Result<&impl Response, &Failure>, now: Timestamp) {
        let change = match outcome {
            Ok(response) => self.report_response(response),
            Err(failure) => self.report_failure(failure),
        };
        let age = self.changed.map(|changed| now.duration_since(changed).max(SignedDuration::ZERO));
        match change {
            ChangeState::Pending => record("UnpublishedAge", age.map(|age| age.as_secs_f64())),
            ChangeState::Published => {
                counter!("PackagesPublished").increment(1);
                record("PublishLatency", age.map(|age| age.as_millis_f64()));
            }
            ChangeState::Removed => {
                counter!("PackagesRemoved").increment(1);
                record("PublishLatency", age.map(|age| age.as_millis_f64()));
            }
            ChangeState::Rejected { rule } => {
                counter!("PackagesRejected", "Rule" => rule.to_owned()).increment(1);
            }
            ChangeState::None => {}
        }
    }

    fn report_response<'a>(&self, response: &'a impl Response) -> ChangeState<'a> {
        let outcome = response.outcome();
        let subject = &self.subject;
        if let ChangeState::Rejected { rule } = outcome.change {
            warn!(subject, rule, "{}", outcome.text);
        } else if !outcome.warnings.is_empty() {
            counter!("PackagesWarned").increment(1);
            warn!(subject, warnings = outcome.warnings.join(" "), "{}", outcome.text);
        } else {
            info!(subject, "{}", outcome.text);
        }
        outcome.change
    }

    fn report_failure(&self, failure: &Failure) -> ChangeState<'static> {
        let (subject, error_type) = (&self.subject, failure.kind().name());
        if matches!(failure.kind(), FailureKind::Conflict | FailureKind::Superseded) {
            counter!("Conflicts").increment(1);
            info!(subject, error_type, "{}", failure.report());
        } else if let Failure::PackageRejected { index, .. } = failure {
            // The log line of `ExtractMetadata` says why it was rejected.
            info!(subject, "{index}");
            return ChangeState::None;
        } else {
            error!(subject, error_type, "{}", failure.report());
        }
        ChangeState::Pending
    }
}

fn record(name: &'static str, value: Option<f64>) {
    if let Some(value) = value {
        histogram!(name).record(value);
    }
}

/// Counts the requests of a client, including each retry.
#[derive(Debug)]
pub(crate) struct CountRequests;

impl Intercept for CountRequests {
    fn name(&self) -> &'static str {
        "CountRequests"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        counter!("Requests").increment(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_runtime_does_not_tell_of_failures_a_second_time() {
        let lines = Lines::default();
        let out = lines.clone();
        let log = log(LevelFilter::INFO, move || out.clone());
        tracing::subscriber::with_default(log, || {
            error!(target: FAILURES_OF_THE_RUNTIME, "Diagnostic");
            error!("ours");
            error!(target: "lambda_runtime::layers::api_client", "of the runtime");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(!text.contains("Diagnostic"), "{text}");
    }

    #[test]
    fn the_subject_of_each_request_is_found() {
        let subject = |request: Value| Invocation::of(&request).subject;
        let event = json!({"detail": {"bucket": {"name": "b"}, "object": {"key": "k"}}});
        assert_eq!(subject(event), "k");
        assert_eq!(subject(json!({"bucket": "b", "key": "k", "found": "nothing"})), "k");
        assert_eq!(subject(json!({"task": "discover", "bucket": "b", "prefix": "3.22/"})), "3.22/");
        assert_eq!(subject(json!({"task": "report", "bucket": "b", "run": "r"})), "r");
        assert_eq!(subject(json!({})), "the input");
    }
}

//! What a function tells `CloudWatch`: a line for each invocation, and metrics.
//!
//! | metric | unit | what it says |
//! |---|---|---|
//! | `PackagesPublished` | count | changes of packages that the published index has |
//! | `PackagesRemoved` | count | packages that the published index has no more |
//! | `PackagesRejected` | count, by `Rule` | packages that break a rule |
//! | `PackagesWarned` | count | accepted packages with a version that clients can't order, or the like |
//! | `PublishLatency` | milliseconds | from the upload or deletion until the published index has it |
//! | `UnpublishedAge` | seconds | how long ago an upload was that no published index has yet |
//! | `Conflicts` | count | races lost to another execution, which costs a repetition |
//! | `Requests` | count | requests to S3, with those that were tried again |
//!
//! All are in the namespace `Alpinist`, with the dimension `Stack`. They are written to standard
//! output in the [embedded metric format], from which `CloudWatch` reads them without a request.
//!
//! [embedded metric format]: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html

use std::io::{self, Write};

use alpinist_apk::text::escaped;
use alpinist_repository::{
    failure::{Failure, FailureKind},
    outcome::{Change, Response},
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

/// Where the runtime tells of each failure of a step, as an error. We tell of it ourselves, and
/// what is an error: a race that was lost is none. Panics are ours to tell of, too.
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
    /// Collects metrics from now on, for the stack of this name.
    ///
    /// # Errors
    ///
    /// Metrics are collected already.
    pub fn collect(stack: String) -> Result<Self, lambda_runtime::Error> {
        let builder =
            Builder::new().cloudwatch_namespace("Alpinist").with_dimension("Stack", stack);
        let collector = builder.init()?;
        describe_histogram!("PublishLatency", Unit::Milliseconds, "");
        describe_histogram!("UnpublishedAge", Unit::Seconds, "");
        Ok(Self { collector })
    }

    /// Writes what was collected since the last time.
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
    /// The object, or what a reindex is asked for, for people.
    pub subject: String,
    /// When the change was made of which the execution took notice.
    changed: Option<Timestamp>,
}

impl Invocation {
    /// Reads what the payload of a request is about, without a check.
    pub fn of(request: &Value) -> Self {
        let text = |place| request.pointer(place).and_then(Value::as_str);
        let places = ["/key", "/detail/object/key", "/prefix", "/run"];
        Self {
            subject: escaped(places.into_iter().find_map(text).unwrap_or("the input")),
            changed: text("/time").and_then(|time| time.parse().ok()),
        }
    }

    /// Logs what a step did, in one line, and counts it.
    pub fn tell(&self, outcome: Result<&impl Response, &Failure>, now: Timestamp) {
        let change = match outcome {
            Ok(response) => self.tell_response(response),
            Err(failure) => self.tell_failure(failure),
        };
        let age = self.changed.map(|changed| now.duration_since(changed).max(SignedDuration::ZERO));
        match change {
            Change::Pending => record("UnpublishedAge", age.map(|age| age.as_secs_f64())),
            Change::Published => {
                counter!("PackagesPublished").increment(1);
                record("PublishLatency", age.map(|age| age.as_millis_f64()));
            }
            Change::Removed => {
                counter!("PackagesRemoved").increment(1);
                record("PublishLatency", age.map(|age| age.as_millis_f64()));
            }
            Change::Rejected { rule } => {
                counter!("PackagesRejected", "Rule" => rule.to_owned()).increment(1);
            }
            Change::None => {}
        }
    }

    fn tell_response<'a>(&self, response: &'a impl Response) -> Change<'a> {
        let outcome = response.outcome();
        let subject = &self.subject;
        if let Change::Rejected { rule } = outcome.change {
            warn!(subject, rule, "{}", outcome.text);
        } else if !outcome.warnings.is_empty() {
            counter!("PackagesWarned").increment(1);
            warn!(subject, warnings = outcome.warnings.join(" "), "{}", outcome.text);
        } else {
            info!(subject, "{}", outcome.text);
        }
        outcome.change
    }

    fn tell_failure(&self, failure: &Failure) -> Change<'static> {
        let (subject, error_type) = (&self.subject, failure.kind().name());
        if matches!(failure.kind(), FailureKind::Conflict | FailureKind::Superseded) {
            counter!("Conflicts").increment(1);
            info!(subject, error_type, "{}", failure.report());
        } else if let Failure::PackageRejected { index, .. } = failure {
            // Why it was rejected is in the line of `ExtractMetadata`.
            info!(subject, "{index}");
            return Change::None;
        } else {
            error!(subject, error_type, "{}", failure.report());
        }
        Change::Pending
    }
}

fn record(name: &'static str, value: Option<f64>) {
    if let Some(value) = value {
        histogram!(name).record(value);
    }
}

/// Counts the requests of a client, each attempt.
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

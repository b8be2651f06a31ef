//! HTTPS, for the clients of all services.

use std::time::Duration;

use aws_sdk_s3::config::{self, RuntimeComponents, SharedHttpClient, timeout::TimeoutConfig};
use aws_smithy_http_client::{
    Builder, Connector,
    proxy::ProxyConfig,
    tls::{Provider, rustls_provider::CryptoMode},
};

/// Returns what speaks HTTPS, by way of the proxy that the environment names.
///
/// It is the SDK's own but for the cryptography: AWS-LC would make each function larger by a fifth.
pub fn client() -> SharedHttpClient {
    Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector = Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.build()
    })
}

/// How long a connection may take to be made.
const CONNECTION: Duration = Duration::from_secs(3);

/// How long an answer may take to begin, since the request began. S3, SSM, KMS and Step Functions
/// need less than one second; the rest is for requests of some megabytes and for bad days. A
/// request is tried three times.
const ANSWER: Duration = Duration::from_secs(10);

/// How long an answer to a request may take that carries megabytes over slow lines, or copies
/// gigabytes.
pub(crate) const SLOW_ANSWER: Duration = Duration::from_mins(10);

/// How long an answer to a copy may take within a function, which has 80 s. The largest package
/// takes some 55.
pub(crate) const COPIED: Duration = Duration::from_secs(75);

/// Returns how long requests may take. Without this, a service that accepts and never answers would
/// hold a function until its own time limit. A content that stops to arrive is noticed by the SDK.
pub fn timeouts() -> TimeoutConfig {
    answered_within(ANSWER)
}

/// Returns the settings of a request to S3 whose answer may take this long.
pub(crate) fn patient(answer: Duration) -> config::Builder {
    config::Builder::new().timeout_config(answered_within(answer))
}

fn answered_within(answer: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECTION).read_timeout(answer).build()
}

//! HTTPS for the clients of all services.

use std::time::Duration;

use aws_sdk_s3::config::{self, RuntimeComponents, SharedHttpClient, timeout::TimeoutConfig};
use aws_smithy_http_client::{
    Builder, Connector,
    proxy::ProxyConfig,
    tls::{Provider, rustls_provider::CryptoMode},
};

/// Returns an HTTPS client that uses the proxy named by the environment.
///
/// It is the SDK's own, except for the cryptography: AWS-LC would make each function a fifth
/// larger.
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

/// How long it may take to connect.
const CONNECTION: Duration = Duration::from_secs(3);

/// How long it may take from the beginning of a request to the beginning of its response. S3, SSM,
/// KMS and Step Functions need less than one second; the rest is for requests of some megabytes and
/// for bad days. A request is tried three times.
const ANSWER: Duration = Duration::from_secs(10);

/// The same for a request that carries megabytes over a slow connection, or assembles gigabytes.
pub(crate) const SLOW_ANSWER: Duration = Duration::from_mins(10);

/// The same for a copy within a function, whose own time limit is 80 s. The largest package takes
/// some 55 s.
pub(crate) const COPIED: Duration = Duration::from_secs(75);

/// Returns the timeouts of requests. Without them, a service that accepts connections and never
/// responds would hold a function until its own time limit. The SDK notices a body that stops
/// arriving.
pub fn timeouts() -> TimeoutConfig {
    answered_within(ANSWER)
}

/// Returns the settings of a request to S3 whose response may take this long.
pub(crate) fn patient(answer: Duration) -> config::Builder {
    config::Builder::new().timeout_config(answered_within(answer))
}

fn answered_within(answer: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECTION).read_timeout(answer).build()
}

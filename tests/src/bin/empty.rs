//! A function that does nothing: what AWS's own parts cost, against which ours are measured.
//!
//! It makes the clients that `CLIENTS` names, `s3`, `ssm` and `kms`, as the SDK's documentation
//! does, and answers each request with the request. It writes a line of log, as ours do, since the
//! emulator waits for one.

use std::{env, hint::black_box};

use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use lambda_runtime::{Error, LambdaEvent, service_fn, tracing};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let https = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let config = aws_config::from_env().http_client(https).load().await;
    #[expect(clippy::disallowed_methods, reason = "not a part of the product")]
    for client in env::var("CLIENTS").unwrap_or_default().split(' ') {
        match client {
            "s3" => drop(black_box(aws_sdk_s3::Client::new(&config))),
            "ssm" => drop(black_box(aws_sdk_ssm::Client::new(&config))),
            "kms" => drop(black_box(aws_sdk_kms::Client::new(&config))),
            _ => {}
        }
    }
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        tracing::info!("nothing was done");
        Ok::<_, Error>(event.payload)
    }))
    .await
}

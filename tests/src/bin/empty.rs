//! A function that does nothing, to measure what AWS's own parts cost.
//!
//! It creates the clients that `CLIENTS` names, `s3`, `ssm` and `kms`, as the SDK's documentation
//! does, and returns each request as its response. It logs a line, as our functions do, since the
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

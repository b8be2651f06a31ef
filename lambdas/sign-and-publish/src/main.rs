//! `SignAndPublish`: signs the staged index and publishes it.

use alpinist_aws::{lambda, s3::S3Store, telemetry};
use alpinist_repository::{message::Aggregated, step};
use lambda_runtime::Error;
use rand_core::OsRng;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start_log();
    let client = alpinist_aws::s3_client()?;
    let keys = alpinist_aws::key_store()?;
    lambda::run(async |request: Aggregated| {
        let store = S3Store::new(client.clone(), &request.written.target.bucket);
        step::publish(&store, &keys, &mut OsRng, request).await
    })
    .await
}

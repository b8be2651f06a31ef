//! `AggregateApkindex`: makes the unsigned index of a repository prefix.

use alpinist_aws::{lambda, s3::S3Store, telemetry};
use alpinist_repository::{message::Aggregated, step};
use lambda_runtime::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start_log();
    let client = alpinist_aws::s3_client()?;
    lambda::run(async |request: Aggregated| {
        let store = S3Store::new(client.clone(), &request.written.target.bucket);
        step::aggregate(&store, request).await
    })
    .await
}

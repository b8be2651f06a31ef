//! `Reindex`: finds the indexes of a bucket, and reports what a reindex did.

use alpinist_aws::{lambda, s3::S3Store, telemetry};
use alpinist_repository::step::{self, ReindexRequest};
use lambda_runtime::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start_log();
    let client = alpinist_aws::s3_client()?;
    lambda::run(async |request: ReindexRequest| {
        let store = S3Store::new(client.clone(), request.bucket());
        step::reindex(&store, request).await
    })
    .await
}

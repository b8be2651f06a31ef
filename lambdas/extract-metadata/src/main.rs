//! `ExtractMetadata`: reads a package and makes its index entry.

use alpinist_aws::{config, lambda, s3::S3Store, telemetry};
use alpinist_repository::{message::Target, step};
use lambda_runtime::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start_log();
    let policy = config::policy()?;
    let client = alpinist_aws::s3_client()?;
    lambda::run(async |target: Target| {
        let store = S3Store::new(client.clone(), &target.bucket);
        step::extract(&store, policy, target).await
    })
    .await
}

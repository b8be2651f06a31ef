//! `WriteIndex`: writes or removes a package's fragment.

use alpinist_aws::{config, lambda, s3::S3Store, telemetry};
use alpinist_repository::{message::Extracted, step};
use lambda_runtime::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start_log();
    let copies = config::plus_copies()?;
    let client = alpinist_aws::s3_client()?;
    lambda::run(async |request: Extracted| {
        let store = S3Store::new(client.clone(), &request.target.bucket);
        step::write_index(&store, copies, request).await
    })
    .await
}

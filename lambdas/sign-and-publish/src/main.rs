//! `SignAndPublish`: builds, signs and publishes the index of the staged snapshot.

use alpinist_aws::s3::S3Store;
use alpinist_lambda::{clients, telemetry};
use alpinist_repository::{message::PublishRequest, step};
use lambda_runtime::Error;
use mimalloc::MiMalloc;
use rand_core::OsRng;

/// glibc's allocator fragments memory: see the `Cargo.toml` of the workspace.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start_log();
    let client = clients::s3()?;
    let keys = clients::key_store()?;
    alpinist_lambda::run(async |request: PublishRequest| {
        let store = S3Store::new(client.clone(), &request.written.target.bucket);
        Box::pin(step::publish(&store, &keys, &mut OsRng, request)).await
    })
    .await
}

//! `ExtractMetadata`: reads a package and makes its index entry.

use alpinist_aws::s3::S3Store;
use alpinist_lambda::{clients, config, telemetry};
use alpinist_repository::{message::Target, step};
use lambda_runtime::Error;
use mimalloc::MiMalloc;

/// glibc's allocator fragments memory: see the `Cargo.toml` of the workspace.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start_log();
    let policy = config::policy()?;
    let client = clients::s3()?;
    alpinist_lambda::run(async |target: Target| {
        let store = S3Store::new(client.clone(), &target.bucket);
        step::extract(&store, policy, target).await
    })
    .await
}

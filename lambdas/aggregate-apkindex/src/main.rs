//! `AggregateApkindex`: makes and stages the snapshot of a repository prefix.

use alpinist_aws::s3::S3Store;
use alpinist_lambda::{clients, config, telemetry};
use alpinist_repository::{message::AggregateRequest, step};
use lambda_runtime::Error;
use mimalloc::MiMalloc;

/// glibc's allocator fragments memory: see the `Cargo.toml` of the workspace.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start_log();
    let client = clients::s3()?;
    let v3_index = config::v3_index()?;
    alpinist_lambda::run(async |request: AggregateRequest| {
        let store = S3Store::new(client.clone(), &request.written.target.bucket);
        step::aggregate(&store, v3_index, request).await
    })
    .await
}

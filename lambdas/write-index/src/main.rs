//! `WriteIndex`: writes or removes a package's fragment.

use alpinist_aws::s3::S3Store;
use alpinist_lambda::{clients, config, telemetry};
use alpinist_repository::{message::Extracted, step};
use lambda_runtime::Error;
use mimalloc::MiMalloc;

/// glibc's allocator fragments memory: see the `Cargo.toml` of the workspace.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start_log();
    let (copies, replacing) = (config::plus_copies()?, config::replacing()?);
    let client = clients::s3()?;
    alpinist_lambda::run(async |request: Extracted| {
        let store = S3Store::new(client.clone(), &request.target.bucket).with_replacing(replacing);
        step::write_index(&store, copies, replacing, request).await
    })
    .await
}

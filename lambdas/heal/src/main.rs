//! `Heal`: finds what somebody else deleted or overwrote, and starts executions that repair it.

use alpinist_aws::s3::S3Store;
use alpinist_executions::starter::SfnStarter;
use alpinist_lambda::{clients, config, telemetry};
use alpinist_repository::step::{self, HealRequest};
use lambda_runtime::Error;
use mimalloc::MiMalloc;

/// glibc's allocator fragments memory: see the `Cargo.toml` of the workspace.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start_log();
    let client = clients::s3()?;
    let starter = SfnStarter::new(
        aws_sdk_sfn::Client::new(&config::aws()?),
        config::variable("BUCKET")?,
        config::variable("STATE_MACHINE")?,
        config::variable("REINDEX_STATE_MACHINE")?,
    );
    let (copies, v3_index) = (config::plus_copies()?, config::v3_index()?);
    let replacing = config::replacing()?;
    alpinist_lambda::run(async |request: HealRequest| {
        let store = S3Store::new(client.clone(), request.bucket().unwrap_or_default());
        step::heal(&store, &starter, copies, replacing, v3_index, request).await
    })
    .await
}

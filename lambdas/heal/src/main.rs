//! `Heal`: finds what somebody else deleted or overwrote, and starts what makes it right.

use alpinist_aws::{config, lambda, s3::S3Store, telemetry};
use alpinist_repository::step::{self, HealRequest};
use lambda_runtime::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start_log();
    let client = alpinist_aws::s3_client()?;
    let starter = alpinist_aws::starter()?;
    let copies = config::plus_copies()?;
    lambda::run(async |request: HealRequest| {
        let store = S3Store::new(client.clone(), request.bucket().unwrap_or_default());
        step::heal(&store, &starter, copies, request).await
    })
    .await
}

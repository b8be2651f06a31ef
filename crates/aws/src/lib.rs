//! The AWS edge: S3, SSM and KMS behind the ports of `alpinist-repository`, and the entry point of a
//! Lambda function.
//!
//! | module | what it holds |
//! |---|---|
//! | [`s3`] | [`s3::S3Store`], the bucket |
//! | [`keys`] | [`keys::AwsKeyStore`], the signing keys in SSM and KMS |
//! | [`starter`](mod@starter) | [`starter::SfnStarter`], executions that make something right |
//! | [`lambda`] | [`lambda::run`]: requests in, responses and diagnostics out |
//! | [`telemetry`] | the log of a function, and its metrics |
//! | [`config`] | what the environment says |
//!
//! For the operator's command:
//!
//! | module | what it holds |
//! |---|---|
//! | [`session`] | [`session::Session`]: credentials, a region, and where AWS is |
//! | [`stacks`] | what a deployed stack says of itself |
//! | [`executions`] | executions of the state machines |
//! | [`parameters`] | parameters in SSM, one by one |
//! | [`upload`] | uploads of files of any size |

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::telemetry::CountRequests;

pub mod config;
pub mod executions;
pub mod keys;
pub mod lambda;
pub mod parameters;
pub mod s3;
pub mod session;
pub mod stacks;
pub mod starter;
pub mod telemetry;
pub mod upload;

mod error;
mod https;
mod s3_body;

/// Returns a client of S3 for the credentials and the region of the environment. Its requests are
/// [counted](telemetry).
///
/// # Errors
///
/// [`config::InvalidVariable`]
pub fn s3_client() -> Result<aws_sdk_s3::Client, config::InvalidVariable> {
    let config = aws_sdk_s3::config::Builder::from(&config::aws()?).interceptor(CountRequests);
    Ok(aws_sdk_s3::Client::from_conf(config.build()))
}

/// Returns what starts executions, for the bucket and the state machines that the environment names.
///
/// # Errors
///
/// [`config::InvalidVariable`]
pub fn starter() -> Result<starter::SfnStarter, config::InvalidVariable> {
    let config::Machines { bucket, state_machine, reindex_state_machine } = config::machines()?;
    let client = aws_sdk_sfn::Client::new(&config::aws()?);
    Ok(starter::SfnStarter::new(client, bucket, state_machine, reindex_state_machine))
}

/// Returns the signing keys that the environment names. From then on, the process leaves no core dump,
/// and no other process of its user can read its memory (prctl(2), `PR_SET_DUMPABLE`).
///
/// # Errors
///
/// [`config::InvalidVariable`]; an error of the system, if it does not forbid core dumps.
pub fn key_store() -> Result<keys::AwsKeyStore, lambda_runtime::Error> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let (config, keys) = (config::aws()?, config::signing_keys()?);
    let kms = keys.kms.is_some().then(|| aws_sdk_kms::Client::new(&config));
    Ok(keys::AwsKeyStore::new(aws_sdk_ssm::Client::new(&config), kms, keys))
}

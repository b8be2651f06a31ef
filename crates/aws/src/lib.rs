//! The AWS edge: S3 and SSM behind the ports of `alpinist-repository`, and the entry point of a
//! Lambda function.
//!
//! | module | what it holds |
//! |---|---|
//! | [`s3`] | [`s3::S3Store`], the bucket |
//! | [`ssm`] | [`ssm::SsmKeyStore`], the signing key |
//! | [`lambda`] | [`lambda::run`]: requests in, responses and diagnostics out |
//! | [`config`] | what the environment says |

pub mod config;
pub mod lambda;
pub mod s3;
pub mod ssm;

mod error;

/// Returns a client of S3 for the credentials and the region of the environment.
pub async fn s3_client() -> aws_sdk_s3::Client {
    aws_sdk_s3::Client::new(&aws_config::load_from_env().await)
}

/// Returns a client of SSM for the credentials and the region of the environment.
pub async fn ssm_client() -> aws_sdk_ssm::Client {
    aws_sdk_ssm::Client::new(&aws_config::load_from_env().await)
}

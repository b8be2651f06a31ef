//! The AWS edge: S3, SSM and KMS behind the ports of `alpinist-repository`.
//!
//! | module | what it holds |
//! |---|---|
//! | [`s3`] | [`s3::S3Store`], the bucket |
//! | [`upload`] | uploads of files of any size |
//! | [`keys`] | [`keys::AwsKeyStore`], the signing keys in SSM and KMS |
//! | [`error`] | errors of the SDK as errors of the ports |
//! | [`https`] | HTTPS, and how long a request may take |

pub mod error;
pub mod https;
pub mod keys;
pub mod s3;
pub mod upload;

mod s3_body;

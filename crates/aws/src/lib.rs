//! The ports of `alpinist-repository`, implemented on S3, SSM and KMS.
//!
//! | module | what it holds |
//! |---|---|
//! | [`s3`] | [`s3::S3Store`], the bucket |
//! | [`upload`] | uploads of files of any size |
//! | [`keys`] | [`keys::AwsKeyStore`], the signing keys in SSM and KMS |
//! | [`error`] | conversion of errors of the SDK to those of the ports |
//! | [`https`] | the HTTPS client, and timeouts |

pub mod error;
pub mod https;
pub mod keys;
pub mod s3;
pub mod upload;

mod s3_body;

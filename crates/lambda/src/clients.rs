//! Clients of AWS with the credentials and the region from the environment.

use alpinist_aws::keys::AwsKeyStore;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::{config, telemetry::CountRequests};

/// Returns a client of S3. Its requests are [counted](crate::telemetry).
///
/// # Errors
///
/// [`config::InvalidVariable`]
pub fn s3() -> Result<aws_sdk_s3::Client, config::InvalidVariable> {
    let config = aws_sdk_s3::config::Builder::from(&config::aws()?).interceptor(CountRequests);
    Ok(aws_sdk_s3::Client::from_conf(config.build()))
}

/// Returns the store of the signing keys that the environment names. From then on, the process
/// leaves no core dump, and no other process of its user can read its memory (prctl(2),
/// `PR_SET_DUMPABLE`).
///
/// # Errors
///
/// [`config::InvalidVariable`]; an error of the system, if core dumps can't be disabled.
pub fn key_store() -> Result<AwsKeyStore, lambda_runtime::Error> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let (config, keys) = (config::aws()?, config::signing_keys()?);
    let kms = keys.kms.is_some().then(|| aws_sdk_kms::Client::new(&config));
    Ok(AwsKeyStore::new(aws_sdk_ssm::Client::new(&config), kms, keys))
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn whoever_reads_keys_leaves_no_core_dump() {
        use rustix::process::{DumpableBehavior, dumpable_behavior};
        // Here, the environment names no keys.
        key_store().unwrap_err();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}

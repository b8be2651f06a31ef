//! The configuration of a function: environment variables that `template.yaml` or Lambda sets.

use std::{env, str::FromStr};

use alpinist_aws::{https, keys::SigningKeys};
use alpinist_repository::{
    plus_copy::PlusCopies, policy::Policy, replacing::Replacing, trust::PackageSignatures,
    v3_index::V3Index,
};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use tracing::level_filters::LevelFilter;

/// A variable that is not as `template.yaml` or Lambda sets it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidVariable {
    /// The variable is missing, or is not text.
    #[error("{name} is not set")]
    Missing {
        /// The variable.
        name: &'static str,
    },
    /// The variable has an unknown value.
    #[error("{name} has {value:?}, expected {expected}")]
    Value {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// The allowed values.
        expected: &'static str,
    },
}

/// Returns the region and the credentials from `AWS_REGION`, `AWS_ACCESS_KEY_ID`,
/// `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, and the endpoint of an emulator from
/// `AWS_ENDPOINT_URL`.
///
/// Lambda sets them once: the credentials outlive the execution environment. The SDK's own chain,
/// which also reads files and asks other services, is only for the command.
///
/// # Errors
///
/// [`InvalidVariable`]
pub fn aws() -> Result<SdkConfig, InvalidVariable> {
    aws_of(variable)
}

fn aws_of(
    variable: impl Fn(&'static str) -> Result<String, InvalidVariable>,
) -> Result<SdkConfig, InvalidVariable> {
    let credentials = Credentials::new(
        variable("AWS_ACCESS_KEY_ID")?,
        variable("AWS_SECRET_ACCESS_KEY")?,
        variable("AWS_SESSION_TOKEN").ok(),
        None,
        "the environment of the function",
    );
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(https::client())
        .timeout_config(https::timeouts())
        .region(Region::new(variable("AWS_REGION")?))
        .credentials_provider(SharedCredentialsProvider::new(credentials));
    config.set_endpoint_url(variable("AWS_ENDPOINT_URL").ok());
    Ok(config.build())
}

/// Returns the log level from `AWS_LAMBDA_LOG_LEVEL`; `INFO` if it is absent or unknown.
pub fn log_level() -> LevelFilter {
    let level = variable("AWS_LAMBDA_LOG_LEVEL").ok();
    level.and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::INFO)
}

/// Returns the name of the stack that the function belongs to, from `STACK_NAME`.
///
/// # Errors
///
/// [`InvalidVariable`]
pub fn stack() -> Result<String, InvalidVariable> {
    variable("STACK_NAME")
}

/// Returns whether copies of packages whose names have a `+` are kept, from `PLUS_COPIES`.
///
/// # Errors
///
/// [`InvalidVariable`]
pub fn plus_copies() -> Result<PlusCopies, InvalidVariable> {
    let is_kept = parsed("PLUS_COPIES", "true or false")?;
    Ok(if is_kept { PlusCopies::Kept } else { PlusCopies::None })
}

/// Returns whether published packages may be replaced, from `REPLACING`.
///
/// # Errors
///
/// [`InvalidVariable`]
pub fn replacing() -> Result<Replacing, InvalidVariable> {
    parsed("REPLACING", Replacing::VALUES)
}

/// Returns where indexes of format v3 are published, from `V3_INDEX`.
///
/// # Errors
///
/// [`InvalidVariable`]
pub fn v3_index() -> Result<V3Index, InvalidVariable> {
    parsed("V3_INDEX", V3Index::VALUES)
}

/// Returns what is required of packages, from `PACKAGE_SIGNATURES` and `MAX_PACKAGE_MIB`.
///
/// # Errors
///
/// [`InvalidVariable`]
pub fn policy() -> Result<Policy, InvalidVariable> {
    let mebibytes: u32 = parsed("MAX_PACKAGE_MIB", "a whole number")?;
    Ok(Policy {
        signatures: parsed("PACKAGE_SIGNATURES", PackageSignatures::VALUES)?,
        max_size: u64::from(mebibytes) * 1024 * 1024,
    })
}

/// Returns which keys sign indexes, from `PRIVATE_KEY_PARAMETER`, `KEY_NAME_PARAMETER` and
/// `SIGNING_KEY`.
///
/// # Errors
///
/// [`InvalidVariable`]
pub fn signing_keys() -> Result<SigningKeys, InvalidVariable> {
    let private_key = variable("PRIVATE_KEY_PARAMETER")?;
    let key_name = variable("KEY_NAME_PARAMETER")?;
    let kms = variable("SIGNING_KEY")?.strip_prefix("kms:").map(str::to_owned);
    Ok(SigningKeys::new(private_key, key_name, kms))
}

fn parsed<T: FromStr>(name: &'static str, expected: &'static str) -> Result<T, InvalidVariable> {
    parse(name, variable(name)?, expected)
}

fn parse<T: FromStr>(
    name: &'static str,
    value: String,
    expected: &'static str,
) -> Result<T, InvalidVariable> {
    value.parse().map_err(|_| InvalidVariable::Value { name, value, expected })
}

/// Returns the value of a variable.
///
/// # Errors
///
/// [`InvalidVariable`]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn variable(name: &'static str) -> Result<String, InvalidVariable> {
    env::var(name).map_err(|_| InvalidVariable::Missing { name })
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::config::ProvideCredentials;

    use super::*;

    const LAMBDA: [(&str, &str); 4] = [
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "ASIAEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "token"),
    ];

    fn aws_of_variables(set: &[(&str, &str)]) -> Result<SdkConfig, InvalidVariable> {
        aws_of(|name| match set.iter().find(|(set, _)| *set == name) {
            Some((_, value)) => Ok((*value).to_owned()),
            None => Err(InvalidVariable::Missing { name }),
        })
    }

    #[tokio::test]
    async fn requests_have_the_region_and_the_whole_credentials_of_the_environment() {
        let config = aws_of_variables(&LAMBDA).unwrap();
        assert_eq!(config.region().unwrap().as_ref(), "eu-central-1");
        assert_eq!(config.endpoint_url(), None);
        let credentials = config.credentials_provider().unwrap();
        let credentials = credentials.provide_credentials().await.unwrap();
        assert_eq!(credentials.access_key_id(), "ASIAEXAMPLE");
        assert_eq!(credentials.secret_access_key(), "secret");
        assert_eq!(credentials.session_token(), Some("token"));
        assert_eq!(credentials.expiry(), None);
    }

    #[test]
    fn an_emulated_aws_is_where_the_environment_says() {
        let emulator = ("AWS_ENDPOINT_URL", "http://127.0.0.1:4700");
        let config = aws_of_variables(&[&LAMBDA[..], &[emulator]].concat()).unwrap();
        assert_eq!(config.endpoint_url(), Some("http://127.0.0.1:4700"));
    }

    #[test]
    fn what_lambda_does_not_set_is_named() {
        for missing in ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            let set: Vec<_> = LAMBDA.into_iter().filter(|(name, _)| *name != missing).collect();
            let error = aws_of_variables(&set).unwrap_err();
            assert_eq!(error.to_string(), format!("{missing} is not set"));
        }
    }
    #[test]
    fn a_value_that_is_not_known_is_named_with_those_that_are() {
        let signatures =
            |value: &str| parse("PACKAGE_SIGNATURES", value.to_owned(), PackageSignatures::VALUES);
        assert_eq!(signatures("Verify"), Ok(PackageSignatures::Verify));
        assert_eq!(
            signatures("Verfy").unwrap_err().to_string(),
            r#"PACKAGE_SIGNATURES has "Verfy", expected Ignore, Verify or Require"#
        );
        let v3_index = |value: &str| parse("V3_INDEX", value.to_owned(), V3Index::VALUES);
        assert_eq!(v3_index("always"), Ok(V3Index::Always));
        assert_eq!(
            v3_index("Always").unwrap_err().to_string(),
            r#"V3_INDEX has "Always", expected auto or always"#
        );
        let replacing = |value: &str| parse("REPLACING", value.to_owned(), Replacing::VALUES);
        assert_eq!(replacing("refused"), Ok(Replacing::Refused));
        assert_eq!(
            replacing("denied").unwrap_err().to_string(),
            r#"REPLACING has "denied", expected allowed or refused"#
        );
    }
}

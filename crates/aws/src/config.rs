//! What the environment of a function says. `template.yaml` sets it.

use std::{env, str::FromStr};

use alpinist_repository::{plus_copy::PlusCopies, policy::Policy};

/// The keys that sign indexes. There are places for two, so that one can take the place of the other
/// while clients know only one of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SigningKeys {
    /// The parameters of the first.
    pub first: KeyParameters,
    /// The parameters of the second: those of the first with `-2`.
    pub second: KeyParameters,
    /// The ARN of a key in KMS that is used instead of the first one's private key.
    pub kms: Option<String>,
}

/// The SSM parameters that make a signing key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyParameters {
    /// Name of the `SecureString` with the private key.
    pub private_key: String,
    /// Name of the `String` with the key name. Without this parameter, there is no key in this place.
    pub key_name: String,
}

/// Says that the environment lacks something that `template.yaml` sets, or that it makes no sense.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("environment variable {name} is not set, or not to something that is known")]
pub struct InvalidVariable {
    /// The variable.
    pub name: &'static str,
}

/// Tells from `STACK_NAME` which stack the function belongs to.
///
/// # Errors
///
/// [`InvalidVariable`]
pub fn stack() -> Result<String, InvalidVariable> {
    variable("STACK_NAME")
}

/// Tells from `PLUS_COPIES` whether copies of packages whose names have a `+` are kept.
///
/// # Errors
///
/// [`InvalidVariable`]
pub fn plus_copies() -> Result<PlusCopies, InvalidVariable> {
    Ok(if variable("PLUS_COPIES")? == "true" { PlusCopies::Kept } else { PlusCopies::None })
}

/// Tells from `PACKAGE_SIGNATURES` and `MAX_PACKAGE_MIB` what is asked of packages.
///
/// # Errors
///
/// [`InvalidVariable`]
pub fn policy() -> Result<Policy, InvalidVariable> {
    let mebibytes: u32 = parsed("MAX_PACKAGE_MIB")?;
    Ok(Policy {
        signatures: parsed("PACKAGE_SIGNATURES")?,
        max_size: u64::from(mebibytes) * 1024 * 1024,
    })
}

/// Tells from `PRIVATE_KEY_PARAMETER`, `KEY_NAME_PARAMETER` and `SIGNING_KEY` which keys sign.
///
/// # Errors
///
/// [`InvalidVariable`]
pub fn signing_keys() -> Result<SigningKeys, InvalidVariable> {
    let private_key = variable("PRIVATE_KEY_PARAMETER")?;
    let key_name = variable("KEY_NAME_PARAMETER")?;
    let kms = variable("SIGNING_KEY")?.strip_prefix("kms:").map(str::to_owned);
    let second = KeyParameters {
        private_key: format!("{private_key}-2"),
        key_name: format!("{key_name}-2"),
    };
    Ok(SigningKeys { first: KeyParameters { private_key, key_name }, second, kms })
}

fn parsed<T: FromStr>(name: &'static str) -> Result<T, InvalidVariable> {
    variable(name)?.parse().map_err(|_| InvalidVariable { name })
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn variable(name: &'static str) -> Result<String, InvalidVariable> {
    env::var(name).map_err(|_| InvalidVariable { name })
}

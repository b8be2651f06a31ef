//! What the environment of a function says.

use std::env;

use alpinist_repository::plus_copy::PlusCopies;

/// The SSM parameters that make the signing key.
#[derive(Clone, Debug)]
pub struct KeyParameters {
    /// Name of the `SecureString` with the private key, from `PRIVATE_KEY_PARAMETER`.
    pub private_key: String,
    /// Name of the `String` with the key name, from `KEY_NAME_PARAMETER`.
    pub key_name: String,
}

/// Tells from `PLUS_COPIES` whether copies of packages whose names have a `+` are kept.
///
/// # Errors
///
/// [`MissingVariable`]
pub fn plus_copies() -> Result<PlusCopies, MissingVariable> {
    Ok(if variable("PLUS_COPIES")? == "true" { PlusCopies::Kept } else { PlusCopies::None })
}

/// Says that the environment lacks something that `template.yaml` sets.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("environment variable {name} is not set")]
pub struct MissingVariable {
    /// The variable.
    pub name: &'static str,
}

impl KeyParameters {
    /// Reads the names from the environment.
    ///
    /// # Errors
    ///
    /// [`MissingVariable`]
    pub fn from_env() -> Result<Self, MissingVariable> {
        Ok(Self {
            private_key: variable("PRIVATE_KEY_PARAMETER")?,
            key_name: variable("KEY_NAME_PARAMETER")?,
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn variable(name: &'static str) -> Result<String, MissingVariable> {
    env::var(name).map_err(|_| MissingVariable { name })
}

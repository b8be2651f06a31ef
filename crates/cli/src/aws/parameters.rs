//! SSM parameters, in which the keys are stored.

use alpinist_aws::error::store_error;
use alpinist_repository::port::StoreError;
use aws_sdk_ssm::{Client, error::ProvideErrorMetadata as _, types::ParameterType};
use zeroize::Zeroizing;

/// The parameters of SSM.
#[derive(Clone, Debug)]
pub(crate) struct Parameters {
    client: Client,
}

/// How a parameter is stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ParameterKind {
    /// In plain text (`String`).
    Text,
    /// Encrypted (`SecureString`).
    Secret,
}

impl Parameters {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Returns the value of a parameter, or `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// [`StoreError::Denied`], [`StoreError::Unavailable`].
    pub(crate) async fn get(&self, name: &str) -> Result<Option<Zeroizing<String>>, StoreError> {
        let found = self.client.get_parameter().name(name).with_decryption(true).send().await;
        match found {
            Ok(found) => {
                Ok(found.parameter.and_then(|parameter| parameter.value).map(Zeroizing::new))
            }
            Err(error) if error.code() == Some("ParameterNotFound") => Ok(None),
            Err(error) => Err(store_error(&of(name), &error)),
        }
    }

    /// Creates a parameter.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if it already exists; [`StoreError::Denied`],
    /// [`StoreError::Unavailable`].
    pub(crate) async fn create(
        &self,
        name: &str,
        value: &str,
        kind: ParameterKind,
    ) -> Result<(), StoreError> {
        let kind = match kind {
            ParameterKind::Text => ParameterType::String,
            ParameterKind::Secret => ParameterType::SecureString,
        };
        match self.client.put_parameter().name(name).value(value).r#type(kind).send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("ParameterAlreadyExists") => {
                Err(StoreError::Conflict { key: of(name) })
            }
            Err(error) => Err(store_error(&of(name), &error)),
        }
    }

    /// Deletes a parameter if it exists.
    ///
    /// # Errors
    ///
    /// [`StoreError::Denied`], [`StoreError::Unavailable`].
    pub(crate) async fn delete(&self, name: &str) -> Result<(), StoreError> {
        match self.client.delete_parameter().name(name).send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("ParameterNotFound") => Ok(()),
            Err(error) => Err(store_error(&of(name), &error)),
        }
    }
}

fn of(name: &str) -> String {
    format!("the parameter {name}")
}

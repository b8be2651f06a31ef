//! The signing key in the SSM parameter store.

use alpinist_repository::port::{KeyStore, KeyStoreError, KeyTexts};
use aws_sdk_ssm::Client;
use zeroize::Zeroizing;

use crate::{config::KeyParameters, error::store_error};

/// The signing key in the SSM parameter store. It is read anew for each signature, so a changed
/// parameter takes effect with the next publication.
#[derive(Clone, Debug)]
pub struct SsmKeyStore {
    client: Client,
    parameters: KeyParameters,
}

impl SsmKeyStore {
    /// Makes a store of the two parameters.
    pub fn new(client: Client, parameters: KeyParameters) -> Self {
        Self { client, parameters }
    }
}

impl KeyStore for SsmKeyStore {
    async fn key(&self) -> Result<KeyTexts, KeyStoreError> {
        let KeyParameters { private_key, key_name } = &self.parameters;
        let request = self.client.get_parameters().names(private_key).names(key_name);
        let found = request
            .with_decryption(true)
            .send()
            .await
            .map_err(|error| store_error(&format!("parameter {private_key}"), &error))?;
        let mut parameters = found.parameters.unwrap_or_default();
        let mut value = |name: &String| {
            parameters
                .iter_mut()
                .find(|parameter| parameter.name.as_ref() == Some(name))
                .and_then(|parameter| parameter.value.take())
                .ok_or_else(|| KeyStoreError::Missing { parameter: name.clone() })
        };
        Ok(KeyTexts { private_key: Zeroizing::new(value(private_key)?), name: value(key_name)? })
    }

    fn private_key_parameter(&self) -> &str {
        &self.parameters.private_key
    }

    fn key_name_parameter(&self) -> &str {
        &self.parameters.key_name
    }
}

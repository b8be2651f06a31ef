//! The keys that sign indexes: in the SSM parameter store, and in KMS.

use std::collections::BTreeMap;

use alpinist_apk::text::chain;
use alpinist_repository::port::{KeyMaterial, KeyStore, KeyStoreError, Scheme, StoredKey};
use aws_sdk_kms::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    primitives::Blob,
    types::{MessageType, SigningAlgorithmSpec},
};
use zeroize::Zeroizing;

use crate::error::store_error;

/// Codes with which KMS reports a key that is missing, of another kind, or not in a state to sign.
const UNUSABLE: [&str; 6] = [
    "DisabledException",
    "InvalidArnException",
    "InvalidKeyUsageException",
    "KMSInvalidStateException",
    "NotFoundException",
    "UnsupportedOperationException",
];

/// Where the keys that sign indexes are stored. There are places for two, so that one can replace
/// the other while clients know only one of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SigningKeys {
    /// The parameters of the first key.
    pub first: KeyParameters,
    /// The parameters of the second key: those of the first with `-2`.
    pub second: KeyParameters,
    /// The ARN of a key in KMS that is used instead of the first private key.
    pub kms: Option<String>,
}

impl SigningKeys {
    /// Returns the keys of a stack whose first key is in these parameters.
    pub fn new(private_key: String, key_name: String, kms: Option<String>) -> Self {
        let second = KeyParameters {
            private_key: format!("{private_key}-2"),
            key_name: format!("{key_name}-2"),
        };
        Self { first: KeyParameters { private_key, key_name }, second, kms }
    }
}

/// The SSM parameters that hold a signing key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyParameters {
    /// Name of the `SecureString` with the private key.
    pub private_key: String,
    /// Name of the `String` with the key name. Without this parameter, there is no key in this
    /// place.
    pub key_name: String,
}

/// The keys that sign indexes. They are read for each publication, so a changed parameter takes
/// effect at the next one.
#[derive(Clone, Debug)]
pub struct AwsKeyStore {
    ssm: aws_sdk_ssm::Client,
    kms: Option<aws_sdk_kms::Client>,
    keys: SigningKeys,
}

impl AwsKeyStore {
    /// Makes a store of these keys. The client of KMS is needed only if one of them is in KMS.
    pub fn new(
        ssm: aws_sdk_ssm::Client,
        kms: Option<aws_sdk_kms::Client>,
        keys: SigningKeys,
    ) -> Self {
        Self { ssm, kms, keys }
    }

    /// Reads the parameters that exist.
    async fn parameters(&self) -> Result<BTreeMap<String, Zeroizing<String>>, KeyStoreError> {
        let SigningKeys { first, second, kms } = &self.keys;
        let private_key = Some(&first.private_key).filter(|_| kms.is_none());
        let names = [&first.key_name, &second.key_name, &second.private_key];
        let request = names
            .into_iter()
            .chain(private_key)
            .fold(self.ssm.get_parameters().with_decryption(true), |request, name| {
                request.names(name)
            });
        let found = request.send().await;
        let found = found.map_err(|error| {
            store_error(&format!("parameters {} and its like", first.key_name), &error)
        })?;
        let parameters = found.parameters.unwrap_or_default().into_iter();
        let parameters = parameters.filter_map(|found| Some((found.name?, found.value?)));
        Ok(parameters.map(|(name, value)| (name, Zeroizing::new(value))).collect())
    }

    fn kms(&self, key: &str) -> Result<&aws_sdk_kms::Client, KeyStoreError> {
        self.kms.as_ref().ok_or_else(|| KeyStoreError::Unusable {
            key: key.to_owned(),
            source: "the signing key is not in KMS".into(),
        })
    }

    async fn in_kms(&self, key: &str) -> Result<KeyMaterial, KeyStoreError> {
        let public_key = public_key(self.kms(key)?, key).await?;
        Ok(KeyMaterial::Remote { key: key.to_owned(), public_key })
    }
}

/// Returns the public half of a key in KMS, in DER form.
///
/// # Errors
///
/// [`KeyStoreError::Unusable`], [`KeyStoreError::Store`].
pub async fn public_key(kms: &aws_sdk_kms::Client, key: &str) -> Result<Vec<u8>, KeyStoreError> {
    let found = kms.get_public_key().key_id(key).send().await;
    let found = found.map_err(|error| key_error(key, &error))?;
    Ok(found.public_key.map(Blob::into_inner).unwrap_or_default())
}

impl KeyStore for AwsKeyStore {
    async fn keys(&self) -> Result<Vec<StoredKey>, KeyStoreError> {
        let SigningKeys { first, second, kms } = &self.keys;
        let mut parameters = self.parameters().await?;
        let mut kept = Vec::new();
        for (place, kms) in [(first, kms.as_deref()), (second, None)] {
            // A place is empty if it has no name.
            let Some(name) = parameters.remove(&place.key_name) else { continue };
            let material = match kms {
                Some(key) => self.in_kms(key).await?,
                None => match parameters.remove(&place.private_key) {
                    Some(pem) => KeyMaterial::Pem { parameter: place.private_key.clone(), pem },
                    None => return Err(missing(&place.private_key, place, None)),
                },
            };
            let name_parameter = place.key_name.clone();
            kept.push(StoredKey { name_parameter, name: name.to_string(), material });
        }
        if kept.is_empty() {
            return Err(missing(&first.key_name, first, kms.as_deref()));
        }
        Ok(kept)
    }

    async fn sign(
        &self,
        key: &str,
        scheme: Scheme,
        digest: &[u8],
    ) -> Result<Vec<u8>, KeyStoreError> {
        let algorithm = match scheme {
            Scheme::RsaSha256 => SigningAlgorithmSpec::RsassaPkcs1V15Sha256,
            Scheme::RsaSha512 => SigningAlgorithmSpec::RsassaPkcs1V15Sha512,
            Scheme::EcdsaP256 => SigningAlgorithmSpec::EcdsaSha256,
            Scheme::EcdsaP384 => SigningAlgorithmSpec::EcdsaSha384,
        };
        let request = self
            .kms(key)?
            .sign()
            .key_id(key)
            .message_type(MessageType::Digest)
            .message(Blob::new(digest))
            .signing_algorithm(algorithm);
        let signed = request.send().await.map_err(|error| key_error(key, &error))?;
        Ok(signed.signature.map(Blob::into_inner).unwrap_or_default())
    }
}

fn missing(parameter: &str, place: &KeyParameters, kms: Option<&str>) -> KeyStoreError {
    KeyStoreError::Missing {
        parameter: parameter.to_owned(),
        private_key: kms.is_none().then(|| place.private_key.clone()),
        key_name: place.key_name.clone(),
    }
}

fn key_error<E>(key: &str, error: &SdkError<E, HttpResponse>) -> KeyStoreError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    if error.code().is_some_and(|code| UNUSABLE.contains(&code)) {
        return KeyStoreError::Unusable { key: key.to_owned(), source: chain(error).into() };
    }
    store_error(key, error).into()
}

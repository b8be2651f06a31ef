//! The keys that sign an index.

use alpinist_apk::{
    adb::{
        container::Schema,
        signature::{AdbSignature, PayloadDigest, digest_for_remote},
    },
    key::{KeyKind, SigningKey, VerifyingKey},
    key_name::KeyName,
    signature::{Algorithm, Signature, SignatureName},
};
use rand_core::CryptoRngCore;
use sha2::{Digest as _, Sha256};

use crate::{
    failure::Failure,
    port::{KeyMaterial, KeyStore, Scheme, StoredKey},
};

/// A key that was checked.
#[derive(Debug)]
pub(crate) struct Signer {
    /// The name of its public half on clients.
    pub(crate) name: KeyName,
    /// Its public half.
    pub(crate) public: VerifyingKey,
    private: Private,
}

#[derive(Debug)]
enum Private {
    Local(Box<SigningKey>),
    /// In a service, under this name.
    Remote(String),
}

impl Signer {
    /// Reads all signing keys. If one of two can't be used, neither signs: clients that have only
    /// that one would be left without an index.
    ///
    /// # Errors
    ///
    /// [`Failure::Key`], [`Failure::PrivateKey`], [`Failure::RemoteKey`], [`Failure::KeyName`],
    /// [`Failure::SameKeyName`].
    pub(crate) async fn read_all(keys: &impl KeyStore) -> Result<Vec<Self>, Failure> {
        let mut signers: Vec<Self> = Vec::new();
        for kept in keys.keys().await.map_err(Failure::Key)? {
            let signer = Self::new(kept)?;
            match signers.iter().find(|other| other.name == signer.name) {
                Some(other) if other.public == signer.public => {}
                Some(_) => {
                    return Err(Failure::SameKeyName { key_name: signer.name.to_string() });
                }
                None => signers.push(signer),
            }
        }
        Ok(signers)
    }

    fn new(kept: StoredKey) -> Result<Self, Failure> {
        let StoredKey { name_parameter, name, material } = kept;
        let name = name.trim().parse();
        let name = name.map_err(|source| Failure::KeyName { parameter: name_parameter, source })?;
        match material {
            KeyMaterial::Pem { parameter, pem } => {
                let key = SigningKey::from_pem(&pem);
                let key = key.map_err(|source| Failure::PrivateKey { parameter, source })?;
                Ok(Self {
                    name,
                    public: key.verifying_key(),
                    private: Private::Local(Box::new(key)),
                })
            }
            KeyMaterial::Remote { key, public_key } => {
                let public = VerifyingKey::from_der(&public_key);
                let public =
                    public.map_err(|source| Failure::RemoteKey { key: key.clone(), source })?;
                Ok(Self { name, public, private: Private::Remote(key) })
            }
        }
    }

    /// Signs an unsigned `APKINDEX.tar.gz`: with SHA-256 and SHA-1, or in a key service, which does
    /// not support SHA-1, with SHA-256 alone. An EC key does not sign it.
    ///
    /// # Errors
    ///
    /// [`Failure::Key`], if the service does not sign; [`Failure::Unsigned`].
    pub(crate) async fn sign(
        &self,
        keys: &impl KeyStore,
        unsigned: &[u8],
        random: &mut impl CryptoRngCore,
    ) -> Result<Vec<(SignatureName, Signature)>, Failure> {
        match &self.private {
            _ if !self.public.kind().signs_v2() => Ok(Vec::new()),
            Private::Local(key) => {
                let signed = key.sign_index(&self.name, unsigned, random);
                let key_name = self.name.to_string();
                signed.map_err(|source| Failure::Unsigned { key_name, source })
            }
            Private::Remote(key) => {
                let sha256 = Sha256::digest(unsigned);
                let signature = keys.sign(key, Scheme::RsaSha256, &sha256).await;
                let signature = signature.map_err(Failure::Key)?;
                let algorithm = Algorithm::RsaSha256;
                let name = SignatureName { algorithm, key_name: self.name.clone().into() };
                Ok(vec![(name, Signature::from(signature))])
            }
        }
    }

    /// Signs an index of format v3, whose payload has this digest.
    ///
    /// # Errors
    ///
    /// [`Failure::Key`], if the service does not sign; [`Failure::Unsigned`].
    pub(crate) async fn sign_adb(
        &self,
        keys: &impl KeyStore,
        digest: &PayloadDigest,
        random: &mut impl CryptoRngCore,
    ) -> Result<AdbSignature, Failure> {
        match &self.private {
            Private::Local(key) => AdbSignature::sign(key, Schema::Index, digest, random)
                .map_err(|source| Failure::Unsigned { key_name: self.name.to_string(), source }),
            Private::Remote(key) => {
                let scheme = match self.public.kind() {
                    KeyKind::P256 => Scheme::EcdsaP256,
                    KeyKind::P384 => Scheme::EcdsaP384,
                    _ => Scheme::RsaSha512,
                };
                let digest = digest_for_remote(&self.public, Schema::Index, digest);
                let signature = keys.sign(key, scheme, &digest).await.map_err(Failure::Key)?;
                Ok(AdbSignature::from_remote(&self.public, signature))
            }
        }
    }
}

//! RSA keys.

use std::fmt;

use rsa::{
    Pkcs1v15Sign, RsaPrivateKey, RsaPublicKey,
    pkcs8::{DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding},
    rand_core::CryptoRngCore,
    traits::PublicKeyParts as _,
};
use zeroize::Zeroizing;

pub use crate::key_error::{KeyError, MAX_BITS, MIN_BITS};
use crate::{
    key_error::check_bits,
    key_name::KeyName,
    pem,
    signature::{Algorithm, Signature, SignatureName},
};

/// A private key. Its bytes are zeroised on drop, and `Debug` shows none of them.
#[derive(Clone)]
pub struct SigningKey(RsaPrivateKey);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Reads a key in PEM form: PKCS #8 (`PRIVATE KEY`) or PKCS #1 (`RSA PRIVATE KEY`). Anything
    /// else in the text, such as a byte-order mark or the public key, is ignored.
    ///
    /// # Errors
    ///
    /// [`KeyError`], for any other text, and for a key of an unsupported size.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let key = pem::read_private_key(pem)?;
        check_bits(key.n().bits())?;
        Ok(Self(key))
    }

    /// Generates a key of [`MAX_BITS`]. This takes seconds.
    ///
    /// # Errors
    ///
    /// [`KeyError::Unusable`], if the library finds no primes.
    pub fn generate(random: &mut impl CryptoRngCore) -> Result<Self, KeyError> {
        RsaPrivateKey::new(random, MAX_BITS).map(Self).map_err(|_| KeyError::Unusable)
    }

    /// Writes the key in PEM form, PKCS #8 (`PRIVATE KEY`), as `openssl genrsa` does.
    ///
    /// # Errors
    ///
    /// [`KeyError::Unusable`], if the library can't encode the key.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        self.0.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::Unusable)
    }

    /// Returns the public key.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.to_public_key())
    }

    /// Signs `message`: RSASSA-PKCS1-v1_5 (RFC 8017, 8.2).
    ///
    /// The operation is blinded with `random` against timing attacks (RUSTSEC-2023-0071). The
    /// signature does not depend on it.
    ///
    /// # Errors
    ///
    /// [`KeyError::Unusable`], if the key is inconsistent.
    pub fn sign(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        random: &mut impl CryptoRngCore,
    ) -> Result<Signature, KeyError> {
        let digest = algorithm.digest(message);
        let signed = self.0.sign_with_rng(random, padding(algorithm), &digest);
        signed.map(Signature).map_err(|_| KeyError::Unusable)
    }

    /// Signs an index with each of [`Algorithm::PUBLISHED`].
    ///
    /// # Errors
    ///
    /// [`KeyError::Unusable`], if the key is inconsistent.
    pub fn sign_index(
        &self,
        key_name: &KeyName,
        unsigned: &[u8],
        random: &mut impl CryptoRngCore,
    ) -> Result<Vec<(SignatureName, Signature)>, KeyError> {
        let sign = |algorithm| {
            let name = SignatureName { algorithm, key_name: key_name.clone().into() };
            Ok((name, self.sign(algorithm, unsigned, random)?))
        };
        Algorithm::PUBLISHED.into_iter().map(sign).collect()
    }
}

/// A public key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VerifyingKey(RsaPublicKey);

impl VerifyingKey {
    /// Reads a key in PEM form, `PUBLIC KEY` (SPKI, RFC 5280).
    ///
    /// # Errors
    ///
    /// [`KeyError`], for any other text, and for a key of an unsupported size.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let key = RsaPublicKey::from_public_key_pem(pem.trim())
            .map_err(|_| KeyError::NotAnRsaPublicKey)?;
        check_bits(key.n().bits())?;
        Ok(Self(key))
    }

    /// Reads a key in DER form (SPKI, RFC 5280), as a key service returns it.
    ///
    /// # Errors
    ///
    /// [`KeyError`], for any other bytes, and for a key of an unsupported size.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let key = RsaPublicKey::from_public_key_der(der);
        let key = key.map_err(|_| KeyError::NotAnRsaPublicKey)?;
        check_bits(key.n().bits())?;
        Ok(Self(key))
    }

    /// Writes the key in PEM form, `PUBLIC KEY`: the only form that every version of apk reads.
    ///
    /// # Errors
    ///
    /// [`KeyError::Unusable`], if the library can't encode the key.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        self.0.to_public_key_pem(LineEnding::LF).map_err(|_| KeyError::Unusable)
    }

    /// Returns whether `signature` is this key's signature of `message`.
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &Signature) -> bool {
        self.verifies_digest(algorithm, &algorithm.digest(message), signature)
    }

    pub(crate) fn verifies_digest(
        &self,
        algorithm: Algorithm,
        digest: &[u8],
        signature: &Signature,
    ) -> bool {
        self.0.verify(padding(algorithm), digest, &signature.0).is_ok()
    }
}

fn padding(algorithm: Algorithm) -> Pkcs1v15Sign {
    let hash_len = Some(algorithm.digest_length());
    Pkcs1v15Sign { hash_len, prefix: algorithm.digest_info().into() }
}

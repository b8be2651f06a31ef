//! RSA keys.

use std::fmt;

use rsa::{
    Pkcs1v15Sign, RsaPrivateKey, RsaPublicKey,
    pkcs8::{DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding},
    rand_core::CryptoRngCore,
    traits::PublicKeyParts as _,
};
use zeroize::Zeroizing;

use crate::{
    key_name::KeyName,
    pem,
    signature::{Algorithm, Signature, SignatureName},
};

/// The fewest bits of an RSA key. apk itself sets no limit (measured: it accepts 512).
pub const MIN_BITS: usize = 2048;
/// The most bits of an RSA key: what abuild-keygen makes, and the limit of the `rsa` crate for
/// public keys.
pub const MAX_BITS: usize = 4096;

/// Why a text is not a key that we can use. Never shows any of it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The private key is encrypted.
    #[error("the private key is encrypted; store it decrypted (`openssl rsa -in KEY -out PLAIN`)")]
    Encrypted,
    /// It is the public half.
    #[error("this is the public key; store the private key that belongs to it")]
    IsPublic,
    /// It is a private key that can't make the signatures that apk knows.
    #[error(
        "this is {kind} key, but apk checks signatures by RSA keys; make one with \
         `openssl genrsa 4096`"
    )]
    OtherKind {
        /// The kind, with its article.
        kind: &'static str,
    },
    /// It is none.
    #[error(
        "the text is no RSA private key in PEM form, PKCS #8 (`-----BEGIN PRIVATE KEY-----`) or \
         PKCS #1 (`-----BEGIN RSA PRIVATE KEY-----`)"
    )]
    NotAnRsaKey,
    /// There is more than one private key.
    #[error("the text has several private keys; store one of them alone")]
    Several,
    /// The last line is missing.
    #[error(
        "the private key is cut off: its last line, `-----END …-----`, is missing; store the whole \
         file"
    )]
    CutOff,
    /// The line ends are missing.
    #[error(
        "the private key has lost its line ends; store the file as it is, each line on a line of its \
         own"
    )]
    OneLine,
    /// What is between the first and the last line is no key.
    #[error(
        "the private key is damaged: what stands between its first and its last line can't be read; \
         store the file as it is"
    )]
    Damaged,
    /// It has more than two primes.
    #[error(
        "the RSA key has more than two primes, which is not supported; make one with `openssl genrsa \
         4096`"
    )]
    Primes,
    /// Its public exponent is too large.
    #[error(
        "the RSA key has a public exponent of more than 33 bits, which is not supported; make one with \
         `openssl genrsa 4096`"
    )]
    Exponent,
    /// It is none.
    #[error(
        "the numbers of the RSA key do not belong together; make one with `openssl genrsa 4096`"
    )]
    Inconsistent,
    /// It is no public key, or one of another kind.
    #[error(
        "the text is no RSA public key in PEM form: it should begin with \
         `-----BEGIN PUBLIC KEY-----`"
    )]
    NotAnRsaPublicKey,
    /// The key has fewer than [`MIN_BITS`] or more than [`MAX_BITS`].
    #[error(
        "the RSA key has {bits} bits instead of {MIN_BITS} to {MAX_BITS}; make one with \
         `openssl genrsa 4096`"
    )]
    Bits {
        /// Bits of the modulus.
        bits: usize,
    },
    /// The library could not sign or encode.
    #[error("the RSA key can't be used")]
    Unusable,
}

/// A private key. Its bytes are zeroised on drop, and `Debug` shows none of them.
#[derive(Clone)]
pub struct SigningKey(RsaPrivateKey);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Reads a key in PEM form: PKCS #8 (`PRIVATE KEY`) or PKCS #1 (`RSA PRIVATE KEY`). Whatever
    /// else is in the text, such as a byte-order mark or the public key, is passed over.
    ///
    /// # Errors
    ///
    /// [`KeyError`], for any other text and for a key of another size.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let key = pem::read_private_key(pem)?;
        check_bits(key.n().bits())?;
        Ok(Self(key))
    }

    /// Makes a new key of [`MAX_BITS`]. That takes seconds.
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

    /// Returns the public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.to_public_key())
    }

    /// Signs `message`: RSASSA-PKCS1-v1_5 (RFC 8017, 8.2).
    ///
    /// The operation is blinded with `random`, which hides its duration (RUSTSEC-2023-0071); the
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
    /// [`KeyError`], for any other text and for a key of another size.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let key = RsaPublicKey::from_public_key_pem(pem.trim())
            .map_err(|_| KeyError::NotAnRsaPublicKey)?;
        check_bits(key.n().bits())?;
        Ok(Self(key))
    }

    /// Reads a key in DER form, as a key service gives it (SPKI, RFC 5280).
    ///
    /// # Errors
    ///
    /// [`KeyError`], for any other bytes and for a key of another size.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let key = RsaPublicKey::from_public_key_der(der);
        let key = key.map_err(|_| KeyError::NotAnRsaPublicKey)?;
        check_bits(key.n().bits())?;
        Ok(Self(key))
    }

    /// Writes the key in PEM form, `PUBLIC KEY`: the only one that every apk reads.
    ///
    /// # Errors
    ///
    /// [`KeyError::Unusable`], if the library can't encode the key.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        self.0.to_public_key_pem(LineEnding::LF).map_err(|_| KeyError::Unusable)
    }

    /// Returns whether `signature` is one of `message` by this key.
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

pub(crate) fn check_bits(bits: usize) -> Result<(), KeyError> {
    if (MIN_BITS..=MAX_BITS).contains(&bits) { Ok(()) } else { Err(KeyError::Bits { bits }) }
}

fn padding(algorithm: Algorithm) -> Pkcs1v15Sign {
    let hash_len = Some(algorithm.digest_length());
    Pkcs1v15Sign { hash_len, prefix: algorithm.digest_info().into() }
}

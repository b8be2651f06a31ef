//! RSA keys and their names.

use std::{fmt, str::FromStr};

use rsa::{
    Pkcs1v15Sign, RsaPrivateKey, RsaPublicKey,
    pkcs1::DecodeRsaPrivateKey as _,
    pkcs8::{
        DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _,
        LineEnding, PrivateKeyInfo, SecretDocument,
    },
    rand_core::CryptoRngCore,
    traits::PublicKeyParts as _,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    signature::{Algorithm, Signature, SignatureName},
    value::InvalidValue,
};

/// The fewest bits of an RSA key. apk itself sets no limit (measured: it accepts 512).
pub const MIN_BITS: usize = 2048;
/// The most bits of an RSA key: what abuild-keygen makes, and the limit of the `rsa` crate for
/// public keys.
pub const MAX_BITS: usize = 4096;

/// The file name of a public key in `/etc/apk/keys`, such as `ops@example.com-5f3c2a1b.rsa.pub`.
///
/// A client finds the key of a signature by this name alone (apk-keys(5)). At most 80 bytes, so
/// that `.SIGN.RSA256.<key name>` fits a tar header; ASCII letters, digits and `@._+-`, does not
/// begin with `.` (apk skips hidden files, measured) and ends in `.rsa.pub`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyName(String);

impl KeyName {
    /// Names a new key as abuild-keygen does: `<who>-<8 hexadecimal digits>.rsa.pub`, where `who` is an
    /// address by custom, and the digits are the seconds since 1970 at which it was `made`.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`], if `who` can't be a part of a key name.
    pub fn new(who: &str, made: u32) -> Result<Self, InvalidValue> {
        Self::try_from(format!("{who}-{made:08x}.rsa.pub"))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for KeyName {
    type Error = InvalidValue;

    fn try_from(value: String) -> Result<Self, InvalidValue> {
        let rule = if value.len() > 80 {
            "is longer than 80 bytes"
        } else if value.starts_with('.') {
            "starts with `.`"
        } else if !value.bytes().all(|b| b.is_ascii_alphanumeric() || b"@._+-".contains(&b)) {
            "may hold only ASCII letters, digits, `@`, `.`, `_`, `+` and `-`"
        } else if !value.ends_with(".rsa.pub") {
            "does not end in `.rsa.pub`"
        } else {
            return Ok(Self(value));
        };
        Err(InvalidValue::new("key name", &value, rule))
    }
}

impl FromStr for KeyName {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        Self::try_from(text.to_owned())
    }
}

impl From<KeyName> for String {
    fn from(name: KeyName) -> Self {
        name.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

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
    /// Reads a key in PEM form: PKCS #8 (`PRIVATE KEY`) or PKCS #1 (`RSA PRIVATE KEY`).
    ///
    /// # Errors
    ///
    /// [`KeyError`], for any other text and for a key of another size.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        if ["-----BEGIN ENCRYPTED", "\nProc-Type: 4,ENCRYPTED"]
            .iter()
            .any(|mark| pem.contains(mark))
        {
            return Err(KeyError::Encrypted);
        }
        let key = RsaPrivateKey::from_pkcs8_pem(pem.trim())
            .ok()
            .or_else(|| RsaPrivateKey::from_pkcs1_pem(pem.trim()).ok())
            .ok_or_else(|| other_kind(pem))?;
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
            let name = SignatureName { algorithm, key_name: key_name.clone() };
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

    /// Tells whether `signature` is one of `message` by this key.
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

/// Says what a text is that is no RSA private key.
fn other_kind(pem: &str) -> KeyError {
    const LABELS: [(&str, &str); 4] = [
        ("EC PARAMETERS-----", "an EC"),
        ("EC PRIVATE KEY-----", "an EC"),
        ("DSA PRIVATE KEY-----", "a DSA"),
        ("OPENSSH PRIVATE KEY-----", "an OpenSSH"),
    ];
    // RFC 5480, 3279, 8410 and 4055.
    const IDENTIFIERS: [(&str, &str); 4] = [
        ("1.2.840.10045.2.1", "an EC"),
        ("1.2.840.10040.4.1", "a DSA"),
        ("1.3.101.112", "an Ed25519"),
        ("1.2.840.113549.1.1.10", "an RSA-PSS"),
    ];
    if pem.contains("PUBLIC KEY-----") {
        return KeyError::IsPublic;
    }
    let document = SecretDocument::from_pem(pem.trim()).ok();
    let info = document.as_ref().and_then(|(_, der)| der.decode_msg::<PrivateKeyInfo<'_>>().ok());
    let identifier = info.map(|info| info.algorithm.oid.to_string());
    let by_identifier = IDENTIFIERS.iter().find(|(known, _)| identifier.as_deref() == Some(*known));
    let by_label = LABELS.iter().find(|(label, _)| pem.contains(label));
    match by_identifier.or(by_label) {
        Some(&(_, kind)) => KeyError::OtherKind { kind },
        None => KeyError::NotAnRsaKey,
    }
}

fn check_bits(bits: usize) -> Result<(), KeyError> {
    if (MIN_BITS..=MAX_BITS).contains(&bits) { Ok(()) } else { Err(KeyError::Bits { bits }) }
}

fn padding(algorithm: Algorithm) -> Pkcs1v15Sign {
    let hash_len = Some(algorithm.digest_length());
    Pkcs1v15Sign { hash_len, prefix: algorithm.digest_info().into() }
}

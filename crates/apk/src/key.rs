//! Keys: RSA, which sign both formats, and EC, which sign only v3.

use std::fmt;

use ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::{
    Pkcs1v15Sign, RsaPrivateKey,
    pkcs1::EncodeRsaPublicKey as _,
    pkcs8::{EncodePrivateKey as _, EncodePublicKey as _, LineEnding},
    rand_core::CryptoRngCore,
    traits::PublicKeyParts as _,
};
use sha2::{Digest as _, Sha512};
use zeroize::Zeroizing;

use crate::{
    ec,
    key_material::{Private, Public},
    key_name::KeyName,
    pem,
    signature::{Algorithm, Signature, SignatureName},
    spki,
};
pub use crate::{
    key_error::{KeyError, MAX_BITS, MIN_BITS},
    key_kind::KeyKind,
};

/// By what a v3 signature names its key: the first 16 bytes of SHA-512 over the bare public key
/// (measured on apk 3.0.8). The name of the key's file does not matter there.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyId(pub(crate) [u8; 16]);

impl KeyId {
    /// Makes the ID of a public key from its `RSAPublicKey` (RFC 8017, A.1.1) or its uncompressed
    /// point (SEC 1, 2.3.3): both are the bit string in its SPKI.
    fn of(bare: &[u8]) -> Self {
        let mut id = [0; 16];
        id.iter_mut().zip(Sha512::digest(bare)).for_each(|(id, digest)| *id = digest);
        Self(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A private key. Its bytes are zeroised on drop, and `Debug` shows none of them.
#[derive(Clone)]
pub struct SigningKey {
    private: Private,
    public: VerifyingKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Reads a key in PEM form: PKCS #8 (`PRIVATE KEY`), PKCS #1 (`RSA PRIVATE KEY`) or SEC 1 (`EC
    /// PRIVATE KEY`). Anything else in the text, such as a byte-order mark, the public key or `EC
    /// PARAMETERS`, is ignored.
    ///
    /// # Errors
    ///
    /// [`KeyError`], for any other text, for an RSA key of an unsupported size, and for an EC key
    /// on another curve than P-256 and P-384.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        Self::of(pem::read_private_key(pem)?)
    }

    /// Generates an RSA key of [`MAX_BITS`]. This takes seconds.
    ///
    /// # Errors
    ///
    /// [`KeyError::Unusable`], if the library finds no primes.
    pub fn generate(random: &mut impl CryptoRngCore) -> Result<Self, KeyError> {
        let key = RsaPrivateKey::new(random, MAX_BITS).map_err(|_| KeyError::Unusable)?;
        Self::of(Private::Rsa(Box::new(key)))
    }

    /// Generates an EC key on P-256, as OpenWrt's build system does. It signs only v3.
    ///
    /// # Errors
    ///
    /// [`KeyError::Unusable`], if the library can't encode the key.
    pub fn generate_p256(random: &mut impl CryptoRngCore) -> Result<Self, KeyError> {
        Self::of(Private::P256(p256::SecretKey::random(random)))
    }

    fn of(private: Private) -> Result<Self, KeyError> {
        let public = match &private {
            Private::Rsa(key) => Public::Rsa(key.to_public_key()),
            Private::P256(key) => Public::P256(key.public_key().into()),
            Private::P384(key) => Public::P384(key.public_key().into()),
        };
        Ok(Self { private, public: VerifyingKey::of(public)? })
    }

    /// Writes the key in PEM form, PKCS #8 (`PRIVATE KEY`), as `openssl genpkey` does.
    ///
    /// # Errors
    ///
    /// [`KeyError::Unusable`], if the library can't encode the key.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        let pem = match &self.private {
            Private::Rsa(key) => key.to_pkcs8_pem(LineEnding::LF),
            Private::P256(key) => key.to_pkcs8_pem(LineEnding::LF),
            Private::P384(key) => key.to_pkcs8_pem(LineEnding::LF),
        };
        pem.map_err(|_| KeyError::Unusable)
    }

    /// Returns what the key is made of.
    pub fn kind(&self) -> KeyKind {
        self.public.kind()
    }

    /// Returns the public key.
    pub fn verifying_key(&self) -> VerifyingKey {
        self.public.clone()
    }

    /// Signs `message` for a v2 file: RSASSA-PKCS1-v1_5 (RFC 8017, 8.2).
    ///
    /// The operation is blinded with `random` against timing attacks (RUSTSEC-2023-0071). The
    /// signature does not depend on it.
    ///
    /// # Errors
    ///
    /// [`KeyError::SignsV3Alone`], for an EC key; [`KeyError::Unusable`], if the key is
    /// inconsistent.
    pub fn sign(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        random: &mut impl CryptoRngCore,
    ) -> Result<Signature, KeyError> {
        let Private::Rsa(key) = &self.private else {
            return Err(KeyError::SignsV3Alone { kind: self.kind() });
        };
        let digest = algorithm.digest(message);
        let signed = key.sign_with_rng(random, padding(algorithm), &digest);
        signed.map(Signature).map_err(|_| KeyError::Unusable)
    }

    /// Signs a v2 index with each of [`Algorithm::PUBLISHED`].
    ///
    /// # Errors
    ///
    /// [`KeyError::SignsV3Alone`], for an EC key; [`KeyError::Unusable`], if the key is
    /// inconsistent.
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

    /// Signs a SHA-512 digest for a v3 file. Both schemes are deterministic; `random` blinds RSA.
    pub(crate) fn sign_sha512(
        &self,
        digest: &[u8; 64],
        random: &mut impl CryptoRngCore,
    ) -> Result<Vec<u8>, KeyError> {
        let signed = match &self.private {
            Private::Rsa(key) => {
                key.sign_with_rng(random, padding(Algorithm::RsaSha512), digest).ok()
            }
            Private::P256(key) => ec::sign(key, digest).ok().map(|s| s.to_der().to_bytes().into()),
            Private::P384(key) => ec::sign(key, digest).ok().map(|s| s.to_der().to_bytes().into()),
        };
        signed.ok_or(KeyError::Unusable)
    }
}

/// A public key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VerifyingKey {
    public: Public,
    id: KeyId,
}

impl VerifyingKey {
    /// Reads a key in PEM form, `PUBLIC KEY` (SPKI, RFC 5280).
    ///
    /// # Errors
    ///
    /// [`KeyError`], for any other text, for an RSA key of an unsupported size, for an EC key on
    /// another curve than P-256 and P-384, and for one with a compressed point.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        Self::of(spki::read_pem(pem)?)
    }

    /// Reads a key in DER form (SPKI, RFC 5280), as a key service returns it.
    ///
    /// # Errors
    ///
    /// Those of [`Self::from_pem`].
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        Self::of(spki::read_der(der)?)
    }

    fn of(public: Public) -> Result<Self, KeyError> {
        let id = match &public {
            Public::Rsa(key) => {
                KeyId::of(key.to_pkcs1_der().map_err(|_| KeyError::Unusable)?.as_bytes())
            }
            Public::P256(key) => KeyId::of(key.to_encoded_point(false).as_bytes()),
            Public::P384(key) => KeyId::of(key.to_encoded_point(false).as_bytes()),
        };
        Ok(Self { public, id })
    }

    /// Writes the key in PEM form, `PUBLIC KEY`: the only form that every version of apk reads. An
    /// EC key's point is uncompressed.
    ///
    /// # Errors
    ///
    /// [`KeyError::Unusable`], if the library can't encode the key.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let pem = match &self.public {
            Public::Rsa(key) => key.to_public_key_pem(LineEnding::LF),
            Public::P256(key) => key.to_public_key_pem(LineEnding::LF),
            Public::P384(key) => key.to_public_key_pem(LineEnding::LF),
        };
        pem.map_err(|_| KeyError::Unusable)
    }

    /// Returns what the key is made of.
    pub fn kind(&self) -> KeyKind {
        match &self.public {
            Public::Rsa(key) => KeyKind::Rsa { bits: key.n().bits() },
            Public::P256(_) => KeyKind::P256,
            Public::P384(_) => KeyKind::P384,
        }
    }

    /// Returns by what v3 signatures name the key.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Returns whether `signature` is this key's signature of `message`, as v2 files have it. An EC
    /// key has none there.
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &Signature) -> bool {
        self.verifies_digest(algorithm, &algorithm.digest(message), signature)
    }

    pub(crate) fn verifies_digest(
        &self,
        algorithm: Algorithm,
        digest: &[u8],
        signature: &Signature,
    ) -> bool {
        let Public::Rsa(key) = &self.public else { return false };
        key.verify(padding(algorithm), digest, &signature.0).is_ok()
    }

    /// Returns whether `signature` is this key's signature of a SHA-512 digest, as v3 files have
    /// it: an EC signature is in DER form, with nothing after it (measured on apk 3.0.8).
    pub(crate) fn verifies_sha512(&self, digest: &[u8; 64], signature: &[u8]) -> bool {
        match &self.public {
            Public::Rsa(key) => {
                key.verify(padding(Algorithm::RsaSha512), digest, signature).is_ok()
            }
            Public::P256(key) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok()),
            Public::P384(key) => p384::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok()),
        }
    }
}

fn padding(algorithm: Algorithm) -> Pkcs1v15Sign {
    let hash_len = Some(algorithm.digest_length());
    Pkcs1v15Sign { hash_len, prefix: algorithm.digest_info().into() }
}

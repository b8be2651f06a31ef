//! Signatures in ADB files: what a SIG block holds, and what it signs.
//!
//! ```text
//! SIG block  version:u8, 0   hash:u8   key ID:16   signature
//! message    schema:4   the first 18 bytes of the block   hash of the ADB payload
//! ```
//!
//! The message is signed with SHA-512 whatever the hash of the payload: RSASSA-PKCS1-v1_5, or ECDSA
//! with the signature in DER form (apk-v3(5); measured on apk-tools 3.0.8). Of several signatures,
//! a client needs one that is right and by a key that it trusts. Unlike in v2, it passes over wrong
//! ones (measured).

use rsa::rand_core::CryptoRngCore;
use sha2::{Digest as _, Sha256, Sha512};

use super::container::Schema;
use crate::key::{KeyError, KeyId, SigningKey, VerifyingKey};

/// The length of a SIG block before the signature itself.
const HEADER_LENGTH: usize = 18;
/// The version of SIG blocks. apk passes over others (measured).
const VERSION: u8 = 0;
/// The number of the hash SHA-256.
const HASH_SHA256: u8 = 3;
/// The number of the hash SHA-512, with which all tools sign.
const HASH_SHA512: u8 = 4;
/// The number of the hash SHA-256 of which the first 160 bits are used.
const HASH_SHA256_160: u8 = 5;

/// The hashes of an ADB payload.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PayloadDigest {
    sha256: [u8; 32],
    sha512: [u8; 64],
}

impl PayloadDigest {
    /// Hashes a payload.
    pub fn of(payload: &[u8]) -> Self {
        Self { sha256: Sha256::digest(payload).into(), sha512: Sha512::digest(payload).into() }
    }

    /// Returns the SHA-256, by which a v3 index names a package.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// Returns the SHA-512 of the message that a SIG block with this header signs. `None` for a
    /// version or a hash with which apk trusts no signature: MD5 and SHA-1, for instance
    /// (measured).
    fn message(&self, schema: Schema, header: &[u8; HEADER_LENGTH]) -> Option<[u8; 64]> {
        let [version, hash, ..] = header;
        let digest = match *hash {
            _ if *version != VERSION => None,
            HASH_SHA256 => Some(self.sha256.as_slice()),
            HASH_SHA512 => Some(self.sha512.as_slice()),
            HASH_SHA256_160 => self.sha256.get(..20),
            _ => None,
        }?;
        let message = Sha512::new().chain_update(schema.bytes()).chain_update(header);
        Some(message.chain_update(digest).finalize().into())
    }
}

/// The content of a SIG block.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AdbSignature {
    header: [u8; HEADER_LENGTH],
    signature: Vec<u8>,
}

impl AdbSignature {
    /// Reads the payload of a SIG block. `None` if it is too short for one: apk passes over that.
    pub fn parse(block: &[u8]) -> Option<Self> {
        let (header, signature) = block.split_first_chunk()?;
        Some(Self { header: *header, signature: signature.to_vec() })
    }

    /// Signs a file of this schema, whose ADB payload has this digest. The same key and file give
    /// the same signature; `random` blinds the operation of RSA.
    ///
    /// # Errors
    ///
    /// [`KeyError::Unusable`], if the key is inconsistent.
    pub fn sign(
        key: &SigningKey,
        schema: Schema,
        digest: &PayloadDigest,
        random: &mut impl CryptoRngCore,
    ) -> Result<Self, KeyError> {
        let header = header(key.verifying_key().id());
        let message = digest.message(schema, &header).ok_or(KeyError::Unusable)?;
        Ok(Self { header, signature: key.sign_sha512(&message, random)? })
    }

    /// Takes the signature that a key service made of [`digest_for_remote`].
    pub fn from_remote(key: &VerifyingKey, signature: Vec<u8>) -> Self {
        Self { header: header(key.id()), signature }
    }

    /// Returns the ID of the key that it claims to be by.
    pub fn key_id(&self) -> KeyId {
        let [_, _, id @ ..] = self.header;
        KeyId(id)
    }

    /// Returns whether it is the signature by `key` of a file of this schema, whose ADB payload has
    /// this digest.
    pub fn is_by(&self, key: &VerifyingKey, schema: Schema, digest: &PayloadDigest) -> bool {
        self.key_id() == key.id()
            && digest
                .message(schema, &self.header)
                .is_some_and(|message| key.verifies_sha512(&message, &self.signature))
    }

    /// Returns the payload of its SIG block.
    pub fn to_block(&self) -> Vec<u8> {
        [&self.header, &*self.signature].concat()
    }
}

/// Returns what a key service must sign with `key`, so that it is a signature of a file of this
/// schema, whose ADB payload has this digest.
///
/// That is a digest as the service expects one: of RSA keys 64 bytes, for PKCS #1 v1.5 with
/// SHA-512. Of EC keys as many as the order of their curve has, 32 or 48, since ECDSA uses no more
/// of a digest (FIPS 186-5, 6.4.1): AWS KMS takes these for `ECDSA_SHA_256` and `ECDSA_SHA_384`,
/// and can't tell that they are the beginning of a SHA-512 (measured with P-256 and P-384 on an
/// emulator).
pub fn digest_for_remote(key: &VerifyingKey, schema: Schema, digest: &PayloadDigest) -> Vec<u8> {
    let mut message: Vec<_> =
        digest.message(schema, &header(key.id())).into_iter().flatten().collect();
    message.truncate(key.kind().remote_digest_length());
    message
}

/// Returns the beginning of a SIG block of ours.
fn header(key: KeyId) -> [u8; HEADER_LENGTH] {
    let mut header = [0; HEADER_LENGTH];
    let begin = [VERSION, HASH_SHA512];
    header.iter_mut().zip(begin.into_iter().chain(key.0)).for_each(|(to, byte)| *to = byte);
    header
}

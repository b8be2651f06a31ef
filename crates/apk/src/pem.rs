//! Private keys in PEM form (RFC 7468), as people copy and paste them.

use rsa::{
    RsaPrivateKey, RsaPublicKey,
    pkcs1::{self, DecodeRsaPrivateKey as _},
    pkcs8::{DecodePrivateKey as _, ObjectIdentifier, PrivateKeyInfo, SecretDocument},
    traits::PublicKeyParts as _,
};
use sec1::EcPrivateKey;

use crate::{
    ec::{self, Curve},
    key_error::{KeyError, check_bits, kind_of},
    key_material::Private,
};

/// The text from a line `-----BEGIN …-----` to its `-----END …-----`, inclusive.
#[derive(Clone, Copy)]
struct Block<'a> {
    label: &'a str,
    text: &'a str,
    /// Whether the last line is present.
    is_whole: bool,
}

/// Returns the blocks of a text, ignoring anything around them.
fn blocks(text: &str) -> Vec<Block<'_>> {
    const BEGIN: &str = "-----BEGIN ";
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, begun)) = rest.find(BEGIN).map(|begin| rest.split_at(begin)) {
        let Some((label, _)) = begun.get(BEGIN.len()..).and_then(|named| named.split_once("-----"))
        else {
            break;
        };
        let end = format!("-----END {label}-----");
        let length = begun.find(&end).map(|begin| begin + end.len());
        let (text, after) = begun.split_at(length.unwrap_or(begun.len()));
        blocks.push(Block { label, text, is_whole: length.is_some() });
        rest = after;
    }
    blocks
}

/// Reads the only private key in a text.
///
/// # Errors
///
/// [`KeyError`], unless there is exactly one, and it is a usable RSA or EC key.
pub(crate) fn read_private_key(text: &str) -> Result<Private, KeyError> {
    let blocks = blocks(text);
    let private: Vec<_> =
        blocks.iter().filter(|block| block.label.ends_with("PRIVATE KEY")).collect();
    match *private {
        [block] => block.read(),
        [] if blocks.iter().any(|block| block.label.ends_with("PUBLIC KEY")) => {
            Err(KeyError::IsPublic)
        }
        [] => Err(KeyError::NotAKey),
        _ => Err(KeyError::Several),
    }
}

impl Block<'_> {
    fn read(self) -> Result<Private, KeyError> {
        if self.label.starts_with("ENCRYPTED") || self.text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(KeyError::Encrypted);
        }
        let kind = match self.label {
            "DSA PRIVATE KEY" => Some("a DSA"),
            "OPENSSH PRIVATE KEY" => Some("an OpenSSH"),
            _ => None,
        };
        if let Some(kind) = kind {
            return Err(KeyError::OtherKind { kind });
        }
        if !self.is_whole {
            return Err(KeyError::CutOff);
        }
        if !self.text.contains(['\n', '\r']) {
            return Err(KeyError::OneLine);
        }
        let (_, document) = SecretDocument::from_pem(self.text).map_err(|_| KeyError::Damaged)?;
        if self.label == "EC PRIVATE KEY" {
            let key = document.decode_msg().map_err(|_| fault_of_ec(document.as_bytes()))?;
            return read_ec(None, key);
        }
        match document.decode_msg::<PrivateKeyInfo<'_>>() {
            Ok(info) if info.algorithm.oid == ec::ALGORITHM => {
                let key = EcPrivateKey::try_from(info.private_key);
                let curve = Curve::of(info.algorithm.parameters_oid().ok())?;
                read_ec(Some(curve), key.map_err(|_| KeyError::Damaged)?)
            }
            info => RsaPrivateKey::from_pkcs8_pem(self.text)
                .ok()
                .or_else(|| RsaPrivateKey::from_pkcs1_pem(self.text).ok())
                .ok_or_else(|| fault(info.ok().as_ref(), document.as_bytes()))
                .and_then(|key| check_bits(key.n().bits()).map(|()| Private::Rsa(Box::new(key)))),
        }
    }
}

/// Reads the key of a curve that PKCS #8 or the key itself names.
fn read_ec(curve: Option<Curve>, key: EcPrivateKey<'_>) -> Result<Private, KeyError> {
    let named = || Curve::of(key.parameters.and_then(sec1::EcParameters::named_curve));
    let read = match curve.map_or_else(named, Ok)? {
        Curve::P256 => p256::SecretKey::try_from(key).ok().map(Private::P256),
        Curve::P384 => p384::SecretKey::try_from(key).ok().map(Private::P384),
    };
    read.ok_or(KeyError::InconsistentEc)
}

/// Returns why something is not an EC key that names its curve.
fn fault_of_ec(der: &[u8]) -> KeyError {
    // The identifier of prime fields (RFC 3279, 2.3.5), in DER form: a description of a curve
    // begins with it.
    const PRIME_FIELD: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x01\x01";
    let describes = der.windows(PRIME_FIELD.len()).any(|window| window == PRIME_FIELD);
    if describes { KeyError::Curve { curve: ec::UNNAMED } } else { KeyError::Damaged }
}

/// Returns why something is not a usable RSA key.
fn fault(info: Option<&PrivateKeyInfo<'_>>, document: &[u8]) -> KeyError {
    match info {
        Some(info) if info.algorithm.oid != pkcs1::ALGORITHM_OID => other_kind(info.algorithm.oid),
        Some(info) => fault_of_numbers(info.private_key),
        None => fault_of_numbers(document),
    }
}

/// Returns the error for a key whose algorithm has this identifier.
fn other_kind(identifier: ObjectIdentifier) -> KeyError {
    kind_of(identifier).map_or(KeyError::NotAKey, |kind| KeyError::OtherKind { kind })
}

/// Returns which of the numbers of an RSA key (RFC 8017, A.1.2) the `rsa` library rejects.
fn fault_of_numbers(der: &[u8]) -> KeyError {
    let Ok(key) = pkcs1::RsaPrivateKey::try_from(der) else { return KeyError::Damaged };
    // A `UintRef` has no leading zero bytes.
    let bits = |number: pkcs1::UintRef<'_>| match number.as_bytes() {
        [] => 0,
        bytes @ [first, ..] => bytes.len() * 8 - first.leading_zeros() as usize,
    };
    let max_exponent = u64::BITS - RsaPublicKey::MAX_PUB_EXPONENT.leading_zeros();
    if key.version() != pkcs1::Version::TwoPrime {
        KeyError::Primes
    } else if let Err(error) = check_bits(bits(key.modulus)) {
        error
    } else if bits(key.public_exponent) > max_exponent as usize {
        KeyError::Exponent
    } else {
        KeyError::Inconsistent
    }
}

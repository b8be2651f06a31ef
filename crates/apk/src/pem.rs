//! RSA private keys in PEM form (RFC 7468), as people copy and paste them.

use rsa::{
    RsaPrivateKey, RsaPublicKey,
    pkcs1::{self, DecodeRsaPrivateKey as _},
    pkcs8::{DecodePrivateKey as _, PrivateKeyInfo, SecretDocument},
};

use crate::key_error::{KeyError, check_bits};

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
/// [`KeyError`], unless there is exactly one, and it is a usable RSA key.
pub(crate) fn read_private_key(text: &str) -> Result<RsaPrivateKey, KeyError> {
    let blocks = blocks(text);
    let private: Vec<_> =
        blocks.iter().filter(|block| block.label.ends_with("PRIVATE KEY")).collect();
    match *private {
        [block] => block.read(),
        [] if blocks.iter().any(|block| block.label.ends_with("PUBLIC KEY")) => {
            Err(KeyError::IsPublic)
        }
        [] => Err(KeyError::NotAnRsaKey),
        _ => Err(KeyError::Several),
    }
}

impl Block<'_> {
    fn read(self) -> Result<RsaPrivateKey, KeyError> {
        if self.label.starts_with("ENCRYPTED") || self.text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(KeyError::Encrypted);
        }
        let kind = match self.label {
            "EC PRIVATE KEY" => Some("an EC"),
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
        RsaPrivateKey::from_pkcs8_pem(self.text)
            .ok()
            .or_else(|| RsaPrivateKey::from_pkcs1_pem(self.text).ok())
            .ok_or_else(|| self.fault())
    }

    /// Returns why it is not a usable key.
    fn fault(self) -> KeyError {
        let Ok((_, document)) = SecretDocument::from_pem(self.text) else {
            return KeyError::Damaged;
        };
        let info = document.decode_msg::<PrivateKeyInfo<'_>>().ok();
        match info {
            Some(info) if info.algorithm.oid != pkcs1::ALGORITHM_OID => {
                other_kind(&info.algorithm.oid.to_string())
            }
            Some(info) => fault_of_numbers(info.private_key),
            None => fault_of_numbers(document.as_bytes()),
        }
    }
}

/// Returns the error for a key whose algorithm has this object identifier.
fn other_kind(identifier: &str) -> KeyError {
    // RFC 5480, 3279, 8410 and 4055.
    const IDENTIFIERS: [(&str, &str); 4] = [
        ("1.2.840.10045.2.1", "an EC"),
        ("1.2.840.10040.4.1", "a DSA"),
        ("1.3.101.112", "an Ed25519"),
        ("1.2.840.113549.1.1.10", "an RSA-PSS"),
    ];
    match IDENTIFIERS.iter().find(|(known, _)| *known == identifier) {
        Some(&(_, kind)) => KeyError::OtherKind { kind },
        None => KeyError::NotAnRsaKey,
    }
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

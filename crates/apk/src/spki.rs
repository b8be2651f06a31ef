//! Public keys: `SubjectPublicKeyInfo` (RFC 5280, 4.1.2.7), in DER or PEM form.

use rsa::{
    RsaPublicKey, pkcs1,
    pkcs8::{Document, SubjectPublicKeyInfoRef},
    traits::PublicKeyParts as _,
};

use crate::{
    ec::{self, Curve},
    key_error::{KeyError, check_bits, kind_of},
    key_material::Public,
};

/// Reads the only text from `-----BEGIN PUBLIC KEY-----` to its end.
pub(crate) fn read_pem(pem: &str) -> Result<Public, KeyError> {
    match Document::from_pem(pem.trim()) {
        Ok(("PUBLIC KEY", document)) => read_der(document.as_bytes()),
        _ => Err(KeyError::NotAPublicKey),
    }
}

pub(crate) fn read_der(der: &[u8]) -> Result<Public, KeyError> {
    let info = SubjectPublicKeyInfoRef::try_from(der).map_err(|_| KeyError::NotAPublicKey)?;
    match info.algorithm.oid {
        pkcs1::ALGORITHM_OID => {
            let key = RsaPublicKey::try_from(info).map_err(|_| KeyError::NotAPublicKey)?;
            check_bits(key.n().bits())?;
            Ok(Public::Rsa(key))
        }
        ec::ALGORITHM => {
            let curve = Curve::of(info.algorithm.parameters_oid().ok())?;
            let point = info.subject_public_key.as_bytes().unwrap_or_default();
            if let [2 | 3, ..] = point {
                return Err(KeyError::Compressed);
            }
            let key = match curve {
                Curve::P256 => {
                    p256::ecdsa::VerifyingKey::from_sec1_bytes(point).ok().map(Public::P256)
                }
                Curve::P384 => {
                    p384::ecdsa::VerifyingKey::from_sec1_bytes(point).ok().map(Public::P384)
                }
            };
            key.ok_or(KeyError::NotAPublicKey)
        }
        other => {
            Err(kind_of(other).map_or(KeyError::NotAPublicKey, |kind| KeyError::OtherKind { kind }))
        }
    }
}

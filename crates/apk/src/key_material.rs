//! The numbers of keys, as the libraries hold them.

use rsa::{RsaPrivateKey, RsaPublicKey};

/// Those of a private key.
#[derive(Clone)]
pub(crate) enum Private {
    Rsa(Box<RsaPrivateKey>),
    P256(p256::SecretKey),
    P384(p384::SecretKey),
}

/// Those of a public key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Public {
    Rsa(RsaPublicKey),
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
}

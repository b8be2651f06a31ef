//! Whose packages are listed.
//!
//! A client that installs from a repository never checks a package's own signature: the index
//! vouches for it (measured). So this is the last place where it can be checked.

use std::str::FromStr;

use alpinist_apk::{
    key::VerifyingKey, key_name::KeyName, package::Package, package_signature::PackageSignature,
};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{
    location::trusted_key,
    port::{self, ObjectStore, StoreError},
    rejection::Rejection,
};

/// How many key names are looked up for one package. Signatures beyond that are ignored.
pub const MAX_SIGNERS: usize = 16;

/// The maximum size of a public key's object in bytes.
pub(crate) const MAX_KEY_LENGTH: u64 = 64 * 1024;

/// What is required of the signatures of packages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PackageSignatures {
    /// They are not checked.
    Ignore,
    /// One by a trusted key must be right. Unknown signers, or none, are accepted and recorded.
    Verify,
    /// There must be one by a trusted key, and it must be right.
    Require,
}

impl PackageSignatures {
    /// The accepted texts, for messages.
    pub const VALUES: &'static str = "Ignore, Verify or Require";
}

/// A text is none of the accepted ones.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is not {values}", values = PackageSignatures::VALUES)]
pub struct UnknownPolicy(String);

impl FromStr for PackageSignatures {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        match text {
            "Ignore" => Ok(Self::Ignore),
            "Verify" => Ok(Self::Verify),
            "Require" => Ok(Self::Require),
            _ => Err(UnknownPolicy(text.to_owned())),
        }
    }
}

/// Who signed a package, for people who inspect its execution.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SignedBy {
    /// The owner of this trusted key. The signature is right.
    Trusted(KeyName),
    /// The owners of keys with these names, none of which is trusted. Nothing was checked.
    Unknown(Vec<KeyName>),
    /// Nobody.
    Nobody,
}

/// The result of a check: who signed, if that was checked, or why the package is rejected.
type Judgement = Result<Option<SignedBy>, Rejection>;

/// Checks the signatures of a package as `apk add FILE` would: the first by a trusted key decides,
/// whatever follows it.
///
/// A key is trusted if it is stored under its name in `.alpinist/trusted-keys/`, or at the top of
/// the bucket, where the repository's own keys are published. An object that is not a key is
/// skipped, as clients do.
///
/// # Errors
///
/// Those of the store.
pub(crate) async fn verify_signatures<S: ObjectStore>(
    store: &S,
    policy: PackageSignatures,
    package: &Package,
) -> Result<Judgement, StoreError> {
    if policy == PackageSignatures::Ignore {
        return Ok(Ok(None));
    }
    let mut unknown: Vec<KeyName> = Vec::new();
    for signature in package.signatures.control() {
        // A key with another kind of name is never trusted.
        let Some(key_name) = signature.name.key_name.to_key_name() else { continue };
        if unknown.contains(&key_name) {
            continue;
        }
        if unknown.len() == MAX_SIGNERS {
            break;
        }
        match find(store, &key_name).await? {
            Some(key) => return Ok(verdict(signature, key_name, &key)),
            None => unknown.push(key_name),
        }
    }
    Ok(match policy {
        PackageSignatures::Require => Err(Rejection::NotSigned { by: unknown }),
        _ if unknown.is_empty() => Ok(Some(SignedBy::Nobody)),
        _ => Ok(Some(SignedBy::Unknown(unknown))),
    })
}

fn verdict(signature: &PackageSignature, key_name: KeyName, key: &VerifyingKey) -> Judgement {
    if signature.is_by(key) {
        Ok(Some(SignedBy::Trusted(key_name)))
    } else {
        Err(Rejection::Signature { key_name: key_name.into() })
    }
}

async fn find<S: ObjectStore>(
    store: &S,
    name: &KeyName,
) -> Result<Option<VerifyingKey>, StoreError> {
    for key in [trusted_key(name), name.to_string()] {
        let object = match port::read(store, &key, MAX_KEY_LENGTH).await {
            Ok(Some(object)) => object,
            Ok(None) => continue,
            Err(StoreError::TooLarge { .. }) => {
                warn!(key, "object is too large for a public key and is passed over");
                continue;
            }
            Err(error) => return Err(error),
        };
        match VerifyingKey::from_pem(&String::from_utf8_lossy(&object.body)) {
            Ok(key) => return Ok(Some(key)),
            Err(error) => warn!(key, %error, "object is no usable public key and is passed over"),
        }
    }
    Ok(None)
}

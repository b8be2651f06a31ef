//! Whose packages are listed.
//!
//! A client that installs from a repository never checks a package's own signature: the index
//! vouches for it (measured). So this is the last place where it can be checked.

use std::str::FromStr;

use alpinist_apk::{
    adb::signature::AdbSignature,
    key::VerifyingKey,
    key_name::KeyName,
    package::{Package, PayloadSignatures, Signatures},
    package_signature::PackageSignature,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{
    location::{TRUSTED_KEYS, trusted_key},
    port::{self, ObjectStore, StoreError},
    rejection::Rejection,
};

/// How many key names are looked up for one package. Signatures beyond that are ignored.
pub const MAX_SIGNERS: usize = 16;

/// How many trusted keys are compared with the signatures of a v3 package, which name them by ID
/// alone.
pub const MAX_TRUSTED_KEYS: usize = 256;

/// How many keys are read at once.
const PARALLEL_READS: usize = 16;

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
    /// The owners of these keys, none of which is trusted: their names or, in a v3 package, their
    /// IDs. Nothing was checked.
    Unknown(Vec<String>),
    /// Nobody.
    Nobody,
}

/// The result of a check: who signed, if that was checked, or why the package is rejected.
type Judgement = Result<Option<SignedBy>, Rejection>;

/// Checks the signatures of a package: the first by a trusted key decides, whatever follows it. For
/// a v2 package, `apk add FILE` does the same. For a v3 package, it passes over wrong signatures by
/// trusted keys (measured); we don't, because somebody has changed something.
///
/// A key is trusted if it is stored in `.alpinist/trusted-keys/`. For v2 packages, it must have its
/// name there, and may also be at the top of the bucket, where the repository's own keys are
/// published. A v3 package names keys by ID alone, so the trusted ones are listed. An object that
/// is not a key is skipped, as clients do.
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
    let verified = match &package.signatures {
        Signatures::Control(signatures) => verify_control(store, signatures).await?,
        Signatures::Payload(signatures) => verify_payload(store, signatures).await?,
    };
    Ok(match verified {
        Verified::Trusted(judgement) => judgement,
        Verified::Unknown(by) if policy == PackageSignatures::Require => {
            Err(Rejection::NotSigned { by })
        }
        Verified::Unknown(by) if by.is_empty() => Ok(Some(SignedBy::Nobody)),
        Verified::Unknown(by) => Ok(Some(SignedBy::Unknown(by))),
    })
}

/// What came of a search for a trusted key.
enum Verified {
    /// There is a signature by one.
    Trusted(Judgement),
    /// There is none. These are the other keys.
    Unknown(Vec<String>),
}

/// Checks the signatures of a v2 package.
async fn verify_control<S: ObjectStore>(
    store: &S,
    signatures: &[PackageSignature],
) -> Result<Verified, StoreError> {
    let mut unknown: Vec<KeyName> = Vec::new();
    for signature in signatures {
        // A key with another kind of name is never trusted.
        let Some(key_name) = signature.name.key_name.to_key_name() else { continue };
        if unknown.contains(&key_name) {
            continue;
        }
        if unknown.len() == MAX_SIGNERS {
            break;
        }
        match find(store, &key_name).await? {
            Some(key) => return Ok(verdict(signature.is_by(&key), key_name)),
            None => unknown.push(key_name),
        }
    }
    Ok(Verified::Unknown(unknown.iter().map(ToString::to_string).collect()))
}

/// Checks the signatures of a v3 package.
async fn verify_payload<S: ObjectStore>(
    store: &S,
    signatures: &PayloadSignatures,
) -> Result<Verified, StoreError> {
    let mut ids: Vec<_> = signatures.iter().map(AdbSignature::key_id).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(Verified::Unknown(Vec::new()));
    }
    let trusted = trusted_keys(store).await?;
    for signature in signatures.iter() {
        if let Some((name, key)) = trusted.iter().find(|(_, key)| key.id() == signature.key_id()) {
            return Ok(verdict(signatures.is_by(signature, key), name.clone()));
        }
    }
    Ok(Verified::Unknown(ids.iter().map(ToString::to_string).collect()))
}

fn verdict(is_right: bool, key_name: KeyName) -> Verified {
    Verified::Trusted(if is_right {
        Ok(Some(SignedBy::Trusted(key_name)))
    } else {
        Err(Rejection::Signature { key_name: key_name.into() })
    })
}

/// Reads all trusted keys, in the order of their names.
async fn trusted_keys<S: ObjectStore>(
    store: &S,
) -> Result<Vec<(KeyName, VerifyingKey)>, StoreError> {
    let listed = store.list(TRUSTED_KEYS, &[]).await?;
    let name = |key: &str| key.strip_prefix(TRUSTED_KEYS)?.parse::<KeyName>().ok();
    let mut names: Vec<_> = listed.iter().filter_map(|object| name(&object.key)).collect();
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    if names.len() > MAX_TRUSTED_KEYS {
        let keys = names.len();
        warn!(keys, "there are too many trusted keys; only the first {MAX_TRUSTED_KEYS} count");
        names.truncate(MAX_TRUSTED_KEYS);
    }
    let read = async |name: KeyName| {
        let key = read_key(store, &trusted_key(&name)).await?;
        Ok(key.map(|key| (name, key)))
    };
    let keys: Vec<_> = stream::iter(names).map(read).buffered(PARALLEL_READS).try_collect().await?;
    Ok(keys.into_iter().flatten().collect())
}

async fn find<S: ObjectStore>(
    store: &S,
    name: &KeyName,
) -> Result<Option<VerifyingKey>, StoreError> {
    for key in [trusted_key(name), name.to_string()] {
        if let Some(found) = read_key(store, &key).await? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Reads a public key, if there is a usable one.
async fn read_key<S: ObjectStore>(
    store: &S,
    key: &str,
) -> Result<Option<VerifyingKey>, StoreError> {
    let object = match port::read(store, key, MAX_KEY_LENGTH).await {
        Ok(Some(object)) => object,
        Ok(None) => return Ok(None),
        Err(StoreError::TooLarge { .. }) => {
            warn!(key, "object is too large for a public key and is passed over");
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    match VerifyingKey::from_pem(&String::from_utf8_lossy(&object.body)) {
        Ok(key) => Ok(Some(key)),
        Err(error) => {
            warn!(key, %error, "object is no usable public key and is passed over");
            Ok(None)
        }
    }
}

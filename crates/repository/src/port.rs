//! The three ports, which are what the steps need from outside: a bucket, a store for signing keys,
//! and a way to start executions.

use std::{collections::BTreeMap, error::Error, fmt, future::Future, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The version of an object, as the store names it. Opaque: not every store uses a hash.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(transparent)]
pub struct ETag(pub String);

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of a snapshot, greater than that of the snapshot before. The first of a repository
/// prefix is a time in seconds, so generations keep growing even if the snapshots are lost.
pub type Generation = u64;

/// What must hold for a write to take place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Precondition {
    /// Nothing.
    None,
    /// The object does not exist (`If-None-Match: *`).
    Absent,
    /// The object exists and still has this ETag (`If-Match`).
    Unchanged(ETag),
}

impl Precondition {
    /// Returns the precondition that an object is unchanged since it was inspected: absent if
    /// `seen` is `None`.
    pub fn still(seen: Option<ETag>) -> Self {
        seen.map_or(Self::Absent, Self::Unchanged)
    }
}

/// Key-value pairs stored with an object (S3 user metadata).
pub type Attributes = BTreeMap<String, String>;

/// What is known about an object without reading its content.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ObjectInfo {
    /// Its version.
    pub etag: ETag,
    /// Its size in bytes.
    pub size: u64,
    /// How long ago it was written, by the store's clock, in whole seconds.
    pub age: Duration,
    /// Its attributes.
    pub attributes: Attributes,
}

/// An object and its content, or a body from which to read it.
#[derive(Debug)]
pub struct Object<B> {
    /// What is known without reading the content.
    pub info: ObjectInfo,
    /// The content.
    pub body: B,
}

/// An object as a listing shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListedObject {
    /// Its key.
    pub key: String,
    /// Its version.
    pub etag: ETag,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written, in seconds since 1970, by the store's clock.
    pub last_modified: i64,
}

/// The result of listing a directory, perhaps only in part.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Directory {
    /// The directories in it, as full prefixes that end in a slash. Incomplete if a match ended the
    /// listing.
    pub below: Vec<String>,
    /// Whether it holds a file that was sought.
    pub holds_what_was_sought: bool,
}

/// An object to be written.
#[derive(Clone, Debug)]
pub struct NewObject {
    /// Its content.
    pub bytes: Vec<u8>,
    /// Its media type.
    pub content_type: &'static str,
    /// Its attributes.
    pub attributes: Attributes,
}

/// The cause of an error, as a library reported it.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why a request to a store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The precondition of a write does not hold (S3: 412, 409, or 404 for `If-Match`).
    #[error("{key} was changed by somebody else")]
    Conflict {
        /// The object.
        key: String,
    },
    /// The credentials do not allow the request.
    #[error("access to {key} was denied")]
    Denied {
        /// The object, prefix or parameter.
        key: String,
        /// What the store said.
        source: Cause,
    },
    /// There is no such bucket.
    #[error("there is no bucket {bucket}")]
    NoBucket {
        /// Its name.
        bucket: String,
    },
    /// The object is in a storage class from which it must be restored before it can be read.
    #[error("{key} is archived")]
    Archived {
        /// The object.
        key: String,
    },
    /// The store rejects the request, and a retry can't help.
    #[error("the request for {key} can't be done")]
    Permanent {
        /// The object, prefix or parameter.
        key: String,
        /// What the store said.
        source: Cause,
    },
    /// The store throttles, fails or can't be reached. A retry may help.
    #[error("the request for {key} failed")]
    Unavailable {
        /// The object, prefix or parameter.
        key: String,
        /// What the store said.
        source: Cause,
    },
    /// The object is larger than any valid one.
    #[error("{key} has {size} bytes, more than the {max} that it can rightly have")]
    TooLarge {
        /// The object.
        key: String,
        /// Its size.
        size: u64,
        /// The limit.
        max: u64,
    },
}

/// The content of an object, chunk by chunk.
pub trait ObjectBody: Send {
    /// Returns the next chunk, or `None` at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, StoreError>> + Send;
}

/// What to look for in a directory.
#[derive(Clone, Copy, Debug)]
pub struct Sought {
    /// Whether a file of this name is sought.
    pub file: fn(&str) -> bool,
    /// Whether the listing may end at the first match.
    pub ends_listing: bool,
}

/// Reads and writes the objects of one bucket, which must be strongly consistent.
pub trait ObjectStore: Send + Sync {
    /// The content of an object.
    type Body: ObjectBody;

    /// Returns the time in seconds since 1970, by the store's clock or one that differs by a few
    /// seconds.
    fn now(&self) -> i64;

    /// Waits until the next second of the store's clock.
    fn wait_a_second(&self) -> impl Future<Output = ()> + Send;

    /// Returns what is known about the object at `key`, or `None` if there is none.
    fn head(
        &self,
        key: &str,
    ) -> impl Future<Output = Result<Option<ObjectInfo>, StoreError>> + Send;

    /// Returns the object at `key`, or `None` if there is none.
    fn get(
        &self,
        key: &str,
    ) -> impl Future<Output = Result<Option<Object<Self::Body>>, StoreError>> + Send;

    /// Writes an object if `precondition` holds.
    fn put(
        &self,
        key: &str,
        object: NewObject,
        precondition: Precondition,
    ) -> impl Future<Output = Result<ETag, StoreError>> + Send;

    /// Deletes the object at `key` if it still has the ETag `seen`. Succeeds if it is already gone.
    fn delete(&self, key: &str, seen: &ETag)
    -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Copies the object at `source` to `target` with new attributes, if it still has the ETag
    /// `seen`. The copy is made within the store.
    fn copy(
        &self,
        source: &str,
        seen: &ETag,
        target: &str,
        attributes: Attributes,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Lists the directory `prefix`, which is empty or ends in a slash.
    fn directory(
        &self,
        prefix: &str,
        sought: Sought,
    ) -> impl Future<Output = Result<Directory, StoreError>> + Send;

    /// Returns the objects whose keys begin with `prefix` and have no further `/`, in any order.
    ///
    /// The ranges between `split_points` (sorted keys) may be listed in parallel. Each object that
    /// changes during the listing may or may not be seen.
    fn list(
        &self,
        prefix: &str,
        split_points: &[String],
    ) -> impl Future<Output = Result<Vec<ListedObject>, StoreError>> + Send;
}

/// Starts the executions that repair something.
pub trait Starter: Send + Sync {
    /// Starts an execution for the package or the index at `key`.
    fn start(&self, key: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Starts a reindex of the packages below `prefix` that no fragment describes, unless one is
    /// running.
    fn reindex(&self, prefix: &str) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Returns the whole object at `key`, or `None` if there is none.
///
/// # Errors
///
/// [`StoreError::TooLarge`] if it has more than `max` bytes; any other error of the store.
pub async fn read<S: ObjectStore>(
    store: &S,
    key: &str,
    max: u64,
) -> Result<Option<Object<Vec<u8>>>, StoreError> {
    let Some(Object { info, mut body }) = store.get(key).await? else { return Ok(None) };
    let check = |size| match size {
        size if size > max => Err(StoreError::TooLarge { key: key.to_owned(), size, max }),
        _ => Ok(()),
    };
    check(info.size)?;
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await? {
        bytes.extend_from_slice(&chunk);
        check(bytes.len() as u64)?;
    }
    Ok(Some(Object { info, body: bytes }))
}

/// A key that signs indexes, as it is stored.
#[derive(Debug)]
pub struct StoredKey {
    /// The parameter that holds the key name.
    pub name_parameter: String,
    /// The key name.
    pub name: String,
    /// The key itself.
    pub material: KeyMaterial,
}

/// The private half of a key, or where it is.
pub enum KeyMaterial {
    /// A private key that can be read.
    Pem {
        /// The parameter that holds it.
        parameter: String,
        /// The private key in PEM form.
        pem: Zeroizing<String>,
    },
    /// A private key that never leaves its key service, which makes the signatures.
    Remote {
        /// The name of the key in the service.
        key: String,
        /// The public half in DER form.
        public_key: Vec<u8>,
    },
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pem { parameter, .. } => {
                f.debug_struct("Pem").field("parameter", parameter).finish_non_exhaustive()
            }
            Self::Remote { key, .. } => {
                f.debug_struct("Remote").field("key", key).finish_non_exhaustive()
            }
        }
    }
}

/// Why a key can't be read or can't sign.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyStoreError {
    /// A parameter does not exist.
    #[error("the parameter {parameter} does not exist")]
    Missing {
        /// Its name.
        parameter: String,
        /// The parameter for the private key, unless that is in a key service.
        private_key: Option<String>,
        /// The parameter for its name.
        key_name: String,
    },
    /// A key service can't use the key.
    #[error("the key {key} can't be used")]
    Unusable {
        /// The name of the key in the service.
        key: String,
        /// What the service said.
        source: Cause,
    },
    /// The request to the store or key service failed.
    #[error("the signing key can't be read")]
    Store(#[from] StoreError),
}

/// Stores the keys that sign indexes.
pub trait KeyStore: Send + Sync {
    /// Returns the current keys: one, or two during a rotation.
    fn keys(&self) -> impl Future<Output = Result<Vec<StoredKey>, KeyStoreError>> + Send;

    /// Signs a digest with a key in a key service.
    fn sign(
        &self,
        key: &str,
        scheme: Scheme,
        digest: &[u8],
    ) -> impl Future<Output = Result<Vec<u8>, KeyStoreError>> + Send;
}

/// How a key service signs a digest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// RSASSA-PKCS1-v1_5 (RFC 8017, 8.2) of a SHA-256.
    RsaSha256,
    /// RSASSA-PKCS1-v1_5 of a SHA-512.
    RsaSha512,
    /// ECDSA (FIPS 186-5, 6.4) of 32 bytes, by a key on P-256.
    EcdsaP256,
    /// ECDSA of 48 bytes, by a key on P-384.
    EcdsaP384,
}

//! Index fragments: the `.index` objects beside the packages.
//!
//! The content is the index entry as text. An attribute names the version of the package that it
//! describes.

use alpinist_apk::{
    checksum::Identity,
    entry::{EntryError, IndexEntry},
};

use crate::{
    location::{PackageKey, RepositoryPrefix},
    message::Accepted,
    port::{Attributes, ETag, NewObject, Object, ObjectInfo, ObjectStore, StoreError},
};

/// The maximum size of a fragment in bytes. Every entry is smaller.
pub(crate) const MAX_LENGTH: u64 = 128 * 1024;

/// The attribute that holds the ETag of the package that a fragment describes.
const PACKAGE_ETAG: &str = "package-etag";

/// Returns the fragment of an accepted package.
pub(crate) fn new(accepted: &Accepted) -> NewObject {
    let attributes = Attributes::from([(PACKAGE_ETAG.to_owned(), accepted.package.0.clone())]);
    let bytes = accepted.entry.stored().to_string().into_bytes();
    NewObject { bytes, content_type: "text/plain; charset=utf-8", attributes }
}

/// Returns whether `fragment` is what [`new`] makes of the accepted package. Attributes alone prove
/// nothing: anybody who plants a fragment can copy them.
pub(crate) fn is_current(fragment: &Object<Vec<u8>>, accepted: &Accepted) -> bool {
    describes(&fragment.info, &accepted.package)
        && fragment.body == accepted.entry.stored().to_string().into_bytes()
}

/// Returns whether `fragment` claims to describe the package with the ETag `package`.
pub(crate) fn describes(fragment: &ObjectInfo, package: &ETag) -> bool {
    fragment.attributes.get(PACKAGE_ETAG) == Some(&package.0)
}

/// Returns whether an object named like a fragment is one of ours, or may be. In a directory that
/// is not named after a known architecture, somebody else may have `.index` files.
pub(crate) async fn is_ours<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
    key: &str,
) -> Result<bool, StoreError> {
    if prefix.architecture().is_known() {
        return Ok(true);
    }
    let present = store.head(key).await?;
    Ok(present.is_some_and(|present| present.attributes.contains_key(PACKAGE_ETAG)))
}

/// Why a fragment can't be listed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FragmentError {
    /// It was written for another version of the package, or does not say for which.
    #[error("it does not say that it describes this version of the package")]
    Stale,
    /// It is not the text of an entry.
    #[error("it is not an index entry")]
    Entry(#[from] EntryError),
    /// It is not UTF-8.
    #[error("it is not UTF-8")]
    Encoding(#[from] std::string::FromUtf8Error),
    /// It is the entry of another package or architecture.
    #[error("it is the entry of another package or architecture")]
    Foreign,
}

/// Returns the entry in a fragment, if it describes the version `package` of the package that has
/// this key.
///
/// A fragment without attributes is stale, because it does not say which version it describes. The
/// original Alpinist wrote such fragments, and so does somebody who restores one from a local copy.
pub(crate) fn entry(
    fragment: Object<Vec<u8>>,
    prefix: &RepositoryPrefix,
    key: &str,
    package: &ETag,
) -> Result<IndexEntry, FragmentError> {
    if !describes(&fragment.info, package) {
        return Err(FragmentError::Stale);
    }
    read(fragment.body, prefix, key)
}

/// Returns the checksum of the package that a fragment describes, whatever became of it since.
/// `None`, if the fragment is none of this package.
pub(crate) fn published(fragment: Object<Vec<u8>>, key: &PackageKey) -> Option<Identity> {
    let entry = read(fragment.body, key.prefix(), &key.to_string()).ok()?;
    Some(entry.identity)
}

fn read(body: Vec<u8>, prefix: &RepositoryPrefix, key: &str) -> Result<IndexEntry, FragmentError> {
    let entry = IndexEntry::from_stored(&String::from_utf8(body)?)?;
    let own_key = prefix.package_key(&entry.file_stem()) == key;
    if !own_key || entry.metadata.architecture != *prefix.architecture() {
        return Err(FragmentError::Foreign);
    }
    Ok(entry)
}

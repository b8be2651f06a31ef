//! Copies of packages whose names have a `+`.
//!
//! `apk` sends a `+` in a URL as it is, and the REST endpoint of S3 reads it as a space. So such a
//! package can be fetched only if there is a copy under the name with spaces. The copy is never
//! listed: no package name has a space.

use tracing::debug;

use crate::{
    failure::Failure,
    location::PackageKey,
    port::{Attributes, ETag, ObjectInfo, ObjectStore, StoreError},
};

/// The attribute that holds the ETag of the package that was copied.
const COPY_OF: &str = "copy-of";

/// Whether copies of packages whose names have a `+` are kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PlusCopies {
    /// Each such package has a copy under the name with spaces.
    Kept,
    /// No copies are made. An existing one is removed when its package changes.
    None,
}

/// Returns the key of the package whose copy would have the key `copy`, if there can be one.
pub(crate) fn package_of(copy: &str) -> Option<PackageKey> {
    let key = copy.replace(' ', "+").parse::<PackageKey>().ok()?;
    (key.plus_copy_key().as_deref() == Some(copy)).then_some(key)
}

/// Returns whether an object is a copy of a package with a `+`.
pub(crate) fn is_copy(object: &ObjectInfo) -> bool {
    object.attributes.contains_key(COPY_OF)
}

/// Returns whether the version `package` of a package has its copy, or needs none.
pub(crate) async fn is_there<S: ObjectStore>(
    store: &S,
    key: &PackageKey,
    package: &ETag,
) -> Result<bool, StoreError> {
    let Some(copy_key) = key.plus_copy_key() else { return Ok(true) };
    Ok(store.head(&copy_key).await?.is_some_and(|copy| is_of(&copy, package)))
}

/// Makes sure that the copy of a package, if it needs one, is of the version `package`.
///
/// # Errors
///
/// [`Failure::Superseded`], if the package was changed meanwhile; [`Failure::Store`].
pub(crate) async fn write<S: ObjectStore>(
    store: &S,
    key: &PackageKey,
    (package, size): (&ETag, u64),
) -> Result<(), Failure> {
    let Some(copy_key) = key.plus_copy_key() else { return Ok(()) };
    let is_right = |copy: ObjectInfo| is_of(&copy, package) && copy.size == size;
    if store.head(&copy_key).await?.is_some_and(is_right) {
        return Ok(());
    }
    let attributes = Attributes::from([(COPY_OF.to_owned(), package.0.clone())]);
    match store.copy(&key.to_string(), package, &copy_key, attributes).await {
        Err(StoreError::Conflict { key }) => Err(Failure::Superseded { key }),
        outcome => {
            outcome?;
            debug!(key = copy_key, "package copied");
            Ok(())
        }
    }
}

/// Removes the copy of a package, unless it is a copy of the current version.
///
/// # Errors
///
/// [`Failure::Superseded`], if the package came back meanwhile; [`Failure::Store`].
pub(crate) async fn remove<S: ObjectStore>(store: &S, key: &PackageKey) -> Result<(), Failure> {
    let Some(copy_key) = key.plus_copy_key() else { return Ok(()) };
    let Some(copy) = store.head(&copy_key).await?.filter(is_copy) else { return Ok(()) };
    let is_of_package =
        |package: Option<ObjectInfo>| package.is_some_and(|package| is_of(&copy, &package.etag));
    if is_of_package(store.head(&key.to_string()).await?) {
        return Ok(());
    }
    store.delete(&copy_key, &copy.etag).await?;
    debug!(key = copy_key, "copy removed");
    if is_of_package(store.head(&key.to_string()).await?) {
        return Err(Failure::Superseded { key: key.to_string() });
    }
    Ok(())
}

/// Returns whether an object is a copy of the version `package` of a package.
pub(crate) fn is_of(copy: &ObjectInfo, package: &ETag) -> bool {
    copy.attributes.get(COPY_OF) == Some(&package.0)
}

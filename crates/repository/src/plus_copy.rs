//! Copies of packages whose names have a `+`.
//!
//! The REST endpoint of S3 takes a raw `+` in a path for a space, and `apk` sends it raw. So such a
//! package can be fetched only if there is a copy under the name with spaces. It is not a package:
//! no name has a space, and it is never listed.

use tracing::debug;

use crate::{
    failure::Failure,
    location::PackageKey,
    port::{Attributes, ETag, ObjectInfo, ObjectStore, StoreError},
};

/// The ETag of the package that was copied.
const COPY_OF: &str = "copy-of";

/// Whether copies of packages whose names have a `+` are kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PlusCopies {
    /// Each such package has a copy under the name with spaces.
    Kept,
    /// None are made. One that is there is removed when its package changes.
    None,
}

/// Returns the key of the package whose copy has this key, if any can have it.
pub(crate) fn package_of(copy: &str) -> Option<PackageKey> {
    let key = copy.replace(' ', "+").parse::<PackageKey>().ok()?;
    (key.plus_copy_key().as_deref() == Some(copy)).then_some(key)
}

/// Returns whether an object is such a copy.
pub(crate) fn is_copy(object: &ObjectInfo) -> bool {
    object.attributes.contains_key(COPY_OF)
}

/// Returns whether a package of the version `package` has its copy, or needs none.
pub(crate) async fn is_there<S: ObjectStore>(
    store: &S,
    key: &PackageKey,
    package: &ETag,
) -> Result<bool, StoreError> {
    let Some(copy_key) = key.plus_copy_key() else { return Ok(true) };
    Ok(store.head(&copy_key).await?.is_some_and(|copy| is_of(&copy, package)))
}

/// Makes the copy of a package one of the version `package`.
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

/// Removes the copy of a package, unless it is one of the package that is there now.
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

/// Returns whether an object is the copy of a package of the version `package`.
pub(crate) fn is_of(copy: &ObjectInfo, package: &ETag) -> bool {
    copy.attributes.get(COPY_OF) == Some(&package.0)
}

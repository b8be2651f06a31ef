//! Withdrawals: objects that take a package off the index while its bytes stay, so that clients
//! with an older index can still install it.
//!
//! A withdrawal is an object `<name>-<version>.withdrawn` beside the package. Its content is the
//! reason, as text. The package is listed again once the object is deleted.

use alpinist_apk::text::escaped;

use crate::{
    location::PackageKey,
    port::{self, Attributes, NewObject, ObjectStore, StoreError},
};

/// The maximum length of a reason in bytes. What exceeds it is not shown.
pub const MAX_REASON: usize = 1024;

/// Returns the object that withdraws a package for this reason.
pub fn new(reason: &str) -> NewObject {
    NewObject {
        bytes: reason.as_bytes().to_vec(),
        content_type: "text/plain; charset=utf-8",
        attributes: Attributes::new(),
    }
}

/// Returns the reason for which a package is withdrawn, in one line, or `None` if it is not. An
/// object of any content withdraws its package: what is not UTF-8 is replaced, and what is larger
/// than [`MAX_REASON`] is not read.
///
/// # Errors
///
/// [`StoreError`]
pub async fn reason<S: ObjectStore>(
    store: &S,
    key: &PackageKey,
) -> Result<Option<String>, StoreError> {
    match port::read(store, &key.withdrawal_key(), MAX_REASON as u64).await {
        Ok(object) => Ok(object.map(|object| {
            let text = String::from_utf8_lossy(&object.body);
            escaped(text.split_whitespace().collect::<Vec<_>>().join(" ").as_str())
        })),
        Err(StoreError::TooLarge { .. }) => Ok(Some(String::new())),
        Err(error) => Err(error),
    }
}

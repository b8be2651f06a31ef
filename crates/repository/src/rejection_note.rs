//! Notes of packages that were rejected: without them, nobody could tell such a package from one
//! that nobody has looked at yet. Neither has a fragment or an entry.

use std::collections::HashMap;

use crate::{
    location::{PackageKey, RepositoryPrefix, rejected_prefix},
    port::{Attributes, ETag, NewObject, ObjectStore, Precondition, StoreError},
};

/// What stands between the name of a package and its version as an object. No name has it.
const SEPARATOR: char = '@';

/// The packages of a repository prefix that were rejected, each as it was then, and when that was
/// noted, in seconds since 1970.
#[derive(Debug)]
pub(crate) struct RejectionNotes(HashMap<String, i64>);

impl RejectionNotes {
    /// Lists them.
    pub(crate) async fn read<S: ObjectStore>(
        store: &S,
        prefix: &RepositoryPrefix,
    ) -> Result<Self, StoreError> {
        let above = rejected_prefix(prefix);
        let listed = store.list(&above, &[]).await?;
        let notes = listed.iter().filter_map(|object| {
            Some((object.key.strip_prefix(&above)?.to_owned(), object.last_modified))
        });
        Ok(Self(notes.collect()))
    }

    /// Returns whether the version `package` of the package `stem` was rejected since it was
    /// written. A copy onto itself, in another storage class, is of the same version.
    pub(crate) fn contain(&self, stem: &str, package: &ETag, written: i64) -> bool {
        self.0.get(&name(stem, package)).is_some_and(|noted| *noted >= written)
    }
}

/// Notes that the version `package` of a package was rejected.
pub(crate) async fn write<S: ObjectStore>(
    store: &S,
    key: &PackageKey,
    package: &ETag,
    precondition: Precondition,
) -> Result<(), StoreError> {
    let note = format!("{}{}", rejected_prefix(key.prefix()), name(key.stem(), package));
    let object = NewObject {
        bytes: Vec::new(),
        content_type: "text/plain; charset=utf-8",
        attributes: Attributes::new(),
    };
    match store.put(&note, object, precondition).await {
        Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Returns the name of a note. An ETag is hexadecimal digits and a `-`, in quotation marks.
fn name(stem: &str, package: &ETag) -> String {
    format!("{stem}{SEPARATOR}{}", package.0.trim_matches('"'))
}

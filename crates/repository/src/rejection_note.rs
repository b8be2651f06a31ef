//! Notes of rejected packages. They distinguish a rejected package from one that was never
//! inspected: neither has a fragment or an entry.

use std::collections::HashMap;

use crate::{
    location::{PackageKey, RepositoryPrefix, rejected_prefix},
    port::{Attributes, ETag, NewObject, ObjectStore, Precondition, StoreError},
};

/// Separates the `<name>-<version>` of a package from its ETag. No `<name>-<version>` contains it.
const SEPARATOR: char = '@';

/// The rejected packages of a repository prefix, each as `<name>-<version>@<etag>`, and when its
/// note was written, in seconds since 1970.
#[derive(Debug)]
pub(crate) struct RejectionNotes(HashMap<String, i64>);

impl RejectionNotes {
    /// Lists the notes of a repository prefix.
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

    /// Returns whether the version `package` of the package `stem` was rejected at or after
    /// `written`, in seconds since 1970. An object that is copied onto itself, to another storage
    /// class, keeps its ETag, so the ETag alone does not tell.
    pub(crate) fn contain(&self, stem: &str, package: &ETag, written: i64) -> bool {
        self.0.get(&name(stem, package)).is_some_and(|noted| *noted >= written)
    }
}

/// Notes that the version `package` of a package was rejected. An unmet precondition is no error.
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

/// Returns the name of a note. An ETag is hexadecimal digits and perhaps a `-`, in quotation marks.
fn name(stem: &str, package: &ETag) -> String {
    format!("{stem}{SEPARATOR}{}", package.0.trim_matches('"'))
}

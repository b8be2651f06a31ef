//! Notes of packages that were refused: without them, nobody could tell such a package from one that nobody has
//! looked at yet. Neither has a fragment or an entry.

use std::collections::HashSet;

use crate::{
    location::{PackageKey, RepositoryPrefix, rejected_prefix},
    port::{Attributes, ETag, NewObject, ObjectStore, Precondition, StoreError},
};

/// What stands between the name of a package and its version as an object. No name has it.
const SEPARATOR: char = '@';

/// The packages of a repository prefix that were refused, each as it was then.
#[derive(Debug)]
pub(crate) struct Rejections(HashSet<String>);

impl Rejections {
    /// Lists them.
    pub(crate) async fn read<S: ObjectStore>(
        store: &S,
        prefix: &RepositoryPrefix,
    ) -> Result<Self, StoreError> {
        let above = rejected_prefix(prefix);
        let listed = store.list(&above, &[]).await?;
        let names = listed.iter().filter_map(|object| object.key.strip_prefix(&above));
        Ok(Self(names.map(str::to_owned).collect()))
    }

    /// Tells whether the version `package` of the package `stem` was refused.
    pub(crate) fn contain(&self, stem: &str, package: &ETag) -> bool {
        self.0.contains(&name(stem, package))
    }
}

/// Notes that the version `package` of a package was refused.
pub(crate) async fn note<S: ObjectStore>(
    store: &S,
    key: &PackageKey,
    package: &ETag,
) -> Result<(), StoreError> {
    let note = format!("{}{}", rejected_prefix(key.prefix()), name(key.stem(), package));
    let object = NewObject {
        bytes: Vec::new(),
        content_type: "text/plain; charset=utf-8",
        attributes: Attributes::new(),
    };
    match store.put(&note, object, Precondition::Absent).await {
        Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Returns the name of a note. An ETag is hexadecimal digits and a `-`, in quotation marks.
fn name(stem: &str, package: &ETag) -> String {
    format!("{stem}{SEPARATOR}{}", package.0.trim_matches('"'))
}

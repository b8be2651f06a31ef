//! Packages in a bucket that are withdrawn.

use std::collections::BTreeMap;

use alpinist_apk::entry::IndexEntry;
use alpinist_repository::{
    location::{PackageKey, RepositoryPrefix},
    port::{self, ListedObject, ObjectStore},
    withdrawal,
};

use crate::error::Error;

/// The maximum size of a fragment that is read, in bytes. Ours are smaller.
const MAX_FRAGMENT: u64 = 128 * 1024;

/// A package that is withdrawn.
#[derive(Clone, Debug)]
pub(crate) struct Withdrawn {
    /// Its key.
    pub(crate) package: PackageKey,
    /// The object that withdraws it.
    pub(crate) withdrawal: ListedObject,
    /// The package itself, if it is still there.
    pub(crate) object: Option<ListedObject>,
    /// Its entry, as an index would list it, if its fragment has one.
    pub(crate) entry: Option<IndexEntry>,
    /// Why, in one line; empty if nobody said.
    pub(crate) reason: String,
}

/// Returns what is withdrawn of a repository prefix that has these objects, by key.
pub(crate) async fn among<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
    objects: &BTreeMap<String, ListedObject>,
) -> Result<Vec<Withdrawn>, Error> {
    let mut found = Vec::new();
    for (key, withdrawal) in objects {
        let package = PackageKey::withdrawn_by(key).filter(|package| package.prefix() == prefix);
        let Some(package) = package else { continue };
        let Some(reason) = withdrawal::reason(store, &package).await? else { continue };
        let has_fragment = objects.contains_key(&package.fragment_key());
        let entry = if has_fragment { entry(store, &package).await? } else { None };
        let object = objects.get(&package.to_string()).cloned();
        found.push(Withdrawn { package, withdrawal: withdrawal.clone(), object, entry, reason });
    }
    Ok(found)
}

/// Returns the entry in the fragment of a package.
async fn entry<S: ObjectStore>(store: &S, key: &PackageKey) -> Result<Option<IndexEntry>, Error> {
    let read = port::read(store, &key.fragment_key(), MAX_FRAGMENT).await;
    let text = match read {
        Ok(fragment) => fragment.and_then(|fragment| String::from_utf8(fragment.body).ok()),
        Err(port::StoreError::TooLarge { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let entry = text.and_then(|text| IndexEntry::from_stored(&text).ok());
    Ok(entry.filter(|entry| entry.file_stem() == key.stem()))
}

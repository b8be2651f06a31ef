//! Repository prefixes without a snapshot: nothing is published until a reindex has inspected their
//! packages.

use std::collections::HashSet;

use alpinist_apk::{adb::index::ReadIndex, index_archive};

use crate::{
    failure::Failure,
    listing::Listing,
    location::{RepositoryPrefix, may_be_stem},
    port::{self, Attributes, NewObject, ObjectStore, Precondition, StoreError},
    rejection_note::RejectionNotes,
};

/// How long, in seconds, a new package is presumed to have an execution that has not written its
/// fragment yet.
pub(super) const IN_FLIGHT: i64 = 120;

/// How often an execution waits for a reindex to inspect the existing packages: some 40 minutes.
pub(super) const MAX_WAITS_FOR_ADOPTION: u32 = 100;

/// After how many waits it requests a reindex again.
pub(super) const WAITS_PER_REQUEST: u32 = 10;

/// Returns the packages, by `<name>-<version>`, that were never inspected: not known, not the
/// caller's `own`, not rejected, and either older than [`IN_FLIGHT`] or listed by the published
/// index. So no execution is inspecting them right now.
pub(super) async fn unknown<'a, S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
    own: Option<&str>,
    listing: &'a Listing,
    is_known: impl Fn(&str) -> bool,
) -> Result<Vec<&'a str>, Failure> {
    let packages = listing.packages.iter();
    let mut unknown: Vec<_> = packages
        .filter(|(stem, _)| !is_known(stem) && own != Some(stem) && may_be_stem(stem))
        .collect();
    if !unknown.is_empty() {
        let rejections = RejectionNotes::read(store, prefix).await?;
        unknown.retain(|(stem, package)| {
            !rejections.contain(stem, &package.etag, package.last_modified)
        });
    }
    let before = store.now() - IN_FLIGHT;
    if unknown.iter().any(|(_, package)| package.last_modified >= before) {
        let published = published_stems(store, prefix, listing).await?;
        unknown
            .retain(|(stem, package)| package.last_modified < before || published.contains(*stem));
    }
    Ok(unknown.into_iter().map(|(stem, _)| stem.as_str()).collect())
}

/// Writes a note that requests a reindex. S3 notifies [`heal`](super::heal()), which starts it.
pub(super) async fn ask_for_adoption<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
) -> Result<(), StoreError> {
    let object = NewObject {
        bytes: Vec::new(),
        content_type: "text/plain; charset=utf-8",
        attributes: Attributes::new(),
    };
    store.put(&prefix.adoption_key(), object, Precondition::None).await?;
    Ok(())
}

/// Returns the `<name>-<version>` of each package in the published indexes of either format,
/// whoever made them.
pub(super) async fn published_stems<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
    listing: &Listing,
) -> Result<HashSet<String>, Failure> {
    // An index that no client accepts lists nothing.
    let index = read_index(store, &prefix.index_key()).await?;
    let mut stems = index.and_then(|index| index_archive::listed_stems(&index).ok());
    if listing.has_adb {
        let [index, alias, _] = prefix.adb_keys();
        for key in [index, alias] {
            let index = read_index(store, &key).await?;
            let index = index.and_then(|index| ReadIndex::read(&index).ok());
            let entries = index.into_iter().flat_map(|index| index.entries);
            stems.get_or_insert_default().extend(entries.map(|entry| entry.file_stem()));
        }
    }
    Ok(stems.unwrap_or_default())
}

/// Reads an index, unless it is absent or larger than any that a client accepts.
async fn read_index<S: ObjectStore>(store: &S, key: &str) -> Result<Option<Vec<u8>>, Failure> {
    match port::read(store, key, index_archive::MAX_LENGTH).await {
        Ok(index) => Ok(index.map(|index| index.body)),
        Err(StoreError::TooLarge { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

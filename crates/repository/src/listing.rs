//! The objects of a repository prefix, as a listing shows them.

use std::collections::HashMap;

use crate::{
    location::RepositoryPrefix,
    port::{Listed, ObjectStore, StoreError},
    snapshot::Snapshot,
};

/// How many cached packages one request is to list, with their fragments: at most the 500 that it
/// can, and some fewer to leave room for new ones.
const PACKAGES_PER_REQUEST: usize = 496;

/// The packages and fragments of a repository prefix, by `<name>-<version>`.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) packages: HashMap<String, Listed>,
    pub(crate) fragments: HashMap<String, Listed>,
    /// The copies of packages whose names have a `+`, by the names that they have instead.
    pub(crate) copies: HashMap<String, Listed>,
    /// When the youngest object was written, in seconds since 1970.
    pub(crate) youngest: i64,
}

impl Listing {
    /// Lists the bucket. What is cached tells where to cut, so that all parts can be listed at
    /// once.
    pub(crate) async fn read<S: ObjectStore>(
        store: &S,
        prefix: &RepositoryPrefix,
        cached: &Snapshot,
    ) -> Result<Self, StoreError> {
        let split_points = split_points(prefix, cached);
        Ok(Self::of(store.list(&prefix.to_string(), &split_points).await?))
    }

    fn of(objects: Vec<Listed>) -> Self {
        let mut listing = Self {
            packages: HashMap::new(),
            fragments: HashMap::new(),
            copies: HashMap::new(),
            youngest: 0,
        };
        for object in objects {
            listing.youngest = listing.youngest.max(object.last_modified);
            let file = object.key.rsplit('/').next().unwrap_or_default();
            // Only the copy of a package whose name has a `+` has a space.
            let is_copy = file.contains(' ');
            if let Some(stem) = file.strip_suffix(".apk") {
                let kind = if is_copy { &mut listing.copies } else { &mut listing.packages };
                kind.insert(stem.to_owned(), object);
            } else if let Some(stem) = file.strip_suffix(".index").filter(|_| !is_copy) {
                listing.fragments.insert(stem.to_owned(), object);
            }
        }
        listing
    }
}

/// Returns where to cut a listing, so that each part is one request.
fn split_points(prefix: &RepositoryPrefix, cached: &Snapshot) -> Vec<String> {
    let mut stems: Vec<_> = cached.stems().collect();
    stems.sort_unstable();
    let last = stems.into_iter().skip(PACKAGES_PER_REQUEST - 1).step_by(PACKAGES_PER_REQUEST);
    let mut split_points: Vec<_> = last.map(|stem| prefix.fragment_key(stem)).collect();
    // A file name and its stem do not always come in the same order.
    split_points.sort_unstable();
    split_points
}

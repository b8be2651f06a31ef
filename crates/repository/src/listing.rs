//! The objects of a repository prefix, as a listing shows them.

use std::collections::HashMap;

use crate::{
    location::{ADB_INDEXES, PackageKey, RepositoryPrefix, WITHDRAWN},
    port::{ListedObject, ObjectStore, StoreError},
    snapshot::Snapshot,
};

/// How many cached packages, with their fragments, one request should list: fewer than the 500 that
/// it can, to leave room for new ones.
const PACKAGES_PER_REQUEST: usize = 496;

/// The packages and fragments of a repository prefix, by `<name>-<version>`.
#[derive(Debug)]
pub(crate) struct Listing {
    /// Those that may be listed: not withdrawn.
    pub(crate) packages: HashMap<String, ListedObject>,
    /// Those that are withdrawn.
    pub(crate) withdrawn: HashMap<String, ListedObject>,
    pub(crate) fragments: HashMap<String, ListedObject>,
    /// The copies of packages whose names have a `+`, by their names with spaces, without `.apk`.
    pub(crate) copies: HashMap<String, ListedObject>,
    /// Whether there is an index of format v3, whoever wrote it.
    pub(crate) has_adb: bool,
    /// When the youngest object was written, in seconds since 1970.
    pub(crate) youngest: i64,
}

impl Listing {
    /// Lists the repository prefix. The cached snapshot shows where to split the listing, so that
    /// all parts can be listed in parallel.
    pub(crate) async fn read<S: ObjectStore>(
        store: &S,
        prefix: &RepositoryPrefix,
        cached: &Snapshot,
    ) -> Result<Self, StoreError> {
        let split_points = split_points(prefix, cached);
        Ok(Self::of(store.list(&prefix.to_string(), &split_points).await?))
    }

    /// Lists the objects whose file names begin with `<stem>.`: those of the package, and perhaps
    /// others.
    pub(crate) async fn of_package<S: ObjectStore>(
        store: &S,
        package: &PackageKey,
    ) -> Result<Self, StoreError> {
        let beginning = format!("{}{}.", package.prefix(), package.stem());
        Ok(Self::of(store.list(&beginning, &[]).await?))
    }

    fn of(objects: Vec<ListedObject>) -> Self {
        let mut listing = Self {
            packages: HashMap::new(),
            withdrawn: HashMap::new(),
            fragments: HashMap::new(),
            copies: HashMap::new(),
            has_adb: false,
            youngest: 0,
        };
        let mut withdrawals = Vec::new();
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
            } else if let Some(stem) = file.strip_suffix(WITHDRAWN) {
                withdrawals.push(stem.to_owned());
            } else if ADB_INDEXES.contains(&file) {
                listing.has_adb = true;
            }
        }
        for stem in withdrawals {
            if let Some(package) = listing.packages.remove(&stem) {
                listing.withdrawn.insert(stem, package);
            }
        }
        listing
    }
}

/// Returns where to split a listing, so that each part is one request.
fn split_points(prefix: &RepositoryPrefix, cached: &Snapshot) -> Vec<String> {
    let mut stems: Vec<_> = cached.rows().map(|row| row.stem()).collect();
    stems.sort_unstable();
    let last = stems.into_iter().skip(PACKAGES_PER_REQUEST - 1).step_by(PACKAGES_PER_REQUEST);
    let mut split_points: Vec<_> = last.map(|stem| prefix.fragment_key(stem)).collect();
    // File names and their stems do not always sort in the same order.
    split_points.sort_unstable();
    split_points
}

//! The records of the next snapshot: cached ones, changed ones, and the one that the execution
//! itself made.

use alpinist_apk::text::escaped;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tracing::{debug, warn};

use crate::{
    failure::Failure,
    fragment,
    listing::Listing,
    location::RepositoryPrefix,
    port::{self, Generation, Listed, ObjectStore, StoreError},
    snapshot::{Record, Snapshot},
};

/// How many fragments are read at once.
const PARALLEL_READS: usize = 32;

/// The result of comparing a listing with the cached records.
struct Compared<'a> {
    /// The records that are still valid.
    snapshot: Snapshot,
    /// The `<name>-<version>`, package and fragment of each package whose fragment must be read.
    changed: Vec<(&'a str, &'a Listed, &'a Listed)>,
}

/// Compares each package of the listing with its cached record, and moves the records that are
/// still valid out of `cached`.
///
/// The cached record of an unchanged package stays valid even if its fragment is lost or garbled:
/// an entry follows from the package alone. The `own` record was just made from the package, so it
/// prevails.
fn compare<'a>(
    listing: &'a Listing,
    cached: &mut Snapshot,
    own: Option<Box<Record>>,
    is_to_be_read: bool,
) -> Compared<'a> {
    let mut own = own.map(|own| (own.entry.file_stem(), own));
    let mut records = Vec::with_capacity(listing.packages.len());
    let mut changed = Vec::new();
    for (stem, package) in &listing.packages {
        let fragment = listing.fragments.get(stem);
        if let Some((_, own)) = own.take_if(|(own, _)| own == stem) {
            records.push(cached.take_same(&own).unwrap_or(own));
        } else if holds(cached.record(stem), package, fragment, is_to_be_read) {
            records.extend(cached.take(stem, &package.etag));
        } else if let Some(fragment) = fragment {
            changed.push((stem.as_str(), package, fragment));
        } else {
            debug!(key = escaped(&package.key), "package has no fragment and is not listed");
        }
    }
    debug!(changed = changed.len(), packages = listing.packages.len(), "fragments compared");
    Compared { snapshot: Snapshot::new(records), changed }
}

/// Returns whether the record of a package can be kept without reading its fragment.
fn holds(
    known: Option<&Record>,
    package: &Listed,
    fragment: Option<&Listed>,
    is_to_be_read: bool,
) -> bool {
    known.is_some_and(|known| {
        known.package == package.etag
            && fragment.is_none_or(|there| !is_to_be_read && there.etag == known.fragment)
    })
}

/// What the records of a new snapshot are made from.
pub(super) struct Sources<'a, S> {
    pub(super) store: &'a S,
    pub(super) prefix: &'a RepositoryPrefix,
    pub(super) listing: &'a Listing,
    pub(super) generation: Generation,
    /// Whether to read each fragment, even if it is cached.
    pub(super) is_to_be_read: bool,
}

impl<S: ObjectStore> Sources<'_, S> {
    /// Collects the records of all packages that have a fragment or are cached, reading the
    /// fragments that changed. Moves the records that are still valid out of `cached`, so that only
    /// obsolete ones are left there.
    pub(super) async fn collect(
        &self,
        cached: &mut Snapshot,
        own: Option<Box<Record>>,
    ) -> Result<Snapshot, Failure> {
        let Compared { mut snapshot, changed } =
            compare(self.listing, cached, own, self.is_to_be_read);
        let read: Vec<_> = stream::iter(changed)
            .map(async |(stem, package, fragment)| {
                Ok::<_, Failure>((stem, package, self.read(package, fragment).await?))
            })
            .buffer_unordered(PARALLEL_READS)
            .try_collect()
            .await?;
        for (stem, package, record) in read {
            let record = match record {
                Some(record) => Some(cached.take_same(&record).unwrap_or(record)),
                None => cached.take(stem, &package.etag),
            };
            if let Some(record) = record {
                snapshot.put(record);
            }
        }
        Ok(snapshot)
    }

    /// Reads a fragment. One that can't be listed is skipped, and affects no other.
    async fn read(
        &self,
        package: &Listed,
        written: &Listed,
    ) -> Result<Option<Box<Record>>, Failure> {
        let key = &written.key;
        let object = match port::read(self.store, key, fragment::MAX_LENGTH).await {
            Ok(Some(object)) => object,
            Ok(None) => return Ok(None),
            Err(error @ StoreError::TooLarge { .. }) => {
                warn!(key, %error, "fragment passed over");
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let fragment = object.info.etag.clone();
        match fragment::entry(object, self.prefix, &package.key, &package.etag) {
            Ok(entry) => {
                let (package, since) = (package.etag.clone(), self.generation);
                Ok(Some(Box::new(Record { package, fragment, since, rank: 0, entry })))
            }
            Err(error) => {
                warn!(key, %error, "fragment passed over");
                Ok(None)
            }
        }
    }
}

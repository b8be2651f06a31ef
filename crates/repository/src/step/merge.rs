//! What changes from one snapshot to the next.

use std::collections::{BTreeMap, HashMap, HashSet};

use alpinist_apk::text::escaped;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tracing::{debug, warn};

use crate::{
    failure::Failure,
    fragment,
    listing::Listing,
    location::RepositoryPrefix,
    port::{self, ListedObject, ObjectStore, StoreError},
    rank,
    snapshot::{Edit, Record, Row, Snapshot, SnapshotError},
};

/// How many fragments are read at once.
const PARALLEL_READS: usize = 32;

/// What a new snapshot is made from, beside the cached one.
pub(super) struct Sources<'a, S> {
    pub(super) store: &'a S,
    pub(super) prefix: &'a RepositoryPrefix,
    pub(super) listing: &'a Listing,
    /// Whether to read each fragment, even if it is cached.
    pub(super) is_to_be_read: bool,
}

impl<S: ObjectStore> Sources<'_, S> {
    /// Compares each package of the listing with its cached row, reads the fragments that changed,
    /// and returns what is to be changed in the snapshot.
    ///
    /// What is cached of an unchanged package stays valid even if its fragment is lost or garbled:
    /// an entry follows from the package alone. The `own` record was just made from the package, so
    /// it prevails. Of the packages in `forgotten`, the cached rows count for nothing.
    pub(super) async fn collect(
        &self,
        cached: &Snapshot,
        forgotten: &HashSet<String>,
        own: Option<Record>,
    ) -> Result<BTreeMap<String, Edit>, Failure> {
        let rows: HashMap<_, _> = cached.rows().map(|row| (row.stem(), row)).collect();
        let known = |stem: &str| rows.get(stem).filter(|_| !forgotten.contains(stem));
        let mut own = own.map(|own| (own.entry.file_stem(), own));
        let (mut kept, mut put, mut changed) = (HashSet::new(), Vec::new(), Vec::new());
        for (stem, package) in &self.listing.packages {
            let fragment = self.listing.fragments.get(stem);
            if let Some((_, own)) = own.take_if(|(own, _)| own == stem) {
                put.push(own);
            } else if self.holds(known(stem), package, fragment) {
                kept.insert(stem.as_str());
            } else if let Some(fragment) = fragment {
                changed.push((stem.as_str(), package, fragment));
            } else {
                debug!(key = escaped(&package.key), "package has no fragment and is not listed");
            }
        }
        debug!(changed = changed.len(), packages = self.listing.packages.len(), "compared");
        let read: Vec<_> = stream::iter(changed)
            .map(async |(stem, package, fragment)| {
                Ok::<_, Failure>((stem, package, self.read(package, fragment).await?))
            })
            .buffer_unordered(PARALLEL_READS)
            .try_collect()
            .await?;
        for (stem, package, record) in read {
            match record {
                Some(record) => put.push(record),
                None if known(stem).is_some_and(|row| row.is_of_package(&package.etag)) => {
                    kept.insert(stem);
                }
                None => {}
            }
        }
        let same = same(cached, &put).map_err(|source| self.damaged(source))?;
        let edits =
            put.into_iter().map(|record| (record.entry.file_stem(), Edit::Put(Box::new(record))));
        let mut edits: BTreeMap<_, _> =
            edits.filter(|(stem, _)| !same.contains(stem) || forgotten.contains(stem)).collect();
        let is_over = |stem: &&str| {
            !kept.contains(stem) && !same.contains(*stem) && !edits.contains_key(*stem)
        };
        let over: Vec<_> = rows.keys().copied().filter(is_over).map(str::to_owned).collect();
        edits.extend(over.into_iter().map(|stem| (stem, Edit::Remove)));
        let uploaded =
            |stem: &str| self.listing.packages.get(stem).map_or(0, |package| package.last_modified);
        rank::complete(cached, &mut edits, uploaded).map_err(|source| self.damaged(source))?;
        Ok(edits)
    }

    /// Returns whether the row of a package can be kept without reading its fragment.
    fn holds(
        &self,
        known: Option<&Row<'_>>,
        package: &ListedObject,
        fragment: Option<&ListedObject>,
    ) -> bool {
        known.is_some_and(|known| {
            let is_fragment = |there: &ListedObject| known.is_of_fragment(&there.etag);
            known.is_of_package(&package.etag)
                && fragment.is_none_or(|there| !self.is_to_be_read && is_fragment(there))
        })
    }

    fn damaged(&self, source: SnapshotError) -> Failure {
        Failure::StagedDamaged { key: self.prefix.snapshot_key(), source }
    }

    /// Reads a fragment. One that can't be listed is skipped, and affects no other.
    async fn read(
        &self,
        package: &ListedObject,
        written: &ListedObject,
    ) -> Result<Option<Record>, Failure> {
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
                let package = package.etag.clone();
                Ok(Some(Record { package, fragment, rank: 0, entry }))
            }
            Err(error) => {
                warn!(key, %error, "fragment passed over");
                Ok(None)
            }
        }
    }
}

/// Returns which of the records the snapshot has already, by `<name>-<version>`: made from the same
/// objects, and with the same entry, since somebody may have forged it.
pub(super) fn same(
    cached: &Snapshot,
    records: &[Record],
) -> Result<HashSet<String>, SnapshotError> {
    let records: HashMap<_, _> =
        records.iter().map(|record| (record.entry.file_stem(), record)).collect();
    let mut same = HashSet::new();
    let is_candidate = |row: &Row<'_>| {
        records.get(row.stem()).is_some_and(|record| {
            row.is_of_package(&record.package) && row.is_of_fragment(&record.fragment)
        })
    };
    for known in cached.records_near(is_candidate)? {
        let stem = known.entry.file_stem();
        let is_same = records.get(&stem).is_some_and(|record| {
            (&record.package, &record.fragment, &record.entry)
                == (&known.package, &known.fragment, &known.entry)
        });
        if is_same {
            same.insert(stem);
        }
    }
    Ok(same)
}

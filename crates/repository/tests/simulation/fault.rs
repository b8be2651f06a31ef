//! Faults that are planted to see whether the search finds them. None of them is in the steps: the
//! bucket lies to them, or they are chained wrongly.

use std::sync::{Arc, Mutex, PoisonError};

use alpinist_apk::{index_archive, key::SigningKey};
use alpinist_repository::{
    memory::MemoryStore,
    message::{AggregateRequest, Extracted, Found},
    page::REPOSITORIES,
    port::{ETag, ListedObject, NewObject, ObjectInfo, ObjectStore as _, Precondition, read},
    snapshot::{Header, MAX_STORED, Snapshot},
};
use bytes::Bytes;
use futures::FutureExt as _;
use rand_core::OsRng;

use crate::{
    common::{INDEX, KEY_NAME, PREFIX, PRIVATE_KEY, execution::State},
    scenario::ADB,
};

/// A fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// The index is published without `If-Match`.
    IndexWithoutPrecondition,
    /// What is published for format v3 is written without a precondition.
    AdbWithoutPrecondition,
    /// The index of format v3 is not written under its second name.
    AliasUnwritten,
    /// Only `APKINDEX.tar.gz` counts: any other object that is there passes for that of the
    /// snapshot.
    IndexAloneCounts,
    /// The snapshot is replaced without `If-Match`.
    SnapshotWithoutPrecondition,
    /// A fragment is written without a check that its package is still the one that was read.
    PackageUnchecked,
    /// The index is made from a listing that was taken before the snapshot and the index were read.
    ListingTakenFirst,
    /// A package is checked before the snapshot is read to which its change is applied.
    LookTakenFirst,
    /// A snapshot says that the bucket was listed for it, although it was not.
    LookTakenForListing,
    /// The signer takes blocks for signed ones that nobody has signed.
    BlocksBelieved,
    /// Waiting executions are not seen, so nobody lists the bucket for them.
    CrowdUnseen,
    /// A change counts as published if the published index has the name of the package.
    CoveredByName,
    /// Each unknown package counts as rejected, so it may be left out.
    UnknownTakenForRejected,
    /// The healer is not notified of what somebody else deletes or overwrites.
    HealerDeaf,
    /// Versions that apk can't tell apart are not ordered by upload time.
    TimesForgotten,
    /// The page is told of a directory after its first index was written.
    ToldLate,
    /// The list for the page is written once, whoever gets ahead.
    ToldOnce,
    /// The list for the page is written without `If-Match`.
    ListWithoutPrecondition,
}

/// What a fault does to the requests of one invocation.
#[derive(Clone, Default)]
pub(crate) struct Tampering {
    fault: Option<Fault>,
    /// The package that [`Fault::PackageUnchecked`] pretends still exists, and its version.
    package: Option<(String, ETag)>,
    is_aggregation: bool,
    is_publication: bool,
    first_listing: Arc<Mutex<Option<Vec<ListedObject>>>>,
    /// The list that [`Fault::ToldLate`] holds back.
    held: Arc<Mutex<Option<NewObject>>>,
}

impl Tampering {
    pub(crate) fn new(fault: Option<Fault>, state: &State) -> Self {
        let package = match state {
            State::Write(Extracted { target, found: Found::Accepted(accepted) }) => {
                Some((target.key.clone(), accepted.package.clone()))
            }
            _ => None,
        };
        let is_aggregation = matches!(state, State::Aggregate(_));
        let is_publication = matches!(state, State::Publish(_));
        let (first_listing, held) = Default::default();
        Self { fault, package, is_aggregation, is_publication, first_listing, held }
    }

    /// Inspects the bucket before each request.
    pub(crate) fn look(&self, bucket: &MemoryStore) {
        let is_early = [Fault::ListingTakenFirst, Fault::LookTakenFirst].map(Some);
        if is_early.contains(&self.fault) && self.is_aggregation {
            let mut listing = self.first_listing.lock().unwrap_or_else(PoisonError::into_inner);
            listing.get_or_insert_with(|| {
                bucket.list(PREFIX, &[]).now_or_never().expect("memory does not wait").unwrap()
            });
        }
    }

    pub(crate) fn precondition(&self, key: &str, precondition: Precondition) -> Precondition {
        match self.fault {
            Some(Fault::IndexWithoutPrecondition) if key == INDEX => Precondition::None,
            Some(Fault::AdbWithoutPrecondition) if ADB.contains(&key) => Precondition::None,
            Some(Fault::SnapshotWithoutPrecondition) if key == snapshot_key() => Precondition::None,
            Some(Fault::ListWithoutPrecondition) if key == REPOSITORIES => Precondition::None,
            _ => precondition,
        }
    }

    /// Returns whether the fault keeps an object from being written, at least now.
    pub(crate) fn is_unwritten(&self, key: &str, object: &NewObject) -> bool {
        if self.fault == Some(Fault::ToldLate) && key == REPOSITORIES {
            *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(object.clone());
            return true;
        }
        self.fault == Some(Fault::AliasUnwritten) && key == ADB[1]
    }

    /// Returns whether the fault hides that others got ahead.
    pub(crate) fn hides_conflicts(&self, key: &str) -> bool {
        self.fault == Some(Fault::ToldOnce) && key == REPOSITORIES
    }

    /// Writes what the fault has held back, after the index was.
    pub(crate) fn written(&self, bucket: &MemoryStore, key: &str) {
        let is_index = key == INDEX || ADB.contains(&key);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(list) = held.take_if(|_| is_index) {
            bucket.upload(REPOSITORIES, list.bytes);
        }
    }

    /// Returns an object as the fault lets it be written.
    pub(crate) fn object(&self, key: &str, object: NewObject) -> NewObject {
        let is_changed = [Fault::LookTakenForListing, Fault::BlocksBelieved].map(Some);
        if key != snapshot_key() || !self.is_aggregation || !is_changed.contains(&self.fault) {
            return object;
        }
        let changed = |mut header: Header, snapshot: Snapshot| {
            if self.fault == Some(Fault::LookTakenForListing) {
                header.listed = header.generation;
                return snapshot.to_bytes(&header);
            }
            let mut records = snapshot.records().expect("it was just written");
            for record in &mut records {
                record.entry.metadata.architecture = "armv7".parse().expect("is one");
            }
            Snapshot::new(records).to_bytes(&header)
        };
        let read = Snapshot::read(&object.bytes.clone().into());
        let (header, snapshot) = read.expect("it was just written");
        let bytes = changed(header, snapshot).expect("memory takes it");
        NewObject { bytes, ..object }
    }

    /// Returns the content of an object as the fault lets it be read.
    pub(crate) fn content(&self, bucket: &MemoryStore, key: &str, content: Bytes) -> Bytes {
        let staged = bucket.content(&snapshot_key());
        match (self.fault, staged) {
            (Some(Fault::BlocksBelieved), Some(staged)) if key == INDEX && self.is_publication => {
                let (_, snapshot) = Snapshot::read(&staged).expect("it is one");
                let blocks: Vec<_> = snapshot.blocks().cloned().collect();
                let unsigned = index_archive::write_blocks("3.22/main", &blocks).unwrap();
                let key = SigningKey::from_pem(&PRIVATE_KEY).expect("the key is good");
                let name = KEY_NAME.parse().expect("the name is good");
                let signatures = key.sign_index(&name, &unsigned, &mut OsRng).unwrap();
                index_archive::write_signed(&signatures, &unsigned).unwrap().into()
            }
            _ => content,
        }
    }

    pub(crate) fn info(
        &self,
        bucket: &MemoryStore,
        key: &str,
        info: Option<ObjectInfo>,
    ) -> Option<ObjectInfo> {
        if self.fault == Some(Fault::IndexAloneCounts) && ADB.contains(&key) {
            let snapshot = bucket.content(&snapshot_key());
            let snapshot = snapshot.and_then(|snapshot| Snapshot::read(&snapshot).ok());
            let digest = snapshot.and_then(|(header, _)| header.adb);
            let digest = digest.map(|digest| ("index-sha256".to_owned(), digest));
            return info.map(|mut info| {
                info.attributes.extend(digest);
                info
            });
        }
        match &self.package {
            Some((package, etag))
                if self.fault == Some(Fault::PackageUnchecked) && package == key =>
            {
                let (size, age, attributes) = Default::default();
                let made_up = ObjectInfo { etag: etag.clone(), size, age, attributes };
                Some(ObjectInfo { etag: etag.clone(), ..info.unwrap_or(made_up) })
            }
            _ => info,
        }
    }

    /// Returns a listing as the fault lets it be seen.
    pub(crate) fn listing(
        &self,
        bucket: &MemoryStore,
        prefix: &str,
        split_points: &[String],
    ) -> Vec<ListedObject> {
        let list = |prefix: &str| {
            bucket.list(prefix, split_points).now_or_never().expect("memory does not wait").unwrap()
        };
        let is_look = prefix.starts_with(PREFIX) && prefix != PREFIX;
        let is_early = is_look == (self.fault == Some(Fault::LookTakenFirst));
        let first = self.first_listing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = first.as_ref().filter(|_| is_early) {
            return first.iter().filter(|it| it.key.starts_with(prefix)).cloned().collect();
        }
        drop(first);
        let mut listed = list(prefix);
        match self.fault {
            Some(Fault::UnknownTakenForRejected) if prefix == format!("{REJECTED}{PREFIX}") => {
                listed = list(PREFIX);
                for object in &mut listed {
                    let stem =
                        object.key.strip_prefix(PREFIX).and_then(|key| key.strip_suffix(".apk"));
                    let etag = object.etag.0.trim_matches('"');
                    object.key = format!("{prefix}{}@{etag}", stem.unwrap_or_default());
                }
            }
            Some(Fault::TimesForgotten) => {
                for object in &mut listed {
                    object.last_modified = 0;
                }
            }
            _ => {}
        }
        listed
    }
}

/// The beginning of the keys of rejection notes.
const REJECTED: &str = ".alpinist/rejected/";

/// The key of the snapshot.
pub(crate) fn snapshot_key() -> String {
    format!(".alpinist/published/{PREFIX}snapshot.json.gz")
}

/// Returns whether the published index has the name of the package.
pub(crate) async fn is_covered_by_name(bucket: &MemoryStore, request: &AggregateRequest) -> bool {
    let Ok(Some(snapshot)) = read(bucket, &snapshot_key(), MAX_STORED).await else { return false };
    let Ok(Some(index)) = bucket.head(INDEX).await else { return false };
    let Ok((header, snapshot)) = Snapshot::read(&snapshot.body.into()) else { return false };
    let is_published = index.attributes.get("index-sha256") == Some(&header.digest);
    let file = request.written.target.key.strip_prefix(PREFIX);
    let stem = file.and_then(|file| file.strip_suffix(".apk"));
    let is_known = stem.is_some_and(|stem| snapshot.row(stem).is_some());
    is_published && is_known && request.written.fragment.is_some()
}

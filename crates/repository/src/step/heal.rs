use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    pin::pin,
};

use futures::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tracing::debug;

use crate::{
    cached_snapshot::CachedSnapshot,
    discovery,
    failure::Failure,
    fragment,
    lease::Lease,
    listing::Listing,
    location::{Derived, RepositoryPrefix, may_be_stem, plus_copy_stem},
    message::Target,
    plus_copy::PlusCopies,
    port::{ETag, ListedObject, ObjectStore, Starter},
    rank,
    rejection_note::RejectionNotes,
    replacing::Replacing,
    snapshot::{Row, Snapshot},
    step::{
        adoption::{IN_FLIGHT, unknown},
        decide::SIGNING_TIME,
        published::Published,
        swap::lists,
    },
    v3_index::V3Index,
};

/// How many packages of a repository prefix get an execution each. Above that, a reindex is
/// cheaper.
const MAX_EXECUTIONS: usize = 100;

/// How many repository prefixes are checked at once.
const PARALLEL_CHECKS: usize = 8;

/// What to check.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum HealRequest {
    /// What messages of a queue report: an S3 event each.
    Messages {
        /// The messages.
        #[serde(rename = "Records")]
        records: Vec<Message>,
    },
    /// Everything below a prefix.
    Check {
        /// The bucket.
        bucket: String,
        /// `<repository>/<architecture>/`, or its beginning up to a slash, or nothing.
        prefix: String,
    },
}

/// A message of a queue.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Message {
    /// An S3 event from EventBridge, as JSON.
    pub body: String,
}

/// What was started to repair something.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Healed {
    /// The keys of packages and indexes for which an execution was started.
    pub executions: BTreeSet<String>,
    /// The prefixes for which a reindex was started.
    pub reindexes: BTreeSet<String>,
}

impl HealRequest {
    /// Returns the bucket of the request, if it has one.
    pub fn bucket(&self) -> Option<String> {
        match self {
            Self::Messages { records } => {
                records.iter().find_map(|message| Some(read(message)?.target.bucket))
            }
            Self::Check { bucket, .. } => Some(bucket.clone()),
        }
    }
}

/// What an event reports about an object that Alpinist wrote, or somebody else in its place.
struct Told {
    target: Target,
    /// The version that was written, or `None` if it was deleted.
    written: Option<ETag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Event {
    detail_type: String,
    detail: Detail,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Detail {
    object: Object,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    deletion_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Object {
    #[serde(default)]
    etag: String,
    #[serde(default)]
    version_id: String,
}

impl Detail {
    /// Returns whether a lifecycle rule of the bucket deleted a noncurrent version.
    fn is_expiry_of_old_version(&self) -> bool {
        self.reason == "Lifecycle Expiration"
            && self.deletion_type == "Permanently Deleted"
            && !self.object.version_id.is_empty()
    }
}

/// Reads a message. `None` if it is not an S3 event, or is about an object that stays as it is.
fn read(message: &Message) -> Option<Told> {
    let target: Target = serde_json::from_str(&message.body).ok()?;
    let Event { detail_type, detail } = serde_json::from_str(&message.body).ok()?;
    if detail.is_expiry_of_old_version() {
        return None;
    }
    let written = (detail_type == "Object Created")
        .then(|| ETag(format!("\"{}\"", detail.object.etag.trim_matches('"'))));
    Some(Told { target, written })
}

/// Finds indexes, snapshots and fragments that somebody else deleted or overwrote, packages that no
/// execution has finished, and repository prefixes without a snapshot. Starts executions or a
/// reindex to repair them.
///
/// Each write to one of our objects, by us or by somebody else, produces an event. Most are our
/// own, so an event is a hint to check whether index and snapshot agree, whether the owner of its
/// lease wrote the snapshot, and whether the snapshot knows the fragment: four requests for each
/// repository prefix, whatever the number of events. Events come at least 20 seconds late. So a
/// snapshot that is younger was written after the event, by an execution that has inspected the
/// index since, and whatever that writes produces another event. This ends: nothing is started for
/// what is right, what is started writes only what is wrong, and the owner of a lease is left to
/// publish its snapshot or to fail.
///
/// # Errors
///
/// [`Failure::TooManyDirectories`]; [`Failure::Store`], of the first repository prefix that has
/// one, after all have been checked.
pub async fn heal<S: ObjectStore>(
    store: &S,
    starter: &impl Starter,
    copies: PlusCopies,
    replacing: Replacing,
    v3_index: V3Index,
    request: HealRequest,
) -> Result<Healed, Failure> {
    let (mut healed, mut failed) = (Healed::default(), Ok(()));
    match request {
        HealRequest::Messages { records } => {
            for (prefix, changes) in by_directory(&records).into_values() {
                let directory = Directory { store, prefix: &prefix, copies, replacing, v3_index };
                let cure = directory.heal(&changes).await;
                let outcome = start(starter, &prefix, cure, &mut healed).await;
                failed = failed.and(outcome);
            }
        }
        HealRequest::Check { prefix, .. } => {
            let found = stream::iter(discovery::repositories(store, &prefix).await?)
                .map(async |prefix| {
                    let directory =
                        Directory { store, prefix: &prefix, copies, replacing, v3_index };
                    let cure = directory.check().await;
                    (prefix, cure)
                })
                .buffer_unordered(PARALLEL_CHECKS);
            let mut found = pin!(found);
            while let Some((prefix, cure)) = found.next().await {
                let outcome = start(starter, &prefix, cure, &mut healed).await;
                failed = failed.and(outcome);
            }
        }
    }
    failed.map(|()| healed)
}

/// What events report about an index or a snapshot: of several, the one that is last here counts.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
enum News {
    #[default]
    None,
    Written,
    /// It, or a version of it, was deleted: we never do that.
    Deleted,
}

impl News {
    fn of(written: Option<&ETag>) -> Self {
        if written.is_some() { Self::Written } else { Self::Deleted }
    }
}

/// What events report about a repository prefix.
#[derive(Default)]
struct Changes {
    /// What became of fragments, by the `<name>-<version>` of their packages: the versions that
    /// were written, and `None` for a deletion. Messages arrive in any order.
    fragments: HashMap<String, HashSet<Option<ETag>>>,
    index: News,
    adb: News,
    snapshot: News,
    /// Whether an execution requests a reindex.
    is_adoption_asked: bool,
}

/// Groups changes by repository prefix.
fn by_directory(messages: &[Message]) -> BTreeMap<String, (RepositoryPrefix, Changes)> {
    let mut directories = BTreeMap::new();
    for message in messages {
        let Some(Told { target, written }) = read(message) else {
            debug!("a message tells of no change and is skipped");
            continue;
        };
        let Ok(derived) = target.key.parse::<Derived>() else { continue };
        let mut reported = Changes::default();
        let prefix = match derived {
            Derived::Fragment(package) => {
                reported.fragments.entry(package.stem().to_owned()).or_default().insert(written);
                package.prefix().clone()
            }
            Derived::Index(prefix) => {
                reported.index = News::of(written.as_ref());
                prefix
            }
            Derived::Adb(prefix) => {
                reported.adb = News::of(written.as_ref());
                prefix
            }
            Derived::Snapshot(prefix) => {
                reported.snapshot = News::of(written.as_ref());
                prefix
            }
            Derived::Adoption(prefix) => {
                reported.is_adoption_asked = true;
                prefix
            }
        };
        let (_, changes) =
            directories.entry(prefix.to_string()).or_insert_with(|| (prefix, Changes::default()));
        for (stem, written) in reported.fragments {
            changes.fragments.entry(stem).or_default().extend(written);
        }
        changes.index = changes.index.max(reported.index);
        changes.adb = changes.adb.max(reported.adb);
        changes.snapshot = changes.snapshot.max(reported.snapshot);
        changes.is_adoption_asked |= reported.is_adoption_asked;
    }
    directories
}

/// What repairs a repository prefix.
#[derive(Debug)]
enum Cure {
    /// An execution for each of these keys.
    Executions(BTreeSet<String>),
    /// A reindex of the packages that no fragment describes.
    Reindex,
}

async fn start(
    starter: &impl Starter,
    prefix: &RepositoryPrefix,
    cure: Result<Cure, Failure>,
    healed: &mut Healed,
) -> Result<(), Failure> {
    match cure? {
        Cure::Executions(keys) => {
            for key in keys {
                debug!(key, "execution started to heal");
                starter.start(&key).await?;
                healed.executions.insert(key);
            }
        }
        Cure::Reindex => {
            debug!(%prefix, "reindex started to heal");
            starter.reindex(&prefix.to_string()).await?;
            healed.reindexes.insert(prefix.to_string());
        }
    }
    Ok(())
}

/// A repository prefix to check.
struct Directory<'a, S> {
    store: &'a S,
    prefix: &'a RepositoryPrefix,
    copies: PlusCopies,
    replacing: Replacing,
    v3_index: V3Index,
}

/// The rows of a snapshot, by the `<name>-<version>` of their packages.
type Rows<'a> = HashMap<&'a str, Row<'a>>;

impl<S: ObjectStore> Directory<'_, S> {
    /// Checks what events report.
    async fn heal(&self, changes: &Changes) -> Result<Cure, Failure> {
        let mut cached = CachedSnapshot::begin(self.store, self.prefix).await?;
        let header = cached.header().cloned();
        let has_adb = header.as_ref().is_some_and(|header| header.adb.is_some());
        let published = Published::look(self.store, self.prefix, has_adb).await?;
        let Some(header) = header else {
            if changes.is_adoption_asked {
                return Ok(Cure::Reindex);
            }
            let mut cure = self.adopt(published).await?;
            if let Cure::Executions(keys) = &mut cure
                && self.prefix.architecture().is_known()
            {
                let reported = changes.fragments.keys().map(String::as_str);
                self.add_wrong(reported, |_| None, keys).await?;
            }
            return Ok(cure);
        };
        let mut keys = BTreeSet::new();
        let age = cached.age().unwrap_or_default();
        // An index that is older than the snapshot, or of the same second, belongs to an earlier
        // one.
        let index = if has_adb { changes.index.max(changes.adb) } else { changes.index };
        let is_touched = index != News::None && published.is_touched_since(age);
        let is_published = published.is_of(Some(&header));
        // The maker of a snapshot publishes it or fails, and a repair of each failure could go on
        // forever. An older snapshot that somebody puts back, perhaps with its index, has no such
        // maker.
        let is_wrong = match is_published {
            false if is_touched => true,
            true if changes.snapshot == News::None => false,
            _ => !Lease::was_kept(self.store, self.prefix, header.generation, age).await?,
        };
        // In a versioned bucket, deleting an index or a snapshot restores its previous version, and
        // the two may agree. We delete neither.
        let is_deleted = index.max(changes.snapshot) == News::Deleted;
        if age >= SIGNING_TIME && (is_deleted || is_wrong) {
            keys.insert(self.prefix.index_key());
        }
        let is_remembered = |row: Option<Row<'_>>, written: &HashSet<Option<ETag>>| {
            row.is_some_and(|row| {
                let is_its = |written: &Option<ETag>| {
                    written.as_ref().is_some_and(|written| row.is_of_fragment(written))
                };
                written.iter().all(is_its)
            })
        };
        let mut doubtful: Vec<_> = changes.fragments.iter().collect();
        doubtful.retain(|(stem, written)| !is_remembered(cached.row(stem), written));
        if !doubtful.is_empty() {
            // So far, only the most recently changed records were read.
            cached.read_on().await?;
            doubtful.retain(|(stem, written)| !is_remembered(cached.row(stem), written));
        }
        let doubtful = doubtful.into_iter().map(|(stem, _)| stem.as_str());
        self.add_wrong(doubtful, |stem| cached.row(stem), &mut keys).await?;
        Ok(Cure::Executions(keys))
    }

    /// Adds the keys of packages whose fragments are wrong.
    async fn add_wrong<'s>(
        &self,
        stems: impl Iterator<Item = &'s str>,
        known: impl Fn(&str) -> Option<Row<'s>>,
        keys: &mut BTreeSet<String>,
    ) -> Result<(), Failure> {
        for stem in stems {
            if !self.is_right(stem, known(stem)).await? {
                keys.insert(self.prefix.package_key(stem));
            }
        }
        Ok(())
    }

    /// Returns whether the fragment of a package is right: it describes the package, or neither
    /// exists, or the package was rejected.
    async fn is_right(&self, stem: &str, known: Option<Row<'_>>) -> Result<bool, Failure> {
        let fragment = self.store.head(&self.prefix.fragment_key(stem)).await?;
        let package = self.store.head(&self.prefix.package_key(stem)).await?;
        Ok(match (fragment, package) {
            (None, None) => true,
            (Some(_), None) => false,
            (Some(fragment), Some(package)) if fragment::describes(&fragment, &package.etag) => {
                !known.is_some_and(|row| {
                    row.is_of_package(&package.etag) && !row.is_of_fragment(&fragment.etag)
                })
            }
            // The fragment of an earlier package stays if that may not be replaced.
            (fragment, Some(package)) => {
                let is_kept = self.replacing == Replacing::Refused && known.is_none();
                if fragment.is_some() && !is_kept {
                    return Ok(false);
                }
                let age = i64::try_from(package.age.as_secs()).unwrap_or(i64::MAX);
                let written = self.store.now().saturating_sub(age);
                let rejections = RejectionNotes::read(self.store, self.prefix).await?;
                rejections.contain(stem, &package.etag, written)
            }
        })
    }

    /// Checks a repository prefix without a snapshot.
    async fn adopt(&self, mut published: Published) -> Result<Cure, Failure> {
        let listing = Listing::read(self.store, self.prefix, &Snapshot::default()).await?;
        let is_published =
            published.index.is_some() || self.has_our_adb(&listing, &mut published).await?;
        if listing.packages.is_empty() && listing.fragments.is_empty() && !is_published {
            return Ok(Cure::Executions(BTreeSet::new()));
        }
        // Somebody else may have `.index` files.
        let is_known = self.prefix.architecture().is_known();
        if !is_known && listing.packages.is_empty() && !is_published {
            return Ok(Cure::Executions(BTreeSet::new()));
        }
        let is_known = |stem: &str| listing.fragments.contains_key(stem);
        if !unknown(self.store, self.prefix, None, &listing, is_known).await?.is_empty() {
            return Ok(Cure::Reindex);
        }
        let rejections = RejectionNotes::read(self.store, self.prefix).await?;
        let is_withdrawn = |stem: &&String| listing.withdrawn.contains_key(*stem);
        let may_be_listed = |stem: &&String| {
            listing.packages.get(*stem).is_some_and(|package| {
                !rejections.contain(stem, &package.etag, package.last_modified)
            })
        };
        let has_content = listing.fragments.keys().any(|stem| may_be_listed(&stem));
        let index = (has_content || is_published).then(|| self.prefix.index_key());
        // Fragments without a package, or of a rejected one, belong in no index.
        let orphans =
            listing.fragments.keys().filter(|stem| !may_be_listed(stem) && !is_withdrawn(stem));
        let orphans = orphans.take(MAX_EXECUTIONS).map(|stem| self.prefix.package_key(stem));
        Ok(Cure::Executions(orphans.chain(index).collect()))
    }

    /// Returns whether there is an index of format v3 that we made.
    async fn has_our_adb(
        &self,
        listing: &Listing,
        published: &mut Published,
    ) -> Result<bool, Failure> {
        if listing.has_adb {
            published.look_at_adb(self.store, self.prefix).await?;
        }
        Ok(published.has_our_adb())
    }

    /// Compares everything that a listing shows with the snapshot and the published index.
    async fn check(&self) -> Result<Cure, Failure> {
        let mut cached = CachedSnapshot::begin(self.store, self.prefix).await?;
        cached.read_on().await?;
        let header = cached.header().cloned();
        let has_adb = header.as_ref().is_some_and(|header| header.adb.is_some());
        let mut published = Published::look(self.store, self.prefix, has_adb).await?;
        let Some(header) = header else { return self.adopt(published).await };
        let is_young = cached.age().is_some_and(|age| age < SIGNING_TIME);
        let snapshot = cached.into_snapshot().await?;
        let mut keys = BTreeSet::new();
        let is_right = published.is_of(Some(&header)) && self.lists(&snapshot, &published).await?;
        if !is_young && !is_right {
            keys.insert(self.prefix.index_key());
        }
        let listing = Listing::read(self.store, self.prefix, &snapshot).await?;
        let rows: Rows<'_> = snapshot.rows().map(|row| (row.stem(), row)).collect();
        let has_index = published.index.is_some();
        // The setting may be new, or somebody put back an older snapshot, which may know nothing of
        // it.
        let lacks_adb = !has_adb
            && !is_young
            && (self.v3_index.is_wanted(snapshot.len(), snapshot.v3_len(), has_index)
                || self.has_our_adb(&listing, &mut published).await?);
        if lacks_adb {
            keys.insert(self.prefix.index_key());
        }
        let stems = self.doubtful(&rows, &listing).await?;
        let stems: BTreeSet<_> =
            stems.into_iter().chain(self.without_copy(&rows, &listing)).collect();
        let uploaded =
            |stem: &str| listing.packages.get(stem).map_or(0, |package| package.last_modified);
        let mut reranked = BTreeMap::new();
        // A damaged snapshot is found when its index is read.
        if rank::complete(&snapshot, &mut reranked, uploaded).is_ok() && !reranked.is_empty() {
            keys.insert(self.prefix.index_key());
        }
        if stems.len() > MAX_EXECUTIONS {
            return Ok(Cure::Reindex);
        }
        keys.extend(stems.iter().map(|stem| {
            if listing.withdrawn.contains_key(stem) {
                self.prefix.withdrawal_key(stem)
            } else {
                self.prefix.package_key(stem)
            }
        }));
        Ok(Cure::Executions(keys))
    }

    /// Returns whether the published index lists what the snapshot does. A damaged snapshot lists
    /// nothing.
    async fn lists(&self, snapshot: &Snapshot, published: &Published) -> Result<bool, Failure> {
        match lists(self.store, self.prefix, snapshot, published).await {
            Err(Failure::StagedDamaged { .. }) => Ok(false),
            outcome => outcome,
        }
    }

    /// Returns the listed packages, by `<name>-<version>`, whose copies are missing or have another
    /// size.
    fn without_copy(&self, rows: &Rows<'_>, listing: &Listing) -> Vec<String> {
        let before = self.store.now() - IN_FLIGHT;
        let needs_copy = |stem: &str, package: &ListedObject| {
            self.copies == PlusCopies::Kept
                && package.last_modified < before
                && rows.contains_key(stem)
        };
        let packages = listing.packages.iter().filter(|(stem, package)| needs_copy(stem, package));
        packages
            .filter(|(stem, package)| {
                plus_copy_stem(stem).is_some_and(|copy| {
                    listing.copies.get(&copy).is_none_or(|copy| copy.size != package.size)
                })
            })
            .map(|(stem, _)| stem.clone())
            .collect()
    }

    /// Returns whether a rejected package left no fragment behind but that of an earlier package
    /// which may not be replaced.
    async fn is_clean(
        &self,
        stem: &str,
        package: &ListedObject,
        listing: &Listing,
    ) -> Result<bool, Failure> {
        let Some(fragment) = listing.fragments.get(stem) else { return Ok(true) };
        if self.replacing == Replacing::Allowed {
            return Ok(false);
        }
        let fragment = self.store.head(&fragment.key).await?;
        Ok(!fragment.is_some_and(|fragment| fragment::describes(&fragment, &package.etag)))
    }

    /// Returns the packages, by `<name>-<version>`, on which objects and snapshot disagree.
    async fn doubtful(
        &self,
        rows: &Rows<'_>,
        listing: &Listing,
    ) -> Result<BTreeSet<String>, Failure> {
        let before = self.store.now() - IN_FLIGHT;
        let mut unlisted = Vec::new();
        for (stem, package) in &listing.packages {
            let fragment = listing.fragments.get(stem);
            let is_right = rows.get(stem.as_str()).is_some_and(|row| {
                row.is_of_package(&package.etag)
                    && fragment.is_some_and(|fragment| row.is_of_fragment(&fragment.etag))
            });
            if !is_right && package.last_modified < before && may_be_stem(stem) {
                unlisted.push((stem, package));
            }
        }
        if !unlisted.is_empty() {
            let rejections = RejectionNotes::read(self.store, self.prefix).await?;
            let found = std::mem::take(&mut unlisted);
            for (stem, package) in found {
                let is_rejected = !rows.contains_key(stem.as_str())
                    && rejections.contain(stem, &package.etag, package.last_modified);
                if !is_rejected || !self.is_clean(stem, package, listing).await? {
                    unlisted.push((stem, package));
                }
            }
        }
        let is_known = self.prefix.architecture().is_known();
        let is_withdrawn = |stem: &String| listing.withdrawn.contains_key(stem);
        let fragments = listing.fragments.keys();
        let fragments =
            fragments.filter(|stem| is_known && may_be_stem(stem) && !is_withdrawn(stem));
        let gone = rows.keys().map(|stem| (*stem).to_owned()).chain(fragments.cloned());
        let gone = gone.filter(|stem| !listing.packages.contains_key(stem));
        Ok(unlisted.into_iter().map(|(stem, _)| stem.clone()).chain(gone).collect())
    }
}

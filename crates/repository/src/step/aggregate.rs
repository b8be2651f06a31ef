use std::collections::{BTreeSet, HashSet};

use alpinist_apk::{
    entry::IndexEntry,
    index_archive::{self, IndexArchive},
    text::{chain, escaped},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tracing::{debug, warn};

use crate::{
    failure::Failure,
    fragment,
    journal::{self, Repository},
    lease::Lease,
    listing::Listing,
    location::{RepositoryPrefix, Subject, may_be_stem},
    message::{Aggregated, Reindex, Staged, Waiting, Written, WrittenFragment},
    port::{
        self, Attributes, ETag, Generation, Listed, NewObject, ObjectInfo, ObjectStore,
        Precondition, StoreError,
    },
    rejection_note::RejectionNotes,
    snapshot::{Header, Record, Snapshot},
    step::{
        DIGEST,
        decide::{Baseline, Decision, Job, decide},
    },
};

/// How many fragments are read at once.
const PARALLEL_READS: usize = 32;

/// Makes the index of the repository prefix as the bucket is now, and stages it if it differs from
/// the published one. Before that, looks whether another execution has done so or is at it.
///
/// The cached snapshot and the published index are looked at before the bucket is listed, and
/// each may be replaced only if it is still the same, so nobody can have published anything newer than
/// our listing. If there is nothing to publish, but somebody who listed the bucket before our change may
/// still be at work, the snapshot is replaced all the same: then they can't publish any more.
///
/// Where nothing is cached, a package without a fragment is one that nobody has looked at, unless it was rejected. Then
/// nothing is published until a reindex has looked at it, which [`heal`](super::heal()) is asked to start: what is
/// published must not shrink for want of knowledge.
///
/// Costs two or three requests if the change is covered, four if another execution is at work;
/// otherwise a listing, one read for each fragment that changed since the last publication, and four
/// more requests.
///
/// # Errors
///
/// [`Failure::Superseded`], if the package is not as the request says any more; [`Failure::Unadopted`], if a reindex did not
/// come within the time that it needs; [`Failure::Store`].
pub async fn aggregate<S: ObjectStore>(
    store: &S,
    request: Aggregated,
) -> Result<Aggregated, Failure> {
    let Ok(subject) = request.written.target.key.parse::<Subject>() else {
        return Ok(request.written.into());
    };
    let mut unknown = 0;
    let (generation, overtook) = match decide(store, &subject, &request).await.map_err(contended)? {
        Decision::UpToDate => return Ok(request.written.into()),
        Decision::Contended(generation) => (generation, false),
        Decision::Work(work) => {
            let Job { lease, base } = *work;
            let generation = base.generation;
            match rebuild(store, &subject, &request.written, base, &lease).await {
                Ok(Rebuilt::Snapshot(staged)) => {
                    return Ok(Aggregated { written: request.written, staged, waiting: None });
                }
                Ok(Rebuilt::Superseding) => (generation, true),
                Ok(Rebuilt::Unadopted(found)) => {
                    let asked = request.waiting.as_ref().filter(|waiting| waiting.unknown > 0);
                    if asked.is_none_or(|waiting| waiting.times % WAITS_PER_REQUEST == 0) {
                        ask_for_adoption(store, subject.prefix()).await?;
                    }
                    lease.release(store).await?;
                    unknown = found;
                    (generation, false)
                }
                Err(Failure::Store(StoreError::Conflict { .. })) => (generation, false),
                Ok(Rebuilt::Nothing) => {
                    lease.release(store).await?;
                    return Ok(request.written.into());
                }
                Err(failure) => {
                    lease.release(store).await?;
                    return Err(failure);
                }
            }
        }
    };
    let Waiting { since, times, .. } = request.waiting.unwrap_or_default();
    // While nothing is cached there is nothing to count from.
    let since = if since == 0 { generation } else { since };
    if unknown > 0 && times >= MAX_WAITS_FOR_ADOPTION {
        let prefix = subject.prefix().to_string();
        return Err(Failure::Unadopted { prefix, unknown });
    }
    debug!(key = %subject, since, times, overtook, "another execution is at work");
    let waiting = Some(Waiting { since, times: times + 1, overtook, unknown });
    Ok(Aggregated { written: request.written, staged: None, waiting })
}

/// Lets the step be tried again if what it reads was replaced while a connection broke.
fn contended(failure: Failure) -> Failure {
    match failure {
        Failure::Store(StoreError::Conflict { key }) => Failure::Contended { key },
        failure => failure,
    }
}

/// What came of a listing.
enum Rebuilt {
    /// A new snapshot, and whether its index is to be published.
    Snapshot(Option<Staged>),
    /// A new snapshot whose index is published, in the place of one that somebody may be about to publish.
    Superseding,
    /// Everything is as it was.
    Nothing,
    /// Nothing is cached, and so many packages are there that nobody has looked at.
    Unadopted(usize),
}

async fn rebuild<S: ObjectStore>(
    store: &S,
    subject: &Subject,
    written: &Written,
    base: Baseline,
    lease: &Lease,
) -> Result<Rebuilt, Failure> {
    let Baseline { etag, generation, snapshot: mut cached, published, is_published } = base;
    let prefix = subject.prefix();
    let is_gone = written.fragment.is_none();
    if let Some(stem) = subject.stem().filter(|_| is_gone) {
        cached.forget(stem);
    }
    cached.forget_others(prefix.architecture());
    let listing = Listing::read(store, prefix, &cached).await?;
    check(&listing, subject, written)?;
    let reindex = written.target.reindex.as_ref();
    let is_adopted = generation > 0;
    if !is_adopted && reindex.is_none() {
        let is_known = |stem: &str| listing.fragments.contains_key(stem);
        let unknown = unknown(store, prefix, subject.stem(), &listing, is_known).await?;
        if !unknown.is_empty() {
            return Ok(Rebuilt::Unadopted(unknown.len()));
        }
    }
    let generation = match generation {
        0 => u64::try_from(listing.youngest).unwrap_or_default() + 1,
        generation => generation + 1,
    };
    let own = written.fragment.clone().map(|WrittenFragment { package, fragment, entry }| {
        Box::new(Record { package, fragment, since: generation, rank: 0, entry })
    });
    let before = cached.len();
    // Only a run that looks at packages says anything of them.
    let looking = reindex.filter(|reindex| !reindex.sign);
    if let Some(Reindex { run, .. }) = looking {
        forget_rejected(store, run, &listing, &mut cached).await?;
    }
    let is_to_be_read = looking.is_some();
    let sources = Sources { store, prefix, listing: &listing, generation, is_to_be_read };
    let mut snapshot = sources.collect(&mut cached, own).await?;
    if !is_adopted {
        let is_known = |stem: &str| snapshot.record(stem).is_some();
        let unknown = unknown(store, prefix, subject.stem(), &listing, is_known).await?;
        let unknown = match reindex {
            None => unknown.len(),
            Some(_) if unknown.is_empty() => 0,
            // Each was looked at, and some failed: that must not make the index shrink.
            Some(_) => {
                let published = published_stems(store, prefix).await?;
                unknown.into_iter().filter(|stem| published.contains(*stem)).count()
            }
        };
        if unknown > 0 {
            return match reindex {
                None => Ok(Rebuilt::Unadopted(unknown)),
                Some(_) => Err(Failure::Unadopted { prefix: prefix.to_string(), unknown }),
            };
        }
    }
    let uploaded =
        |stem: &str| listing.packages.get(stem).map_or(0, |package| package.last_modified);
    let is_reranked = snapshot.rank(uploaded);
    let is_same = cached.is_empty() && snapshot.len() == before && !is_reranked;
    let is_fence = !is_same || (subject.stem().is_some() && is_gone) || lease.was_stolen();
    let evidence = Evidence::asked_by(subject, reindex);
    let next = SnapshotUpdate { etag, generation, published, evidence, is_fence, is_published };
    let made = next.put(store, prefix, &snapshot).await?;
    if let Some(Reindex { run, .. }) = looking {
        let found = found(store, run, prefix, &listing, &cached, &snapshot).await?;
        journal::record_repository(store, run, prefix, &found).await?;
    }
    Ok(made)
}

/// How long a package is taken to have an execution of its own that has not written its fragment yet.
pub(super) const IN_FLIGHT: i64 = 120;

/// How often an execution waits until a reindex has looked at what is there: some 40 minutes.
const MAX_WAITS_FOR_ADOPTION: u32 = 100;

/// How often it waits until it asks for a reindex again.
const WAITS_PER_REQUEST: u32 = 10;

/// Returns the packages, by `<name>-<version>`, that nobody has looked at: which are not known, not its `own`, were
/// not rejected, and are old or listed by the published index, so that they are not just being looked at.
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
        let published = published_stems(store, prefix).await?;
        unknown
            .retain(|(stem, package)| package.last_modified < before || published.contains(*stem));
    }
    Ok(unknown.into_iter().map(|(stem, _)| stem.as_str()).collect())
}

/// Leaves a note for whoever [starts a reindex](super::heal()): S3 tells of it.
async fn ask_for_adoption<S: ObjectStore>(
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

/// Returns what the published index lists, whoever made it, by `<name>-<version>`.
async fn published_stems<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
) -> Result<HashSet<String>, Failure> {
    let index = match port::read(store, &prefix.index_key(), index_archive::MAX_LENGTH).await {
        Ok(Some(index)) => index.body,
        Ok(None) | Err(StoreError::TooLarge { .. }) => return Ok(HashSet::new()),
        Err(error) => return Err(error.into()),
    };
    // By one that no client accepts, nothing is published.
    Ok(index_archive::listed_stems(&index).unwrap_or_default())
}

/// What a new snapshot is to replace.
struct SnapshotUpdate {
    etag: Option<ETag>,
    generation: Generation,
    published: Option<ObjectInfo>,
    evidence: Evidence,
    /// Whether the snapshot is to be replaced even if the published index is right.
    is_fence: bool,
    /// Whether what is to be replaced was published.
    is_published: bool,
}

/// What proves that the published index is right.
#[derive(Clone, Copy)]
enum Evidence {
    /// Its attributes.
    Attributes,
    /// Its entries, which are read.
    Entries,
    /// Nothing: it is to be signed again.
    None,
}

impl Evidence {
    fn asked_by(subject: &Subject, reindex: Option<&Reindex>) -> Self {
        match (subject, reindex) {
            (_, Some(Reindex { sign: true, .. })) => Self::None,
            // Somebody asks for this index itself.
            (Subject::Index(_), _) | (_, Some(_)) => Self::Entries,
            (Subject::Package(_), None) => Self::Attributes,
        }
    }
}

impl SnapshotUpdate {
    async fn put<S: ObjectStore>(
        self,
        store: &S,
        prefix: &RepositoryPrefix,
        snapshot: &Snapshot,
    ) -> Result<Rebuilt, Failure> {
        let digest = snapshot.digest(prefix);
        let is_right = match (&self.published, self.evidence) {
            (None, _) => snapshot.is_empty(),
            (Some(_), Evidence::None) => false,
            (Some(published), evidence) => {
                published.attributes.get(DIGEST) == Some(&digest)
                    && (matches!(evidence, Evidence::Attributes)
                        || lists(store, prefix, snapshot).await?)
            }
        };
        if is_right && !self.is_fence {
            return Ok(Rebuilt::Nothing);
        }
        let (generation, packages) = (self.generation, snapshot.len());
        let key = prefix.snapshot_key();
        let bytes = snapshot
            .to_bytes(&Header { generation, digest, packages })
            .map_err(|source| Failure::StagedDamaged { key: key.clone(), source })?;
        let object =
            NewObject { bytes, content_type: "application/gzip", attributes: Attributes::new() };
        let etag = store.put(&key, object, Precondition::still(self.etag)).await?;
        debug!(key, generation, packages, is_right, "snapshot written");
        if !is_right {
            return Ok(Rebuilt::Snapshot(Some(staged(etag, self.published))));
        }
        // Whoever made the snapshot before ours may have come to publish it since we looked at the index.
        let present = store.head(&prefix.index_key()).await?;
        let version = |index: &Option<ObjectInfo>| index.as_ref().map(|index| index.etag.clone());
        let is_still_right = version(&present) == version(&self.published);
        if is_still_right && !self.is_published {
            return Ok(Rebuilt::Superseding);
        }
        Ok(Rebuilt::Snapshot((!is_still_right).then(|| staged(etag, present))))
    }
}

/// Reads the published index, and tells whether it has the entries of the snapshot and is signed. By whom
/// is for whoever has the keys to tell.
pub(super) async fn lists<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
    snapshot: &Snapshot,
) -> Result<bool, Failure> {
    let key = prefix.index_key();
    let index = match port::read(store, &key, index_archive::MAX_LENGTH).await {
        Ok(Some(index)) => index.body,
        Ok(None) | Err(StoreError::TooLarge { .. }) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let entries = match IndexArchive::read(&index) {
        Ok(archive) if archive.description == prefix.repository() => archive.index,
        Ok(_) => return Ok(false),
        Err(error) => {
            warn!(key, error = chain(&error), "published index is damaged and is made again");
            return Ok(false);
        }
    };
    let entries = entries.entries();
    let mut last_rank = 0;
    let mut is_known = |entry: &IndexEntry| {
        let stem = entry.file_stem();
        let Some(record) = snapshot.record(&stem).filter(|record| record.entry == *entry) else {
            return false;
        };
        // Versions that apk can't tell apart stand one after the other, by their rank.
        let is_in_order = record.rank < 2 || record.rank == last_rank + 1;
        last_rank = record.rank;
        is_in_order
    };
    Ok(entries.len() == snapshot.len() && entries.iter().all(&mut is_known))
}

fn staged(snapshot: ETag, published: Option<ObjectInfo>) -> Staged {
    let is_too_soon = published.as_ref().is_some_and(|index| index.age.is_zero());
    Staged { snapshot, replaces: published.map(|index| index.etag), is_too_soon }
}

/// Forgets the packages that a reindex rejected although they are still the ones that were listed: a setting has
/// become stricter, or a key is not trusted any more. Their fragments are gone, and nothing else would
/// tell them from packages whose fragments were lost.
async fn forget_rejected<S: ObjectStore>(
    store: &S,
    run: &str,
    listing: &Listing,
    cached: &mut Snapshot,
) -> Result<(), Failure> {
    let doubtful: Vec<_> = listing
        .packages
        .iter()
        .filter(|(stem, _)| !listing.fragments.contains_key(*stem))
        .filter(|(stem, package)| {
            cached.record(stem).is_some_and(|known| known.package == package.etag)
        })
        .collect();
    let rejected: Vec<_> = stream::iter(doubtful)
        .map(async |(stem, package)| {
            let is_rejected = journal::is_rejected(store, run, &package.key, &package.etag).await?;
            Ok::<_, Failure>(is_rejected.then_some(stem))
        })
        .buffer_unordered(PARALLEL_READS)
        .try_filter_map(async |stem| Ok(stem))
        .try_collect()
        .await?;
    for stem in rejected {
        cached.forget(stem);
    }
    Ok(())
}

/// Returns what became of each package, for a reindex, and removes the fragments of packages that are
/// gone.
async fn found<S: ObjectStore>(
    store: &S,
    run: &str,
    prefix: &RepositoryPrefix,
    listing: &Listing,
    cached: &Snapshot,
    snapshot: &Snapshot,
) -> Result<Repository, Failure> {
    let indexed: HashSet<_> = journal::indexed(store, run, prefix).await?.into_iter().collect();
    let mut found = Repository::default();
    for stem in listing.packages.keys() {
        match snapshot.record(stem) {
            None => &mut found.unlisted,
            Some(_) if indexed.contains(stem) => &mut found.indexed,
            Some(_) => &mut found.unchanged,
        }
        .push(prefix.package_key(stem));
    }
    let mut gone: BTreeSet<_> = cached.stems().map(str::to_owned).collect();
    for (stem, fragment) in &listing.fragments {
        let is_orphan = !listing.packages.contains_key(stem)
            && store.head(&prefix.package_key(stem)).await?.is_none()
            && fragment::is_ours(store, prefix, &fragment.key).await?;
        if is_orphan {
            store.delete(&fragment.key, &fragment.etag).await?;
            gone.insert(stem.clone());
        }
    }
    gone.retain(|stem| !listing.packages.contains_key(stem));
    found.removed = gone.iter().map(|stem| prefix.package_key(stem)).collect();
    for keys in [&mut found.indexed, &mut found.unchanged, &mut found.unlisted] {
        keys.sort_unstable();
    }
    Ok(found)
}

/// Checks that the package and its fragment are still as the execution left them.
fn check(listing: &Listing, subject: &Subject, written: &Written) -> Result<(), Failure> {
    let Some(stem) = subject.stem() else { return Ok(()) };
    let package = listing.packages.get(stem);
    let fragment = listing.fragments.get(stem);
    let unchanged = match &written.fragment {
        Some(written) => {
            package.is_some_and(|package| package.etag == written.package)
                && fragment.is_some_and(|fragment| fragment.etag == written.fragment)
        }
        None => package.is_none_or(|package| {
            written.rejection.as_ref().is_some_and(|rejection| rejection.package == package.etag)
        }),
    };
    if unchanged { Ok(()) } else { Err(Failure::Superseded { key: subject.to_string() }) }
}

/// What a listing and the cached records have in common, and what not.
struct Compared<'a> {
    /// The records that hold.
    snapshot: Snapshot,
    /// The `<name>-<version>`, package and fragment of those whose fragment is to be read.
    changed: Vec<(&'a str, &'a Listed, &'a Listed)>,
}

/// Compares each package of the listing with what is cached, of which it takes out what still holds.
///
/// What is cached of a package that is still the same holds even if its fragment is lost or
/// garbled: an entry follows from the package alone. The `own` record was made from the package just
/// now, so it prevails.
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
            warn!(key = escaped(&package.key), "package has no fragment and is not listed");
        }
    }
    debug!(changed = changed.len(), packages = listing.packages.len(), "fragments compared");
    Compared { snapshot: Snapshot::new(records), changed }
}

/// Returns whether what is known of a package can be taken over without a look at its fragment.
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
struct Sources<'a, S> {
    store: &'a S,
    prefix: &'a RepositoryPrefix,
    listing: &'a Listing,
    generation: Generation,
    /// Whether each fragment is to be read, even if it is cached.
    is_to_be_read: bool,
}

impl<S: ObjectStore> Sources<'_, S> {
    /// Collects the records of all packages that have a fragment or are cached, reading the fragments
    /// that changed. Takes out of `cached` what still holds, so that what is left there is over.
    async fn collect(
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

    /// Reads a fragment. One that can't be listed is passed over and harms no other.
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

//! Watches every request, and knows what may be published.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use alpinist_apk::{entry::IndexEntry, index_archive::IndexArchive, key::SigningKey};
use alpinist_repository::{
    memory::MemoryStore,
    message::Written,
    port::{ETag, ObjectStore as _},
};
use futures::FutureExt as _;

use crate::{
    common::{INDEX, KEY_NAME, PREFIX, PRIVATE_KEY, execution::State},
    fault::snapshot_key,
    scenario::{Content, Contents, PACKAGES, Package, TIED},
    store::{Effect, Method, Outcome},
};

/// A rule that was broken, and how.
#[derive(Clone, Debug)]
pub(crate) struct Violation(pub(crate) String);

/// The number of a step of the scheduler.
pub(crate) type Time = usize;

/// The entries of an index, by the `<name>-<version>` of their packages.
pub(crate) type Entries = BTreeMap<String, IndexEntry>;

/// What is known about one invocation.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    state: State,
    /// When the snapshot was read that a new one will replace, and its version.
    base_read: Option<(Time, Option<ETag>)>,
    /// When the listing began, and when it ended.
    listing: Option<(Time, Time)>,
    /// The store's clock at that time, in seconds.
    listed_at: i64,
    /// The package to which the listing was limited.
    own: Option<usize>,
    /// When the package was read.
    pub(crate) package_read: Option<Time>,
    /// When the fragment was last read or changed.
    fragment_seen: Option<Time>,
}

impl Watched {
    pub(crate) fn new(state: State) -> Self {
        Self {
            state,
            base_read: None,
            listing: None,
            listed_at: 0,
            own: None,
            package_read: None,
            fragment_seen: None,
        }
    }
}

/// How a snapshot was made.
#[derive(Clone, Debug)]
struct Making {
    base_read: Time,
    /// When each package was checked.
    looks: Vec<(Time, Time)>,
    /// The store's clock when the bucket was listed, in seconds.
    listed_at: i64,
}

/// The current index.
#[derive(Clone, Debug)]
struct Publication {
    entries: Arc<Entries>,
    /// The packages in the order of the index.
    order: Vec<String>,
    /// Its `Last-Modified`, in seconds.
    last_modified: u64,
    /// How its snapshot was made.
    making: Making,
    /// Whether its snapshot had already been replaced when it was published. If so, its publisher
    /// notices immediately, and fixes it.
    is_overtaken: bool,
}

/// What an index must say about a package, and since when.
#[derive(Clone, Debug)]
struct Settled {
    entry: Option<IndexEntry>,
    since: Time,
}

/// Watches a history.
pub(crate) struct Oracle {
    /// The contents that each package had, and since when.
    changes: Vec<Vec<(Time, Option<usize>)>>,
    snapshots: HashMap<ETag, Making>,
    publication: Option<Publication>,
    /// The index of the last backup.
    backup: Option<Publication>,
    /// When the last listing of the bucket began.
    last_listing: Time,
    /// The packages whose last change was processed successfully.
    settled: BTreeMap<usize, Settled>,
    /// Whether somebody changed an object that only Alpinist may change.
    is_meddled: bool,
    /// Whether a reindex could not process a package. If somebody also deleted the index, the rest
    /// are published without it.
    is_reindex_incomplete: bool,
    pub(crate) publications: usize,
    /// Snapshots whose makers checked only one package.
    pub(crate) looks: usize,
    pub(crate) overtaken: usize,
}

impl Oracle {
    /// Begins with a bucket whose index is published.
    pub(crate) fn new(bucket: &MemoryStore, beginning: Contents) -> Self {
        let making = Making { base_read: 0, looks: vec![(0, 0); PACKAGES.len()], listed_at: 0 };
        let settled = PACKAGES.iter().zip(beginning).map(|(package, content)| {
            let entry = content.and_then(|content| package.contents[content].entry.clone());
            Settled { entry, since: 0 }
        });
        let index = version(bucket, INDEX).map(|etag| Publication {
            entries: verified(bucket, &etag).expect("the index is right in the beginning"),
            order: listed(bucket),
            last_modified: last_modified(bucket),
            making: making.clone(),
            is_overtaken: false,
        });
        Self {
            changes: beginning.into_iter().map(|content| vec![(0, content)]).collect(),
            snapshots: version(bucket, &snapshot_key())
                .map(|etag| (etag, making))
                .into_iter()
                .collect(),
            publication: index,
            backup: None,
            last_listing: 0,
            settled: settled.enumerate().collect(),
            is_meddled: false,
            is_reindex_incomplete: false,
            publications: 0,
            looks: 0,
            overtaken: 0,
        }
    }

    /// Records that somebody uploaded or deleted a package.
    pub(crate) fn changed(&mut self, now: Time, package: usize, content: Option<usize>) {
        self.changes[package].push((now, content));
        self.settled.remove(&package);
    }

    /// Records that somebody changed what only Alpinist may change.
    pub(crate) fn meddled(&mut self) {
        self.is_meddled = true;
    }

    /// Records a backup.
    pub(crate) fn backed_up(&mut self) {
        self.backup = self.publication.clone();
    }

    /// Records that the snapshot and the index of the backup replaced the current ones. They lack
    /// what has changed since.
    pub(crate) fn copied_back(&mut self) {
        self.meddled();
        self.publication = self.backup.clone();
    }

    /// Records that a reindex skipped a package whose execution died.
    pub(crate) fn reindexed_without(&mut self) {
        self.is_reindex_incomplete = true;
    }

    /// Checks and records the effect of a request.
    pub(crate) fn effect(
        &mut self,
        now: Time,
        bucket: &MemoryStore,
        watched: &mut Watched,
        effect: &Effect,
    ) -> Result<(), Violation> {
        let Outcome::Done(etag) = &effect.outcome else { return Ok(()) };
        let is_snapshot = effect.request.key == snapshot_key();
        let is_fragment = effect.request.key.ends_with(".index");
        match (effect.request.method, &watched.state) {
            (_, State::Write(_)) if is_fragment => watched.fragment_seen = Some(now),
            (Method::Get, State::Extract(_)) => watched.package_read = Some(now),
            (Method::Get, State::Aggregate(_)) if is_snapshot => {
                watched.base_read = Some((now, etag.clone()));
            }
            (Method::List, _) => {
                let own =
                    |package: &Package| effect.request.key == format!("{PREFIX}{}.", package.stem);
                watched.own = PACKAGES.iter().position(own);
                if effect.request.key == PREFIX && watched.listing.is_none() {
                    self.last_listing = now;
                }
                if watched.listing.is_none() {
                    watched.listed_at = bucket.now();
                }
                let begin = watched.listing.map_or(now, |(begin, _)| begin);
                watched.listing = Some((begin, now));
            }
            (Method::Put, State::Aggregate(request)) if is_snapshot => {
                let making = watched.base_read.clone().zip(watched.listing);
                let ((base_read, base), listing) =
                    making.ok_or_else(|| broken("a snapshot comes from a listing", ""))?;
                let looks = match watched.own {
                    None => vec![listing; PACKAGES.len()],
                    Some(_) if request.waiting.is_some() => {
                        return Err(broken("who had to wait lists the bucket for all", ""));
                    }
                    Some(own) => {
                        self.looks += 1;
                        let base = base.and_then(|base| self.snapshots.get(&base));
                        let base =
                            base.ok_or_else(|| broken("a change is applied to a snapshot", ""))?;
                        let mut looks = base.looks.clone();
                        looks[own] = listing;
                        looks
                    }
                };
                let etag = etag.clone().expect("a write has a version");
                let listed_at = watched.listed_at;
                self.snapshots.insert(etag, Making { base_read, looks, listed_at });
            }
            (Method::Put, State::Publish(request)) if effect.request.key == INDEX => {
                let staged = &request.staged;
                let is_overtaken =
                    version(bucket, &snapshot_key()).as_ref() != Some(&staged.snapshot);
                let making = self.snapshots.get(&staged.snapshot).cloned();
                let making = making.ok_or_else(|| broken("a staged snapshot was written", ""))?;
                let etag = etag.clone().expect("a write has a version");
                self.published(now, bucket, &etag, &making, is_overtaken)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn published(
        &mut self,
        now: Time,
        bucket: &MemoryStore,
        etag: &ETag,
        making: &Making,
        is_overtaken: bool,
    ) -> Result<(), Violation> {
        self.publications += 1;
        self.overtaken += usize::from(is_overtaken);
        let entries = verified(bucket, etag)?;
        let new = Publication {
            entries: entries.clone(),
            order: listed(bucket),
            last_modified: last_modified(bucket),
            making: making.clone(),
            is_overtaken,
        };
        // An overtaken publisher may briefly put back an index whose ETag has come again. It has
        // the time of that moment, so what replaces it may have the same time.
        let is_newer =
            |old: &Publication| old.is_overtaken || old.last_modified < new.last_modified;
        let is_judged = !self.is_meddled && !is_overtaken;
        if is_judged && !self.publication.as_ref().is_none_or(is_newer) {
            return Err(broken("Last-Modified of the index moves forward", ""));
        }
        let order = new.order.clone();
        let old = self.publication.replace(new);
        for (stem, entry) in &*entries {
            if !self.was_true(stem, entry, &making.looks) {
                return Err(broken("what is listed was true when it was looked at", stem));
            }
        }
        // Whatever somebody else deletes or overwrites, no package is lost for lack of information.
        let is_judged = !is_overtaken && !self.is_reindex_incomplete;
        if let Some(old) = old.as_ref().filter(|_| is_judged) {
            self.keeps(bucket, old, &entries, making.listed_at)?;
        }
        if self.is_meddled {
            return Ok(());
        }
        if old.as_ref().is_some_and(|old| old.entries == entries && old.order == order) {
            return Err(broken("an index that says the same is not published again", ""));
        }
        for (&package, settled) in &self.settled {
            if (!is_overtaken || settled.since < making.base_read) && !self.agrees(package, settled)
            {
                let detail = format!("{} at step {now}", PACKAGES[package].stem);
                return Err(broken("an index has all changes that were processed before", &detail));
            }
        }
        Ok(())
    }

    /// Checks that an index has each package that has not changed since the previous index was
    /// made. If somebody deletes that index, too, a package of the last minutes can't be told from
    /// one that is still being processed.
    fn keeps(
        &self,
        bucket: &MemoryStore,
        old: &Publication,
        entries: &Entries,
        listed_at: i64,
    ) -> Result<(), Violation> {
        let written = bucket.written();
        let is_young = |key: &String| {
            written.get(key).is_some_and(|time| time.as_secs().cast_signed() + 120 >= listed_at)
        };
        for ((package, changes), look) in PACKAGES.iter().zip(&self.changes).zip(&old.making.looks)
        {
            let &(since, content) = changes.last().expect("there is a beginning");
            // The entry may be that of the content before, which has other signatures.
            let is_unchanged = since < old.making.base_read.min(look.0).max(1);
            let entry = content.and_then(|content| package.contents[content].entry.as_ref());
            let was_right = old.entries.get(&package.stem) == entry;
            let is_told = !(self.is_meddled && is_young(&package.key));
            if is_told && is_unchanged && was_right && entries.get(&package.stem) != entry {
                return Err(broken("no index loses a package that is still there", &package.stem));
            }
        }
        Ok(())
    }

    /// Returns whether a package had this entry at some moment while it was checked.
    fn was_true(&self, stem: &str, entry: &IndexEntry, looks: &[(Time, Time)]) -> bool {
        let package = PACKAGES.iter().position(|package| package.stem == stem);
        package.is_some_and(|package| {
            self.had(package, looks[package]).any(|content| content.entry.as_ref() == Some(entry))
        })
    }

    /// The contents that a package had during a period.
    fn had(&self, package: usize, (begin, end): (Time, Time)) -> impl Iterator<Item = &Content> {
        let changes = &self.changes[package];
        changes.iter().enumerate().filter_map(move |(i, &(since, content))| {
            let until = changes.get(i + 1).map_or(Time::MAX, |&(until, _)| until);
            let content = content.filter(|_| since <= end && until >= begin)?;
            Some(&PACKAGES[package].contents[content])
        })
    }

    /// Checks a fragment that was written or found.
    pub(crate) fn wrote(&self, watched: &Watched, written: &Written) -> Result<(), Violation> {
        let package = PACKAGES.iter().position(|package| package.key == written.target.key);
        let (Some(package), Some(fragment)) = (package, &written.fragment) else { return Ok(()) };
        let seen = watched.fragment_seen.expect("a fragment was looked at");
        let was_there =
            self.had(package, (seen, Time::MAX)).any(|content| content.etag == fragment.package);
        if was_there {
            return Ok(());
        }
        let stem = &PACKAGES[package].stem;
        Err(broken("the package of a fragment was there after the fragment was written", stem))
    }

    /// Checks an execution that starts over after it had `written` this.
    pub(crate) fn started_over(
        &self,
        bucket: &MemoryStore,
        written: &Written,
    ) -> Result<(), Violation> {
        let Some(fragment) = &written.fragment else { return Ok(()) };
        let key = &written.target.key;
        let fragment_key = key.replace(".apk", ".index");
        let is_there = version(bucket, key).as_ref() == Some(&fragment.package)
            && version(bucket, &fragment_key).as_ref() == Some(&fragment.fragment);
        // Both may have come back in the meantime.
        let package = PACKAGES.iter().position(|package| package.key == *key);
        let is_first = package.is_some_and(|package| self.changes[package].len() < 3);
        if is_there && is_first && !self.is_meddled {
            return Err(broken("an execution starts over only if its package has changed", key));
        }
        Ok(())
    }

    /// Checks and records the regular end of an execution that began at `began` and read the
    /// package at `read`.
    pub(crate) fn ended(
        &mut self,
        now: Time,
        key: &str,
        began: Time,
        read: Option<Time>,
        is_rejected: bool,
    ) -> Result<(), Violation> {
        if key == INDEX && self.last_listing < began {
            return Err(broken("who asks for an index gets one from a listing", ""));
        }
        let Some(package) = PACKAGES.iter().position(|package| package.key == key) else {
            return Ok(());
        };
        let &(since, content) = self.changes[package].last().expect("there is a beginning");
        if read.is_none_or(|read| read <= since) {
            return Ok(());
        }
        let content = content.map(|content| &PACKAGES[package].contents[content]);
        if is_rejected != content.is_some_and(|content| content.entry.is_none()) {
            let stem = &PACKAGES[package].stem;
            return Err(broken("an execution is rejected if its package is", stem));
        }
        let entry = content.and_then(|content| content.entry.clone());
        let settled = Settled { entry, since: now };
        let is_mended_later = self.publication.as_ref().is_some_and(|index| index.is_overtaken);
        if !self.is_meddled && !is_mended_later && !self.agrees(package, &settled) {
            let stem = &PACKAGES[package].stem;
            return Err(broken("an execution ends when the published index has its change", stem));
        }
        self.settled.entry(package).or_insert(settled);
        Ok(())
    }

    fn agrees(&self, package: usize, settled: &Settled) -> bool {
        let entries = self.publication.as_ref().map(|index| &index.entries);
        let listed = entries.and_then(|entries| entries.get(&PACKAGES[package].stem));
        listed == settled.entry.as_ref()
    }

    /// Checks the bucket when everything is quiet, before any repair: the end of one execution
    /// harms no other package. Returns whether an index was published too late and its publisher
    /// died before it could fix that.
    pub(crate) fn quiet(&self, has_deaths: bool) -> Result<bool, Violation> {
        if self.is_meddled {
            return Ok(false);
        }
        let wrong = self.settled.iter().find(|&(&package, settled)| !self.agrees(package, settled));
        let Some((&package, _)) = wrong else { return Ok(false) };
        let is_overtaken = self.publication.as_ref().is_some_and(|index| index.is_overtaken);
        if is_overtaken && has_deaths {
            return Ok(true);
        }
        Err(broken("what was processed stays published", &PACKAGES[package].stem))
    }

    /// Checks the bucket when everything is quiet and repaired.
    pub(crate) fn end(&self, bucket: &MemoryStore) -> Result<(), Violation> {
        let entries = match version(bucket, INDEX) {
            Some(etag) => verified(bucket, &etag)?,
            None => Arc::default(),
        };
        let mut expected = Entries::new();
        for (package, changes) in PACKAGES.iter().zip(&self.changes) {
            let content = changes.last().and_then(|&(_, content)| content);
            let content = content.map(|content| &package.contents[content]);
            if let Some(entry) = content.and_then(|content| content.entry.clone()) {
                expected.insert(package.stem.clone(), entry);
            }
            let key = format!("{PREFIX}{}.index", package.stem);
            let fragment = bucket.head(&key).now_or_never().expect("memory does not wait").unwrap();
            let describes = fragment.as_ref().and_then(|f| f.attributes.get("package-etag"));
            let present =
                content.filter(|content| content.entry.is_some()).map(|content| &content.etag.0);
            if fragment.is_some() && describes != present {
                return Err(broken(
                    "a fragment describes the package that is there",
                    &package.stem,
                ));
            }
        }
        if *entries != expected {
            let stems = |entries: &Entries| entries.keys().cloned().collect::<Vec<_>>().join(", ");
            let detail = format!("listed: {}; there: {}", stems(&entries), stems(&expected));
            return Err(broken(
                "the index lists exactly the accepted packages as they are",
                &detail,
            ));
        }
        let tied = &PACKAGES[..TIED];
        let written = bucket.written();
        let mut expected: Vec<_> =
            tied.iter().filter(|package| entries.contains_key(&package.stem)).collect();
        // Within one second, the greater version comes first.
        expected.sort_by_key(|package| Reverse((written[&package.key].as_secs(), &package.stem)));
        let expected: Vec<_> = expected.into_iter().map(|package| package.stem.clone()).collect();
        let listed: Vec<_> = listed(bucket)
            .into_iter()
            .filter(|stem| tied.iter().any(|package| package.stem == *stem))
            .collect();
        if listed != expected {
            let detail =
                format!("listed: {}; uploaded: {}", listed.join(", "), expected.join(", "));
            return Err(broken(
                "of versions that apk can't tell apart, the latest comes first",
                &detail,
            ));
        }
        Ok(())
    }
}

/// The packages of the published index in its order, by `<name>-<version>`.
fn listed(bucket: &MemoryStore) -> Vec<String> {
    let Some(index) = bucket.content(INDEX) else { return Vec::new() };
    let archive = IndexArchive::read(&index).expect("the index was verified");
    archive.index.entries().iter().map(IndexEntry::file_stem).collect()
}

fn broken(rule: &str, detail: &str) -> Violation {
    Violation(format!("{rule}: {detail}"))
}

fn version(bucket: &MemoryStore, key: &str) -> Option<ETag> {
    let info = bucket.head(key).now_or_never().expect("memory does not wait").unwrap();
    info.map(|info| info.etag)
}

fn last_modified(bucket: &MemoryStore) -> u64 {
    bucket.written()[INDEX].as_secs()
}

/// Returns the entries of the published index, read and verified as a client does.
fn verified(bucket: &MemoryStore, etag: &ETag) -> Result<Arc<Entries>, Violation> {
    /// What was already verified: the same packages give the same bytes.
    static VERIFIED: LazyLock<Mutex<HashMap<ETag, Arc<Entries>>>> = LazyLock::new(Mutex::default);
    let lock = || VERIFIED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(entries) = lock().get(etag) {
        return Ok(entries.clone());
    }
    let bytes = bucket.content(INDEX).expect("the index is there");
    let wrong = |detail: String| broken("each index can be read and verified", &detail);
    let archive = IndexArchive::read(&bytes).map_err(|error| wrong(error.to_string()))?;
    let verifying_key =
        SigningKey::from_pem(&PRIVATE_KEY).expect("the key is good").verifying_key();
    if !archive.is_signed_by(&KEY_NAME.parse().expect("the name is good"), &verifying_key) {
        return Err(wrong("the signature is wrong".to_owned()));
    }
    let entries = archive.index.entries().iter().map(|entry| (entry.file_stem(), entry.clone()));
    let entries = Arc::new(entries.collect::<Entries>());
    lock().insert(etag.clone(), entries.clone());
    Ok(entries)
}

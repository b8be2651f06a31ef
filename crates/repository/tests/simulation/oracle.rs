//! Watches every request, and knows what may be published.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    mem,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use alpinist_apk::{
    adb::index::ReadIndex,
    entry::IndexEntry,
    index_archive::IndexArchive,
    key::{SigningKey, VerifyingKey},
};
use alpinist_repository::{
    memory::MemoryStore,
    message::{PublishRequest, Written},
    page::{REPOSITORIES, Repositories},
    port::{ETag, ObjectInfo, ObjectStore as _},
    snapshot::Snapshot,
};
use futures::FutureExt as _;
use serde_json::{Value, json};

use crate::{
    common::{INDEX, KEY_NAME, PREFIX, PRIVATE_KEY, execution::State},
    fault::snapshot_key,
    scenario::{ADB, Content, Contents, PACKAGES, Package, TIED, is_v3},
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
    /// How many of [`ADB`] were written, and whether `APKINDEX.tar.gz` was.
    adb_written: usize,
    is_index_written: bool,
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
            adb_written: 0,
            is_index_written: false,
        }
    }

    /// Returns after which of [`ADB`] a publisher dies that dies now, if it was to write more.
    pub(crate) fn torn_after(&self, bucket: &MemoryStore) -> Option<usize> {
        let last = self.adb_written.checked_sub(1)?;
        let has_more = last + 1 < ADB.len() || bucket.content(INDEX).is_some();
        (has_more && !self.is_index_written).then_some(last)
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

/// An index: for clients of format v2 or v3.
#[derive(Clone, Debug)]
struct Publication {
    entries: Arc<Entries>,
    /// The packages in the order of the index; empty for that of format v3.
    order: Vec<String>,
    /// Its `Last-Modified`, in seconds.
    last_modified: u64,
    /// How its snapshot was made.
    making: Making,
    /// Whether its snapshot had already been replaced when it was published. If so, its publisher
    /// notices immediately, and fixes it.
    is_overtaken: bool,
}

/// One of [`ADB`] as it is now.
#[derive(Clone, Debug, Default)]
struct Current {
    etag: Option<ETag>,
    /// The snapshot that it was made of, if we made it.
    snapshot: Option<ETag>,
    /// When its maker read the previous snapshot, 0 if we did not make it.
    base_read: Time,
    /// As of a [`Publication`].
    is_overtaken: bool,
    last_modified: u64,
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
    /// The current index of format v3, under its first name.
    adb: Option<Publication>,
    /// What that lists under its second name.
    alias: Option<Arc<Entries>>,
    /// All of [`ADB`].
    current: [Current; 3],
    /// Whether one of them has changed since the index was written.
    has_new_adb: bool,
    /// When all that is published was of one snapshot, unless something was written since.
    complete: Option<Time>,
    /// The snapshot whose publisher saw that.
    follows_complete: Option<ETag>,
    /// Both indexes at the last backup.
    backup: [Option<Publication>; 2],
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
    pub(crate) adb_publications: usize,
    /// Snapshots whose makers checked only one package.
    pub(crate) looks: usize,
    pub(crate) overtaken: usize,
    /// How often a publication has told the page something.
    pub(crate) told: usize,
    /// The other directories that the page was told of.
    elsewhere: Vec<String>,
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
            last_modified: last_modified(bucket, INDEX),
            making: making.clone(),
            is_overtaken: false,
        });
        let adb = version(bucket, ADB[0]).map(|etag| Publication {
            entries: verified_adb(bucket, ADB[0], &etag).expect("it is right in the beginning"),
            order: Vec::new(),
            last_modified: last_modified(bucket, ADB[0]),
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
            alias: adb.as_ref().map(|adb| adb.entries.clone()),
            adb,
            current: ADB.map(|key| current(bucket, key)),
            has_new_adb: false,
            complete: Some(0),
            follows_complete: None,
            backup: [None, None],
            last_listing: 0,
            settled: settled.enumerate().collect(),
            is_meddled: false,
            is_reindex_incomplete: false,
            publications: 0,
            adb_publications: 0,
            looks: 0,
            overtaken: 0,
            told: 0,
            elsewhere: Vec::new(),
        }
    }

    /// Publishes the first index of another directory, at once.
    pub(crate) fn publish_elsewhere(&mut self, bucket: &MemoryStore) {
        let Some(mut list) = list(bucket) else { return };
        self.elsewhere.push(format!("elsewhere/{}/x86_64", self.elsewhere.len()));
        list.directories.extend(self.elsewhere.last().cloned());
        bucket.upload(REPOSITORIES, serde_json::to_vec(&list).expect("it is JSON"));
    }

    /// Checks that the page, if there is one, knows each directory with an index.
    fn page_knows(&self, bucket: &MemoryStore) -> Result<(), Violation> {
        let Some(list) = list(bucket) else { return Ok(()) };
        if let Some(lost) = self.elsewhere.iter().find(|it| !list.directories.contains(*it)) {
            return Err(broken("the page forgets no directory", lost));
        }
        let has_index = [INDEX, ADB[0]]
            .iter()
            .any(|key| info(bucket, key).is_some_and(|object| is_ours(&object)));
        if !has_index {
            return Ok(());
        }
        if !list.directories.contains(PREFIX.trim_end_matches('/')) {
            return Err(broken("the page knows each directory with an index", PREFIX));
        }
        if !list.keys.contains(KEY_NAME) {
            return Err(broken("the page knows each key", KEY_NAME));
        }
        Ok(())
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
        self.backup = [self.publication.clone(), self.adb.clone()];
    }

    /// Records that somebody deleted or overwrote an object.
    pub(crate) fn meddled_with(&mut self, bucket: &MemoryStore, key: &str) {
        self.meddled();
        if let Some(object) = ADB.iter().position(|it| *it == key) {
            self.current[object] = current(bucket, key);
        }
    }

    /// Records that an object of the backup replaced the current one. It lacks what has changed
    /// since.
    pub(crate) fn copied_back(&mut self, bucket: &MemoryStore, key: &str) {
        self.meddled_with(bucket, key);
        let [index, adb] = self.backup.clone();
        if key == INDEX {
            self.publication = index;
        } else if key == ADB[0] && adb.is_some() {
            self.adb = adb;
        }
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
        let is_list = effect.request.key == REPOSITORIES;
        if effect.request.method == Method::Put {
            self.told += usize::from(is_list);
            self.page_knows(bucket)?;
        }
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
                watched.is_index_written = true;
                let staged = &request.staged;
                let is_overtaken =
                    version(bucket, &snapshot_key()).as_ref() != Some(&staged.snapshot);
                let making = self.snapshots.get(&staged.snapshot).cloned();
                let making = making.ok_or_else(|| broken("a staged snapshot was written", ""))?;
                let etag = etag.clone().expect("a write has a version");
                self.published(now, bucket, &etag, &making, is_overtaken)?;
                let is_its = |it: &Current| it.snapshot.as_ref() == Some(&staged.snapshot);
                self.complete = self.current.iter().all(is_its).then_some(now);
            }
            (Method::Put, State::Publish(request)) => {
                if let Some(object) = ADB.iter().position(|key| effect.request.key == *key) {
                    watched.adb_written = object + 1;
                    let etag = etag.clone().expect("a write has a version");
                    self.published_adb(bucket, request, object, etag)?;
                }
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
            last_modified: last_modified(bucket, INDEX),
            making: making.clone(),
            is_overtaken,
        };
        let says_the_same =
            |old: &Publication| old.entries == new.entries && old.order == new.order;
        // An overtaken publisher may briefly put back an index whose ETag has come again. It has
        // the time of that moment, so what replaces it may have the same time. With v3 packages, an
        // index may be written again that says the same.
        let is_newer = |old: &Publication| {
            old.is_overtaken
                || old.last_modified < new.last_modified
                || self.adb.is_some() && says_the_same(old)
        };
        let is_judged = !self.is_meddled && !is_overtaken;
        if is_judged && !self.publication.as_ref().is_none_or(is_newer) {
            return Err(broken("Last-Modified of the index moves forward", ""));
        }
        let is_same = self.publication.as_ref().is_some_and(says_the_same);
        let old = self.publication.replace(new);
        for (stem, entry) in &*entries {
            if !self.was_true(stem, entry, &making.looks) {
                return Err(broken("what is listed was true when it was looked at", stem));
            }
        }
        // Whatever somebody else deletes or overwrites, no package is lost for lack of information.
        let is_judged = !is_overtaken && !self.is_reindex_incomplete;
        if let Some(old) = old.as_ref().filter(|_| is_judged) {
            let of_v2 = |entry: &&IndexEntry| !is_v3(entry);
            self.keeps(bucket, old, &entries, making.listed_at, |_, entry| entry.filter(of_v2))?;
        }
        if self.is_meddled {
            return Ok(());
        }
        // Who looks while another execution publishes may see objects of two snapshots.
        let is_judged = self.adb.is_none() || self.follows_complete.take().is_some();
        let has_new_adb = mem::take(&mut self.has_new_adb);
        if is_judged && !has_new_adb && is_same {
            return Err(broken("an index that says the same is not published again", ""));
        }
        for (&package, settled) in &self.settled {
            let is_judged = !is_overtaken || settled.since < making.base_read;
            if is_judged && !self.agrees_in_index(package, settled) {
                let detail = format!("{} at step {now}", PACKAGES[package].stem);
                return Err(broken("an index has all changes that were processed before", &detail));
            }
        }
        Ok(())
    }

    /// Checks and records a write of one of [`ADB`].
    fn published_adb(
        &mut self,
        bucket: &MemoryStore,
        PublishRequest { staged, .. }: &PublishRequest,
        object: usize,
        etag: ETag,
    ) -> Result<(), Violation> {
        let key = ADB[object];
        if version(bucket, key).as_ref() != Some(&etag) {
            // A planted fault kept it from being written.
            return Ok(());
        }
        let is_overtaken = version(bucket, &snapshot_key()).as_ref() != Some(&staged.snapshot);
        let making = self.snapshots.get(&staged.snapshot).cloned();
        let making = making.ok_or_else(|| broken("a staged snapshot was written", ""))?;
        let base_read = making.base_read;
        let last_modified = last_modified(bucket, key);
        let complete = self.complete.take().filter(|_| object == 0);
        if object == 0 {
            let saw_it = complete.is_some_and(|complete| complete < base_read);
            self.follows_complete = saw_it.then(|| staged.snapshot.clone());
        } else {
            self.follows_complete.take_if(|snapshot| *snapshot != staged.snapshot);
        }
        let snapshot = Some(staged.snapshot.clone());
        let etag = Some(etag);
        let new = Current { etag, snapshot, base_read, is_overtaken, last_modified };
        let old = mem::replace(&mut self.current[object], new);
        let replaces = staged.adb.as_ref().and_then(|adb| adb.replaces.get(object)).cloned();
        // The same packages may have come again.
        if old.base_read > base_read && replaces != Some(old.etag.clone()) {
            return Err(broken("nothing older replaces what an execution has not seen", key));
        }
        let etag = &self.current[object].etag;
        let is_changed = old.etag != *etag;
        self.has_new_adb |= is_changed;
        let moves = old.is_overtaken || old.etag.is_none() || old.last_modified < last_modified;
        if is_changed && !self.is_meddled && !is_overtaken && !moves {
            return Err(broken("Last-Modified moves forward", key));
        }
        if object == 2 {
            return Ok(());
        }
        let entries = verified_adb(bucket, key, etag.as_ref().expect("it was just written"))?;
        for (stem, entry) in &*entries {
            if !self.was_true(stem, entry, &making.looks) {
                return Err(broken("what is listed was true when it was looked at", stem));
            }
        }
        self.adb_publications += usize::from(object == 0);
        if object == 1 {
            self.alias = Some(entries);
            return Ok(());
        }
        let new = Publication {
            entries: entries.clone(),
            order: Vec::new(),
            last_modified,
            making: making.clone(),
            is_overtaken,
        };
        let old = self.adb.replace(new);
        let is_judged = !is_overtaken && !self.is_reindex_incomplete;
        if let Some(old) = old.as_ref().filter(|_| is_judged) {
            self.keeps(bucket, old, &entries, making.listed_at, in_adb)?;
        }
        for (&package, settled) in self.settled.iter().filter(|_| !self.is_meddled) {
            let is_judged = !is_overtaken || settled.since < base_read;
            if is_judged && !agrees_in_adb(Some(&entries), package, settled) {
                let stem = &PACKAGES[package].stem;
                return Err(broken("an index of v3 has all changes processed before", stem));
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
        belongs: impl Fn(usize, Option<&'static IndexEntry>) -> Option<&'static IndexEntry>,
    ) -> Result<(), Violation> {
        let written = bucket.written();
        let is_young = |key: &String| {
            written.get(key).is_some_and(|time| time.as_secs().cast_signed() + 120 >= listed_at)
        };
        let looks = &old.making.looks;
        for (number, (package, changes)) in PACKAGES.iter().zip(&self.changes).enumerate() {
            let &(since, content) = changes.last().expect("there is a beginning");
            // The entry may be that of the content before, which has other signatures.
            let is_unchanged = since < old.making.base_read.min(looks[number].0).max(1);
            let entry = content.and_then(|content| package.contents[content].entry.as_ref());
            let entry = belongs(number, entry);
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
        let is_mended_later = self.is_overtaken();
        if !self.is_meddled && !is_mended_later && !self.agrees(package, &settled) {
            let stem = &PACKAGES[package].stem;
            return Err(broken("an execution ends when the published index has its change", stem));
        }
        self.settled.entry(package).or_insert(settled);
        Ok(())
    }

    /// Returns whether one of the published objects was overtaken.
    fn is_overtaken(&self) -> bool {
        self.publication.as_ref().is_some_and(|index| index.is_overtaken)
            || self.current.iter().any(|object| object.is_overtaken)
    }

    fn agrees(&self, package: usize, settled: &Settled) -> bool {
        let adb = self.adb.as_ref().map(|adb| &adb.entries);
        let is_in = |entries| agrees_in_adb(entries, package, settled);
        self.agrees_in_index(package, settled) && is_in(adb) && is_in(self.alias.as_ref())
    }

    fn agrees_in_index(&self, package: usize, settled: &Settled) -> bool {
        let entries = self.publication.as_ref().map(|index| &index.entries);
        let listed = entries.and_then(|entries| entries.get(&PACKAGES[package].stem));
        listed == settled.entry.as_ref().filter(|entry| !is_v3(entry))
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
        if self.is_overtaken() && has_deaths {
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
        self.end_of_adb(bucket, &expected)?;
        self.page_knows(bucket)?;
        expected.retain(|_, entry| !is_v3(entry));
        if *entries != expected {
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

    /// Checks what is published for format v3 of these packages. Nothing need be there if there has
    /// never been a v3 package, or if there is none and somebody removed all that shows it.
    fn end_of_adb(&self, bucket: &MemoryStore, packages: &Entries) -> Result<(), Violation> {
        let snapshot = bucket.content(&snapshot_key());
        let snapshot = snapshot.and_then(|snapshot| Snapshot::read(&snapshot).ok());
        // Nobody finds a directory with nothing in it, nor misses what was never published.
        let was_published = self.adb.is_some() || !packages.is_empty();
        let is_wanted = packages.values().any(is_v3)
            || was_published && snapshot.is_some_and(|(header, _)| header.adb.is_some())
            || ADB.iter().any(|key| info(bucket, key).is_some_and(|object| is_ours(&object)))
            || self.adb.is_some() && !self.is_meddled;
        if !is_wanted {
            return Ok(());
        }
        let had_v3 = |(package, changes): (&Package, &Vec<(Time, Option<usize>)>)| {
            let mut contents = changes.iter().filter_map(|&(_, content)| content);
            let entry = |content: usize| package.contents[content].entry.as_ref();
            contents.any(|content| entry(content).is_some_and(is_v3))
        };
        if !PACKAGES.iter().zip(&self.changes).any(had_v3) {
            return Err(broken("nobody needs an index of v3 where there was no v3 package", ""));
        }
        let wrong = |detail: &str| {
            Err(broken("what is published for format v3 is whole and lists all packages", detail))
        };
        let [index, alias, json] = ADB;
        let Some(etag) = version(bucket, index) else { return wrong("no index") };
        if version(bucket, alias).as_ref() != Some(&etag) {
            return wrong("the index has other bytes under its second name");
        }
        let listed = verified_adb(bucket, index, &etag)?;
        let there = PACKAGES[TIED..].iter();
        let expected: Entries = there
            .filter_map(|it| Some((it.stem.clone(), packages.get(&it.stem)?.clone())))
            .collect();
        if *listed != expected {
            return wrong(&format!("listed: {}; there: {}", stems(&listed), stems(&expected)));
        }
        let metadata = expected.values().map(|entry| &entry.metadata);
        let packages: BTreeMap<_, _> =
            metadata.map(|it| (it.name.as_str(), it.version.as_str())).collect();
        let expected = json!({ "version": 2, "architecture": "x86_64", "packages": packages });
        let json =
            bucket.content(json).and_then(|json| serde_json::from_slice::<Value>(&json).ok());
        if json != Some(expected) {
            return wrong("index.json says something else");
        }
        Ok(())
    }
}

/// Returns whether an index of format v3 agrees with a package. Only a v3 package needs one.
fn agrees_in_adb(entries: Option<&Arc<Entries>>, package: usize, settled: &Settled) -> bool {
    let entry = in_adb(package, settled.entry.as_ref());
    match entries {
        Some(entries) => entries.get(&PACKAGES[package].stem) == entry,
        None => entry.is_none_or(|entry| !is_v3(entry)),
    }
}

/// Returns the entry of a package if the index of format v3 has it: not in a version that apk can't
/// order.
fn in_adb(package: usize, entry: Option<&IndexEntry>) -> Option<&IndexEntry> {
    entry.filter(|_| package >= TIED)
}

/// The `<name>-<version>` of packages, as text.
fn stems(entries: &Entries) -> String {
    entries.keys().cloned().collect::<Vec<_>>().join(", ")
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
    info(bucket, key).map(|info| info.etag)
}

fn info(bucket: &MemoryStore, key: &str) -> Option<ObjectInfo> {
    bucket.head(key).now_or_never().expect("memory does not wait").unwrap()
}

fn is_ours(object: &ObjectInfo) -> bool {
    object.attributes.contains_key("index-sha256")
}

/// What the page is told, if there is one.
fn list(bucket: &MemoryStore) -> Option<Repositories> {
    let list = bucket.content(REPOSITORIES)?;
    Some(serde_json::from_slice(&list).expect("only we write it"))
}

/// Returns an object as it is if we did not make it.
fn current(bucket: &MemoryStore, key: &str) -> Current {
    let etag = version(bucket, key);
    let last_modified = if etag.is_some() { last_modified(bucket, key) } else { 0 };
    Current { etag, last_modified, ..Current::default() }
}

fn last_modified(bucket: &MemoryStore, key: &str) -> u64 {
    bucket.written()[key].as_secs()
}

fn verifying_key() -> VerifyingKey {
    SigningKey::from_pem(&PRIVATE_KEY).expect("the key is good").verifying_key()
}

/// Returns the entries of the index of format v3 under this key, read and verified as a client
/// does.
fn verified_adb(bucket: &MemoryStore, key: &str, etag: &ETag) -> Result<Arc<Entries>, Violation> {
    /// What was already verified.
    static VERIFIED: LazyLock<Mutex<HashMap<ETag, Arc<Entries>>>> = LazyLock::new(Mutex::default);
    let lock = || VERIFIED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(entries) = lock().get(etag) {
        return Ok(entries.clone());
    }
    let wrong = |detail: &str| broken("each index of format v3 can be read and verified", detail);
    let bytes = bucket.content(key).ok_or_else(|| wrong("it is not there"))?;
    let index = ReadIndex::read(&bytes).map_err(|error| wrong(&error.to_string()))?;
    if !index.is_signed_by(&verifying_key()) {
        return Err(wrong("the signature is wrong"));
    }
    let entries = index.entries.into_iter().map(|entry| (entry.file_stem(), entry));
    let entries = Arc::new(entries.collect::<Entries>());
    lock().insert(etag.clone(), entries.clone());
    Ok(entries)
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
    let name = KEY_NAME.parse().expect("the name is good");
    if !archive.is_signed_by(&name, &verifying_key()) {
        return Err(wrong("the signature is wrong".to_owned()));
    }
    let entries = archive.index.entries().iter().map(|entry| (entry.file_stem(), entry.clone()));
    let entries = Arc::new(entries.collect::<Entries>());
    lock().insert(etag.clone(), entries.clone());
    Ok(entries)
}

//! What uploaders do: packages, and histories of operations on them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
    time::Duration,
};

use alpinist_apk::{checksum::Identity, entry::IndexEntry};
use alpinist_repository::{
    memory::MemoryStore,
    message::Found,
    page::{REPOSITORIES, Repositories},
    policy::Policy,
    port::{ETag, ObjectStore as _},
    step,
};
use alpinist_samples::adb_package::{AdbParts, slot, text};
use fastrand::Rng;
use futures::FutureExt as _;

use crate::{
    common::{
        INDEX, KEY_NAME, Keys, PREFIX,
        execution::{Next, State},
        key, package, package_of, signed_package, target,
    },
    fault::snapshot_key,
};

/// What is published for format v3: the index, the same under its other name, and `index.json`.
pub(crate) const ADB: [&str; 3] = [
    "3.22/main/x86_64/Packages.adb",
    "3.22/main/x86_64/packages.adb",
    "3.22/main/x86_64/index.json",
];

/// The packages of a history, by name and version. apk can't tell the versions of the first two
/// apart, and format v3 can't have them; the third has a copy.
const PACKAGE_NAMES: [(&str, &str); 4] =
    [("a", "1_x.1-r0"), ("a", "1_x.2-r0"), ("c++", "1-r0"), ("d", "1-r0")];

/// How many packages, from the first one on, have versions that apk can't tell apart.
pub(crate) const TIED: usize = 2;

/// Which packages a history is about.
const CASTS: [&[usize]; 6] = [&[0], &[0, 1], &[2, 3], &[3, 2], &[0, 1, 2], &[2, 3, 0]];
/// The same for a history with v3 packages.
const V3_CASTS: [&[usize]; 4] = [&[3], &[2, 3], &[3, 2], &[2, 3, 0]];

/// The first of the two contents in which a package is a v3 package.
const V3: usize = 7;

/// Something that can be uploaded under the key of a package.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) etag: ETag,
    /// Its entry, or `None` if it is rejected.
    pub(crate) entry: Option<IndexEntry>,
}

/// Returns whether an entry is that of a v3 package.
pub(crate) fn is_v3(entry: &IndexEntry) -> bool {
    matches!(entry.identity, Identity::Payload(_))
}

/// A package, and what can be uploaded under its key.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) key: String,
    pub(crate) stem: String,
    /// The first one exists at the beginning of some histories.
    pub(crate) contents: Vec<Content>,
}

pub(crate) static PACKAGES: LazyLock<Vec<Package>> =
    LazyLock::new(|| PACKAGE_NAMES.into_iter().map(new_package).collect());

fn new_package((name, version): (&str, &str)) -> Package {
    let stem = format!("{name}-{version}");
    let key = key(&stem);
    let contents = [
        ("one", package(name, version, "one")),
        ("two", package(name, version, "two")),
        ("signed", signed_package(name, version, "abc")),
        ("signed anew", signed_package(name, version, "xyz")),
        ("garbage", b"no package".to_vec()),
        ("misnamed", package("z", version, "one")),
        ("of another architecture", package_of(name, version, "aarch64", "one")),
        ("v3", v3_package(name, version, "one")),
        ("another v3", v3_package(name, version, "two")),
    ];
    let contents = contents.into_iter().map(|(content, bytes)| {
        let bucket = MemoryStore::default();
        bucket.upload(&key, bytes.clone());
        let listed = now(bucket.head(&key));
        let etag = listed.unwrap().expect("it was uploaded").etag;
        let extracted = now(step::extract(&bucket, Policy::default(), target(&key)))
            .expect("memory does not fail");
        let entry = match extracted.found {
            Found::Accepted(accepted) => Some(accepted.entry),
            _ => None,
        };
        Content { name: content, bytes, etag, entry }
    });
    let contents = contents.collect();
    Package { key, stem, contents }
}

fn v3_package(name: &str, version: &str, description: &str) -> Vec<u8> {
    let parts = AdbParts::new().info(slot::NAME, text(name)).info(slot::VERSION, text(version));
    parts.info(slot::DESCRIPTION, text(description)).build()
}

fn now<T>(request: impl Future<Output = T>) -> T {
    request.now_or_never().expect("memory does not wait")
}

/// Which contents the packages have.
pub(crate) type Contents = [Option<usize>; 4];

/// Buckets with a published index, by the contents that its packages have.
static BUCKETS: LazyLock<BTreeMap<Contents, MemoryStore>> = LazyLock::new(|| {
    let choices = [None, Some(0), Some(V3)];
    let all = (0..81_usize).map(|number| [1, 3, 9, 27].map(|place| choices[number / place % 3]));
    let is_possible = |contents: &Contents| !contents[..TIED].contains(&Some(V3));
    all.filter(is_possible).map(|contents| (contents, new_bucket(contents))).collect()
});

fn new_bucket(contents: Contents) -> MemoryStore {
    let bucket = MemoryStore::default();
    for (package, content) in PACKAGES.iter().zip(contents) {
        let Some(content) = content else { continue };
        bucket.upload(&package.key, package.contents[content].bytes.clone());
        let mut state = State::Extract(target(&package.key));
        loop {
            state = match now(state.run(&bucket, &Keys::good())).unwrap() {
                Next::Go(next) => next,
                Next::Wait(next) => {
                    bucket.pass(Duration::from_secs(1));
                    next
                }
                Next::End(_) | Next::Start(_) => break,
            };
        }
    }
    bucket
}

/// Returns a bucket whose index is published.
pub(crate) fn bucket(contents: Contents) -> MemoryStore {
    BUCKETS[&contents].duplicate()
}

/// Returns somebody else's bucket: packages of some age, and an index that Alpinist did not make.
pub(crate) fn foreign_bucket(contents: Contents) -> MemoryStore {
    let bucket = bucket(contents);
    for key in bucket.keys() {
        if key.ends_with(".index") || (key.starts_with('.') && key != KEY_NAME) {
            bucket.remove(&key);
        }
    }
    for key in [INDEX].into_iter().chain(ADB) {
        if let Some(index) = bucket.content(key) {
            bucket.upload(key, index);
        }
    }
    bucket.pass(Duration::from_hours(1));
    bucket
}

/// Puts the list for the page as `alpinist page put` does; before somebody else's index is there.
pub(crate) fn put_list(bucket: &MemoryStore, is_foreign: bool) {
    let keys = bucket.keys();
    let has_index = !is_foreign && keys.iter().any(|key| key == INDEX || ADB.contains(&&**key));
    let names = |is_there: bool, name: &str| {
        if is_there { BTreeSet::from([name.to_owned()]) } else { BTreeSet::new() }
    };
    let has_key = !is_foreign && keys.iter().any(|key| key == KEY_NAME);
    let list = Repositories {
        directories: names(has_index, PREFIX.trim_end_matches('/')),
        keys: names(has_key, KEY_NAME),
    };
    bucket.upload(REPOSITORIES, serde_json::to_vec(&list).expect("it is JSON"));
}

/// What somebody does to the bucket.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// Uploads this content of this package, or deletes the package.
    Change { package: usize, content: Option<usize> },
    /// Starts an execution for the index.
    Rebuild,
    /// Deletes or overwrites an object that only Alpinist may change.
    Meddle { object: Meddling, content: Option<&'static str> },
    /// Copies the snapshot and all that is published back as they were before the last change, or
    /// one of these.
    CopyBack(Option<Meddling>),
}

/// What somebody may delete or overwrite without permission.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Meddling {
    Index,
    /// One of [`ADB`].
    Adb(usize),
    Snapshot,
    Leases,
    Fragment(usize),
}

/// When an operation follows the previous one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pace {
    /// At any time.
    Any,
    /// After the first two, when no execution is at work. Waiting executions wait until the last
    /// one.
    InTurn,
}

/// The plan of a history.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they have nothing to do with each other")]
pub(crate) struct Plan {
    /// What is published at the beginning.
    pub(crate) beginning: Contents,
    /// Whether somebody else published it.
    pub(crate) is_foreign: bool,
    /// Whether there is a page.
    pub(crate) has_page: bool,
    pub(crate) operations: Vec<Operation>,
    pub(crate) pace: Pace,
    /// Whether events may be lost.
    pub(crate) drops_events: bool,
    /// How often the turn goes to somebody other than the first in line: once in this many steps.
    pub(crate) patience: u32,
    /// In how many of two cases some seconds pass before a function begins.
    pub(crate) pauses: u32,
    /// Of 1,000 requests, how many fail, conflict, and are followed by a crash.
    pub(crate) failures: u32,
    pub(crate) conflicts: u32,
    pub(crate) crashes: u32,
    /// Whether a crashed function may continue in the background.
    pub(crate) haunted: bool,
    /// Before how many of 1,000 steps a long time passes.
    pub(crate) jumps: u32,
}

impl Plan {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let has_v3 = rng.u32(..3) == 0;
        let packages = if has_v3 { *pick(rng, &V3_CASTS) } else { *pick(rng, &CASTS) };
        let mut beginning = [None; 4];
        for &package in packages {
            let content = if has_v3 && package >= TIED && rng.bool() { V3 } else { 0 };
            beginning[package] = rng.bool().then_some(content);
        }
        let is_foreign = rng.u32(..8) == 0;
        let has_page = rng.u32(..4) > 0;
        let meddles = rng.u32(..8) == 0;
        let length = rng.usize(1..=5);
        let comes_and_goes = rng.u32(..4) == 0;
        let operations = (0..length).map(|number| {
            if comes_and_goes {
                coming_and_going(number, packages[0], &beginning)
            } else {
                operation(rng, packages, meddles, has_v3)
            }
        });
        let operations = operations.collect();
        Self {
            beginning,
            is_foreign,
            has_page,
            operations,
            pace: *pick(rng, &[Pace::Any, Pace::Any, Pace::Any, Pace::InTurn]),
            drops_events: rng.u32(..4) == 0,
            patience: *pick(rng, &[1, 3, 10, 30, 30]),
            pauses: *pick(rng, &[0, 1, 2, 2]),
            failures: *pick(rng, &[0, 0, 10, 50]),
            conflicts: *pick(rng, &[0, 0, 10, 50]),
            crashes: *pick(rng, &[0, 0, 10, 30]),
            haunted: rng.u32(..4) == 0,
            jumps: *pick(rng, &[0, 0, 10]),
        }
    }
}

/// Deletes and restores a package in turn. The restored objects are the same, so nobody can tell
/// that they were gone.
fn coming_and_going(number: usize, package: usize, beginning: &Contents) -> Operation {
    let is_there = beginning[package].is_some() == number.is_multiple_of(2);
    let content = beginning[package].unwrap_or(0);
    Operation::Change { package, content: (!is_there).then_some(content) }
}

fn operation(rng: &mut Rng, packages: &[usize], meddles: bool, has_v3: bool) -> Operation {
    let package = *pick(rng, packages);
    if meddles && rng.u32(..6) == 0 {
        let objects = [Meddling::Index, Meddling::Snapshot].into_iter();
        let objects: Vec<_> = objects.chain((0..3).map(Meddling::Adb)).collect();
        let is_one = has_v3 && rng.bool();
        return Operation::CopyBack(is_one.then(|| *pick(rng, &objects)));
    }
    if meddles && rng.u32(..3) == 0 {
        let mut objects = vec![
            Meddling::Index,
            Meddling::Snapshot,
            Meddling::Leases,
            Meddling::Fragment(package),
        ];
        if has_v3 {
            objects.extend((0..3).map(Meddling::Adb));
        }
        let content = *pick(rng, &[None, None, Some("garbage"), Some("P:x")]);
        return Operation::Meddle { object: *pick(rng, &objects), content };
    }
    match rng.u32(..20) {
        0 => Operation::Rebuild,
        1..=6 => Operation::Change { package, content: None },
        _ => {
            let mut content = *pick(rng, &[0, 0, 0, 0, 1, 1, 1, 2, 3, 4, 5, 6]);
            if has_v3 && package >= TIED && rng.bool() {
                content = *pick(rng, &[V3, V3, V3 + 1]);
            }
            Operation::Change { package, content: Some(content) }
        }
    }
}

pub(crate) fn pick<'a, T>(rng: &mut Rng, choices: &'a [T]) -> &'a T {
    &choices[rng.usize(..choices.len())]
}

impl Meddling {
    /// The keys that are deleted or overwritten.
    pub(crate) fn keys(self, bucket: &MemoryStore) -> Vec<String> {
        match self {
            Self::Index => vec![INDEX.to_owned()],
            Self::Adb(object) => vec![ADB[object].to_owned()],
            Self::Snapshot => vec![snapshot_key()],
            Self::Leases => {
                let leases = format!(".alpinist/claims/{PREFIX}");
                bucket.keys().into_iter().filter(|key| key.starts_with(&leases)).collect()
            }
            Self::Fragment(package) => {
                vec![format!("{PREFIX}{}.index", PACKAGES[package].stem)]
            }
        }
    }
}

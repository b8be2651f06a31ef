//! What uploaders do: packages, and histories of operations on them.

use std::{collections::BTreeMap, sync::LazyLock, time::Duration};

use alpinist_apk::entry::IndexEntry;
use alpinist_repository::{
    memory::MemoryStore,
    message::Found,
    policy::Policy,
    port::{ETag, ObjectStore as _},
    step,
};
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

/// The packages of a history, by name and version. apk can't tell the versions of the first two
/// apart, and the third has a copy.
const PACKAGE_NAMES: [(&str, &str); 4] =
    [("a", "1_x.1-r0"), ("a", "1_x.2-r0"), ("c++", "1-r0"), ("d", "1-r0")];

/// How many packages, from the first one on, have versions that apk can't tell apart.
pub(crate) const TIED: usize = 2;

/// Which packages a history is about.
const CASTS: [&[usize]; 6] = [&[0], &[0, 1], &[2, 3], &[3, 2], &[0, 1, 2], &[2, 3, 0]];

/// Something that can be uploaded under the key of a package.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) etag: ETag,
    /// Its entry, or `None` if it is rejected.
    pub(crate) entry: Option<IndexEntry>,
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

fn now<T>(request: impl Future<Output = T>) -> T {
    request.now_or_never().expect("memory does not wait")
}

/// Which contents the packages have.
pub(crate) type Contents = [Option<usize>; 4];

/// Buckets with a published index, by the packages that have their first content in it.
static BUCKETS: LazyLock<BTreeMap<Contents, MemoryStore>> = LazyLock::new(|| {
    let presences = (0..16_u8).map(|bits| [0, 1, 2, 3].map(|i| (bits >> i & 1 == 1).then_some(0)));
    presences.map(|contents| (contents, new_bucket(contents))).collect()
});

fn new_bucket(contents: Contents) -> MemoryStore {
    let bucket = MemoryStore::default();
    for (package, _) in PACKAGES.iter().zip(contents).filter(|(_, content)| content.is_some()) {
        bucket.upload(&package.key, package.contents[0].bytes.clone());
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
    if let Some(index) = bucket.content(INDEX) {
        bucket.upload(INDEX, index);
    }
    bucket.pass(Duration::from_hours(1));
    bucket
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
    /// Copies index and snapshot back as they were before the last change.
    CopyBack,
}

/// What somebody may delete or overwrite without permission.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Meddling {
    Index,
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
pub(crate) struct Plan {
    /// What is published at the beginning.
    pub(crate) beginning: Contents,
    /// Whether somebody else published it.
    pub(crate) is_foreign: bool,
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
        let packages = *pick(rng, &CASTS);
        let mut beginning = [None; 4];
        for &package in packages {
            beginning[package] = rng.bool().then_some(0);
        }
        let is_foreign = rng.u32(..8) == 0;
        let meddles = rng.u32(..8) == 0;
        let length = rng.usize(1..=5);
        let comes_and_goes = rng.u32(..4) == 0;
        let operations = (0..length).map(|number| {
            if comes_and_goes {
                coming_and_going(number, packages[0], &beginning)
            } else {
                operation(rng, packages, meddles)
            }
        });
        let operations = operations.collect();
        Self {
            beginning,
            is_foreign,
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
    Operation::Change { package, content: (!is_there).then_some(0) }
}

fn operation(rng: &mut Rng, packages: &[usize], meddles: bool) -> Operation {
    let package = *pick(rng, packages);
    if meddles && rng.u32(..6) == 0 {
        return Operation::CopyBack;
    }
    if meddles && rng.u32(..3) == 0 {
        let objects =
            [Meddling::Index, Meddling::Snapshot, Meddling::Leases, Meddling::Fragment(package)];
        let content = *pick(rng, &[None, None, Some("garbage"), Some("P:x")]);
        return Operation::Meddle { object: *pick(rng, &objects), content };
    }
    match rng.u32(..20) {
        0 => Operation::Rebuild,
        1..=6 => Operation::Change { package, content: None },
        _ => {
            let content = *pick(rng, &[0, 0, 0, 0, 1, 1, 1, 2, 3, 4, 5, 6]);
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

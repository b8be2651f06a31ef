//! Runs the real steps on each file and each stream: they are rejected with a message that names
//! the rule, few bytes are read, little memory is used, and the index stays as it was.

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use alpinist_apk::{entry::IndexEntry, index_archive::IndexArchive, package::MAX_PAYLOAD};
use alpinist_repository::{failure::FailureKind, memory::MemoryStore, message::RejectionReport};
use insta::assert_snapshot;

use crate::{
    chunks::Chunks,
    common::{
        INDEX, Keys,
        execution::{Next, State},
        key, package, target,
    },
    generator,
    memory::{alone, growth},
    stream::{PIECE, streams},
};

/// The maximum memory that a package may take, whatever it is: twice the limit of a section before
/// the data, since a growing buffer is copied, and something for the rest.
const MAX_GROWTH: u64 = 48 * 1024 * 1024;

/// The same for a package of format v3 whose metadata has the maximum length: it is kept whole, in
/// a growing buffer.
const MAX_GROWTH_BY_METADATA: u64 = MAX_PAYLOAD * 3 / 2;

/// The environment variable that makes the test write the corpus.
const VARIABLE: &str = "HOSTILE_CORPUS";

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/corpus")
}

/// The files as they are checked in, by name.
fn checked_in() -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(corpus()).unwrap().map(|file| file.unwrap().path());
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, fs::read(path).unwrap())
    };
    files.map(read).collect()
}

#[test]
fn the_corpus_is_what_its_generator_makes() {
    alone(async {
        let made: BTreeMap<_, _> = generator::files().into_iter().collect();
        if env::var_os(VARIABLE).is_some_and(|value| value == "write") {
            let _absent = fs::remove_dir_all(corpus());
            fs::create_dir(corpus()).unwrap();
            for (name, bytes) in &made {
                fs::write(corpus().join(name), bytes).unwrap();
            }
        }
        let checked_in = checked_in();
        let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        let advice = format!("{VARIABLE}=write cargo test --test hostile");
        assert_eq!(names(&checked_in), names(&made), "to write it anew: {advice}");
        for (name, bytes) in made {
            assert!(checked_in[&name] == bytes, "{name} differs; to write it anew: {advice}");
        }
    });
}

#[test]
fn each_file_of_the_corpus_is_rejected() {
    alone(async {
        let bucket = one_good_package().await;
        for (name, bytes) in checked_in() {
            let length = bytes.len() as u64;
            let key = format!("3.22/main/x86_64/{name}");
            let store = Chunks::with_object(bucket.duplicate(), &key, bytes);
            let taken = assert_rejected(&store, &key, name.trim_end_matches("-1.2.3-r0.apk")).await;
            assert!(taken <= length, "{name}: read {taken} bytes of {length}");
            if generator::IN_THE_FIRST_PIECE.iter().any(|begin| name.starts_with(begin)) {
                assert!(length > PIECE as u64 && taken == PIECE as u64, "{name}: read {taken}");
            }
        }
    });
}

#[test]
fn each_stream_is_rejected_in_its_first_chunk() {
    alone(async {
        let bucket = one_good_package().await;
        for stream in streams() {
            let name = stream.name;
            let key = format!("3.22/main/x86_64/{name}-1.2.3-r0.apk");
            let store = Chunks::with_stream(bucket.duplicate(), &key, stream);
            let taken = assert_rejected(&store, &key, name).await;
            assert!(taken <= PIECE as u64, "{name}: read {taken} bytes");
        }
    });
}

/// A bucket with one listed package.
async fn one_good_package() -> MemoryStore {
    let bucket = MemoryStore::default();
    bucket.upload(&key("good-1-r0"), package("good", "1-r0", "good"));
    assert_eq!(execute(&bucket, &key("good-1-r0")).await, None);
    bucket
}

/// Checks that a package is rejected, and returns how many of its bytes were read.
async fn assert_rejected(store: &MemoryStore<Chunks>, key: &str, name: &str) -> u64 {
    let (rejection, grown) = growth(Box::pin(execute(store, key))).await;
    let rejection = rejection.unwrap_or_else(|| panic!("{name} was accepted"));
    assert_eq!(rejection.error, FailureKind::PackageRejected.name(), "{name}");
    let rule = rejection.cause.strip_prefix(key).unwrap();
    assert_snapshot!(name, rule.strip_prefix(" was rejected: ").unwrap());
    let is_kept = name == generator::OF_THE_GREATEST_METADATA;
    let max = if is_kept { MAX_GROWTH_BY_METADATA } else { MAX_GROWTH };
    assert!(grown <= max, "{name}: memory grew by {grown} bytes");

    let index = store.content(INDEX).unwrap();
    let index = IndexArchive::read(&index).unwrap().index;
    let listed: Vec<_> = index.entries().iter().map(IndexEntry::file_stem).collect();
    assert_eq!(listed, ["good-1-r0"], "{name}");
    store.layer().taken()
}

/// A key with another name than the files' signer, so that each file breaks only its own rule.
fn keys() -> Keys {
    Keys { name: "other@example.com-5f3c2a1b.rsa.pub".to_owned(), ..Keys::good() }
}

/// Runs the steps as the state machine does.
async fn execute<S: alpinist_repository::port::ObjectStore>(
    store: &S,
    key: &str,
) -> Option<RejectionReport> {
    let mut state = State::Extract(target(key));
    for _ in 0..20 {
        state = match state.run(store, &keys()).await.unwrap() {
            Next::Go(next) | Next::Wait(next) => next,
            Next::Start(_) => unreachable!("nothing heals here"),
            Next::End(rejection) => return rejection,
        };
    }
    panic!("the execution for {key} goes on for ever");
}

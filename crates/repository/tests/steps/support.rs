//! Whole executions, and what a client sees after them.

use std::time::Duration;

use alpinist_apk::{entry::IndexEntry, index_archive::IndexArchive, key::SigningKey};
use alpinist_repository::{
    failure::{Failure, FailureKind},
    memory::MemoryStore,
    message::{AggregateRequest, Extracted, RejectionReport, Target},
    policy::Policy,
    step,
};

pub(crate) use crate::common::{
    INDEX, KEY_NAME, Keys, PREFIX, Second, key, package, package_of, private_key, signed_package,
    target, with_signatures,
};
use crate::common::{
    PRIVATE_KEY,
    execution::{Next, Settings, State},
};

/// How an execution failed, as it is displayed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: String,
    pub(crate) cause: String,
}

impl Failed {
    pub(crate) fn is(&self, kind: FailureKind) -> bool {
        self.error == kind.name()
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self { error: failure.kind().name().to_owned(), cause: failure.report() }
    }
}

impl From<RejectionReport> for Failed {
    fn from(RejectionReport { error, cause, .. }: RejectionReport) -> Self {
        Self { error, cause }
    }
}

/// Extracts a package under a rule so strict that none may be listed.
pub(crate) async fn rejected_now(store: &MemoryStore, key: &str) -> Extracted {
    let strict = Policy { max_size: 1, ..Policy::default() };
    step::extract(store, strict, target(key)).await.unwrap()
}

/// Runs the steps as the state machine does, until it ends.
pub(crate) async fn execute(store: &MemoryStore, key: &str) -> Result<(), Failed> {
    execute_with(store, &Keys::good(), key).await
}

/// Uploads a package whose only file has `content`, and follows its execution.
pub(crate) async fn publish(store: &MemoryStore, name: &str, version: &str, content: &str) {
    let key = key(&format!("{name}-{version}"));
    store.upload(&key, package(name, version, content));
    execute(store, &key).await.unwrap();
}

pub(crate) async fn execute_with(
    store: &MemoryStore,
    keys: &Keys,
    key: &str,
) -> Result<(), Failed> {
    execute_target(store, keys, target(key)).await
}

pub(crate) async fn execute_target(
    store: &MemoryStore,
    keys: &Keys,
    target: Target,
) -> Result<(), Failed> {
    go_on(store, keys, State::Extract(target)).await
}

/// Runs the steps where these are the settings.
pub(crate) async fn execute_where(
    store: &MemoryStore,
    settings: impl Into<Settings>,
    target: Target,
) -> Result<(), Failed> {
    go_on_where(store, &Keys::good(), settings.into(), State::Extract(target)).await
}

/// Continues after the fragment was written.
pub(crate) async fn aggregate_and_publish(
    store: &MemoryStore,
    keys: &Keys,
    request: AggregateRequest,
) -> Result<(), Failed> {
    go_on(store, keys, State::Aggregate(request)).await
}

/// Continues from a state.
async fn go_on(store: &MemoryStore, keys: &Keys, state: State) -> Result<(), Failed> {
    go_on_where(store, keys, Settings::default(), state).await
}

/// Continues from a state where these are the settings. Time passes while an execution waits.
async fn go_on_where(
    store: &MemoryStore,
    keys: &Keys,
    settings: Settings,
    mut state: State,
) -> Result<(), Failed> {
    for _ in 0..100 {
        state = match state.run_where(store, keys, settings).await? {
            Next::Go(next) => next,
            Next::Wait(next) => {
                store.pass(Duration::from_secs(30));
                next
            }
            Next::Start(_) => unreachable!("nothing heals here"),
            Next::End(rejection) => {
                return rejection.map_or(Ok(()), |rejection| Err(rejection.into()));
            }
        };
    }
    panic!("an execution goes on for ever: {}", state.name());
}

/// What a client sees: `<name>-<version> <checksum>` of each entry of a verified index.
pub(crate) fn listed(store: &MemoryStore) -> Vec<String> {
    let bytes = store.content(INDEX).expect("an index is published");
    let archive = IndexArchive::read(&bytes).unwrap();
    let verifying_key = SigningKey::from_pem(&PRIVATE_KEY).unwrap().verifying_key();
    assert!(archive.is_signed_by(&KEY_NAME.parse().unwrap(), &verifying_key));
    archive.index.entries().iter().map(IndexEntry::file_stem).collect()
}

/// The checksum that the index gives for a package.
pub(crate) fn checksum(store: &MemoryStore, stem: &str) -> String {
    let bytes = store.content(INDEX).unwrap();
    let archive = IndexArchive::read(&bytes).unwrap();
    let mut entries = archive.index.entries().iter();
    entries.find(|entry| entry.file_stem() == stem).unwrap().identity.to_string()
}

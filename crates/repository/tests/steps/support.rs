//! The steps chained as the state machine chains them, and what a client sees of it.

use std::time::Duration;

use alpinist_apk::{archive::IndexArchive, entry::IndexEntry, key::SigningKey};
use alpinist_repository::{
    failure::{Failure, FailureKind},
    memory::MemoryStore,
    message::{Aggregated, Extracted, RefusalReport},
    step,
};
use rand_core::OsRng;

pub(crate) use crate::common::{
    INDEX, KEY_NAME, Keys, PREFIX, PRIVATE_KEY, key, package, package_of, private_key,
    signed_package, target,
};

/// Runs the steps as the state machine does, until it ends.
pub(crate) async fn execute(store: &MemoryStore, key: &str) -> Result<(), Failure> {
    execute_with(store, &Keys::good(), key).await
}

pub(crate) async fn execute_with(
    store: &MemoryStore,
    keys: &Keys,
    key: &str,
) -> Result<(), Failure> {
    loop {
        let (extracted, refused) = match step::extract(store, target(key)).await {
            Ok(extracted) => (extracted, None),
            Err(failure @ Failure::Refused { .. }) => (caught(key, &failure), Some(failure)),
            Err(failure) => return Err(failure),
        };
        match after_extraction(store, keys, extracted).await {
            Err(failure) if failure.kind() == FailureKind::Superseded => {}
            Ok(()) => return refused.map_or(Ok(()), Err),
            Err(failure) => return Err(failure),
        }
    }
}

/// What the catcher of the state machine makes of a refusal.
pub(crate) fn caught(key: &str, refusal: &Failure) -> Extracted {
    let report = RefusalReport { error: refusal.kind().name().to_owned(), cause: refusal.report() };
    Extracted { target: target(key), accepted: None, refusal: Some(report) }
}

async fn after_extraction(
    store: &MemoryStore,
    keys: &Keys,
    extracted: Extracted,
) -> Result<(), Failure> {
    let written = step::write_index(store, extracted).await?;
    aggregate_and_publish(store, keys, written.into()).await
}

/// Goes on after the fragment was written. Time passes while an execution waits.
pub(crate) async fn aggregate_and_publish(
    store: &MemoryStore,
    keys: &Keys,
    mut request: Aggregated,
) -> Result<(), Failure> {
    for _ in 0..100 {
        request = step::aggregate(store, request).await?;
        if request.waiting.is_some() {
            store.pass(Duration::from_secs(30));
            continue;
        }
        if request.staged.is_none() {
            return Ok(());
        }
        match step::publish(store, keys, &mut OsRng, request.clone()).await {
            Err(failure) if failure.kind() == FailureKind::Conflict => {}
            outcome => return outcome.map(|_| ()),
        }
    }
    panic!("an execution waits for ever");
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
    entries.find(|entry| entry.file_stem() == stem).unwrap().checksum.to_string()
}

//! Which blocks may be signed: those that one of our keys has signed before, and those that are
//! parsed strictly. Nothing is believed because of where it is stored.

use std::collections::HashSet;

use alpinist_apk::{block::Block, entry::IndexEntry, index, index_archive};
use bytes::Bytes;

use crate::{
    location::RepositoryPrefix,
    port::{self, ObjectStore, StoreError},
    signer::Signer,
    snapshot::{Snapshot, SnapshotError},
};

/// Returns the blocks of the published index, if one of these keys has signed it. No blocks, if
/// there is no such index, or if it does not list its blocks.
pub(super) async fn signed_blocks<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
    signers: &[Signer],
) -> Result<Vec<Block>, StoreError> {
    let index = match port::read(store, &prefix.index_key(), index_archive::MAX_LENGTH).await {
        Ok(Some(index)) => Bytes::from(index.body),
        Ok(None) | Err(StoreError::TooLarge { .. } | StoreError::Archived { .. }) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let Ok((signatures, unsigned)) = index_archive::split(&index) else { return Ok(Vec::new()) };
    let is_signed = signers.iter().any(|signer| {
        index_archive::is_signed_by(&signatures, unsigned, &signer.name, &signer.public)
    });
    if !is_signed {
        return Ok(Vec::new());
    }
    let blocks = index_archive::read_blocks(prefix.repository(), &index.slice_ref(unsigned));
    Ok(blocks.unwrap_or_default())
}

/// Returns the blocks of a snapshot that may be signed. Those that are among the `signed` ones, in
/// the same order, are taken over. All others are parsed, and compressed again.
///
/// # Errors
///
/// [`SnapshotError`], if a block is damaged, has an entry for another architecture, or is not in
/// the order of an index.
pub(super) fn trusted_blocks(
    prefix: &RepositoryPrefix,
    snapshot: &Snapshot,
    signed: &[Block],
) -> Result<Vec<Block>, SnapshotError> {
    let mut signed = signed.iter();
    let mut trusted: Vec<Block> = Vec::new();
    // The last entry of the block before, if that was parsed.
    let mut last: Option<IndexEntry> = None;
    for block in snapshot.blocks() {
        let mut rest = signed.clone();
        if rest.any(|signed| signed == block) {
            signed = rest;
            if let Some(last) = last.take() {
                check_order(&last, block.entries()?.first())?;
            }
            trusted.push(block.clone());
            continue;
        }
        let entries = block.entries()?;
        if last.is_none()
            && let Some(before) = trusted.last()
        {
            last = before.entries()?.pop();
        }
        check(prefix, last.as_ref(), &entries)?;
        trusted.push(Block::new(&entries));
        last = entries.into_iter().next_back();
    }
    Ok(trusted)
}

/// Returns all entries of a snapshot, parsed: those of an index of format v3, which is made anew
/// each time.
///
/// # Errors
///
/// [`SnapshotError`], if a block is damaged, has an entry for another architecture, or if two
/// entries are of one package.
pub(super) fn trusted_entries(
    prefix: &RepositoryPrefix,
    snapshot: &Snapshot,
) -> Result<Vec<IndexEntry>, SnapshotError> {
    let mut stems = HashSet::new();
    let records = snapshot.records()?.into_iter();
    records
        .map(|record| {
            let is_foreign = record.entry.metadata.architecture != *prefix.architecture();
            if is_foreign || !stems.insert(record.entry.file_stem()) {
                return Err(SnapshotError::Form);
            }
            Ok(record.entry)
        })
        .collect()
}

/// Checks the entries of a block that follows the entry `last`.
fn check(
    prefix: &RepositoryPrefix,
    last: Option<&IndexEntry>,
    entries: &[IndexEntry],
) -> Result<(), SnapshotError> {
    let is_foreign = |entry: &IndexEntry| entry.metadata.architecture != *prefix.architecture();
    if entries.is_empty() || entries.iter().any(is_foreign) {
        return Err(SnapshotError::Form);
    }
    if let Some(last) = last {
        check_order(last, entries.first())?;
    }
    entries.windows(2).try_for_each(|pair| match pair {
        [a, b] => check_order(a, Some(b)),
        _ => Ok(()),
    })
}

/// Checks that an entry may follow another one: it comes later in the order of an index, or is a
/// version that apk can't tell apart.
fn check_order(a: &IndexEntry, b: Option<&IndexEntry>) -> Result<(), SnapshotError> {
    let Some(b) = b else { return Ok(()) };
    let (a, b) = (&a.metadata, &b.metadata);
    let order = index::order((&a.name, &a.version), (&b.name, &b.version));
    let is_same = a.name == b.name && a.version == b.version;
    if order.is_gt() || is_same { Err(SnapshotError::Order) } else { Ok(()) }
}

//! The swap of the snapshot, and the check whether the published index is already right.

use alpinist_apk::{
    adb::index::{AdbIndex, ReadIndex},
    entry::IndexEntry,
    index_archive::{self, IndexArchive},
    text::chain,
};
use tracing::{debug, warn};

use crate::{
    failure::Failure,
    location::{RepositoryPrefix, Subject},
    message::{Reindex, Staged},
    port::{self, Attributes, ETag, Generation, NewObject, ObjectStore, Precondition, StoreError},
    snapshot::{Header, Snapshot},
    step::{adb, published::Published},
};

/// What a new snapshot is to replace, and when.
pub(super) struct SnapshotUpdate {
    pub(super) etag: Option<ETag>,
    pub(super) generation: Generation,
    /// The last generation that was made from a listing of the bucket.
    pub(super) listed: Generation,
    /// How many packages the new snapshot changes.
    pub(super) changes: usize,
    /// Whether an index of format v3 is to be published, too.
    pub(super) has_adb: bool,
    pub(super) published: Published,
    pub(super) evidence: Evidence,
    /// Whether to replace the snapshot even if the published index is right.
    pub(super) is_fence: bool,
    /// Whether the index of the snapshot to be replaced was published.
    pub(super) is_published: bool,
}

/// The result of a swap.
pub(super) enum Swapped {
    /// A new snapshot, with the staged index if that is to be published.
    Snapshot(Option<Staged>),
    /// A new snapshot whose index is already published. It replaced one that somebody may be about
    /// to publish.
    Superseding,
    /// Nothing was replaced.
    Nothing,
}

/// What proves that the published index is right.
#[derive(Clone, Copy)]
pub(super) enum Evidence {
    /// Its attributes.
    Attributes,
    /// Its entries, which are read.
    Entries,
    /// Nothing: it is to be signed again.
    None,
}

impl Evidence {
    pub(super) fn asked_by(subject: &Subject, reindex: Option<&Reindex>) -> Self {
        match (subject, reindex) {
            (_, Some(Reindex { sign: true, .. })) => Self::None,
            // Somebody asks for this index itself.
            (Subject::Index(_), _) | (_, Some(_)) => Self::Entries,
            (Subject::Package(_), None) => Self::Attributes,
        }
    }
}

impl SnapshotUpdate {
    pub(super) async fn swap<S: ObjectStore>(
        mut self,
        store: &S,
        prefix: &RepositoryPrefix,
        snapshot: &Snapshot,
    ) -> Result<Swapped, Failure> {
        if self.has_adb {
            self.published.look_at_adb(store, prefix).await?;
        }
        let digest = snapshot.digest(prefix);
        let adb = self.has_adb.then(|| snapshot.adb_digest(prefix));
        let is_right = self.published.has_index(&digest, snapshot.v2_len())
            && adb.as_ref().is_none_or(|digest| self.published.has_adb(digest))
            && match self.evidence {
                Evidence::Attributes => true,
                Evidence::Entries => lists(store, prefix, snapshot, &self.published).await?,
                Evidence::None => self.published.index.is_none() && !self.has_adb,
            };
        if is_right && !self.is_fence {
            return Ok(Swapped::Nothing);
        }
        let Self { generation, listed, changes, .. } = self;
        let packages = snapshot.len();
        let key = prefix.snapshot_key();
        let bytes = snapshot
            .to_bytes(&Header {
                generation,
                listed,
                digest,
                adb,
                packages,
                v3_packages: snapshot.v3_len(),
                changes,
            })
            .map_err(|source| Failure::StagedDamaged { key: key.clone(), source })?;
        let object =
            NewObject { bytes, content_type: "application/gzip", attributes: Attributes::new() };
        let etag = store.put(&key, object, Precondition::still(self.etag)).await?;
        debug!(key, generation, packages, is_right, "snapshot written");
        if !is_right {
            return Ok(Swapped::Snapshot(Some(staged(etag, &self.published))));
        }
        // The maker of the snapshot before ours may have published it since we inspected the index.
        let present = Published::look(store, prefix, self.has_adb).await?;
        let is_still_right = present.is_same(&self.published);
        if is_still_right && !self.is_published {
            return Ok(Swapped::Superseding);
        }
        Ok(Swapped::Snapshot((!is_still_right).then(|| staged(etag, &present))))
    }
}

/// Reads what is published, and returns whether it has the entries of the snapshot and is signed.
/// Who signed it is not checked, since that takes the keys.
pub(super) async fn lists<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
    snapshot: &Snapshot,
    published: &Published,
) -> Result<bool, Failure> {
    let records = snapshot
        .records()
        .map_err(|source| Failure::StagedDamaged { key: prefix.snapshot_key(), source })?;
    let entries = || records.iter().map(|record| &record.entry);
    let is_listed = match published.index {
        Some(_) => index_lists(store, prefix, entries().take(snapshot.v2_len())).await?,
        None => snapshot.v2_len() == 0,
    };
    if !is_listed || published.adb.is_none() {
        return Ok(is_listed);
    }
    let [index, alias, json] = prefix.adb_keys();
    let packages = adb::entries(prefix, entries());
    Ok(adb_lists(store, &index, &packages).await?
        && adb_lists(store, &alias, &packages).await?
        && read(store, &json).await?.is_some_and(|json| json == adb::index_json(prefix, &packages)))
}

async fn index_lists<'a, S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
    entries: impl Iterator<Item = &'a IndexEntry>,
) -> Result<bool, Failure> {
    let key = prefix.index_key();
    let Some(index) = read(store, &key).await? else { return Ok(false) };
    Ok(match IndexArchive::read(&index) {
        Ok(archive) if archive.description == prefix.repository() => {
            archive.index.entries().iter().eq(entries)
        }
        Ok(_) => false,
        Err(error) => {
            warn!(key, error = chain(&error), "published index is damaged and is made again");
            false
        }
    })
}

async fn adb_lists<S: ObjectStore>(
    store: &S,
    key: &str,
    packages: &AdbIndex<'_>,
) -> Result<bool, Failure> {
    let Some(index) = read(store, key).await? else { return Ok(false) };
    Ok(match ReadIndex::read(&index) {
        Ok(index) => !index.signatures.is_empty() && packages.is_listed_by(&index),
        Err(error) => {
            warn!(key, error = chain(&error), "published index is damaged and is made again");
            false
        }
    })
}

/// Reads a published object, unless it is absent or too large to be ours.
async fn read<S: ObjectStore>(store: &S, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    match port::read(store, key, index_archive::MAX_LENGTH).await {
        Ok(object) => Ok(object.map(|object| object.body)),
        Err(StoreError::TooLarge { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn staged(snapshot: ETag, published: &Published) -> Staged {
    Staged {
        snapshot,
        replaces: published.index_etag(),
        adb: published.staged_adb(),
        is_too_soon: published.is_new(),
        is_first: !published.has_ours(),
    }
}

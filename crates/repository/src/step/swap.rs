//! The swap of the snapshot, and the check whether the published index is already right.

use alpinist_apk::{
    index_archive::{self, IndexArchive},
    text::chain,
};
use tracing::{debug, warn};

use crate::{
    failure::Failure,
    location::{RepositoryPrefix, Subject},
    message::{Reindex, Staged},
    port::{
        self, Attributes, ETag, Generation, NewObject, ObjectInfo, ObjectStore, Precondition,
        StoreError,
    },
    snapshot::{Header, Snapshot},
    step::DIGEST,
};

/// What a new snapshot is to replace, and when.
pub(super) struct SnapshotUpdate {
    pub(super) etag: Option<ETag>,
    pub(super) generation: Generation,
    /// The last generation that was made from a listing of the bucket.
    pub(super) listed: Generation,
    /// How many packages the new snapshot changes.
    pub(super) changes: usize,
    pub(super) published: Option<ObjectInfo>,
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
        self,
        store: &S,
        prefix: &RepositoryPrefix,
        snapshot: &Snapshot,
    ) -> Result<Swapped, Failure> {
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
            return Ok(Swapped::Nothing);
        }
        let Self { generation, listed, changes, .. } = self;
        let packages = snapshot.len();
        let key = prefix.snapshot_key();
        let bytes = snapshot
            .to_bytes(&Header { generation, listed, digest, packages, changes })
            .map_err(|source| Failure::StagedDamaged { key: key.clone(), source })?;
        let object =
            NewObject { bytes, content_type: "application/gzip", attributes: Attributes::new() };
        let etag = store.put(&key, object, Precondition::still(self.etag)).await?;
        debug!(key, generation, packages, is_right, "snapshot written");
        if !is_right {
            return Ok(Swapped::Snapshot(Some(staged(etag, self.published))));
        }
        // The maker of the snapshot before ours may have published it since we inspected the index.
        let present = store.head(&prefix.index_key()).await?;
        let version = |index: &Option<ObjectInfo>| index.as_ref().map(|index| index.etag.clone());
        let is_still_right = version(&present) == version(&self.published);
        if is_still_right && !self.is_published {
            return Ok(Swapped::Superseding);
        }
        Ok(Swapped::Snapshot((!is_still_right).then(|| staged(etag, present))))
    }
}

/// Reads the published index, and returns whether it has the entries of the snapshot and is signed.
/// Who signed it is not checked, since that takes the keys.
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
    let records = snapshot
        .records()
        .map_err(|source| Failure::StagedDamaged { key: prefix.snapshot_key(), source })?;
    Ok(entries.entries().iter().eq(records.iter().map(|record| &record.entry)))
}

fn staged(snapshot: ETag, published: Option<ObjectInfo>) -> Staged {
    let is_too_soon = published.as_ref().is_some_and(|index| index.age.is_zero());
    Staged { snapshot, replaces: published.map(|index| index.etag), is_too_soon }
}

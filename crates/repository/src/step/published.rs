//! What is published of a repository prefix: up to four objects, each whole by itself.

use std::time::Duration;

use futures::future::{try_join, try_join_all};

use crate::{
    location::RepositoryPrefix,
    message::StagedAdb,
    port::{ETag, ObjectInfo, ObjectStore, StoreError},
    snapshot::Header,
    step::DIGEST,
};

/// The published objects.
#[derive(Clone, Debug)]
pub(super) struct Published {
    /// `APKINDEX.tar.gz`.
    pub(super) index: Option<ObjectInfo>,
    /// The objects of [`RepositoryPrefix::adb_keys`]. `None` if nobody looked.
    pub(super) adb: Option<Vec<Option<ObjectInfo>>>,
}

impl Published {
    /// Looks at the objects; at those of format v3 only if `with_adb`.
    pub(super) async fn look<S: ObjectStore>(
        store: &S,
        prefix: &RepositoryPrefix,
        with_adb: bool,
    ) -> Result<Self, StoreError> {
        let index_key = prefix.index_key();
        let adb =
            async { if with_adb { look_at_adb(store, prefix).await.map(Some) } else { Ok(None) } };
        let (index, adb) = try_join(store.head(&index_key), adb).await?;
        Ok(Self { index, adb })
    }

    /// Looks at the objects of format v3, unless somebody has.
    pub(super) async fn look_at_adb<S: ObjectStore>(
        &mut self,
        store: &S,
        prefix: &RepositoryPrefix,
    ) -> Result<(), StoreError> {
        if self.adb.is_none() {
            self.adb = Some(look_at_adb(store, prefix).await?);
        }
        Ok(())
    }

    /// Returns whether these are what is published of a snapshot. About objects without a snapshot,
    /// nothing is known.
    pub(super) fn is_of(&self, header: Option<&Header>) -> bool {
        let Some(header) = header else { return self.objects().all(|object| object.is_none()) };
        self.has_index(&header.digest, header.packages - header.v3_packages)
            && header.adb.as_ref().is_none_or(|digest| self.has_adb(digest))
    }

    /// Returns whether `APKINDEX.tar.gz` has this digest and lists so many packages. None is as
    /// good as one without packages.
    pub(super) fn has_index(&self, digest: &str, packages: usize) -> bool {
        match &self.index {
            Some(index) => index.attributes.get(DIGEST).is_some_and(|its| its == digest),
            None => packages == 0,
        }
    }

    /// Returns whether all objects of format v3 are there with this digest.
    pub(super) fn has_adb(&self, digest: &str) -> bool {
        let has = |object: &Option<ObjectInfo>| {
            let attributes = object.as_ref().map(|object| &object.attributes);
            attributes
                .and_then(|attributes| attributes.get(DIGEST))
                .is_some_and(|its| its == digest)
        };
        self.adb.as_ref().is_some_and(|objects| objects.iter().all(has))
    }

    /// Returns whether one of the objects of format v3 is ours.
    pub(super) fn has_our_adb(&self) -> bool {
        self.objects().skip(1).flatten().any(is_ours)
    }

    /// Returns whether one of the objects is ours.
    pub(super) fn has_ours(&self) -> bool {
        self.objects().flatten().any(is_ours)
    }

    /// Returns whether somebody else has replaced an object.
    pub(super) fn is_foreign(&self) -> bool {
        self.objects().flatten().any(|object| !is_ours(object))
    }

    /// Returns whether an object is gone, is not ours, or was written less than `age` ago.
    pub(super) fn is_touched_since(&self, age: Duration) -> bool {
        let is_touched = |object: &ObjectInfo| object.age < age || !is_ours(object);
        self.objects().any(|object| object.is_none_or(is_touched))
    }

    /// Returns whether an object was written within the current second.
    pub(super) fn is_new(&self) -> bool {
        self.objects().flatten().any(|object| object.age.is_zero())
    }

    /// Returns whether the same versions are published.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let version = |object: Option<&ObjectInfo>| object.map(|object| object.etag.clone());
        self.objects().map(version).eq(other.objects().map(version))
    }

    /// The version of the published index.
    pub(super) fn index_etag(&self) -> Option<ETag> {
        self.index.as_ref().map(|index| index.etag.clone())
    }

    /// The versions of the objects of format v3.
    pub(super) fn staged_adb(&self) -> Option<StagedAdb> {
        let version = |object: &Option<ObjectInfo>| object.as_ref().map(|it| it.etag.clone());
        let objects = self.adb.as_ref()?;
        Some(StagedAdb { replaces: objects.iter().map(version).collect() })
    }

    fn objects(&self) -> impl Iterator<Item = Option<&ObjectInfo>> {
        let adb = self.adb.iter().flatten().map(Option::as_ref);
        std::iter::once(self.index.as_ref()).chain(adb)
    }
}

/// Returns whether Alpinist wrote a published object, as its attributes say. Whoever overwrites it
/// leaves none.
pub fn is_ours(object: &ObjectInfo) -> bool {
    object.attributes.contains_key(DIGEST)
}

async fn look_at_adb<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
) -> Result<Vec<Option<ObjectInfo>>, StoreError> {
    let keys = prefix.adb_keys();
    try_join_all(keys.iter().map(|key| store.head(key))).await
}

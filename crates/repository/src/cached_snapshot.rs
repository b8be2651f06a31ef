//! The snapshot that the last execution left behind, read no further than necessary.

use std::time::Duration;

use alpinist_apk::text::chain;
use bytes::{Bytes, BytesMut};
use tracing::warn;

use crate::{
    location::RepositoryPrefix,
    message::WrittenFragment,
    port::{ETag, Generation, Object, ObjectBody, ObjectStore, StoreError},
    snapshot::{self, Beginning, Header, Row, Snapshot, SnapshotError},
};

/// The cached snapshot of a repository prefix, if there is one. Losing or damaging it costs only
/// time.
#[derive(Debug)]
pub(crate) struct CachedSnapshot<B> {
    key: String,
    /// Its version, and how long ago it was written.
    info: Option<(ETag, Duration)>,
    /// Its size in bytes.
    size: usize,
    read: BytesMut,
    /// What is still to be read.
    rest: Option<B>,
    beginning: Option<Beginning>,
    whole: Option<(Header, Snapshot)>,
}

impl<B: ObjectBody> CachedSnapshot<B> {
    /// Reads the beginning of the snapshot.
    pub(crate) async fn begin<S: ObjectStore<Body = B>>(
        store: &S,
        prefix: &RepositoryPrefix,
    ) -> Result<Self, StoreError> {
        let key = prefix.snapshot_key();
        let (info, rest) = match store.get(&key).await {
            // A lifecycle rule that is not ours archived it. It can't be read, but it can be
            // replaced.
            Err(StoreError::Archived { .. }) => (store.head(&key).await?, None),
            got => got?.map(|Object { info, body }| (info, body)).unzip(),
        };
        let size = info.as_ref().map_or(0, |info| info.size.min(snapshot::MAX_STORED));
        let mut cached = Self {
            key,
            info: info.map(|info| (info.etag, info.age)),
            size: usize::try_from(size).unwrap_or_default(),
            read: BytesMut::new(),
            rest,
            beginning: None,
            whole: None,
        };
        while cached.beginning.is_none() && cached.rest.is_some() {
            cached.read_chunk().await?;
        }
        Ok(cached)
    }

    /// Reads to the end.
    pub(crate) async fn read_on(&mut self) -> Result<(), StoreError> {
        self.read.reserve(self.size.saturating_sub(self.read.len()));
        while self.rest.is_some() {
            self.read_chunk().await?;
        }
        Ok(())
    }

    async fn read_chunk(&mut self) -> Result<(), StoreError> {
        let Some(body) = &mut self.rest else { return Ok(()) };
        let chunk = body.next().await?;
        if chunk.is_none() {
            self.rest = None;
        }
        if let Err(error) = self.take(chunk) {
            let key = &self.key;
            warn!(key, error = chain(&error), "snapshot is damaged; fragments are read again");
            (self.rest, self.beginning, self.whole) = (None, None, None);
        }
        Ok(())
    }

    fn take(&mut self, chunk: Option<Bytes>) -> Result<(), SnapshotError> {
        let Some(chunk) = chunk else {
            let stored = std::mem::take(&mut self.read).freeze();
            self.whole = Some(Snapshot::read(&stored)?);
            return Ok(());
        };
        self.read.extend_from_slice(&chunk);
        if self.read.len() as u64 > snapshot::MAX_STORED {
            return Err(SnapshotError::TooLarge);
        }
        if self.beginning.is_none() && !snapshot::is_legacy(&self.read) {
            self.beginning = Beginning::read(&Bytes::copy_from_slice(&self.read))?;
        }
        Ok(())
    }

    /// Its version, if there is one.
    pub(crate) fn etag(&self) -> Option<&ETag> {
        self.info.as_ref().map(|(etag, _)| etag)
    }

    /// How long ago it was written.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.info.as_ref().map(|&(_, age)| age)
    }

    /// Its generation, or 0 if there is none or it is damaged.
    pub(crate) fn generation(&self) -> Generation {
        self.header().map_or(0, |header| header.generation)
    }

    /// Its header, unless there is none or it is damaged.
    pub(crate) fn header(&self) -> Option<&Header> {
        let beginning = self.beginning.as_ref().map(|beginning| &beginning.header);
        self.whole.as_ref().map(|(header, _)| header).or(beginning)
    }

    /// The row of the package `stem`, a `<name>-<version>`, if it has been read.
    pub(crate) fn row(&self, stem: &str) -> Option<Row<'_>> {
        match &self.whole {
            Some((_, snapshot)) => snapshot.row(stem),
            None => self.beginning.as_ref()?.row(stem),
        }
    }

    /// Returns whether it has the package of this fragment as the fragment says: by the ETags of
    /// both, since a name says nothing about the content, and, if all of it was read, by the entry,
    /// since somebody may have forged it.
    pub(crate) fn has(&self, stem: &str, written: &WrittenFragment) -> bool {
        let WrittenFragment { package, fragment, entry } = written;
        let is_its = |row: &Row<'_>| row.is_of_package(package) && row.is_of_fragment(fragment);
        let has_entry = |snapshot: &Snapshot| {
            let records = snapshot.records_near(|row| row.stem() == stem).unwrap_or_default();
            records.iter().any(|record| record.entry == *entry)
        };
        self.row(stem).is_some_and(|row| is_its(&row))
            && self.whole.as_ref().is_none_or(|(_, snapshot)| has_entry(snapshot))
    }

    /// Reads to the end and returns all of it.
    pub(crate) async fn into_snapshot(mut self) -> Result<Snapshot, StoreError> {
        self.read_on().await?;
        Ok(self.whole.map(|(_, snapshot)| snapshot).unwrap_or_default())
    }
}

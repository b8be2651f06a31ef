//! The snapshot that the last execution left behind, read no further than necessary.

use std::time::Duration;

use alpinist_apk::text::chain;
use tracing::warn;

use crate::{
    location::RepositoryPrefix,
    port::{ETag, Generation, Object, ObjectBody, ObjectStore, StoreError},
    snapshot::{self, Header, Snapshot, SnapshotError, SnapshotReader},
};

/// How many records are read at first: the most recently changed ones.
const FIRST_RECORDS: usize = 1024;

/// The cached snapshot of a repository prefix, if there is one. Losing or damaging it costs only
/// time.
#[derive(Debug)]
pub(crate) struct CachedSnapshot<B> {
    key: String,
    /// Its version, and how long ago it was written.
    info: Option<(ETag, Duration)>,
    reader: SnapshotReader,
    /// What is still to be read.
    rest: Option<B>,
    read: u64,
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
        let info = info.map(|info| (info.etag, info.age));
        let mut cached = Self { key, info, reader: SnapshotReader::default(), rest, read: 0 };
        cached.read_until(|reader| reader.snapshot().len() >= FIRST_RECORDS).await?;
        Ok(cached)
    }

    /// Reads to the end.
    pub(crate) async fn read_on(&mut self) -> Result<(), StoreError> {
        self.read_until(|_| false).await
    }

    async fn read_until(
        &mut self,
        is_enough: impl Fn(&SnapshotReader) -> bool,
    ) -> Result<(), StoreError> {
        while !is_enough(&self.reader) {
            let Some(body) = &mut self.rest else { return Ok(()) };
            let piece = body.next().await?;
            self.read += piece.as_ref().map_or(0, |piece| piece.len() as u64);
            let outcome = match &piece {
                _ if self.read > snapshot::MAX_STORED => Err(SnapshotError::TooLarge),
                Some(piece) => self.reader.push(piece),
                None => self.reader.finish(),
            };
            if let Err(error) = &outcome {
                let key = &self.key;
                warn!(key, error = chain(error), "snapshot is damaged; fragments are read again");
                self.reader = SnapshotReader::default();
            }
            if piece.is_none() || outcome.is_err() {
                self.rest = None;
            }
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
        self.reader.header().map_or(0, |header| header.generation)
    }

    /// Its header, unless there is none or it is damaged.
    pub(crate) fn header(&self) -> Option<&Header> {
        self.reader.header()
    }

    /// The records that were read so far.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        self.reader.snapshot()
    }

    /// Reads to the end and returns all records.
    pub(crate) async fn into_snapshot(mut self) -> Result<Snapshot, StoreError> {
        self.read_on().await?;
        Ok(self.reader.into_snapshot())
    }
}

//! A snapshot: the entries of an index, each with the objects that it was made from.
//!
//! It serves twice. *Staged*, it is the unsigned index on its way to be signed. *Remembered*, beside
//! a published index, it is a cache: whoever aggregates next reads only fragments that it does not
//! know. It is stored as compressed JSON, and each of its entries is parsed strictly when read.

use std::{collections::HashMap, io::Read as _};

use alpinist_apk::{entry::IndexEntry, index::Index};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{location::RepositoryPrefix, port::ETag};

/// The most bytes of a stored snapshot.
pub const MAX_STORED: u64 = 64 * 1024 * 1024;
/// The most bytes that a snapshot may inflate to.
const MAX_INFLATED: u64 = 256 * 1024 * 1024;

/// A listed package, and the objects that its entry was made from.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Record {
    /// The version of the package.
    pub package: ETag,
    /// The version of the fragment.
    pub fragment: ETag,
    /// The entry.
    pub entry: IndexEntry,
}

/// The entries of an index, each with the objects that it was made from.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Snapshot {
    follows: Option<ETag>,
    records: HashMap<String, Record>,
}

/// A snapshot as it is stored.
#[derive(Deserialize, Serialize)]
struct Stored {
    follows: Option<ETag>,
    records: Vec<Record>,
}

/// Why bytes are not a snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// It inflates to more than it can rightly have.
    #[error("it inflates to more than {MAX_INFLATED} bytes")]
    TooLarge,
    /// It can't be inflated.
    #[error("it can't be inflated")]
    Gzip(#[from] std::io::Error),
    /// It is not the JSON that we write.
    #[error("it is not a snapshot in JSON")]
    Json(#[from] serde_json::Error),
}

impl Snapshot {
    /// Makes a snapshot of `records`, one for each package, that follows the one with the ETag
    /// `follows`. So each snapshot in a row differs from all before it, even if its records do not.
    pub fn new(follows: Option<ETag>, records: impl IntoIterator<Item = Record>) -> Self {
        let records = records.into_iter().map(|record| (record.entry.file_stem(), record));
        Self { follows, records: records.collect() }
    }

    /// Returns the record of the package `stem`, a `<name>-<version>`.
    pub fn record(&self, stem: &str) -> Option<&Record> {
        self.records.get(stem)
    }

    /// Drops the record of the package `stem`, if there is one.
    pub fn forget(&mut self, stem: &str) {
        self.records.remove(stem);
    }

    /// Returns the index of these entries.
    pub fn index(&self) -> Index {
        Index::new(self.records.values().map(|record| record.entry.clone()))
    }

    /// Reads a stored snapshot.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`], for whatever [`Snapshot::to_bytes`] can't have written.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let mut json = Vec::new();
        let read = GzDecoder::new(bytes).take(MAX_INFLATED + 1).read_to_end(&mut json)?;
        if read as u64 > MAX_INFLATED {
            return Err(SnapshotError::TooLarge);
        }
        let Stored { follows, records } = serde_json::from_slice(&json)?;
        Ok(Self::new(follows, records))
    }

    /// Writes the snapshot as it is stored.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Json`], which does not happen.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SnapshotError> {
        let mut records: Vec<_> = self.records.values().cloned().collect();
        records.sort_by_cached_key(|record| record.entry.file_stem());
        let stored = Stored { follows: self.follows.clone(), records };
        let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
        serde_json::to_writer(&mut writer, &stored)?;
        Ok(writer.finish()?)
    }
}

/// Returns the digest of what an index says: equal digests, equal unsigned index.
pub fn digest(prefix: &RepositoryPrefix, index: &Index) -> String {
    let mut hash = Sha256::new();
    hash.update(prefix.description());
    hash.update([0]);
    for entry in index.entries() {
        hash.update(entry.to_string());
    }
    hex::encode(hash.finalize())
}

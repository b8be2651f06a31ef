//! A snapshot: the blocks of an index, and the objects that each entry was made from.
//!
//! It serves three times. It is the unsigned index on its way to be signed. Afterwards it is a
//! cache: whoever aggregates next reads only fragments that it does not know. And it is what rivals
//! compare and swap: each snapshot of a repository prefix has a greater generation than the one
//! before, so no two are equal, even if their entries are.
//!
//! It is stored so that little of it must be read to find or to change one package:
//!
//! | part | what it holds |
//! |---|---|
//! | a line | the format |
//! | a line | the [`Header`], in JSON |
//! | recent rows | the [`Row`]s that changed last, at most 1,024 of them: whether a snapshot has a
//! recent change can be told from its beginning |
//! | v2 packages | the [blocks](alpinist_apk::block) of `APKINDEX.tar.gz`, as they are published,
//! after a directory of them and a table of [`Row`]s for each |
//! | v3 packages | the same; these blocks are not published |
//!
//! Snapshots of earlier builds are read as well.

use std::{collections::BTreeMap, io};

use alpinist_apk::{
    block::{Block, BlockError},
    checksum::Identity,
    entry::IndexEntry,
};
use bytes::{Buf as _, BufMut as _, Bytes};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    location::RepositoryPrefix,
    port::{ETag, Generation},
    snapshot::{
        parts::{Form, Parts},
        table::Table,
    },
};

mod legacy;
mod parts;
mod table;

pub use table::Row;

/// The maximum size of a stored snapshot in bytes.
pub const MAX_STORED: u64 = 64 * 1024 * 1024;
/// The first line of a snapshot.
const FORMAT: &[u8] = b"alpinist snapshot 2\n";
/// What the digest of the index of format v3 begins with.
const ADB_FORMAT: &[u8] = b"alpinist adb index 1\n";
/// The maximum length of the header in bytes.
const MAX_HEADER: usize = 4096;
/// How many rows are stored at the beginning once more.
const MAX_RECENT: usize = 1024;
/// The maximum size of these rows in bytes.
const MAX_RECENT_LENGTH: usize = 1024 * 1024;
/// The greatest generation that is believed: the states carry no greater one without loss, since
/// their numbers are those of `JSONata`. No snapshot of ours comes near it.
const MAX_GENERATION: Generation = 1 << 53;

/// What is known of a snapshot without its entries.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Header {
    /// Its generation.
    pub generation: Generation,
    /// The last generation whose maker listed the bucket: this one, or one before. Since then, each
    /// execution added its own change. 0 if that is not known.
    #[serde(default)]
    pub listed: Generation,
    /// The [digest](Snapshot::digest) of its index.
    pub digest: String,
    /// The [digest](Snapshot::adb_digest) of its index of format v3, if that is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adb: Option<String>,
    /// How many packages it has.
    pub packages: usize,
    /// How many of these are v3 packages.
    #[serde(default)]
    pub v3_packages: usize,
    /// How many packages are not as in the snapshot before. Many are a sign of many uploads at
    /// once.
    #[serde(default)]
    pub changes: usize,
}

impl Header {
    fn parse(json: &[u8]) -> Result<Self, SnapshotError> {
        let header: Self = serde_json::from_slice(json)?;
        if header.generation > MAX_GENERATION || header.listed > header.generation {
            return Err(SnapshotError::Generation);
        }
        if header.v3_packages > header.packages {
            return Err(SnapshotError::Form);
        }
        Ok(header)
    }
}

/// A listed package, and the objects that its entry was made from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// The version of the package.
    pub package: ETag,
    /// The version of the fragment.
    pub fragment: ETag,
    /// Its place among the versions of its package that apk can't tell apart, beginning with 1 for
    /// the one that was uploaded last; 0 if there are no others.
    pub rank: u32,
    /// The entry.
    pub entry: IndexEntry,
}

/// What becomes of a package in the next snapshot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Edit {
    /// It is listed like this.
    Put(Box<Record>),
    /// It is not listed any more.
    Remove,
    /// It has another rank. All versions that apk can't tell apart need a new one together.
    Rank(u32),
}

/// Why bytes are not a snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// It has more bytes, as it is stored or inflated, than it can rightly have.
    #[error("it has more than {MAX_STORED} bytes, or inflates to more than it can rightly have")]
    TooLarge,
    /// A line has more bytes than it can rightly have.
    #[error("it has a line of more bytes than it can rightly have")]
    Line,
    /// Its generation is greater than any that was counted up to, or lower than the last that was
    /// listed.
    #[error("it has a generation above {MAX_GENERATION}, or one below that of the last listing")]
    Generation,
    /// It can't be inflated.
    #[error("it can't be inflated")]
    Gzip(#[from] io::Error),
    /// Its header, or a record of an earlier build, is not the JSON that we write.
    #[error("it has JSON that is not that of a snapshot")]
    Json(#[from] serde_json::Error),
    /// It is not in the form of a snapshot, or cut off.
    #[error("it is not in the form of a snapshot, or cut off")]
    Form,
    /// Its entries are not in the order of an index.
    #[error("its entries are not in the order of an index")]
    Order,
    /// A block is damaged.
    #[error("it has a damaged block")]
    Block(#[from] BlockError),
    /// It has not as many packages as its header says: it is cut off, or two records are of one
    /// package.
    #[error("it has {found} of the {expected} packages that its header announces")]
    Packages {
        /// How many there are.
        found: usize,
        /// How many its header says.
        expected: usize,
    },
}

/// The beginning of a stored snapshot: what it is, and what changed last.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Beginning {
    /// The header.
    pub header: Header,
    recent: Table,
    /// How many bytes it has.
    length: usize,
}

impl Beginning {
    /// Reads the beginning of a snapshot. `None` if there is more of it to come.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`], for whatever [`Snapshot::to_bytes`] can't have written. [Snapshots of
    /// earlier builds](is_legacy) have no beginning.
    pub fn read(stored: &Bytes) -> Result<Option<Self>, SnapshotError> {
        let format = FORMAT.get(..FORMAT.len().min(stored.len())).unwrap_or_default();
        let mut rest = stored.clone();
        if !rest.starts_with(format) {
            return Err(SnapshotError::Form);
        }
        if rest.len() <= FORMAT.len() {
            return Ok(None);
        }
        rest.advance(FORMAT.len());
        let Some(end) = rest.iter().take(MAX_HEADER).position(|&byte| byte == b'\n') else {
            return if rest.len() < MAX_HEADER { Ok(None) } else { Err(SnapshotError::Line) };
        };
        let header = Header::parse(&rest.split_to(end))?;
        rest.advance(1);
        let (Ok(rows), Ok(length)) = (rest.try_get_u32_le(), rest.try_get_u32_le()) else {
            return Ok(None);
        };
        let (rows, length) = (rows as usize, length as usize);
        if rows > MAX_RECENT || length > MAX_RECENT_LENGTH {
            return Err(SnapshotError::Form);
        }
        if rest.len() < length {
            return Ok(None);
        }
        let recent = Table::read(rest.split_to(length), rows)?;
        Ok(Some(Self { header, recent, length: stored.len() - rest.len() }))
    }

    /// Returns the row of the package `stem`, a `<name>-<version>`, if it is one of those that
    /// changed last.
    pub fn row(&self, stem: &str) -> Option<Row<'_>> {
        self.recent.rows().find(|row| row.stem() == stem)
    }
}

/// Returns whether a stored snapshot that begins like this was written by an earlier build.
pub fn is_legacy(stored: &[u8]) -> bool {
    stored.first() == Some(&0x1f)
}

/// The entries of a repository prefix, in blocks, and the objects that they were made from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Snapshot {
    recent: Table,
    /// The v2 packages, in the blocks of `APKINDEX.tar.gz`.
    v2: Parts,
    /// The v3 packages.
    v3: Parts,
}

impl Default for Snapshot {
    fn default() -> Self {
        let (v2, v3) = (Parts::new(Form::Index), Parts::new(Form::Stored));
        Self { recent: Table::default(), v2, v3 }
    }
}

impl Snapshot {
    /// Makes a snapshot of `records`, one for each package, in any order.
    pub fn new(records: impl IntoIterator<Item = Record>) -> Self {
        let edits = records
            .into_iter()
            .map(|record| (record.entry.file_stem(), Edit::Put(Box::new(record))));
        // There is no block that could be damaged.
        Self::default().apply(edits.collect()).unwrap_or_default()
    }

    /// Reads a whole stored snapshot, of this or of an earlier build.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`], for whatever they can't have written. Blocks are not inflated.
    pub fn read(stored: &Bytes) -> Result<(Header, Self), SnapshotError> {
        if stored.len() as u64 > MAX_STORED {
            return Err(SnapshotError::TooLarge);
        }
        if is_legacy(stored) {
            let (header, records) = legacy::read(stored)?;
            let snapshot = Self::new(records);
            return Ok((Header { v3_packages: snapshot.v3_len(), ..header }, snapshot));
        }
        let Some(beginning) = Beginning::read(stored)? else { return Err(SnapshotError::Form) };
        let Beginning { header, recent, length } = beginning;
        let mut rest = stored.slice(length..);
        let v2 = Parts::read(Form::Index, &mut rest)?;
        let v3 = Parts::read(Form::Stored, &mut rest)?;
        let snapshot = Self { recent, v2, v3 };
        let (expected, found) = (header.packages, snapshot.len());
        match expected == found {
            true if rest.is_empty() && header.v3_packages == snapshot.v3_len() => {
                Ok((header, snapshot))
            }
            true => Err(SnapshotError::Form),
            false => Err(SnapshotError::Packages { found, expected }),
        }
    }

    /// Returns the snapshot as it is stored.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Json`], which does not happen; [`SnapshotError::TooLarge`].
    pub fn to_bytes(&self, header: &Header) -> Result<Vec<u8>, SnapshotError> {
        let recent = self.recent.bytes();
        let length = MAX_HEADER + recent.len() + self.v2.stored_length() + self.v3.stored_length();
        let mut stored = Vec::with_capacity(length);
        stored.extend_from_slice(FORMAT);
        serde_json::to_writer(&mut stored, header)?;
        stored.push(b'\n');
        stored.put_u32_le(number(self.recent.len())?);
        stored.put_u32_le(number(recent.len())?);
        stored.extend_from_slice(recent);
        self.v2.write(&mut stored)?;
        self.v3.write(&mut stored)?;
        if stored.len() as u64 > MAX_STORED { Err(SnapshotError::TooLarge) } else { Ok(stored) }
    }

    /// Returns how many packages there are.
    pub fn len(&self) -> usize {
        self.v2.len() + self.v3.len()
    }

    /// Returns whether there is no package.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many v2 packages there are: those of `APKINDEX.tar.gz`.
    pub fn v2_len(&self) -> usize {
        self.v2.len()
    }

    /// Returns how many v3 packages there are.
    pub fn v3_len(&self) -> usize {
        self.v3.len()
    }

    /// Returns the rows of the v2 packages in the order of their index, then those of the v3
    /// packages likewise.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.v2.rows().chain(self.v3.rows())
    }

    /// Returns the row of the package `stem`, a `<name>-<version>`.
    pub fn row(&self, stem: &str) -> Option<Row<'_>> {
        self.rows().find(|row| row.stem() == stem)
    }

    /// Returns the blocks of `APKINDEX.tar.gz`.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.v2.blocks()
    }

    /// Inflates and parses all records, in the order of [`Snapshot::rows`].
    ///
    /// # Errors
    ///
    /// [`SnapshotError`], if a block is damaged, or not the one of its rows.
    pub fn records(&self) -> Result<Vec<Record>, SnapshotError> {
        self.records_near(|_| true)
    }

    /// Returns the snapshot of those entries that may be listed below `prefix`, made anew.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`], if a block is damaged, or not the one of its rows.
    pub fn checked(&self, prefix: &RepositoryPrefix) -> Result<Self, SnapshotError> {
        let mut records = self.records()?;
        records.retain(|record| record.entry.metadata.architecture == *prefix.architecture());
        Ok(Self { recent: self.recent.clone(), ..Self::new(records) })
    }

    /// Inflates and parses the records of those packages that are `wanted`, and perhaps of some
    /// others.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`], if a block is damaged, or not the one of its rows.
    pub fn records_near(
        &self,
        wanted: impl Fn(&Row<'_>) -> bool,
    ) -> Result<Vec<Record>, SnapshotError> {
        let mut records = self.v2.records_near(&wanted)?;
        records.extend(self.v3.records_near(&wanted)?);
        Ok(records)
    }

    /// Returns whether apk can't tell the package `stem` from another version, as it is known or
    /// with this entry.
    pub fn is_tied(&self, stem: &str, entry: Option<&IndexEntry>) -> bool {
        let is_ranked = self.row(stem).is_some_and(|row| row.rank() > 0);
        let is_tied = |entry: &IndexEntry| {
            let own = &entry.metadata;
            let mut others = self.rows().filter(|row| row.name() == own.name.as_str());
            others.any(|row| {
                row.stem() != stem
                    && row.version().is_some_and(|version| version.order(&own.version).is_eq())
            })
        };
        is_ranked || entry.is_some_and(is_tied)
    }

    /// Returns the digest of `APKINDEX.tar.gz`: equal digests, equal unsigned index.
    pub fn digest(&self, prefix: &RepositoryPrefix) -> String {
        let mut hash = Sha256::new();
        hash.update(FORMAT);
        hash.update(prefix.repository());
        hash.update([0]);
        self.v2.hash(&mut hash);
        hex::encode(hash.finalize())
    }

    /// Returns the digest of the index of format v3, which lists all packages: equal digests, equal
    /// unsigned index.
    pub fn adb_digest(&self, prefix: &RepositoryPrefix) -> String {
        let mut hash = Sha256::new();
        hash.update(ADB_FORMAT);
        hash.update(prefix.to_string());
        for parts in [&self.v2, &self.v3] {
            hash.update([0]);
            parts.hash(&mut hash);
        }
        hex::encode(hash.finalize())
    }

    /// Returns the snapshot with changes of these packages, by `<name>-<version>`. Blocks in which
    /// nothing changes are taken over as they are. The result does not depend on what was there
    /// before, apart from which rows are recent.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`], if a block that changes is damaged, or not the one of its rows.
    pub fn apply(&self, edits: BTreeMap<String, Edit>) -> Result<Self, SnapshotError> {
        let recent = self.recent_after(&edits);
        // A package that has another format now enters one list and leaves the other.
        let (mut to_v2, mut to_v3) = (BTreeMap::new(), BTreeMap::new());
        for (stem, edit) in edits {
            let is_v3 = match &edit {
                Edit::Put(record) => matches!(record.entry.identity, Identity::Payload(_)),
                Edit::Remove | Edit::Rank(_) => self.v3.rows().any(|row| row.stem() == stem),
            };
            let (to, other) =
                if is_v3 { (&mut to_v3, &mut to_v2) } else { (&mut to_v2, &mut to_v3) };
            if matches!(edit, Edit::Put(_)) {
                other.insert(stem.clone(), Edit::Remove);
            }
            to.insert(stem, edit);
        }
        Ok(Self { recent, v2: self.v2.apply(to_v2)?, v3: self.v3.apply(to_v3)? })
    }

    /// Returns the rows that changed last, after these edits.
    fn recent_after(&self, edits: &BTreeMap<String, Edit>) -> Table {
        let put = edits.values().filter_map(|edit| match edit {
            Edit::Put(record) => Some(record.as_ref()),
            Edit::Remove | Edit::Rank(_) => None,
        });
        let kept = self.recent.rows().filter_map(|row| match edits.get(row.stem()) {
            None => Some(row),
            Some(Edit::Rank(rank)) => Some(row.ranked(*rank)),
            Some(Edit::Put(_) | Edit::Remove) => None,
        });
        Table::recent(put, kept, MAX_RECENT)
    }
}

fn number(length: usize) -> Result<u32, SnapshotError> {
    u32::try_from(length).map_err(|_| SnapshotError::TooLarge)
}

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
//! | recent rows | the [`Row`]s that changed last, at most 1,024 of them: whether a snapshot has a recent change can be told from its beginning |
//! | directory | of each block: its lengths, checksums, and how many rows it has |
//! | tables | the [`Row`]s of each block, in the order of its entries |
//! | blocks | the [blocks](alpinist_apk::block) of the index, as they are published |
//!
//! Snapshots of earlier builds are read as well.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashSet},
    io,
};

use alpinist_apk::{
    block::{self, Block, BlockError},
    entry::IndexEntry,
    index,
};
use bytes::{Buf as _, BufMut as _, Bytes};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    location::RepositoryPrefix,
    port::{ETag, Generation},
    snapshot::table::Table,
};

mod legacy;
mod table;

pub use table::Row;

/// The maximum size of a stored snapshot in bytes.
pub const MAX_STORED: u64 = 64 * 1024 * 1024;
/// The first line of a snapshot.
const FORMAT: &[u8] = b"alpinist snapshot 2\n";
/// The maximum length of the header in bytes.
const MAX_HEADER: usize = 4096;
/// How many rows are stored at the beginning once more.
const MAX_RECENT: usize = 1024;
/// The maximum size of these rows in bytes.
const MAX_RECENT_LENGTH: usize = 1024 * 1024;
/// How many bytes the directory has for each block.
const DIRECTORY_ROW: usize = 52;
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
    /// How many packages it has.
    pub packages: usize,
    /// How many packages are not as in the snapshot before. Many are a sign of many uploads at once.
    #[serde(default)]
    pub changes: usize,
}

impl Header {
    fn parse(json: &[u8]) -> Result<Self, SnapshotError> {
        let header: Self = serde_json::from_slice(json)?;
        if header.generation > MAX_GENERATION || header.listed > header.generation {
            return Err(SnapshotError::Generation);
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

/// The entries of an index, in blocks, and the objects that they were made from.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Snapshot {
    recent: Table,
    parts: Vec<Part>,
}

/// A block and its rows.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Part {
    block: Block,
    sha256: [u8; 32],
    table: Table,
}

impl Part {
    fn new(records: &[Record]) -> Self {
        let block = Block::new(records.iter().map(|record| &record.entry));
        let sha256 = Sha256::digest(block.deflated()).into();
        Self { block, sha256, table: Table::new(records.iter()) }
    }

    /// Inflates and parses the block.
    fn records(&self) -> Result<Vec<Record>, SnapshotError> {
        let entries = self.block.entries()?;
        if entries.len() != self.table.len() {
            return Err(SnapshotError::Form);
        }
        let records = self.table.rows().zip(entries).map(|(row, entry)| {
            let is_its = row.stem() == entry.file_stem();
            let record = || row.to_record(entry);
            is_its.then(record).ok_or(SnapshotError::Form)
        });
        records.collect()
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
            return Ok((header, Self::new(records)));
        }
        let Some(beginning) = Beginning::read(stored)? else { return Err(SnapshotError::Form) };
        let Beginning { header, recent, length } = beginning;
        let mut rest = stored.slice(length..);
        let snapshot = Self { recent, parts: read_parts(&mut rest)? };
        let (expected, found) = (header.packages, snapshot.len());
        match expected == found {
            true if rest.is_empty() => Ok((header, snapshot)),
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
        let length = |part: &Part| part.table.bytes().len() + part.block.deflated().len();
        let length = self.parts.iter().map(|part| DIRECTORY_ROW + length(part)).sum::<usize>();
        let recent = self.recent.bytes();
        let mut stored = Vec::with_capacity(MAX_HEADER + recent.len() + length);
        stored.extend_from_slice(FORMAT);
        serde_json::to_writer(&mut stored, header)?;
        stored.push(b'\n');
        stored.put_u32_le(number(self.recent.len())?);
        stored.put_u32_le(number(recent.len())?);
        stored.extend_from_slice(recent);
        stored.put_u32_le(number(self.parts.len())?);
        for Part { block, sha256, table } in &self.parts {
            stored.put_u32_le(number(block.deflated().len())?);
            stored.put_u32_le(block.length());
            stored.put_u32_le(block.crc());
            stored.extend_from_slice(sha256);
            stored.put_u32_le(number(table.len())?);
            stored.put_u32_le(number(table.bytes().len())?);
        }
        self.parts.iter().for_each(|part| stored.extend_from_slice(part.table.bytes()));
        self.parts.iter().for_each(|part| stored.extend_from_slice(part.block.deflated()));
        if stored.len() as u64 > MAX_STORED { Err(SnapshotError::TooLarge) } else { Ok(stored) }
    }

    /// Returns how many packages there are.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.table.len()).sum()
    }

    /// Returns whether there is no package.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Returns the rows in the order of the index.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.parts.iter().flat_map(|part| part.table.rows())
    }

    /// Returns the row of the package `stem`, a `<name>-<version>`.
    pub fn row(&self, stem: &str) -> Option<Row<'_>> {
        self.rows().find(|row| row.stem() == stem)
    }

    /// Returns the blocks of the index.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.parts.iter().map(|part| &part.block)
    }

    /// Inflates and parses all records, in the order of the index.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`], if a block is damaged, or not the one of its rows.
    pub fn records(&self) -> Result<Vec<Record>, SnapshotError> {
        let mut records = Vec::with_capacity(self.len());
        for part in &self.parts {
            records.extend(part.records()?);
        }
        Ok(records)
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
        let mut records = Vec::new();
        for part in self.parts.iter().filter(|part| part.table.rows().any(|row| wanted(&row))) {
            records.extend(part.records()?);
        }
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

    /// Returns the digest of the index of these entries: equal digests, equal unsigned index.
    pub fn digest(&self, prefix: &RepositoryPrefix) -> String {
        let mut hash = Sha256::new();
        hash.update(FORMAT);
        hash.update(prefix.repository());
        hash.update([0]);
        self.parts.iter().for_each(|part| hash.update(part.sha256));
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
        let (mut dropped, mut added) = self.places(edits)?;
        let mut parts = Vec::with_capacity(self.parts.len() + 1);
        // What comes after the last end of a block.
        let mut open: Vec<Record> = Vec::new();
        for (number, part) in self.parts.iter().enumerate() {
            let (dropped, added) = (dropped.remove(&number), added.remove(&number));
            if open.is_empty() && dropped.is_none() && added.is_none() {
                parts.push(part.clone());
                continue;
            }
            let mut records = part.records()?;
            if let Some(dropped) = dropped {
                records.retain(|record| !dropped.contains(&record.entry.file_stem()));
            }
            if let Some(added) = added {
                records.extend(added);
                records.sort_by(order);
            }
            open.extend(records);
            close(&mut open, &mut parts);
        }
        if let Some(mut first) = added.remove(&self.parts.len()) {
            first.sort_by(order);
            open.extend(first);
            close(&mut open, &mut parts);
        }
        if !open.is_empty() {
            parts.push(Part::new(&open));
        }
        Ok(Self { recent, parts })
    }

    /// Returns what leaves and what enters each block.
    fn places(&self, mut edits: BTreeMap<String, Edit>) -> Result<(Dropped, Added), SnapshotError> {
        let (mut dropped, mut added) = (Dropped::new(), Added::new());
        let mut entering = Vec::new();
        for (number, part) in self.parts.iter().enumerate() {
            let touched: Vec<_> =
                part.table.rows().filter(|row| edits.contains_key(row.stem())).collect();
            if touched.is_empty() {
                continue;
            }
            let is_moved = |row: &Row<'_>| matches!(edits.get(row.stem()), Some(Edit::Rank(_)));
            if touched.iter().any(is_moved) {
                for mut record in part.records()? {
                    let stem = record.entry.file_stem();
                    if let Some(&Edit::Rank(rank)) = edits.get(&stem) {
                        record.rank = rank;
                        entering.push(record);
                    }
                }
            }
            let stems = touched.iter().map(|row| row.stem().to_owned()).collect::<HashSet<_>>();
            for stem in &stems {
                if let Some(Edit::Put(record)) = edits.remove(stem) {
                    entering.push(*record);
                }
            }
            dropped.insert(number, stems);
        }
        for edit in edits.into_values() {
            if let Edit::Put(record) = edit {
                entering.push(*record);
            }
        }
        for record in entering {
            added.entry(self.place(&record)).or_default().push(record);
        }
        Ok((dropped, added))
    }

    /// Returns the number of the block that a record enters: the last one that begins with the same
    /// or an earlier one.
    fn place(&self, record: &Record) -> usize {
        let metadata = &record.entry.metadata;
        let begins_after = |part: &Part| {
            part.table.rows().next().and_then(|row| row.id()).is_some_and(|(name, version)| {
                index::order((&name, &version), (&metadata.name, &metadata.version)).is_gt()
            })
        };
        self.parts.partition_point(|part| !begins_after(part)).saturating_sub(1)
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

/// The `<name>-<version>` of what leaves a block, by its number.
type Dropped = BTreeMap<usize, HashSet<String>>;
/// What enters a block, by its number.
type Added = BTreeMap<usize, Vec<Record>>;

/// Makes blocks of records up to the last one after which a block ends.
fn close(open: &mut Vec<Record>, parts: &mut Vec<Part>) {
    let ends = |record: &Record| block::ends_block(&record.entry.file_stem());
    let Some(last) = open.iter().rposition(ends) else { return };
    let rest = open.split_off(last + 1);
    parts.extend(open.chunk_by(|record, _| !ends(record)).map(Part::new));
    *open = rest;
}

/// The order of an index.
fn order(a: &Record, b: &Record) -> Ordering {
    let (a_metadata, b_metadata) = (&a.entry.metadata, &b.entry.metadata);
    let (a_version, b_version) = (&a_metadata.version, &b_metadata.version);
    index::order((&a_metadata.name, a_version), (&b_metadata.name, b_version))
        .then_with(|| a.rank.cmp(&b.rank))
        .then_with(|| a_version.as_str().cmp(b_version.as_str()))
}

fn read_parts(rest: &mut Bytes) -> Result<Vec<Part>, SnapshotError> {
    let cut_off = |_| SnapshotError::Form;
    let count = rest.try_get_u32_le().map_err(cut_off)? as usize;
    let length = count.checked_mul(DIRECTORY_ROW).filter(|&length| length <= rest.len());
    let mut directory = rest.split_to(length.ok_or(SnapshotError::Form)?);
    let mut take = |length: usize| {
        if length > rest.len() { Err(SnapshotError::Form) } else { Ok(rest.split_to(length)) }
    };
    let mut parts = Vec::with_capacity(count);
    let mut lengths = Vec::with_capacity(count);
    for _ in 0..count {
        let mut number = || directory.try_get_u32_le().map_err(cut_off);
        let (deflated, length, crc) = (number()?, number()?, number()?);
        let mut sha256 = [0; 32];
        directory.try_copy_to_slice(&mut sha256).map_err(cut_off)?;
        let mut number = || directory.try_get_u32_le().map_err(cut_off);
        let (rows, table) = (number()? as usize, number()? as usize);
        let table = Table::read(take(table)?, rows)?;
        if rows == 0 {
            return Err(SnapshotError::Form);
        }
        lengths.push((deflated as usize, length, crc));
        parts.push(Part { block: Block::from_parts(Bytes::new(), 0, 0), sha256, table });
    }
    for (part, (deflated, length, crc)) in parts.iter_mut().zip(lengths) {
        part.block = Block::from_parts(take(deflated)?, length, crc);
    }
    Ok(parts)
}

fn number(length: usize) -> Result<u32, SnapshotError> {
    u32::try_from(length).map_err(|_| SnapshotError::TooLarge)
}

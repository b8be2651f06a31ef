//! A snapshot: the entries of an index, each with the ETags of the objects that it was made from.
//!
//! It serves three purposes. It is the unsigned index on its way to be signed. Afterwards it is a
//! cache: the next execution reads only fragments that it does not know. And it is what rivals
//! compare and swap: each snapshot of a repository prefix has a greater generation than the one
//! before, so no two are equal, even if their entries are.
//!
//! It is stored as lines of JSON, compressed in chunks: the [`Header`], then the [`Record`]s, most
//! recently changed first. So its beginning shows whether it has a recent change.

use std::{
    cmp::Reverse,
    collections::HashMap,
    fmt::Write as _,
    io::{self, Write},
    mem,
};

use alpinist_apk::{
    entry::IndexEntry,
    gzip::{self, Level},
    index::Index,
    value::Architecture,
};
use flate2::write::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    location::RepositoryPrefix,
    port::{ETag, Generation},
};

/// The maximum size of a stored snapshot in bytes.
pub const MAX_STORED: u64 = 64 * 1024 * 1024;
/// The maximum size of an inflated snapshot in bytes.
const MAX_INFLATED: usize = 256 * 1024 * 1024;
/// The maximum length of a line in bytes. An entry has fewer than 96 KiB, and escapes may double
/// it.
const MAX_LINE: usize = 256 * 1024;
/// How many bytes of lines are compressed at a time, at least; the last member may be shorter.
const MEMBER: usize = 128 * 1024;
/// The greatest generation that is accepted. The states can't carry a greater one without loss,
/// since their numbers are those of `JSONata`. No snapshot of ours comes near it.
const MAX_GENERATION: Generation = 1 << 53;

/// What is known about a snapshot without its records.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Header {
    /// Its generation.
    pub generation: Generation,
    /// The last generation that was made from a listing of the bucket: this one or an earlier one.
    /// Each later one only added the change of its own execution. 0 if unknown.
    #[serde(default)]
    pub listed: Generation,
    /// The [digest](Snapshot::digest) of its index.
    pub digest: String,
    /// How many packages it has.
    pub packages: usize,
}

/// A listed package, and the ETags of the objects that its entry was made from.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Record {
    /// The version of the package.
    pub package: ETag,
    /// The version of the fragment.
    pub fragment: ETag,
    /// The first generation that had both versions.
    pub since: Generation,
    /// Its place among the versions of its package that apk can't tell apart, starting at 1 for the
    /// latest upload; 0 if there are no others.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rank: u32,
    /// The entry.
    pub entry: IndexEntry,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
fn is_zero(rank: &u32) -> bool {
    *rank == 0
}

impl Record {
    /// Returns whether both have the same entry, made from the same objects, whatever their
    /// generations and ranks.
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.package, &self.fragment, &self.entry)
            == (&other.package, &other.fragment, &other.entry)
    }
}

/// Why a stored snapshot is invalid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// It is larger, as stored or inflated, than any valid one.
    #[error("it has more than {MAX_STORED} bytes, or inflates to more than {MAX_INFLATED}")]
    TooLarge,
    /// A line is longer than any valid one.
    #[error("it has a line of more than {MAX_LINE} bytes")]
    Line,
    /// Its generation is greater than any that we count up to, or lower than that of the last
    /// listing.
    #[error("it has a generation above {MAX_GENERATION}, or one below that of the last listing")]
    Generation,
    /// It can't be inflated.
    #[error("it can't be inflated")]
    Gzip(#[from] io::Error),
    /// It is not the JSON that we write.
    #[error("it is not a snapshot in JSON")]
    Json(#[from] serde_json::Error),
    /// It does not have as many records as its header says: it is truncated, or has two records of
    /// one package.
    #[error("it has {found} of the {expected} records that its header announces")]
    Packages {
        /// How many there are.
        found: usize,
        /// How many its header says.
        expected: usize,
    },
}

/// The records of an index, by the `<name>-<version>` of their packages.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Snapshot {
    /// Boxed, so that the table itself stays small.
    records: HashMap<String, Box<Record>>,
}

impl Snapshot {
    /// Creates a snapshot of `records`, one for each package.
    pub fn new(records: impl IntoIterator<Item = Box<Record>>) -> Self {
        let records = records.into_iter().map(|record| (record.entry.file_stem(), record));
        Self { records: records.collect() }
    }

    /// Adds a record, or replaces the one of the same package.
    pub fn put(&mut self, record: Box<Record>) {
        self.records.insert(record.entry.file_stem(), record);
    }

    /// Returns the record of the package `stem`, a `<name>-<version>`.
    pub fn record(&self, stem: &str) -> Option<&Record> {
        self.records.get(stem).map(AsRef::as_ref)
    }

    /// Removes and returns the record of the package `stem`, if it is of the version `package`.
    pub fn take(&mut self, stem: &str, package: &ETag) -> Option<Box<Record>> {
        let known = self.records.remove_entry(stem)?;
        if known.1.package == *package {
            return Some(known.1);
        }
        self.records.insert(known.0, known.1);
        None
    }

    /// Removes and returns the record that [is the same](Record::is_same) as `other`.
    pub fn take_same(&mut self, other: &Record) -> Option<Box<Record>> {
        let stem = other.entry.file_stem();
        self.record(&stem).filter(|known| known.is_same(other))?;
        self.records.remove(&stem)
    }

    /// Removes the records of packages for any other architecture than `architecture`, that of
    /// their directory.
    pub fn forget_others(&mut self, architecture: &Architecture) {
        self.records.retain(|_, record| record.entry.metadata.architecture == *architecture);
    }

    /// Removes the record of the package `stem`, if there is one.
    pub fn forget(&mut self, stem: &str) {
        self.records.remove(stem);
    }

    /// Returns how many packages there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns whether there are no packages.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns the `<name>-<version>` of each package, in any order.
    pub fn stems(&self) -> impl Iterator<Item = &str> {
        self.records.keys().map(String::as_str)
    }

    /// Returns whether apk can't tell the package `stem` from another version of it, either as
    /// recorded or with `entry`.
    pub fn is_tied(&self, stem: &str, entry: Option<&IndexEntry>) -> bool {
        let is_ranked = self.record(stem).is_some_and(|record| record.rank > 0);
        let others = self.records.iter().filter(|(other, _)| *other != stem);
        let mut others = others.map(|(_, record)| &record.entry.metadata);
        let is_tied = |entry: &IndexEntry| {
            let own = &entry.metadata;
            others.any(|it| it.name == own.name && it.version.order(&own.version).is_eq())
        };
        is_ranked || entry.is_some_and(is_tied)
    }

    /// Ranks the versions of each package that apk can't tell apart, latest first: by `uploaded`,
    /// in seconds, then by build time, and then by `<name>-<version>` as people count (10 after 9).
    /// Returns whether any rank changed.
    pub fn rank(&mut self, uploaded: impl Fn(&str) -> i64) -> bool {
        let mut by_name: Vec<_> =
            self.records.iter().map(|(stem, record)| (stem, &record.entry)).collect();
        by_name.sort_unstable_by(|(_, a), (_, b)| {
            let (a, b) = (&a.metadata, &b.metadata);
            a.name.cmp(&b.name).then_with(|| a.version.order(&b.version))
        });
        let mut ranks = HashMap::new();
        let tied = by_name.chunk_by(|(_, a), (_, b)| {
            let (a, b) = (&a.metadata, &b.metadata);
            a.name == b.name && a.version.order(&b.version).is_eq()
        });
        for tied in tied.filter(|tied| tied.len() > 1) {
            let mut latest_first = tied.to_vec();
            latest_first.sort_by_cached_key(|(stem, entry)| {
                Reverse((uploaded(stem), entry.metadata.build_time, by_numbers(stem)))
            });
            ranks.extend(latest_first.into_iter().map(|(stem, _)| stem.clone()).zip(1..));
        }
        let mut is_changed = false;
        for (stem, record) in &mut self.records {
            let rank = ranks.get(stem).copied().unwrap_or_default();
            is_changed |= record.rank != rank;
            record.rank = rank;
        }
        is_changed
    }

    /// Returns the digest of the index of these entries: equal digests mean equal unsigned indexes.
    pub fn digest(&self, prefix: &RepositoryPrefix) -> String {
        let mut hash = Sha256::new();
        hash.update(prefix.repository());
        let mut records: Vec<_> = self.records.iter().collect();
        records.sort_unstable_by_key(|&(stem, _)| stem);
        let mut text = String::new();
        for (_, record) in records {
            text.clear();
            let _infallible = write!(text, "{}", record.entry);
            hash.update([0]);
            hash.update(&text);
            if record.rank > 0 {
                hash.update(record.rank.to_le_bytes());
            }
        }
        hex::encode(hash.finalize())
    }

    /// Turns the snapshot into the index of these entries.
    pub fn into_index(self) -> Index {
        Index::ranked(self.records.into_values().map(|record| (record.rank, record.entry)))
    }

    /// Writes the snapshot in its stored form, with many lines in each gzip member. A stream by
    /// zlib-rs at its fastest takes as long and a third more bytes (measured); libdeflate has no
    /// streams.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Json`] and [`SnapshotError::Gzip`], which do not happen.
    pub fn to_bytes(&self, header: &Header) -> Result<Vec<u8>, SnapshotError> {
        let mut records: Vec<_> = self.records.iter().collect();
        records.sort_unstable_by_key(|&(stem, record)| (Reverse(record.since), stem));
        let mut stored = Vec::new();
        let mut lines = serde_json::to_vec(header)?;
        for (_, record) in records {
            lines.push(b'\n');
            if lines.len() >= MEMBER {
                stored.extend(gzip::compress(Level::Fast, &lines)?);
                lines.clear();
            }
            serde_json::to_writer(&mut lines, record)?;
        }
        lines.push(b'\n');
        stored.extend(gzip::compress(Level::Fast, &lines)?);
        Ok(stored)
    }
}

/// Reads a stored snapshot chunk by chunk, from its beginning.
#[derive(Debug)]
pub struct SnapshotReader {
    inflater: MultiGzDecoder<Lines>,
}

/// What was read so far, and inflated bytes that are not parsed yet.
#[derive(Debug, Default)]
struct Lines {
    inflated: usize,
    rest: Vec<u8>,
    header: Option<Header>,
    snapshot: Snapshot,
    error: Option<SnapshotError>,
}

impl Default for SnapshotReader {
    fn default() -> Self {
        Self { inflater: MultiGzDecoder::new(Lines::default()) }
    }
}

impl SnapshotReader {
    /// Reads the next chunk.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`], for whatever [`Snapshot::to_bytes`] can't have written.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), SnapshotError> {
        let outcome = self.inflater.write_all(chunk).and_then(|()| self.inflater.flush());
        self.outcome(outcome)
    }

    /// Finishes at the end of the stored snapshot, and checks the number of records.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`], for whatever [`Snapshot::to_bytes`] can't have written.
    pub fn finish(&mut self) -> Result<(), SnapshotError> {
        let outcome = self.inflater.try_finish();
        self.outcome(outcome)?;
        let found = self.snapshot().len();
        match self.header() {
            Some(&Header { packages: expected, .. }) if expected != found => {
                Err(SnapshotError::Packages { found, expected })
            }
            _ => Ok(()),
        }
    }

    /// Returns the header, if it has been read.
    pub fn header(&self) -> Option<&Header> {
        self.inflater.get_ref().header.as_ref()
    }

    /// Returns the records that were read so far: the most recently changed ones.
    pub fn snapshot(&self) -> &Snapshot {
        &self.inflater.get_ref().snapshot
    }

    /// Returns the records that were read.
    pub fn into_snapshot(mut self) -> Snapshot {
        mem::take(&mut self.inflater.get_mut().snapshot)
    }

    fn outcome(&mut self, outcome: io::Result<()>) -> Result<(), SnapshotError> {
        match self.inflater.get_mut().error.take() {
            Some(error) => Err(error),
            None => Ok(outcome?),
        }
    }
}

impl Lines {
    fn parse(&mut self, line: &[u8]) -> Result<(), SnapshotError> {
        if self.header.is_none() {
            let header: Header = serde_json::from_slice(line)?;
            if header.generation > MAX_GENERATION || header.listed > header.generation {
                return Err(SnapshotError::Generation);
            }
            self.header = Some(header);
            return Ok(());
        }
        self.snapshot.put(serde_json::from_slice(line)?);
        Ok(())
    }

    fn take(&mut self, inflated: &[u8]) -> Result<(), SnapshotError> {
        self.inflated += inflated.len();
        if self.inflated > MAX_INFLATED {
            return Err(SnapshotError::TooLarge);
        }
        let mut lines = inflated.split(|&byte| byte == b'\n');
        let last = lines.next_back().unwrap_or_default();
        for line in lines {
            if self.rest.is_empty() {
                self.parse(line)?;
            } else {
                let mut whole = mem::take(&mut self.rest);
                whole.extend_from_slice(line);
                self.parse(&whole)?;
            }
        }
        self.rest.extend_from_slice(last);
        if self.rest.len() > MAX_LINE { Err(SnapshotError::Line) } else { Ok(()) }
    }
}

impl Write for Lines {
    fn write(&mut self, inflated: &[u8]) -> io::Result<usize> {
        self.take(inflated).map_err(|error| {
            self.error = Some(error);
            io::Error::from(io::ErrorKind::InvalidData)
        })?;
        Ok(inflated.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Splits a text into numbers, each with its length, and the text between them, so that 10 sorts
/// after 9.
fn by_numbers(text: &str) -> Vec<(usize, &str)> {
    let kinds = text.as_bytes().chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit());
    let mut at = 0;
    let parts = kinds.filter_map(|part| {
        let begin = at;
        at += part.len();
        let part = text.get(begin..at)?;
        let number = part.trim_start_matches('0');
        let is_number = part.starts_with(|c: char| c.is_ascii_digit());
        Some(if is_number { (number.len() + 1, number) } else { (0, part) })
    });
    parts.collect()
}

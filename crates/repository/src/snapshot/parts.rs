//! The blocks of a snapshot, each with its rows.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashSet},
};

use alpinist_apk::{
    block::{self, Block, BlockError},
    entry::IndexEntry,
    index,
};
use bytes::{Buf as _, BufMut as _, Bytes};
use sha2::{Digest as _, Sha256};

use crate::snapshot::{
    Edit, Record, SnapshotError, number,
    table::{Row, Table},
};

/// How many bytes the directory has for each block.
const DIRECTORY_ROW: usize = 52;

/// In what form the blocks have their entries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    /// As `APKINDEX.tar.gz` has them.
    Index,
    /// As they are [stored](IndexEntry::stored).
    Stored,
}

impl Form {
    fn compress(self, records: &[Record]) -> Block {
        let entries = records.iter().map(|record| &record.entry);
        match self {
            Self::Index => Block::new(entries),
            Self::Stored => Block::of_stored(entries),
        }
    }

    fn entries(self, block: &Block) -> Result<Vec<IndexEntry>, BlockError> {
        match self {
            Self::Index => block.entries(),
            Self::Stored => block.stored_entries(),
        }
    }
}

/// Blocks in the order of an index.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Parts {
    form: Form,
    list: Vec<Part>,
}

/// A block and its rows.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Part {
    block: Block,
    sha256: [u8; 32],
    table: Table,
}

impl Parts {
    pub(super) fn new(form: Form) -> Self {
        Self { form, list: Vec::new() }
    }

    /// Reads what [`Parts::write`] wrote.
    pub(super) fn read(form: Form, rest: &mut Bytes) -> Result<Self, SnapshotError> {
        let cut_off = |_| SnapshotError::Form;
        let count = rest.try_get_u32_le().map_err(cut_off)? as usize;
        let length = count.checked_mul(DIRECTORY_ROW).filter(|&length| length <= rest.len());
        let mut directory = rest.split_to(length.ok_or(SnapshotError::Form)?);
        let mut take = |length: usize| {
            if length > rest.len() { Err(SnapshotError::Form) } else { Ok(rest.split_to(length)) }
        };
        let mut list = Vec::with_capacity(count);
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
            list.push(Part { block: Block::from_parts(Bytes::new(), 0, 0), sha256, table });
        }
        for (part, (deflated, length, crc)) in list.iter_mut().zip(lengths) {
            part.block = Block::from_parts(take(deflated)?, length, crc);
        }
        Ok(Self { form, list })
    }

    pub(super) fn write(&self, stored: &mut Vec<u8>) -> Result<(), SnapshotError> {
        stored.put_u32_le(number(self.list.len())?);
        for Part { block, sha256, table } in &self.list {
            stored.put_u32_le(number(block.deflated().len())?);
            stored.put_u32_le(block.length());
            stored.put_u32_le(block.crc());
            stored.extend_from_slice(sha256);
            stored.put_u32_le(number(table.len())?);
            stored.put_u32_le(number(table.bytes().len())?);
        }
        self.list.iter().for_each(|part| stored.extend_from_slice(part.table.bytes()));
        self.list.iter().for_each(|part| stored.extend_from_slice(part.block.deflated()));
        Ok(())
    }

    /// Returns how many bytes [`Parts::write`] writes.
    pub(super) fn stored_length(&self) -> usize {
        let length = |part: &Part| part.table.bytes().len() + part.block.deflated().len();
        4 + self.list.iter().map(|part| DIRECTORY_ROW + length(part)).sum::<usize>()
    }

    /// Returns how many packages there are.
    pub(super) fn len(&self) -> usize {
        self.list.iter().map(|part| part.table.len()).sum()
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.list.iter().flat_map(|part| part.table.rows())
    }

    pub(super) fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.list.iter().map(|part| &part.block)
    }

    /// Hashes what the blocks are.
    pub(super) fn hash(&self, hash: &mut Sha256) {
        self.list.iter().for_each(|part| hash.update(part.sha256));
    }

    /// Inflates and parses the records of those packages that are `wanted`, and perhaps of some
    /// others.
    pub(super) fn records_near(
        &self,
        wanted: impl Fn(&Row<'_>) -> bool,
    ) -> Result<Vec<Record>, SnapshotError> {
        let mut records = Vec::new();
        for part in self.list.iter().filter(|part| part.table.rows().any(|row| wanted(&row))) {
            records.extend(self.records(part)?);
        }
        Ok(records)
    }

    /// Inflates and parses a block.
    fn records(&self, part: &Part) -> Result<Vec<Record>, SnapshotError> {
        let entries = self.form.entries(&part.block)?;
        if entries.len() != part.table.len() {
            return Err(SnapshotError::Form);
        }
        let records = part.table.rows().zip(entries).map(|(row, entry)| {
            let is_its = row.stem() == entry.file_stem();
            let record = || row.to_record(entry);
            is_its.then(record).ok_or(SnapshotError::Form)
        });
        records.collect()
    }

    fn part(&self, records: &[Record]) -> Part {
        let block = self.form.compress(records);
        let sha256 = Sha256::digest(block.deflated()).into();
        Part { block, sha256, table: Table::new(records.iter()) }
    }

    /// Returns the blocks with changes of these packages, by `<name>-<version>`. Those in which
    /// nothing changes are taken over as they are.
    pub(super) fn apply(&self, edits: BTreeMap<String, Edit>) -> Result<Self, SnapshotError> {
        let (mut dropped, mut added) = self.places(edits)?;
        let mut list = Vec::with_capacity(self.list.len() + 1);
        // What comes after the last end of a block.
        let mut open: Vec<Record> = Vec::new();
        for (number, part) in self.list.iter().enumerate() {
            let (dropped, added) = (dropped.remove(&number), added.remove(&number));
            if open.is_empty() && dropped.is_none() && added.is_none() {
                list.push(part.clone());
                continue;
            }
            let mut records = self.records(part)?;
            if let Some(dropped) = dropped {
                records.retain(|record| !dropped.contains(&record.entry.file_stem()));
            }
            if let Some(added) = added {
                records.extend(added);
                records.sort_by(order);
            }
            open.extend(records);
            self.close(&mut open, &mut list);
        }
        if let Some(mut first) = added.remove(&self.list.len()) {
            first.sort_by(order);
            open.extend(first);
            self.close(&mut open, &mut list);
        }
        if !open.is_empty() {
            list.push(self.part(&open));
        }
        Ok(Self { form: self.form, list })
    }

    /// Returns what leaves and what enters each block.
    fn places(&self, mut edits: BTreeMap<String, Edit>) -> Result<(Dropped, Added), SnapshotError> {
        let (mut dropped, mut added) = (Dropped::new(), Added::new());
        let mut entering = Vec::new();
        for (number, part) in self.list.iter().enumerate() {
            let touched: Vec<_> =
                part.table.rows().filter(|row| edits.contains_key(row.stem())).collect();
            if touched.is_empty() {
                continue;
            }
            let is_moved = |row: &Row<'_>| matches!(edits.get(row.stem()), Some(Edit::Rank(_)));
            if touched.iter().any(is_moved) {
                for mut record in self.records(part)? {
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
        self.list.partition_point(|part| !begins_after(part)).saturating_sub(1)
    }

    /// Makes blocks of records up to the last one after which a block ends.
    fn close(&self, open: &mut Vec<Record>, list: &mut Vec<Part>) {
        let ends = |record: &Record| block::ends_block(&record.entry.file_stem());
        let Some(end) = open.iter().rposition(ends) else { return };
        let rest = open.split_off(end + 1);
        list.extend(open.chunk_by(|record, _| !ends(record)).map(|records| self.part(records)));
        *open = rest;
    }
}

/// The `<name>-<version>` of what leaves a block, by its number.
type Dropped = BTreeMap<usize, HashSet<String>>;
/// What enters a block, by its number.
type Added = BTreeMap<usize, Vec<Record>>;

/// The order of an index.
fn order(a: &Record, b: &Record) -> Ordering {
    let (a_metadata, b_metadata) = (&a.entry.metadata, &b.entry.metadata);
    let (a_version, b_version) = (&a_metadata.version, &b_metadata.version);
    index::order((&a_metadata.name, a_version), (&b_metadata.name, b_version))
        .then_with(|| a.rank.cmp(&b.rank))
        .then_with(|| a_version.as_str().cmp(b_version.as_str()))
}

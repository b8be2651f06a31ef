//! The rows of a snapshot.

use std::fmt;

use alpinist_apk::{entry::IndexEntry, value::PackageName, version::Version};
use bytes::{BufMut as _, Bytes};

use crate::{
    port::ETag,
    snapshot::{Record, SnapshotError},
};

/// Some rows, one after the other. Each has the lengths of its `<name>-<version>` and of the name
/// in it (2 bytes each), its rank (4), its `<name>-<version>`, and the two ETags.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Table {
    bytes: Bytes,
    rows: usize,
}

/// A listed package, and the objects that its entry was made from, without the entry.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Row<'a> {
    stem: &'a str,
    name: usize,
    rank: u32,
    package: Tag<'a>,
    fragment: Tag<'a>,
}

/// An ETag, in half the space if it is the usual one.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Tag<'a> {
    /// These bytes, in hexadecimal digits and quotes.
    Hex(&'a [u8]),
    Text(&'a str),
}

impl Table {
    pub(super) fn new<'a>(records: impl Iterator<Item = &'a Record>) -> Self {
        let mut writer = Writer::default();
        records.for_each(|record| writer.record(record));
        writer.end()
    }

    /// Makes a table of at most `max` rows: of records, and then of rows.
    pub(super) fn recent<'a>(
        records: impl Iterator<Item = &'a Record>,
        rows: impl Iterator<Item = Row<'a>>,
        max: usize,
    ) -> Self {
        let mut writer = Writer::default();
        records.take(max).for_each(|record| writer.record(record));
        let left = max - writer.rows;
        rows.take(left).for_each(|row| writer.row(&row));
        writer.end()
    }

    /// Takes bytes that should have so many rows.
    pub(super) fn read(bytes: Bytes, rows: usize) -> Result<Self, SnapshotError> {
        let mut rest = &*bytes;
        for _ in 0..rows {
            Row::take(&mut rest).ok_or(SnapshotError::Form)?;
        }
        if rest.is_empty() { Ok(Self { bytes, rows }) } else { Err(SnapshotError::Form) }
    }

    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.rows
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let mut rest = &*self.bytes;
        (0..self.rows).map_while(move |_| Row::take(&mut rest))
    }
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    rows: usize,
}

impl Writer {
    fn record(&mut self, record: &Record) {
        let Record { package, fragment, rank, entry } = record;
        self.begin(&entry.file_stem(), entry.metadata.name.as_str().len(), *rank);
        for ETag(tag) in [package, fragment] {
            let digits = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            let is_lower = |digits: &&str| !digits.bytes().any(|byte| byte.is_ascii_uppercase());
            match digits.filter(is_lower).and_then(|digits| hex::decode(digits).ok()) {
                Some(bytes) if (1..256).contains(&bytes.len()) => self.tag(Tag::Hex(&bytes)),
                _ => self.tag(Tag::Text(tag)),
            }
        }
    }

    fn row(&mut self, row: &Row<'_>) {
        self.begin(row.stem, row.name, row.rank);
        self.tag(row.package);
        self.tag(row.fragment);
    }

    fn begin(&mut self, stem: &str, name: usize, rank: u32) {
        self.bytes.put_u16_le(length(stem.len()));
        self.bytes.put_u16_le(length(name));
        self.bytes.put_u32_le(rank);
        self.bytes.extend_from_slice(stem.as_bytes());
        self.rows += 1;
    }

    fn tag(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Hex(bytes) => {
                self.bytes.put_u8(u8::try_from(bytes.len()).unwrap_or_default());
                self.bytes.extend_from_slice(bytes);
            }
            Tag::Text(text) => {
                self.bytes.put_u8(0);
                self.bytes.put_u16_le(length(text.len()));
                self.bytes.extend_from_slice(text.as_bytes());
            }
        }
    }

    fn end(self) -> Table {
        Table { bytes: self.bytes.into(), rows: self.rows }
    }
}

/// Keys of objects have at most 1,024 bytes, and headers of HTTP not many more.
fn length(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

impl<'a> Row<'a> {
    fn take(rest: &mut &'a [u8]) -> Option<Self> {
        let stem = number(rest)?;
        let name = number(rest)?;
        let rank = u32::from_le_bytes(*rest.split_off(..4)?.first_chunk()?);
        let stem = text(rest, stem)?;
        stem.get(name..)?.strip_prefix('-')?;
        Some(Self { stem, name, rank, package: Tag::take(rest)?, fragment: Tag::take(rest)? })
    }

    /// Its `<name>-<version>`.
    pub fn stem(&self) -> &'a str {
        self.stem
    }

    /// The name of the package.
    pub fn name(&self) -> &'a str {
        self.stem.get(..self.name).unwrap_or_default()
    }

    /// The version of the package, if it is one.
    pub fn version(&self) -> Option<Version> {
        self.stem.get(self.name + 1..)?.parse().ok()
    }

    pub(super) fn id(&self) -> Option<(PackageName, Version)> {
        Some((self.name().parse().ok()?, self.version()?))
    }

    /// Its place among the versions of its package that apk can't tell apart; 0 if there are no
    /// others.
    pub fn rank(&self) -> u32 {
        self.rank
    }

    /// Returns whether its entry was made from the version `package` of the package.
    pub fn is_of_package(&self, package: &ETag) -> bool {
        self.package.is(package)
    }

    /// Returns whether its entry was made from the version `fragment` of the fragment.
    pub fn is_of_fragment(&self, fragment: &ETag) -> bool {
        self.fragment.is(fragment)
    }

    pub(super) fn ranked(self, rank: u32) -> Self {
        Self { rank, ..self }
    }

    pub(super) fn to_record(self, entry: IndexEntry) -> Record {
        let (package, fragment) = (self.package.to_etag(), self.fragment.to_etag());
        Record { package, fragment, rank: self.rank, entry }
    }
}

impl fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row")
            .field("stem", &self.stem)
            .field("rank", &self.rank)
            .finish_non_exhaustive()
    }
}

impl<'a> Tag<'a> {
    fn take(rest: &mut &'a [u8]) -> Option<Self> {
        match *rest.split_off_first()? {
            0 => {
                let length = number(rest)?;
                Some(Self::Text(text(rest, length)?))
            }
            length => Some(Self::Hex(rest.split_off(..usize::from(length))?)),
        }
    }

    fn is(self, etag: &ETag) -> bool {
        match self {
            Self::Text(text) => text == etag.0,
            Self::Hex(bytes) => {
                let digits = etag.0.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
                let nibble = |byte: u8| b"0123456789abcdef".get(usize::from(byte)).copied();
                digits.is_some_and(|digits| {
                    let expected =
                        bytes.iter().flat_map(|byte| [nibble(byte >> 4), nibble(byte & 15)]);
                    digits.bytes().map(Some).eq(expected)
                })
            }
        }
    }

    fn to_etag(self) -> ETag {
        match self {
            Self::Text(text) => ETag(text.to_owned()),
            Self::Hex(bytes) => ETag(format!("\"{}\"", hex::encode(bytes))),
        }
    }
}

fn number(rest: &mut &[u8]) -> Option<usize> {
    Some(u16::from_le_bytes(*rest.split_off(..2)?.first_chunk()?).into())
}

fn text<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a str> {
    str::from_utf8(rest.split_off(..length)?).ok()
}

//! Compresses an index in blocks, so that changing one entry changes only one of them.
//!
//! Whether a block ends after an entry depends only on a hash of its name and version
//! ([`ends_block`]), so the same entries always give the same blocks. Each block is compressed
//! independently and ends on a byte boundary, so it can be copied from one deflate stream (RFC
//! 1951) into another.

use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use sha2::{Digest as _, Sha256};

use crate::{
    entry::{EntryError, IndexEntry},
    index::{IndexError, parse_entries_by},
};

/// The end of a flushed deflate stream: an empty stored block without its header.
const FLUSHED: [u8; 4] = [0, 0, 0xff, 0xff];

/// A final empty stored block, which ends a deflate stream.
const END: [u8; 5] = [1, 0, 0, 0xff, 0xff];

/// The maximum length of a block's text in bytes. Only deliberately chosen names make a block this
/// long.
const MAX_LENGTH: usize = 128 * 1024 * 1024;

/// Returns whether a block ends after the entry of the package `<name>-<version>`. It does if the
/// SHA-256 of `<name>-<version>` begins with nine zero bits, as one in 512 does.
///
/// A block thus has some 200 kB of text, and an index is 2 % larger than one compressed as a whole;
/// with blocks of half that size, it is 3 % larger (measured). A checksum would not do, because the
/// names in a repository resemble each other: CRC-32 made blocks of thousands of entries
/// (measured).
pub fn ends_block(name_version: &str) -> bool {
    matches!(Sha256::digest(name_version)[..], [0, 0..=127, ..])
}

/// Consecutive entries of an index, compressed to a part of a deflate stream that ends on a byte
/// boundary.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Block {
    deflated: Bytes,
    length: u32,
    crc: u32,
}

/// Why bytes are not a block.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// It can't be inflated as a part of a stream, does not end with a flush, or claims more than
    /// 128 MiB of text.
    #[error("a block can't be inflated")]
    Deflate,
    /// Its text does not have the expected length or checksum.
    #[error("the text of a block has another length or checksum than it should")]
    Text,
    /// Its text is not UTF-8.
    #[error("the text of a block is not in UTF-8")]
    Utf8,
    /// An entry is invalid.
    #[error("a block has an invalid entry")]
    Entry(#[from] IndexError),
    /// An entry is valid, but not in the form in which Alpinist prints it.
    #[error("entry {position} of a block is not in the form in which it is printed")]
    Form {
        /// Counts from 1.
        position: usize,
    },
}

impl Block {
    /// Compresses `entries`. The last should be one that [ends a block](ends_block), or the last of
    /// the index.
    pub fn new<'a>(entries: impl IntoIterator<Item = &'a IndexEntry>) -> Self {
        Self::of_text(entries.into_iter().map(ToString::to_string).collect::<String>().as_bytes())
    }

    /// Compresses `entries` of packages of any format, as they are [stored](IndexEntry::stored).
    /// Such a block is no part of an index.
    pub fn of_stored<'a>(entries: impl IntoIterator<Item = &'a IndexEntry>) -> Self {
        let stored = |entry: &IndexEntry| entry.stored().to_string();
        Self::of_text(entries.into_iter().map(stored).collect::<String>().as_bytes())
    }

    /// Compresses any text.
    pub(crate) fn of_text(text: &[u8]) -> Self {
        Self {
            deflated: deflate(text, FlushCompress::Full).into(),
            length: u32::try_from(text.len()).unwrap_or(u32::MAX),
            crc: crc32fast::hash(text),
        }
    }

    /// Makes a block from its parts: the deflated bytes, and the length in bytes and the CRC-32 of
    /// its text. Nothing is checked until [`Block::entries`] is called.
    pub fn from_parts(deflated: Bytes, length: u32, crc: u32) -> Self {
        Self { deflated, length, crc }
    }

    /// Returns its part of a deflate stream.
    pub fn deflated(&self) -> &Bytes {
        &self.deflated
    }

    /// Returns the length of its text in bytes.
    pub fn length(&self) -> u32 {
        self.length
    }

    /// Returns the CRC-32 of its text.
    pub fn crc(&self) -> u32 {
        self.crc
    }

    /// Inflates and parses the entries, strictly.
    ///
    /// # Errors
    ///
    /// [`BlockError`], for anything that [`Block::new`] can't have made.
    pub fn entries(&self) -> Result<Vec<IndexEntry>, BlockError> {
        self.read(str::parse, ToString::to_string)
    }

    /// Inflates and parses stored entries, strictly.
    ///
    /// # Errors
    ///
    /// [`BlockError`], for anything that [`Block::of_stored`] can't have made.
    pub fn stored_entries(&self) -> Result<Vec<IndexEntry>, BlockError> {
        self.read(IndexEntry::from_stored, |entry| entry.stored().to_string())
    }

    fn read(
        &self,
        parse: fn(&str) -> Result<IndexEntry, EntryError>,
        print: fn(&IndexEntry) -> String,
    ) -> Result<Vec<IndexEntry>, BlockError> {
        let text = String::from_utf8(self.inflate()?).map_err(|_| BlockError::Utf8)?;
        let mut rest = &*text;
        let mut entries = Vec::new();
        for entry in parse_entries_by(parse, &text) {
            let entry = entry?;
            let printed = print(&entry);
            let position = entries.len() + 1;
            rest = rest.strip_prefix(&*printed).ok_or(BlockError::Form { position })?;
            entries.push(entry);
        }
        Ok(entries)
    }

    fn inflate(&self) -> Result<Vec<u8>, BlockError> {
        let expected = self.length as usize;
        if expected > MAX_LENGTH || !self.deflated.ends_with(&FLUSHED) {
            return Err(BlockError::Deflate);
        }
        let mut inflate = Decompress::new(false);
        let mut text = Vec::new();
        for (input, flush) in
            [(&*self.deflated, FlushDecompress::None), (&END, FlushDecompress::Finish)]
        {
            let mut consumed = 0;
            loop {
                // At most one byte more than expected, which shows that the text is too long.
                let room = (expected + 1 - text.len()).min(64 * 1024);
                text.reserve(room);
                let rest = input.get(consumed..).unwrap_or_default();
                let before = (inflate.total_in(), text.len());
                let status = inflate.decompress_vec(rest, &mut text, flush);
                let status = status.map_err(|_| BlockError::Deflate)?;
                consumed += usize::try_from(inflate.total_in() - before.0).unwrap_or(usize::MAX);
                if text.len() > expected {
                    return Err(BlockError::Text);
                }
                if status == Status::StreamEnd {
                    let is_end = input == END && consumed == END.len();
                    let is_right = text.len() == expected && crc32fast::hash(&text) == self.crc;
                    return match (is_end, is_right) {
                        (false, _) => Err(BlockError::Deflate),
                        (true, false) => Err(BlockError::Text),
                        (true, true) => Ok(text),
                    };
                }
                if (inflate.total_in(), text.len()) == before {
                    break;
                }
            }
        }
        Err(BlockError::Deflate)
    }
}

/// Splits the entries of an index, which are in order, into those of its blocks.
pub fn cut(entries: &[IndexEntry]) -> impl Iterator<Item = &[IndexEntry]> {
    entries.chunk_by(|entry, _| !ends_block(&entry.file_stem()))
}

/// Compresses `text` as a part of a deflate stream that ends with `flush`.
pub(crate) fn deflate(text: &[u8], flush: FlushCompress) -> Vec<u8> {
    let mut compress = Compress::new(Compression::best(), false);
    let mut deflated = Vec::with_capacity(text.len() / 3 + 64);
    loop {
        let consumed = usize::try_from(compress.total_in()).unwrap_or(usize::MAX);
        let rest = text.get(consumed..).unwrap_or_default();
        let _status = compress.compress_vec(rest, &mut deflated, flush);
        // All output has been written once there is room left.
        if deflated.len() < deflated.capacity() {
            return deflated;
        }
        deflated.reserve(deflated.len() / 2);
    }
}

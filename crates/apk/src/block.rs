//! Blocks: an index in compressed pieces, so that a change of one entry changes one piece.
//!
//! A block ends after an entry whose name and version say so. Where the blocks end therefore
//! depends only on what is listed, and the same entries give the same blocks. Each block is
//! compressed without the others and ends on a byte boundary, so blocks can be copied from one
//! deflate stream (RFC 1951) into another.

use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use sha2::{Digest as _, Sha256};

use crate::{
    entry::IndexEntry,
    index::{IndexError, parse_entries},
};

/// What a deflate stream ends with after a flush: an empty stored block, without its header.
const FLUSHED: [u8; 4] = [0, 0, 0xff, 0xff];

/// An empty stored block that ends a deflate stream.
const END: [u8; 5] = [1, 0, 0, 0xff, 0xff];

/// The maximum length of the text of a block. Only entries with chosen names can make so long a
/// block.
const MAX_LENGTH: usize = 128 * 1024 * 1024;

/// Returns whether a block ends after the entry of the package `<name>-<version>`: if the first
/// nine bits of its SHA-256 are zero, as for one of 512.
///
/// So a block has some 200 kB of text, and an index is 2 % larger than in one piece; with blocks
/// half as large, it is 3 % (measured). A checksum does not serve as a hash here, because the names
/// of a repository resemble each other: CRC-32 made blocks of thousands of entries (measured).
pub fn ends_block(name_version: &str) -> bool {
    matches!(Sha256::digest(name_version)[..], [0, 0..=127, ..])
}

/// Some entries of an index, as a part of a deflate stream that ends on a byte boundary.
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
    /// It can't be inflated, or not to the end of a deflate block.
    #[error("a block can't be inflated")]
    Deflate,
    /// Its text has another length or checksum than it should.
    #[error("the text of a block has another length or checksum than it should")]
    Text,
    /// Its text is not in UTF-8.
    #[error("the text of a block is not in UTF-8")]
    Utf8,
    /// An entry is invalid.
    #[error("a block has an invalid entry")]
    Entry(#[from] IndexError),
    /// An entry is not written as Alpinist writes it.
    #[error("entry {position} of a block is not in the form in which it is printed")]
    Form {
        /// Counts from 1.
        position: usize,
    },
}

impl Block {
    /// Compresses entries. `entries` should end where a block [ends](ends_block).
    pub fn new<'a>(entries: impl IntoIterator<Item = &'a IndexEntry>) -> Self {
        Self::of_text(entries.into_iter().map(ToString::to_string).collect::<String>().as_bytes())
    }

    /// Compresses any text.
    pub(crate) fn of_text(text: &[u8]) -> Self {
        Self {
            deflated: deflate(text, FlushCompress::Full).into(),
            length: u32::try_from(text.len()).unwrap_or(u32::MAX),
            crc: crc32fast::hash(text),
        }
    }

    /// Puts together what was taken apart. Nothing is checked until the text is read.
    pub fn from_parts(deflated: Bytes, length: u32, crc: u32) -> Self {
        Self { deflated, length, crc }
    }

    /// Its part of a deflate stream.
    pub fn deflated(&self) -> &Bytes {
        &self.deflated
    }

    /// The length of its text in bytes.
    pub fn length(&self) -> u32 {
        self.length
    }

    /// The CRC-32 of its text.
    pub fn crc(&self) -> u32 {
        self.crc
    }

    /// Inflates and parses the entries, strictly.
    ///
    /// # Errors
    ///
    /// [`BlockError`], for whatever [`Block::new`] can't have made.
    pub fn entries(&self) -> Result<Vec<IndexEntry>, BlockError> {
        let text = String::from_utf8(self.inflate()?).map_err(|_| BlockError::Utf8)?;
        let mut rest = &*text;
        let mut entries = Vec::new();
        for entry in parse_entries(&text) {
            let entry = entry?;
            let printed = entry.to_string();
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
                // Never more than it should have, and a byte to see whether it has more.
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

/// Cuts the entries of an index, in its order, where blocks end.
pub fn cut(entries: &[IndexEntry]) -> impl Iterator<Item = &[IndexEntry]> {
    entries.chunk_by(|entry, _| !ends_block(&entry.file_stem()))
}

/// Compresses `text` as a part of a deflate stream.
pub(crate) fn deflate(text: &[u8], flush: FlushCompress) -> Vec<u8> {
    let mut compress = Compress::new(Compression::best(), false);
    let mut deflated = Vec::with_capacity(text.len() / 3 + 64);
    loop {
        let consumed = usize::try_from(compress.total_in()).unwrap_or(usize::MAX);
        let rest = text.get(consumed..).unwrap_or_default();
        let _status = compress.compress_vec(rest, &mut deflated, flush);
        // It has written everything when it leaves room.
        if deflated.len() < deflated.capacity() {
            return deflated;
        }
        deflated.reserve(deflated.len() / 2);
    }
}

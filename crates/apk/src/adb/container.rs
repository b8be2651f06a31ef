//! An ADB file as a stream: its blocks, inflated.
//!
//! ```text
//! file    "ADB." rest                         rest as it is
//!         "ADBd" raw deflate of a stream
//!         "ADBc" algorithm:u8 level:u8 stream  algorithm 0: as it is, 1: raw deflate, 2: zstd
//! stream  "ADB." schema:4 block…
//! block   header payload zeros                 a multiple of 8 bytes
//! header  type in the upper 2 bits, length with these 4 bytes in the lower 30
//!         3<<30|type:u32 0:u32 length:u64      length with these 16 bytes
//! ```
//!
//! Numbers are little-endian. There is exactly one ADB block, which comes first; then SIG blocks;
//! then, in packages alone, DATA blocks (apk-v3(5); measured on apk-tools 3.0.8).
//!
//! Stricter than apk, which looks neither at the padding nor closely at the end of the file: bytes
//! that no hash and no signature covers are refused here.

use std::fmt;

use crate::{
    inflate::{InflateStream, Malformed},
    text::Excerpt,
};

/// The least length of the payload of an ADB block in bytes: apk refuses a shorter one (measured).
pub const MIN_PAYLOAD: u64 = 16;
/// The maximum number of signatures in a file.
pub const MAX_SIGNATURES: usize = 16;
/// The least length of the payload of a SIG block in bytes: all of it but the signature.
pub const MIN_SIGNATURE_LENGTH: u64 = 18;
/// The maximum length of the payload of a SIG block in bytes. An RSA key of 4,096 bits makes one
/// of 530.
pub const MAX_SIGNATURE_LENGTH: u64 = 2048;

/// The bytes of a DATA block before the content of the file.
const DATA_HEADER: u64 = 8;

/// What a file is made of. The payload of its ADB block is a tree of this schema.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Schema {
    /// `indx`: an index.
    Index,
    /// `pckg`: a package.
    Package,
}

impl Schema {
    /// Returns the four bytes of the schema, which a signature covers as well.
    pub fn bytes(self) -> [u8; 4] {
        match self {
            Self::Index => *b"indx",
            Self::Package => *b"pckg",
        }
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Index => "an index",
            Self::Package => "a package",
        })
    }
}

/// A schema that was not the expected one, for a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OtherSchema([u8; 4]);

impl OtherSchema {
    /// Returns whether it is this schema.
    pub fn is(&self, schema: Schema) -> bool {
        self.0 == schema.bytes()
    }
}

impl fmt::Display for OtherSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            b"indx" => fmt::Display::fmt(&Schema::Index, f),
            b"pckg" => fmt::Display::fmt(&Schema::Package, f),
            b"idb\0" => f.write_str("a database of installed packages"),
            other => write!(f, "of the unknown schema `{}`", Excerpt::of(other)),
        }
    }
}

/// Why a file is not an ADB file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ContainerError {
    /// It begins with other bytes.
    #[error("the file does not begin with `ADB.`, `ADBd` or `ADBc`")]
    NotAdb,
    /// It is compressed with zstd.
    #[error("the file is compressed with zstd, which clients of Alpine and OpenWrt can't read")]
    Zstd,
    /// It is compressed with an unknown algorithm.
    #[error(
        "the file is compressed with the algorithm number {algorithm}, which apk does not have"
    )]
    Algorithm {
        /// The number of the algorithm.
        algorithm: u8,
    },
    /// It is not valid deflate.
    #[error("the deflate stream of the file is damaged")]
    Damaged,
    /// What it inflates to does not begin with `ADB.`.
    #[error("the file inflates to something that does not begin with `ADB.`")]
    Stream,
    /// It is an ADB file of something else.
    #[error("the file is {found} of apk v3, not {wanted}")]
    Schema {
        /// What was expected.
        wanted: Schema,
        /// What it is.
        found: OtherSchema,
    },
    /// It ends too early.
    #[error("the file is cut off at byte {position} of what it inflates to")]
    Truncated {
        /// How many bytes it has, inflated.
        position: u64,
    },
    /// Something follows the deflate stream.
    #[error("the file goes on after the end of its deflate stream")]
    AfterEnd,
    /// The header of a block has an unknown form, or the block claims to be shorter than it.
    #[error("the block at byte {position} of the inflated file has a malformed header")]
    Header {
        /// Where the block begins.
        position: u64,
    },
    /// A block is of a type that apk does not have.
    #[error("the block at byte {position} of the inflated file is of the unknown type {kind}")]
    Type {
        /// Where the block begins.
        position: u64,
        /// Its type.
        kind: u32,
    },
    /// The first block is not an ADB block.
    #[error("the file does not begin with its metadata, but with another block")]
    NoPayload,
    /// There are several ADB blocks.
    #[error("the file has a second block of metadata at byte {position}, counted as inflated")]
    SecondPayload {
        /// Where the block begins.
        position: u64,
    },
    /// A SIG block follows a DATA block.
    #[error("the file has a signature after its data, at byte {position} as inflated, not before")]
    LateSignature {
        /// Where the block begins.
        position: u64,
    },
    /// A file that is not a package has a DATA block.
    #[error("the file has a block of data at byte {position} as inflated, as only packages may")]
    UnexpectedData {
        /// Where the block begins.
        position: u64,
    },
    /// The payload of the ADB block is too short or too long.
    #[error("the metadata of the file takes {length} bytes, not {MIN_PAYLOAD} to {max}")]
    PayloadLength {
        /// Its length.
        length: u64,
        /// The limit.
        max: u64,
    },
    /// There are more than [`MAX_SIGNATURES`] SIG blocks.
    #[error("the file has more than {MAX_SIGNATURES} signatures")]
    TooManySignatures,
    /// The payload of a SIG block is too short or too long.
    #[error(
        "a signature of the file takes {length} bytes, not {MIN_SIGNATURE_LENGTH} to \
         {MAX_SIGNATURE_LENGTH}"
    )]
    SignatureLength {
        /// Its length.
        length: u64,
    },
    /// A DATA block is too short to say for which file it is.
    #[error("the block of data at byte {position} of the inflated file does not name its file")]
    DataLength {
        /// Where the block begins.
        position: u64,
    },
    /// The bytes after a block, up to a multiple of 8, are not zeros.
    #[error("the padding of the block at byte {position} of the inflated file is not zero")]
    Padding {
        /// Where the block begins.
        position: u64,
    },
}

impl From<Malformed> for ContainerError {
    fn from(_: Malformed) -> Self {
        Self::Damaged
    }
}

/// What a [`ContainerReader`] finds, in this order: one payload, signatures, and then for each file
/// its `Data` and the pieces of its `Content`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Piece<'a> {
    /// The payload of the ADB block, whole. It may be large, and is the receiver's to keep.
    Payload(Vec<u8>),
    /// The payload of a SIG block, whole.
    Signature(&'a [u8]),
    /// The beginning of a DATA block.
    Data {
        /// Which directory of the package's paths, from 1.
        path: u32,
        /// Which file of that directory, from 1.
        file: u32,
        /// How many bytes of content follow.
        length: u64,
    },
    /// The next bytes of the content; never none.
    Content(&'a [u8]),
}

/// Reads an ADB file whose bytes arrive in chunks of any size.
///
/// Memory is bounded by the ADB payload, whose limit the caller sets. The content of files passes
/// through in pieces, and nothing limits its length here: the caller must stop at a piece that its
/// payload does not announce.
#[expect(missing_debug_implementations, reason = "the inflater has none")]
pub struct ContainerReader {
    form: Form,
    blocks: Blocks,
}

/// How the stream of blocks is stored in the file.
enum Form {
    /// The beginning of the file, which does not show it yet.
    Beginning(Vec<u8>),
    Plain,
    Deflate(InflateStream),
    /// A deflate stream that has ended.
    Inflated,
}

impl ContainerReader {
    /// Begins to read a file of schema `wanted`, whose ADB payload has at most `max_payload` bytes.
    pub fn new(wanted: Schema, max_payload: u64) -> Self {
        Self { form: Form::Beginning(Vec::new()), blocks: Blocks::new(wanted, max_payload) }
    }

    /// Takes the next bytes of the file, and passes what they complete to `sink`.
    ///
    /// # Errors
    ///
    /// [`ContainerError`], and whatever `sink` returns. The reader can't be used after an error.
    pub fn push<E: From<ContainerError>>(
        &mut self,
        mut bytes: &[u8],
        mut sink: impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Form::Beginning(beginning) = &mut self.form {
            let Some((first, rest)) = bytes.split_first() else { return Ok(()) };
            beginning.push(*first);
            bytes = rest;
            if beginning == STREAM {
                self.blocks.push(STREAM, &mut sink)?;
            }
            if let Some(form) = recognise(beginning)? {
                self.form = form;
            }
        }
        match &mut self.form {
            Form::Beginning(_) => Ok(()),
            Form::Plain => self.blocks.push(bytes, &mut sink),
            Form::Inflated if bytes.is_empty() => Ok(()),
            Form::Inflated => Err(ContainerError::AfterEnd.into()),
            Form::Deflate(stream) => {
                let blocks = &mut self.blocks;
                let fed = stream
                    .push(bytes, |out| blocks.push(out, &mut sink).map_err(Stop))
                    .map_err(|Stop(error)| error)?;
                if !fed.ended {
                    return Ok(());
                }
                self.form = Form::Inflated;
                let is_end = fed.consumed == bytes.len();
                if is_end { Ok(()) } else { Err(ContainerError::AfterEnd.into()) }
            }
        }
    }

    /// Ends the file.
    ///
    /// # Errors
    ///
    /// [`ContainerError::Truncated`], if it may not end here.
    pub fn finish(self) -> Result<(), ContainerError> {
        let may_end = match self.form {
            Form::Beginning(_) | Form::Deflate(_) => false,
            Form::Plain | Form::Inflated => self.blocks.may_end(),
        };
        let position = self.blocks.position;
        if may_end { Ok(()) } else { Err(ContainerError::Truncated { position }) }
    }
}

/// The first bytes of a stream of blocks.
const STREAM: &[u8] = b"ADB.";

/// Returns the form of a file that begins so, once that is known.
fn recognise(beginning: &[u8]) -> Result<Option<Form>, ContainerError> {
    match beginning {
        STREAM | [b'A', b'D', b'B', b'c', 0, _] => Ok(Some(Form::Plain)),
        b"ADBd" | [b'A', b'D', b'B', b'c', 1, _] => {
            Ok(Some(Form::Deflate(InflateStream::deflate())))
        }
        b"ADBc" | [b'A', b'D', b'B', b'c', 0 | 1] => Ok(None),
        [b'A', b'D', b'B', b'c', 2, ..] => Err(ContainerError::Zstd),
        [b'A', b'D', b'B', b'c', algorithm, ..] => {
            Err(ContainerError::Algorithm { algorithm: *algorithm })
        }
        beginning if b"ADB".starts_with(beginning) => Ok(None),
        _ => Err(ContainerError::NotAdb),
    }
}

/// What ends the inflating of a stream: an error of the stream itself, or of what takes the output.
struct Stop<E>(E);

impl<E: From<ContainerError>> From<Malformed> for Stop<E> {
    fn from(malformed: Malformed) -> Self {
        Self(ContainerError::from(malformed).into())
    }
}

/// Takes a stream of blocks apart.
struct Blocks {
    wanted: Schema,
    max_payload: u64,
    part: Part,
    /// How many bytes of the part are still to come.
    rest: u64,
    /// The bytes of the part so far, if it is one that is kept.
    kept: Vec<u8>,
    /// How many bytes of the stream have been read.
    position: u64,
    /// Where the current block begins.
    block: u64,
    seen: Seen,
    signatures: usize,
}

/// The part of the stream that is read next.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Part {
    /// `ADB.` and the schema.
    Beginning,
    Header,
    ExtendedHeader,
    Payload {
        padding: u64,
    },
    Signature {
        padding: u64,
    },
    DataHeader {
        length: u64,
        padding: u64,
    },
    Data {
        padding: u64,
    },
    Padding,
}

/// The kind of block that came last.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Seen {
    Nothing,
    Payload,
    Data,
}

const TYPE_ADB: u32 = 0;
const TYPE_SIG: u32 = 1;
const TYPE_DATA: u32 = 2;
/// The upper two bits of an extended header.
const EXTENDED: u32 = 3;
/// What of a header's first word is not the upper two bits.
const LOWER_BITS: u32 = 0x3fff_ffff;

/// How much is reserved at once for a part that is kept: its length is only a claim.
const RESERVED: usize = 64 * 1024;

impl Blocks {
    fn new(wanted: Schema, max_payload: u64) -> Self {
        Self {
            wanted,
            max_payload,
            part: Part::Beginning,
            rest: 8,
            kept: Vec::new(),
            position: 0,
            block: 0,
            seen: Seen::Nothing,
            signatures: 0,
        }
    }

    fn may_end(&self) -> bool {
        self.part == Part::Header && self.kept.is_empty() && self.seen != Seen::Nothing
    }

    fn push<E: From<ContainerError>>(
        &mut self,
        mut bytes: &[u8],
        sink: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            let length = usize::try_from(self.rest).unwrap_or(usize::MAX).min(bytes.len());
            let (piece, after) = bytes.split_at(length);
            bytes = after;
            self.rest -= length as u64;
            self.position += length as u64;
            match self.part {
                Part::Data { .. } => sink(Piece::Content(piece))?,
                Part::Padding if piece.iter().all(|byte| *byte == 0) => {}
                Part::Padding => {
                    return Err(ContainerError::Padding { position: self.block }.into());
                }
                _ => self.keep(piece),
            }
            // The next part may be empty: content, padding.
            while self.rest == 0 {
                self.end_part(sink)?;
            }
        }
        Ok(())
    }

    /// Keeps a piece, and never reserves more than twice what there is, nor more than the part.
    fn keep(&mut self, piece: &[u8]) {
        if self.kept.capacity() - self.kept.len() < piece.len() {
            let rest = usize::try_from(self.rest).unwrap_or(usize::MAX);
            let more = rest.min(self.kept.len().max(RESERVED));
            self.kept.reserve_exact(piece.len().saturating_add(more));
        }
        self.kept.extend_from_slice(piece);
    }

    fn end_part<E: From<ContainerError>>(
        &mut self,
        sink: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let kept = std::mem::take(&mut self.kept);
        let (part, rest) = match self.part {
            Part::Beginning => {
                self.check_beginning(&kept)?;
                (Part::Header, 4)
            }
            Part::Header => {
                let word = u32_at(&kept, 0);
                if word >> 30 == EXTENDED {
                    self.kept = kept;
                    (Part::ExtendedHeader, 12)
                } else {
                    self.begin_block(word >> 30, (word & LOWER_BITS).into(), 4)?
                }
            }
            Part::ExtendedHeader => {
                let length = u64::from(u32_at(&kept, 8)) | u64::from(u32_at(&kept, 12)) << 32;
                if u32_at(&kept, 4) != 0 {
                    return Err(ContainerError::Header { position: self.block }.into());
                }
                self.begin_block(u32_at(&kept, 0) & LOWER_BITS, length, 16)?
            }
            Part::Payload { padding } => {
                sink(Piece::Payload(kept))?;
                (Part::Padding, padding)
            }
            Part::Signature { padding } => {
                sink(Piece::Signature(&kept))?;
                (Part::Padding, padding)
            }
            Part::DataHeader { length, padding } => {
                let (path, file) = (u32_at(&kept, 0), u32_at(&kept, 4));
                sink(Piece::Data { path, file, length })?;
                (Part::Data { padding }, length)
            }
            Part::Data { padding } => (Part::Padding, padding),
            Part::Padding => {
                self.block = self.position;
                (Part::Header, 4)
            }
        };
        (self.part, self.rest) = (part, rest);
        Ok(())
    }

    fn check_beginning(&mut self, beginning: &[u8]) -> Result<(), ContainerError> {
        let Some(schema) = beginning.strip_prefix(STREAM) else {
            return Err(ContainerError::Stream);
        };
        self.block = self.position;
        if schema == self.wanted.bytes() {
            return Ok(());
        }
        let found = OtherSchema(schema.try_into().unwrap_or_default());
        Err(ContainerError::Schema { wanted: self.wanted, found })
    }

    /// Begins a block of this type, whose length includes its header. Returns the part after the
    /// header, and its length.
    fn begin_block(
        &mut self,
        kind: u32,
        length: u64,
        header: u64,
    ) -> Result<(Part, u64), ContainerError> {
        let position = self.block;
        let padding = length.wrapping_neg() % 8;
        let length = length.checked_sub(header).ok_or(ContainerError::Header { position })?;
        match (kind, self.seen) {
            (TYPE_ADB, Seen::Nothing) => {
                let max = self.max_payload;
                if !(MIN_PAYLOAD..=max).contains(&length) {
                    return Err(ContainerError::PayloadLength { length, max });
                }
                self.seen = Seen::Payload;
                Ok((Part::Payload { padding }, length))
            }
            (TYPE_ADB, _) => Err(ContainerError::SecondPayload { position }),
            (TYPE_SIG | TYPE_DATA, Seen::Nothing) => Err(ContainerError::NoPayload),
            (TYPE_SIG, Seen::Data) => Err(ContainerError::LateSignature { position }),
            (TYPE_SIG, Seen::Payload) => {
                self.signatures += 1;
                if self.signatures > MAX_SIGNATURES {
                    return Err(ContainerError::TooManySignatures);
                }
                if !(MIN_SIGNATURE_LENGTH..=MAX_SIGNATURE_LENGTH).contains(&length) {
                    return Err(ContainerError::SignatureLength { length });
                }
                Ok((Part::Signature { padding }, length))
            }
            (TYPE_DATA, _) if self.wanted != Schema::Package => {
                Err(ContainerError::UnexpectedData { position })
            }
            (TYPE_DATA, _) => {
                self.seen = Seen::Data;
                let length = length
                    .checked_sub(DATA_HEADER)
                    .ok_or(ContainerError::DataLength { position })?;
                Ok((Part::DataHeader { length, padding }, DATA_HEADER))
            }
            _ => Err(ContainerError::Type { position, kind }),
        }
    }
}

/// Returns the number at `offset`, where there are four bytes at least.
fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let number = bytes.get(offset..).and_then(|bytes| bytes.first_chunk());
    number.map_or(0, |number| u32::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::DeflateEncoder};
    use rstest::rstest;

    use super::*;

    fn block(kind: u32, payload: &[u8]) -> Vec<u8> {
        let header = kind << 30 | u32::try_from(4 + payload.len()).unwrap();
        padded([&header.to_le_bytes(), payload].concat())
    }

    fn extended(kind: u32, reserved: u32, length: u64, payload: &[u8]) -> Vec<u8> {
        let words = [(EXTENDED << 30 | kind).to_le_bytes(), reserved.to_le_bytes()].concat();
        padded([&words, &length.to_le_bytes()[..], payload].concat())
    }

    fn padded(mut block: Vec<u8>) -> Vec<u8> {
        block.resize(block.len().next_multiple_of(8), 0);
        block
    }

    fn file(schema: &[u8], blocks: &[Vec<u8>]) -> Vec<u8> {
        [STREAM, schema, &blocks.concat()].concat()
    }

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn deflated(bytes: &[u8]) -> Vec<u8> {
        [b"ADBd", &*deflate(bytes)].concat()
    }

    fn adb() -> Vec<u8> {
        block(TYPE_ADB, &[1; 17])
    }

    fn sig() -> Vec<u8> {
        block(TYPE_SIG, &[2; 18])
    }

    fn data() -> Vec<u8> {
        block(TYPE_DATA, b"\x01\0\0\0\x02\0\0\0hi")
    }

    fn package() -> Vec<u8> {
        file(b"pckg", &[adb(), sig(), data(), block(TYPE_DATA, &[0; 8])])
    }

    /// Reads a file with a payload of up to 20 bytes, and prints its pieces.
    fn read_as(schema: Schema, file: &[u8], chunk: usize) -> Result<Vec<String>, ContainerError> {
        let mut reader = ContainerReader::new(schema, 20);
        let (mut pieces, mut content) = (Vec::new(), Vec::new());
        for chunk in file.chunks(chunk) {
            reader.push(chunk, |piece| {
                match piece {
                    Piece::Content(bytes) => content.extend_from_slice(bytes),
                    piece => pieces.push(format!("{piece:?}")),
                }
                Ok::<_, ContainerError>(())
            })?;
        }
        reader.finish()?;
        pieces.push(format!("{content:?}"));
        Ok(pieces)
    }

    /// Reads a package in one chunk, which must give the same as single bytes.
    fn read(file: &[u8]) -> Result<Vec<String>, ContainerError> {
        let whole = read_as(Schema::Package, file, file.len().max(1));
        assert_eq!(whole, read_as(Schema::Package, file, 1), "byte by byte");
        whole
    }

    #[test]
    fn the_pieces_of_a_file_come_in_order_in_each_form() {
        let package = package();
        let pieces = read(&package).unwrap();
        let payload = format!("Payload({:?})", [1; 17]);
        let signature = format!("Signature({:?})", [2; 18]);
        let data = ["Data { path: 1, file: 2, length: 2 }", "Data { path: 0, file: 0, length: 0 }"];
        assert_eq!(pieces, [&*payload, &*signature, data[0], data[1], "[104, 105]"]);
        assert_eq!(read(&deflated(&package)).as_ref(), Ok(&pieces));
        assert_eq!(read(&[b"ADBc\x01\x09", &*deflate(&package)].concat()).as_ref(), Ok(&pieces));
        assert_eq!(read(&[b"ADBc\0\x01", &*package].concat()).as_ref(), Ok(&pieces));
    }

    #[test]
    fn a_block_of_any_length_may_have_the_extended_header() {
        let blocks = [
            extended(TYPE_ADB, 0, 33, &[1; 17]),
            extended(TYPE_SIG, 0, 34, &[2; 18]),
            extended(TYPE_DATA, 0, 26, b"\x01\0\0\0\x02\0\0\0hi"),
            block(TYPE_DATA, &[0; 8]),
        ];
        assert_eq!(read(&file(b"pckg", &blocks)), read(&package()));
    }

    #[test]
    fn an_index_has_signatures_but_no_data() {
        let read = |file: &[u8]| read_as(Schema::Index, file, file.len());
        assert!(read(&file(b"indx", &[adb(), sig(), sig()])).is_ok());
        let error = read(&file(b"indx", &[adb(), sig(), data()])).unwrap_err();
        assert_eq!(error, ContainerError::UnexpectedData { position: 56 });
        let error = read(&package()).unwrap_err();
        assert_eq!(error.to_string(), "the file is a package of apk v3, not an index");
    }

    #[rstest]
    #[case::text(b"pkgname".to_vec(), "does not begin with")]
    #[case::unknown_form(b"ADBz".to_vec(), "does not begin with")]
    #[case::zstd(b"ADBc\x02\x03".to_vec(), "zstd")]
    #[case::unknown_algorithm(b"ADBc\x03\x03".to_vec(), "algorithm number 3")]
    #[case::damaged(b"ADBd\x07".to_vec(), "damaged")]
    #[case::zlib([b"ADBd\x78\x9c", &*deflate(&package())].concat(), "damaged")]
    #[case::deflated_twice(deflated(&deflated(&package())), "inflates to something")]
    #[case::index(file(b"indx", &[adb()]), "is an index")]
    #[case::database(file(b"idb\0", &[adb()]), "a database of installed packages")]
    #[case::unknown_schema(file(b"abcd", &[adb()]), "unknown schema `abcd`")]
    #[case::no_block(file(b"pckg", &[]), "cut off at byte 8 ")]
    #[case::empty(Vec::new(), "cut off at byte 0 ")]
    #[case::payload_of_15_bytes(file(b"pckg", &[block(TYPE_ADB, &[1; 15])]), "takes 15 bytes")]
    #[case::payload_above_the_limit(file(b"pckg", &[block(TYPE_ADB, &[1; 21])]), "takes 21 bytes")]
    #[case::length_without_header(file(b"pckg", &[vec![3, 0, 0, 0, 0, 0, 0, 0]]), "malformed header")]
    #[case::extended_without_header(
        file(b"pckg", &[extended(TYPE_ADB, 0, 15, &[])]),
        "malformed header"
    )]
    #[case::reserved_bytes(file(b"pckg", &[extended(TYPE_ADB, 1, 33, &[1; 17])]), "malformed header")]
    #[case::greatest_length(
        file(b"pckg", &[extended(TYPE_ADB, 0, u64::MAX, &[1; 17])]),
        "takes 18446744073709551599 bytes"
    )]
    #[case::unknown_type(
        file(b"pckg", &[adb(), extended(3, 0, 33, &[1; 17])]),
        "byte 32 of the inflated file is of the unknown type 3"
    )]
    #[case::signature_first(file(b"pckg", &[sig(), adb()]), "does not begin with its metadata")]
    #[case::data_first(file(b"pckg", &[data(), adb()]), "does not begin with its metadata")]
    #[case::two_payloads(file(b"pckg", &[adb(), adb()]), "a second block of metadata at byte 32")]
    #[case::signature_after_data(file(b"pckg", &[adb(), data(), sig()]), "a signature after its data")]
    #[case::seventeen_signatures(
        file(b"pckg", &[adb(), sig().repeat(17)]),
        "more than 16 signatures"
    )]
    #[case::signature_of_17_bytes(file(b"pckg", &[adb(), block(TYPE_SIG, &[2; 17])]), "takes 17 bytes")]
    #[case::signature_of_2049_bytes(
        file(b"pckg", &[adb(), block(TYPE_SIG, &[2; 2049])]),
        "takes 2049 bytes"
    )]
    #[case::data_without_its_file(
        file(b"pckg", &[adb(), block(TYPE_DATA, &[0; 7])]),
        "does not name its file"
    )]
    #[case::other_padding(
        { let mut file = file(b"pckg", &[adb(), sig()]); file[31] = 1; file },
        "the padding of the block at byte 8 "
    )]
    #[case::zeros_behind([package(), vec![0; 8]].concat(), "malformed header")]
    #[case::byte_behind([package(), vec![0]].concat(), "cut off")]
    #[case::byte_behind_the_deflate_stream([deflated(&package()), vec![0]].concat(), "goes on")]
    #[case::deflate_stream_behind_another(deflated(&package()).repeat(2), "goes on")]
    #[case::zeros_in_the_deflate_stream(
        deflated(&[package(), vec![0; 8]].concat()),
        "malformed header"
    )]
    fn a_file_that_no_tool_writes_is_refused(#[case] file: Vec<u8>, #[case] message: &str) {
        let error = read(&file).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn sixteen_signatures_of_the_greatest_length_are_read() {
        let signature = block(TYPE_SIG, &[2; 2048]);
        assert!(read(&file(b"pckg", &[adb(), signature.repeat(16)])).is_ok());
    }

    #[test]
    fn a_file_that_is_cut_off_within_a_block_is_refused() {
        let package = package();
        // It may end after any block: whether all blocks are there is for the caller to say.
        let ends = [32, 56, 72, 88];
        for length in 0..=package.len() {
            assert_eq!(read(&package[..length]).is_ok(), ends.contains(&length), "{length}");
        }
        let deflated = deflated(&package);
        for length in 0..deflated.len() {
            assert!(read(&deflated[..length]).is_err(), "deflated and cut to {length}");
        }
    }

    #[test]
    fn no_more_is_reserved_than_there_is() {
        let mut blocks = Blocks::new(Schema::Package, u64::MAX);
        blocks.rest = 1 << 40;
        blocks.keep(&[0; 100]);
        assert!(blocks.kept.capacity() <= 2 * RESERVED, "{}", blocks.kept.capacity());
    }
}

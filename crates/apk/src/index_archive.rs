//! `APKINDEX.tar.gz`: an index as it is published.
//!
//! Two gzip streams. The second, the *unsigned index*, is a tar of `DESCRIPTION` and `APKINDEX`.
//! The first has signatures of the second's bytes, and no end of archive.
//!
//! An index that Alpinist writes is made of [blocks](crate::block), which an extra field of the
//! gzip header (RFC 1952, 2.3.1) lists. A reader that knows the index to be signed by a trusted key
//! can copy blocks from it without inflating them. Other readers inflate it like any gzip stream.

use std::{collections::HashSet, io};

use bytes::Bytes;
use crc32fast::Hasher;
use flate2::FlushCompress;

use crate::{
    block::{self, Block},
    gzip,
    index::{Index, IndexError},
    inflate::{InflateStream, Malformed},
    key::VerifyingKey,
    key_name::KeyName,
    signature::{Signature, SignatureName},
    tar::{self, Bodies, Entry, Scanner, TarError},
};

/// The maximum size in bytes that an index may inflate to: ten times that of Alpine's largest.
pub const MAX_LENGTH: u64 = 128 * 1024 * 1024;

/// Why bytes are not an index that a client accepts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// A gzip stream is damaged or cut off.
    #[error("a gzip stream of the index is damaged or cut off")]
    Gzip,
    /// There are not exactly one signatures stream and one index stream.
    #[error("the index has {found} gzip streams instead of two")]
    Streams {
        /// How many there are.
        found: usize,
    },
    /// The first stream has something other than signatures, or an end of archive, after which apk
    /// would read nothing more.
    #[error(
        "the first gzip stream of the index is not one of signatures without an end of archive"
    )]
    Signatures,
    /// It inflates to more than [`MAX_LENGTH`].
    #[error("the index inflates to more than {MAX_LENGTH} bytes")]
    Length,
    /// A stream is not a tar that apk reads.
    #[error("the index is not a valid tar")]
    Tar(#[from] TarError),
    /// There is no `APKINDEX`, more than one, or another unexpected entry, or a text is not UTF-8.
    #[error("the index has no readable `APKINDEX`")]
    Content,
    /// An entry is invalid.
    #[error("the index has an invalid entry")]
    Index(#[from] IndexError),
    /// Writing failed. The target is memory, so this does not happen.
    #[error("the index could not be written")]
    Write(#[from] io::Error),
    /// The signed index does not verify, or does not have the expected blocks: a bug.
    #[error("the signed index is not what was to be signed")]
    NotAsWritten,
}

impl From<Malformed> for ArchiveError {
    fn from(_: Malformed) -> Self {
        Self::Gzip
    }
}

/// Writes an unsigned index. The same index and description give the same bytes.
///
/// `apk policy` shows up to 160 bytes of `description`.
///
/// # Errors
///
/// [`ArchiveError::Length`]; [`ArchiveError::Write`], which does not happen.
pub fn write_unsigned(description: &str, index: &Index) -> Result<Vec<u8>, ArchiveError> {
    let blocks: Vec<_> = block::cut(index.entries()).map(Block::new).collect();
    write_blocks(description, &blocks)
}

/// Writes an unsigned index of blocks, which must be in order.
///
/// # Errors
///
/// [`ArchiveError::Length`]; [`ArchiveError::Write`], which does not happen.
pub fn write_blocks(description: &str, blocks: &[Block]) -> Result<Vec<u8>, ArchiveError> {
    let length = blocks.iter().map(|block| u64::from(block.length())).sum::<u64>();
    if length > MAX_LENGTH {
        return Err(ArchiveError::Length);
    }
    let (head, tail) = frame(description, length)?;
    let deflated_head = block::deflate(&head, FlushCompress::Full);
    let deflated_tail = block::deflate(&tail, FlushCompress::Finish);
    let deflated = blocks.iter().map(|block| block.deflated().len()).sum::<usize>();
    let table = table(deflated_head.len(), blocks);
    let mut unsigned =
        Vec::with_capacity(64 + table.len() + deflated_head.len() + deflated + deflated_tail.len());
    // The header: deflate, an extra field if there is a table, no time, best compression, unknown
    // system.
    let has_table = u8::from(!table.is_empty());
    unsigned.extend([0x1f, 0x8b, 8, has_table * EXTRA, 0, 0, 0, 0, 2, 255]);
    unsigned.extend(table);
    unsigned.extend(deflated_head);
    let mut sum = Hasher::new();
    sum.update(&head);
    for block in blocks {
        unsigned.extend_from_slice(block.deflated());
        sum.combine(&Hasher::new_with_initial_len(block.crc(), block.length().into()));
    }
    unsigned.extend(deflated_tail);
    sum.update(&tail);
    unsigned.extend(sum.finalize().to_le_bytes());
    let inflated = head.len() as u64 + length + tail.len() as u64;
    unsigned.extend(u32::try_from(inflated).unwrap_or(u32::MAX).to_le_bytes());
    Ok(unsigned)
}

/// The flag of a gzip header with an extra field.
const EXTRA: u8 = 4;
/// The ID of our subfield in the extra field.
const SUBFIELD: [u8; 2] = *b"ab";
/// The size of a row of the table in bytes: the deflated and the inflated length of a block, and
/// its CRC-32.
const ROW: usize = 12;

/// Returns what precedes and what follows the entries in the tar of an index.
fn frame(description: &str, length: u64) -> Result<(Vec<u8>, Vec<u8>), ArchiveError> {
    let length = usize::try_from(length).map_err(|_| ArchiveError::Length)?;
    let mut tar = tar::Writer::new();
    tar.file("DESCRIPTION", description.len(), description.as_bytes())?;
    Ok((tar.begin("APKINDEX", length)?, tar::ending(length)))
}

/// Returns the extra field of a gzip header that lists the blocks, or nothing if there are too
/// many: it has at most 65,535 bytes, which is enough for over a million packages.
fn table(head: usize, blocks: &[Block]) -> Vec<u8> {
    let length = 4 + ROW * blocks.len();
    let (Ok(field), Ok(subfield)) = (u16::try_from(length + 4), u16::try_from(length)) else {
        return Vec::new();
    };
    let mut table = Vec::with_capacity(length + 6);
    table.extend(field.to_le_bytes());
    table.extend(SUBFIELD);
    table.extend(subfield.to_le_bytes());
    table.extend(u32::try_from(head).unwrap_or(u32::MAX).to_le_bytes());
    for block in blocks {
        let deflated = u32::try_from(block.deflated().len()).unwrap_or(u32::MAX);
        table.extend([deflated, block.length(), block.crc()].map(u32::to_le_bytes).as_flattened());
    }
    table
}

/// Returns the blocks of an unsigned index, or `None` if it is not exactly what [`write_blocks`]
/// makes of them and `description`. The blocks are not inflated.
pub fn read_blocks(description: &str, unsigned: &Bytes) -> Option<Vec<Block>> {
    let mut rest = unsigned.get(10..)?;
    let mut number = |length: usize| -> Option<u32> {
        let (bytes, after) = rest.split_at_checked(length)?;
        rest = after;
        let mut number = [0; 4];
        number.get_mut(..length)?.copy_from_slice(bytes);
        Some(u32::from_le_bytes(number))
    };
    let field = number(2)? as usize;
    let _name = number(2)?;
    let subfield = number(2)? as usize;
    let rows = subfield.checked_sub(4)?.checked_div(ROW)?;
    let mut begin = (12 + field).checked_add(number(4)? as usize)?;
    let mut blocks = Vec::with_capacity(rows);
    for _ in 0..rows {
        let [deflated, length, crc] = [number(4)?, number(4)?, number(4)?];
        let end = begin.checked_add(deflated as usize).filter(|end| *end <= unsigned.len())?;
        blocks.push(Block::from_parts(unsigned.slice(begin..end), length, crc));
        begin = end;
    }
    // Everything else follows from the blocks.
    (write_blocks(description, &blocks).ok()? == *unsigned).then_some(blocks)
}

/// Puts signatures before an unsigned index, and checks the result as a client does: all `keys`
/// must have signed it. It must also be made of `blocks` or, if these are too many for a table, at
/// least inflate.
///
/// # Errors
///
/// [`ArchiveError::NotAsWritten`], if a check fails; any other, if the result can't be read.
pub fn seal<'k>(
    description: &str,
    blocks: &[Block],
    unsigned: &[u8],
    signatures: &[(SignatureName, Signature)],
    keys: impl IntoIterator<Item = (&'k KeyName, &'k VerifyingKey)>,
) -> Result<Vec<u8>, ArchiveError> {
    let signed = Bytes::from(write_signed(signatures, unsigned)?);
    let (found, rest) = split(&signed)?;
    let rest = signed.slice_ref(rest);
    let is_signed = keys.into_iter().all(|(name, key)| is_signed_by(&found, &rest, name, key));
    let is_framed = if table(0, blocks).is_empty() {
        read_stream(&rest)?.1.is_empty()
    } else {
        read_blocks(description, &rest).is_some_and(|found| found == blocks)
    };
    drop(rest);
    if is_signed && is_framed { Ok(signed.into()) } else { Err(ArchiveError::NotAsWritten) }
}

/// Puts signatures before the unsigned index that they sign, and returns the `APKINDEX.tar.gz`. A
/// client tries only the first whose key it trusts (measured).
///
/// # Errors
///
/// [`ArchiveError::Write`], which does not happen.
pub fn write_signed(
    signatures: &[(SignatureName, Signature)],
    unsigned: &[u8],
) -> Result<Vec<u8>, ArchiveError> {
    let names: Vec<_> = signatures.iter().map(|(name, _)| name.to_string()).collect();
    let bytes = signatures.iter().map(|(_, signature)| &*signature.0);
    let files: Vec<_> = names.iter().map(|name| &**name).zip(bytes).collect();
    let mut archive = gzip::compress(&tar::write_segment(&files)?)?;
    archive.extend_from_slice(unsigned);
    Ok(archive)
}

/// Signatures with their names, in the order in which a client searches them.
pub type Signatures = Vec<(SignatureName, Signature)>;

/// A published index, parsed.
#[derive(Debug)]
pub struct IndexArchive<'a> {
    /// The signatures.
    pub signatures: Signatures,
    /// The unsigned index, which the signatures sign.
    pub unsigned: &'a [u8],
    /// The content of `DESCRIPTION`, empty if absent.
    pub description: String,
    /// The entries.
    pub index: Index,
}

impl<'a> IndexArchive<'a> {
    /// Reads `APKINDEX.tar.gz` as strictly as the strictest client.
    ///
    /// # Errors
    ///
    /// [`ArchiveError`], for anything that a client would reject. Signatures are not verified.
    pub fn read(bytes: &'a [u8]) -> Result<Self, ArchiveError> {
        let Content { signatures, unsigned, description, text } = Content::read(bytes)?;
        Ok(Self { signatures, unsigned, description, index: text.parse()? })
    }

    /// Returns whether a client that has only `key`, under `name`, accepts the index: it tries only
    /// the first signature of that name (measured).
    pub fn is_signed_by(&self, name: &KeyName, key: &VerifyingKey) -> bool {
        is_signed_by(&self.signatures, self.unsigned, name, key)
    }
}

/// Returns whether a client that has only `key`, under `name`, accepts `unsigned` with these
/// signatures: it tries only the first signature of that name (measured).
pub fn is_signed_by(
    signatures: &[(SignatureName, Signature)],
    unsigned: &[u8],
    name: &KeyName,
    key: &VerifyingKey,
) -> bool {
    signatures
        .iter()
        .find(|(signature, _)| signature.key_name == *name)
        .is_some_and(|(name, bytes)| key.verifies(name.algorithm, unsigned, bytes))
}

/// Returns the signatures of an archive, and what follows them: the bytes that they sign.
///
/// # Errors
///
/// [`ArchiveError`], unless the first stream has only signatures and something follows it.
pub fn split(bytes: &[u8]) -> Result<(Signatures, &[u8]), ArchiveError> {
    let (signatures, unsigned) = read_stream(bytes)?;
    if unsigned.is_empty() {
        return Err(ArchiveError::Streams { found: 1 });
    }
    let only_signatures =
        !signatures.entries.is_empty() && signatures.entries.iter().all(Entry::is_signature);
    if signatures.zero_blocks > 1 || !only_signatures {
        return Err(ArchiveError::Signatures);
    }
    let signatures = signatures.entries.into_iter().filter_map(|entry| {
        Some((SignatureName::parse(&entry.header.path)?, Signature(entry.body)))
    });
    Ok((signatures.collect(), unsigned))
}

/// The content of an archive, with its entries as text.
struct Content<'a> {
    signatures: Signatures,
    unsigned: &'a [u8],
    description: String,
    text: String,
}

impl<'a> Content<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, ArchiveError> {
        let (signatures, unsigned) = split(bytes)?;
        let (content, rest) = read_stream(unsigned)?;
        if !rest.is_empty() {
            return Err(ArchiveError::Streams { found: 3 });
        }
        let mut description = String::new();
        let mut text = None;
        for entry in content.entries {
            match entry.header.path.as_slice() {
                _ if !entry.is_file() => return Err(ArchiveError::Content),
                b"DESCRIPTION" => description = utf8(entry.body)?,
                b"APKINDEX" if text.is_none() => text = Some(utf8(entry.body)?),
                _ => return Err(ArchiveError::Content),
            }
        }
        let text = text.ok_or(ArchiveError::Content)?;
        Ok(Self { signatures, unsigned, description, text })
    }
}

fn utf8(body: Vec<u8>) -> Result<String, ArchiveError> {
    String::from_utf8(body).map_err(|_| ArchiveError::Content)
}

/// Returns what an index lists, as `<name>-<version>`, whoever made it and whether or not it is
/// signed: an entry needs only a name and a version. Clients that trust any index
/// (`--allow-untrusted`) accept it.
///
/// # Errors
///
/// [`ArchiveError`], if neither of the first two streams has a readable `APKINDEX`.
pub fn listed_stems(bytes: &[u8]) -> Result<HashSet<String>, ArchiveError> {
    let (mut rest, mut found) = (bytes, 0);
    while !rest.is_empty() && found < 2 {
        let (stream, next) = read_stream(rest)?;
        let mut entries = stream.entries.into_iter();
        if let Some(index) = entries.find(|entry| entry.header.path == b"APKINDEX") {
            let text = String::from_utf8_lossy(&index.body);
            return Ok(text.split("\n\n").filter_map(stem).collect());
        }
        (rest, found) = (next, found + 1);
    }
    Err(ArchiveError::Content)
}

/// Returns `<name>-<version>` of an entry, whatever else it has.
fn stem(entry: &str) -> Option<String> {
    let value = |letter: &str| entry.lines().find_map(|line| line.strip_prefix(letter));
    Some(format!("{}-{}", value("P:")?, value("V:")?))
}

/// Reads the tar in the gzip stream at the beginning of `bytes`, and returns what it has and the
/// bytes that follow the stream.
fn read_stream(bytes: &[u8]) -> Result<(tar::Scan, &[u8]), ArchiveError> {
    let mut scanner = Scanner::new(Bodies::Keep, 64);
    let mut length = 0;
    let fed = InflateStream::gzip().push(bytes, |out| {
        length += out.len() as u64;
        if length > MAX_LENGTH { Err(ArchiveError::Length) } else { Ok(scanner.push(out)?) }
    })?;
    if !fed.ended {
        return Err(ArchiveError::Gzip);
    }
    Ok((scanner.finish()?, bytes.get(fed.consumed..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_lists_is_found_signed_or_not_and_whatever_else_it_says() {
        let text = "C:Q1x\nP:hello\nV:1.0-r0\nnothing of ours\n\nP:nameless\n\nV:2\nP:odd\n\n";
        let index = tar::write_segment(&[("APKINDEX", text.as_bytes())]).unwrap();
        let unsigned = gzip::compress(&index).unwrap();
        let signature = tar::write_segment(&[(".SIGN.RSA.a.rsa.pub", b"x")]).unwrap();
        let signed = [gzip::compress(&signature).unwrap(), unsigned.clone()].concat();
        let expected = ["hello-1.0-r0", "odd-2"].map(str::to_owned).into();
        assert_eq!(listed_stems(&unsigned).unwrap(), expected);
        assert_eq!(listed_stems(&signed).unwrap(), expected);
        assert!(listed_stems(&signed[..signed.len() - 9]).is_err());
        assert!(listed_stems(b"<!DOCTYPE html>").is_err());
    }
}

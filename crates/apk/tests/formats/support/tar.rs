//! Tar and gzip by hand, so that each byte of them can be wrong.

use std::io::{Read as _, Write as _};

use flate2::{Compression, bufread::GzDecoder, write::GzEncoder};
use sha1::{Digest as _, Sha1};
use tar::{EntryType, Header};

pub(crate) const BLOCK: usize = 512;

/// Returns the two zero blocks that end an archive.
pub(crate) fn end_of_archive() -> Vec<u8> {
    vec![0; 2 * BLOCK]
}

pub(crate) fn file(path: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    entry(EntryType::Regular, path, body)
}

pub(crate) fn entry(kind: EntryType, path: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    with_header(header, path, body)
}

/// Returns an entry with the name in the header's first field, where nothing checks it.
pub(crate) fn with_header(mut header: Header, path: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_mode(0o644);
    header.set_size(body.len() as u64);
    header.set_cksum();
    padded([header.as_bytes(), body].concat())
}

/// Returns a header of 512 bytes with `bytes` written over it at `offset`, and its checksum fixed.
pub(crate) fn patched(mut entry: Vec<u8>, offset: usize, bytes: &[u8]) -> Vec<u8> {
    entry[offset..offset + bytes.len()].copy_from_slice(bytes);
    let mut header = Header::from_byte_slice(&entry[..BLOCK]).clone();
    header.set_cksum();
    entry[..BLOCK].copy_from_slice(header.as_bytes());
    entry
}

/// Returns a tar in which each header has the checksum of its bytes.
pub(crate) fn fixed(mut tar: Vec<u8>) -> Vec<u8> {
    for block in tar.chunks_exact_mut(BLOCK) {
        if block[257..].starts_with(b"ustar") {
            let mut header = Header::from_byte_slice(block).clone();
            header.set_cksum();
            block.copy_from_slice(header.as_bytes());
        }
    }
    tar
}

/// Returns a pax header that gives the next entry a `key`.
pub(crate) fn pax(key: &str, value: &str) -> Vec<u8> {
    entry(EntryType::XHeader, "PaxHeader", record(key, value))
}

/// Returns a record of a pax header.
pub(crate) fn record(key: &str, value: &str) -> String {
    let record = |length: usize| format!("{length} {key}={value}\n");
    let mut length = 0;
    while record(length).len() != length {
        length = record(length).len();
    }
    record(length)
}

/// Returns the record that a client wants of each file: the checksum of its content.
pub(crate) fn checksum(body: impl AsRef<[u8]>) -> String {
    let digest = Sha1::digest(body);
    let digits = digest.iter().fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"));
    record("APK-TOOLS.checksum.SHA1", &digits)
}

/// Returns the entries of the directories above a path.
pub(crate) fn directories(path: &str) -> Vec<u8> {
    let ends = path.match_indices('/').map(|(end, _)| end);
    ends.flat_map(|end| entry(EntryType::Directory, &path[..=end], "")).collect()
}

/// Returns a file as a package has it: after its directories and with its checksum.
pub(crate) fn installed(path: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let pax = entry(EntryType::XHeader, "PaxHeader", checksum(body));
    [directories(path), pax, file(path, body)].concat()
}

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

pub(crate) fn gzip(content: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content.as_ref()).unwrap();
    encoder.finish().unwrap()
}

/// Splits a file into its gzip streams, each with what it inflates to.
pub(crate) fn streams(mut bytes: &[u8]) -> Vec<(&[u8], Vec<u8>)> {
    let mut streams = Vec::new();
    while !bytes.is_empty() {
        let mut decoder = GzDecoder::new(bytes);
        let mut content = Vec::new();
        decoder.read_to_end(&mut content).unwrap();
        let (stream, rest) = bytes.split_at(bytes.len() - decoder.into_inner().len());
        streams.push((stream, content));
        bytes = rest;
    }
    streams
}

/// Returns the entries of a tar that has no extensions, and how many bytes they take.
pub(crate) fn entries(tar: &[u8]) -> (Vec<(Header, &[u8])>, usize) {
    let (mut entries, mut offset) = (Vec::new(), 0);
    while tar.get(offset).is_some_and(|first| *first != 0) {
        let header = Header::from_byte_slice(&tar[offset..offset + BLOCK]).clone();
        let size = usize::try_from(header.size().unwrap()).unwrap();
        entries.push((header, &tar[offset + BLOCK..offset + BLOCK + size]));
        offset += BLOCK + size.next_multiple_of(BLOCK);
    }
    (entries, offset)
}

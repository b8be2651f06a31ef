//! Tar written by hand, so that each byte of it can be wrong.

use sha1::{Digest as _, Sha1};
use tar::{EntryType, Header};

/// The size of a header in bytes. Bodies are padded to multiples of it.
pub const BLOCK: usize = 512;

/// Returns the two zero blocks that end an archive.
pub fn end_of_archive() -> Vec<u8> {
    vec![0; 2 * BLOCK]
}

/// Returns the entry of a regular file.
pub fn file(path: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Vec<u8> {
    entry(EntryType::Regular, path, body)
}

/// Returns an entry without a prefix.
pub fn entry(kind: EntryType, path: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    with_header(header, path, body)
}

/// Returns an [`entry`] with this type flag (tar(5)), whose path is cut to the 100 bytes that fit
/// into its field.
pub fn entry_of(flag: u8, path: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Vec<u8> {
    let path = path.as_ref();
    entry(EntryType::new(flag), path.get(..100).unwrap_or(path), body)
}

/// Returns an entry with the path in the header's name field, unchecked.
pub fn with_header(mut header: Header, path: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Vec<u8> {
    let (path, body) = (path.as_ref(), body.as_ref());
    header.as_old_mut().name[..path.len()].copy_from_slice(path);
    header.set_mode(0o644);
    header.set_size(body.len() as u64);
    header.set_cksum();
    padded([header.as_bytes(), body].concat())
}

/// Returns an entry whose header has `bytes` written over it at `offset`, and a correct checksum.
pub fn patched(mut entry: Vec<u8>, offset: usize, bytes: &[u8]) -> Vec<u8> {
    entry[offset..offset + bytes.len()].copy_from_slice(bytes);
    let mut header = Header::from_byte_slice(&entry[..BLOCK]).clone();
    header.set_cksum();
    entry[..BLOCK].copy_from_slice(header.as_bytes());
    entry
}

/// Returns a tar in which the checksum of each header is corrected.
pub fn fixed(mut tar: Vec<u8>) -> Vec<u8> {
    for block in tar.chunks_exact_mut(BLOCK) {
        if block[257..].starts_with(b"ustar") {
            let mut header = Header::from_byte_slice(block).clone();
            header.set_cksum();
            block.copy_from_slice(header.as_bytes());
        }
    }
    tar
}

/// Returns a pax header that sets `key` of the next entry.
pub fn pax(key: &str, value: &str) -> Vec<u8> {
    entry(EntryType::XHeader, "PaxHeader", record(key, value))
}

/// Returns a record of a pax header.
pub fn record(key: &str, value: &str) -> String {
    let record = |length: usize| format!("{length} {key}={value}\n");
    let mut length = 0;
    while record(length).len() != length {
        length = record(length).len();
    }
    record(length)
}

/// Returns the record that a client requires for each file: the checksum of its content.
pub fn checksum(body: impl AsRef<[u8]>) -> String {
    record("APK-TOOLS.checksum.SHA1", &hex::encode(Sha1::digest(body)))
}

/// Returns the entries of the directories above a path.
pub fn directories(path: &str) -> Vec<u8> {
    let ends = path.match_indices('/').map(|(end, _)| end);
    ends.flat_map(|end| entry(EntryType::Directory, &path[..=end], "")).collect()
}

/// Returns a file as a package has it: after its directories and with its checksum.
pub fn installed(path: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let pax = entry(EntryType::XHeader, "PaxHeader", checksum(body));
    [directories(path), pax, file(path, body)].concat()
}

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

/// Returns the entries of a tar that has no extensions, and how many bytes they take.
pub fn entries(tar: &[u8]) -> (Vec<(Header, &[u8])>, usize) {
    let (mut entries, mut offset) = (Vec::new(), 0);
    while tar.get(offset).is_some_and(|first| *first != 0) {
        let header = Header::from_byte_slice(&tar[offset..offset + BLOCK]).clone();
        let size = usize::try_from(header.size().unwrap()).unwrap();
        entries.push((header, &tar[offset + BLOCK..offset + BLOCK + size]));
        offset += BLOCK + size.next_multiple_of(BLOCK);
    }
    (entries, offset)
}

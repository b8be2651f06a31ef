//! What must hold for everything that is accepted.

use alpinist_apk::{
    adb::index::{AdbIndex, AdbIndexError},
    checksum::Identity,
    entry::IndexEntry,
    index::Index,
    metadata::Metadata,
    package::{Package, PackageError, PackageReader},
};

/// Reads a package in chunks whose sizes follow from `sizes`, and at once. Both must give the same.
pub fn package(bytes: &[u8], sizes: [u8; 4]) -> Option<Package> {
    let piecemeal = read(chunks(bytes, sizes));
    let at_once = read([bytes].into_iter());
    assert_eq!(piecemeal.as_ref().ok(), at_once.as_ref().ok());
    at_once.ok()
}

fn read<'a>(mut chunks: impl Iterator<Item = &'a [u8]>) -> Result<Package, PackageError> {
    let mut reader = PackageReader::new();
    chunks.try_for_each(|chunk| reader.push(chunk))?;
    reader.finish()
}

/// Cuts `bytes` into 64 chunks of 1 to 8,129 bytes, and the rest: more chunks would take most of
/// the time.
pub fn chunks(bytes: &[u8], sizes: [u8; 4]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    let sizes = sizes.map(|size| 1 + usize::from(size) * usize::from(size) / 8);
    sizes.into_iter().cycle().take(64).chain([usize::MAX]).map_while(move |size| {
        let (chunk, after) = rest.split_at(size.min(rest.len()));
        rest = after;
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// Makes the entry of a package, if it can have one. Parsing must be the inverse of printing.
pub fn entry_of(package: Package) -> Option<IndexEntry> {
    let Package { metadata, identity, size, has_content, .. } = package;
    entry_with(metadata, identity, size, has_content)
}

/// Makes an entry from a `.PKGINFO`, if it can have one. Parsing must be the inverse of printing.
pub fn entry_with(
    metadata: Metadata,
    identity: Identity,
    size: u64,
    has_content: bool,
) -> Option<IndexEntry> {
    let architecture = "x86_64".parse().ok()?;
    let entry = IndexEntry::new(metadata, architecture, identity, size, has_content).ok()?;
    inverse(&entry);
    Some(entry)
}

/// Checks that printing and parsing an entry are inverse, alone, among others, and as JSON; and
/// that it fits into a client's buffers and into the 256 KiB of a message between steps.
pub fn inverse(entry: &IndexEntry) {
    let text = entry.stored().to_string();
    assert!(text.len() <= 96 * 1024, "an entry of {} bytes", text.len());
    assert_eq!(IndexEntry::from_stored(&text).as_ref(), Ok(entry));
    assert!(text.ends_with("\n\n") && text.matches("\n\n").count() == 1, "{text:?}");
    let both = Index::new([entry.clone(), entry.clone()]).to_string();
    match both.parse::<Index>() {
        Ok(index) => assert_eq!(index.to_string(), both),
        Err(error) => assert!(matches!(entry.identity, Identity::Payload(_)), "{error}"),
    }
    let json = serde_json::to_string(entry).expect("an entry is a JSON text");
    assert!(json.len() <= 200 * 1024, "a message of {} bytes", json.len());
    assert_eq!(serde_json::from_str::<IndexEntry>(&json).expect("and is read from it"), *entry);
}

/// Checks that an index of format v3 of these entries, as far as that can have them, is read as it
/// was written.
pub fn index_of_v3(description: &str, entries: &[IndexEntry]) {
    let (index, _) = AdbIndex::new(description, entries);
    match index.payload() {
        Ok(payload) => {
            index.seal(&payload, &[], std::iter::empty()).expect("ours is read");
        }
        Err(error) => assert!(matches!(error, AdbIndexError::NoDescription), "{error}"),
    }
}

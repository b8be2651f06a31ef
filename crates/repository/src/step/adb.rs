//! What is published for format v3.

use alpinist_apk::{adb::index::AdbIndex, adb::index_json, entry::IndexEntry, text::escaped};
use tracing::warn;

use crate::location::RepositoryPrefix;

/// Returns the index of these packages. Those that format v3 can't have are left out.
pub(super) fn entries<'a>(
    prefix: &'a RepositoryPrefix,
    entries: impl IntoIterator<Item = &'a IndexEntry>,
) -> AdbIndex<'a> {
    let (index, left_out) = AdbIndex::new(prefix.repository(), entries);
    for package in left_out {
        let key = prefix.package_key(&package.entry.file_stem());
        warn!(key = escaped(&key), reason = %package.reason, "package is not in the index of v3");
    }
    index
}

/// Returns the `index.json` of these packages.
pub(super) fn index_json(prefix: &RepositoryPrefix, packages: &AdbIndex<'_>) -> Vec<u8> {
    index_json::write(prefix.architecture(), packages.entries().iter().copied()).into_bytes()
}

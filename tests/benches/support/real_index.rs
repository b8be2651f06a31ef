//! Any number of entries from a real index.

use std::{fs, path::Path};

use alpinist_apk::{checksum::PullChecksum, entry::IndexEntry, index_archive::IndexArchive};

/// Returns `count` entries: those of Alpine 3.16's main repository, and then the same under other
/// names. Each has its own checksum, which compresses as badly as a real one.
///
/// The index is not part of the project, but next to it in `../shared/fixtures`.
pub(crate) fn entries(count: usize) -> Vec<IndexEntry> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures");
    let path = fixtures.join("indexes/alpine-3.16-APKINDEX.tar.gz");
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let archive = IndexArchive::read(&bytes).expect("Alpine's own index is an index");
    let mut random = fastrand::Rng::with_seed(7);
    let rounds = (0..).flat_map(|round| archive.index.entries().iter().map(move |e| (round, e)));
    rounds.take(count).map(|(round, entry)| renamed(entry, round, &mut random)).collect()
}

fn renamed(entry: &IndexEntry, round: usize, random: &mut fastrand::Rng) -> IndexEntry {
    let mut entry = entry.clone();
    if round > 0 {
        // Before the name, so that copies are not next to each other, where they would compress to
        // nothing.
        let name = format!("x{round}-{}", entry.metadata.name);
        entry.metadata.name = name.parse().expect("a longer name is a name");
    }
    let mut sha1 = [0; 20];
    random.fill(&mut sha1);
    entry.identity = PullChecksum::new(sha1).into();
    entry
}

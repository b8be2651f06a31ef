//! Our index of format v3 of v2 packages, against what `apk convndx` and `apk mkndx` make of them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use alpinist_apk::{
    adb::index::AdbIndex,
    dependency::Dependencies,
    entry::IndexEntry,
    index::Index,
    index_archive::{self, IndexArchive},
    package::PackageReader,
};
use alpinist_tests::{Apk, Tools, workspace};

/// What `apk adbdump` prints of our index of entries, all of which format v3 can have.
fn dump_of_ours(apk: &Apk, entries: &[IndexEntry]) -> String {
    let (index, left_out) = AdbIndex::new("D", entries);
    assert!(left_out.is_empty(), "{left_out:?}");
    let sealed = index.seal(&index.payload().unwrap(), &[], []).unwrap();
    dump(apk, &sealed)
}

/// What it prints of an index, without the description: an index of format v2 has none.
fn dump(apk: &Apk, index: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, index).unwrap();
    let dump = apk.dump(file.path()).unwrap();
    dump.strip_prefix("description: D\n").map_or(dump.clone(), str::to_owned)
}

/// What `apk adbdump` prints of the index that `apk convndx` makes of one of format v2.
fn dump_of_converted(apk: &Apk, entries: &[IndexEntry]) -> String {
    let index = Index::new(entries.iter().cloned());
    let archive = index_archive::write_unsigned("ignored", &index).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, archive).unwrap();
    dump(apk, &apk.convert_index(file.path()).unwrap())
}

/// Keeps the entries of which apk loses nothing: where a version is outside the grammar of format
/// v3, it writes an empty version, or drops the whole list; and it drops a list with a name of
/// other characters.
fn convertible(mut entries: Vec<IndexEntry>) -> Vec<IndexEntry> {
    let is_kept = |entry: &IndexEntry| {
        let metadata = &entry.metadata;
        let lists =
            [&metadata.depends, &metadata.provides, &metadata.replaces, &metadata.install_if];
        let is_kept = |list: &Dependencies| {
            list.iter().all(|listed| {
                let mut name = listed.name().bytes();
                let has_kept_name =
                    name.all(|byte| byte.is_ascii_alphanumeric() || b"._+,:/[]-".contains(&byte));
                has_kept_name && listed.version_outside_grammar().is_none()
            })
        };
        lists.into_iter().all(is_kept) && AdbIndex::new("D", [entry]).1.is_empty()
    };
    entries.retain(is_kept);
    entries
}

/// Returns the lines before the first two that differ, and these, if there are any.
fn first_difference(ours: &str, theirs: &str) -> Option<String> {
    let mut seen = Vec::new();
    let mut lines = (ours.lines(), theirs.lines());
    loop {
        match (lines.0.next(), lines.1.next()) {
            (None, None) => return None,
            (ours, theirs) if ours == theirs => seen.extend(ours),
            (ours, theirs) => {
                let before = seen.split_off(seen.len().saturating_sub(20)).join("\n");
                return Some(format!("{before}\nours: {ours:?}\ntheirs: {theirs:?}"));
            }
        }
    }
}

#[test]
fn the_index_of_alpine_is_what_apk_converts_except_for_what_it_loses() {
    let Some(fixtures) = workspace::fixtures() else { return };
    let apk = Tools::install().unwrap().apk();
    let bytes = fs::read(fixtures.join("indexes/alpine-3.16-APKINDEX.tar.gz")).unwrap();
    let all = IndexArchive::read(&bytes).unwrap().index.entries().to_vec();
    let entries = convertible(all.clone());
    assert_eq!((all.len(), entries.len()), (4929, 4922));
    let ours = dump_of_ours(&apk, &entries);
    let theirs = dump_of_converted(&apk, &entries);
    assert_eq!(first_difference(&ours, &theirs), None);
}

#[test]
fn the_index_of_real_packages_is_what_apk_makes() {
    let Some(fixtures) = workspace::fixtures() else { return };
    let apk = Tools::install().unwrap().apk();
    let v3 = fixtures.join("../v3/real/mossdef");
    for folder in [fixtures.join("packages"), v3] {
        let packages = packages_in(&folder);
        let index = tempfile::NamedTempFile::new().unwrap();
        let mut make = apk.make_index_command(index.path(), &packages);
        assert!(make.status().unwrap().success());
        let entries: Vec<_> = packages.iter().map(|package| entry_of(package)).collect();
        assert_eq!(dump_of_ours(&apk, &entries), dump(&apk, &fs::read(&index).unwrap()));
    }
}

fn packages_in(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|end| end == "apk")).collect()
}

/// Returns the entry of a package under its own architecture, as `apk mkndx` lists it.
fn entry_of(file: &Path) -> IndexEntry {
    let mut reader = PackageReader::new();
    reader.push(&fs::read(file).unwrap()).unwrap();
    let package = reader.finish().unwrap();
    let architecture = package.metadata.architecture.clone();
    IndexEntry::new(
        package.metadata,
        architecture,
        package.identity,
        package.size,
        package.has_content,
    )
    .unwrap()
}

//! The real apk installs what we accept, and we reject what it can't install.

use std::{cell::Cell, fs};

use alpinist_samples::{
    gzip::gzip_at,
    package::data_hash,
    tar::{checksum, end_of_archive, entry, entry_of, file, patched},
};
use alpinist_tests::{Apk, ApkClient, Tools};
use proptest::{collection::vec, prelude::*, sample::select};
use tar::EntryType;

use crate::{packages::ours, runner};

/// What an entry of the data section is.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Directory,
    File,
    FileWithoutChecksum,
    FileOfV7,
    Symlink,
    HardLink,
    Pipe,
}

#[derive(Clone, Debug)]
struct Entry {
    kind: Kind,
    path: &'static str,
    target: &'static str,
}

/// Paths that collide with each other: as directories, as files and as targets.
const PATHS: [&str; 9] =
    ["usr", "usr/a", "usr/b", "usr/c", "usr/c/a", "opt", "opt/a", "top", ".hidden"];
const TARGETS: [&str; 7] = ["usr/a", "usr/b", "opt/a", "top", "./usr/a", "nothing", ""];

fn odd() -> impl Strategy<Value = Entry> {
    use Kind::{Directory, File, FileOfV7, FileWithoutChecksum, HardLink, Pipe, Symlink};
    let kind = prop_oneof![
        9 => select(vec![Directory, File, Symlink, HardLink]),
        1 => select(vec![FileWithoutChecksum, FileOfV7, Pipe]),
    ];
    (kind, select(PATHS.to_vec()), select(TARGETS.to_vec()))
        .prop_map(|(kind, path, target)| Entry { kind, path, target })
}

/// Mostly the directories first, then a few entries of any kind.
fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let directory = |path| Entry { kind: Kind::Directory, path, target: "" };
    let directories = prop_oneof![
        6 => Just(vec!["usr", "usr/c", "opt"]),
        1 => Just(vec!["usr"]),
        1 => Just(vec![]),
    ];
    (directories, vec(odd(), 0..5)).prop_map(move |(directories, odd)| {
        directories.into_iter().map(directory).chain(odd).collect()
    })
}

/// Lines of `.PKGINFO` with which a package may conflict with itself.
fn lines() -> impl Strategy<Value = String> {
    let several = [
        "",
        "provides = v=1\ndepend = v\n",
        "provides = v=1\ndepend = v=2\n",
        "provides = v=1.5\ndepend = v~1\n",
        "provides = v\ndepend = v\n",
        "provides = v\ndepend = v>1\n",
        "provides = v v\n",
        "provides = v=1\nprovides = v=2\n",
        "provides = v v=1\n",
        "provides = a\n",
        "provides = a=1\n",
        "depend = a\n",
        "depend = a=1-r0\n",
        "depend = a>9\n",
        "depend = !v\n",
        "provides = so:liba.so=0unstable\n",
    ];
    let lines = select(several.map(str::to_owned).to_vec());
    let replaces = select(vec![300_usize, 650]);
    prop_oneof![
        8 => Just(String::new()),
        8 => lines,
        1 => replaces.prop_map(|count| format!("replaces = {}\n", "seven_7 ".repeat(count))),
    ]
}

impl Entry {
    fn tar(&self) -> Vec<u8> {
        let path = self.path;
        let body = "content";
        let with_checksum = |content: &str, entry| {
            [self::entry(EntryType::XHeader, "checksum", checksum(content)), entry].concat()
        };
        let link = |kind| patched(entry(kind, path, ""), 157, self.target.as_bytes());
        match self.kind {
            Kind::Directory => entry(EntryType::Directory, format!("{path}/"), ""),
            Kind::File => with_checksum(body, file(path, body)),
            Kind::FileWithoutChecksum => file(path, body),
            Kind::FileOfV7 => with_checksum(body, entry_of(0, path, body)),
            Kind::Symlink => with_checksum(self.target, link(EntryType::Symlink)),
            Kind::HardLink => link(EntryType::Link),
            Kind::Pipe => entry(EntryType::Fifo, path, ""),
        }
    }
}

fn package(lines: &str, entries: &[Entry]) -> Vec<u8> {
    let mut data: Vec<u8> = entries.iter().flat_map(Entry::tar).collect();
    data.extend(end_of_archive());
    let data = gzip_at(data, 1);
    let hash = data_hash(&data);
    let info =
        format!("pkgname = a\npkgver = 1-r0\narch = x86_64\nsize = 1\n{lines}datahash = {hash}\n");
    [gzip_at(file(".PKGINFO", info), 1), data].concat()
}

/// Installs a package into an empty root, and returns what the real apk prints if it fails or omits
/// something.
fn install(apk: &Apk, package: &[u8], entries: &[Entry]) -> Result<(), String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a-1-r0.apk");
    fs::write(&file, package).unwrap();
    let client =
        ApkClient::new(apk.clone(), &directory.path().to_string_lossy(), "x86_64").unwrap();
    let arguments = ["add", "--no-scripts", "--allow-untrusted"].map(AsRef::as_ref);
    let added = client.run(arguments.into_iter().chain([file.as_os_str()])).unwrap();
    if !added.status.success() || added.text.contains("ERROR") {
        return Err(added.text);
    }
    let is_there = |entry: &&Entry| fs::symlink_metadata(client.root().join(entry.path)).is_ok();
    // apk skips what begins with a dot, on purpose.
    let visible = || entries.iter().filter(|entry| !entry.path.starts_with('.'));
    match visible().find(|entry| !is_there(entry)) {
        Some(missing) => Err(format!("{missing:?} is not there: {}", added.text)),
        None => Ok(()),
    }
}

#[test]
fn what_is_accepted_can_be_installed_and_what_cannot_is_rejected() {
    let apk = Tools::install().unwrap().apk();
    let (accepted, rejected) = (Cell::new(0), Cell::new(0));
    let outcome = runner(600).run(&(lines(), entries()), |(lines, entries)| {
        let package = package(&lines, &entries);
        let ours = ours(&package);
        let installed = install(&apk, &package, &entries);
        // A client records the list only if there are files.
        if entries.is_empty() && lines.starts_with("replaces") {
            return Ok(());
        }
        prop_assert_eq!(ours.is_ok(), installed.is_ok(), "{:?}, {:?}", ours, installed);
        let count = if ours.is_ok() { &accepted } else { &rejected };
        count.set(count.get() + 1);
        Ok(())
    });
    outcome.unwrap();
    assert!(
        accepted.get() > 100 && rejected.get() > 100,
        "{accepted:?} accepted, {rejected:?} rejected"
    );
}

//! What we accept, the real apk installs; and what it can't install, we reject.

use std::{cell::Cell, fs};

use alpinist_apk::checksum::DataHash;
use alpinist_tests::{Apk, ApkClient, Tools};
use proptest::{collection::vec, prelude::*, sample::select};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::{
    packages::ours,
    parts::{entry, fixed, gzip},
    runner,
};

const BLOCK: usize = 512;

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

/// Paths that meet each other: as directories, as files and as targets.
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

/// Lines of `.PKGINFO` by which a package may conflict with itself.
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
        let path = self.path.as_bytes();
        let body: &[u8] = b"content";
        let checksum = |content: &[u8]| {
            let digest = Sha1::digest(content);
            let digits =
                digest.iter().fold(String::new(), |all, byte| all + &format!("{byte:02x}"));
            entry(b"checksum", b'x', format!("68 APK-TOOLS.checksum.SHA1={digits}\n").as_bytes())
        };
        let link = |kind| {
            let mut tar = entry(path, kind, b"");
            tar[157..157 + self.target.len()].copy_from_slice(self.target.as_bytes());
            fixed(tar)
        };
        match self.kind {
            Kind::Directory => entry(&[path, b"/"].concat(), b'5', b""),
            Kind::File => [checksum(body), entry(path, b'0', body)].concat(),
            Kind::FileWithoutChecksum => entry(path, b'0', body),
            Kind::FileOfV7 => [checksum(body), entry(path, 0, body)].concat(),
            Kind::Symlink => [checksum(self.target.as_bytes()), link(b'2')].concat(),
            Kind::HardLink => link(b'1'),
            Kind::Pipe => entry(path, b'6', b""),
        }
    }
}

fn package(lines: &str, entries: &[Entry]) -> Vec<u8> {
    let mut data: Vec<u8> = entries.iter().flat_map(Entry::tar).collect();
    data.resize(data.len() + 2 * BLOCK, 0);
    let data = gzip(&data, 1);
    let hash = DataHash::new(Sha256::digest(&data).into());
    let info =
        format!("pkgname = a\npkgver = 1-r0\narch = x86_64\nsize = 1\n{lines}datahash = {hash}\n");
    [gzip(&entry(b".PKGINFO", b'0', info.as_bytes()), 1), data].concat()
}

/// Installs a package into an empty root, and returns what the real apk says if it fails or leaves something away.
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
    // apk passes over what begins with a dot, on purpose.
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
        // Only with files, a client writes the list down.
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

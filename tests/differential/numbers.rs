//! The numbers in the headers of a tar: which of them the real apk reads, and which it rejects.

use std::fs;

use alpinist_samples::{
    gzip::gzip_at,
    package::data_hash,
    tar::{end_of_archive, entry_of, file, fixed},
};
use alpinist_tests::{Apk, ApkClient, Tools};

use crate::packages::ours;

/// The fields that hold numbers, each with its offset and length (tar(5)).
const FIELDS: [(&str, usize, usize); 7] = [
    ("mode", 100, 8),
    ("uid", 108, 8),
    ("gid", 116, 8),
    ("size", 124, 12),
    ("mtime", 136, 12),
    ("devmajor", 329, 8),
    ("devminor", 337, 8),
];

/// Ways to write a zero, or something close to it. `_` stands for as many zeros as fill the field.
const ENCODINGS: [(&str, &[u8], &[u8]); 20] = [
    ("ended by a NUL", b"", b"\0"),
    ("ended by a blank", b"", b" "),
    ("ended by a blank and a NUL", b"", b" \0"),
    ("ended by a NUL and a blank", b"", b"\0 "),
    ("not ended", b"", b""),
    ("short", b"", b"\0\0\0\0"),
    ("short, with blanks", b"", b"    "),
    ("after blanks", b"   ", b"\0"),
    ("after a NUL", b"\0", b"\0"),
    ("with a plus", b"+", b"\0"),
    ("with a minus", b"-", b"\0"),
    ("in base 256", b"\x80", b"\0"),
    ("negative in base 256", b"\xff", b"\0"),
    ("hexadecimal", b"0x", b"\0"),
    ("with an eight", b"", b"8\0"),
    ("with a letter", b"", b"a\0"),
    ("with a dot", b"", b".0\0"),
    ("with a blank within", b"0 ", b"\0"),
    ("with a NUL within", b"0\0", b"\0"),
    ("ended by a newline", b"", b"\n"),
];

/// Where the number is.
#[derive(Clone, Copy, Debug)]
enum Section {
    Signatures,
    Control,
    /// The first entry of the data, which `apk index` also reads.
    Data,
    /// A later one, which only `apk verify` reads.
    DataLater,
}

fn patched(mut tar: Vec<u8>, place: usize, bytes: &[u8]) -> Vec<u8> {
    tar[place..place + bytes.len()].copy_from_slice(bytes);
    fixed(tar)
}

/// Returns a package in which `patch` changes the header of one entry of `section`.
fn package(section: Section, kind: u8, patch: impl Fn(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    let odd = |path: &[u8]| patch(entry_of(kind, path, b""));
    let mut data = entry_of(b'5', b"usr/", b"");
    match section {
        Section::Data => data = [odd(b"usr/"), data].concat(),
        Section::DataLater => data.extend(odd(b"usr/")),
        Section::Signatures | Section::Control => {}
    }
    data.extend(end_of_archive());
    let data = gzip_at(data, 1);
    let hash = data_hash(&data);
    let info = format!("pkgname = a\npkgver = 1\narch = x86_64\nsize = 1\ndatahash = {hash}\n");
    let mut control = file(".PKGINFO", info);
    if matches!(section, Section::Control) {
        control = [odd(b".script"), control].concat();
    }
    let mut signatures = Vec::new();
    if matches!(section, Section::Signatures) {
        let signature = file(".SIGN.RSA.a.rsa.pub", [7; 256]);
        signatures = gzip_at([odd(b".SIGN.RSA.b.rsa.pub"), signature].concat(), 1);
    }
    [signatures, gzip_at(control, 1), data].concat()
}

/// Asks the real apk about packages.
struct Judge {
    apk: Apk,
    client: ApkClient,
    directory: tempfile::TempDir,
}

impl Judge {
    fn new() -> Self {
        let apk = Tools::install().unwrap().apk();
        let directory = tempfile::tempdir().unwrap();
        let url = directory.path().to_string_lossy();
        let client = ApkClient::new(apk.clone(), &url, "x86_64").unwrap();
        Self { apk, client, directory }
    }

    /// Returns whether `apk verify` accepts it, and whether `apk index` does.
    fn takes(&self, package: &[u8]) -> (bool, bool) {
        let file = self.directory.path().join("a.apk");
        fs::write(&file, package).unwrap();
        let arguments = ["verify".as_ref(), "--allow-untrusted".as_ref(), file.as_os_str()];
        let verified = self.client.run(arguments).unwrap();
        (verified.status.success(), self.apk.index("x86_64", &[file]).is_ok())
    }
}

#[test]
fn numbers_are_read_as_apk_reads_them_in_each_field_of_each_section() {
    let judge = Judge::new();
    let sections = [Section::Signatures, Section::Control, Section::Data, Section::DataLater];
    let (mut taken, mut rejected) = (0, 0);
    for section in sections {
        // A file or a directory, and the header of an extension, whose numbers apk also reads.
        let own = if matches!(section, Section::Data | Section::DataLater) { b'5' } else { b'0' };
        for (kind, (field, place, length)) in
            [own, b'g'].into_iter().flat_map(|kind| FIELDS.map(|field| (kind, field)))
        {
            for (encoding, before, after) in ENCODINGS {
                let zeros = vec![b'0'; length - before.len() - after.len()];
                let bytes = [before, &zeros, after].concat();
                let package = package(section, kind, |tar| patched(tar, place, &bytes));
                let (verified, indexed) = judge.takes(&package);
                let ours = ours(&package);
                let case = format!("{field} {encoding} in {section:?} ({})", char::from(kind));
                assert_eq!(ours.is_ok(), verified && indexed, "{case}: {ours:?}");
                *if ours.is_ok() { &mut taken } else { &mut rejected } += 1;
            }
        }
    }
    assert!(taken > 300 && rejected > 300, "{taken} taken, {rejected} rejected");
}

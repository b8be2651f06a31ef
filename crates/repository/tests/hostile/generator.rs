//! Makes the files of the corpus. Each is a correct package, except for one thing.

mod adb;

use alpinist_apk::{index::Index, index_archive};
use alpinist_samples::{
    gzip::gzip,
    package::{Parts, Sections},
    tar::{end_of_archive, entry, file, patched, pax},
};
use tar::EntryType;

/// A name, and what makes the file from a package with that name.
type Case = (&'static str, fn(Parts) -> Vec<u8>);

/// The beginnings of the names of files that are rejected long before their end.
pub(crate) const IN_THE_FIRST_PIECE: [&str; 7] = [
    "bomb-in-a-script-",
    "bomb-in-the-signatures-",
    "info-of-100-mb-",
    "signatures-by-the-thousand-",
    "v3-bomb-behind-the-data-",
    "v3-bomb-in-the-data-",
    "v3-bomb-in-the-metadata-beyond-its-limit-",
];

/// The file that takes the most memory.
pub(crate) const OF_THE_GREATEST_METADATA: &str = "v3-bomb-in-the-metadata";

/// Returns all files, by the names under which they would be uploaded.
pub(crate) fn files() -> Vec<(String, Vec<u8>)> {
    [OTHER_FILES, SECTIONS, CUTS, DAMAGE, BOMBS, TARS, ENTRIES, PATHS, CONTENTS, INFOS, TEXTS]
        .into_iter()
        .flatten()
        .map(|(name, make)| {
            let parts = Parts::new().replace("pkgname = hello", &format!("pkgname = {name}"));
            (format!("{name}-1.2.3-r0.apk"), make(parts))
        })
        .chain(adb::files())
        .collect()
}

const OTHER_FILES: &[Case] = &[
    ("empty-object", |_| Vec::new()),
    ("text", |parts| parts.control_tar()),
    ("html", |_| b"<!DOCTYPE html><title>404</title>".to_vec()),
    ("index", |_| index_archive::write_unsigned("v3.22", &Index::default()).unwrap()),
    ("gzip-of-nothing", |_| gzip("")),
    ("gzip-of-text", |_| gzip("pkgname = hello\n")),
];

const SECTIONS: &[Case] = &[
    ("garbage-before-it", |parts| [b"x".to_vec(), parts.build()].concat()),
    ("garbage-after-it", |parts| [parts.build(), b"x".to_vec()].concat()),
    ("padding-after-it", |parts| [parts.build(), vec![0; 512]].concat()),
    ("gzip-of-nothing-after-it", |parts| [parts.build(), gzip("")].concat()),
    ("package-after-it", |parts| parts.build().repeat(2)),
    ("no-control", |parts| parts.sections().map_control(|_| Vec::new()).build()),
    ("control-twice", |parts| parts.sections().map_control(|control| control.repeat(2)).build()),
    ("end-of-archive-in-control", |parts| parts.after_info(end_of_archive()).build()),
    ("data-of-another", |parts| {
        parts.sections().map_data(|_| gzip([file(".evil", ""), end_of_archive()].concat())).build()
    }),
    ("data-after-the-end", |parts| {
        parts.data([end_of_archive(), file("usr/hello", "")].concat()).build()
    }),
];

/// One cut for each boundary of the structure, and one within each section.
const CUTS: &[Case] = &[
    ("cut-in-the-magic", |parts| cut(&parts, |_| 1)),
    ("cut-after-the-header-of-gzip", |parts| cut(&parts, |_| 10)),
    ("cut-in-signatures", |parts| cut(&parts, |sections| sections.signatures.len() / 2)),
    ("cut-after-signatures", |parts| cut(&parts, |sections| sections.signatures.len())),
    ("cut-in-control", |parts| {
        cut(&parts, |sections| sections.signatures.len() + sections.control.len() / 2)
    }),
    ("cut-before-the-crc-of-control", |parts| {
        cut(&parts, |sections| sections.signatures.len() + sections.control.len() - 8)
    }),
    ("cut-after-control", |parts| {
        cut(&parts, |sections| sections.signatures.len() + sections.control.len())
    }),
    ("cut-in-data", |parts| {
        let length = parts.sections().data.len();
        cut_from_end(&parts, length / 2)
    }),
    ("cut-before-the-crc-of-data", |parts| cut_from_end(&parts, 8)),
    ("cut-before-the-length-of-data", |parts| cut_from_end(&parts, 4)),
    ("cut-before-the-last-byte", |parts| cut_from_end(&parts, 1)),
];

fn cut(parts: &Parts, at: fn(&Sections) -> usize) -> Vec<u8> {
    parts.build()[..at(&parts.sections())].to_vec()
}

fn cut_from_end(parts: &Parts, length: usize) -> Vec<u8> {
    let package = parts.build();
    package[..package.len() - length].to_vec()
}

const DAMAGE: &[Case] = &[
    ("wrong-crc-of-signatures", |parts| parts.sections().map_signatures(|s| flip(s, 8)).build()),
    ("wrong-crc-of-control", |parts| parts.sections().map_control(|s| flip(s, 8)).build()),
    ("wrong-crc-of-data", |parts| parts.sections().map_data(|s| flip(s, 8)).build()),
    ("wrong-length-of-signatures", |parts| parts.sections().map_signatures(|s| flip(s, 4)).build()),
    ("wrong-length-of-control", |parts| parts.sections().map_control(|s| flip(s, 4)).build()),
    ("wrong-length-of-data", |parts| parts.sections().map_data(|s| flip(s, 4)).build()),
];

/// Flips a bit of the byte at this distance from the end.
fn flip(mut stream: Vec<u8>, from_end: usize) -> Vec<u8> {
    let position = stream.len() - from_end;
    stream[position] ^= 1;
    stream
}

const MIB: usize = 1024 * 1024;

const BOMBS: &[Case] = &[
    ("bomb-in-the-signatures", |parts| {
        parts.signatures(vec![gzip(file(".SIGN.RSA.a.rsa.pub", vec![0; 128 * MIB]))]).build()
    }),
    ("bomb-in-a-script", |parts| {
        parts.after_info(file(".post-install", vec![0; 128 * MIB])).build()
    }),
    ("info-of-100-mb", |parts| parts.line(&"#\n".repeat(50_000_000)).build()),
    ("bomb-in-the-data", |parts| {
        let body = file(".hello", vec![0; 128 * MIB]);
        parts.data_stream(gzip(patched(body, 124, b"77777777777\0"))).build()
    }),
    ("signatures-by-the-thousand", |parts| {
        let signatures = parts.sections().signatures;
        parts.signatures(vec![signatures; 1000]).build()
    }),
    ("signatures-of-64-mib", |parts| {
        let signature = |number| file(format!(".SIGN.RSA.{number}.rsa.pub"), vec![0; 64 * 1024]);
        let section: Vec<u8> = (0..64).flat_map(signature).collect();
        parts.signatures(vec![gzip(section); 16]).data_hash(&"0".repeat(64)).build()
    }),
    ("empty-members-by-the-thousand", |parts| [gzip("").repeat(1000), parts.build()].concat()),
];

const TARS: &[Case] = &[
    ("entries-of-control-100000", |parts| parts.after_info(file(".a", "").repeat(100_000)).build()),
    ("size-beyond-control", |parts| with_size(parts, b"77777777777\0")),
    ("size-in-base-256", |parts| with_size(parts, b"\x80\0\0\0\0\0\0\0\0\0\x02\0")),
    ("size-with-a-sign", |parts| with_size(parts, b"-0000000001\0")),
    ("size-not-octal", |parts| with_size(parts, b"00000000008\0")),
    ("size-beyond-data", |parts| {
        parts.data(patched(file(".hello", "x"), 124, b"77777777777\0")).build()
    }),
    ("wrong-checksum-of-a-header", |parts| {
        let mut script = file(".post-install", "");
        script[0] = b'_';
        parts.after_info(script).build()
    }),
    ("header-of-v7", |parts| {
        parts.after_info(patched(file(".post-install", ""), 257, &[0; 8])).build()
    }),
    ("pax-header-of-65-kib", |parts| {
        parts.after_info([pax("path", &"x".repeat(66_000)), file(".a", "")].concat()).build()
    }),
    ("pax-headers-in-a-row", |parts| {
        parts.after_info([pax("path", ".b"), pax("mtime", "1"), file(".a", "")].concat()).build()
    }),
    ("gnu-long-name-of-65-kib", |parts| {
        let name = entry(EntryType::GNULongName, "././@LongLink", vec![b'.'; 66_000]);
        parts.after_info([name, file(".a", "")].concat()).build()
    }),
];

fn with_size(parts: Parts, size: &[u8; 12]) -> Vec<u8> {
    parts.after_info(patched(file(".post-install", ""), 124, size)).build()
}

const ENTRIES: &[Case] = &[
    ("no-info", |parts| parts.info_entry(|_| file(".post-install", "")).build()),
    ("two-infos", |parts| parts.after_info(file(".PKGINFO", "pkgname = other\n")).build()),
    ("two-infos-by-pax", |parts| {
        parts
            .after_info([pax("path", ".PKGINFO"), file(".a", "pkgname = other\n")].concat())
            .build()
    }),
    ("info-as-symlink", |parts| parts.info_entry(|_| link(EntryType::Symlink)).build()),
    ("info-as-hard-link", |parts| parts.info_entry(|_| link(EntryType::Link)).build()),
    ("info-as-character-device", |parts| parts.info_entry(|_| link(EntryType::Char)).build()),
    ("info-as-block-device", |parts| parts.info_entry(|_| link(EntryType::Block)).build()),
    ("info-as-fifo", |parts| parts.info_entry(|_| link(EntryType::Fifo)).build()),
    ("info-as-directory", |parts| parts.info_entry(|_| link(EntryType::Directory)).build()),
    ("device-in-control", |parts| parts.after_info(entry(EntryType::Char, "dev/null", "")).build()),
    ("file-in-control", |parts| parts.after_info(file("usr/hello", "")).build()),
    ("climbing-path-in-control", |parts| parts.after_info(file("../.a", "")).build()),
];

/// An entry in place of `.PKGINFO` that is not a file.
fn link(kind: EntryType) -> Vec<u8> {
    entry(kind, ".PKGINFO", "")
}

const PATHS: &[Case] = &[
    ("climbing-path", |parts| parts.data(file("../etc/passwd", "")).build()),
    ("climbing-path-further-down", |parts| parts.data(file("a/../../etc/passwd", "")).build()),
    ("climbing-path-by-pax", |parts| {
        parts.data([pax("path", "../etc/passwd"), file("a", "")].concat()).build()
    }),
    ("climbing-path-by-gnu-long-name", |parts| {
        let name = entry(EntryType::GNULongName, "././@LongLink", "../etc/passwd\0");
        parts.data([name, file("a", "")].concat()).build()
    }),
    ("climbing-path-by-prefix", |parts| {
        parts.data(patched(file("passwd", ""), 345, b"usr/../..")).build()
    }),
    ("absolute-path", |parts| parts.data(file("/etc/passwd", "")).build()),
    ("newline-in-a-path", |parts| parts.data(file("usr/hel\nlo", "")).build()),
    ("long-path", |parts| {
        parts.data([pax("path", &"x/".repeat(2100)), file("a", "")].concat()).build()
    }),
];

const CONTENTS: &[Case] = &[
    ("no-entry-for-a-directory", |parts| parts.data(file("usr/hello", "")).build()),
    ("no-checksum", |parts| parts.data(file("hello", "")).build()),
    ("hard-link-to-nothing", |parts| {
        parts.data(patched(entry(EntryType::Link, "hello", ""), 157, b"./other")).build()
    }),
    ("symbolic-link-to-nothing", |parts| {
        parts.data(entry(EntryType::Symlink, "hello", "")).build()
    }),
    ("mode-in-base-256", |parts| {
        let directory = entry(EntryType::Directory, "usr/", "");
        parts.data(patched(directory, 100, b"\x80\0\0\0\0\0\x41\xed")).build()
    }),
];

const INFOS: &[Case] = &[
    ("provides-itself", |parts| parts.line("provides = provides-itself=1").build()),
    ("provides-twice", |parts| parts.line("provides = mta=1 mta=2").build()),
    ("replaces-of-5000-bytes", |parts| {
        parts.line(&format!("replaces = {}", "hello ".repeat(834))).build()
    }),
    ("foreign-architecture", |parts| parts.replace("x86_64", "amd64").build()),
    ("wrong-datahash", |parts| parts.data_hash(&"0".repeat(64)).build()),
    ("no-datahash", |parts| parts.without_data_hash().build()),
    ("two-datahashes", |parts| parts.line(&format!("datahash = {}", "0".repeat(64))).build()),
    ("two-names", |parts| parts.line("pkgname = other").build()),
    ("two-versions", |parts| parts.line("pkgver = 2-r0").build()),
    ("climbing-name", |parts| parts.replace("pkgname = ", "pkgname = ../").build()),
    ("name-of-another", |parts| parts.replace("pkgname = name-of-", "pkgname = ").build()),
    ("climbing-version", |parts| parts.replace("1.2.3-r0", "1/../2").build()),
    ("climbing-architecture", |parts| parts.replace("x86_64", "../x").build()),
    ("another-architecture", |parts| parts.replace("x86_64", "aarch64").build()),
    ("negative-size", |parts| parts.replace("= 4096", "= -5").build()),
    ("size-beyond-64-bits", |parts| parts.replace("= 4096", "= 18446744073709551616").build()),
    ("line-of-nearly-128-kib", |parts| {
        parts.line(&format!("depend = {}", "hello ".repeat(21_800))).build()
    }),
    ("line-of-128-kib", |parts| {
        parts.line(&format!("depend = {}", "hello ".repeat(21_900))).build()
    }),
    ("long-description", |parts| parts.replace("Greets", &"Greets ".repeat(300)).build()),
];

const TEXTS: &[Case] = &[
    ("nul-in-a-name", |parts| parts.replace("= nul", "= n\0ul").build()),
    ("nul-in-a-description", |parts| parts.replace("Greets", "Greets\0").build()),
    ("newline-by-a-carriage-return", |parts| parts.replace("Greets", "Greets\rP:evil").build()),
    ("escape-sequence", |parts| parts.replace("Greets", "\u{1b}[2JGreets").build()),
    ("tab-in-a-description", |parts| parts.replace("Greets", "Gr\teets").build()),
    ("delete-in-a-description", |parts| parts.replace("Greets", "Greets\u{7f}").build()),
    ("next-line-in-a-description", |parts| parts.replace("Greets", "Greets\u{85}P:evil").build()),
    ("escape-sequence-beyond-ascii", |parts| parts.replace("Greets", "\u{9b}2JGreets").build()),
    ("line-separator-in-a-license", |parts| parts.replace("MIT", "MIT\u{2028}P:evil").build()),
    ("paragraph-separator-in-an-address", |parts| {
        parts.replace("example.com", "example.com\u{2029}P:evil").build()
    }),
    ("tab-in-a-dependency", |parts| parts.line("depend = a\tb").build()),
    ("carriage-return-in-a-dependency", |parts| parts.line("depend = a\rP:evil").build()),
    ("next-line-in-a-dependency", |parts| parts.line("depend = a\u{85}P:evil").build()),
    ("not-utf-8", |parts| {
        parts
            .info_entry(|text| file(".PKGINFO", [text.as_bytes(), b"origin = \xff\n"].concat()))
            .build()
    }),
];

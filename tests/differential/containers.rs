//! One package in odd forms of gzip and tar, byte for byte.

use std::io::Write as _;

use alpinist_samples::package::data_hash;
use flate2::{Compression, GzBuilder};
use proptest::{collection::vec, prelude::*, sample::select};
use tar::{EntryType, Header};

use crate::{packages::Comparison, runner};

/// How a gzip stream is written.
#[derive(Clone, Debug)]
struct Gzip {
    level: u32,
    name: Option<&'static str>,
    comment: Option<&'static str>,
    extra: Option<Vec<u8>>,
    time: u32,
    system: u8,
    /// Where deflate begins a new block.
    flush_at: usize,
}

#[derive(Clone, Copy, Debug)]
enum Dialect {
    Ustar,
    Gnu,
    /// Without a magic.
    Old,
}

/// What precedes the header of an entry.
#[derive(Clone, Copy, Debug)]
enum Extension {
    Nothing,
    PaxTime,
    PaxPath,
    PaxGlobal,
    LongName,
    LongLink,
}

#[derive(Clone, Debug)]
struct Entry {
    path: String,
    kind: u8,
    body: Vec<u8>,
    dialect: Dialect,
    extension: Extension,
    /// Whether a pax header has a checksum, whatever the content.
    has_checksum: bool,
    /// What ends the digits of the size.
    after_size: u8,
    owner: &'static str,
}

#[derive(Clone, Debug)]
struct Section {
    entries: Vec<Entry>,
    zero_blocks: usize,
    gzip: Gzip,
}

prop_compose! {
    fn gzip()(
        level in 0..10_u32,
        name in prop::option::weighted(0.2, Just("control.tar")),
        comment in prop::option::weighted(0.2, Just("a comment")),
        extra in prop::option::weighted(0.2, vec(any::<u8>(), 0..40)),
        time in any::<u32>(),
        system in any::<u8>(),
        flush_at in 0..2000_usize,
    ) -> Gzip {
        Gzip { level, name, comment, extra, time, system, flush_at }
    }
}

/// Mostly a regular file, sometimes something else.
fn kind() -> impl Strategy<Value = u8> {
    prop_oneof![30 => Just(b'0'), 1 => select(b"\x001234567Z".to_vec())]
}

fn dialect() -> impl Strategy<Value = Dialect> {
    prop_oneof![20 => Just(Dialect::Ustar), 10 => Just(Dialect::Gnu), 1 => Just(Dialect::Old)]
}

fn extension() -> impl Strategy<Value = Extension> {
    use Extension::{LongLink, LongName, Nothing, PaxGlobal, PaxPath, PaxTime};
    prop_oneof![3 => Just(Nothing), 1 => select(vec![PaxTime, PaxPath, PaxGlobal, LongName, LongLink])]
}

prop_compose! {
    fn entry(paths: &'static str, bodies: usize)(
        path in paths,
        kind in kind(),
        body in vec(any::<u8>(), 0..=bodies),
        dialect in dialect(),
        extension in extension(),
        after_size in prop_oneof![20 => Just(0), 10 => Just(b' '), 1 => Just(b'7'), 1 => Just(b'x')],
        owner in select(vec!["", "root", "a name of as many as 31 letters"]),
    ) -> Entry {
        Entry { path, kind, body, dialect, extension, has_checksum: false, after_size, owner }
    }
}

fn section(
    entries: impl Strategy<Value = Vec<Entry>>,
    usual_zero_blocks: usize,
) -> impl Strategy<Value = Section> {
    let zero_blocks = prop_oneof![12 => Just(usual_zero_blocks), 1 => 0..4_usize, 1 => Just(20)];
    (entries, zero_blocks, gzip()).prop_map(|(entries, zero_blocks, gzip)| Section {
        entries,
        zero_blocks,
        gzip,
    })
}

fn signatures() -> impl Strategy<Value = Section> {
    let usual = "\\.SIGN\\.(RSA|RSA256|RSA512|DSA)\\.[a-z]{1,5}\\.rsa\\.pub";
    let entry =
        prop_oneof![9 => entry(usual, 600), 1 => entry("\\.SIGN\\.[A-Z]{0,3}\\.?[a-z/]{0,5}", 600)];
    section(vec(entry, 1..3), 0)
}

/// A control section whose `.PKGINFO` is still empty, since it will have the hash of the data.
fn control() -> impl Strategy<Value = Section> {
    let scripts = "\\.(pre|post)-(install|upgrade|deinstall)|\\.[a-z]{1,9}|\\.PKGINFO|other";
    let scripts = move || vec(entry(scripts, 600), 0..2);
    let entries = (scripts(), entry("\\.PKGINFO", 0), scripts());
    let entries = entries.prop_map(|(before, info, after)| [before, vec![info], after].concat());
    section(entries, 0)
}

fn data() -> impl Strategy<Value = Section> {
    let usual = entry("usr/[a-z]{1,9}", 1500);
    let odd = entry("(\\.|/)?[a-z]{0,3}/[a-z]{1,3}/?", 1500);
    let entries = vec(prop_oneof![15 => usual, 1 => odd], 0..5);
    let directory =
        (entry("usr/", 0), prop::bool::weighted(0.95)).prop_map(|(directory, is_there)| {
            let kind = b'5';
            is_there.then_some(Entry { kind, extension: Extension::Nothing, ..directory })
        });
    section(
        (directory, entries).prop_map(|(directory, entries)| {
            let has_checksum =
                |entry: Entry| Entry { has_checksum: matches!(entry.kind, b'0' | b'7'), ..entry };
            directory.into_iter().chain(entries).map(has_checksum).collect()
        }),
        2,
    )
}

impl Gzip {
    fn compress(&self, bytes: &[u8]) -> Vec<u8> {
        let mut builder = GzBuilder::new().mtime(self.time).operating_system(self.system);
        builder = self.name.into_iter().fold(builder, GzBuilder::filename);
        builder = self.comment.into_iter().fold(builder, GzBuilder::comment);
        builder = self.extra.iter().cloned().fold(builder, GzBuilder::extra);
        let mut writer = builder.write(Vec::new(), Compression::new(self.level));
        let (before, after) = bytes.split_at(self.flush_at.min(bytes.len()));
        writer.write_all(before).unwrap();
        writer.flush().unwrap();
        writer.write_all(after).unwrap();
        writer.finish().unwrap()
    }
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn pax_record(key: &str, value: &str) -> Vec<u8> {
    // The length has two digits, and includes them.
    format!("{:02} {key}={value}\n", key.len() + value.len() + 5).into_bytes()
}

impl Extension {
    fn write(self, path: &str, has_checksum: bool) -> Vec<u8> {
        let checksum = pax_record("APK-TOOLS.checksum.SHA1", &"0".repeat(40));
        let checksum = if has_checksum { checksum } else { Vec::new() };
        let time = pax_record("mtime", "1700000000.5");
        let long = [path.as_bytes(), b"\0"].concat();
        let (kind, body) = match self {
            Self::Nothing if checksum.is_empty() => return Vec::new(),
            Self::Nothing => (b'x', checksum.clone()),
            Self::PaxTime => (b'x', [&*time, &checksum].concat()),
            Self::PaxPath => (b'x', [&*time, &checksum, &pax_record("path", path)].concat()),
            Self::PaxGlobal => (b'g', time),
            Self::LongName => (b'L', long),
            Self::LongLink => (b'K', long),
        };
        let write = |kind, body: &[u8]| {
            [header("extension", kind, body.len(), Dialect::Ustar, 0, ""), padded(body)].concat()
        };
        // A checksum counts only if its entry follows immediately.
        let last = match self {
            Self::PaxGlobal | Self::LongName | Self::LongLink if has_checksum => {
                write(b'x', &checksum)
            }
            _ => Vec::new(),
        };
        [write(kind, &body), last].concat()
    }
}

fn header(
    path: &str,
    kind: u8,
    size: usize,
    dialect: Dialect,
    after_size: u8,
    owner: &str,
) -> Vec<u8> {
    let mut header = match dialect {
        Dialect::Ustar => Header::new_ustar(),
        Dialect::Gnu => Header::new_gnu(),
        Dialect::Old => Header::new_old(),
    };
    header.set_entry_type(EntryType::new(kind));
    header.set_mode(0o644);
    header.set_mtime(1_700_000_000);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size as u64);
    let old = header.as_old_mut();
    for (place, byte) in old.name.iter_mut().zip(path.bytes()) {
        *place = byte;
    }
    old.size[11] = after_size;
    let _ = header.set_username(owner);
    header.set_cksum();
    header.as_bytes().to_vec()
}

impl Section {
    fn tar(&self) -> Vec<u8> {
        let mut tar = Vec::new();
        for Entry { path, kind, body, dialect, extension, has_checksum, after_size, owner } in
            &self.entries
        {
            tar.extend(extension.write(path, *has_checksum));
            tar.extend(header(path, *kind, body.len(), *dialect, *after_size, owner));
            tar.extend(padded(body));
        }
        tar.resize(tar.len() + self.zero_blocks * 512, 0);
        tar
    }

    fn bytes(&self) -> Vec<u8> {
        self.gzip.compress(&self.tar())
    }
}

fn package(signatures: &[Section], mut control: Section, data: &Section) -> Vec<u8> {
    let data = data.bytes();
    let hash = data_hash(&data);
    let info = format!("pkgname = a\npkgver = 1-r0\narch = x86_64\nsize = 1\ndatahash = {hash}\n");
    let place =
        control.entries.iter_mut().find(|entry| entry.body.is_empty() && entry.path == ".PKGINFO");
    place.unwrap().body = info.into_bytes();
    let signatures: Vec<_> = signatures.iter().flat_map(Section::bytes).collect();
    [signatures, control.bytes(), data].concat()
}

#[test]
fn odd_forms_are_read_as_apk_reads_them_or_rejected_for_a_documented_reason() {
    let comparison = Comparison::new();
    let case = (vec(signatures(), 0..3), control(), data());
    let outcome = runner(2000).run(&case, |(signatures, control, data)| {
        comparison.compare(&package(&signatures, control.clone(), &data))
    });
    outcome.unwrap();
    comparison.assert_telling();
}

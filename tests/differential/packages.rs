//! The index entries of arbitrary packages, byte for byte.

use std::{cell::RefCell, collections::BTreeMap, fs};

use alpinist_apk::{
    entry::IndexEntry,
    package::{Package, PackageReader},
    text::chain,
};
use alpinist_samples::{
    gzip::gzip_at,
    package::data_hash,
    tar::{end_of_archive, entry, file},
};
use alpinist_tests::{Apk, Tools, workspace};
use proptest::prelude::*;
use tar::EntryType;

use crate::runner;

const KEYS: [&str; 20] = [
    "pkgname",
    "pkgver",
    "pkgdesc",
    "url",
    "size",
    "arch",
    "license",
    "origin",
    "maintainer",
    "builddate",
    "commit",
    "provider_priority",
    "depend",
    "provides",
    "install_if",
    "replaces",
    "replaces_priority",
    "triggers",
    "packager",
    "pkgtype",
];

/// Mostly ordinary text, sometimes with control characters.
pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => Just(String::new()),
        6 => "[ -~]{1,30}",
        6 => "[a-zäЖ中🦀 ]{1,12}",
        6 => "[a-z]{1,5}( = [a-z]{0,5}){1,2} {0,2}",
        6 => Just("x".repeat(1900)),
        1 => "[a-z]{0,3}[\u{1}-\u{9}\u{b}-\u{1f}\u{7f}-\u{a0}\u{2027}-\u{202a}][a-z]{0,3}",
    ]
}

/// Mostly ordinary numbers, sometimes none.
pub(crate) fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[1-9][0-9]{0,9}",
        1 => prop::sample::select(vec![
            "0", "00", "007", "1.5", "-1", "12abc", "", "65535", "65536", "70000",
            "18446744073709551615", "18446744073709551616", "99999999999",
        ]).prop_map(str::to_owned),
    ]
}

/// Mostly versions of the grammar.
pub(crate) fn version() -> impl Strategy<Value = String> {
    prop_oneof![
        9 => "[0-9]{1,2}(\\.[0-9]{1,2}){0,2}[a-z]?(_(alpha|rc|git|p)[0-9]{0,2})?(~[0-9a-f]{1,3})?(-r[0-9])?",
        1 => "[0-9a-z._~-]{0,6}",
    ]
}

/// Mostly dependencies as apk has them.
pub(crate) fn token() -> impl Strategy<Value = String> {
    let operator = prop_oneof![
        5 => prop::sample::select(vec!["=", "<", "<=", ">", ">=", "~", "><"]).prop_map(str::to_owned),
        1 => "[<>=~]{1,3}",
    ];
    let name = prop_oneof![
        6 => "(so:|cmd:|pc:|py3:)?[a-z0-9][a-zA-Z0-9+._-]{0,6}",
        1 => "/bin/[a-z]{1,4}",
        1 => "[!-;?-~]{0,5}",
    ];
    let constraint = prop_oneof![
        Just(String::new()),
        (operator, version()).prop_map(|(operator, version)| operator + &version),
    ];
    let tag = prop_oneof![20 => Just(""), 1 => Just("@edge")];
    (prop_oneof![5 => Just(""), 1 => Just("!")], name, constraint, tag)
        .prop_map(|(conflict, name, constraint, tag)| format!("{conflict}{name}{constraint}{tag}"))
}

fn tokens() -> impl Strategy<Value = String> {
    prop_oneof![
        9 => prop::collection::vec(token(), 1..4).prop_map(|tokens| tokens.join(" ")),
        1 => prop::collection::vec(token(), 100..200).prop_map(|tokens| tokens.join("  ")),
    ]
}

fn value(key: &'static str) -> BoxedStrategy<String> {
    match key {
        "pkgname" => prop_oneof![9 => "[a-z][a-zA-Z0-9+._-]{0,8}", 1 => text()].boxed(),
        "pkgver" => version().boxed(),
        "arch" => prop_oneof![9 => Just("x86_64"), 1 => Just("noarch"), 1 => Just("x86 64"), 1 => Just("")]
            .prop_map(str::to_owned)
            .boxed(),
        "size" | "builddate" | "provider_priority" | "replaces_priority" => number().boxed(),
        "depend" | "provides" | "install_if" | "replaces" => tokens().boxed(),
        _ => text().boxed(),
    }
}

fn line() -> impl Strategy<Value = String> {
    let known = prop::sample::select(KEYS.to_vec())
        .prop_flat_map(|key| value(key).prop_map(move |value| format!("{key} = {value}")));
    prop_oneof![
        20 => known,
        1 => Just(String::new()),
        1 => text().prop_map(|text| format!("# {text}")),
        1 => text().prop_map(|text| format!("unknown = {text}")),
        1 => (prop::sample::select(KEYS.to_vec()), "=| =|= |\t= | =\t|  =  ").prop_map(|(key, odd)| {
            format!("{key}{odd}1")
        }),
        1 => text(),
    ]
}

prop_compose! {
    /// A `.PKGINFO` without its `datahash`: mostly what an index needs, and arbitrary lines.
    fn info()(
        name in prop_oneof![30 => value("pkgname").prop_map(Some), 1 => Just(None)],
        version in prop_oneof![30 => value("pkgver").prop_map(Some), 1 => Just(None)],
        lines in prop::collection::vec(line(), 0..12),
        has_last_newline in prop::bool::weighted(0.9),
    ) -> String {
        let mut all = vec!["arch = x86_64".to_owned()];
        all.extend(name.map(|name| format!("pkgname = {name}")));
        all.extend(version.map(|version| format!("pkgver = {version}")));
        all.extend(lines);
        let mut text = all.join("\n");
        if has_last_newline {
            text.push('\n');
        }
        text
    }
}

/// Makes a package from a `.PKGINFO` without its `datahash`, with so many signatures.
pub(crate) fn package(info: &str, level: u32, signatures: usize) -> Vec<u8> {
    // A directory needs no checksum to be installed.
    let data = [entry(EntryType::Directory, "usr", ""), end_of_archive()].concat();
    let data = gzip_at(data, level);
    let info = format!("datahash = {}\n{info}", data_hash(&data));
    let control = gzip_at(file(".PKGINFO", info), level);
    let signature = gzip_at(file(".SIGN.RSA.a.rsa.pub", [7; 256]), level);
    [signature.repeat(signatures), control, data].concat()
}

/// Returns our entry of a package, or why it is rejected.
pub(crate) fn ours(bytes: &[u8]) -> Result<IndexEntry, String> {
    let mut reader = PackageReader::new();
    let read = reader.push(bytes).and_then(|()| reader.finish());
    let Package { metadata, identity, size, has_content, .. } =
        read.map_err(|error| chain(&error))?;
    let architecture = "x86_64".parse().unwrap();
    let entry = IndexEntry::new(metadata, architecture, identity, size, has_content);
    entry.map_err(|error| chain(&error))
}

fn of_apk(apk: &Apk, bytes: &[u8]) -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.apk");
    fs::write(&file, bytes).unwrap();
    let archive = apk.index("x86_64", &[file]).ok()?;
    let file = directory.path().join("index");
    fs::write(&file, archive).unwrap();
    let tar = std::process::Command::new("tar").arg("xzOf").arg(file).arg("APKINDEX").output();
    String::from_utf8(tar.unwrap().stdout).ok()
}

/// The beginnings or parts of the messages of documented differences.
pub(crate) fn documented() -> Vec<String> {
    let text = fs::read_to_string(workspace::root().join("docs/differences.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split('`').next()).map(str::to_owned).collect()
}

/// Changes an entry of apk as docs/differences.md says: an installed size of 0, which a client
/// takes for "nothing to download", and spaces in lists.
fn with_documented_lines(entry: &str) -> String {
    let entry = entry.replace("\nI:0\n", "\nI:1\n");
    let mut lines: Vec<_> = entry.split('\n').map(str::to_owned).collect();
    let is_list = |line: &str| ["D:", "p:", "i:"].iter().any(|list| line.starts_with(list));
    lines.retain(|line| !(line.len() == 2 && is_list(line)));
    for line in lines.iter_mut().filter(|line| is_list(line)) {
        *line = line.replace("  ", " ");
    }
    lines.join("\n")
}

/// Compares our entries with those of apk, and counts the results.
pub(crate) struct Comparison {
    apk: Apk,
    documented: Vec<String>,
    seen: RefCell<BTreeMap<String, usize>>,
}

impl Comparison {
    /// Compares with the real apk, and with the documented differences.
    pub(crate) fn new() -> Self {
        let apk = Tools::install().unwrap().apk();
        Self { apk, documented: documented(), seen: RefCell::default() }
    }

    /// Fails unless both have the same entry, both reject, or only we reject for a documented
    /// reason.
    pub(crate) fn compare(&self, bytes: &[u8]) -> Result<(), TestCaseError> {
        match (ours(bytes), of_apk(&self.apk, bytes)) {
            (Ok(ours), theirs) => {
                self.note("accepted by both");
                let theirs = theirs.map(|entry| with_documented_lines(&entry));
                prop_assert_eq!(Some(ours.to_string()), theirs);
            }
            (Err(_), None) => self.note("rejected by both"),
            (Err(error), Some(_)) => {
                let reason = self.documented.iter().find(|reason| error.contains(*reason));
                prop_assert!(reason.is_some(), "undocumented: {error}");
                self.note(reason.map_or("", String::as_str));
            }
        }
        Ok(())
    }

    fn note(&self, what: &str) {
        *self.seen.borrow_mut().entry(what.to_owned()).or_default() += 1;
    }

    /// Fails unless enough packages were accepted by both, and enough were rejected by both.
    pub(crate) fn assert_telling(&self) {
        let seen = self.seen.borrow();
        let is_seen = |what: &str| seen.get(what).is_some_and(|count| *count > 20);
        assert!(is_seen("accepted by both") && is_seen("rejected by both"), "{seen:#?}");
    }
}

#[test]
fn packages_are_indexed_as_apk_does_or_rejected_for_a_documented_reason() {
    let comparison = Comparison::new();
    let case = (info(), prop::sample::select(vec![0, 1, 6, 9]), 0..3_usize);
    let outcome = runner(2000).run(&case, |(info, level, signatures)| {
        comparison.compare(&package(&info, level, signatures))
    });
    outcome.unwrap();
    comparison.assert_telling();
}

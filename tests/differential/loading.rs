//! The real apk loads whatever we list: one accepted package must never cost a client the whole
//! index.

use std::{collections::BTreeMap, fs, path::Path};

use alpinist_apk::{
    entry::IndexEntry,
    index::Index,
    index_archive::{write_signed, write_unsigned},
    key::SigningKey,
};
use alpinist_samples::arbitrary_package::ArbitraryPackage;
use alpinist_tests::{Apk, ApkClient, KeyPair, Tools, workspace};
use proptest::prelude::*;
use rand_core::OsRng;

use crate::{
    packages::{ours, package},
    runner,
};

/// What a client prints about a provided name with an invalid version, such as `0unstable`. It
/// loads the package, `apk index` lists it, and existing packages have such versions.
const HARMLESS: &str =
    "WARNING: The indexes contain broken packages which might not function properly.";

/// How many packages are in one index.
const GROUP: usize = 40;

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a-zA-Z0-9][a-zA-Z0-9+._-]{0,12}",
        1 => "[0-9][0-9._-]{0,6}-[0-9]",
        1 => "[a-zA-Z0-9][a-zA-Z0-9+._-]{120,127}",
    ]
}

fn version() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[0-9]{1,3}(\\.[0-9]{1,3}){0,3}[a-z]?(_(alpha|rc|git|p)[0-9]{0,9})?(-r[0-9]{1,3})?",
        2 => "[0-9][a-zA-Z0-9._~+-]{0,8}",
        1 => "[0-9][a-zA-Z0-9._~+-]{60,63}",
        1 => "[0-9]{64}",
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[ -~]{0,40}",
        3 => "\\PC{0,20}",
        2 => prop::sample::select(vec![
            " ", ":", "P:x", "\u{a0}", "\u{feff}", "\u{202e}abc", "e\u{301}", "%s%n", "{}",
        ]).prop_map(str::to_owned),
        1 => "[ -~]{1500,1800}",
        1 => "[äЖ中🦀]{400,450}",
    ]
}

fn token() -> impl Strategy<Value = String> {
    let constrained =
        ("[<>=~]{1,3}", version()).prop_map(|(operator, version)| operator + &version);
    let constraint = prop_oneof![
        2 => Just(String::new()),
        4 => constrained,
        1 => "><[!-~]{1,40}",
        1 => "=[!-;A-}]{1,20}",
    ];
    let name = prop_oneof![
        8 => "(so:|cmd:|pc:|/bin/)?[a-z0-9][a-zA-Z0-9+._-]{0,8}",
        2 => "[a-zA-Z0-9+._,:/\\[\\]-]{1,8}",
        1 => "[a-z]{180,240}",
    ];
    (prop_oneof![4 => Just(""), 1 => Just("!")], name, constraint)
        .prop_map(|(conflict, name, constraint)| format!("{conflict}{name}{constraint}"))
}

/// Tokens that are accepted one by one, since a rejected one would cost the whole package.
fn tokens(key: &'static str) -> impl Strategy<Value = String> {
    let is_taken = move |token: &String| {
        let info = format!("pkgname = a\npkgver = 1\narch = noarch\n{key} = {token}\n");
        ours(&package(&info, 0, 0)).is_ok()
    };
    let token = token().prop_filter("is no dependency", is_taken).boxed();
    prop_oneof![
        6 => prop::collection::vec(token.clone(), 1..5).prop_map(|tokens| tokens.join(" ")),
        1 => (token, 50..380_usize).prop_map(|(token, times)| vec![token; times].join("  ")),
    ]
}

fn line() -> impl Strategy<Value = String> {
    let texts = ["pkgdesc", "url", "license", "origin", "maintainer", "commit"];
    let numbers = ["size", "builddate"];
    let number = prop_oneof![any::<u64>(), Just(0), Just(u64::MAX)];
    prop_oneof![
        6 => (prop::sample::select(texts.to_vec()), text())
            .prop_map(|(key, text)| format!("{key} = {text}")),
        2 => (prop::sample::select(numbers.to_vec()), number)
            .prop_map(|(key, number)| format!("{key} = {number}")),
        1 => any::<u16>().prop_map(|number| format!("provider_priority = {number}")),
        6 => prop::sample::select(vec!["depend", "provides", "install_if"])
            .prop_flat_map(|key| tokens(key).prop_map(move |tokens| format!("{key} = {tokens}"))),
    ]
}

fn info() -> impl Strategy<Value = String> {
    (name(), version(), prop::collection::vec(line(), 0..8)).prop_map(|(name, version, lines)| {
        format!("pkgname = {name}\npkgver = {version}\narch = noarch\n{}\n", lines.join("\n"))
    })
}

fn first_word(line: &str) -> Option<&str> {
    line.split(' ').next()
}

/// A client of a repository in a directory.
struct Repository {
    client: ApkClient,
    directory: tempfile::TempDir,
    key_pair: KeyPair,
}

impl Repository {
    fn new(apk: Apk) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("x86_64")).unwrap();
        let url = directory.path().to_string_lossy();
        let client = ApkClient::new(apk, &url, "x86_64").unwrap();
        let key_pair = KeyPair::generate("loading@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
        client.trust(key_pair.name(), key_pair.public().unwrap().as_bytes()).unwrap();
        Self { client, directory, key_pair }
    }

    fn publish(&self, index: &Index) {
        let unsigned = write_unsigned("loading", index).unwrap();
        let key = SigningKey::from_pem(self.key_pair.private()).unwrap();
        let name = self.key_pair.name().parse().unwrap();
        let signatures = key.sign_index(&name, &unsigned, &mut OsRng).unwrap();
        let archive = write_signed(&signatures, &unsigned).unwrap();
        fs::write(self.directory.path().join("x86_64/APKINDEX.tar.gz"), archive).unwrap();
    }

    /// Publishes these entries, one for each file name, and checks that a client sees each of them.
    fn check(&self, entries: impl IntoIterator<Item = IndexEntry>) -> Result<(), TestCaseError> {
        let entries: BTreeMap<_, _> =
            entries.into_iter().map(|entry| (entry.file_stem(), entry)).collect();
        self.publish(&Index::new(entries.values().cloned()));
        let update = self.client.update().unwrap();
        let complains = update.text.lines().any(|line| {
            line != HARMLESS && ["WARNING", "ERROR"].iter().any(|word| line.contains(word))
        });
        prop_assert!(update.status.success() && !complains, "{update}");
        let list = self.client.list().unwrap();
        prop_assert!(list.status.success(), "{list}");
        let mut listed: Vec<_> =
            list.text.lines().filter(|line| *line != HARMLESS).filter_map(first_word).collect();
        listed.sort_unstable();
        prop_assert_eq!(listed, entries.keys().collect::<Vec<_>>());
        Ok(())
    }
}

#[test]
fn a_client_loads_every_index_of_accepted_packages() {
    let repository = Repository::new(Tools::install().unwrap().apk());
    let accepted = std::cell::Cell::new(0);
    let outcome = runner(60).run(&prop::collection::vec(info(), GROUP), |infos| {
        let entries: Vec<_> =
            infos.iter().filter_map(|info| ours(&package(info, 1, 0)).ok()).collect();
        accepted.set(accepted.get() + entries.len());
        repository.check(entries)
    });
    outcome.unwrap();
    assert!(accepted.get() > 60 * GROUP / 4, "only {} were accepted", accepted.get());
}

/// The kept inputs of a fuzz target, without the four bytes that determine the chunks.
fn kept(target: &str) -> Vec<Vec<u8>> {
    let directory = workspace::root().join("tests/fuzz/corpus").join(target);
    let files = fs::read_dir(directory).unwrap();
    let read = |path: &Path| fs::read(path).unwrap().get(4..).map(<[u8]>::to_vec);
    files.filter_map(|file| read(&file.unwrap().path())).collect()
}

#[test]
fn a_client_loads_whatever_the_fuzzer_found_that_we_accept() {
    let repository = Repository::new(Tools::install().unwrap().apk());
    let mut packages = kept("package");
    packages.extend(
        kept("package_parts")
            .iter()
            .filter_map(|parts| Some(ArbitraryPackage::read(parts)?.build())),
    );
    let accepted: Vec<_> = packages.iter().filter_map(|bytes| ours(bytes).ok()).collect();
    assert!(accepted.len() > 10, "only {} are accepted", accepted.len());
    // Many have the same name and version, which an index can list only once.
    let mut groups = Vec::<BTreeMap<String, IndexEntry>>::new();
    for entry in accepted {
        let stem = entry.file_stem();
        match groups.iter_mut().find(|group| !group.contains_key(&stem)) {
            Some(group) => drop(group.insert(stem, entry)),
            None => groups.push(BTreeMap::from([(stem, entry)])),
        }
    }
    for group in groups {
        repository.check(group.into_values()).unwrap();
    }
}

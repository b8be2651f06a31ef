use std::{fs, os::unix::fs::PermissionsExt as _};

use alpinist_apk::{
    adb::index::ReadIndex, entry::IndexEntry, index_archive::IndexArchive, key::SigningKey,
};
use alpinist_samples::adb_package::{AdbParts, slot, text};

use crate::support::{Bench, KEY_NAME, key, package, package_with};

const SIGN: &str = "--key ops.rsa --key-name ops@example.com-5f3c2a1b.rsa.pub";

fn bench() -> Bench {
    let bench = Bench::new();
    bench.write_key();
    bench
}

#[test]
fn a_directory_of_packages_becomes_a_signed_index() {
    let bench = bench();
    bench.write("in/b-1.0-r0.apk", package("b", "1.0-r0"));
    bench.write("in/a-2.0-r0.apk", package("a", "2.0-r0"));
    let fits_all = "pkgname = fonts\npkgver = 1-r0\narch = noarch\n";
    bench.write("in/fonts-1-r0.apk", package_with(fits_all));
    bench.write("in/README", "no package");
    bench.write("in/below/c-1.0-r0.apk", package("c", "1.0-r0"));

    let said = bench.run(&format!("index in {SIGN}"));
    assert_eq!((said.status, &*said.err), (0, ""));
    assert_eq!(said.out, "written in/APKINDEX.tar.gz: 3 packages for x86_64\n");
    let bytes = bench.read("in/APKINDEX.tar.gz");
    let index = IndexArchive::read(&bytes).unwrap();
    assert!(index.is_signed_by(&KEY_NAME.parse().unwrap(), &key().verifying_key()));
    insta::assert_snapshot!(index.index.to_string());

    bench.run(&format!("index in {SIGN}"));
    assert_eq!(bench.read("in/APKINDEX.tar.gz"), bytes, "the same packages give the same bytes");
    let mode = |name: &str| fs::metadata(bench.path(name)).unwrap().permissions().mode();
    assert_eq!(mode("in/APKINDEX.tar.gz"), mode("in/README"), "who may read it");
    assert_eq!(fs::read_dir(bench.path("in")).unwrap().count(), 6, "nothing else is left");
}

/// A directory with one good package and one for each kind of rejection.
fn with_rejections() -> Bench {
    let bench = bench();
    bench.write("in/good-1.0-r0.apk", package("good", "1.0-r0"));
    bench.write("in/garbage-1.0-r0.apk", "no package");
    bench.write("in/other-name.apk", package("named", "1.0-r0"));
    let foreign = "pkgname = foreign\npkgver = 1-r0\narch = aarch64\n";
    bench.write("in/foreign-1-r0.apk", package_with(foreign));
    let long = format!("pkgname = long\npkgver = 1-r0\narch = x86_64\npkgdesc = {:2000}.\n", "");
    bench.write("in/long-1-r0.apk", package_with(&long));
    bench
}

#[test]
fn rejections_are_listed_and_nothing_is_written() {
    let bench = with_rejections();
    let said = bench.run(&format!("index in --arch x86_64 {SIGN}"));
    assert_eq!((said.status, &*said.err), (1, ""));
    insta::assert_snapshot!(said.out);
    assert!(!bench.path("in/APKINDEX.tar.gz").exists());
}

#[test]
fn rejections_can_be_left_out() {
    let bench = with_rejections();
    let said = bench.run(&format!("index in --arch x86_64 --skip-rejected --json {SIGN}"));
    assert_eq!((said.status, &*said.err), (0, ""));
    let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report["packages"], 1);
    assert_eq!(report["rejected"].as_array().unwrap().len(), 4);
    assert_eq!(report["rejected"][0]["file"], "in/foreign-1-r0.apk");
    let bytes = bench.read("in/APKINDEX.tar.gz");
    let index = IndexArchive::read(&bytes).unwrap().index;
    assert_eq!(index.entries()[0].file_stem(), "good-1.0-r0");
    assert_eq!(index.entries().len(), 1);
}

#[test]
fn the_index_goes_where_it_is_told() {
    let bench = bench();
    bench.write("in/a-1-r0.apk", package("a", "1-r0"));
    let said = bench.run(&format!("index in {SIGN} --out elsewhere.tar.gz"));
    assert_eq!((said.status, &*said.err), (0, ""));
    assert!(IndexArchive::read(&bench.read("elsewhere.tar.gz")).is_ok());
    assert!(!bench.path("in/APKINDEX.tar.gz").exists());
    let said = bench.run(&format!("index in {SIGN} --out /dev/null"));
    assert_eq!((said.status, &*said.err), (0, ""));
}

#[test]
fn an_architecture_that_nobody_names_is_asked_for() {
    let bench = bench();
    let noarch = "pkgname = fonts\npkgver = 1-r0\narch = noarch\n";
    bench.write("none/fonts-1-r0.apk", package_with(noarch));
    bench.write("two/a-1-r0.apk", package("a", "1-r0"));
    let foreign = "pkgname = b\npkgver = 1-r0\narch = aarch64\n";
    bench.write("two/b-1-r0.apk", package_with(foreign));
    for (directory, found) in [
        ("none", "no package has an architecture of its own"),
        ("two", "packages are for aarch64 and x86_64"),
    ] {
        let said = bench.run(&format!("index {directory} {SIGN}"));
        assert_eq!((said.status, &*said.out), (2, ""));
        let expected = format!(
            "error: missing `--arch`: {found}\n\
             hint: add the architecture of the clients, such as `--arch x86_64`\n"
        );
        assert_eq!(said.err, expected);
    }
}

#[test]
fn there_is_no_index_of_nothing() {
    let bench = bench();
    bench.write("packages/x86_64/a-1-r0.apk", package("a", "1-r0"));
    bench.write("empty/README", "no package");
    for (directory, arch) in
        [("packages", ""), ("packages", " --arch x86_64"), ("empty", " --arch x86_64")]
    {
        let said = bench.run(&format!("index {directory}{arch} {SIGN}"));
        assert_eq!((said.status, &*said.out), (2, ""));
        let expected = format!(
            "error: there are no packages in {directory}\n\
             hint: give the directory that holds the .apk files: subdirectories are not searched\n"
        );
        assert_eq!(said.err, expected);
        assert!(!bench.path(directory).join("APKINDEX.tar.gz").exists());
    }
    bench.write("bad/a-1-r0.apk", "no package");
    for arch in ["", " --arch x86_64"] {
        let said = bench.run(&format!("index bad{arch} --skip-rejected {SIGN}"));
        assert_eq!((said.status, &*said.err), (1, ""));
        assert!(
            said.out.starts_with("rejected bad/a-1-r0.apk: not an apk package"),
            "{}",
            said.out
        );
        let end = "\nnot written: no package is left to be listed\n";
        assert!(said.out.ends_with(end), "{}", said.out);
    }
    assert!(!bench.path("bad/APKINDEX.tar.gz").exists());
}

const V3_FILES: [&str; 3] = ["Packages.adb", "packages.adb", "index.json"];

/// A directory `feed` of v3 packages, with one of v2 if `with_v2`, and an EC key beside an RSA key.
fn feed(with_v2: bool) -> Bench {
    let bench = bench();
    bench.write("ec.pem", ec_key().to_pem().unwrap().as_bytes());
    bench.write("feed/b-1-r0.apk", v3_package("b", "x86_64"));
    bench.write("feed/fonts-1-r0.apk", v3_package("fonts", "noarch"));
    if with_v2 {
        bench.write("feed/a-1.0-r0.apk", package("a", "1.0-r0"));
    }
    bench
}

fn ec_key() -> SigningKey {
    static KEY: std::sync::OnceLock<SigningKey> = std::sync::OnceLock::new();
    KEY.get_or_init(|| SigningKey::generate_p256(&mut rand_core::OsRng).unwrap()).clone()
}

fn v3_package(name: &str, architecture: &str) -> Vec<u8> {
    AdbParts::new()
        .info(slot::NAME, text(name))
        .info(slot::VERSION, text("1-r0"))
        .info(slot::ARCHITECTURE, text(architecture))
        .build()
}

/// What `Packages.adb` lists, after checking that it is described, signed and copied.
fn listed_in_adb(bench: &Bench, directory: &str, key: &SigningKey) -> Vec<String> {
    let bytes = bench.read(&format!("{directory}/Packages.adb"));
    assert_eq!(bench.read(&format!("{directory}/packages.adb")), bytes);
    let index = ReadIndex::read(&bytes).unwrap();
    assert_eq!(index.description, "feed");
    assert!(index.is_signed_by(&key.verifying_key()));
    let json = bench.read(&format!("{directory}/index.json"));
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["architecture"], "x86_64");
    assert_eq!(json["packages"].as_object().unwrap().len(), index.entries.len());
    index.entries.iter().map(IndexEntry::file_stem).collect()
}

#[test]
fn packages_of_both_formats_become_two_indexes() {
    let bench = feed(true);
    let said = bench.run(&format!("index feed {SIGN}"));
    assert_eq!((said.status, &*said.err), (0, ""));
    insta::assert_snapshot!(said.out);
    assert_eq!(listed_in_adb(&bench, "feed", &key()), ["a-1.0-r0", "b-1-r0", "fonts-1-r0"]);
    let bytes = bench.read("feed/APKINDEX.tar.gz");
    let index = IndexArchive::read(&bytes).unwrap().index;
    assert_eq!(index.entries().len(), 1);
    assert_eq!(index.entries()[0].file_stem(), "a-1.0-r0");

    let before = V3_FILES.map(|file| bench.read(&format!("feed/{file}")));
    bench.run(&format!("index feed {SIGN}"));
    assert_eq!(V3_FILES.map(|file| bench.read(&format!("feed/{file}"))), before);
}

#[test]
fn packages_of_format_v3_alone_have_their_index_alone() {
    let bench = feed(false);
    let said = bench.run("index feed --key ec.pem --key-name ops.pem --json");
    assert_eq!((said.status, &*said.err), (0, ""));
    let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&report["index"], &report["packages"]), (&"feed/Packages.adb".into(), &2.into()));
    let expected = serde_json::json!({"file": "feed/index.json", "packages": 2});
    assert_eq!(report["written"][2], expected);
    assert_eq!(listed_in_adb(&bench, "feed", &ec_key()), ["b-1-r0", "fonts-1-r0"]);
    assert!(!bench.path("feed/APKINDEX.tar.gz").exists());
}

/// What `APKINDEX.tar.gz` lists.
fn listed(bench: &Bench, directory: &str) -> Vec<String> {
    let bytes = bench.read(&format!("{directory}/APKINDEX.tar.gz"));
    let index = IndexArchive::read(&bytes).unwrap().index;
    index.entries().iter().map(IndexEntry::file_stem).collect()
}

#[test]
fn no_index_is_left_that_lists_what_is_gone() {
    let bench = feed(true);
    bench.run(&format!("index feed {SIGN}"));
    fs::remove_file(bench.path("feed/a-1.0-r0.apk")).unwrap();
    let said = bench.run(&format!("index feed {SIGN}"));
    assert_eq!((said.status, &*said.err), (0, ""));
    assert!(
        said.out.contains("written feed/APKINDEX.tar.gz: 0 packages for x86_64"),
        "{}",
        said.out
    );
    assert!(listed(&bench, "feed").is_empty());
    assert_eq!(listed_in_adb(&bench, "feed", &key()), ["b-1-r0", "fonts-1-r0"]);

    // An EC key can't sign the one that is there.
    let before = V3_FILES.map(|file| bench.read(&format!("feed/{file}")));
    let said = bench.run("index feed --key ec.pem --key-name ops.pem");
    assert_eq!((said.status, &*said.out), (2, ""));
    let expected = "error: feed/APKINDEX.tar.gz lists packages that are gone, and ec.pem holds an EC \
                    key, which can't sign it again\nhint: delete it if no client reads it, or give an \
                    RSA key, which signs both formats\n";
    assert_eq!(said.err, expected);
    assert_eq!(V3_FILES.map(|file| bench.read(&format!("feed/{file}"))), before);

    let bench = feed(true);
    bench.run(&format!("index feed {SIGN}"));
    for gone in ["b-1-r0.apk", "fonts-1-r0.apk"] {
        fs::remove_file(bench.path("feed").join(gone)).unwrap();
    }
    let said = bench.run(&format!("index feed {SIGN}"));
    assert_eq!((said.status, &*said.err), (0, ""));
    assert_eq!(listed(&bench, "feed"), ["a-1.0-r0"]);
    assert_eq!(listed_in_adb(&bench, "feed", &key()), ["a-1.0-r0"]);

    // What is in the directory of the packages is not touched if the index goes elsewhere.
    bench.write("served/index.json", "somebody's");
    let said = bench.run(&format!("index feed {SIGN} --out served"));
    assert_eq!(said.out, "written served/APKINDEX.tar.gz: 1 package for x86_64\n");
    assert_eq!(bench.read("served/index.json"), b"somebody's");
}

#[test]
fn an_ec_key_signs_no_packages_of_format_v2() {
    let bench = feed(true);
    let said = bench.run("index feed --key ec.pem --key-name ops.pem");
    assert_eq!((said.status, &*said.out), (2, ""));
    let expected = "error: ec.pem holds an EC key, which can't sign the index of the 1 package of \
                    format v2\nhint: give an RSA key, which signs both formats: \
                    `alpinist keygen ops@example.com` makes one\n";
    assert_eq!(said.err, expected);
    for file in V3_FILES {
        assert!(!bench.path("feed").join(file).exists(), "{file}");
    }
}

#[test]
fn several_indexes_go_into_a_directory_and_one_into_a_file() {
    let bench = feed(true);
    bench.write("served/README", "");
    let said = bench.run(&format!("index feed {SIGN} --out served"));
    assert_eq!((said.status, &*said.err), (0, ""));
    assert_eq!(listed_in_adb(&bench, "served", &key()).len(), 3);
    assert!(IndexArchive::read(&bench.read("served/APKINDEX.tar.gz")).is_ok());
    assert!(!bench.path("feed/Packages.adb").exists());

    let said = bench.run(&format!("index feed {SIGN} --out one"));
    assert_eq!((said.status, &*said.out), (2, ""));
    let expected = "error: one can't take the indexes of both formats\nhint: give `--out` a \
                    directory that exists: each index gets its name there\n";
    assert_eq!(said.err, expected);
    assert!(!bench.path("one").exists());
    let said = bench.run(&format!("index feed {SIGN} --out /dev/null"));
    assert_eq!((said.status, &*said.err), (0, ""));

    let bench = feed(false);
    let said = bench.run(&format!("index feed {SIGN} --out one"));
    assert_eq!((said.status, &*said.err), (0, ""));
    assert_eq!(said.out, "written one: 2 packages for x86_64\n");
    assert_eq!(ReadIndex::read(&bench.read("one")).unwrap().entries.len(), 2);
}

/// The key passes all checks of its form; only signing shows that its numbers do not match.
#[test]
fn a_key_that_does_not_sign_is_told_as_such() {
    let bench = bench();
    bench.write("ops.rsa", include_str!("key_that_does_not_sign.pem"));
    bench.write("in/a-1-r0.apk", package("a", "1-r0"));
    let said = bench.run(&format!("index in {SIGN}"));
    assert_eq!((said.status, &*said.out), (2, ""));
    let expected = "error: the index can't be signed with ops.rsa\n\
                    cause: the key can't be used\n\
                    hint: `alpinist keygen ops@example.com` makes a new key\n";
    assert_eq!(said.err, expected);
}

#[test]
fn what_can_not_be_read_is_told_with_its_cause() {
    let bench = bench();
    let said = bench.run(&format!("index absent {SIGN}"));
    assert_eq!((said.status, &*said.out), (2, ""));
    let expected = "error: can't list absent\ncause: No such file or directory (os error 2)\n";
    assert_eq!(said.err, expected);

    bench.write("in/a-1-r0.apk", package("a", "1-r0"));
    bench.write("ops.rsa", "no key");
    let said = bench.run(&format!("index in {SIGN}"));
    assert_eq!((said.status, &*said.out), (2, ""));
    assert!(said.err.starts_with("error: ops.rsa holds no usable private key\n"), "{}", said.err);
}

use std::{fs, os::unix::fs::PermissionsExt as _};

use alpinist_apk::index_archive::IndexArchive;

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

//! The embedded form: an index without AWS.

use std::fs;

use alpinist_apk::index_archive::IndexArchive;
use alpinist_tests::{ApkClient, KeyPair, PackageSpec};

use crate::fixture::Operator;

#[test]
fn the_real_apk_installs_from_an_indexed_directory() {
    let operator = Operator::without_aws();
    let key_pair = KeyPair::generate("ops@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    fs::write(operator.path().join("ops.rsa"), key_pair.private()).unwrap();
    let files = [
        operator.build(&PackageSpec::new("hello", "1.0").depends("lib++>=2"), "x86_64"),
        operator.build(&PackageSpec::new("lib++", "2.1"), "x86_64"),
        operator.build(&PackageSpec::new("data", "1").architecture("noarch"), "x86_64"),
    ];
    let said = operator.done(&format!("index x86_64 --key ops.rsa --key-name {}", key_pair.name()));
    assert_eq!(said, "written x86_64/APKINDEX.tar.gz: 3 packages for x86_64\n");

    let repository = operator.path().to_str().unwrap();
    let client = ApkClient::new(operator.tools.apk(), repository, "x86_64").unwrap();
    client.trust(key_pair.name(), key_pair.public().unwrap().as_bytes()).unwrap();
    let update = client.update().unwrap();
    assert!(update.status.success(), "{update}");
    let add = client.add(&["hello", "data"]).unwrap();
    assert!(add.status.success(), "{add}");
    let installed = client.installed().unwrap().text;
    for package in ["hello-1.0-r0", "lib++-2.1-r0", "data-1-r0"] {
        assert!(installed.contains(package), "{installed}");
    }

    let ours = fs::read(operator.path().join("x86_64/APKINDEX.tar.gz")).unwrap();
    let ours = IndexArchive::read(&ours).unwrap().index.to_string();
    let oracle = operator.tools.apk().index("x86_64", &files).unwrap();
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("oracle"), oracle).unwrap();
    let mut tar = std::process::Command::new("tar");
    let tar =
        tar.arg("xzOf").arg(directory.path().join("oracle")).arg("APKINDEX").output().unwrap();
    assert_eq!(ours, String::from_utf8(tar.stdout).unwrap());
}

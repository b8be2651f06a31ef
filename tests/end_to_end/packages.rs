//! Packages of all kinds: odd names and versions, all architectures, and real ones made by others.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use alpinist_apk::index_archive::IndexArchive;
use alpinist_tests::{PackageSpec, workspace};

use crate::repository::{Repository, assert_succeeded};

#[tokio::test]
async fn names_with_a_plus_and_versions_with_a_tilde_can_be_installed() {
    let repository = Repository::open("plus-and-tilde").await;
    for (name, version) in [("g++", "13.2"), ("hello", "1.0~rc1"), ("libstdc++", "1.0_git20260101")]
    {
        repository.publish(&repository.build(&PackageSpec::new(name, version))).await;
        assert_eq!(repository.install(name).await, format!("{name} {version}\n"));
    }
}

#[tokio::test]
async fn a_package_for_all_architectures_is_installed_from_the_directory_of_one() {
    let repository = Repository::open("noarch").await;
    let data = PackageSpec::new("data", "1.0").architecture("noarch");
    repository.publish(&repository.build(&data)).await;
    assert_eq!(repository.install("data").await, "data 1.0\n");
}

#[tokio::test]
async fn entries_of_built_packages_equal_those_of_apk_index() {
    let repository = Repository::open("oracle").await;
    let directory = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for spec in [
        PackageSpec::new("b", "1.0").depends("a>=1").depends("!c").depends("so:libc.so.1"),
        PackageSpec::new("A", "2.0_rc1").release(3),
        PackageSpec::new("a+b", "0.1").architecture("noarch"),
    ] {
        let package = repository.build(&spec);
        repository.publish(&package).await;
        files.push(package.save(directory.path()).unwrap());
    }
    assert_index_equals_oracle(&repository, "x86_64", &files).await;
}

/// Compares the whole text of the published index with that of the real `apk index`.
pub(crate) async fn assert_index_equals_oracle(
    repository: &Repository,
    architecture: &str,
    files: &[PathBuf],
) {
    let oracle = repository.stack.apk().index(architecture, files).unwrap();
    let oracle = apkindex(&oracle);
    let key = repository.index_key().replace("x86_64", architecture);
    let published = repository.stack.get(&key).await.unwrap().unwrap();
    assert_eq!(apkindex(&published), oracle);
    assert_eq!(IndexArchive::read(&published).unwrap().index.to_string(), oracle);
}

/// The text of an index, extracted with tar(1).
pub(crate) fn apkindex(archive: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), archive).unwrap();
    let tar = Command::new("tar").arg("xzOf").arg(file.path()).arg("APKINDEX").output().unwrap();
    assert!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
    String::from_utf8(tar.stdout).unwrap()
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test]
async fn real_packages_are_listed_as_apk_index_lists_them_and_can_be_fetched() {
    let Some(fixtures) = workspace::fixtures() else { return };
    let repository = Repository::open("real").await;
    for architecture in ["x86_64", "aarch64"] {
        let mut accepted = Vec::new();
        for file in files_in(&fixtures.join("packages")) {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            let key = format!("real/main/{architecture}/{name}");
            let bytes = fs::read(&file).unwrap();
            let execution = repository.stack.upload(&key, bytes.clone()).await.unwrap();
            if execution.error.is_some() {
                let cause = execution.cause.as_deref().unwrap_or_default();
                assert!(cause.contains("it was built for"), "{key}: {execution:#?}");
                continue;
            }
            assert_succeeded(&execution);
            accepted.push((file, bytes));
        }
        assert!(!accepted.is_empty());
        let files: Vec<_> = accepted.iter().map(|(file, _)| file.clone()).collect();
        assert_index_equals_oracle(&repository, architecture, &files).await;

        let client = repository.stack.client("real/main", architecture).await.unwrap();
        let update = client.update().unwrap();
        assert!(update.status.success(), "{update}");
        for (file, bytes) in accepted {
            let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
            let name = stem.rsplitn(3, '-').last().unwrap();
            let (output, fetched) = client.fetch(name).unwrap();
            assert_eq!(fetched.as_deref(), Some(&*bytes), "{name}: {output}");
        }
    }
}

#[tokio::test]
async fn openssl_verifies_both_signatures_of_an_index() {
    let repository = Repository::open("openssl").await;
    repository.publish(&repository.build(&PackageSpec::new("hello", "1.0"))).await;
    let index = repository.stack.get(&repository.index_key()).await.unwrap().unwrap();
    let key_name = repository.stack.key_name().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let public_key = repository.stack.get(&key_name).await.unwrap().unwrap();
    fs::write(path("key"), public_key).unwrap();
    fs::write(path("index"), &index).unwrap();
    fs::write(path("unsigned"), IndexArchive::read(&index).unwrap().unsigned).unwrap();
    for (algorithm, digest) in [("RSA256", "-sha256"), ("RSA", "-sha1")] {
        let entry = format!(".SIGN.{algorithm}.{key_name}");
        let tar = Command::new("tar").arg("xzOf").arg(path("index")).arg(entry).output().unwrap();
        fs::write(path("signature"), tar.stdout).unwrap();
        let mut openssl = Command::new("openssl");
        openssl.args(["dgst", digest, "-verify"]).arg(path("key"));
        openssl.arg("-signature").arg(path("signature")).arg(path("unsigned"));
        let output = openssl.output().unwrap();
        assert!(
            output.status.success(),
            "{algorithm}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
}

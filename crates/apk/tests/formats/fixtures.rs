//! What other tools made: packages by Alpine's builders and by melange, an index by Alpine.
//!
//! They are not part of the project, but next to it in `../shared/fixtures`. The golden files in
//! `entries/` are what `apk index --rewrite-arch` writes for them. Each test has a counterpart in
//! another module that needs no such file.

use std::{
    collections::BTreeSet,
    env, fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use alpinist_apk::{
    checksum::DataHash,
    entry::IndexEntry,
    index::Index,
    index_archive::IndexArchive,
    key::VerifyingKey,
    key_name::KeyName,
    package::{Package, PackageError},
    signature::Algorithm,
    value::Architecture,
};
use alpinist_samples::{gzip::streams, tar::entries};
use sha2::{Digest as _, Sha256};

use crate::support::{read, read_chunks};

const INDEX: &str = "indexes/alpine-3.16-APKINDEX.tar.gz";
const INDEX_KEY: &str = "alpine-devel@lists.alpinelinux.org-6165ee59.rsa.pub";

fn fixtures() -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures");
    env::var_os("ALPINIST_FIXTURES").map_or(beside, PathBuf::from)
}

/// Returns whether the fixtures are missing, and says so. In CI, or if `ALPINIST_FIXTURES` is set,
/// fails instead.
fn fixtures_are_absent() -> bool {
    let folder = fixtures();
    if folder.join("packages").is_dir() {
        return false;
    }
    let message = format!(
        "no fixtures in {}: not checked. Set ALPINIST_FIXTURES to a folder with `packages`, \
         `indexes` and `keys`\n",
        folder.display()
    );
    let promised = env::var_os("CI").is_some() || env::var_os("ALPINIST_FIXTURES").is_some();
    assert!(!promised, "{message}");
    io::stderr().write_all(message.as_bytes()).unwrap();
    true
}

/// Returns a folder of v3 files, or says that it is missing, like [`fixtures_are_absent`].
pub(crate) fn v3(folder: &str) -> Option<PathBuf> {
    let folder = fixtures().join("../v3").join(folder);
    if folder.is_dir() {
        return Some(folder);
    }
    let message = format!("no v3 files in {}: not checked\n", folder.display());
    let promised = env::var_os("CI").is_some() || env::var_os("ALPINIST_FIXTURES").is_some();
    assert!(!promised, "{message}");
    io::stderr().write_all(message.as_bytes()).unwrap();
    None
}

/// Returns the index of Alpine 3.16, if it is there.
pub(crate) fn alpine_index() -> Option<Vec<u8>> {
    (!fixtures_are_absent()).then(|| fixture(INDEX))
}

fn fixture(path: &str) -> Vec<u8> {
    let path = fixtures().join(path);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the stems of the file names in a folder.
fn stems(folder: &Path) -> BTreeSet<String> {
    let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    fs::read_dir(folder).unwrap().map(|file| stem(file.unwrap().path())).collect()
}

fn packages() -> impl Iterator<Item = (String, Vec<u8>)> {
    stems(&fixtures().join("packages")).into_iter().map(|stem| {
        let bytes = fixture(&format!("packages/{stem}.apk"));
        (stem, bytes)
    })
}

fn key(name: &str) -> VerifyingKey {
    let pem = String::from_utf8(fixture(&format!("keys/{name}"))).unwrap();
    VerifyingKey::from_pem(&pem).unwrap()
}

/// Makes the entry of a package in the directory of its own architecture, or of `x86_64` if it fits
/// all.
fn entry(package: Package) -> IndexEntry {
    let Package { metadata, identity, size, has_content, .. } = package;
    let architecture = if metadata.architecture.is_noarch() {
        "x86_64".parse::<Architecture>().unwrap()
    } else {
        metadata.architecture.clone()
    };
    IndexEntry::new(metadata, architecture, identity, size, has_content).unwrap()
}

#[test]
fn each_real_package_has_the_entry_that_apk_index_writes() {
    if fixtures_are_absent() {
        return;
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/entries");
    assert_eq!(stems(&fixtures().join("packages")), stems(&golden));
    for (stem, bytes) in packages() {
        let package = read(&bytes).unwrap_or_else(|error| panic!("{stem}: {error}"));
        let expected = fs::read_to_string(golden.join(format!("{stem}.txt"))).unwrap();
        let entry = entry(package);
        assert_eq!(entry.to_string(), expected, "{stem}");
        assert_eq!(entry.file_stem(), stem);
    }
}

#[test]
fn each_real_package_is_signed_by_the_key_that_it_names() {
    if fixtures_are_absent() {
        return;
    }
    let names: Vec<_> = fs::read_dir(fixtures().join("keys"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut signed = 0;
    for (stem, bytes) in packages() {
        for signature in read(&bytes).unwrap().signatures.control() {
            let claimed = signature.name.key_name.to_string();
            let found: Vec<_> = names.iter().filter(|name| signature.is_by(&key(name))).collect();
            let expected: Vec<_> = names.iter().filter(|name| **name == claimed).collect();
            assert_eq!(found, expected, "{stem}");
            signed += found.len();
        }
    }
    assert!(signed > 0, "some are signed by a key that lies beside them");
}

#[test]
fn real_packages_are_the_same_in_small_chunks() {
    if fixtures_are_absent() {
        return;
    }
    for (stem, bytes) in packages() {
        assert_eq!(read_chunks(bytes.chunks(7)), read(&bytes), "{stem}");
    }
}

#[test]
fn real_packages_that_are_cut_off_anywhere_are_rejected() {
    if fixtures_are_absent() {
        return;
    }
    for (stem, bytes) in packages() {
        for length in (0..bytes.len()).step_by(23) {
            assert!(read(&bytes[..length]).is_err(), "{stem} cut to {length}");
        }
    }
}

#[test]
fn real_packages_with_other_data_than_they_declare_are_rejected() {
    if fixtures_are_absent() {
        return;
    }
    let mut all = packages();
    let (Some((_, first)), Some((_, second))) = (all.next(), all.next()) else {
        panic!("fewer than two packages")
    };
    let data = streams(&second).pop().unwrap().0;
    let leading = first.len() - streams(&first).pop().unwrap().0.len();
    let mixed = [&first[..leading], data].concat();
    let error = read(&mixed).unwrap_err();
    assert!(matches!(error, PackageError::DataHash { .. }), "{error}");
}

#[test]
fn the_index_of_alpine_prints_as_it_was_written() {
    if fixtures_are_absent() {
        return;
    }
    let bytes = fixture(INDEX);
    let archive = IndexArchive::read(&bytes).unwrap();
    assert_eq!(archive.index.entries().len(), 4929);
    assert_eq!(archive.description, "v3.16.3-13-g4d933a1fa3");
    let [_, (stream, tar)] = &*streams(&bytes) else { panic!("not two gzip streams") };
    assert_eq!(archive.unsigned, *stream);
    let written = entries(tar).0[1].1;
    assert!(archive.index.to_string().as_bytes() == written, "prints otherwise");
}

/// The hash is that of the entries in the order of a throw-away program that was checked against
/// `apk index`.
#[test]
fn the_index_of_alpine_has_the_order_of_apk_index_once_it_is_sorted() {
    if fixtures_are_absent() {
        return;
    }
    let bytes = fixture(INDEX);
    let archive = IndexArchive::read(&bytes).unwrap();
    let sorted = Index::new(archive.index.entries().iter().cloned()).to_string();
    let hash = DataHash::new(Sha256::digest(sorted).into()).to_string();
    assert_eq!(hash, "042ca35ff6eb35355ad4a875673ae730c8de0d3a8f6313a1c7d6df4c275df2c1");
}

#[test]
fn the_index_of_alpine_verifies_with_its_key() {
    if fixtures_are_absent() {
        return;
    }
    let bytes = fixture(INDEX);
    let archive = IndexArchive::read(&bytes).unwrap();
    let name: KeyName = INDEX_KEY.parse().unwrap();
    let [(signature, _)] = &*archive.signatures else { panic!("not one signature") };
    assert_eq!(signature.algorithm, Algorithm::RsaSha1);
    assert_eq!(signature.key_name, name);
    assert!(archive.is_signed_by(&name, &key(INDEX_KEY)));
    assert!(!archive.is_signed_by(&name, &key("melange.rsa.pub")));
    assert!(!archive.is_signed_by(&"melange.rsa.pub".parse().unwrap(), &key(INDEX_KEY)));
}

#[test]
fn the_index_of_alpine_with_a_flipped_bit_is_rejected_or_does_not_verify() {
    if fixtures_are_absent() {
        return;
    }
    let bytes = fixture(INDEX);
    let (name, key) = (INDEX_KEY.parse().unwrap(), key(INDEX_KEY));
    let signed = streams(&bytes)[0].0.len();
    let places = [300, signed + 4, signed + 9, bytes.len() / 2, bytes.len() - 1];
    for position in places {
        let mut flipped = bytes.clone();
        flipped[position] ^= 1;
        let accepted =
            IndexArchive::read(&flipped).is_ok_and(|archive| archive.is_signed_by(&name, &key));
        assert!(!accepted, "accepted a flipped bit at byte {position}");
    }
}

#[test]
fn an_index_in_place_of_a_package_is_rejected_by_name() {
    if fixtures_are_absent() {
        return;
    }
    assert_eq!(read(&fixture(INDEX)), Err(PackageError::IsAnIndex));
}

#[test]
fn real_public_keys_are_read_and_written_alike() {
    if fixtures_are_absent() {
        return;
    }
    let keys = fs::read_dir(fixtures().join("keys")).unwrap();
    let names = keys.map(|file| file.unwrap().file_name().into_string().unwrap());
    let names: Vec<_> = names.collect();
    assert_eq!(names.len(), 4);
    for name in names {
        assert!(name.parse::<KeyName>().is_ok(), "{name}");
        let pem = String::from_utf8(fixture(&format!("keys/{name}"))).unwrap();
        assert_eq!(key(&name).to_pem().unwrap().trim(), pem.trim(), "{name}");
    }
}

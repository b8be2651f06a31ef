//! The signed index: what we write, and what a client would reject.

use std::{fs, io::Write as _};

use alpinist_apk::{
    block::{self, Block},
    entry::IndexEntry,
    index::Index,
    index_archive::{self, IndexArchive},
    key::SigningKey,
    key_name::KeyName,
    signature::Algorithm,
    text::chain,
};
use alpinist_samples::{
    gzip::{gzip, streams},
    tar::{BLOCK, end_of_archive, entries, file, patched},
};
use flate2::{Compression, write::GzEncoder};
use insta::assert_snapshot;
use rand_core::OsRng;
use rstest::{Context, rstest};
use tar::EntryType;

use crate::support::openssl::{key_name, openssl, pem, signed, signing_key};

/// No name, no time, neither the best nor the fastest compression, no system (RFC 1952).
const SIGNATURES_HEADER: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\xff";

/// An extra field, no name, no time, the best compression, no system (RFC 1952).
const UNSIGNED_HEADER: &[u8] = b"\x1f\x8b\x08\x04\0\0\0\0\x02\xff";

fn index_entry(name: &str, version: &str) -> IndexEntry {
    let rest = "A:x86_64\nS:1\nI:1\nT:\nU:\nL:MIT\n\n";
    format!("C:Q1DNWZeWkviN7MJedLpYM8yBvmnGM=\nP:{name}\nV:{version}\n{rest}").parse().unwrap()
}

fn index() -> Index {
    Index::new([index_entry("b", "1-r0"), index_entry("g++", "1.0~abc-r0"), index_entry("a", "2")])
}

fn unsigned() -> Vec<u8> {
    index_archive::write_unsigned("v3.22", &index()).unwrap()
}

fn sign(unsigned: &[u8]) -> Vec<u8> {
    signed(unsigned, &key_name())
}

fn paths(tar: &[u8]) -> Vec<String> {
    let path = |header: &tar::Header| String::from_utf8(header.path_bytes().into()).unwrap();
    entries(tar).0.iter().map(|(header, _)| path(header)).collect()
}

#[test]
fn an_unsigned_index_is_a_description_then_the_entries_then_an_end_of_archive() {
    let unsigned = unsigned();
    let [(stream, tar)] = &*streams(&unsigned) else { panic!("not one gzip stream") };
    assert!(stream.starts_with(UNSIGNED_HEADER), "{:x?}", &stream[..10]);
    assert_eq!(paths(tar), ["DESCRIPTION", "APKINDEX"]);
    let (files, length) = entries(tar);
    assert_eq!(files[0].1, b"v3.22");
    assert_eq!(files[1].1, index().to_string().as_bytes());
    assert_eq!(tar[length..], [0; 2 * BLOCK]);
}

#[test]
fn a_signed_index_has_the_stronger_signature_first_and_only_one_end_of_archive() {
    let unsigned = unsigned();
    let signed = sign(&unsigned);
    let [(stream, tar), (second, _)] = &*streams(&signed) else { panic!("not two gzip streams") };
    assert_eq!(second, &unsigned);
    assert!(stream.starts_with(SIGNATURES_HEADER), "{:x?}", &stream[..10]);
    let name = key_name();
    assert_eq!(paths(tar), [format!(".SIGN.RSA256.{name}"), format!(".SIGN.RSA.{name}")]);
    assert_eq!(entries(tar).1, tar.len());
}

#[test]
fn the_longest_key_name_fits_a_header() {
    let name: KeyName = format!("{}.rsa.pub", "k".repeat(72)).parse().unwrap();
    let signed = signed(&unsigned(), &name);
    let (_, tar) = &streams(&signed)[0];
    assert_eq!(paths(tar), [format!(".SIGN.RSA256.{name}"), format!(".SIGN.RSA.{name}")]);
}

#[test]
fn all_headers_have_fixed_modes_owners_and_times() {
    for (_, tar) in streams(&sign(&unsigned())) {
        for (header, _) in entries(&tar).0 {
            assert_eq!(header.entry_type(), EntryType::Regular);
            assert_eq!(header.as_old().linkflag, *b"0");
            assert_eq!(header.mode().unwrap(), 0o644);
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
            assert_eq!(header.mtime().unwrap(), 0);
        }
    }
}

#[test]
fn the_same_entries_give_the_same_bytes_in_whatever_order_they_come() {
    let mut entries = index().entries().to_vec();
    entries.reverse();
    let other = index_archive::write_unsigned("v3.22", &Index::new(entries)).unwrap();
    assert_eq!(other, unsigned());
    assert_eq!(sign(&other), sign(&unsigned()));
}

#[rstest]
#[case::rsa256(0, "-sha256")]
#[case::rsa(1, "-sha1")]
fn openssl_accepts_each_signature(#[case] position: usize, #[case] digest: &str) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let unsigned = unsigned();
    let signed = sign(&unsigned);
    let (_, tar) = &streams(&signed)[0];
    let signature = write("signature", entries(tar).0[position].1);
    let key = write("key", signing_key().verifying_key().to_pem().unwrap().as_bytes());
    let said = openssl(&["dgst", digest, "-verify", &key, "-signature", &signature], &unsigned);
    assert_eq!(said, b"Verified OK\n");
}

#[test]
fn a_signed_index_is_read_back() {
    let unsigned = unsigned();
    let signed = sign(&unsigned);
    let archive = IndexArchive::read(&signed).unwrap();
    assert_eq!(archive.index, index());
    assert_eq!(archive.description, "v3.22");
    assert_eq!(archive.unsigned, unsigned);
    let names = archive.signatures.iter().map(|(name, _)| (name.algorithm, &name.key_name));
    let name = key_name().into();
    assert!(names.eq([(Algorithm::RsaSha256, &name), (Algorithm::RsaSha1, &name)]));
}

#[test]
fn an_index_without_entries_is_read_back() {
    let signed = sign(&index_archive::write_unsigned("", &Index::default()).unwrap());
    assert_eq!(IndexArchive::read(&signed).unwrap().index, Index::default());
}

#[test]
fn a_client_needs_the_key_under_its_name() {
    let signed = sign(&unsigned());
    let archive = IndexArchive::read(&signed).unwrap();
    let key = signing_key().verifying_key();
    let stranger = SigningKey::from_pem(&pem(&["genrsa", "2048"], "")).unwrap().verifying_key();
    let other: KeyName = "other.rsa.pub".parse().unwrap();
    assert!(archive.is_signed_by(&key_name(), &key));
    assert!(!archive.is_signed_by(&key_name(), &stranger));
    assert!(!archive.is_signed_by(&other, &key));
}

#[test]
fn what_was_written_is_told_from_anything_else() {
    let (index, unsigned) = (index(), unsigned());
    let blocks = |index: &Index| block::cut(index.entries()).map(Block::new).collect::<Vec<_>>();
    let own = blocks(&index);
    let (name, key) = (key_name(), signing_key().verifying_key());
    let signatures = index_archive::split(&sign(&unsigned)).unwrap().0;
    let seal = |description, blocks: &[Block], unsigned: &[u8], keys: &[(&KeyName, _)]| {
        index_archive::seal(description, blocks, unsigned, &signatures, keys.iter().copied())
    };
    let sealed = seal("v3.22", &own, &unsigned, &[(&name, &key)]).unwrap();
    assert_eq!(sealed, sign(&unsigned));

    let entries = index.entries().to_vec();
    let others = [
        entries[..2].to_vec(),
        [&*entries, &[index_entry("z", "1")]].concat(),
        [&entries[..2], &[index_entry("g++", "1.1-r0")]].concat(),
    ];
    for other in others {
        assert!(seal("v3.22", &blocks(&Index::new(other)), &unsigned, &[(&name, &key)]).is_err());
    }
    let other: KeyName = "other.rsa.pub".parse().unwrap();
    assert!(seal("v3.22", &own, &unsigned, &[(&name, &key), (&other, &key)]).is_err());
    assert!(seal("v3.21", &own, &unsigned, &[(&name, &key)]).is_err());
    let cut = &unsigned[..unsigned.len() - 1];
    assert!(seal("v3.22", &own, cut, &[(&name, &key)]).is_err());
}

#[test]
fn a_client_tries_only_the_first_signature_of_its_key() {
    let signed = sign(&unsigned());
    let mut archive = IndexArchive::read(&signed).unwrap();
    let key = signing_key().verifying_key();
    let wrong = signing_key().sign(Algorithm::RsaSha256, b"other", &mut OsRng).unwrap();
    archive.signatures[1].1 = wrong.clone();
    assert!(archive.is_signed_by(&key_name(), &key), "the second is not tried");
    archive.signatures[0].1 = wrong;
    assert!(!archive.is_signed_by(&key_name(), &key));
}

#[test]
fn an_index_with_a_flipped_bit_anywhere_is_rejected_or_does_not_verify() {
    let signed = sign(&unsigned());
    let signatures = streams(&signed)[0].0.len();
    let key = signing_key().verifying_key();
    for position in signatures..signed.len() {
        let mut flipped = signed.clone();
        flipped[position] ^= 1;
        let accepted = IndexArchive::read(&flipped)
            .is_ok_and(|archive| archive.is_signed_by(&key_name(), &key));
        assert!(!accepted, "accepted a flipped bit at byte {position}");
    }
}

#[test]
fn an_index_that_is_cut_off_anywhere_is_rejected() {
    let signed = sign(&unsigned());
    for length in 0..signed.len() {
        let read = IndexArchive::read(&signed[..length]);
        assert!(read.is_err(), "accepted the first {length} of {} bytes", signed.len());
    }
}

fn signatures() -> Vec<u8> {
    file(".SIGN.RSA.ops.rsa.pub", [7; 256])
}

fn content() -> Vec<u8> {
    file("APKINDEX", index().to_string())
}

fn two_streams(first: &[u8], second: Vec<u8>) -> Vec<u8> {
    [gzip(first), gzip([second, end_of_archive()].concat())].concat()
}

#[rstest]
#[case::without_a_description(two_streams(&signatures(), content()))]
#[case::description_last(two_streams(&signatures(), [content(), file("DESCRIPTION", "d")].concat()))]
#[case::signature_of_an_unknown_kind(
    two_streams(&[file(".SIGN.X.key", "?"), signatures()].concat(), content())
)]
#[case::stray_zero_block(two_streams(&[signatures(), vec![0; BLOCK]].concat(), content()))]
#[case::no_end_of_archive([gzip(signatures()), gzip(content())].concat())]
fn an_index_that_clients_load_is_read(#[case] bytes: Vec<u8>) {
    assert_eq!(IndexArchive::read(&bytes).unwrap().index, index());
}

#[rstest]
#[case::no_bytes(vec![])]
#[case::no_gzip(b"APKINDEX".to_vec())]
#[case::without_signatures(unsigned())]
#[case::two_indexes_and_no_signatures([unsigned(), unsigned()].concat())]
#[case::index_over_two_streams([sign(&unsigned()), unsigned()].concat())]
#[case::trailing_bytes([sign(&unsigned()), vec![0]].concat())]
#[case::end_of_archive_after_the_signatures(
    two_streams(&[signatures(), end_of_archive()].concat(), content())
)]
#[case::no_signature_among_the_signatures(two_streams(&[], content()))]
#[case::something_among_the_signatures(
    two_streams(&[signatures(), file("DESCRIPTION", "d")].concat(), content())
)]
#[case::signature_as_file_of_v7(two_streams(&patched(signatures(), 156, b"\0"), content()))]
#[case::index_as_file_of_v7(two_streams(&signatures(), patched(content(), 156, b"\0")))]
#[case::no_tar_in_the_index([gzip(signatures()), gzip("P:a\n")].concat())]
#[case::no_index_in_the_tar(two_streams(&signatures(), file("DESCRIPTION", "d")))]
#[case::two_indexes_in_the_tar(two_streams(&signatures(), [content(), content()].concat()))]
#[case::index_in_a_directory(
    two_streams(&signatures(), file("./APKINDEX", index().to_string()))
)]
#[case::info_in_the_tar(two_streams(&signatures(), [content(), file(".PKGINFO", "")].concat()))]
#[case::index_not_utf8(two_streams(&signatures(), file("APKINDEX", b"C:\xff\n")))]
#[case::second_entry_without_a_version(
    two_streams(&signatures(), file("APKINDEX", index().to_string().replace("V:1-r0\n", "")))
)]
#[case::entry_with_a_bad_checksum(
    two_streams(&signatures(), file("APKINDEX", index().to_string().replace("C:Q1", "C:Q2")))
)]
#[case::entry_with_a_bad_number(
    two_streams(&signatures(), file("APKINDEX", index().to_string().replace("S:1", "S:one")))
)]
#[case::entry_with_a_bad_dependency(
    two_streams(&signatures(), file("APKINDEX", index().to_string().replace("MIT", "MIT\nD:a=x")))
)]
#[case::entry_with_an_unknown_field(
    two_streams(&signatures(), file("APKINDEX", index().to_string().replace("MIT", "MIT\nZ:1")))
)]
#[case::entry_with_a_line_of_one_letter(
    two_streams(&signatures(), file("APKINDEX", index().to_string().replace("MIT", "MIT\nX")))
)]
#[case::index_with_an_empty_entry(
    two_streams(&signatures(), file("APKINDEX", format!("\n{}", index())))
)]
fn an_index_that_clients_reject_is_rejected(#[context] context: Context, #[case] bytes: Vec<u8>) {
    let error = IndexArchive::read(&bytes).unwrap_err();
    assert_snapshot!(context.description.unwrap(), chain(&error));
}

#[test]
fn an_index_that_inflates_beyond_all_measure_is_rejected() {
    let header = patched(file("APKINDEX", ""), 124, b"77777777777");
    let megabyte = vec![b'\n'; 1024 * 1024];
    let mut encoder = GzEncoder::new(gzip(signatures()), Compression::fast());
    encoder.write_all(&header).unwrap();
    for _ in 0..128 {
        encoder.write_all(&megabyte).unwrap();
    }
    let error = IndexArchive::read(&encoder.finish().unwrap()).unwrap_err();
    assert_snapshot!("bomb", chain(&error));
}

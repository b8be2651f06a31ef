//! `Packages.adb`: what we write, what others wrote, and what is refused.

use std::{fs, path::Path};

use alpinist_apk::{
    adb::{
        builder::{Builder, Stored},
        container::{ContainerError, ContainerReader, Piece, Schema},
        index::{AdbIndex, AdbIndexError, ReadIndex, Unfit},
        signature::{AdbSignature, PayloadDigest},
        value::Reader,
    },
    dependency::Dependencies,
    entry::IndexEntry,
    index_archive::IndexArchive,
    key::{SigningKey, VerifyingKey},
    text::chain,
};
use alpinist_samples::gzip::streams;
use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use insta::assert_snapshot;
use rand_core::OsRng;
use rstest::{Context, rstest};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};

use crate::{
    fixtures::{alpine_index, v3},
    support::openssl::{KEY, P256, P384},
};

const V3: &str = "C:Q2ypnNQgDCM8SJ1ZnQeMPnvhYgMd9iJXR/SyVPz8LFjuQ=";

fn entry(name: &str, version: &str, more: &str) -> IndexEntry {
    let head = "A:x86_64\nS:2\nI:1\nT:demo\nU:\nL:MIT\n";
    let hash = "C:Q1DNWZeWkviN7MJedLpYM8yBvmnGM=";
    IndexEntry::from_stored(&format!("{hash}\nP:{name}\nV:{version}\n{head}{more}")).unwrap()
}

/// An entry with every field.
fn full() -> IndexEntry {
    let text = format!(
        "{V3}\nP:full\nV:2.1_rc3~0abc-r7\nA:x86_64\nS:4294967296\nI:268435456\nT:{}\nU:u\nL:l\n\
         o:o\nm:m\nt:18446744073709551615\nc:0123456789abcdef0123456789abcdef01234567\nk:65535\n\
         D:/bin/sh b<3 b>1 cmd:x~2 !evil !old<2\np:so:libc.so=1 virt\ni:docs full=2\n\
         r:old other>=1\ne:nice\ng:openwrt:abiversion=20 alpine:x alpine:x\ny:268435455\n",
        "d".repeat(300)
    );
    IndexEntry::from_stored(&text).unwrap()
}

fn entries() -> Vec<IndexEntry> {
    vec![
        entry("b", "1.10-r0", "D:a\n"),
        entry("b", "1.9-r0", "D:a\n"),
        full(),
        entry("g++", "1.0~abc-r0", ""),
        entry("Z", "1", ""),
    ]
}

/// Returns the index, signed by these keys.
fn sealed(index: &AdbIndex<'_>, keys: &[SigningKey]) -> Vec<u8> {
    let payload = index.payload().unwrap();
    let public: Vec<_> = keys.iter().map(SigningKey::verifying_key).collect();
    index.seal(&payload, &signatures(&payload, keys), &public).unwrap()
}

fn signatures(payload: &[u8], keys: &[SigningKey]) -> Vec<AdbSignature> {
    let digest = PayloadDigest::of(payload);
    let sign = |key| AdbSignature::sign(key, Schema::Index, &digest, &mut OsRng).unwrap();
    keys.iter().map(sign).collect()
}

fn keys() -> [SigningKey; 3] {
    [&KEY, &P256, &P384].map(|pem| SigningKey::from_pem(pem).unwrap())
}

fn index(entries: &[IndexEntry]) -> AdbIndex<'_> {
    let (index, left_out) = AdbIndex::new("v3.22", entries);
    assert!(left_out.is_empty());
    index
}

#[test]
fn a_signed_index_is_read_back() {
    let entries = entries();
    let keys = keys();
    let read = ReadIndex::read(&sealed(&index(&entries), &keys)).unwrap();
    assert_eq!(read.description, "v3.22");
    assert_eq!(read.signatures.len(), 3);
    for key in &keys {
        assert!(read.is_signed_by(&key.verifying_key()));
    }
    let [stranger, ..] = [SigningKey::generate_p256(&mut OsRng).unwrap()];
    assert!(!read.is_signed_by(&stranger.verifying_key()));
    let found: Vec<_> = read.entries.iter().map(IndexEntry::file_stem).collect();
    assert_eq!(found, ["Z-1", "b-1.9-r0", "b-1.10-r0", "full-2.1_rc3~0abc-r7", "g++-1.0~abc-r0"]);
    let mut meant = full();
    // In the order of apk: by name, then by version.
    meant.metadata.depends = list("/bin/sh b>1 b<3 cmd:x~2 !evil !old<2");
    assert_eq!(read.entries[3], meant);
}

fn list(tokens: &str) -> Dependencies {
    entry("a", "1", &format!("D:{tokens}\n")).metadata.depends
}

#[test]
fn the_same_entries_give_the_same_bytes_in_whatever_order_they_come() {
    let (entries, keys) = (entries(), keys());
    let reversed: Vec<_> = entries.iter().rev().cloned().collect();
    assert_eq!(sealed(&index(&entries), &keys), sealed(&index(&reversed), &keys));
}

#[test]
fn an_index_is_a_raw_deflate_stream_of_blocks() {
    let entries = [entry("a", "1", "")];
    let index = index(&entries);
    let payload = index.payload().unwrap();
    let sealed = sealed(&index, &keys()[1..2]);
    let stream = inflated(&sealed);
    assert_eq!(&stream[..8], b"ADB.indx");
    let header = u32::try_from(payload.len() + 4).unwrap().to_le_bytes();
    assert_eq!(stream[8..12], header);
    assert_eq!(stream[12..12 + payload.len()], payload);
    let sig = 8 + (4 + payload.len()).next_multiple_of(8);
    assert!(stream[12 + payload.len()..sig].iter().all(|byte| *byte == 0));
    let signature = signatures(&payload, &keys()[1..2])[0].to_block();
    let header = (1 << 30 | u32::try_from(signature.len() + 4).unwrap()).to_le_bytes();
    assert_eq!(stream[sig..sig + 4], header);
    assert_eq!(stream[sig + 4..][..signature.len()], signature);
    assert!(stream.len().is_multiple_of(8));
}

fn inflated(file: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    let deflated = file.strip_prefix(b"ADBd").unwrap();
    DeflateDecoder::new(deflated).read_to_end(&mut stream).unwrap();
    stream
}

#[test]
fn an_index_without_packages_has_a_description_alone() {
    let index = index(&[]);
    // apk refuses a payload of less than 16 bytes (measured).
    assert_eq!(AdbIndex::new("D", []).0.payload().unwrap().len(), 20);
    assert_eq!(ReadIndex::read(&sealed(&index, &keys())).unwrap().entries, []);
    assert!(matches!(AdbIndex::new("", []).0.payload(), Err(AdbIndexError::NoDescription)));
}

/// A package is not lost for what it provides, and apk can't order.
#[test]
fn what_format_v3_can_not_have_is_left_out() {
    let entries = [
        entry("a", "6.8.0p2-r4", ""),
        entry("b", "1", "D:a=6.8.0p2-r4\n"),
        entry("c", "1", "i:a c=6.8.0p2-r4\n"),
        entry("d", "1", "r:a<6.8.0p2-r4\n"),
        entry("e", "1", "e:a<6.8.0p2-r4\n"),
        entry("f", "1", "D:a><Q1DNWZeWkviN7MJedLpYM8yBvmnGM=\np:cmd:x=1.12.2-1~x86_64 y=1\n"),
    ];
    let (index, left_out) = AdbIndex::new("D", &entries);
    let left_out: Vec<_> =
        left_out.iter().map(|left| (left.entry.metadata.name.as_str(), left.reason)).collect();
    assert_eq!(
        left_out,
        [
            ("a", Unfit::Version),
            ("b", Unfit::Dependency),
            ("c", Unfit::Dependency),
            ("d", Unfit::Dependency),
            ("e", Unfit::Dependency),
        ]
    );
    assert_eq!(index.entries(), [&entries[5]]);
    let [read] = &*ReadIndex::read(&sealed(&index, &keys())).unwrap().entries else {
        panic!("not one entry")
    };
    assert_eq!(read.metadata.provides.as_str(), "y=1");
    assert_eq!(read.metadata.depends, entries[5].metadata.depends);
}

#[test]
fn lists_are_sorted_and_have_nothing_twice() {
    let entries = [entry("a", "1", "D:b>=1 c b=1 b !b=1 b=1 b<1 a,b\n")];
    let read = ReadIndex::read(&sealed(&index(&entries), &keys())).unwrap();
    assert_eq!(read.entries[0].metadata.depends.as_str(), "a,b b b=1 b<1 b>=1 !b=1 c");
}

#[rstest]
#[case::of_git(
    "0123456789ABCDEF0123456789abcdef01234567",
    "0123456789abcdef0123456789abcdef01234567"
)]
#[case::dirty(
    "0123456789abcdef0123456789abcdef01234567-dirty",
    "0123456789abcdef0123456789abcdef01234567"
)]
#[case::short("0123456789abcdef", "")]
#[case::no_digits("größe, but long enough to have forty bytes", "")]
fn a_commit_is_that_of_git(#[case] written: &str, #[case] read: &str) {
    let entries = [entry("a", "1", &format!("c:{written}\n"))];
    let index = ReadIndex::read(&sealed(&index(&entries), &keys())).unwrap();
    assert_eq!(index.entries[0].metadata.commit.as_str(), read);
}

#[test]
fn what_was_meant_is_told_from_anything_else() {
    let (entries, keys) = (entries(), keys());
    let public = keys.each_ref().map(SigningKey::verifying_key);
    let meant = index(&entries);
    let payload = meant.payload().unwrap();
    let seal = |payload: &[u8], signatures: &[AdbSignature], public: &[VerifyingKey]| {
        meant.seal(payload, signatures, public)
    };
    let signed = |payload: &[u8]| signatures(payload, &keys);
    let is_bug = |sealed| matches!(sealed, Err(AdbIndexError::NotAsWritten));
    assert!(seal(&payload, &signed(&payload), &public).is_ok());
    // A key that has not signed, and signatures of something else.
    let stranger = SigningKey::generate_p256(&mut OsRng).unwrap().verifying_key();
    assert!(is_bug(seal(&payload, &signed(&payload), &[public[0].clone(), stranger])));
    assert!(is_bug(seal(&payload, &signed(b"something else"), &public)));
    assert!(is_bug(seal(&payload, &signed(&payload)[..2], &public)));
    // Other entries, and another description.
    let mut others = vec![entries[1..].to_vec(), [&*entries, &[entry("c", "1", "")]].concat()];
    let mut changed = entries.clone();
    changed[0].size += 1;
    others.push(changed);
    for others in others {
        let payload = index(&others).payload().unwrap();
        assert!(is_bug(seal(&payload, &signed(&payload), &public)));
    }
    let payload = AdbIndex::new("v3.23", &entries).0.payload().unwrap();
    assert!(is_bug(seal(&payload, &signed(&payload), &public)));
    // A payload that is damaged.
    let payload = &payload[..payload.len() - 4];
    assert!(seal(payload, &signed(payload), &public).is_err());
}

/// A signature covers what the file inflates to, and few bits of deflate can be another way to say
/// the same.
#[test]
fn an_index_with_a_flipped_bit_is_rejected_or_does_not_verify_or_is_the_same() {
    let entries = entries();
    let key = &keys()[1];
    let sealed = sealed(&index(&entries), std::slice::from_ref(key));
    let original = ReadIndex::read(&sealed).unwrap();
    let mut same = 0;
    for position in 0..sealed.len() {
        let mut flipped = sealed.clone();
        flipped[position] ^= 1;
        let Ok(read) = ReadIndex::read(&flipped) else { continue };
        if read.is_signed_by(&key.verifying_key()) {
            assert_eq!(read, original, "byte {position}");
            same += 1;
        }
    }
    assert!(same < sealed.len() / 20, "{same} of {} bytes", sealed.len());
}

#[test]
fn an_index_that_is_cut_off_anywhere_is_rejected() {
    let entries = entries();
    let sealed = sealed(&index(&entries), &keys());
    for length in 0..sealed.len() {
        let read = ReadIndex::read(&sealed[..length]);
        assert!(read.is_err(), "accepted the first {length} of {} bytes", sealed.len());
    }
    assert!(ReadIndex::read(&[&*sealed, &[0]].concat()).is_err());
}

/// What stands in the slots of an entry that is otherwise a good one.
type Slots<'a> = &'a dyn Fn(&mut Builder) -> Vec<(usize, Stored)>;

/// Returns an index of one package, some slots of which are others.
fn index_with(slots: Slots<'_>) -> Vec<u8> {
    let mut builder = Builder::new();
    let mut info = [Stored::ABSENT; 21];
    info[0] = builder.blob(b"a");
    info[1] = builder.blob(b"1-r0");
    info[2] = builder.blob(&[1; 32]);
    info[4] = builder.blob(b"x86_64");
    for (slot, value) in slots(&mut builder) {
        info[slot - 1] = value;
    }
    let info = builder.object(&info);
    let packages = builder.array(&[info, info]);
    let description = builder.blob(b"D");
    let root = builder.object(&[description, packages]);
    file(&builder.finish(root).unwrap())
}

/// Returns the unsigned file of a payload.
fn file(payload: &[u8]) -> Vec<u8> {
    let mut file = DeflateEncoder::new(b"ADBd".to_vec(), Compression::fast());
    let length = u32::try_from(payload.len() + 4).unwrap();
    file.write_all(b"ADB.indx").unwrap();
    file.write_all(&length.to_le_bytes()).unwrap();
    file.write_all(payload).unwrap();
    file.write_all(&vec![0; (8 - length as usize % 8) % 8]).unwrap();
    file.finish().unwrap()
}

fn depends(builder: &mut Builder, name: &str, version: &str, number: u64) -> Stored {
    let slots =
        [builder.blob(name.as_bytes()), builder.blob(version.as_bytes()), builder.int(number)];
    let dependency = builder.object(&slots);
    builder.array(&[dependency])
}

#[rstest]
#[case::with_nothing_else(&|_: &mut Builder| vec![])]
#[case::with_an_explicit_equal_sign(&|b: &mut Builder| vec![(15, depends(b, "b", "1", 1))])]
#[case::with_a_fuzzy_match(&|b: &mut Builder| vec![(15, depends(b, "b", "1", 8))])]
#[case::with_a_version_that_apk_can_not_order(&|b: &mut Builder| vec![(2, b.blob(b"6.8.0p2-r4"))])]
#[case::with_a_hash_of_v2(&|b: &mut Builder| vec![(3, b.blob(&[1; 20]))])]
fn an_index_of_others_is_read(#[case] slots: Slots<'_>) {
    let read = ReadIndex::read(&index_with(slots)).unwrap();
    assert_eq!(read.entries.len(), 2);
    assert_eq!(read.signatures, []);
}

#[rstest]
#[case::no_hash(&|_: &mut Builder| vec![(3, Stored::ABSENT)])]
#[case::hash_of_33_bytes(&|b: &mut Builder| vec![(3, b.blob(&[1; 33]))])]
#[case::hash_of_64_bytes(&|b: &mut Builder| vec![(3, b.blob(&[1; 64]))])]
#[case::number_as_hash(&|b: &mut Builder| vec![(3, b.int(1))])]
#[case::text_as_size(&|b: &mut Builder| vec![(13, b.blob(b"1"))])]
#[case::listed_without_a_name(&|_: &mut Builder| vec![(1, Stored::ABSENT)])]
#[case::listed_with_a_line_break(&|b: &mut Builder| vec![(4, b.blob(b"a\nP:b"))])]
#[case::unknown_operator(&|b: &mut Builder| vec![(15, depends(b, "b", "1", 7))])]
#[case::listed_with_a_long_text(&|b: &mut Builder| vec![(4, b.blob(&[b'a'; 2000]))])]
#[case::listed_with_a_priority_of_17_bits(&|b: &mut Builder| vec![(14, b.int(65536))])]
fn an_entry_of_others_is_rejected(#[context] context: Context, #[case] slots: Slots<'_>) {
    let error = ReadIndex::read(&index_with(slots)).unwrap_err();
    assert_snapshot!(context.description.unwrap(), chain(&error));
}

/// A small file can list very much, since equal values are stored once.
#[rstest]
#[case::long(1500, 100_000)]
#[case::short(0, 300_000)]
fn an_index_that_lists_one_package_very_often_is_rejected(
    #[case] description: usize,
    #[case] times: usize,
) {
    let mut builder = Builder::new();
    let name = builder.blob(&[b'a'; 100]);
    let version = builder.blob(b"1");
    let (hash, architecture) = (builder.blob(&[1; 32]), builder.blob(b"x86_64"));
    let long = builder.blob(&vec![b'd'; description]);
    let info = builder.object(&[name, version, hash, long, architecture]);
    let packages = builder.array(&vec![info; times]);
    let root = builder.object(&[Stored::ABSENT, packages]);
    let file = file(&builder.finish(root).unwrap());
    assert!(file.len() < 20_000, "{}", file.len());
    assert!(matches!(ReadIndex::read(&file), Err(AdbIndexError::Length)));
}

#[rstest]
#[case::nothing(b"")]
#[case::text(b"P:a\n")]
#[case::gzip_of_index(&alpinist_samples::gzip::gzip(b"ADB.indx"))]
fn what_is_no_index_of_format_v3_is_rejected(#[context] context: Context, #[case] bytes: &[u8]) {
    let error = ReadIndex::read(bytes).unwrap_err();
    assert_snapshot!(context.description.unwrap(), chain(&error));
}

/// An entry as `adbdump --format json` prints it.
fn dumped(entry: &IndexEntry) -> Value {
    let metadata = &entry.metadata;
    let texts = [
        ("name", metadata.name.as_str()),
        ("version", metadata.version.as_str()),
        ("hashes", &hex::encode(entry.identity.as_bytes())),
        ("description", metadata.description.as_str()),
        ("arch", metadata.architecture.as_str()),
        ("license", metadata.license.as_str()),
        ("origin", metadata.origin.as_str()),
        ("maintainer", metadata.maintainer.as_str()),
        ("url", metadata.url.as_str()),
        ("repo-commit", metadata.commit.as_str()),
    ];
    let numbers = [
        ("build-time", metadata.build_time),
        ("installed-size", metadata.installed_size),
        ("file-size", entry.size),
        ("provider-priority", metadata.provider_priority.into()),
        ("layer", metadata.layer),
    ];
    let lists = [
        ("depends", &metadata.depends),
        ("provides", &metadata.provides),
        ("replaces", &metadata.replaces),
        ("install-if", &metadata.install_if),
        ("recommends", &metadata.recommends),
    ];
    let lists = lists.map(|(key, list)| {
        (key, list.iter().map(|listed| Value::from(listed.to_string())).collect::<Vec<_>>())
    });
    let tags: Vec<_> = metadata.tags.iter().map(Value::from).collect();
    let texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
    let numbers = numbers.into_iter().filter(|(_, number)| *number != 0);
    let lists = lists.into_iter().chain([("tags", tags)]).filter(|(_, list)| !list.is_empty());
    let texts = texts.map(|(key, text)| (key.to_owned(), json!(text)));
    let numbers = numbers.map(|(key, number)| (key.to_owned(), json!(number)));
    texts.chain(numbers).chain(lists.map(|(key, list)| (key.to_owned(), json!(list)))).collect()
}

/// What `adbdump` printed, without the numbers that are 0: those mean the same as absent ones.
fn dump_beside(file: &Path) -> Value {
    let path = format!("{}.json", file.display());
    let mut dump: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let packages = dump.get_mut("packages").and_then(Value::as_array_mut);
    for package in packages.into_iter().flatten() {
        package.as_object_mut().unwrap().retain(|_, value| *value != json!(0));
    }
    dump
}

#[test]
fn the_indexes_of_apk_have_the_fields_that_it_prints() {
    let Some(folder) = v3("vectors") else { return };
    let names = ["small", "small-c1", "small-deflate", "Packages", "empty"];
    for file in names.map(|name| folder.join(name).with_extension("adb")) {
        let read = ReadIndex::read(&fs::read(&file).unwrap()).unwrap();
        let dump = dump_beside(&file);
        assert_eq!(json!(read.description), dump["description"], "{}", file.display());
        let packages: Vec<_> = read.entries.iter().map(dumped).collect();
        let expected = dump.get("packages").cloned().unwrap_or(json!([]));
        assert_eq!(json!(packages), expected, "{}", file.display());
    }
    // `adbdump` has nothing to say of this one (measured).
    let small = fs::read(folder.join("small.adb")).unwrap();
    let plain = fs::read(folder.join("small-c0.adb")).unwrap();
    assert_eq!(ReadIndex::read(&plain).unwrap(), ReadIndex::read(&small).unwrap());
}

/// Ours are no longer than those of apk, which leaves 21 bytes of each v3 package unused.
#[test]
fn the_indexes_of_others_are_written_again_alike() {
    let Some(vectors) = v3("vectors") else { return };
    let files = ["small.adb", "Packages.adb"].map(|name| vectors.join(name));
    let feed = v3("real/mossdef").unwrap().join("packages.adb");
    for file in files.into_iter().chain([feed]) {
        let bytes = fs::read(&file).unwrap();
        let read = ReadIndex::read(&bytes).unwrap();
        let shuffled: Vec<_> = read.entries.iter().rev().cloned().collect();
        let (index, left_out) = AdbIndex::new("D", &shuffled);
        assert!(left_out.is_empty());
        let payload = index.payload().unwrap();
        let theirs = payload_of(&bytes).len();
        assert!(payload.len() <= theirs, "{}: {} bytes", file.display(), payload.len());
        let again = ReadIndex::read(&sealed(&index, &keys()[..1])).unwrap();
        assert_eq!(again.entries, read.entries, "{}", file.display());
    }
}

fn payload_of(file: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    let mut reader = ContainerReader::new(Schema::Index, 1 << 27);
    let keep = |piece: Piece<'_>| {
        if let Piece::Payload(bytes) = piece {
            payload = bytes;
        }
        Ok::<_, ContainerError>(())
    };
    reader.push(file, keep).unwrap();
    payload
}

/// `apk convndx` 3.0.8 makes an index of 4,929 entries of this one, with a payload of 1,215,672
/// bytes (measured). It has empty versions where format v3 has none for what the package has.
#[test]
fn the_index_of_alpine_is_as_small_as_that_of_apk() {
    let Some(bytes) = alpine_index() else { return };
    let archive = IndexArchive::read(&bytes).unwrap();
    let (index, left_out) = AdbIndex::new("v3.16", archive.index.entries());
    let mut left_out: Vec<_> = left_out.iter().map(|left| left.entry.file_stem()).collect();
    left_out.sort_unstable();
    assert_eq!(
        left_out,
        [
            "aspell-ru-0.99f7-r0",
            "opensmtpd-6.8.0p2-r4",
            "opensmtpd-dbg-6.8.0p2-r4",
            "opensmtpd-doc-6.8.0p2-r4",
            "opensmtpd-openrc-6.8.0p2-r4",
            "opensmtpd-pam-6.8.0p2-r4",
        ]
    );
    let payload = index.payload().unwrap();
    assert_eq!(payload.len(), 1_213_496);
    let sealed = sealed(&index, &keys());
    let v2 = streams(&bytes).iter().map(|(stream, _)| stream.len()).sum::<usize>();
    assert!(sealed.len() < v2 * 4 / 3, "{} bytes, and {v2} in format v2", sealed.len());
}

#[test]
fn a_payload_keeps_equal_texts_and_tables_once() {
    let one = [entry("a", "1-r0", "D:so:libc.musl-x86_64.so.1 b>=2\n")];
    let two = [one[0].clone(), entry("c", "1-r0", "D:so:libc.musl-x86_64.so.1 b>=2\n")];
    let length = |entries: &[IndexEntry]| index(entries).payload().unwrap().len();
    // The second has a name of two bytes, its own table, and a slot for it.
    assert_eq!(length(&two) - length(&one), 4 + (4 + 4 * 15) + 4);
    let payload = index(&two).payload().unwrap();
    let reader = Reader::new(&payload, 100).unwrap();
    let packages = reader.root().object().unwrap().get(2).array().unwrap();
    let version = |slot| packages.get(slot).object().unwrap().get(2).blob().unwrap().as_ptr();
    assert_eq!(version(1), version(2));
}

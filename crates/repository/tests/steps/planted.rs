//! Objects that somebody planted: fragments, snapshots, leases and indexes. None of them stops a
//! publication, and a reindex fixes whatever they have published.

use std::{iter, time::Duration};

use alpinist_apk::{
    index::Index,
    index_archive::{self, IndexArchive},
    key::SigningKey,
};
use alpinist_repository::{
    memory::{MemoryStore, Request},
    message::{Reindex, Target},
    plus_copy::PlusCopies,
    policy::Policy,
    port::{NewObject, ObjectStore as _, Precondition},
    replacing::Replacing,
    snapshot::{Beginning, Edit, Header, MAX_STORED, Record, Snapshot},
    v3_index::V3Index,
    verify::{Depth, VerifyOptions, verify},
};
use alpinist_samples::gzip::{gzip, gzip_at, streams};
use bytes::Bytes;
use rand_core::OsRng;
use rstest::rstest;
use serde_json::json;

use crate::{
    common::PRIVATE_KEY,
    reindex::reindex,
    support::{
        INDEX, KEY_NAME, Keys, execute, execute_target, key, listed, package, private_key, publish,
        target,
    },
};

const SNAPSHOT: &str = ".alpinist/published/3.22/main/x86_64/snapshot.json.gz";
const FRAGMENT: &str = "3.22/main/x86_64/b-1-r0.index";

/// A bucket in which the packages `a` and `b` are listed, and its index.
async fn two_packages() -> (MemoryStore, Bytes) {
    let store = MemoryStore::default();
    for name in ["a", "b"] {
        let key = key(&format!("{name}-1-r0"));
        store.upload(&key, package(name, "1-r0", name));
        execute(&store, &key).await.unwrap();
    }
    store.pass(Duration::from_mins(5));
    let index = store.content(INDEX).unwrap();
    (store, index)
}

/// Overwrites an object, and keeps its attributes.
async fn plant(store: &MemoryStore, key: &str, bytes: Vec<u8>) {
    let attributes = store.head(key).await.unwrap().unwrap().attributes;
    let object = NewObject { bytes, content_type: "text/plain", attributes };
    store.put(key, object, Precondition::None).await.unwrap();
    store.pass(Duration::from_mins(5));
}

/// Uploads and deletes another package, so that the index is rebuilt twice.
async fn come_and_go(store: &MemoryStore) {
    let key = key("new-1-r0");
    store.upload(&key, package("new", "1-r0", ""));
    execute(store, &key).await.unwrap();
    assert_eq!(listed(store).last().unwrap(), "new-1-r0");
    store.remove(&key);
    execute(store, &key).await.unwrap();
}

#[rstest]
#[case::empty(|_: &str| Vec::new())]
#[case::zeros(|_: &str| vec![0; 1000])]
#[case::not_utf8(|own: &str| [own.as_bytes(), b"\xff"].concat())]
#[case::huge(|own: &str| own.repeat(100_000).into_bytes())]
#[case::second_entry(|own: &str| format!("{own}{}", own.replace("P:b", "P:evil")).into_bytes())]
#[case::second_name(|own: &str| own.replace("P:b\n", "P:b\nP:evil\n").into_bytes())]
#[case::carriage_return(|own: &str| own.replace("T:Test", "T:Test\rP:evil").into_bytes())]
#[case::escape_sequence(|own: &str| own.replace("T:Test", "T:\x1b[2J").into_bytes())]
#[case::next_line(|own: &str| own.replace("T:Test", "T:Test\u{85}P:evil").into_bytes())]
#[case::of_another_package(|own: &str| own.replace("P:b", "P:a").into_bytes())]
#[case::of_another_directory(|own: &str| own.replace("A:x86_64", "A:armv7").into_bytes())]
#[case::with_a_name_that_climbs(|own: &str| own.replace("P:b", "P:../b").into_bytes())]
#[case::with_another_checksum(|own: &str| own.replace("C:Q1", "C:Q1AAAA").replace("=\nP:", "\nP:").into_bytes())]
#[case::with_the_checksum_of_another(|own: &str| {
    format!("C:Q1{}=\n{}", "A".repeat(27), own.split_once('\n').unwrap().1).into_bytes()
})]
#[tokio::test]
async fn a_fragment_with_the_attributes_of_ours_is_made_again(
    #[case] planted: fn(&str) -> Vec<u8>,
) {
    for (by, snapshot) in [
        ("its execution", "cached"),
        ("its execution", "forgotten"),
        ("its execution", "believed"),
        ("a reindex", "cached"),
        ("a reindex", "forgotten"),
        ("a reindex", "believed"),
    ] {
        let (store, index) = two_packages().await;
        let own = store.content(FRAGMENT).unwrap();
        plant(&store, FRAGMENT, planted(str::from_utf8(&own).unwrap())).await;
        match snapshot {
            "forgotten" => store.remove(SNAPSHOT),
            "believed" => come_and_go(&store).await,
            _ => {}
        }
        fix(&store, by).await;
        assert_eq!(store.content(FRAGMENT).unwrap(), own, "by {by}, {snapshot}");
        assert_eq!(store.content(INDEX).unwrap(), index, "by {by}, {snapshot}");
    }
}

/// Processes the package `b` again, or all packages.
async fn fix(store: &MemoryStore, by: &str) {
    match by {
        "its execution" => execute(store, &key("b-1-r0")).await.unwrap(),
        _ => drop(reindex(store, "", false).await.unwrap()),
    }
}

/// Parses a snapshot.
fn read(stored: &[u8]) -> (Header, Snapshot) {
    Snapshot::read(&Bytes::copy_from_slice(stored)).unwrap()
}

/// The lines of JSON in a snapshot of earlier builds: the header, and the records of `b` and `a`.
fn lines_of(stored: &[u8]) -> Vec<String> {
    let (header, snapshot) = read(stored);
    let records = snapshot.records().unwrap();
    let line = |record: &Record| {
        let Record { package, fragment, entry, .. } = record;
        json!({"package": package, "fragment": fragment, "since": 1, "entry": entry}).to_string()
    };
    let Header { generation, digest, packages, .. } = header;
    let header =
        format!(r#"{{"generation":{generation},"digest":"{digest}","packages":{packages}}}"#);
    iter::once(header).chain(records.iter().rev().map(line)).collect()
}

/// Writes a snapshot as earlier builds did, with changed lines.
fn with_lines(stored: &[u8], change: impl FnOnce(&mut Vec<String>)) -> Vec<u8> {
    let mut lines = lines_of(stored);
    assert!(lines[0].contains("digest") && lines[1].contains("P:b") && lines[2].contains("P:a"));
    change(&mut lines);
    gzip(lines.join("\n") + "\n")
}

fn with_generation(stored: &[u8], generation: &str) -> Vec<u8> {
    with_lines(stored, |lines| {
        let (_, rest) = lines[0].split_once(',').unwrap();
        lines[0] = format!("{{\"generation\":{generation},{rest}");
    })
}

fn with_record(stored: &[u8], from: &str, to: &str) -> Vec<u8> {
    with_lines(stored, |lines| {
        assert!(lines[1].contains(from), "{}", lines[1]);
        lines[1] = lines[1].replace(from, to);
    })
}

#[rstest]
#[case::empty(|_: &[u8]| Vec::new())]
#[case::text(|_: &[u8]| b"{}".to_vec())]
#[case::gzip_of_nothing(|_: &[u8]| gzip(""))]
#[case::gzip_of_another_json(|_: &[u8]| gzip("[]\n"))]
#[case::cut_off(|own: &[u8]| own[..own.len() - 9].to_vec())]
#[case::with_garbage_after_it(|own: &[u8]| [own, b"garbage"].concat())]
#[case::twice(|own: &[u8]| own.repeat(2))]
#[case::only_the_format(|_: &[u8]| b"alpinist snapshot 2\n".to_vec())]
#[case::a_long_header(|_: &[u8]| [b"alpinist snapshot 2\n", &*vec![b'x'; 5000]].concat())]
#[case::another_format(|own: &[u8]| [b"alpinist snapshot 3", &own[19..]].concat())]
#[case::another_header(|own: &[u8]| with_header(own, |header| header.packages += 1))]
#[case::another_digest_in_blocks(|own: &[u8]| with_header(own, |header| header.digest.push('0')))]
#[case::another_entry(|own: &[u8]| with_records(own, |record| {
    record.entry.metadata.architecture = "armv7".parse().unwrap();
}))]
#[case::cut_off_as_before(|own: &[u8]| {
    let own = with_lines(own, |_| {});
    own[..own.len() - 9].to_vec()
})]
#[case::wrong_crc_as_before(|own: &[u8]| {
    let mut own = with_lines(own, |_| {});
    let crc = own.len() - 8;
    own[crc] ^= 1;
    own
})]
#[case::without_an_end_of_line(|own: &[u8]| gzip(lines_of(own).join("\n")))]
#[case::only_a_header(|own: &[u8]| with_lines(own, |lines| lines.truncate(1)))]
#[case::only_records(|own: &[u8]| with_lines(own, |lines| drop(lines.remove(0))))]
#[case::two_headers(|own: &[u8]| with_lines(own, |lines| lines.insert(1, lines[0].clone())))]
#[case::the_greatest_generation(|own: &[u8]| with_generation(own, "18446744073709551615"))]
#[case::nearly_the_greatest_generation(|own: &[u8]| with_generation(own, "18446744073709551614"))]
#[case::generation_beyond_64_bits(|own: &[u8]| with_generation(own, "18446744073709551616"))]
#[case::negative_generation(|own: &[u8]| with_generation(own, "-1"))]
#[case::no_generation(|own: &[u8]| with_generation(own, "0"))]
#[case::another_digest(|own: &[u8]| with_lines(own, |lines| {
    lines[0] = lines[0].replacen(r#""digest":""#, r#""digest":"0"#, 1);
}))]
#[case::other_packages(|own: &[u8]| with_record(own, "P:b", "P:evil"))]
#[case::another_directory(|own: &[u8]| with_record(own, "A:x86_64", "A:armv7"))]
#[case::newline_in_a_description(|own: &[u8]| with_record(own, "T:Test", r"T:Test\nP:evil"))]
#[case::entry_in_a_description(|own: &[u8]| with_record(own, "T:Test", r"T:Test\n\nC:Q1"))]
#[case::control_character_in_a_description(|own: &[u8]| with_record(own, "T:Test", r"T:\u001b[2J"))]
#[case::nul_in_a_name(|own: &[u8]| with_record(own, "P:b", r"P:b\u0000"))]
#[case::half_of_a_character_in_a_description(|own: &[u8]| with_record(own, "T:Test", r"T:\ud800"))]
#[case::long_line(|own: &[u8]| with_record(own, "T:Test", &format!("T:{}", "x".repeat(200_000))))]
#[case::larger_than_can_be(|own: &[u8]| {
    let mut lines = lines_of(own);
    lines[1] = lines[1].replace("P:b", "P:c");
    lines.extend(vec![lines[1].clone(); 300_000]);
    let stored = gzip_at(lines.join("\n") + "\n", 0);
    assert!(stored.len() as u64 > MAX_STORED);
    stored
})]
#[tokio::test]
async fn a_snapshot_that_we_cannot_have_written_costs_time_and_nothing_else(
    #[case] planted: fn(&[u8]) -> Vec<u8>,
) {
    let (store, index) = two_packages().await;
    let own = store.content(SNAPSHOT).unwrap();
    plant(&store, SNAPSHOT, planted(&own)).await;
    let others = store.duplicate();
    for _ in 0..3 {
        come_and_go(&store).await;
        assert_eq!(store.content(INDEX).unwrap(), index);
    }
    reindex(&others, "", false).await.unwrap();
    assert_eq!(others.content(INDEX).unwrap(), index);
}

/// Writes a snapshot with a changed header.
fn with_header(stored: &[u8], change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let (mut header, snapshot) = read(stored);
    change(&mut header);
    snapshot.to_bytes(&header).unwrap()
}

/// Writes a snapshot with changed records.
fn with_records(stored: &[u8], change: fn(&mut Record)) -> Vec<u8> {
    let (header, snapshot) = read(stored);
    let mut records = snapshot.records().unwrap();
    for record in &mut records {
        change(record);
    }
    Snapshot::new(records).to_bytes(&header).unwrap()
}

#[tokio::test]
async fn whatever_byte_of_a_snapshot_is_another_nothing_else_is_published() {
    let (store, index) = two_packages().await;
    let own = store.content(SNAPSHOT).unwrap();
    for place in (0..own.len()).step_by(7) {
        let store = store.duplicate();
        let mut planted = own.to_vec();
        planted[place] ^= 1;
        plant(&store, SNAPSHOT, planted).await;
        come_and_go(&store).await;
        assert_eq!(store.content(INDEX).unwrap(), index, "byte {place} of {}", own.len());
    }
}

#[tokio::test]
async fn a_snapshot_of_an_earlier_build_is_read_and_replaced() {
    let (store, index) = two_packages().await;
    let own = store.content(SNAPSHOT).unwrap();
    plant(&store, SNAPSHOT, with_lines(&own, |_| {})).await;
    store.before_requests(|_, request| {
        let is_fragment = matches!(request, Request::Get(key) if key.ends_with(".index"));
        assert!(!is_fragment, "what is known is not read again");
        Ok(())
    });
    come_and_go(&store).await;
    assert_eq!(store.content(INDEX).unwrap(), index);
    assert!(store.content(SNAPSHOT).unwrap().starts_with(b"alpinist snapshot 2"));
}

#[tokio::test]
async fn a_snapshot_is_read_in_whatever_chunks() {
    let (store, _) = two_packages().await;
    let own = store.content(SNAPSHOT).unwrap();
    let (header, snapshot) = read(&own);
    assert_eq!(snapshot.to_bytes(&header).unwrap(), own);
    let beginnings: Vec<_> =
        (0..own.len()).map(|length| Beginning::read(&own.slice(..length)).unwrap()).collect();
    let complete = beginnings.iter().flatten().next().unwrap();
    assert_eq!(complete.header, header);
    assert!(complete.row("a-1-r0").is_some() && complete.row("z-1-r0").is_none());
    assert!(beginnings[0].is_none());
    for length in 0..own.len() {
        assert!(Snapshot::read(&own.slice(..length)).is_err());
    }
}

#[tokio::test]
async fn a_snapshot_that_lacks_a_package_is_damaged() {
    let (store, _) = two_packages().await;
    let own = store.content(SNAPSHOT).unwrap();
    let (header, snapshot) = read(&own);
    let one = snapshot.apply([("a-1-r0".to_owned(), Edit::Remove)].into()).unwrap();
    let stored = [one.to_bytes(&header).unwrap(), with_lines(&own, |lines| lines.truncate(2))];
    for stored in stored {
        let error = Snapshot::read(&stored.into()).unwrap_err();
        assert_eq!(error.to_string(), "it has 1 of the 2 packages that its header announces");
    }
}

/// A snapshot of the current objects with forged entries, but correct in every other respect.
fn forged(stored: &[u8]) -> Vec<u8> {
    with_records(stored, |record| {
        record.entry.metadata.description = "Forged".parse().unwrap();
    })
}

#[rstest]
#[case::unpublished(false)]
#[case::published(true)]
#[tokio::test]
async fn entries_that_somebody_put_into_the_snapshot_do_not_outlive_a_look_at_their_packages(
    #[case] is_published: bool,
) {
    let (store, index) = two_packages().await;
    plant(&store, SNAPSHOT, forged(&store.content(SNAPSHOT).unwrap())).await;
    if is_published {
        come_and_go(&store).await;
        assert_ne!(
            store.content(INDEX).unwrap(),
            index,
            "whoever may write it says what is listed"
        );
    }
    let others = store.duplicate();
    for name in ["a", "b"] {
        execute(&store, &key(&format!("{name}-1-r0"))).await.unwrap();
    }
    come_and_go(&store).await;
    assert_eq!(store.content(INDEX).unwrap(), index);
    reindex(&others, "", false).await.unwrap();
    come_and_go(&others).await;
    assert_eq!(others.content(INDEX).unwrap(), index);
}

#[tokio::test]
async fn leases_that_nobody_holds_stop_no_publication() {
    let (store, index) = two_packages().await;
    let (prefix, last) = store
        .keys()
        .iter()
        .rev()
        .find_map(|key| {
            let (prefix, generation) = key.strip_prefix(".alpinist/claims/")?.rsplit_once('/')?;
            Some((prefix.to_owned(), generation.parse::<u64>().unwrap()))
        })
        .unwrap();
    for generation in 0..100 {
        store.upload(&format!(".alpinist/claims/{prefix}/{}", last + generation), "\0");
    }
    store.pass(Duration::from_mins(2));
    come_and_go(&store).await;
    assert_eq!(store.content(INDEX).unwrap(), index);
}

/// Signs an index of both packages with a key that no client has, under our key name.
fn signed_by_another(own: &[u8]) -> Vec<u8> {
    let unsigned = IndexArchive::read(own).unwrap().unsigned;
    let key = SigningKey::from_pem(&private_key()).unwrap();
    let signatures = key.sign_index(&KEY_NAME.parse().unwrap(), unsigned, &mut OsRng).unwrap();
    index_archive::write_signed(&signatures, unsigned).unwrap()
}

/// Replaces the index of both packages with one without any, and keeps the signature.
fn without_packages(own: &[u8]) -> Vec<u8> {
    let signed = IndexArchive::read(own).unwrap().unsigned.len();
    let other = index_archive::write_unsigned("3.22/main", &Index::default()).unwrap();
    [&own[..own.len() - signed], &other].concat()
}

#[rstest]
#[case::empty(|_: &[u8]| Vec::new())]
#[case::text(|_: &[u8]| b"overwritten".to_vec())]
#[case::bomb(|_: &[u8]| gzip(vec![0; 200 * 1024 * 1024]))]
#[case::cut_off(|own: &[u8]| own[..own.len() - 1].to_vec())]
#[case::padded(|own: &[u8]| [own, &[0; 512]].concat())]
#[case::unsigned(|own: &[u8]| IndexArchive::read(own).unwrap().unsigned.to_vec())]
#[case::without_packages(without_packages)]
#[case::signed_by_another(signed_by_another)]
#[tokio::test]
async fn an_index_that_somebody_overwrote_is_made_again(#[case] planted: fn(&[u8]) -> Vec<u8>) {
    let (store, index) = two_packages().await;
    store.upload(INDEX, planted(&index));
    store.pass(Duration::from_mins(5));
    let others = store.duplicate();
    execute(&store, &key("a-1-r0")).await.unwrap();
    assert_eq!(store.content(INDEX).unwrap(), index);
    reindex(&others, "", false).await.unwrap();
    assert_eq!(others.content(INDEX).unwrap(), index);

    plant(&store, INDEX, planted(&index)).await;
    let others = store.duplicate();
    come_and_go(&store).await;
    assert_eq!(store.content(INDEX).unwrap(), index, "the attributes of ours do not save it");
    sign_again(&others).await;
    assert_eq!(others.content(INDEX).unwrap(), index);
}

#[rstest]
#[case::text(|_: &[u8]| b"overwritten".to_vec())]
#[case::bomb(|_: &[u8]| gzip(vec![0; 200 * 1024 * 1024]))]
#[case::without_packages(without_packages)]
#[tokio::test]
async fn a_reindex_reads_the_index_itself(#[case] planted: fn(&[u8]) -> Vec<u8>) {
    let (store, index) = two_packages().await;
    plant(&store, INDEX, planted(&index)).await;
    reindex(&store, "", false).await.unwrap();
    assert_eq!(store.content(INDEX).unwrap(), index);
}

#[rstest]
#[case::text(|_: &[u8]| b"overwritten".to_vec())]
#[case::unsigned(|own: &[u8]| IndexArchive::read(own).unwrap().unsigned.to_vec())]
#[case::without_packages(without_packages)]
#[tokio::test]
async fn an_execution_for_the_index_reads_the_index_itself(#[case] planted: fn(&[u8]) -> Vec<u8>) {
    let (store, index) = two_packages().await;
    plant(&store, INDEX, planted(&index)).await;
    execute(&store, INDEX).await.unwrap();
    assert_eq!(store.content(INDEX).unwrap(), index);
}

#[tokio::test]
async fn an_old_index_of_ours_that_somebody_restored_is_replaced() {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "a").await;
    let old = store.content(INDEX).unwrap();
    let attributes = store.head(INDEX).await.unwrap().unwrap().attributes;
    publish(&store, "b", "1-r0", "b").await;
    let index = store.content(INDEX).unwrap();

    let bytes = old.to_vec();
    let restored = NewObject { bytes, content_type: "application/gzip", attributes };
    store.put(INDEX, restored, Precondition::None).await.unwrap();
    store.pass(Duration::from_mins(5));
    execute(&store, &key("a-1-r0")).await.unwrap();
    assert_eq!(store.content(INDEX).unwrap(), index);
}

/// Signs the index again, as after a change of keys.
async fn sign_again(store: &MemoryStore) {
    let reindex = Reindex { run: "signing".to_owned(), only_stale: false, sign: true };
    let target = Target { reindex: Some(reindex), ..target(INDEX) };
    execute_target(store, &Keys::good(), target).await.unwrap();
}

/// Puts snapshot and index in the form of builds before blocks into the place of ours.
async fn make_legacy(store: &MemoryStore) {
    let own = store.content(SNAPSHOT).unwrap();
    plant(store, SNAPSHOT, with_lines(&own, |_| {})).await;
    let index = store.content(INDEX).unwrap();
    let (_, unsigned) = index_archive::split(&index).unwrap();
    let [(_, tar)] = &*streams(unsigned) else { panic!("not one gzip stream") };
    let unsigned = gzip(tar);
    assert!(index_archive::read_blocks("3.22/main", &unsigned.clone().into()).is_none());
    let key = SigningKey::from_pem(&PRIVATE_KEY).unwrap();
    let signatures = key.sign_index(&KEY_NAME.parse().unwrap(), &unsigned, &mut OsRng).unwrap();
    plant(store, INDEX, index_archive::write_signed(&signatures, &unsigned).unwrap()).await;
}

#[tokio::test]
async fn what_builds_before_blocks_wrote_is_right_until_the_next_publication_replaces_it() {
    let (store, index) = two_packages().await;
    make_legacy(&store).await;
    let legacy = store.content(INDEX).unwrap();
    let options = VerifyOptions {
        depth: Depth::Content,
        policy: Policy::default(),
        plus_copies: PlusCopies::Kept,
        replacing: Replacing::Allowed,
        v3_index: V3Index::Auto,
        signers: vec![KEY_NAME.to_owned()],
    };
    let verified = verify(&store, &"3.22/main/x86_64/".parse().unwrap(), &options).await.unwrap();
    assert_eq!(verified.packages, 2);
    assert!(verified.problems.is_empty(), "{:?}", verified.problems);

    let by_upload = store.duplicate();
    come_and_go(&by_upload).await;
    assert_eq!(by_upload.content(INDEX).unwrap(), index);
    assert_eq!(read(&by_upload.content(SNAPSHOT).unwrap()).1.len(), 2);

    let report = reindex(&store, "", false).await.unwrap();
    assert_eq!(report.indexed.len() + report.unchanged.len(), 2, "{report:?}");
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0"]);
    let is_ours = |now: &Bytes| *now == index || *now == legacy;
    assert!(is_ours(&store.content(INDEX).unwrap()));
}

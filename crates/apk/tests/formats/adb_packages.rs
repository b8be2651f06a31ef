//! Packages of format v3: those that other tools made, and broken ones, each with the full text of
//! its rejection in `snapshots/`.

use std::fs;

use alpinist_apk::{
    adb::{container::Schema, index::ReadIndex, signature::PayloadDigest},
    checksum::{Identity, PayloadHash},
    key::VerifyingKey,
    metadata::Metadata,
    package::{AdbError, Package, PackageError, PackageReader, Signatures},
    text::chain,
};
use alpinist_samples::{
    adb_package::{
        AdbParts, Node, acl, block, deflate, dependency, directory, file, link, payload, slot,
        stream, text,
    },
    package::Parts,
};
use insta::assert_snapshot;
use proptest::prelude::*;
use rstest::{Context, rstest};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    fixtures::v3,
    support::{read, read_chunks},
};

const DIRECTORY: u16 = 0o040_000;
const SOCKET: u16 = 0o140_000;
const FIFO: u16 = 0o010_000;
const BLOCK_DEVICE: u16 = 0o060_000;
const SYMBOLIC_LINK: u16 = 0o120_000;
const HARD_LINK: u16 = 0o100_000;

fn new() -> AdbParts {
    AdbParts::new()
}

/// Returns a package with these files in `usr`, none of which has content.
fn files(files: Vec<Node>) -> AdbParts {
    new().paths(vec![directory("usr", files)])
}

/// Returns a package with one file, whose slots the test sets.
fn file_of(slots: Vec<Node>) -> AdbParts {
    files(vec![Node::Object(slots)])
}

/// Returns an empty file in a package whose permissions the test sets.
fn acl_of(acl: Vec<Node>) -> AdbParts {
    let hash = text(Sha256::digest(b""));
    file_of(vec![text("a"), Node::Object(acl), Node::Int(0), Node::Int(0), hash])
}

fn compare(package: &Metadata, dump: &Value) {
    let string = |key: &str| dump[key].as_str().unwrap_or_default();
    let number = |key: &str| dump[key].as_u64().unwrap_or_default();
    let list = |key: &str| {
        let items = dump[key].as_array().into_iter().flatten();
        items.map(|item| item.as_str().unwrap()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(package.name.as_str(), string("name"));
    assert_eq!(package.version.as_str(), string("version"));
    assert_eq!(package.description.as_str(), string("description"));
    assert_eq!(package.architecture.as_str(), string("arch"));
    assert_eq!(package.license.as_str(), string("license"));
    assert_eq!(package.origin.as_str(), string("origin"));
    assert_eq!(package.maintainer.as_str(), string("maintainer"));
    assert_eq!(package.url.as_str(), string("url"));
    assert_eq!(package.commit.as_str(), string("repo-commit"));
    assert_eq!(package.build_time, number("build-time"));
    assert_eq!(package.installed_size, number("installed-size"));
    assert_eq!(u64::from(package.provider_priority), number("provider-priority"));
    assert_eq!(package.depends.as_str(), list("depends"));
    assert_eq!(package.provides.as_str(), list("provides"));
    assert_eq!(package.replaces.as_str(), list("replaces"));
    assert_eq!(package.install_if.as_str(), list("install-if"));
    assert_eq!(package.recommends.as_str(), list("recommends"));
    assert_eq!(package.layer, number("layer"));
    assert_eq!(package.tags.as_str(), list("tags"));
}

#[rstest]
#[case("a-1.0-r0.apk", "7c404d9d")]
#[case("full-2.1_rc3~0abc-r7.apk", "1bb085cc")]
fn a_package_of_apk_has_the_fields_that_apk_prints(#[case] name: &str, #[case] hash: &str) {
    let Some(folder) = v3("vectors") else { return };
    let bytes = fs::read(folder.join(name)).unwrap();
    let package = read(&bytes).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let dump = fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
    let dump: Value = serde_json::from_str(&dump).unwrap();
    compare(&package.metadata, &dump["info"]);
    assert_eq!(package.size, bytes.len() as u64);
    assert!(package.has_content);
    assert!(hex::encode(package.identity.as_bytes()).starts_with(hash));
    let pem = fs::read_to_string(folder.join("test.pub.pem")).unwrap();
    let key = VerifyingKey::from_pem(&pem).unwrap();
    assert_signed(&package, &key);
    for length in (0..bytes.len()).step_by(7) {
        assert!(read(&bytes[..length]).is_err(), "cut to {length}");
    }
    assert_eq!(read_chunks(bytes.chunks(1)), Ok(package));
}

fn assert_signed(package: &Package, key: &VerifyingKey) {
    let Signatures::Payload(signatures) = &package.signatures else { panic!("not of v3") };
    let [signature] = &signatures.iter().collect::<Vec<_>>()[..] else { panic!("not one") };
    assert!(signatures.is_by(signature, key));
    assert_eq!(package.signatures.control(), []);
}

/// The vector has numbers of each form, one of which no client can keep.
#[test]
fn a_priority_that_a_client_would_cut_is_refused() {
    let Some(folder) = v3("vectors") else { return };
    let error = read(&fs::read(folder.join("ints-1-r0.apk")).unwrap()).unwrap_err();
    let message = "the package's `provider-priority` is 268435456, more than the 65535 of clients";
    assert_eq!(error.to_string(), message);
}

#[test]
fn real_packages_are_what_their_index_says() {
    let Some(folder) = v3("real/mossdef") else { return };
    let pem = fs::read_to_string(folder.join("apk.mossdef.org.pem")).unwrap();
    let key = VerifyingKey::from_pem(&pem).unwrap();
    let listed = ReadIndex::read(&fs::read(folder.join("packages.adb")).unwrap()).unwrap();
    let mut found = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "apk") {
            continue;
        }
        let package = read(&fs::read(&path).unwrap());
        let package = package.unwrap_or_else(|error| panic!("{path:?}: {}", chain(&error)));
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let mut entries = listed.entries.iter();
        let entry = entries.find(|entry| entry.file_stem() == stem).unwrap();
        assert_eq!(package.identity, entry.identity, "{stem}");
        assert_eq!(package.size, entry.size, "{stem}");
        assert_eq!(package.metadata, entry.metadata, "{stem}");
        assert_signed(&package, &key);
        found += 1;
    }
    assert_eq!(found, 6);
}

#[test]
fn the_hash_of_the_payload_identifies_a_package() {
    let parts = new();
    let package = read(&parts.build()).unwrap();
    let hash = PayloadHash::new(Sha256::digest(parts.payload()).into());
    assert_eq!(package.identity, Identity::Payload(hash));
    let plain = read(&parts.plain()).unwrap();
    assert_eq!((plain.identity, &plain.signatures), (package.identity, &package.signatures));
    let unsigned = read(&parts.signatures(vec![]).build()).unwrap();
    assert_eq!(unsigned.identity, package.identity);
    assert_ne!(unsigned.size, package.size);
}

#[rstest]
#[case::as_usual(new())]
#[case::unsigned(new().signatures(vec![]))]
#[case::sixteen_signatures(new().signatures(vec![vec![0; 2048]; 16]))]
#[case::unknown_slots(new().info(22, Node::Int(1)).info(30, text("x")))]
#[case::array_in_an_array_type(new().info(slot::TAGS, Node::Array(vec![text("a:b")])))]
#[case::array_in_an_object_type(new().info(slot::TAGS, Node::Object(vec![text("a:b")])))]
#[case::explicit_equality(new().info(slot::DEPENDS, Node::Array(vec![dependency("a", "1", 1)])))]
#[case::fuzzy_without_equality(
    new().info(slot::DEPENDS, Node::Array(vec![dependency("a", "1", 8)]))
)]
#[case::layer(new().info(slot::LAYER, Node::Int(1)))]
#[case::hash_of_any_length(new().info(slot::HASHES, text("x")))]
#[case::triggers(new().triggers(Node::Array(vec![text("/usr/share/*"), text("/lib")])))]
#[case::long_script(new().scripts(Node::Object(vec![Node::Absent, text("x".repeat(300_000))])))]
#[case::setuid(acl_of(vec![Node::Int(0o4755), text("root"), text("root")]))]
#[case::no_acl(file_of(vec![
    text("a"), Node::Absent, Node::Absent, Node::Absent, text(Sha256::digest(b""))
]))]
#[case::extended_attribute(acl_of(vec![
    Node::Int(0o644), text("root"), text("root"), Node::Array(vec![text(b"user.k\0v\0\xff")])
]))]
#[case::fifo(files(vec![link("a", FIFO, [0; 8])]))]
#[case::device(files(vec![link("a", BLOCK_DEVICE, [1, 8, 0, 0, 0, 0, 0, 0])]))]
#[case::absolute_link(files(vec![link("a", SYMBOLIC_LINK, "/bin/sh")]))]
#[case::climbing_link(files(vec![link("a", SYMBOLIC_LINK, "../../bin/sh")]))]
#[case::hard_link(files(vec![file("a", b""), link("b", HARD_LINK, "usr/a")]))]
#[case::top_level_dot(new().paths(vec![directory("", vec![file(".top", b"")])]))]
#[case::directory_twice(new().paths(vec![directory("usr", vec![]), directory("usr", vec![])]))]
#[case::no_parent(new().paths(vec![directory("usr/share/a", vec![])]))]
#[case::not_sorted(files(vec![file("b", b""), file("a", b"")]))]
#[case::name_in_latin_1(files(vec![file(b"Andr\xe9", b"")]))]
#[case::name_of_255_bytes(files(vec![file("x".repeat(255), b"")]))]
fn a_package_that_clients_install_is_read(#[case] parts: AdbParts) {
    let package = read(&parts.build()).unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert!(package.has_content);
    assert_eq!(read_chunks(parts.build().chunks(1)), Ok(package));
}

#[rstest]
#[case::files(new(), true)]
#[case::only_the_root(new().paths(vec![directory("", vec![])]), true)]
#[case::only_a_script(
    new().paths(vec![]).scripts(Node::Object(vec![Node::Absent, Node::Absent, text("x")])),
    true
)]
#[case::nothing(new().paths(vec![]), false)]
fn only_a_package_without_paths_and_scripts_has_no_content(
    #[case] parts: AdbParts,
    #[case] has_content: bool,
) {
    assert_eq!(read(&parts.build()).unwrap().has_content, has_content);
}

/// Asserts that `package` is rejected, in whatever chunks it comes, and compares the text with the
/// snapshot of the case.
fn assert_rejected(context: &Context, package: &[u8]) {
    let error = read(package).unwrap_err();
    assert_eq!(read_chunks(package.chunks(1)).as_ref(), Err(&error), "byte by byte");
    assert_eq!(read_chunks(package.chunks(7)).as_ref(), Err(&error), "in chunks of 7 bytes");
    assert_snapshot!(format!("v3_{}", context.description.unwrap()), chain(&error));
}

/// Changes the blocks of a good package.
fn blocks(change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Vec<u8> {
    let mut blocks = new().blocks();
    change(&mut blocks);
    stream(b"pckg", &blocks)
}

/// Changes the payload of a good package.
fn payload_of(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut payload = new().payload();
    change(&mut payload);
    blocks(|blocks| blocks[0] = block(0, &payload))
}

#[rstest]
#[case::index(stream(b"indx", &new().blocks()))]
#[case::database(stream(b"idb\0", &new().blocks()))]
#[case::unknown_schema(stream(b"abcd", &new().blocks()))]
#[case::zstd([b"ADBc\x02\x03", &*new().plain()].concat())]
#[case::unknown_compression([b"ADBc\x07\x03", &*new().plain()].concat())]
#[case::unknown_magic([b"ADBz", &*new().plain()].concat())]
#[case::deflated_twice([b"ADBd", &*deflate(&new().build())].concat())]
#[case::damaged_deflate({ let mut file = new().build(); file[4] = 7; file })]
#[case::cut_deflate({ let mut file = new().build(); file.pop(); file })]
#[case::byte_after_the_deflate_stream([new().build(), vec![0]].concat())]
#[case::byte_after_the_last_block([new().plain(), vec![0]].concat())]
#[case::package_of_v2_behind([new().plain(), Parts::new().build()].concat())]
#[case::size_of_a_block_without_its_header(blocks(|blocks| blocks[0][..4].copy_from_slice(&[3, 0, 0, 0])))]
#[case::size_of_a_block_beyond_the_file(blocks(|blocks| blocks[3][2] = 1))]
#[case::unknown_block(blocks(|blocks| blocks[1] = vec![4, 0, 0, 0xc0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0]))]
#[case::signature_first(blocks(|blocks| blocks.swap(0, 1)))]
#[case::data_before_the_signature(blocks(|blocks| blocks.swap(1, 2)))]
#[case::two_payloads(blocks(|blocks| blocks.insert(1, blocks[0].clone())))]
#[case::padding_not_zero(blocks(|blocks| *blocks[1].last_mut().unwrap() = 1))]
#[case::payload_of_15_bytes(blocks(|blocks| blocks[0] = block(0, &[0; 15])))]
#[case::payload_of_64_mib_and_a_byte(blocks(|blocks| {
    blocks[0] = [&0x0400_0005_u32.to_le_bytes()[..], &[0; 20]].concat();
}))]
#[case::seventeen_signatures(new().signatures(vec![vec![0; 20]; 17]).plain())]
#[case::signature_of_17_bytes(new().signatures(vec![vec![0; 17]]).plain())]
#[case::signature_of_2049_bytes(new().signatures(vec![vec![0; 2049]]).plain())]
fn a_container_that_clients_might_read_otherwise_is_rejected(
    #[context] context: Context,
    #[case] package: Vec<u8>,
) {
    assert_rejected(&context, &package);
}

#[rstest]
#[case::version_1_of_the_payload(payload_of(|payload| payload[0] = 1))]
#[case::root_absent(payload_of(|payload| payload[4..8].fill(0)))]
#[case::root_a_number(payload_of(|payload| payload[7] = 0x10))]
#[case::root_outside(payload_of(|payload| payload[5] = 0xff))]
#[case::root_not_aligned(payload_of(|payload| payload[4] += 1))]
#[case::root_in_the_header(payload_of(|payload| payload[4..6].copy_from_slice(&[4, 0])))]
#[case::name_a_number(new().info(slot::NAME, Node::Int(1)).plain())]
#[case::name_an_error(new().info(slot::NAME, Node::Word(0xf000_0008)).plain())]
#[case::name_outside(new().info(slot::NAME, Node::Word(0x8fff_ffff)).plain())]
#[case::name_behind_its_table(
    new()
        .info(slot::NAME, Node::Word(0x8000_0300))
        .scripts(Node::Object(vec![text("x".repeat(900))]))
        .plain()
)]
#[case::depends_of_count_0(
    new().info(slot::HASHES, text([0; 7])).info(slot::DEPENDS, Node::Word(0xe000_0020)).plain()
)]
#[case::depends_a_text(new().info(slot::DEPENDS, text("a b")).plain())]
#[case::installed_size_a_text(new().info(slot::INSTALLED_SIZE, text("1")).plain())]
#[case::no_info(stream(b"pckg", &[block(0, &payload(&Node::Object(vec![
    Node::Absent, Node::Array(vec![directory("usr", vec![])])
])))]))]
fn a_payload_that_clients_would_read_in_part_is_rejected(
    #[context] context: Context,
    #[case] package: Vec<u8>,
) {
    assert_rejected(&context, &package);
}

fn depends(dependencies: Vec<Node>) -> AdbParts {
    new().info(slot::DEPENDS, Node::Array(dependencies))
}

#[rstest]
#[case::no_name(new().info(slot::NAME, Node::Absent))]
#[case::no_version(new().info(slot::VERSION, Node::Absent))]
#[case::no_architecture(new().info(slot::ARCHITECTURE, Node::Absent))]
#[case::name_with_a_slash(new().info(slot::NAME, text("a/b")))]
#[case::name_of_129_bytes(new().info(slot::NAME, text("a".repeat(129))))]
#[case::version_outside_the_grammar(new().info(slot::VERSION, text("1.2.3-beta-r0")))]
#[case::architecture_with_a_slash(new().info(slot::ARCHITECTURE, text("../x")))]
#[case::line_break_in_the_description(new().info(slot::DESCRIPTION, text("a\nP:b")))]
#[case::description_not_utf_8(new().info(slot::DESCRIPTION, text("Andr\u{e9}".chars().map(|c| u8::try_from(c).unwrap()).collect::<Vec<_>>())))]
#[case::description_of_128_kib(new().info(slot::DESCRIPTION, text("x".repeat(131_073))))]
#[case::commit_of_65_bytes(new().info(slot::COMMIT, text([7; 65])))]
#[case::priority_beyond_16_bits(new().info(slot::PRIORITY, Node::Int(65_536)))]
#[case::tag_with_a_space(new().info(slot::TAGS, Node::Array(vec![text("a b")])))]
#[case::too_many_tags(new().info(slot::TAGS, Node::Array(vec![text("x".repeat(40_000)); 2])))]
#[case::dependency_without_a_name(depends(vec![dependency("", "1", 0)]))]
#[case::dependency_with_a_space(depends(vec![dependency("a b", "", 0)]))]
#[case::dependency_with_a_line_break(depends(vec![dependency("a\nP:b", "", 0)]))]
#[case::dependency_with_a_tag(depends(vec![dependency("a@edge", "", 0)]))]
#[case::dependency_with_an_operator_in_its_name(depends(vec![dependency("a=1", "", 0)]))]
#[case::dependency_with_an_exclamation_mark(depends(vec![dependency("!a", "", 0)]))]
#[case::dependency_with_a_bad_version(depends(vec![dependency("a", "xyz", 0)]))]
#[case::dependency_with_match_7(depends(vec![dependency("a", "1", 7)]))]
#[case::dependency_with_match_32(depends(vec![dependency("a", "1", 32)]))]
#[case::dependency_of_251_bytes(depends(vec![dependency(&"a".repeat(251), "", 0)]))]
#[case::dependencies_of_128_kib(depends(vec![dependency(&"a".repeat(249), "", 0); 525]))]
#[case::provides_a_conflict(new().info(slot::PROVIDES, Node::Array(vec![dependency("a", "", 16)])))]
#[case::provides_itself(new().info(slot::PROVIDES, Node::Array(vec![dependency("hello", "1", 0)])))]
#[case::depends_on_another_version_of_itself(depends(vec![dependency("hello", "9", 4)]))]
#[case::replaces_too_much(
    new().info(slot::REPLACES, Node::Array(vec![dependency("seven_7", "", 0); 501]))
)]
#[case::bad_install_if(new().info(slot::INSTALL_IF, Node::Array(vec![dependency("a", "x", 0)])))]
#[case::bad_recommends(new().info(slot::RECOMMENDS, Node::Array(vec![dependency("a", "x", 0)])))]
#[case::trigger_with_a_line_break(new().triggers(Node::Array(vec![text("/a\n")])))]
#[case::too_many_triggers(new().triggers(Node::Array(vec![text("/".repeat(40_000)); 2])))]
#[case::script_a_number(new().scripts(Node::Object(vec![Node::Int(1)])))]
fn an_info_of_v3_that_could_harm_an_index_or_its_clients_is_rejected(
    #[context] context: Context,
    #[case] parts: AdbParts,
) {
    assert_rejected(&context, &parts.build());
}

#[rstest]
#[case::file_without_a_name(files(vec![file("", b"")]))]
#[case::file_called_dot(files(vec![file(".", b"")]))]
#[case::file_called_dot_dot(files(vec![file("..", b"")]))]
#[case::file_with_a_slash_in_its_name(files(vec![file("a/b", b"")]))]
#[case::file_with_a_line_break(files(vec![file("a\nb", b"")]))]
#[case::file_with_a_nul(files(vec![file("a\0b", b"")]))]
#[case::file_with_a_control_beyond_ascii(files(vec![file("a\u{9b}b", b"")]))]
#[case::file_of_256_bytes(files(vec![file("x".repeat(256), b"")]))]
#[case::absolute_directory(new().paths(vec![directory("/usr", vec![])]))]
#[case::directory_with_a_slash_at_its_end(new().paths(vec![directory("usr/", vec![])]))]
#[case::directory_with_two_slashes(new().paths(vec![directory("usr//lib", vec![])]))]
#[case::directory_with_dot_dot(new().paths(vec![directory("usr/../etc", vec![])]))]
#[case::directory_of_4041_bytes_in_v3(new().paths(vec![directory("x/".repeat(2020) + "x", vec![])]))]
#[case::file_twice_in_v3(files(vec![file("a", b""), file("a", b"")]))]
#[case::file_twice_in_two_tables(
    new().paths(vec![directory("usr", vec![file("a", b"")]), directory("usr", vec![file("a", b"")])])
)]
#[case::path_below_a_symbolic_link(
    new().paths(vec![
        directory("usr", vec![link("lib", SYMBOLIC_LINK, "../lib")]),
        directory("usr/lib/a", vec![]),
    ])
)]
#[case::symbolic_link_above_a_path(
    new().paths(vec![
        directory("usr/lib/a", vec![]),
        directory("usr", vec![link("lib", SYMBOLIC_LINK, "../lib")]),
    ])
)]
#[case::hard_link_to_nothing(files(vec![link("a", HARD_LINK, "usr/b")]))]
#[case::hard_link_to_a_later_file(files(vec![link("a", HARD_LINK, "usr/b"), file("b", b"")]))]
// As `apk mkpkg` 3.0.8 writes one to a file at the top: apk itself can't install it (measured).
#[case::hard_link_with_a_dot(
    new().paths(vec![directory("", vec![file("a", b""), link("b", HARD_LINK, "./a")])])
)]
#[case::hard_link_to_a_directory(files(vec![link("a", HARD_LINK, "usr")]))]
#[case::symbolic_link_to_nothing(files(vec![link("a", SYMBOLIC_LINK, "")]))]
#[case::symbolic_link_of_4086_bytes(files(vec![link("a", SYMBOLIC_LINK, "x".repeat(4086))]))]
#[case::symbolic_link_with_a_nul(files(vec![link("a", SYMBOLIC_LINK, "a\0b")]))]
#[case::socket(files(vec![link("a", SOCKET, [0; 8])]))]
#[case::directory_as_a_target(files(vec![link("a", DIRECTORY, "x")]))]
#[case::device_without_a_number(files(vec![link("a", BLOCK_DEVICE, "")]))]
#[case::target_of_one_byte(file_of(vec![
    text("a"), acl(0o644), Node::Absent, Node::Absent, Node::Absent, text("x")
]))]
#[case::no_hash(file_of(vec![text("a"), acl(0o644), Node::Int(0)]))]
#[case::hash_of_sha_1(file_of(vec![
    text("a"), acl(0o644), Node::Int(0), Node::Int(0), text([7; 20])
]))]
#[case::hash_of_sha_512(file_of(vec![
    text("a"), acl(0o644), Node::Int(0), Node::Int(0), text([7; 64])
]))]
#[case::empty_file_with_another_hash(file_of(vec![
    text("a"), acl(0o644), Node::Int(0), Node::Int(0), text([7; 32])
]))]
#[case::mode_with_a_type(acl_of(vec![Node::Int(0o10_644), text("root"), text("root")]))]
#[case::directory_whose_mode_has_a_type(new().paths(vec![Node::Object(vec![text("usr"), acl(0o40_755)])]))]
#[case::symbolic_link_that_is_sticky(file_of(vec![
    text("a"), acl(0o1777), Node::Absent, Node::Absent, Node::Absent, text(b"\x00\xa0b")
]))]
#[case::user_with_a_colon(acl_of(vec![Node::Int(0o644), text("a:b"), text("root")]))]
#[case::group_of_65_bytes(acl_of(vec![Node::Int(0o644), text("root"), text("a".repeat(65))]))]
#[case::attribute_without_a_value(acl_of(vec![
    Node::Int(0o644), text("root"), text("root"), Node::Array(vec![text("user.k")])
]))]
#[case::attribute_without_a_name(acl_of(vec![
    Node::Int(0o644), text("root"), text("root"), Node::Array(vec![text("\0v")])
]))]
#[case::more_than_32_gib(file_of(vec![
    text("a"), acl(0o644), Node::Int(0x8_0000_0001), Node::Int(0), text([7; 32])
]))]
fn files_that_clients_can_not_install_are_rejected(
    #[context] context: Context,
    #[case] parts: AdbParts,
) {
    assert_rejected(&context, &parts.build());
}

#[rstest]
#[case::none(vec![])]
#[case::too_little(vec![(2, 2, "hello\n")])]
#[case::too_much(vec![(2, 2, "hello\n"), (2, 3, "world"), (2, 4, "!")])]
#[case::twice(vec![(2, 2, "hello\n"), (2, 2, "hello\n"), (2, 3, "world")])]
#[case::other_order(vec![(2, 3, "world"), (2, 2, "hello\n")])]
#[case::of_an_empty_file(vec![(2, 1, ""), (2, 2, "hello\n"), (2, 3, "world")])]
#[case::of_another_directory(vec![(1, 2, "hello\n"), (2, 3, "world")])]
#[case::too_short(vec![(2, 2, "hello"), (2, 3, "world")])]
#[case::too_long(vec![(2, 2, "hello\n\n"), (2, 3, "world")])]
#[case::empty_for_a_file(vec![(2, 2, ""), (2, 3, "world")])]
#[case::other_content(vec![(2, 2, "hallo\n"), (2, 3, "world")])]
#[case::other_content_at_the_end(vec![(2, 2, "hello\n"), (2, 3, "World")])]
fn data_that_is_not_that_of_the_files_is_rejected(
    #[context] context: Context,
    #[case] data: Vec<(u32, u32, &str)>,
) {
    let data = data.into_iter().map(|(directory, file, text)| (directory, file, text.into()));
    let error = read(&new().data(data.clone().collect()).plain()).unwrap_err();
    assert!(matches!(error, PackageError::Adb(_)), "{error}");
    assert_rejected(&context, &new().data(data.collect()).build());
}

#[test]
fn tables_that_are_shared_without_end_are_rejected() {
    let attributes = Node::Repeated(Box::new(text("user.k\0v")), 100_000);
    let acl = Node::Object(vec![Node::Int(0o755), Node::Absent, Node::Absent, attributes]);
    let directory = Box::new(Node::Object(vec![Node::Absent, acl]));
    let package = |times| new().paths_as(Node::Repeated(directory.clone(), times)).plain();
    assert!(read(&package(100)).is_ok());
    let error = read(&package(170)).unwrap_err();
    let message = "the metadata has more values than the 16000000 that are read at most";
    assert_eq!(error.to_string(), message);
}

#[test]
fn a_package_of_more_than_a_million_files_is_rejected() {
    let files = Node::Repeated(Box::new(file("a", b"")), 1_000_000);
    let directory = Node::Object(vec![text("usr"), Node::Absent, files]);
    let error = read(&new().paths(vec![directory]).plain()).unwrap_err();
    assert_eq!(error.to_string(), "the package has more than 1000000 files and directories");
}

#[test]
fn what_is_wrong_with_the_metadata_shows_before_the_data_arrives() {
    let parts = new().info(slot::NAME, text("a/b"));
    let blocks = parts.blocks();
    let mut reader = PackageReader::new();
    assert!(reader.push(&stream(b"pckg", &blocks[..1])).is_err());
    let mut reader = PackageReader::new();
    reader.push(&stream(b"pckg", &new().blocks()[..2])).unwrap();
    let error = reader.push(&block(2, b"\x01\0\0\0\x01\0\0\0")[..12]).unwrap_err();
    assert!(matches!(error, PackageError::Adb(AdbError::Misplaced { .. })), "{error}");
}

#[test]
fn a_wrong_signature_is_not_by_the_key_that_it_names() {
    let package = read(&new().build()).unwrap();
    let Signatures::Payload(signatures) = &package.signatures else { panic!("not of v3") };
    assert_eq!(signatures.iter().count(), 1);
    let signature = signatures.iter().next().unwrap();
    let key = crate::support::openssl::signing_key().verifying_key();
    assert!(!signatures.is_by(signature, &key));
    let digest = PayloadDigest::of(&new().payload());
    assert!(!signature.is_by(&key, Schema::Package, &digest));
}

fn meaning(package: Package) -> (Metadata, bool) {
    (package.metadata, package.has_content)
}

proptest! {
    #[test]
    fn a_flipped_bit_is_found_or_makes_another_package(
        is_plain: bool,
        position in any::<prop::sample::Index>(),
        bit in 0_u32..8,
    ) {
        let good = if is_plain { new().plain() } else { new().build() };
        let mut bytes = good.clone();
        let position = position.index(bytes.len());
        bytes[position] ^= 1 << bit;
        let good = read(&good).unwrap();
        if let Ok(package) = read(&bytes) && package.identity == good.identity {
            prop_assert_eq!(meaning(package), meaning(good));
        }
    }

    #[test]
    fn a_package_of_v3_that_is_cut_off_is_rejected(
        is_plain: bool,
        length in any::<prop::sample::Index>(),
    ) {
        let good = if is_plain { new().plain() } else { new().build() };
        prop_assert!(read(&good[..length.index(good.len())]).is_err());
    }

    #[test]
    fn a_mutated_payload_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut payload = new()
            .info(slot::DEPENDS, Node::Array(vec![dependency("a", "1", 5)]))
            .scripts(Node::Object(vec![text("x")]))
            .payload();
        for (position, byte) in changes {
            let position = position.index(payload.len());
            payload[position] = byte;
        }
        let _never_panics = read(&blocks(|blocks| blocks[0] = block(0, &payload)));
    }

    #[test]
    fn random_pieces_of_v3_give_the_same_result_as_one(
        sizes in prop::collection::vec(1_usize..400, 1..20),
        flipped in prop::option::of((any::<prop::sample::Index>(), 0_u32..8)),
    ) {
        let mut bytes = new().scripts(Node::Object(vec![text("x".repeat(100_000))])).build();
        if let Some((position, bit)) = flipped {
            let position = position.index(bytes.len());
            bytes[position] ^= 1_u8 << bit;
        }
        let mut rest = &bytes[..];
        let chunks = sizes.iter().cycle().map_while(|size| {
            let (chunk, after) = rest.split_at((*size).min(rest.len()));
            rest = after;
            (!chunk.is_empty()).then_some(chunk)
        });
        prop_assert_eq!(read_chunks(chunks), read(&bytes));
    }
}

//! Files that are not packages, each with the full text of its rejection in `snapshots/`.

use alpinist_apk::{index::Index, index_archive, package::PackageError, text::chain};
use alpinist_samples::{
    gzip::gzip,
    package::{Parts, Sections},
    tar::{
        BLOCK, checksum, directories, end_of_archive, entry, file, installed, patched, pax, record,
    },
};
use insta::assert_snapshot;
use rstest::{Context, rstest};
use tar::EntryType;

use crate::support::{
    openssl::{key_name, signed},
    read,
};

/// Fixed bytes, so that a snapshot may show their hash.
const EMPTY_GZIP: [u8; 20] = *b"\x1f\x8b\x08\0\0\0\0\0\x02\x03\x03\0\0\0\0\0\0\0\0\0";

fn new() -> Parts {
    Parts::new()
}

/// Asserts that `package` is rejected, and compares the text with the snapshot of the case.
fn assert_rejected(context: &Context, package: &[u8]) {
    let error = read(package).unwrap_err();
    assert_snapshot!(context.description.unwrap(), chain(&error));
}

#[rstest]
#[case::empty(b"")]
#[case::one_byte_of_gzip(b"\x1f")]
#[case::two_bytes_of_gzip(b"\x1f\x8b")]
#[case::one_letter(b"A")]
#[case::three_letters_of_v3(b"ADB")]
#[case::v3(b"ADB.pckg\xb8\0\0\0")]
#[case::v3_deflated(b"ADBd\x4b\x4c")]
#[case::v3_compressed(b"ADBc\x01\x09")]
#[case::unknown_adb(b"ADBz\x01\x09")]
#[case::text(b"pkgname = hello\n")]
#[case::html(b"<!DOCTYPE html><title>404</title>")]
#[case::gzip_of_another_method(b"\x1f\x8b\x07\0\0\0\0\0\0\x03")]
#[case::gzip_of_text(&gzip("pkgname = hello\n"))]
#[case::gzip_of_nothing(&gzip(""))]
fn another_kind_of_file_is_rejected(#[context] context: Context, #[case] bytes: &[u8]) {
    assert_rejected(&context, bytes);
}

#[rstest]
#[case::leading_garbage([vec![0], new().build()].concat())]
#[case::trailing_zeros([new().build(), vec![0; 512]].concat())]
#[case::trailing_garbage([new().build(), b"x".to_vec()].concat())]
#[case::trailing_empty_gzip([new().build(), gzip("")].concat())]
#[case::two_data_sections([new().build(), new().sections().data].concat())]
#[case::no_data_section(new().sections().map_data(|_| vec![]).build())]
#[case::no_control_section(new().sections().map_control(|_| vec![]).build())]
#[case::only_signatures(new().sections().signatures)]
#[case::seventeen_signatures_sections(
    new().signatures(vec![gzip(file(".SIGN.RSA.key.rsa.pub", [7; 256])); 17]).build()
)]
#[case::signature_with_a_slash(
    new().signatures(vec![gzip(file(".SIGN.RSA.keys/a.rsa.pub", [7; 256]))]).build()
)]
#[case::end_of_archive_in_signatures(
    new().signatures(vec![gzip([file(".SIGN.RSA.a", ""), end_of_archive()].concat())]).build()
)]
#[case::end_of_archive_in_control(new().after_info(end_of_archive()).build())]
#[case::a_zero_block_in_each_of_signatures_and_control(
    new()
        .signatures(vec![gzip([file(".SIGN.RSA.a", ""), vec![0; BLOCK]].concat())])
        .after_info(vec![0; BLOCK])
        .build()
)]
#[case::single_section_of_v1(v1(&new()))]
#[case::single_section_of_v1_without_data_hash(v1(&new().without_data_hash()))]
#[case::control_split_between_entries(
    split_control(&new().after_info(file(".post-install", "#!/bin/sh\n")), 2 * BLOCK)
)]
#[case::control_split_within_an_entry(split_control(&new(), BLOCK + 100))]
#[case::unsigned_index(unsigned_index())]
#[case::signed_index(signed_index())]
fn a_file_of_other_sections_is_rejected(#[context] context: Context, #[case] package: Vec<u8>) {
    assert_rejected(&context, &package);
}

fn v1(parts: &Parts) -> Vec<u8> {
    gzip([parts.control_tar(), installed("usr/hello", "hello\n"), end_of_archive()].concat())
}

fn split_control(parts: &Parts, at: usize) -> Vec<u8> {
    let tar = parts.control_tar();
    let (first, second) = tar.split_at(at);
    parts.sections().map_control(|_| [gzip(first), gzip(second)].concat()).build()
}

fn unsigned_index() -> Vec<u8> {
    index_archive::write_unsigned("v3.22", &Index::default()).unwrap()
}

fn signed_index() -> Vec<u8> {
    signed(&unsigned_index(), &key_name())
}

#[rstest]
#[case::crc_of_signatures(|s: Sections| s.map_signatures(wrong_crc))]
#[case::crc_of_control(|s: Sections| s.map_control(wrong_crc))]
#[case::crc_of_data(|s: Sections| s.map_data(wrong_crc))]
#[case::length_of_control(|s: Sections| s.map_control(wrong_length))]
#[case::deflate_of_signatures(|s: Sections| s.map_signatures(not_deflate))]
#[case::deflate_of_control(|s: Sections| s.map_control(not_deflate))]
#[case::deflate_of_data(|s: Sections| s.map_data(not_deflate))]
#[case::cut_in_signatures(|s: Sections| s.map_control(|_| vec![]).map_data(|_| vec![])
    .map_signatures(half))]
#[case::cut_in_control(|s: Sections| s.map_data(|_| vec![]).map_control(half))]
#[case::cut_in_data(|s: Sections| s.map_data(half))]
#[case::cut_in_the_last_byte(|s: Sections| s.map_data(|mut gzip| { gzip.pop(); gzip }))]
fn a_damaged_section_is_rejected(
    #[context] context: Context,
    #[case] damage: fn(Sections) -> Sections,
) {
    assert_rejected(&context, &damage(new().sections()).build());
}

fn wrong_crc(mut gzip: Vec<u8>) -> Vec<u8> {
    let position = gzip.len() - 8;
    gzip[position] ^= 1;
    gzip
}

fn wrong_length(mut gzip: Vec<u8>) -> Vec<u8> {
    let position = gzip.len() - 4;
    gzip[position] ^= 1;
    gzip
}

fn not_deflate(mut gzip: Vec<u8>) -> Vec<u8> {
    gzip[10] = 0xff;
    gzip
}

fn half(mut gzip: Vec<u8>) -> Vec<u8> {
    gzip.truncate(gzip.len() / 2);
    gzip
}

#[rstest]
#[case::no_info(new().info_entry(|_| file(".post-install", "#!/bin/sh\n")))]
#[case::two_infos(new().after_info(file(".PKGINFO", "pkgname = other\n")))]
#[case::info_renamed_twice(
    new().after_info([pax("path", ".PKGINFO"), file(".other", "pkgname = other\n")].concat())
)]
#[case::info_with_a_directory(new().info_entry(|text| file("./.PKGINFO", text)))]
#[case::info_as_symlink(new().info_entry(|_| entry(EntryType::Symlink, ".PKGINFO", "")))]
#[case::info_as_directory(new().info_entry(|text| entry(EntryType::Directory, ".PKGINFO", text)))]
#[case::info_as_file_of_v7(
    new().info_entry(|text| patched(file(".PKGINFO", text), 156, b"\0"))
)]
#[case::long_info(new().line(&format!("# {}", "x".repeat(1024 * 1024))))]
#[case::file_before_the_info(new().before_info(file("hello", "")))]
#[case::file_after_the_info(new().after_info(file("usr/hello", "")))]
#[case::dot_file_in_a_directory(new().after_info(file(".hooks/pre", "")))]
#[case::install_script(new().after_info(file(".INSTALL", "")))]
#[case::path_with_a_nul(
    new().after_info([pax("path", ".PKGINFO\0"), file(".other", "pkgname = other\n")].concat())
)]
#[case::info_renamed_across_an_unknown_kind(
    new().before_info([pax("path", ".other"), patched(file(".x", ""), 156, b"Z")].concat())
)]
fn a_control_section_that_apk_rejects_or_reads_otherwise_is_rejected(
    #[context] context: Context,
    #[case] parts: Parts,
) {
    assert_rejected(&context, &parts.build());
}

#[rstest]
#[case::header_with_a_wrong_checksum(new().after_info({
    let mut entry = file(".post-install", "");
    entry[0] = b'_';
    entry
}))]
#[case::header_of_v7(new().after_info(patched(file(".post-install", ""), 257, &[0; 8])))]
#[case::size_in_base_256(
    new().after_info(patched(file(".post-install", ""), 124, b"\x80\0\0\0\0\0\0\0\0\0\x02\0"))
)]
#[case::size_not_octal(
    new().after_info(patched(file(".post-install", ""), 124, b"00000000008\0"))
)]
#[case::size_with_a_sign(
    new().after_info(patched(file(".post-install", "x"), 124, b"+0000000001\0"))
)]
#[case::size_after_a_space(
    new().after_info(patched(file(".post-install", "x"), 124, b" 0000000001\0"))
)]
#[case::size_beyond_the_section(
    new().after_info(patched(file(".post-install", "x"), 124, b"77777777777\0"))
)]
#[case::size_of_a_pax_header(new().after_info(
    [pax("comment", &"x".repeat(65_536)), file(".other", "")].concat()
))]
#[case::size_of_a_long_name(new().after_info(
    [entry(EntryType::GNULongName, "././@LongLink", vec![b'.'; 65537]), file(".other", "")].concat()
))]
#[case::pax_headers_in_a_row(new().after_info(
    [pax("path", ".other"), pax("mtime", "1"), file(".script", "")].concat()
))]
#[case::prefix_of_an_unknown_type(new().after_info(patched(
    patched(file(".script", ""), 345, b".other"), 156, b"V"
)))]
#[case::script_over_256_kib(new().after_info(file(".post-install", vec![b'#'; 256 * 1024 + 1])))]
#[case::pax_header_without_an_entry(new().after_info(pax("path", ".other")))]
#[case::body_cut_off(new().after_info(file(".post-install", [b'x'; 1000])[..1000].to_vec()))]
#[case::header_cut_off(new().after_info(file(".post-install", "")[..500].to_vec()))]
#[case::entries_of_control(
    new().after_info((0..64).flat_map(|n| file(format!(".script-{n}"), "")).collect())
)]
#[case::entries_of_signatures(new().signatures(vec![gzip(
    (0..65).flat_map(|n| file(format!(".SIGN.RSA.key-{n}"), "")).collect::<Vec<_>>()
)]))]
#[case::bomb_in_the_info(new().line(&"\n".repeat(9 * 1024 * 1024)))]
#[case::bomb_in_a_script(new().after_info(file(".post-install", vec![0; 9 * 1024 * 1024])))]
#[case::bomb_in_the_signatures(
    new().signatures(vec![gzip(file(".SIGN.RSA.a", vec![0; 9 * 1024 * 1024]))])
)]
fn a_control_section_that_is_no_sound_tar_is_rejected(
    #[context] context: Context,
    #[case] parts: Parts,
) {
    assert_rejected(&context, &parts.build());
}

#[rstest]
#[case::climbing_path(file("../etc/passwd", ""))]
#[case::climbing_path_further_down(file("a/../../etc/passwd", ""))]
#[case::climbing_directory(entry(EntryType::Directory, "usr/..", ""))]
#[case::absolute_path(file("/etc/passwd", ""))]
#[case::path_that_begins_with_a_dot(file("./usr/hello", ""))]
#[case::path_with_an_empty_part(file("usr//hello", ""))]
#[case::path_with_a_newline(file("usr/hel\nlo", ""))]
#[case::path_that_is_too_long([pax("path", &"x/".repeat(2100)), file("usr/hello", "")].concat())]
#[case::climbing_path_by_pax([pax("path", "../etc/passwd"), file("usr/hello", "")].concat())]
#[case::climbing_path_by_long_name(
    [entry(EntryType::GNULongName, "././@LongLink", "../x\0"), file("usr/hello", "")].concat()
)]
#[case::climbing_path_by_prefix(patched(file("hello", ""), 345, b"usr/.."))]
#[case::climbing_path_by_prefix_of_a_gnu_header(patched(
    patched(file("hello", ""), 257, b"ustar  \0"),
    345,
    b"usr/.."
))]
#[case::data_after_the_end([end_of_archive(), file("usr/hello", "")].concat())]
#[case::data_cut_off_in_the_tar(installed("hello", [0; 2000])[..2500].to_vec())]
#[case::data_that_is_no_tar(vec![b'x'; 512])]
#[case::no_entry_for_the_directory(installed("usr/hello", "")[BLOCK..].to_vec())]
#[case::directory_after_its_file([
    installed("usr/hello", "")[BLOCK..].to_vec(), directories("usr/hello")
].concat())]
#[case::no_checksum([directories("usr/hello"), file("usr/hello", "")].concat())]
#[case::checksum_too_short([pax("APK-TOOLS.checksum.SHA1", &"0".repeat(39)), file("a", "")].concat())]
#[case::hard_link_to_nothing(link(EntryType::Link, "a", "b"))]
#[case::hard_link_as_dpkg_writes_it([installed("a", ""), link(EntryType::Link, "b", "./a")].concat())]
#[case::hard_link_before_its_target([link(EntryType::Link, "b", "a"), installed("a", "")].concat())]
#[case::symbolic_link_to_nothing(link(EntryType::Symlink, "a", ""))]
#[case::part_of_256_bytes([
    entry(EntryType::XHeader, "PaxHeader", record("path", &"x".repeat(256)) + &checksum("")),
    file("a", "")
].concat())]
#[case::checksum_before_a_long_name([
    entry(EntryType::XHeader, "PaxHeader", checksum("")),
    entry(EntryType::GNULongName, "././@LongLink", "hello\0"),
    file("x", "")
].concat())]
#[case::checksum_after_a_malformed_record([
    entry(EntryType::XHeader, "PaxHeader", "99 a=b\n".to_owned() + &checksum("")), file("a", "")
].concat())]
#[case::target_in_the_form_of_gnu([
    entry(EntryType::GNULongLink, "././@LongLink", "x".repeat(120)), link(EntryType::Symlink, "a", "x")
].concat())]
#[case::file_of_v7(patched(file("a", ""), 156, b"\0"))]
#[case::sparse_file(patched(file("a", ""), 156, b"S"))]
#[case::file_twice([installed("usr/a", ""), installed("usr/a", "")].concat())]
#[case::file_with_a_slash([directories("usr/a"), file("usr/a/", "")].concat())]
#[case::file_that_is_a_hard_link_by_pax([pax("linkpath", "b"), file("a", "")].concat())]
#[case::directory_below_a_file([
    installed("usr", ""), entry(EntryType::Directory, "usr/share/a/", "")
].concat())]
#[case::file_above_a_directory([
    entry(EntryType::Directory, "usr/share/", ""), installed("usr", "")
].concat())]
#[case::directory_of_4041_bytes({
    let directory = "x/".repeat(2020) + "x";
    [
        pax("path", &directory), entry(EntryType::Directory, "a", ""),
        entry(EntryType::XHeader, "PaxHeader", record("path", &(directory + "/a")) + &checksum("")),
        file("a", "")
    ].concat()
})]
#[case::target_of_4086_bytes([
    pax("linkpath", &"x".repeat(4086)), link(EntryType::Symlink, "a", "")
].concat())]
#[case::file_as_directory([directories("usr/hello"), installed("usr", "")].concat())]
#[case::directory_as_file([installed("usr", ""), directories("usr/hello")].concat())]
#[case::mode_in_base_256(patched(directories("usr/"), 100, b"\x80\0\0\0\0\0\x41\xed"))]
#[case::owner_with_leading_blanks(patched(directories("usr/"), 108, b"     0\0"))]
#[case::time_with_a_sign(patched(directories("usr/"), 136, b"-0000000001\0"))]
#[case::device_number_not_octal(patched(directories("usr/"), 329, b"0000009\0"))]
#[case::group_with_a_nul_within(patched(directories("usr/"), 116, b"000\x00000\0"))]
fn a_data_section_that_apk_rejects_is_rejected(#[context] context: Context, #[case] tar: Vec<u8>) {
    assert_rejected(&context, &new().data(tar).build());
}

fn link(kind: EntryType, path: &str, target: &str) -> Vec<u8> {
    patched(entry(kind, path, ""), 157, target.as_bytes())
}

#[test]
fn a_second_zero_block_ends_the_archive_even_when_the_first_is_in_the_control_section() {
    let data = [vec![0; BLOCK], file("usr/hello", "")].concat();
    let parts = new().after_info(vec![0; BLOCK]).data_stream(gzip(data));
    assert!(matches!(read(&parts.build()), Err(PackageError::Tar { .. })));
}

#[rstest]
#[case::wrong_data_hash(new().data_stream(EMPTY_GZIP.to_vec()).data_hash(&"0".repeat(64)))]
#[case::short_data_hash(new().data_hash(&"0".repeat(63)))]
#[case::long_data_hash(new().data_hash(&"0".repeat(65)))]
#[case::data_hash_not_hexadecimal(new().data_hash(&"g".repeat(64)))]
#[case::no_data_hash(new().without_data_hash())]
#[case::no_name(new().replace("pkgname = hello\n", ""))]
#[case::no_version(new().replace("pkgver = 1.2.3-r0\n", ""))]
#[case::no_architecture(new().replace("arch = x86_64\n", ""))]
#[case::two_names(new().line("pkgname = other"))]
#[case::two_versions(new().line("pkgver = 2-r0"))]
#[case::two_data_hashes(new().line(&format!("datahash = {}", "0".repeat(64))))]
#[case::two_sizes(new().line("size = 1"))]
#[case::provides_itself(new().line("provides = cmd:hello hello=1"))]
#[case::provides_twice(new().line("provides = mta=1").line("provides = mta=2"))]
#[case::depends_on_another_version_of_itself(new().line("depend = hello>9"))]
#[case::depends_on_another_version_of_what_it_provides(
    new().line("provides = mta=1").line("depend = mta=2")
)]
#[case::triggers_too_long(new().line(&format!("triggers = {}", "x".repeat(131_041))))]
#[case::replaces_too_much(new().line(&format!("replaces = {}", "waves>0 ".repeat(501))))]
#[case::dependency_as_of_debian(new().line("depend = bash (4.4)"))]
#[case::alternatives_as_of_debian(new().line("depend = bash | fish"))]
#[case::empty_name(new().replace("= hello", "= "))]
#[case::climbing_name(new().replace("= hello", "= ../../x y"))]
#[case::name_with_a_slash(new().replace("= hello", "= a/b"))]
#[case::name_with_a_nul(new().replace("= hello", "= hello\0"))]
#[case::name_of_129_bytes(new().replace("= hello", &format!("= {}", "a".repeat(129))))]
#[case::version_without_a_digit(new().replace("1.2.3-r0", "r0"))]
#[case::version_with_a_slash(new().replace("1.2.3-r0", "1/../2"))]
#[case::version_of_65_bytes(new().replace("1.2.3-r0", &"1".repeat(65)))]
#[case::climbing_architecture(new().replace("x86_64", "../x"))]
#[case::architecture_of_33_bytes(new().replace("x86_64", &"a".repeat(33)))]
#[case::carriage_return(new().replace("Greets", "Greets\r"))]
#[case::tab(new().replace("Greets", "Greets\tall"))]
#[case::nul(new().replace("Greets", "Greets\0"))]
#[case::escape(new().replace("Greets", "\u{1b}[31mGreets"))]
#[case::delete(new().replace("Greets", "Greets\u{7f}"))]
#[case::escape_beyond_ascii(new().replace("Greets", "\u{9b}31mGreets"))]
#[case::line_separator(new().replace("Greets", "Greets\u{2028}P:other"))]
#[case::control_in_url(new().replace("example.com", "example.com\r"))]
#[case::control_in_license(new().replace("= MIT", "= MIT\r"))]
#[case::control_in_origin(new().line("origin = hello\r"))]
#[case::control_in_maintainer(new().line("maintainer = Ops\r"))]
#[case::control_in_commit(new().line("commit = abc\r"))]
#[case::not_utf8(new().info_entry(|text| file(".PKGINFO", [
    text.as_bytes(), b"maintainer = Andr\xe9\n"
].concat())))]
#[case::negative_size(new().replace("= 4096", "= -5"))]
#[case::size_with_a_unit(new().replace("= 4096", "= 4096k"))]
#[case::size_beyond_64_bits(new().replace("= 4096", "= 18446744073709551616"))]
#[case::time_with_a_fraction(new().line("builddate = 1587622754.5"))]
#[case::priority_beyond_16_bits(new().line("provider_priority = 65536"))]
#[case::dependency_with_a_tag(new().line("depend = a@edge"))]
#[case::dependency_without_a_name(new().line("depend = b =1"))]
#[case::dependency_with_a_tab(new().line("depend = a\tb"))]
#[case::dependency_without_a_version(new().line("depend = a="))]
#[case::dependency_with_a_bad_version(new().line("depend = a=xyz"))]
#[case::dependency_with_a_bad_operator(new().line("depend = a<>=1"))]
#[case::dependency_of_251_bytes(new().line(&format!("depend = {}", "a".repeat(251))))]
#[case::provided_without_a_version(new().line("provides = a="))]
#[case::provided_with_a_tag(new().line("provides = a@edge=1"))]
#[case::install_if_with_a_bad_version(new().line("install_if = a=xyz"))]
#[case::line_of_128_kib(new().line(&format!("triggers = {}", "/x ".repeat(44_000))))]
fn an_info_that_could_harm_an_index_or_its_clients_is_rejected(
    #[context] context: Context,
    #[case] parts: Parts,
) {
    assert_rejected(&context, &parts.build());
}

#[test]
fn a_package_that_is_cut_off_anywhere_is_rejected() {
    let package = new().after_info(file(".post-install", "#!/bin/sh\n")).build();
    read(&package).unwrap();
    for length in 0..package.len() {
        let result = read(&package[..length]);
        assert!(result.is_err(), "accepted the first {length} of {} bytes", package.len());
    }
}

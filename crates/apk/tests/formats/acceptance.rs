//! Odd packages that apk installs.

use std::io::Write as _;

use alpinist_apk::{
    checksum::{DataHash, PullChecksum},
    entry::IndexEntry,
    package::Package,
};
use alpinist_samples::{
    gzip::gzip,
    package::Parts,
    tar::{BLOCK, checksum, end_of_archive, entry, file, installed, pax, record, with_header},
};
use flate2::{Compression, GzBuilder};
use rstest::rstest;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

use crate::support::read;

fn signature(number: usize) -> Vec<u8> {
    file(format!(".SIGN.RSA.key-{number}.rsa.pub"), [0; 256])
}

fn named_gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzBuilder::new()
        .filename("control.tar")
        .comment("by hand")
        .mtime(1)
        .operating_system(255)
        .write(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn gnu(path: &str, body: &str) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    with_header(header, path, body)
}

fn zero_block() -> Vec<u8> {
    vec![0; BLOCK]
}

#[rstest]
#[case::as_usual(Parts::new().build())]
#[case::unsigned(Parts::new().signatures(vec![]).build())]
#[case::two_signatures_in_a_section(
    Parts::new().signatures(vec![gzip([signature(1), signature(2)].concat())]).build()
)]
#[case::sixteen_signatures_sections(
    Parts::new().signatures((0..16).map(|n| gzip(signature(n))).collect()).build()
)]
#[case::signature_of_an_unknown_kind(
    Parts::new().signatures(vec![gzip(file(".SIGN.X.key", "?"))]).build()
)]
#[case::stray_zero_block_after_the_control_section(
    Parts::new().after_info(zero_block()).build()
)]
#[case::stray_zero_block_after_the_signatures(
    Parts::new().signatures(vec![gzip([signature(1), zero_block()].concat())]).build()
)]
#[case::stray_zero_block_before_the_info(Parts::new().before_info(zero_block()).build())]
#[case::gzip_header_with_name_and_comment({
    let parts = Parts::new();
    let control = named_gzip(&parts.control_tar());
    parts.sections().map_control(|_| control).build()
})]
#[case::gnu_headers(
    Parts::new()
        .info_entry(|text| gnu(".PKGINFO", &text))
        .data([entry(EntryType::XHeader, "PaxHeader", checksum("")), gnu("hello", "")].concat())
        .build()
)]
#[case::contiguous_file(
    Parts::new().info_entry(|text| entry(EntryType::Continuous, ".PKGINFO", text)).build()
)]
#[case::info_renamed_by_pax(
    Parts::new()
        .info_entry(|text| [pax("path", ".PKGINFO"), file(".other", text)].concat())
        .build()
)]
#[case::info_renamed_by_gnu_long_name(
    Parts::new()
        .info_entry(|text| {
            let name = entry(EntryType::GNULongName, "././@LongLink", ".PKGINFO\0");
            [name, file(".other", text)].concat()
        })
        .build()
)]
#[case::global_pax_header(
    Parts::new()
        .before_info(entry(EntryType::XGlobalHeader, "pax_global_header", "13 path=a/b\n"))
        .build()
)]
#[case::info_in_the_data_section(
    Parts::new().data(file(".PKGINFO", "pkgname = other\n")).build()
)]
#[case::capability_that_holds_a_newline(
    Parts::new()
        .data(
            [
                entry(
                    EntryType::XHeader,
                    "PaxHeader",
                    record("SCHILY.xattr.security.capability", "\u{1}\n\n9 path=..\n") + &checksum(""),
                ),
                file("hello", ""),
            ]
            .concat(),
        )
        .build()
)]
#[case::dots_within_a_name(Parts::new().data(installed("usr/a..b/...", "")).build())]
#[case::no_end_of_archive(Parts::new().data_stream(gzip(installed("usr/hello", "hello\n"))).build())]
#[case::padded_end_of_archive(
    Parts::new().data([installed("usr/hello", ""), end_of_archive().repeat(8)].concat()).build()
)]
#[case::upper_case_data_hash({
    let parts = Parts::new();
    let hash = DataHash::new(Sha256::digest(parts.sections().data).into());
    parts.data_hash(&hash.to_string().to_uppercase()).build()
})]
#[case::no_newline_at_the_end_of_the_info(
    Parts::new().info_entry(|text| file(".PKGINFO", text.trim_end())).build()
)]
#[case::a_key_repeated_with_the_same_value(Parts::new().line("pkgname = hello").build())]
#[case::unknown_keys_and_no_separators(
    Parts::new().line("colour = red\r").line("pkgname=other").line("pkgver =").build()
)]
fn a_package_that_apk_installs_is_read(#[case] package: Vec<u8>) {
    let expected = read(&Parts::new().build()).unwrap();
    let read = read(&package).unwrap();
    assert_eq!(read.metadata.name, expected.metadata.name);
    assert_eq!(read.metadata.version, expected.metadata.version);
    assert_eq!(read.size, package.len() as u64);
}

#[rstest]
#[case::a_file(Parts::new(), true)]
#[case::only_a_directory(Parts::new().data(entry(EntryType::Directory, "usr/", [])), true)]
#[case::only_a_script(
    Parts::new().data(vec![]).after_info(file(".post-install", "#!/bin/sh\n")),
    true
)]
#[case::only_an_end_of_archive(Parts::new().data(vec![]), false)]
#[case::nothing_in_the_data_stream(Parts::new().data_stream(gzip([])), false)]
fn only_a_package_without_files_and_scripts_has_an_installed_size_of_0(
    #[case] parts: Parts,
    #[case] has_content: bool,
) {
    let package = read(&parts.replace("size = 4096", "size = 0").build()).unwrap();
    assert_eq!(package.has_content, has_content);
    assert_eq!(entry_of(package).metadata.installed_size, u64::from(has_content));
}

#[test]
fn an_entry_has_all_fields_of_the_info_in_the_order_of_apk_index() {
    let package = Parts::new()
        .line("maintainer = Ops <ops@example.com>")
        .line("install_if = b=1.0 a")
        .line("provides = cmd:hello=1.2.3-r0")
        .line("depend = so:libc.musl-x86_64.so.1 foo=>2")
        .line("builddate = 1587622754")
        .line("commit = bfe53cd560c91cb4d75cdb82c3444668af9c8905-dirty")
        .line("depend = !bar~=1.2 foo=>2")
        .line("origin = hello-source")
        .line("provider_priority = 100")
        .line("replaces = old")
        .line("replaces_priority = 5")
        .line("triggers = /usr/share/*")
        .line("packager = Builder")
        .build();
    let package = read(&package).unwrap();
    let (checksum, size) = (package.identity, package.size);
    let expected = format!(
        "C:{checksum}\nP:hello\nV:1.2.3-r0\nA:x86_64\nS:{size}\nI:4096\nT:Greets\n\
         U:https://example.com\nL:MIT\no:hello-source\nm:Ops <ops@example.com>\nt:1587622754\n\
         c:bfe53cd560c91cb4d75cdb82c3444668af9c8905-dirty\nk:100\n\
         D:so:libc.musl-x86_64.so.1 foo>=2 !bar~1.2 foo>=2\np:cmd:hello=1.2.3-r0\ni:b=1.0 a\n\n"
    );
    assert_eq!(entry_of(package).to_string(), expected);
}

#[test]
fn only_the_control_section_decides_the_checksum() {
    let parts = Parts::new();
    let signed = read(&parts.build()).unwrap();
    let unsigned = read(&parts.clone().signatures(vec![]).build()).unwrap();
    assert_eq!(unsigned.identity, signed.identity);
    assert_ne!(unsigned.size, signed.size);

    let control = parts.sections().control;
    let expected = PullChecksum::new(Sha1::digest(control).into());
    assert_eq!(signed.identity, expected.into());
}

#[test]
fn an_entry_has_the_architecture_of_its_directory() {
    let package = Parts::new().replace("arch = x86_64", "arch = noarch").build();
    let package = read(&package).unwrap();
    assert!(package.metadata.architecture.is_noarch());
    assert!(entry_of(package).to_string().contains("\nA:x86_64\n"));
}

#[rstest]
#[case::plus_and_tilde("pkgname = g++", "pkgver = 1.0~abc-r0", "g++-1.0~abc-r0")]
#[case::outside_the_grammar(
    "pkgname = ImageMagick",
    "pkgver = 6.8.0p2-r4",
    "ImageMagick-6.8.0p2-r4"
)]
fn a_file_name_is_the_name_and_version_as_they_stand(
    #[case] name: &str,
    #[case] version: &str,
    #[case] stem: &str,
) {
    let parts = Parts::new().replace("pkgname = hello", name).replace("pkgver = 1.2.3-r0", version);
    assert_eq!(entry_of(read(&parts.build()).unwrap()).file_stem(), stem);
}

fn entry_of(package: Package) -> IndexEntry {
    let Package { metadata, identity, size, has_content, .. } = package;
    IndexEntry::new(metadata, "x86_64".parse().unwrap(), identity, size, has_content).unwrap()
}

//! A package is the same in whatever chunks it arrives.

use alpinist_apk::package::PackageReader;
use alpinist_samples::{
    gzip::gzip,
    package::Parts,
    tar::{end_of_archive, file},
};
use proptest::prelude::*;
use rstest::rstest;

use crate::support::{read, read_chunks};

/// A package whose control section inflates to more than the reader's buffer.
fn package() -> Vec<u8> {
    let script = "echo long enough to fill more than a buffer\n".repeat(4000);
    Parts::new().after_info(file(".post-install", script)).build()
}

/// A gzip stream of a stored block with text, and then a block of an invalid type.
fn no_tar_and_then_no_deflate() -> Vec<u8> {
    let header = b"\x1f\x8b\x08\0\0\0\0\0\0\x03";
    let stored_1000_bytes = b"\0\xe8\x03\x17\xfc";
    [&header[..], stored_1000_bytes, &[b'x'; 1000], b"\x07"].concat()
}

#[rstest]
#[case::package(package())]
#[case::format_v3(b"ADB.pckg\xe8\0\0\0".to_vec())]
#[case::almost_format_v3(b"ADB?pckg".to_vec())]
#[case::text(b"Alpine\n".to_vec())]
#[case::one_byte(b"A".to_vec())]
#[case::half_a_magic(b"\x1fx".to_vec())]
#[case::damaged(Parts::new().sections().map_control(|mut gzip| { gzip[20] ^= 1; gzip }).build())]
#[case::no_tar_and_then_damaged(Parts::new().data_stream(no_tar_and_then_no_deflate()).build())]
#[case::garbage_at_the_end([package(), vec![1]].concat())]
#[case::cut_off(package()[..900].to_vec())]
#[case::end_of_archive(Parts::new().after_info(end_of_archive()).build())]
#[case::wrong_data(Parts::new().data_hash(&"0".repeat(64)).build())]
fn bytes_one_by_one_give_the_same_result_as_in_one_chunk(#[case] bytes: Vec<u8>) {
    assert_eq!(read_chunks(bytes.chunks(1)), read(&bytes));
}

#[test]
fn empty_pieces_change_nothing() {
    let bytes = package();
    let chunks = bytes.chunks(100).flat_map(|chunk| [&[][..], chunk, &[]]);
    assert_eq!(read_chunks(chunks), read(&bytes));
}

#[test]
fn what_is_wrong_shows_before_the_data_arrives() {
    let sections = Parts::new().line("pkgname = other").sections();
    let mut reader = PackageReader::new();
    reader.push(&sections.signatures).unwrap();
    assert!(reader.push(&sections.control).is_err());
}

proptest! {
    #[test]
    fn random_pieces_give_the_same_result_as_one(
        sizes in prop::collection::vec(1_usize..400, 1..20),
        flipped in prop::option::of((any::<prop::sample::Index>(), 0_u32..8)),
        tail in prop::option::of(Just(gzip(b""))),
    ) {
        let mut bytes = [package(), tail.unwrap_or_default()].concat();
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

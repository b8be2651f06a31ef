//! Blocks: the pieces of an index, and an index that is made of them.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    thread,
};

use alpinist_apk::{
    block::{self, Block, BlockError},
    entry::IndexEntry,
    index::Index,
    index_archive::{self, IndexArchive},
};
use alpinist_samples::{
    gzip::{gzip, streams},
    tar::{entries, file},
};
use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};
use rstest::rstest;

fn entry(number: usize) -> IndexEntry {
    let rest = "A:x86_64\nS:1\nI:1\nT:What it is good for\nU:\nL:MIT\n\n";
    let text = format!("C:Q1DNWZeWkviN7MJedLpYM8yBvmnGM=\nP:p{number}\nV:1.2-r0\n{rest}");
    text.parse().unwrap()
}

fn index(packages: usize) -> Index {
    Index::new((0..packages).map(entry))
}

fn blocks(index: &Index) -> Vec<Block> {
    block::cut(index.entries()).map(Block::new).collect()
}

fn unsigned(index: &Index) -> Bytes {
    index_archive::write_blocks("v3.22", &blocks(index)).unwrap().into()
}

#[test]
fn a_block_has_what_it_was_made_of() {
    let index = index(3000);
    let blocks = blocks(&index);
    assert!((2..30).contains(&blocks.len()), "{} blocks", blocks.len());
    let read = blocks.iter().flat_map(|block| block.entries().unwrap()).collect::<Vec<_>>();
    assert_eq!(read, index.entries());
    for block in &blocks[..blocks.len() - 1] {
        assert!(block::ends_block(&block.entries().unwrap().last().unwrap().file_stem()));
    }
}

#[rstest]
#[case::empty(0)]
#[case::one(1)]
#[case::some_blocks(3000)]
fn an_index_of_blocks_is_one_gzip_stream(#[case] packages: usize) {
    let index = index(packages);
    let unsigned = unsigned(&index);
    let [(stream, tar)] = &*streams(&unsigned) else { panic!("not one gzip stream") };
    assert_eq!(stream, &unsigned);
    let (files, _) = entries(tar);
    assert_eq!(files[1].1, index.to_string().as_bytes());

    let child =
        Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.expect("gzip is missing: apt-get install gzip");
    let mut input = child.stdin.take().unwrap();
    let sent = unsigned.clone();
    let written = thread::spawn(move || input.write_all(&sent));
    let output = child.wait_with_output().unwrap();
    written.join().unwrap().unwrap();
    assert!(output.status.success());
    assert_eq!(&output.stdout, tar);
}

#[rstest]
#[case::empty(0)]
#[case::one(1)]
#[case::some_blocks(3000)]
fn the_blocks_of_an_index_are_found_and_those_of_anything_else_are_not(#[case] packages: usize) {
    let index = index(packages);
    let unsigned = unsigned(&index);
    let found = |bytes: Vec<u8>| index_archive::read_blocks("v3.22", &bytes.into());
    assert_eq!(found(unsigned.to_vec()).unwrap(), blocks(&index));
    assert_eq!(index_archive::read_blocks("v3.21", &unsigned), None);
    for place in (0..unsigned.len()).step_by(unsigned.len() / 500 + 1) {
        let mut other = unsigned.to_vec();
        other[place] ^= 1;
        // Within a block, only its text shows the change.
        let is_told = found(other).is_none_or(|found| {
            found != blocks(&index) && found.iter().any(|block| block.entries().is_err())
        });
        assert!(is_told, "byte {place}");
        assert_eq!(found(unsigned[..place].to_vec()), None);
    }
    assert_eq!(found([&*unsigned, b"more"].concat()), None);
}

#[test]
fn an_index_of_very_many_blocks_lists_none_of_them() {
    let block = Block::new([&entry(1)]);
    let unsigned =
        |count| Bytes::from(index_archive::write_blocks("", &vec![block.clone(); count]).unwrap());
    assert_eq!(index_archive::read_blocks("", &unsigned(5460)).unwrap().len(), 5460);
    let unsigned = unsigned(5461);
    assert_eq!(index_archive::read_blocks("", &unsigned), None);
    assert_eq!(entries(&streams(&unsigned)[0].1).0.len(), 2);
}

/// Compresses text as a block does, or with another flush.
fn deflated(text: &str, flush: FlushCompress) -> Vec<u8> {
    let mut compress = Compress::new(Compression::best(), false);
    let mut deflated = Vec::with_capacity(text.len() + 100);
    compress.compress_vec(text.as_bytes(), &mut deflated, flush).unwrap();
    deflated
}

fn parts(text: &str, flush: FlushCompress) -> Block {
    let length = u32::try_from(text.len()).unwrap();
    Block::from_parts(deflated(text, flush).into(), length, crc32fast::hash(text.as_bytes()))
}

#[test]
fn what_is_no_block_is_rejected() {
    let text = entry(1).to_string();
    let own = parts(&text, FlushCompress::Full);
    assert_eq!(own.entries().unwrap(), [entry(1)]);

    let bytes = own.deflated();
    let of = |bytes: Bytes, length, crc| Block::from_parts(bytes, length, crc).entries();
    let (length, crc) = (own.length(), own.crc());
    assert!(matches!(of(bytes.clone(), length + 1, crc), Err(BlockError::Text)));
    assert!(matches!(of(bytes.clone(), length - 1, crc), Err(BlockError::Text)));
    assert!(matches!(of(bytes.clone(), length, crc ^ 1), Err(BlockError::Text)));
    assert!(matches!(of(bytes.clone(), u32::MAX, crc), Err(BlockError::Deflate)));
    for end in 0..bytes.len() {
        assert!(of(bytes.slice(..end), length, crc).is_err(), "{end} of {} bytes", bytes.len());
    }
    for flush in [FlushCompress::Finish, FlushCompress::None] {
        assert!(matches!(parts(&text, flush).entries(), Err(BlockError::Deflate)));
    }
    // More after the end of a stream, and two blocks in one.
    let ended = deflated(&text, FlushCompress::Finish);
    let more = [&*ended, &**bytes].concat();
    assert!(of(more.into(), length * 2, crc).is_err());

    let mut other = text.clone();
    other.insert_str(0, "X:unknown\n");
    assert!(matches!(parts(&other, FlushCompress::Full).entries(), Err(BlockError::Entry(_))));
    let spelled = text.replace("S:1\n", "S:01\n");
    let spelled = parts(&spelled, FlushCompress::Full).entries();
    assert!(matches!(spelled, Err(BlockError::Form { position: 1 } | BlockError::Entry(_))));
    let open = parts(text.trim_end(), FlushCompress::Full).entries();
    assert!(matches!(open, Err(BlockError::Form { position: 1 })));
}

#[test]
fn an_index_in_one_piece_is_read_as_before() {
    let index = index(3000);
    let unsigned = unsigned(&index);
    let [(_, tar)] = &*streams(&unsigned) else { panic!("not one gzip stream") };
    let before = Bytes::from(gzip(tar));
    assert_eq!(index_archive::read_blocks("v3.22", &before), None);
    let signature = file(".SIGN.RSA.a.rsa.pub", b"x");
    let archive = [&*gzip(signature), &*before].concat();
    assert_eq!(IndexArchive::read(&archive).unwrap().index, index);
}

//! Gzip streams.

use std::io::{Read as _, Write as _};

use flate2::{Compression, bufread::GzDecoder, write::GzEncoder};

/// Compresses `content` to one gzip stream, at the best level.
pub fn gzip(content: impl AsRef<[u8]>) -> Vec<u8> {
    gzip_at(content, 9)
}

/// Compresses `content` to one gzip stream, at a level from 0 to 9.
pub fn gzip_at(content: impl AsRef<[u8]>, level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(content.as_ref()).unwrap();
    encoder.finish().unwrap()
}

/// Splits a file into its gzip streams, each with what it inflates to.
pub fn streams(mut bytes: &[u8]) -> Vec<(&[u8], Vec<u8>)> {
    let mut streams = Vec::new();
    while !bytes.is_empty() {
        let mut decoder = GzDecoder::new(bytes);
        let mut content = Vec::new();
        decoder.read_to_end(&mut content).unwrap();
        let (stream, rest) = bytes.split_at(bytes.len() - decoder.into_inner().len());
        streams.push((stream, content));
        bytes = rest;
    }
    streams
}

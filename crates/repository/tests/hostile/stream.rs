//! Objects of gigabytes, of which only a few chunks exist.

use std::{iter, sync::Arc};

use alpinist_samples::{
    adb_package::AdbParts,
    gzip::gzip,
    package::Parts,
    tar::{entry, file, patched},
};
use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};
use tar::EntryType;

/// A large object: its beginning, and what is repeated after it.
#[derive(Clone)]
pub(crate) struct Stream {
    pub(crate) name: &'static str,
    pub(crate) length: u64,
    begin: Arc<Vec<u8>>,
    again: Arc<Vec<u8>>,
}

const GIB: u64 = 1024 * 1024 * 1024;

/// The size of a chunk, about what a connection gives at once.
pub(crate) const PIECE: usize = 64 * 1024;

impl Stream {
    fn new(name: &'static str, length: u64, begin: Vec<u8>, again: Vec<u8>) -> Self {
        Self { name, length, begin: Arc::new(begin), again: Arc::new(again) }
    }

    /// Returns the chunks.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = Bytes> + Send + 'static {
        let Self { begin, again, length, .. } = self.clone();
        let mut position = 0;
        iter::from_fn(move || {
            let wanted = usize::try_from((length - position).min(PIECE as u64)).unwrap();
            let chunk: Bytes = (position..position + wanted as u64)
                .map(|at| {
                    let at = usize::try_from(at).unwrap();
                    let after = at.checked_sub(begin.len());
                    after.map_or_else(|| begin[at], |after| again[after % again.len()])
                })
                .collect();
            position += wanted as u64;
            (!chunk.is_empty()).then_some(chunk)
        })
    }
}

/// All streams. All except one have 5 GiB, which is the maximum of one request to S3.
pub(crate) fn streams() -> Vec<Stream> {
    let info = entry(EntryType::Regular, ".PKGINFO", "");
    let script = file(".post-install", "");
    let signature = file(".SIGN.RSA.a.rsa.pub", "");
    let [bomb_in_info, bomb_in_script, bomb_in_signatures] = [info, script, signature].map(bomb);
    let good = Parts::new();
    let signatures = good.sections().signatures;
    let good_v3 = AdbParts::new();
    let blocks = good_v3.blocks();
    let before_signatures = [b"ADB.pckg", &*blocks[0]].concat();
    let bomb_of_v3 = with_zeros(b"ADBd", &good_v3.plain());
    vec![
        Stream::new("zeros-of-5-gib", 5 * GIB, Vec::new(), vec![0]),
        Stream::new("larger-than-5-gib", 5 * GIB + 1, good.build(), vec![0]),
        Stream::new("empty-members-without-end", 5 * GIB, Vec::new(), gzip("")),
        Stream::new("signatures-without-end", 5 * GIB, Vec::new(), signatures),
        Stream::new("padding-without-end", 5 * GIB, good.build(), vec![0]),
        Stream::new("bomb-in-info-without-end", 5 * GIB, bomb_in_info.0, bomb_in_info.1),
        Stream::new("bomb-in-script-without-end", 5 * GIB, bomb_in_script.0, bomb_in_script.1),
        Stream::new(
            "bomb-in-signatures-without-end",
            5 * GIB,
            bomb_in_signatures.0,
            bomb_in_signatures.1,
        ),
        Stream::new("v3-padding-without-end", 5 * GIB, good_v3.plain(), vec![0]),
        Stream::new("v3-signatures-without-end", 5 * GIB, before_signatures, blocks[1].clone()),
        Stream::new("v3-content-without-end", 5 * GIB, good_v3.plain(), blocks[3].clone()),
        Stream::new("v3-bomb-without-end", 5 * GIB, bomb_of_v3.0, bomb_of_v3.1),
    ]
}

/// Returns the beginning of a gzip stream with a tar header that declares the maximum size, and
/// zeros that can be repeated forever.
fn bomb(header: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let header_of_gzip = b"\x1f\x8b\x08\0\0\0\0\0\x02\x03";
    with_zeros(header_of_gzip, &patched(header, 124, b"77777777777\0"))
}

/// Returns a header and the beginning of a deflate stream after it, and zeros that can be repeated
/// forever.
fn with_zeros(header: &[u8], begin: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut deflate = Compress::new(Compression::best(), false);
    let mut flushed = |content: &[u8]| {
        let mut out = Vec::with_capacity(PIECE);
        deflate.compress_vec(content, &mut out, FlushCompress::Full).unwrap();
        out
    };
    ([header, &*flushed(begin)].concat(), flushed(&vec![0; 1024 * 1024]))
}

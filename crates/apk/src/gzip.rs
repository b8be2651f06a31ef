//! Inflates gzip streams (members, in RFC 1952) one at a time, as their bytes arrive, and writes
//! one.

use std::io::{self, Write as _};

use flate2::{Compression, Decompress, FlushDecompress, GzBuilder, Status};

/// Inflates one gzip stream whose bytes arrive chunk by chunk, in constant memory.
pub(crate) struct GzipStream {
    inflate: Decompress,
    buffer: Box<[u8]>,
}

/// The bytes are not a gzip stream, or its checksum is wrong.
#[derive(Debug)]
pub(crate) struct NotGzip;

/// How far [`GzipStream::push`] got.
pub(crate) struct Fed {
    /// How many bytes of the input belong to this stream.
    pub(crate) consumed: usize,
    /// Whether the stream ended after them, with a valid checksum.
    pub(crate) ended: bool,
}

impl GzipStream {
    pub(crate) fn new() -> Self {
        Self { inflate: decompress(), buffer: vec![0; 64 * 1024].into_boxed_slice() }
    }

    /// Prepares for the next stream.
    pub(crate) fn restart(&mut self) {
        self.inflate = decompress();
    }

    /// Inflates as much of `input` as belongs to this stream, and passes the output to `sink`.
    pub(crate) fn push<E: From<NotGzip>>(
        &mut self,
        input: &[u8],
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Fed, E> {
        let mut consumed = 0;
        loop {
            let rest = input.get(consumed..).unwrap_or_default();
            let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(rest, &mut self.buffer, FlushDecompress::None);
            let read = difference(self.inflate.total_in(), before_in);
            let written = difference(self.inflate.total_out(), before_out);
            consumed += read;
            sink(self.buffer.get(..written).unwrap_or_default())?;
            if status.map_err(|_| NotGzip)? == Status::StreamEnd {
                return Ok(Fed { consumed, ended: true });
            }
            if read == 0 && written == 0 {
                return Ok(Fed { consumed, ended: false });
            }
        }
    }
}

fn decompress() -> Decompress {
    let window_bits = 15;
    Decompress::new_gzip(window_bits)
}

/// Returns the difference of two running totals before and after a call. It is at most the length
/// of a buffer.
fn difference(after: u64, before: u64) -> usize {
    usize::try_from(after - before).unwrap_or(usize::MAX)
}

/// Compresses `content` to one gzip stream without a file name or time.
///
/// # Errors
///
/// If writing fails, which does not happen in memory.
pub(crate) fn compress(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::default());
    encoder.write_all(content)?;
    encoder.finish()
}

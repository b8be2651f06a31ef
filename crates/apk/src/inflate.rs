//! Inflates a compressed stream, gzip (a member, in RFC 1952) or raw deflate (RFC 1951), as its
//! bytes arrive.

use flate2::{Decompress, FlushDecompress, Status};

/// Inflates one stream whose bytes arrive chunk by chunk, in constant memory.
pub(crate) struct InflateStream {
    inflate: Decompress,
    buffer: Box<[u8]>,
}

/// The bytes are not a stream of the expected kind, or the checksum of a gzip stream is wrong.
#[derive(Debug)]
pub(crate) struct Malformed;

/// How far [`InflateStream::push`] got.
pub(crate) struct Fed {
    /// How many bytes of the input belong to this stream.
    pub(crate) consumed: usize,
    /// Whether the stream ended after them: a gzip stream with a valid checksum.
    pub(crate) ended: bool,
}

impl InflateStream {
    /// Begins a gzip stream.
    pub(crate) fn gzip() -> Self {
        Self::with(gzip())
    }

    /// Begins a raw deflate stream.
    pub(crate) fn deflate() -> Self {
        let zlib_header = false;
        Self::with(Decompress::new(zlib_header))
    }

    fn with(inflate: Decompress) -> Self {
        Self { inflate, buffer: vec![0; 64 * 1024].into_boxed_slice() }
    }

    /// Prepares for another gzip stream.
    pub(crate) fn restart_gzip(&mut self) {
        self.inflate = gzip();
    }

    /// Inflates as much of `input` as belongs to this stream, and passes the output to `sink`.
    pub(crate) fn push<E: From<Malformed>>(
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
            if status.map_err(|_| Malformed)? == Status::StreamEnd {
                return Ok(Fed { consumed, ended: true });
            }
            if read == 0 && written == 0 {
                return Ok(Fed { consumed, ended: false });
            }
        }
    }
}

fn gzip() -> Decompress {
    let window_bits = 15;
    Decompress::new_gzip(window_bits)
}

/// Returns the difference of two running totals before and after a call. It is at most the length
/// of a buffer.
fn difference(after: u64, before: u64) -> usize {
    usize::try_from(after - before).unwrap_or(usize::MAX)
}

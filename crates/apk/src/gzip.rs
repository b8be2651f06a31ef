//! Writes a gzip stream (a member, in RFC 1952).

use std::io::{self, Write as _};

use flate2::{Compression, GzBuilder};

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

//! What the tests share.

pub(crate) mod openssl;

use alpinist_apk::package::{Package, PackageError, PackageReader};

/// Reads a package that arrives in one chunk.
pub(crate) fn read(bytes: &[u8]) -> Result<Package, PackageError> {
    read_chunks([bytes])
}

pub(crate) fn read_chunks<'a>(
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Package, PackageError> {
    let mut reader = PackageReader::new();
    chunks.into_iter().try_for_each(|chunk| reader.push(chunk))?;
    reader.finish()
}

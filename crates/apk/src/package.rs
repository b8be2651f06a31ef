//! Reads a package, an `.apk` file of format v2 or v3, as a stream in bounded memory.
//!
//! ```text
//! v2, gzip streams:  signatures section(s)   control section       data section
//! content:           .SIGN.RSA.<key name>    .PKGINFO, scripts     the files
//!                                            └ SHA-1 = checksum    └ SHA-256 = `datahash`
//!
//! v3, blocks:        ADB                     SIG…                  DATA…
//! content:           all metadata            signatures            the files
//!                    └ SHA-256 = identity                          └ SHA-256 in the ADB block
//! ```
//!
//! The first bytes tell them apart.

use crate::{adb, package_v2};

pub use crate::{
    adb::package::{AdbError, MAX_PAYLOAD},
    contents::{ContentsError, MAX_DATA_ENTRIES},
    package_error::{PackageError, Section},
    package_limits::{
        MAX_CONTROL_ENTRIES, MAX_CONTROL_LENGTH, MAX_DATA_LENGTH, MAX_SCRIPT_LENGTH,
        MAX_SIGNATURES_LENGTH, MAX_SIGNATURES_SECTIONS, MAX_SIZE,
    },
    package_summary::{Package, PayloadSignatures, Signatures},
    tar::TarError,
};

/// Reads a package whose bytes arrive in chunks of any size.
///
/// Reports each problem as early as it can, so a caller can stop reading at the first error. Memory
/// is bounded by [`MAX_CONTROL_LENGTH`], or [`MAX_PAYLOAD`] in v3, and the hashes of
/// [`MAX_DATA_ENTRIES`] paths, whatever the size of the package.
#[expect(missing_debug_implementations, reason = "the inflater has none")]
pub struct PackageReader {
    size: u64,
    format: Format,
}

enum Format {
    /// The beginning of the file, which does not show the format yet.
    Unknown(Vec<u8>),
    V2(Box<package_v2::Reader>),
    V3(Box<adb::package::Reader>),
}

/// The first bytes of a v2 package: those of gzip.
const V2: &[u8] = b"\x1f\x8b";
/// The first bytes of a v3 package. The next one is for its container.
const V3: &[u8] = b"ADB";

impl Default for PackageReader {
    fn default() -> Self {
        Self::new()
    }
}

impl PackageReader {
    /// Begins to read a package.
    pub fn new() -> Self {
        Self { size: 0, format: Format::Unknown(Vec::new()) }
    }

    /// Takes the next bytes of the file.
    ///
    /// # Errors
    ///
    /// [`PackageError`]. The reader can't be used after an error.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), PackageError> {
        self.size += bytes.len() as u64;
        if self.size > MAX_SIZE {
            return Err(PackageError::Size);
        }
        while let Format::Unknown(beginning) = &mut self.format {
            let Some((first, rest)) = bytes.split_first() else { return Ok(()) };
            beginning.push(*first);
            bytes = rest;
            match beginning.as_slice() {
                V2 => {
                    let mut reader = Box::new(package_v2::Reader::new());
                    reader.push(V2)?;
                    self.format = Format::V2(reader);
                }
                V3 => {
                    let mut reader = Box::new(adb::package::Reader::new());
                    reader.push(V3)?;
                    self.format = Format::V3(reader);
                }
                beginning if V2.starts_with(beginning) || V3.starts_with(beginning) => {}
                _ => return Err(PackageError::NotAPackage),
            }
        }
        match &mut self.format {
            Format::Unknown(_) => Ok(()),
            Format::V2(reader) => reader.push(bytes),
            Format::V3(reader) => Ok(reader.push(bytes)?),
        }
    }

    /// Ends the file, and returns the package.
    ///
    /// # Errors
    ///
    /// [`PackageError`]: the file may end too early, or a hash in it may be wrong.
    pub fn finish(self) -> Result<Package, PackageError> {
        match self.format {
            Format::Unknown(beginning) if beginning.is_empty() => Err(PackageError::Empty),
            Format::Unknown(beginning) if V2.starts_with(&beginning) => {
                Err(PackageError::Truncated { section: Section::Leading })
            }
            Format::Unknown(_) => Err(PackageError::NotAPackage),
            Format::V2(reader) => reader.finish(self.size),
            Format::V3(reader) => Ok(reader.finish(self.size)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_s3_would_not_take_at_once_is_rejected() {
        let mut reader = PackageReader::new();
        reader.size = MAX_SIZE - 1;
        assert_eq!(reader.push(&[0x1f]), Ok(()));
        let error = reader.push(&[0x8b]).unwrap_err();
        assert_eq!(error.to_string(), "the file is larger than 5368709120 bytes");
    }
}

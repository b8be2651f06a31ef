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

use crate::{
    adb::{
        self,
        container::{ContainerError, Schema},
        signature::{AdbSignature, PayloadDigest},
    },
    checksum::{DataHash, Identity},
    key::VerifyingKey,
    metadata::Metadata,
    package_info::PackageInfoError,
    package_signature::PackageSignature,
    package_v2,
    text::Excerpt,
};

pub use crate::{
    adb::package::{AdbError, MAX_PAYLOAD},
    contents::{ContentsError, MAX_DATA_ENTRIES},
    package_v2::{
        MAX_CONTROL_ENTRIES, MAX_CONTROL_LENGTH, MAX_SCRIPT_LENGTH, MAX_SIGNATURES_LENGTH,
        MAX_SIGNATURES_SECTIONS,
    },
    tar::TarError,
};

/// The maximum size of a package in bytes: what S3 accepts in a single upload.
pub const MAX_SIZE: u64 = 5 * 1024 * 1024 * 1024;
/// The maximum size in bytes that a data section, or the files of a v3 package, may inflate to.
/// Scanning 1 GiB takes up to 2.7 s of CPU time (measured, on pax headers alone), so this bounds
/// the time that a package can cost.
pub const MAX_DATA_LENGTH: u64 = 32 * 1024 * 1024 * 1024;

/// What an index needs to know about a package.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Package {
    /// What it says of itself.
    pub metadata: Metadata,
    /// What identifies it, by its format: the checksum of its control section, or the hash of its
    /// ADB payload.
    pub identity: Identity,
    /// The size of the file in bytes.
    pub size: u64,
    /// Whether it installs a file or runs a script.
    pub has_content: bool,
    /// Its signatures.
    pub signatures: Signatures,
}

/// The signatures of a package, with what is needed to verify them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Signatures {
    /// Those of a v2 package by known algorithms, in the order in which a client searches them.
    Control(Vec<PackageSignature>),
    /// Those of a v3 package.
    Payload(Box<PayloadSignatures>),
}

impl Signatures {
    /// Returns those of a v2 package; none for a v3 package.
    pub fn control(&self) -> &[PackageSignature] {
        match self {
            Self::Control(signatures) => signatures,
            Self::Payload(_) => &[],
        }
    }
}

/// The signatures of a v3 package.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PayloadSignatures {
    digest: PayloadDigest,
    signatures: Vec<AdbSignature>,
}

impl PayloadSignatures {
    pub(crate) fn new(digest: PayloadDigest, signatures: Vec<AdbSignature>) -> Self {
        Self { digest, signatures }
    }

    /// Returns the signatures, in order. Each names its key by an ID.
    pub fn iter(&self) -> impl Iterator<Item = &AdbSignature> {
        self.signatures.iter()
    }

    /// Returns whether one of the signatures, of this package, was made by `key`.
    pub fn is_by(&self, signature: &AdbSignature, key: &VerifyingKey) -> bool {
        signature.is_by(key, Schema::Package, &self.digest)
    }
}

/// Why a file is not a package that can be listed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// The file has no bytes.
    #[error("the file is empty")]
    Empty,
    /// The file is larger than [`MAX_SIZE`].
    #[error("the file is larger than {MAX_SIZE} bytes")]
    Size,
    /// The file begins neither like a package of format v2, with a gzip stream, nor like one of v3.
    #[error("not an apk package: it begins neither with a gzip header nor with `ADB`")]
    NotAPackage,
    /// The file is not a package of format v3 that can be listed.
    #[error(transparent)]
    Adb(AdbError),
    /// The file is an index.
    #[error("the file is an index, not a package")]
    IsAnIndex,
    /// A gzip stream is damaged.
    #[error("the gzip stream of the {section} is damaged")]
    Damaged {
        /// The section.
        section: Section,
    },
    /// The file ends in the middle of a section.
    #[error("the file is cut off in the {section}")]
    Truncated {
        /// The section.
        section: Section,
    },
    /// The file ends after the control section.
    #[error("the file has no data section after its control section")]
    NoData,
    /// There are more than [`MAX_SIGNATURES_SECTIONS`] signatures sections.
    #[error("the file has more than {MAX_SIGNATURES_SECTIONS} signatures sections")]
    TooManySignatures,
    /// The signatures are longer than [`MAX_SIGNATURES_LENGTH`].
    #[error("its signatures have more than {MAX_SIGNATURES_LENGTH} bytes together")]
    SignaturesLength,
    /// A section inflates to more than its limit.
    #[error("the {section} inflates to more than {max} bytes")]
    Length {
        /// The section.
        section: Section,
        /// The limit.
        max: u64,
    },
    /// A section is not a tar that apk reads.
    #[error("the {section} is not a valid tar")]
    Tar {
        /// The section.
        section: Section,
        /// What is wrong with it.
        source: TarError,
    },
    /// A client can't install the content of the data section.
    #[error(transparent)]
    Contents(#[from] ContentsError),
    /// A section before the data section ends with the two zero blocks that only the data section
    /// may have.
    #[error("the {section} has an end of archive, after which apk would read nothing more")]
    EndOfArchive {
        /// The section.
        section: Section,
    },
    /// The control section has an entry that apk rejects there.
    #[error("the control section has an entry `{path}` that apk does not accept")]
    ControlEntry {
        /// The entry.
        path: Excerpt,
    },
    /// A script is longer than [`MAX_SCRIPT_LENGTH`].
    #[error(
        "the script `{path}` has over {MAX_SCRIPT_LENGTH} bytes, so that clients would not run it"
    )]
    Script {
        /// The script.
        path: Excerpt,
    },
    /// The control section has no `.PKGINFO`, or more than one.
    #[error("the control section has {count} .PKGINFO files instead of one")]
    PackageInfoCount {
        /// How many it has.
        count: usize,
    },
    /// The `.PKGINFO` is rejected.
    #[error(transparent)]
    PackageInfo(#[from] PackageInfoError),
    /// Something follows the data section: garbage, padding or another gzip stream.
    #[error("the file goes on after the end of its data section")]
    AfterData,
    /// The data section does not have the SHA-256 that `.PKGINFO` declares.
    #[error("`datahash` in .PKGINFO is {declared}, but the data section's SHA-256 is {actual}")]
    DataHash {
        /// The hash in `.PKGINFO`.
        declared: DataHash,
        /// The hash of the data section.
        actual: DataHash,
    },
}

impl From<AdbError> for PackageError {
    fn from(error: AdbError) -> Self {
        match error {
            AdbError::Container(ContainerError::Schema { found, .. })
                if found.is(Schema::Index) =>
            {
                Self::IsAnIndex
            }
            error => Self::Adb(error),
        }
    }
}

/// A part of a package, for messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Section {
    /// A signatures section or the control section: only its end shows which.
    Leading,
    /// The files.
    Data,
}

impl std::fmt::Display for Section {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Leading => "signatures or control section",
            Self::Data => "data section",
        })
    }
}

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

//! Why a file is not a package that can be listed.

use crate::{
    adb::{
        container::{ContainerError, Schema},
        package::AdbError,
    },
    checksum::DataHash,
    contents::ContentsError,
    package_info::PackageInfoError,
    package_limits::{MAX_SCRIPT_LENGTH, MAX_SIGNATURES_LENGTH, MAX_SIGNATURES_SECTIONS, MAX_SIZE},
    tar::TarError,
    text::Excerpt,
};

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

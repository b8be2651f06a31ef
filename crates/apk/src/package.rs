//! Reads a package, an `.apk` file of format v2, as a stream in bounded memory.
//!
//! ```text
//! gzip streams:  signatures section(s)   control section       data section
//! content:       .SIGN.RSA.<key name>    .PKGINFO, scripts     the files
//!                                        └ SHA-1 = checksum    └ SHA-256 = `datahash`
//! ```

use sha2::{Digest as _, Sha256};

use crate::{
    checksum::{DataHash, PullChecksum},
    contents::Contents,
    inflate::{InflateStream, Malformed},
    package_info::{PackageInfo, PackageInfoError},
    package_signature::{ControlDigest, PackageSignature},
    signature::{Signature, SignatureName},
    tar::{Bodies, Entry, Scan, Scanner},
    text::Excerpt,
};

pub use crate::{contents::ContentsError, tar::TarError};

/// The maximum size of a package in bytes: what S3 accepts in a single upload.
pub const MAX_SIZE: u64 = 5 * 1024 * 1024 * 1024;
/// The maximum size in bytes that a signatures or control section may inflate to. It has at most
/// seven scripts, each of [`MAX_SCRIPT_LENGTH`].
pub const MAX_CONTROL_LENGTH: u64 = 8 * 1024 * 1024;
/// The maximum size in bytes that a data section may inflate to. Scanning 1 GiB takes up to 2.7 s
/// of CPU time (measured, on pax headers alone), so this bounds the time that a package can cost.
pub const MAX_DATA_LENGTH: u64 = 32 * 1024 * 1024 * 1024;
/// The maximum number of signatures sections. One is usual; apk accepts any number.
pub const MAX_SIGNATURES_SECTIONS: usize = 16;
/// The maximum length of all signatures together in bytes. They are kept until the trusted keys are
/// known. A signature by a 4096-bit key, as abuild-keygen makes, has 512.
pub const MAX_SIGNATURES_LENGTH: usize = 1024 * 1024;
/// The maximum number of entries in a signatures or control section.
pub const MAX_CONTROL_ENTRIES: u64 = 64;
/// The maximum size of a script in bytes: apk silently drops a longer one (measured).
pub const MAX_SCRIPT_LENGTH: usize = 256 * 1024;
pub use crate::contents::MAX_DATA_ENTRIES;

/// What an index needs to know about a package.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Package {
    /// Its `.PKGINFO`.
    pub info: PackageInfo,
    /// The checksum of its control section.
    pub checksum: PullChecksum,
    /// The size of the file in bytes.
    pub size: u64,
    /// Whether it installs a file or runs a script.
    pub has_content: bool,
    /// Its signatures by known algorithms, in the order in which a client searches them.
    pub signatures: Vec<PackageSignature>,
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
    /// The file is a package of format v3.
    #[error("the file is a package of format v3 (ADB), which APKINDEX.tar.gz can't list")]
    FormatV3,
    /// The file does not begin with a gzip stream.
    #[error("not an apk v2 package: no gzip header")]
    NotAPackage,
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

impl From<Malformed> for PackageError {
    fn from(_: Malformed) -> Self {
        Self::NotAPackage
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
/// is bounded by [`MAX_CONTROL_LENGTH`] and the hashes of [`MAX_DATA_ENTRIES`] paths, whatever the
/// size of the package.
#[expect(missing_debug_implementations, reason = "the inflater has none")]
pub struct PackageReader {
    size: u64,
    magic: Vec<u8>,
    stream: InflateStream,
    stream_length: u64,
    inflated: u64,
    tar: Scanner,
    signatures_sections: usize,
    signatures: Vec<(SignatureName, Signature)>,
    part: Part,
}

enum Part {
    /// A signatures section or the control section.
    Leading {
        digest: ControlDigest,
    },
    Data {
        control: Control,
        sha256: Sha256,
        contents: Box<Contents>,
    },
    End {
        control: Control,
        data_hash: DataHash,
        has_files: bool,
    },
}

/// The content of the control section.
struct Control {
    info: PackageInfo,
    checksum: PullChecksum,
    has_scripts: bool,
    signatures: Vec<PackageSignature>,
}

impl Default for PackageReader {
    fn default() -> Self {
        Self::new()
    }
}

impl PackageReader {
    /// Begins to read a package.
    pub fn new() -> Self {
        Self {
            size: 0,
            magic: Vec::new(),
            stream: InflateStream::gzip(),
            stream_length: 0,
            inflated: 0,
            tar: Scanner::new(Bodies::Keep, MAX_CONTROL_ENTRIES),
            signatures_sections: 0,
            signatures: Vec::new(),
            part: Part::Leading { digest: ControlDigest::default() },
        }
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
        self.check_magic(bytes)?;
        while self.magic.first() == Some(&0x1f) && !bytes.is_empty() {
            if matches!(self.part, Part::End { .. }) {
                return Err(PackageError::AfterData);
            }
            let used = self.inflate(bytes)?;
            bytes = bytes.get(used..).unwrap_or_default();
        }
        Ok(())
    }

    /// Ends the file, and returns the package.
    ///
    /// # Errors
    ///
    /// [`PackageError`]: the file may end too early, or its data section may not have the hash in
    /// `.PKGINFO`.
    pub fn finish(self) -> Result<Package, PackageError> {
        match self.magic.first() {
            None => return Err(PackageError::Empty),
            Some(0x1f) => {}
            Some(_) => return Err(PackageError::NotAPackage),
        }
        let (control, actual, has_files) = match self.part {
            Part::End { control, data_hash, has_files } => (control, data_hash, has_files),
            Part::Data { .. } if self.stream_length == 0 => return Err(PackageError::NoData),
            Part::Data { .. } => return Err(PackageError::Truncated { section: Section::Data }),
            Part::Leading { .. } => {
                return Err(PackageError::Truncated { section: Section::Leading });
            }
        };
        let declared = control.info.data_hash;
        if declared != actual {
            return Err(PackageError::DataHash { declared, actual });
        }
        Ok(Package {
            info: control.info,
            checksum: control.checksum,
            size: self.size,
            has_content: has_files || control.has_scripts,
            signatures: control.signatures,
        })
    }

    fn check_magic(&mut self, bytes: &[u8]) -> Result<(), PackageError> {
        let wanted = 4 - self.magic.len();
        if wanted == 0 {
            return Ok(());
        }
        self.magic.extend(bytes.iter().take(wanted));
        match self.magic.as_slice() {
            b"ADB." | b"ADBd" | b"ADBc" => Err(PackageError::FormatV3),
            magic if b"\x1f\x8b".starts_with(magic) || magic.starts_with(b"\x1f\x8b") => Ok(()),
            magic if b"ADB".starts_with(magic) => Ok(()),
            _ => Err(PackageError::NotAPackage),
        }
    }

    /// Inflates the bytes that belong to the current gzip stream, and returns how many these were.
    fn inflate(&mut self, bytes: &[u8]) -> Result<usize, PackageError> {
        let (section, max) = match self.part {
            Part::Leading { .. } => (Section::Leading, MAX_CONTROL_LENGTH),
            Part::Data { .. } | Part::End { .. } => (Section::Data, MAX_DATA_LENGTH),
        };
        let (tar, inflated) = (&mut self.tar, &mut self.inflated);
        let mut contents = match &mut self.part {
            Part::Data { contents, .. } => Some(contents),
            _ => None,
        };
        let fed = self
            .stream
            .push(bytes, |out| {
                *inflated += out.len() as u64;
                if *inflated > max {
                    return Err(PackageError::Length { section, max });
                }
                tar.push(out).map_err(|source| PackageError::Tar { section, source })?;
                let Some(contents) = &mut contents else { return Ok(()) };
                Ok(tar.take_headers().iter().try_for_each(|header| contents.take(header))?)
            })
            .map_err(|error| match error {
                PackageError::NotAPackage => PackageError::Damaged { section },
                other => other,
            })?;
        let consumed = bytes.get(..fed.consumed).unwrap_or(bytes);
        self.stream_length += consumed.len() as u64;
        match &mut self.part {
            Part::Leading { digest } => digest.update(consumed),
            Part::Data { sha256, .. } => sha256.update(consumed),
            Part::End { .. } => {}
        }
        if fed.ended {
            self.end_section(section)?;
        }
        Ok(consumed.len())
    }

    fn end_section(&mut self, section: Section) -> Result<(), PackageError> {
        let next = Scanner::new(Bodies::Keep, MAX_CONTROL_ENTRIES);
        let mut scan = std::mem::replace(&mut self.tar, next)
            .finish()
            .map_err(|source| PackageError::Tar { section, source })?;
        self.stream_length = 0;
        self.inflated = 0;
        let next = Part::Leading { digest: ControlDigest::default() };
        self.part = match std::mem::replace(&mut self.part, next) {
            Part::Leading { digest } => self.end_leading(digest, &mut scan)?,
            Part::Data { control, sha256, .. } => Part::End {
                control,
                data_hash: DataHash::new(sha256.finalize().into()),
                has_files: scan.count > 0,
            },
            end @ Part::End { .. } => end,
        };
        if !matches!(self.part, Part::End { .. }) {
            self.stream.restart_gzip();
        }
        Ok(())
    }

    fn end_leading(
        &mut self,
        digest: ControlDigest,
        scan: &mut Scan,
    ) -> Result<Part, PackageError> {
        if scan.entries.first().is_some_and(belongs_to_index) {
            return Err(PackageError::IsAnIndex);
        }
        if scan.zero_blocks > 1 {
            return Err(PackageError::EndOfArchive { section: Section::Leading });
        }
        if !scan.entries.is_empty() && scan.entries.iter().all(Entry::is_signature) {
            self.signatures_sections += 1;
            if self.signatures_sections > MAX_SIGNATURES_SECTIONS {
                return Err(PackageError::TooManySignatures);
            }
            self.signatures.extend(scan.entries.drain(..).filter_map(read_signature));
            if self.signatures.iter().map(|(_, signature)| signature.0.len()).sum::<usize>()
                > MAX_SIGNATURES_LENGTH
            {
                return Err(PackageError::SignaturesLength);
            }
            self.tar = Scanner::new(Bodies::Keep, MAX_CONTROL_ENTRIES).after(scan.zero_blocks);
            return Ok(Part::Leading { digest: ControlDigest::of_signatures(&self.signatures) });
        }
        let control = read_control(&scan.entries, digest, std::mem::take(&mut self.signatures))?;
        self.tar = Scanner::new(Bodies::Skip, MAX_DATA_ENTRIES).after(scan.zero_blocks);
        Ok(Part::Data { control, sha256: Sha256::new(), contents: Box::default() })
    }
}

/// Returns the signature in an entry, if a client would try it.
fn read_signature(entry: Entry) -> Option<(SignatureName, Signature)> {
    let name = SignatureName::parse(&entry.header.path)?;
    (entry.body.len() <= Signature::MAX_LENGTH).then_some((name, Signature::from(entry.body)))
}

fn read_control(
    entries: &[Entry],
    digest: ControlDigest,
    signatures: Vec<(SignatureName, Signature)>,
) -> Result<Control, PackageError> {
    if let Some(entry) = entries.iter().find(|entry| !belongs_to_control(entry)) {
        return Err(PackageError::ControlEntry { path: Excerpt::of(&entry.header.path) });
    }
    if let Some(script) =
        entries.iter().find(|entry| is_script(entry) && entry.body.len() > MAX_SCRIPT_LENGTH)
    {
        return Err(PackageError::Script { path: Excerpt::of(&script.header.path) });
    }
    let infos: Vec<_> = entries.iter().filter(|entry| entry.header.path == b".PKGINFO").collect();
    let [info] = infos.as_slice() else {
        return Err(PackageError::PackageInfoCount { count: infos.len() });
    };
    let info = PackageInfo::parse(&info.body)?;
    let (checksum, signatures) = digest.finish(signatures);
    Ok(Control { info, checksum, has_scripts: entries.len() > 1, signatures })
}

fn belongs_to_index(entry: &Entry) -> bool {
    [b"APKINDEX".as_slice(), b"DESCRIPTION"].contains(&&*entry.header.path)
}

/// Returns whether an entry is allowed in the control section. apk rejects `.INSTALL` and anything
/// but dot files there; a `.PKGINFO` that is not a regular file could be read in two ways.
fn belongs_to_control(entry: &Entry) -> bool {
    let path = &entry.header.path;
    let is_info = path == b".PKGINFO";
    path.starts_with(b".")
        && !path.contains(&b'/')
        && path != b".INSTALL"
        && (entry.is_file() || !is_info)
}

/// Returns whether a client runs this entry as a script.
fn is_script(entry: &Entry) -> bool {
    const SCRIPTS: [&[u8]; 7] = [
        b".pre-install",
        b".post-install",
        b".pre-upgrade",
        b".post-upgrade",
        b".pre-deinstall",
        b".post-deinstall",
        b".trigger",
    ];
    SCRIPTS.contains(&&*entry.header.path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        gzip::compress,
        tar::{Writer, write_segment},
    };

    fn leading() -> Vec<u8> {
        let info =
            format!("pkgname = a\npkgver = 1\narch = noarch\ndatahash = {}\n", "0".repeat(64));
        let tar = write_segment(&[(".PKGINFO", info.as_bytes())]).unwrap();
        compress(&tar).unwrap()
    }

    fn data(content: &[u8]) -> Vec<u8> {
        let mut tar = Writer::new();
        tar.file(".hello", content.len(), content).unwrap();
        compress(&tar.end().unwrap()).unwrap()
    }

    #[test]
    fn a_file_that_s3_would_not_take_at_once_is_rejected() {
        let mut reader = PackageReader::new();
        let leading = leading();
        reader.push(&leading).unwrap();
        reader.size = MAX_SIZE - 1;
        assert_eq!(reader.push(&[0x1f]), Ok(()));
        let error = reader.push(&[0x8b]).unwrap_err();
        assert_eq!(error.to_string(), "the file is larger than 5368709120 bytes");
    }

    #[test]
    fn a_data_section_that_inflates_beyond_all_measure_is_rejected() {
        let mut reader = PackageReader::new();
        reader.push(&leading()).unwrap();
        reader.inflated = MAX_DATA_LENGTH - 2047;
        let error = reader.push(&data(b"hello\n")).unwrap_err();
        assert_eq!(error.to_string(), "the data section inflates to more than 34359738368 bytes");
    }

    #[test]
    fn each_section_may_inflate_to_its_limit() {
        let mut reader = PackageReader::new();
        let leading = leading();
        reader.inflated = MAX_CONTROL_LENGTH - 1024;
        reader.push(&leading).unwrap();
        reader.inflated = MAX_DATA_LENGTH - 2048;
        assert_eq!(reader.push(&data(b"hello\n")), Ok(()));
    }
}

//! Reads a package of format v2: gzip streams of tar.

use sha2::{Digest as _, Sha256};

use crate::{
    checksum::{DataHash, PullChecksum},
    contents::{Contents, MAX_DATA_ENTRIES},
    inflate::{InflateStream, Malformed},
    package_error::{PackageError, Section},
    package_info::PackageInfo,
    package_limits::{
        MAX_CONTROL_ENTRIES, MAX_CONTROL_LENGTH, MAX_DATA_LENGTH, MAX_SCRIPT_LENGTH,
        MAX_SIGNATURES_LENGTH, MAX_SIGNATURES_SECTIONS,
    },
    package_signature::{ControlDigest, PackageSignature},
    package_summary::{Package, Signatures},
    signature::{Signature, SignatureName},
    tar::{Bodies, Entry, Scan, Scanner},
    text::Excerpt,
};

/// Reads a package of format v2, which begins with a gzip header.
pub(crate) struct Reader {
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

impl Reader {
    pub(crate) fn new() -> Self {
        Self {
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
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<(), PackageError> {
        while !bytes.is_empty() {
            if matches!(self.part, Part::End { .. }) {
                return Err(PackageError::AfterData);
            }
            let used = self.inflate(bytes)?;
            bytes = bytes.get(used..).unwrap_or_default();
        }
        Ok(())
    }

    /// Ends the file, which has `size` bytes, and returns the package.
    pub(crate) fn finish(self, size: u64) -> Result<Package, PackageError> {
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
            metadata: control.info.metadata,
            identity: control.checksum.into(),
            size,
            has_content: has_files || control.has_scripts,
            signatures: Signatures::Control(control.signatures),
        })
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
                    return Err(Stop::At(PackageError::Length { section, max }));
                }
                tar.push(out).map_err(|source| PackageError::Tar { section, source })?;
                let Some(contents) = &mut contents else { return Ok(()) };
                let headers = tar.take_headers();
                Ok(headers
                    .iter()
                    .try_for_each(|header| contents.take(header))
                    .map_err(PackageError::from)?)
            })
            .map_err(|stop| match stop {
                Stop::Malformed => PackageError::Damaged { section },
                Stop::At(error) => error,
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

/// What ends the inflating of a section.
enum Stop {
    Malformed,
    At(PackageError),
}

impl From<Malformed> for Stop {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl From<PackageError> for Stop {
    fn from(error: PackageError) -> Self {
        Self::At(error)
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
    fn a_data_section_that_inflates_beyond_all_measure_is_rejected() {
        let mut reader = Reader::new();
        reader.push(&leading()).unwrap();
        reader.inflated = MAX_DATA_LENGTH - 2047;
        let error = reader.push(&data(b"hello\n")).unwrap_err();
        assert_eq!(error.to_string(), "the data section inflates to more than 34359738368 bytes");
    }

    #[test]
    fn each_section_may_inflate_to_its_limit() {
        let mut reader = Reader::new();
        let leading = leading();
        reader.inflated = MAX_CONTROL_LENGTH - 1024;
        reader.push(&leading).unwrap();
        reader.inflated = MAX_DATA_LENGTH - 2048;
        assert_eq!(reader.push(&data(b"hello\n")), Ok(()));
    }
}

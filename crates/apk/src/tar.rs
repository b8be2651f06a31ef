//! Tar as apk reads it: a scanner for bytes that arrive chunk by chunk, and a writer.
//!
//! The rules are those of `apk_tar_parse` in apk-tools 3.0 (`src/tar.c`), measured on 3.0.8.

use std::{
    io::{self, Read},
    ops::Range,
};

use ::tar::{Builder, EntryType, Header as TarHeader};

use crate::text::Excerpt;

const BLOCK: usize = 512;

/// The maximum size of a pax header or a GNU long name in bytes. Without a limit, a single field of
/// a package could ask for gigabytes of memory.
const MAX_EXTENSION: u64 = 64 * 1024;

/// The maximum length of a path or a link's target in bytes: apk reads no more (measured).
pub(crate) const MAX_PATH: usize = 4085;

/// Why something is not a tar that apk reads.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TarError {
    /// A header does not say `ustar`, or its checksum is wrong.
    #[error("tar header at byte {offset} is not a valid ustar header")]
    Header {
        /// Where the header begins in the inflated section.
        offset: u64,
    },
    /// A number is not octal digits followed by NULs or spaces, the only form that apk reads.
    #[error(
        "tar header at byte {offset}, of `{path}`, has an invalid {field}: apk reads octal digits that end in NULs \
         or spaces, and no other form"
    )]
    Number {
        /// Where the header begins in the inflated section.
        offset: u64,
        /// The entry's path, as it is in the header.
        path: Excerpt,
        /// The name of the field (tar(5)).
        field: &'static str,
    },
    /// A pax header or a GNU long name is too large.
    #[error("tar header at byte {offset} has an extension of over 64 KiB")]
    Extension {
        /// Where the header begins in the inflated section.
        offset: u64,
    },
    /// Two pax headers precede one entry, and the first sets its name or target: apk gives the
    /// entry another name (measured).
    #[error(
        "tar header at byte {offset} is the second pax header of one entry, whose name apk would not find"
    )]
    SecondPax {
        /// Where the header begins in the inflated section.
        offset: u64,
    },
    /// An entry is of a type that apk skips instead of installing it, or because of which it would
    /// take another name for the next entry (measured).
    #[error(
        "`{path}` is of the type `{flag}`, which apk does not install: pack it with `tar --format=posix`"
    )]
    Type {
        /// The path.
        path: Excerpt,
        /// The type flag (tar(5)).
        flag: Excerpt,
    },
    /// The target of a link is in GNU's long form, of which apk reads only the first 100 bytes
    /// (measured).
    #[error(
        "the target of `{path}` has over 100 bytes in a form that apk cuts: pack it with `tar --format=posix`"
    )]
    CutTarget {
        /// The link.
        path: Excerpt,
    },
    /// The tar ends in the middle of an entry.
    #[error("tar is cut off in the middle of an entry")]
    Truncated,
    /// Something follows the end of the archive.
    #[error("tar goes on after its end")]
    AfterEnd,
    /// There are more entries than the section may have.
    #[error("tar has more than {max} entries")]
    Entries {
        /// The maximum.
        max: u64,
    },
    /// A path begins with a slash, so it would leave the directory into which it is extracted.
    #[error("path `{path}` is absolute")]
    AbsolutePath {
        /// The path.
        path: Excerpt,
    },
    /// A path is longer than apk can use.
    #[error("path `{path}` is longer than {MAX_PATH} bytes")]
    PathLength {
        /// The path.
        path: Excerpt,
    },
    /// A path contains a control character, which apk does not accept.
    #[error("path `{path}` contains a control character")]
    PathControl {
        /// The path.
        path: Excerpt,
    },
    /// A path is empty, or has two slashes in a row.
    #[error("path `{path}` has an empty part")]
    EmptyPart {
        /// The path.
        path: Excerpt,
    },
    /// A part of a path is `.` or `..`, which names no file; `..` may leave the directory into
    /// which it is extracted.
    #[error("path `{path}` has a part that is `{part}`")]
    DotPart {
        /// The path.
        path: Excerpt,
        /// `.` or `..`
        part: Excerpt,
    },
}

/// What apk treats an entry as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    File,
    HardLink,
    SymbolicLink,
    Directory,
    /// A device or a pipe.
    Node,
}

impl Kind {
    /// Returns the kind for a type flag; `None` for one that apk skips.
    fn of(flag: u8) -> Option<Self> {
        match flag {
            b'0' | b'7' => Some(Self::File),
            b'1' => Some(Self::HardLink),
            b'2' => Some(Self::SymbolicLink),
            b'5' => Some(Self::Directory),
            b'3' | b'4' | b'6' => Some(Self::Node),
            _ => None,
        }
    }
}

/// One entry of a tar without its body.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    /// What a link points to; empty for anything else.
    pub(crate) target: Vec<u8>,
    /// Whether a pax header has a SHA-1 of the content that apk can read.
    pub(crate) has_checksum: bool,
}

/// One entry of a tar with its body.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) header: Header,
    pub(crate) body: Vec<u8>,
}

impl Entry {
    /// Returns whether apk takes this for a regular file.
    pub(crate) fn is_file(&self) -> bool {
        self.header.kind == Kind::File
    }

    /// Returns whether apk takes this for a signature, provided that only signatures precede it.
    pub(crate) fn is_signature(&self) -> bool {
        let path = &self.header.path;
        self.is_file() && path.starts_with(b".SIGN.") && !path.contains(&b'/')
    }
}

/// Whether a scanner keeps entries with their bodies, or only their headers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Bodies {
    /// The caller must limit the input.
    Keep,
    Skip,
}

/// Reads a tar chunk by chunk. Follows apk where real packages need it (pax and GNU names, a stray
/// zero block), and is stricter where they do not: it verifies header checksums and paths.
#[derive(Debug)]
pub(crate) struct Scanner {
    bodies: Bodies,
    max_entries: u64,
    /// How many bytes have been taken so far.
    offset: u64,
    state: State,
    /// The header or body that is being collected.
    collected: Vec<u8>,
    /// A GNU long name, for the next entry.
    long_path: Option<Vec<u8>>,
    /// A pax header, for the next entry.
    pax: Option<Pax>,
    /// Whether a target in GNU's long form was skipped, for the next entry.
    has_long_target: bool,
    /// The headers for [`Scanner::take_headers`], if bodies are skipped.
    headers: Vec<Header>,
    scan: Scan,
}

#[derive(Debug)]
enum State {
    Header,
    /// Skipping `left` bytes of a body or of its padding.
    Skip {
        left: u64,
    },
    Collect {
        purpose: Purpose,
        size: u64,
    },
}

#[derive(Debug)]
enum Purpose {
    Entry(Header),
    Pax,
    LongName,
}

impl Scanner {
    pub(crate) fn new(bodies: Bodies, max_entries: u64) -> Self {
        Self {
            bodies,
            max_entries,
            offset: 0,
            state: State::Header,
            collected: Vec::new(),
            long_path: None,
            pax: None,
            has_long_target: false,
            headers: Vec::new(),
            scan: Scan::default(),
        }
    }

    /// Continues a tar that already had this many zero blocks.
    pub(crate) fn after(mut self, zero_blocks: u64) -> Self {
        self.scan.zero_blocks = zero_blocks;
        self
    }

    /// Takes the next bytes of the tar.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<(), TarError> {
        while !bytes.is_empty() {
            let wanted = match &self.state {
                State::Header => (BLOCK - self.collected.len()) as u64,
                State::Collect { size, .. } => size - self.collected.len() as u64,
                State::Skip { left } => *left,
            };
            let available = clamp(wanted, bytes.len());
            let (taken, rest) = bytes.split_at_checked(available).unwrap_or((bytes, &[]));
            self.offset += taken.len() as u64;
            self.take(taken, wanted - taken.len() as u64)?;
            bytes = rest;
        }
        Ok(())
    }

    /// Returns the headers that were found since the last call, if bodies are skipped.
    pub(crate) fn take_headers(&mut self) -> Vec<Header> {
        std::mem::take(&mut self.headers)
    }

    /// Ends the scan, and returns what was found.
    pub(crate) fn finish(self) -> Result<Scan, TarError> {
        let between_entries = matches!(self.state, State::Header) && self.collected.is_empty();
        let is_extended =
            self.long_path.is_some() || self.pax.as_ref().is_some_and(|pax| pax.path.is_some());
        if !between_entries || is_extended {
            return Err(TarError::Truncated);
        }
        Ok(self.scan)
    }

    /// Takes bytes for the current state, which needs `left` more after them.
    fn take(&mut self, bytes: &[u8], left: u64) -> Result<(), TarError> {
        if let State::Skip { .. } = self.state {
            self.state = skip(left);
            return Ok(());
        }
        self.collected.extend_from_slice(bytes);
        if left > 0 {
            return Ok(());
        }
        let mut collected = std::mem::take(&mut self.collected);
        match std::mem::replace(&mut self.state, State::Header) {
            State::Header => {
                let taken = self.take_header(&collected);
                collected.clear();
                self.collected = collected;
                taken
            }
            State::Collect { purpose, size } => {
                self.state = skip(padding(size));
                self.take_body(purpose, collected);
                Ok(())
            }
            State::Skip { .. } => Ok(()),
        }
    }

    fn take_header(&mut self, block: &[u8]) -> Result<(), TarError> {
        if block.first() == Some(&0) {
            self.scan.zero_blocks += 1;
            return Ok(());
        }
        if self.scan.zero_blocks > 1 {
            return Err(TarError::AfterEnd);
        }
        let offset = self.offset - BLOCK as u64;
        let header = TarHeader::from_byte_slice(block);
        if !is_ustar(block) || !checksum_fits(header, block) {
            return Err(TarError::Header { offset });
        }
        for (field, range) in NUMBERS {
            if octal(block.get(range).unwrap_or_default()).is_none() {
                let path = Excerpt::of(&header_path(block));
                return Err(TarError::Number { offset, path, field });
            }
        }
        let size = octal(&header.as_old().size).unwrap_or_default();
        let [flag] = header.as_old().linkflag;
        let kind = Kind::of(flag);
        // apk forgets the checksum of a pax header unless its entry follows immediately (measured).
        if let Some(pax) = self.pax.as_mut().filter(|_| kind.is_none()) {
            pax.has_checksum = false;
        }
        match header.entry_type() {
            EntryType::XHeader if self.pax.as_ref().is_some_and(Pax::renames) => {
                Err(TarError::SecondPax { offset })
            }
            EntryType::XHeader | EntryType::GNULongName if size > MAX_EXTENSION => {
                Err(TarError::Extension { offset })
            }
            EntryType::XHeader => {
                self.collect(Purpose::Pax, size);
                Ok(())
            }
            EntryType::GNULongName => {
                self.collect(Purpose::LongName, size);
                Ok(())
            }
            EntryType::XGlobalHeader => {
                self.state = skip(size + padding(size));
                Ok(())
            }
            EntryType::GNULongLink if !has_prefix(block) => {
                self.has_long_target = true;
                self.state = skip(size + padding(size));
                Ok(())
            }
            _ => self.take_entry(kind, block, size),
        }
    }

    fn take_entry(&mut self, kind: Option<Kind>, block: &[u8], size: u64) -> Result<(), TarError> {
        self.scan.count += 1;
        if self.scan.count > self.max_entries {
            return Err(TarError::Entries { max: self.max_entries });
        }
        // apk skips types that it does not know, and applies their extensions and their prefix to
        // the next entry.
        let Some(kind) = kind else {
            if self.bodies == Bodies::Skip || has_prefix(block) {
                let flag = Excerpt::of(block.get(156..157).unwrap_or_default());
                return Err(TarError::Type { path: Excerpt::of(&header_path(block)), flag });
            }
            self.state = skip(size + padding(size));
            return Ok(());
        };
        let pax = self.pax.take().unwrap_or_default();
        let long_path = self.long_path.take().filter(|_| !has_prefix(block));
        let path = pax.path.or(long_path).unwrap_or_else(|| header_path(block));
        check_path(&path)?;
        // apk treats a file with a target as a hard link (measured).
        let kind = match kind {
            Kind::File if pax.target.is_some() && self.bodies == Bodies::Skip => Kind::HardLink,
            other => other,
        };
        let is_cut = std::mem::take(&mut self.has_long_target) && pax.target.is_none();
        let target = match kind {
            Kind::HardLink | Kind::SymbolicLink if is_cut => {
                return Err(TarError::CutTarget { path: Excerpt::of(&path) });
            }
            Kind::HardLink | Kind::SymbolicLink => {
                pax.target.unwrap_or_else(|| field(block, 157..257).to_vec())
            }
            _ => Vec::new(),
        };
        let header = Header { path, kind, target, has_checksum: pax.has_checksum };
        if self.bodies == Bodies::Skip {
            self.headers.push(header);
            self.state = skip(size + padding(size));
            return Ok(());
        }
        self.collect(Purpose::Entry(header), size);
        Ok(())
    }

    fn collect(&mut self, purpose: Purpose, size: u64) {
        if size == 0 {
            self.take_body(purpose, Vec::new());
        } else {
            self.state = State::Collect { purpose, size };
        }
    }

    fn take_body(&mut self, purpose: Purpose, body: Vec<u8>) {
        match purpose {
            Purpose::Entry(header) => self.scan.entries.push(Entry { header, body }),
            Purpose::Pax => {
                self.pax = Some(Pax::parse(&body));
            }
            Purpose::LongName => {
                self.long_path = body.split(|byte| *byte == 0).next().map(<[u8]>::to_vec);
            }
        }
    }
}

/// What a [`Scanner`] found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// The entries, if bodies are kept.
    pub(crate) entries: Vec<Entry>,
    /// The number of entries.
    pub(crate) count: u64,
    /// The number of blocks that begin with a zero byte, including those of earlier sections: apk
    /// ends the archive at the second.
    pub(crate) zero_blocks: u64,
}

fn is_ustar(block: &[u8]) -> bool {
    block.get(257..262) == Some(b"ustar")
}

/// The fields of a header that hold numbers, all of which apk reads (tar(5)).
const NUMBERS: [(&str, Range<usize>); 7] = [
    ("mode", 100..108),
    ("uid", 108..116),
    ("gid", 116..124),
    ("size", 124..136),
    ("mtime", 136..148),
    ("devmajor", 329..337),
    ("devminor", 337..345),
];

/// Returns the text in a field of a header, up to the first NUL.
fn field(block: &[u8], range: Range<usize>) -> &[u8] {
    let field = block.get(range).unwrap_or_default();
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn has_prefix(block: &[u8]) -> bool {
    !field(block, 345..500).is_empty()
}

/// Returns the path in a header: apk joins prefix and name in every dialect of tar.
fn header_path(block: &[u8]) -> Vec<u8> {
    let (name, prefix) = (field(block, 0..100), field(block, 345..500));
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

fn checksum_fits(header: &TarHeader, block: &[u8]) -> bool {
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(position, byte)| if (148..156).contains(&position) { b' ' } else { *byte })
        .map(u32::from)
        .sum();
    header.cksum().is_ok_and(|declared| declared == sum)
}

/// Reads a number as apk does: octal digits, if any, and then only NULs and spaces. Neither blanks
/// before the digits nor the base-256 form of GNU tar are read.
fn octal(field: &[u8]) -> Option<u64> {
    let length = field.iter().position(|byte| !matches!(byte, b'0'..=b'7')).unwrap_or(field.len());
    let (digits, rest) = field.split_at_checked(length)?;
    let number = digits.iter().fold(0, |number, digit| number * 8 + u64::from(digit - b'0'));
    rest.iter().all(|byte| matches!(byte, 0 | b' ')).then_some(number)
}

fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK as u64) - size
}

fn skip(left: u64) -> State {
    if left == 0 { State::Header } else { State::Skip { left } }
}

fn clamp(left: u64, available: usize) -> usize {
    usize::try_from(left).map_or(available, |left| left.min(available))
}

/// What apk takes from a pax header.
#[derive(Debug, Default)]
struct Pax {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    has_checksum: bool,
}

impl Pax {
    /// Reads the records of a pax header up to the first that is malformed, as apk does (measured).
    ///
    /// A record is `<length> <key>=<value>\n` (pax(1)), where the value may have any byte, as file
    /// capabilities do. The `tar` crate splits records at newlines instead.
    fn parse(mut body: &[u8]) -> Self {
        let mut pax = Self::default();
        while let Some((record, rest)) = record(body) {
            if let Some(value) = record.strip_prefix(b"path=") {
                pax.path = Some(text(value));
            } else if let Some(value) = record.strip_prefix(b"linkpath=") {
                pax.target = Some(text(value));
            } else if let Some(value) = record.strip_prefix(b"APK-TOOLS.checksum.SHA1=") {
                pax.has_checksum |= is_sha1(value);
            }
            body = rest;
        }
        pax
    }

    /// Returns whether it sets the path or the target of an entry.
    fn renames(&self) -> bool {
        self.path.is_some() || self.target.is_some()
    }
}

/// Returns the next record of a pax header, without its length and newline, and the rest of the
/// header.
fn record(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let digits = body.split(|byte| *byte == b' ').next()?;
    let length: usize = str::from_utf8(digits).ok()?.parse().ok()?;
    let (record, rest) = body.split_at_checked(length)?;
    Some((record.get(digits.len() + 1..)?.strip_suffix(b"\n")?, rest))
}

/// Returns a value up to the first NUL, as apk reads it.
fn text(value: &[u8]) -> Vec<u8> {
    value.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}

/// Returns whether a value begins with a SHA-1 in hexadecimal digits: apk reads no further.
fn is_sha1(value: &[u8]) -> bool {
    value.get(..40).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

/// Rejects a path that keeps apk 3 from extracting, or even fetching, a package (measured).
fn check_path(path: &[u8]) -> Result<(), TarError> {
    let excerpt = || Excerpt::of(path);
    let unslashed = path.strip_suffix(b"/").unwrap_or(path);
    if path.starts_with(b"/") {
        return Err(TarError::AbsolutePath { path: excerpt() });
    }
    if unslashed.len() > MAX_PATH {
        return Err(TarError::PathLength { path: excerpt() });
    }
    if path.iter().any(u8::is_ascii_control) {
        return Err(TarError::PathControl { path: excerpt() });
    }
    for part in unslashed.split(|byte| *byte == b'/') {
        match part {
            b"" => return Err(TarError::EmptyPart { path: excerpt() }),
            b"." | b".." => {
                return Err(TarError::DotPart { path: excerpt(), part: Excerpt::of(part) });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Writes files as apk does, without an end of archive: a *tar segment*.
pub(crate) fn write_segment(files: &[(&str, &[u8])]) -> io::Result<Vec<u8>> {
    let mut writer = Writer::new();
    for (name, content) in files {
        writer.file(name, content.len(), *content)?;
    }
    let mut tar = writer.end()?;
    tar.truncate(tar.len() - 2 * BLOCK);
    Ok(tar)
}

/// Writes an archive of files with fixed mode, owner and time.
pub(crate) struct Writer(Builder<Vec<u8>>);

impl Writer {
    pub(crate) fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    /// Adds a file whose content has `length` bytes.
    pub(crate) fn file(&mut self, name: &str, length: usize, content: impl Read) -> io::Result<()> {
        let mut header = header(length)?;
        // Growing chunk by chunk would take three times as much memory in between.
        self.0.get_mut().reserve_exact(BLOCK + length.next_multiple_of(BLOCK) + 2 * BLOCK);
        self.0.append_data(&mut header, name, content)
    }

    /// Adds the header of a file, and returns the archive so far. The caller appends the `length`
    /// bytes of its content, and what [ends](ending) the archive.
    pub(crate) fn begin(mut self, name: &str, length: usize) -> io::Result<Vec<u8>> {
        let mut header = header(length)?;
        header.set_path(name)?;
        header.set_cksum();
        self.0.get_mut().extend_from_slice(header.as_bytes());
        let mut archive = self.end()?;
        archive.truncate(archive.len() - 2 * BLOCK);
        Ok(archive)
    }

    /// Ends the archive with two zero blocks, and returns it.
    pub(crate) fn end(self) -> io::Result<Vec<u8>> {
        self.0.into_inner()
    }
}

fn header(length: usize) -> io::Result<TarHeader> {
    let mut header = TarHeader::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_username("root")?;
    header.set_groupname("root")?;
    header.set_size(length as u64);
    Ok(header)
}

/// Returns what follows the `length` bytes of the last file of an archive: padding and two zero
/// blocks.
pub(crate) fn ending(length: usize) -> Vec<u8> {
    vec![0; length.next_multiple_of(BLOCK) - length + 2 * BLOCK]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tar_may_have_as_many_entries_as_its_scanner_allows() {
        let tar = write_segment(&[("a", b"1"), ("b", b""), ("c", b"3")]).unwrap();
        for bodies in [Bodies::Keep, Bodies::Skip] {
            let mut scanner = Scanner::new(bodies, 3);
            scanner.push(&tar).unwrap();
            assert_eq!(scanner.finish().unwrap().count, 3);
            let error = Scanner::new(bodies, 2).push(&tar).unwrap_err();
            assert_eq!(error.to_string(), "tar has more than 2 entries");
        }
    }

    #[test]
    fn a_segment_is_an_archive_without_its_end() {
        let files: [(&str, &[u8]); 2] = [("a", b"1"), ("b", &[2; 513])];
        let mut writer = Writer::new();
        for (name, content) in files {
            writer.file(name, content.len(), content).unwrap();
        }
        let archive = writer.end().unwrap();
        let segment = write_segment(&files).unwrap();
        assert_eq!(archive, [&*segment, &[0; 2 * BLOCK]].concat());
        assert_eq!(segment.len(), (2 + 3) * BLOCK);
    }
}

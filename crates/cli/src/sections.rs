//! A lenient reader of a package's sections, even if the strict reader rejects it.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek as _},
    path::Path,
};

use alpinist_apk::{
    adb::container::{ContainerError, ContainerReader, Piece, Schema},
    package::{MAX_CONTROL_LENGTH, MAX_DATA_LENGTH, MAX_PAYLOAD},
    package_info,
    text::escaped,
};
use flate2::bufread::GzDecoder;
use serde::Serialize;

use crate::{error::Error, output::escaped_lines};

/// What a section holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Only in format v3, which has no control section.
    Metadata,
    Signatures,
    Control,
    Data,
}

/// The format of a package.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    V2,
    V3,
}

/// A gzip stream of a v2 package, or all blocks of one type of a v3 package.
#[derive(Debug, Serialize)]
pub(crate) struct Section {
    pub(crate) kind: Kind,
    /// Its size in the file. Blocks are compressed together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    /// Its size when inflated.
    pub(crate) inflated: u64,
    /// How many blocks it is made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) blocks: Option<usize>,
    /// The names of its entries, except in the data section.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) entries: Vec<String>,
}

/// The sections of a package, as far as they can be read, and its `.PKGINFO`.
#[derive(Debug, Default)]
pub(crate) struct Sections {
    pub(crate) format: Option<Format>,
    pub(crate) parts: Vec<Section>,
    pub(crate) info: Option<String>,
}

/// Reads a file, up to the first section that can't be read.
pub(crate) fn look(path: &Path) -> Result<Sections, Error> {
    let file = File::open(path).map_err(Error::file("open", path))?;
    let mut reader = BufReader::new(file);
    let mut found = Sections::default();
    let begin = reader.fill_buf().map_err(Error::file("read", path))?;
    if begin.starts_with(b"ADB") {
        let parts = blocks(&mut reader).map_err(Error::file("read", path))?;
        return Ok(Sections { format: Some(Format::V3), parts, info: None });
    }
    found.format = begin.starts_with(b"\x1f\x8b").then_some(Format::V2);
    while !reader.fill_buf().map_err(Error::file("read", path))?.is_empty() {
        // The strict reader reports what is wrong with it.
        let Ok(section) = next(&mut reader, &mut found.info) else { break };
        found.parts.push(section);
    }
    Ok(found)
}

/// Reads the blocks of a v3 package, up to the first that can't be read.
fn blocks(reader: &mut impl BufRead) -> io::Result<Vec<Section>> {
    let [mut metadata, mut signatures, mut data] = [Kind::Metadata, Kind::Signatures, Kind::Data]
        .map(|kind| Section {
            kind,
            size: None,
            inflated: 0,
            blocks: Some(0),
            entries: Vec::new(),
        });
    let mut container = ContainerReader::new(Schema::Package, MAX_PAYLOAD);
    loop {
        let bytes = reader.fill_buf()?;
        let length = bytes.len();
        let pushed = container.push(bytes, |piece| {
            let (section, length, begins) = match piece {
                Piece::Payload(payload) => (&mut metadata, payload.len(), true),
                Piece::Signature(signature) => (&mut signatures, signature.len(), true),
                Piece::Data { .. } => (&mut data, 0, true),
                Piece::Content(content) => (&mut data, content.len(), false),
                _ => return Ok(()),
            };
            section.inflated += length as u64;
            section.blocks = section.blocks.map(|blocks| blocks + usize::from(begins));
            Ok::<_, ContainerError>(())
        });
        // The strict reader reports what is wrong with it.
        if length == 0 || pushed.is_err() || data.inflated > MAX_DATA_LENGTH {
            let mut sections = vec![metadata, signatures, data];
            sections.retain(|section| section.blocks != Some(0));
            return Ok(sections);
        }
        reader.consume(length);
    }
}

fn next(reader: &mut BufReader<File>, info: &mut Option<String>) -> io::Result<Section> {
    let begin = reader.stream_position()?;
    let stream = GzDecoder::new(&mut *reader);
    let (kind, inflated, entries) = if info.is_some() {
        let inflated = io::copy(&mut stream.take(MAX_DATA_LENGTH), &mut io::sink())?;
        (Kind::Data, inflated, Vec::new())
    } else {
        let mut tar = Vec::new();
        stream.take(MAX_CONTROL_LENGTH).read_to_end(&mut tar)?;
        let entries = read_entries(&tar, info)?;
        let kind = if info.is_some() { Kind::Control } else { Kind::Signatures };
        (kind, tar.len() as u64, entries)
    };
    let size = Some(reader.stream_position()? - begin);
    Ok(Section { kind, size, inflated, blocks: None, entries })
}

/// Returns the names of the entries of a tar, and extracts its `.PKGINFO`.
fn read_entries(tar: &[u8], info: &mut Option<String>) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in tar::Archive::new(tar).entries()? {
        let entry = entry?;
        let name = escaped(&String::from_utf8_lossy(&entry.path_bytes()));
        if name == ".PKGINFO" {
            let mut text = Vec::new();
            entry.take(package_info::MAX_LENGTH as u64).read_to_end(&mut text)?;
            *info = Some(escaped_lines(&String::from_utf8_lossy(&text)));
        }
        names.push(name);
    }
    Ok(names)
}

//! A lenient reader of a package's sections, even if the strict reader rejects it.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read, Seek as _},
    path::Path,
};

use alpinist_apk::{
    package::{MAX_CONTROL_LENGTH, MAX_DATA_LENGTH},
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
    Signatures,
    Control,
    Data,
}

/// A gzip stream of a package.
#[derive(Debug, Serialize)]
pub(crate) struct Section {
    pub(crate) kind: Kind,
    /// Its size in the file.
    pub(crate) size: u64,
    /// Its size when inflated.
    pub(crate) inflated: u64,
    /// The names of its entries, except in the data section.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) entries: Vec<String>,
}

/// The sections of a package, as far as they can be read, and its `.PKGINFO`.
#[derive(Debug, Default)]
pub(crate) struct Sections {
    pub(crate) sections: Vec<Section>,
    pub(crate) info: Option<String>,
}

/// Reads a file, up to the first section that can't be read.
pub(crate) fn look(path: &Path) -> Result<Sections, Error> {
    let file = File::open(path).map_err(Error::file("open", path))?;
    let mut reader = BufReader::new(file);
    let mut found = Sections::default();
    while !reader.fill_buf().map_err(Error::file("read", path))?.is_empty() {
        // The strict reader reports what is wrong with it.
        let Ok(section) = next(&mut reader, &mut found.info) else { break };
        found.sections.push(section);
    }
    Ok(found)
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
    let size = reader.stream_position()? - begin;
    Ok(Section { kind, size, inflated, entries })
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

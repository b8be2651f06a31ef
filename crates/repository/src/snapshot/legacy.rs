//! Snapshots of earlier builds: lines of JSON, compressed in gzip members. They are read, and
//! replaced by the next publication.

use std::{
    collections::HashSet,
    io::{self, Write},
    mem,
};

use alpinist_apk::entry::IndexEntry;
use flate2::write::MultiGzDecoder;
use serde::Deserialize;

use crate::{
    port::ETag,
    snapshot::{Header, Record, SnapshotError},
};

/// The maximum size in bytes that a snapshot may inflate to.
const MAX_INFLATED: usize = 256 * 1024 * 1024;
/// The maximum length of a line in bytes. An entry has fewer than 96 KiB, and escapes may double
/// it.
const MAX_LINE: usize = 256 * 1024;

/// A record as it was stored.
#[derive(Deserialize)]
struct Line {
    package: ETag,
    fragment: ETag,
    #[serde(default)]
    rank: u32,
    entry: IndexEntry,
}

/// Reads a stored snapshot of an earlier build.
pub(super) fn read(stored: &[u8]) -> Result<(Header, Vec<Record>), SnapshotError> {
    let mut inflater = MultiGzDecoder::new(Lines::default());
    let outcome = inflater.write_all(stored).and_then(|()| inflater.try_finish());
    let Lines { header, stems, records, error, .. } = mem::take(inflater.get_mut());
    if let Some(error) = error {
        return Err(error);
    }
    outcome?;
    let header = header.ok_or(SnapshotError::Form)?;
    let (expected, found) = (header.packages, stems.len());
    if expected == found && records.len() == found {
        Ok((header, records))
    } else {
        Err(SnapshotError::Packages { found, expected })
    }
}

/// What was read so far, and inflated bytes that are not parsed yet.
#[derive(Debug, Default)]
struct Lines {
    inflated: usize,
    rest: Vec<u8>,
    header: Option<Header>,
    stems: HashSet<String>,
    records: Vec<Record>,
    error: Option<SnapshotError>,
}

impl Lines {
    fn parse(&mut self, line: &[u8]) -> Result<(), SnapshotError> {
        if self.header.is_none() {
            self.header = Some(Header::parse(line)?);
            return Ok(());
        }
        let Line { package, fragment, rank, entry } = serde_json::from_slice(line)?;
        self.stems.insert(entry.file_stem());
        self.records.push(Record { package, fragment, rank, entry });
        Ok(())
    }

    fn take(&mut self, inflated: &[u8]) -> Result<(), SnapshotError> {
        self.inflated += inflated.len();
        if self.inflated > MAX_INFLATED {
            return Err(SnapshotError::TooLarge);
        }
        let mut lines = inflated.split(|&byte| byte == b'\n');
        let last = lines.next_back().unwrap_or_default();
        for line in lines {
            if self.rest.is_empty() {
                self.parse(line)?;
            } else {
                let mut whole = mem::take(&mut self.rest);
                whole.extend_from_slice(line);
                self.parse(&whole)?;
            }
        }
        self.rest.extend_from_slice(last);
        if self.rest.len() > MAX_LINE { Err(SnapshotError::Line) } else { Ok(()) }
    }
}

impl Write for Lines {
    fn write(&mut self, inflated: &[u8]) -> io::Result<usize> {
        self.take(inflated).map_err(|error| {
            self.error = Some(error);
            io::Error::from(io::ErrorKind::InvalidData)
        })?;
        Ok(inflated.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

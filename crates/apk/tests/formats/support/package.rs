//! Packages built from parts, of which a test makes one wrong.

use alpinist_apk::checksum::DataHash;
use sha2::{Digest as _, Sha256};

use super::tar::{end_of_archive, file, gzip, installed};

/// The parts of a package. As made by [`Parts::new`] it is in order.
#[derive(Clone)]
pub(crate) struct Parts {
    signatures: Vec<Vec<u8>>,
    info: String,
    data_hash: DataHashLine,
    info_entry: fn(String) -> Vec<u8>,
    before_info: Vec<u8>,
    after_info: Vec<u8>,
    data: Vec<u8>,
}

#[derive(Clone)]
enum DataHashLine {
    Right,
    Absent,
    Text(String),
}

/// The three sections of a package as they stand in the file.
pub(crate) struct Sections {
    pub(crate) signatures: Vec<u8>,
    pub(crate) control: Vec<u8>,
    pub(crate) data: Vec<u8>,
}

impl Parts {
    pub(crate) fn new() -> Self {
        Self {
            signatures: vec![gzip(file(".SIGN.RSA256.ops@example.com-5f3c2a1b.rsa.pub", [7; 256]))],
            info: "# Made by a test\npkgname = hello\npkgver = 1.2.3-r0\npkgdesc = Greets\n\
                   url = https://example.com\nsize = 4096\narch = x86_64\nlicense = MIT\n"
                .to_owned(),
            data_hash: DataHashLine::Right,
            info_entry: |text| file(".PKGINFO", text),
            before_info: Vec::new(),
            after_info: Vec::new(),
            data: gzip([installed("usr/hello", "hello\n"), end_of_archive()].concat()),
        }
    }

    /// Replaces the signatures sections by gzip streams.
    pub(crate) fn signatures(mut self, streams: Vec<Vec<u8>>) -> Self {
        self.signatures = streams;
        self
    }

    /// Adds a line to `.PKGINFO`.
    pub(crate) fn line(mut self, line: &str) -> Self {
        self.info.push_str(line);
        self.info.push('\n');
        self
    }

    /// Replaces a chunk of `.PKGINFO`, which must be there.
    pub(crate) fn replace(mut self, from: &str, to: &str) -> Self {
        assert!(self.info.contains(from), "{from:?} is not in {:?}", self.info);
        self.info = self.info.replacen(from, to, 1);
        self
    }

    pub(crate) fn data_hash(mut self, text: &str) -> Self {
        self.data_hash = DataHashLine::Text(text.to_owned());
        self
    }

    pub(crate) fn without_data_hash(mut self) -> Self {
        self.data_hash = DataHashLine::Absent;
        self
    }

    /// Replaces the tar entry of `.PKGINFO`, which gets its text.
    pub(crate) fn info_entry(mut self, make: fn(String) -> Vec<u8>) -> Self {
        self.info_entry = make;
        self
    }

    /// Adds tar blocks in front of `.PKGINFO`.
    pub(crate) fn before_info(mut self, blocks: Vec<u8>) -> Self {
        self.before_info.extend(blocks);
        self
    }

    /// Adds tar blocks behind `.PKGINFO`.
    pub(crate) fn after_info(mut self, blocks: Vec<u8>) -> Self {
        self.after_info.extend(blocks);
        self
    }

    /// Replaces the data section by a tar of `blocks`, with an end of archive.
    pub(crate) fn data(self, blocks: Vec<u8>) -> Self {
        self.data_stream(gzip([blocks, end_of_archive()].concat()))
    }

    /// Replaces the data section by any bytes; `datahash` follows.
    pub(crate) fn data_stream(mut self, stream: Vec<u8>) -> Self {
        self.data = stream;
        self
    }

    /// Returns what the control section inflates to.
    pub(crate) fn control_tar(&self) -> Vec<u8> {
        let info = match &self.data_hash {
            DataHashLine::Right => {
                let hash = DataHash::new(Sha256::digest(&self.data).into());
                format!("{}datahash = {hash}\n", self.info)
            }
            DataHashLine::Absent => self.info.clone(),
            DataHashLine::Text(text) => format!("{}datahash = {text}\n", self.info),
        };
        [self.before_info.clone(), (self.info_entry)(info), self.after_info.clone()].concat()
    }

    pub(crate) fn sections(&self) -> Sections {
        Sections {
            signatures: self.signatures.concat(),
            control: gzip(self.control_tar()),
            data: self.data.clone(),
        }
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        self.sections().build()
    }
}

impl Sections {
    pub(crate) fn build(&self) -> Vec<u8> {
        [&*self.signatures, &self.control, &self.data].concat()
    }

    pub(crate) fn map_control(mut self, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Self {
        self.control = change(self.control);
        self
    }

    pub(crate) fn map_data(mut self, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Self {
        self.data = change(self.data);
        self
    }

    pub(crate) fn map_signatures(mut self, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Self {
        self.signatures = change(self.signatures);
        self
    }
}

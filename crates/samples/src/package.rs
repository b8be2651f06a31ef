//! Packages built from parts, so that a test can make one of them wrong.

use sha2::{Digest as _, Sha256};

use crate::{
    gzip::gzip,
    tar::{end_of_archive, file, installed},
};

/// Returns the `datahash` of a data section.
pub fn data_hash(data: &[u8]) -> String {
    hex::encode(Sha256::digest(data))
}

/// The parts of a package, which is valid as made by [`Parts::new`].
#[derive(Clone, Debug)]
pub struct Parts {
    signatures: Vec<Vec<u8>>,
    info: String,
    data_hash: DataHashLine,
    info_entry: fn(String) -> Vec<u8>,
    before_info: Vec<u8>,
    after_info: Vec<u8>,
    data: Vec<u8>,
}

#[derive(Clone, Debug)]
enum DataHashLine {
    Right,
    Absent,
    Text(String),
}

/// The three sections of a package, as they are in the file.
#[derive(Clone, Debug)]
pub struct Sections {
    /// The signatures: one or more gzip streams, or none.
    pub signatures: Vec<u8>,
    /// `.PKGINFO` and scripts, in a gzip stream.
    pub control: Vec<u8>,
    /// The installed files, in a gzip stream.
    pub data: Vec<u8>,
}

impl Default for Parts {
    fn default() -> Self {
        Self::new()
    }
}

impl Parts {
    /// Returns the parts of a valid package, `hello-1.2.3-r0` for `x86_64`, with one file.
    pub fn new() -> Self {
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

    /// Replaces the signatures sections with gzip streams.
    #[must_use]
    pub fn signatures(mut self, streams: Vec<Vec<u8>>) -> Self {
        self.signatures = streams;
        self
    }

    /// Adds a line to `.PKGINFO`.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.info.push_str(line);
        self.info.push('\n');
        self
    }

    /// Replaces `from` in `.PKGINFO`, which must contain it.
    #[must_use]
    pub fn replace(mut self, from: &str, to: &str) -> Self {
        assert!(self.info.contains(from), "{from:?} is not in {:?}", self.info);
        self.info = self.info.replacen(from, to, 1);
        self
    }

    /// Replaces the `datahash` with any text.
    #[must_use]
    pub fn data_hash(mut self, text: &str) -> Self {
        self.data_hash = DataHashLine::Text(text.to_owned());
        self
    }

    /// Omits the `datahash`.
    #[must_use]
    pub fn without_data_hash(mut self) -> Self {
        self.data_hash = DataHashLine::Absent;
        self
    }

    /// Replaces the tar entry of `.PKGINFO` with what `make` makes of its text.
    #[must_use]
    pub fn info_entry(mut self, make: fn(String) -> Vec<u8>) -> Self {
        self.info_entry = make;
        self
    }

    /// Adds tar blocks before `.PKGINFO`.
    #[must_use]
    pub fn before_info(mut self, blocks: Vec<u8>) -> Self {
        self.before_info.extend(blocks);
        self
    }

    /// Adds tar blocks after `.PKGINFO`.
    #[must_use]
    pub fn after_info(mut self, blocks: Vec<u8>) -> Self {
        self.after_info.extend(blocks);
        self
    }

    /// Replaces the data section with a tar of `blocks` and an end of archive.
    #[must_use]
    pub fn data(self, blocks: Vec<u8>) -> Self {
        self.data_stream(gzip([blocks, end_of_archive()].concat()))
    }

    /// Replaces the data section with any bytes. The `datahash` is updated, unless it was replaced.
    #[must_use]
    pub fn data_stream(mut self, stream: Vec<u8>) -> Self {
        self.data = stream;
        self
    }

    /// Returns what the control section inflates to.
    pub fn control_tar(&self) -> Vec<u8> {
        let info = match &self.data_hash {
            DataHashLine::Right => {
                format!("{}datahash = {}\n", self.info, data_hash(&self.data))
            }
            DataHashLine::Absent => self.info.clone(),
            DataHashLine::Text(text) => format!("{}datahash = {text}\n", self.info),
        };
        [self.before_info.clone(), (self.info_entry)(info), self.after_info.clone()].concat()
    }

    /// Returns the sections.
    pub fn sections(&self) -> Sections {
        Sections {
            signatures: self.signatures.concat(),
            control: gzip(self.control_tar()),
            data: self.data.clone(),
        }
    }

    /// Returns the package.
    pub fn build(&self) -> Vec<u8> {
        self.sections().build()
    }
}

impl Sections {
    /// Returns the package.
    pub fn build(&self) -> Vec<u8> {
        [&*self.signatures, &self.control, &self.data].concat()
    }

    /// Changes the control section.
    #[must_use]
    pub fn map_control(mut self, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Self {
        self.control = change(self.control);
        self
    }

    /// Changes the data section.
    #[must_use]
    pub fn map_data(mut self, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Self {
        self.data = change(self.data);
        self
    }

    /// Changes the signatures.
    #[must_use]
    pub fn map_signatures(mut self, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Self {
        self.signatures = change(self.signatures);
        self
    }
}

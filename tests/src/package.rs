//! Packages as users make them: by nfpm, from YAML.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::workspace::{make_directory, temporary_directory};
use crate::{Error, KeyPair, Tools, command};

/// The same for all packages, so that the same description gives the same bytes.
const BUILD_TIME: &str = "2024-01-01T00:00:00Z";

/// The description of a package to build.
#[derive(Clone, Debug)]
pub struct PackageSpec {
    name: String,
    version: String,
    release: u32,
    architecture: String,
    depends: Vec<String>,
    files: Vec<(String, String)>,
    signer: Option<KeyPair>,
}

/// A package that was built.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Package {
    /// The package name.
    pub name: String,
    /// The version with the package build, such as `1.0-r0`.
    pub version: String,
    /// The content of the file.
    pub bytes: Vec<u8>,
}

impl PackageSpec {
    /// Describes a package for `x86_64`, build 0, with one file that contains its name and version.
    pub fn new(name: &str, version: &str) -> Self {
        let file = (format!("/usr/share/{name}/version"), format!("{name} {version}\n"));
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            release: 0,
            architecture: "x86_64".to_owned(),
            depends: Vec::new(),
            files: vec![file],
            signer: None,
        }
    }

    /// Sets the package build: the number after `-r`.
    #[must_use]
    pub fn release(mut self, release: u32) -> Self {
        self.release = release;
        self
    }

    /// Sets the architecture, which may be `noarch`.
    #[must_use]
    pub fn architecture(mut self, architecture: &str) -> Self {
        architecture.clone_into(&mut self.architecture);
        self
    }

    /// Adds a dependency, such as `hello` or `hello>=1.0`.
    #[must_use]
    pub fn depends(mut self, on: &str) -> Self {
        self.depends.push(on.to_owned());
        self
    }

    /// Adds a file, by its path from the root.
    #[must_use]
    pub fn file(mut self, path: &str, content: &str) -> Self {
        self.files.push((path.to_owned(), content.to_owned()));
        self
    }

    /// Makes nfpm sign the package.
    #[must_use]
    pub fn signed_by(mut self, key_pair: &KeyPair) -> Self {
        self.signer = Some(key_pair.clone());
        self
    }

    /// Builds the package with nfpm.
    pub fn build(&self, tools: &Tools) -> Result<Package, Error> {
        let directory = temporary_directory("package-")?;
        let configuration = directory.path().join("nfpm.yaml");
        // JSON is YAML, and quotes whatever needs it.
        write(&configuration, &self.configuration(directory.path())?.to_string())?;
        let target = directory.path().join("built.apk");
        let mut nfpm = tools.command("nfpm");
        nfpm.args(["package", "--packager", "apk", "--config"]).arg(configuration);
        command::output(nfpm.arg("--target").arg(&target))?;
        let bytes = fs::read(&target).map_err(Error::file("read", target))?;
        Ok(Package { name: self.name.clone(), version: self.full_version(), bytes })
    }

    /// Builds `count` packages by running nfpm once. They differ only in their names, which are
    /// this one's with a five-digit number.
    pub fn build_series(&self, tools: &Tools, count: usize) -> Result<Vec<Package>, Error> {
        let name = |number: usize| format!("{}{number:05}", self.name);
        let first = Self { name: name(0), ..self.clone() }.build(tools)?;
        (0..count).map(|number| first.renamed(&name(number))).collect()
    }

    fn full_version(&self) -> String {
        format!("{}-r{}", self.version, self.release)
    }

    /// Writes the files below `directory`, and returns the configuration for nfpm.
    fn configuration(&self, directory: &Path) -> Result<Value, Error> {
        let mut contents = Vec::new();
        for (number, (path, content)) in self.files.iter().enumerate() {
            let source = directory.join(number.to_string());
            write(&source, content)?;
            contents.push(json!({"src": source, "dst": path, "expand": false}));
        }
        let signature = self.signer.as_ref().map(|signer| {
            let key = directory.join("key");
            write(&key, signer.private())?;
            Ok::<_, Error>(json!({"key_file": key, "key_name": signer.name()}))
        });
        Ok(json!({
            "apk": {"signature": signature.transpose()?},
            "name": self.name,
            "version": self.version,
            // nfpm would otherwise parse it as a semantic version.
            "version_schema": "none",
            "release": self.release.to_string(),
            "arch": self.architecture,
            "maintainer": "Alpinist <alpinist@example.com>",
            "description": format!("{} for a test of Alpinist", self.name),
            "homepage": "https://example.com",
            "license": "MIT",
            "mtime": BUILD_TIME,
            "depends": self.depends,
            "contents": contents,
        }))
    }
}

impl Package {
    /// Renames the package to a name of the same length, so that its control section still fits.
    fn renamed(&self, name: &str) -> Result<Self, Error> {
        let mut control = Vec::new();
        let mut inflater = GzDecoder::new(&*self.bytes);
        let read = inflater.read_to_end(&mut control);
        read.map_err(Error::file("inflate the control section of", self.file_name()))?;
        let data = inflater.into_inner();
        let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
        let renamed = replace(&control, self.name.as_bytes(), name.as_bytes());
        let written = writer.write_all(&renamed).and_then(|()| writer.finish());
        let mut bytes = written.map_err(Error::file("deflate", name))?;
        bytes.extend_from_slice(data);
        Ok(Self { name: name.to_owned(), version: self.version.clone(), bytes })
    }

    /// Returns `<name>-<version>.apk`.
    pub fn file_name(&self) -> String {
        format!("{}-{}.apk", self.name, self.version)
    }

    /// Returns the package's key below a repository prefix such as `3.22/main/x86_64`.
    pub fn key(&self, prefix: &str) -> String {
        format!("{}/{}", prefix.trim_end_matches('/'), self.file_name())
    }

    /// Writes the package under its file name into `directory`, and returns the path.
    pub fn save(&self, directory: &Path) -> Result<PathBuf, Error> {
        make_directory(directory)?;
        let path = directory.join(self.file_name());
        fs::write(&path, &self.bytes).map_err(Error::file("write", &path))?;
        Ok(path)
    }
}

fn replace(text: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut replaced = text.to_vec();
    for at in 0..text.len() {
        if text.get(at..).is_some_and(|rest| rest.starts_with(old)) {
            replaced.splice(at..at + old.len(), new.iter().copied());
        }
    }
    replaced
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::file("write", path))
}

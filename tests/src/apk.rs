//! The real apk: as a client with its own root directory, and as the oracle for our entries.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use tempfile::TempDir;

use crate::workspace::{make_directory, temporary_directory};
use crate::{Error, command};

/// The real apk, copied from an Alpine system; it runs on any x86-64 Linux, as any user.
#[derive(Clone, Debug)]
pub struct Apk {
    /// The directory with apk and its libraries.
    root: PathBuf,
}

/// An Alpine machine, as far as apk is concerned: a root directory, keys and one repository.
///
/// It trusts no index and no package whose signature it cannot verify with its keys.
#[derive(Debug)]
pub struct ApkClient {
    apk: Apk,
    directory: TempDir,
    repository: String,
    architecture: String,
    environment: Vec<(&'static str, String)>,
}

/// What apk printed, and how it ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApkOutput {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output, and then to standard error.
    pub text: String,
}

impl Apk {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Runs `apk index` on packages for `architecture`, and returns the archive.
    ///
    /// This is the oracle for our entries. It trusts any package, since it does not install it.
    pub fn index(&self, architecture: &str, packages: &[PathBuf]) -> Result<Vec<u8>, Error> {
        let directory = temporary_directory("index-")?;
        let archive = directory.path().join("APKINDEX.tar.gz");
        command::output(&mut self.index_command(architecture, &archive, packages))?;
        fs::read(&archive).map_err(Error::file("read", archive))
    }

    /// Returns a command that writes such an index to `archive`.
    pub fn index_command(
        &self,
        architecture: &str,
        archive: &Path,
        packages: &[PathBuf],
    ) -> Command {
        let mut index = self.command();
        index.args(["index", "--allow-untrusted", "--rewrite-arch", architecture, "--output"]);
        index.arg(archive).args(packages);
        index
    }

    /// Builds a package of format v3 by `apk mkpkg`, with one file that contains its name and
    /// version, and this further information.
    pub fn make_package(&self, name: &str, version: &str, more: &[&str]) -> Result<Vec<u8>, Error> {
        let directory = temporary_directory("mkpkg-")?;
        let (files, package) = (directory.path().join("files"), directory.path().join("p.apk"));
        let share = files.join("usr/share").join(name);
        fs::create_dir_all(&share).map_err(Error::file("create", &share))?;
        let file = share.join("version");
        fs::write(&file, format!("{name} {version}\n")).map_err(Error::file("write", &file))?;
        let mut make = self.make_package_command(&files, &package);
        let own = [format!("name:{name}"), format!("version:{version}")];
        let info = own.iter().map(String::as_str).chain(more.iter().copied());
        make.args(info.flat_map(|field| ["--info", field]));
        command::output(&mut make)?;
        fs::read(&package).map_err(Error::file("read", package))
    }

    /// Returns a command that makes a package of format v3 of the files in a directory, which still
    /// lacks its name and version, and writes it to `package`. All files get the same time.
    pub fn make_package_command(&self, files: &Path, package: &Path) -> Command {
        let mut make = self.command();
        make.args(["mkpkg", "--files"]).arg(files).arg("--output").arg(package);
        make.env("SOURCE_DATE_EPOCH", "1700000000");
        make
    }

    /// Returns a command that makes an index of format v3 of packages, of either format and signed
    /// by anybody, and writes it to `index`.
    pub fn make_index_command(&self, index: &Path, packages: &[PathBuf]) -> Command {
        let mut make = self.command();
        make.args(["mkndx", "--allow-untrusted", "--output"]).arg(index).args(packages);
        make
    }

    /// Runs `apk convndx` on an index of format v2, signed by anybody, and returns the same of
    /// format v3.
    pub fn convert_index(&self, index: &Path) -> Result<Vec<u8>, Error> {
        let mut convert = self.command();
        command::output(convert.args(["convndx", "--allow-untrusted"]).arg(index))
    }

    /// Returns what `apk adbdump` prints of a file of format v3, without its comments: those are
    /// about sizes and signatures.
    pub fn dump(&self, file: &Path) -> Result<String, Error> {
        let mut dump = self.command();
        let dumped = command::output(dump.arg("adbdump").arg(file))?;
        let text = String::from_utf8_lossy(&dumped);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Ok(lines.flat_map(|line| [line, "\n"]).collect())
    }

    /// Returns a command that runs apk.
    fn command(&self) -> Command {
        let libraries = [self.root.join("usr/lib"), self.root.join("lib")];
        let libraries = libraries.map(|directory| directory.to_string_lossy().into_owned());
        let mut command = Command::new(self.root.join("lib/ld-musl-x86_64.so.1"));
        command.arg("--library-path").arg(libraries.join(":")).arg(self.root.join("sbin/apk"));
        command
    }
}

impl ApkClient {
    /// Creates a machine without keys that uses the repository at the URL `repository`, or of that
    /// line of `/etc/apk/repositories`.
    pub fn new(apk: Apk, repository: &str, architecture: &str) -> Result<Self, Error> {
        Self::with_environment(apk, repository, architecture, Vec::new())
    }

    /// Creates such a machine whose programs have these environment variables.
    pub fn with_environment(
        apk: Apk,
        repository: &str,
        architecture: &str,
        environment: Vec<(&'static str, String)>,
    ) -> Result<Self, Error> {
        let directory = temporary_directory("client-")?;
        let (repository, architecture) = (repository.to_owned(), architecture.to_owned());
        let client = Self { apk, directory, repository, architecture, environment };
        make_directory(&client.keys())?;
        let lines = client.repositories();
        fs::write(&lines, format!("{}\n", client.repository))
            .map_err(Error::file("write", lines))?;
        let created = client.run(client.creation()?)?;
        if created.status.success() { Ok(client) } else { Err(client.unusable(&created)) }
    }

    /// Stores a PEM public key under its key name, where apk looks for trusted keys.
    pub fn trust(&self, key_name: &str, public_key: &[u8]) -> Result<(), Error> {
        let path = self.keys().join(key_name);
        fs::write(&path, public_key).map_err(Error::file("write", path))
    }

    /// Runs `apk update`: fetches the index and verifies it.
    pub fn update(&self) -> Result<ApkOutput, Error> {
        self.run(["update"])
    }

    /// Runs `apk add` for these packages, without their scripts.
    pub fn add(&self, packages: &[&str]) -> Result<ApkOutput, Error> {
        self.run(["add", "--no-scripts"].iter().chain(packages))
    }

    /// Runs `apk fetch` for a package, and returns the file, if there is one.
    pub fn fetch(&self, package: &str) -> Result<(ApkOutput, Option<Vec<u8>>), Error> {
        let fetched = temporary_directory("fetched-")?;
        let path = fetched.path().to_string_lossy().into_owned();
        let output = self.run(["fetch", "--output", &path, package])?;
        let mut files = fs::read_dir(&fetched).map_err(Error::file("list", fetched.path()))?;
        let file = files.next().transpose().map_err(Error::file("list", fetched.path()))?;
        let read = |path: PathBuf| fs::read(&path).map_err(Error::file("read", path));
        Ok((output, file.map(|entry| read(entry.path())).transpose()?))
    }

    /// Runs `apk list --available`: one line for each package in the index.
    pub fn list(&self) -> Result<ApkOutput, Error> {
        self.run(["list", "--available"])
    }

    /// Runs `apk list --installed`: one line for each installed package.
    pub fn installed(&self) -> Result<ApkOutput, Error> {
        self.run(["list", "--installed"])
    }

    /// Runs apk on this machine with any arguments.
    pub fn run<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<ApkOutput, Error> {
        finish(self.command().args(arguments))
    }

    /// Runs apk on this machine with any arguments, as its own files below `/etc/apk` say.
    pub fn run_own<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<ApkOutput, Error> {
        let mut command = self.apk.command();
        command.arg("--root").arg(self.root()).args(["--no-interactive", "--no-progress"]);
        finish(command.args(arguments))
    }

    /// Returns a command that runs apk on this machine, without arguments.
    pub fn command(&self) -> Command {
        let mut command = self.apk.command();
        command
            .arg("--root")
            .arg(self.root())
            .arg("--keys-dir")
            .arg(self.keys())
            .args(["--arch", &self.architecture, "--repositories-file"])
            .arg(self.repositories())
            .args(["--no-interactive", "--no-progress"])
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Returns the machine's root directory, which contains the installed files.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn repositories(&self) -> PathBuf {
        self.directory.path().join("repositories")
    }

    fn keys(&self) -> PathBuf {
        self.directory.path().join("keys")
    }

    /// Returns the arguments that create an empty system. Only root can't use `--usermode`.
    fn creation(&self) -> Result<&'static [&'static str], Error> {
        let keys = self.keys();
        let made_by_us = fs::metadata(&keys).map_err(Error::file("look at", keys))?;
        let root = made_by_us.uid() == 0;
        Ok(if root { &["add", "--initdb"] } else { &["add", "--initdb", "--usermode"] })
    }

    fn unusable(&self, output: &ApkOutput) -> Error {
        let command = format!("apk add --initdb --root {}", self.root().display());
        Error::Program { command, status: output.status, output: output.text.clone() }
    }
}

/// Runs apk to its end.
fn finish(command: &mut Command) -> Result<ApkOutput, Error> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(command::not_started(command))?;
    let text = [output.stdout, output.stderr].concat();
    Ok(ApkOutput { status: output.status, text: String::from_utf8_lossy(&text).into_owned() })
}

impl fmt::Display for ApkOutput {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}({})", self.text, self.status)
    }
}

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use alpinist_apk::{
    adb::{
        container::Schema,
        index::AdbIndex,
        index_json,
        signature::{AdbSignature, PayloadDigest},
    },
    block::{self, Block},
    checksum::Identity,
    entry::IndexEntry,
    index::Index as PackageIndex,
    index_archive,
    key::SigningKey,
    key_name::KeyName,
    package::{Package, PackageError, Signatures},
    text::{chain, escaped},
    value::{Architecture, FieldText},
};
use alpinist_repository::{rejection::Rejection, step};
use clap::Args;
use rand_core::OsRng;
use rayon::iter::{IntoParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{
    error::Error,
    output::{self, BAD, ExitStatus, GOOD, Output, WriteText, pluralize},
    package_file,
    repository::architecture_of_clients,
};

const EXAMPLES: &str = "\
Examples:
  # Index the packages in a directory, and publish it with any web server.
  alpinist index packages/x86_64 --key ops.rsa --key-name ops@example.com-5f3c2a1b.rsa.pub

  # In CI: does every package obey the rules? The index goes nowhere.
  alpinist index packages/x86_64 --key ops.rsa --key-name ops@example.com-5f3c2a1b.rsa.pub --out /dev/null

  # The packages of OpenWrt have format v3, which an EC key signs as well.
  alpinist index bin/packages/aarch64_generic/mine --key ops.ec --key-name ops@example.com-5f3c2a1b.ec.pub

  # If all packages are for any architecture, say which one the index is for.
  alpinist index fonts --arch aarch64 --key ops.rsa --key-name ops@example.com-5f3c2a1b.rsa.pub";

/// The index of format v2.
const APKINDEX: &str = "APKINDEX.tar.gz";

/// The index of format v3, under its names on Alpine and on OpenWrt.
const ADB_INDEXES: [&str; 2] = ["Packages.adb", "packages.adb"];

/// Make the signed index of a directory of packages, without AWS
///
/// Reads each `.apk` of the directory on all cores, rejects what the repository would reject, and
/// writes `APKINDEX.tar.gz`. If there are packages of format v3, which `APKINDEX.tar.gz` can't
/// list, writes an index of all packages as well: `Packages.adb`, the same under OpenWrt's name
/// `packages.adb`, and `index.json`. Also replaces an index of either format that the directory
/// already has, even by an empty one, so that none lists packages that are gone. The same packages
/// and the same key give the same bytes. If a package is rejected, or none is left, nothing is
/// written and the exit status is 1.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Index {
    /// The directory; subdirectories are ignored
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The private key, in PEM form: RSA, or EC to sign only format v3
    #[arg(long, value_name = "PEM")]
    key: PathBuf,
    /// What the public key is called in /etc/apk/keys of the clients
    #[arg(long, value_name = "NAME")]
    key_name: KeyName,
    /// The architecture of the clients, if it is not that of the packages
    #[arg(long, value_name = "ARCH", value_parser = architecture_of_clients)]
    arch: Option<Architecture>,
    /// Where the index goes, if not into the directory: another directory, which takes all that is
    /// written, or a file, which takes the one index if the packages are all of one format
    #[arg(long, value_name = "FILE|DIR")]
    out: Option<PathBuf>,
    /// Leave out what is rejected, instead of failing
    #[arg(long)]
    skip_rejected: bool,
}

/// What became of the packages.
#[derive(Debug, Serialize)]
struct Indexed {
    /// Where the index is, if it was written: that of format v2, if there are both.
    index: Option<PathBuf>,
    /// What was written.
    written: Vec<WrittenIndex>,
    architecture: Architecture,
    packages: usize,
    rejected: Vec<Rejected>,
}

/// A file with what was listed.
#[derive(Debug, Serialize)]
struct WrittenIndex {
    file: PathBuf,
    packages: usize,
}

/// What is to be written.
struct IndexFile {
    name: &'static str,
    bytes: Vec<u8>,
    packages: usize,
}

/// Where indexes go.
enum Target<'a> {
    /// Each under its name.
    Directory(&'a Path),
    /// One alone.
    File(&'a Path),
}

impl Target<'_> {
    /// Returns the path of the index with this name, if there is one already.
    fn present(&self, name: &str) -> Option<PathBuf> {
        let Self::Directory(directory) = self else { return None };
        Some(directory.join(name)).filter(|path| path.exists())
    }
}

/// A package that may not be listed.
#[derive(Debug, Serialize)]
struct Rejected {
    file: PathBuf,
    reason: String,
    remedy: String,
}

impl Index {
    pub(crate) fn run(self, output: Output) -> Result<ExitStatus, Error> {
        let key = self.read_key()?;
        let files = package_file::list(&self.directory)?;
        if files.is_empty() {
            return Err(Error::NoPackages { directory: self.directory });
        }
        let packages = read_all(&files)?;
        let architecture = match &self.arch {
            Some(architecture) => architecture.clone(),
            None => common_architecture(&packages)?,
        };
        let (entries, rejected) = judge_all(packages, &architecture);
        let packages = entries.len();
        // With an empty index, clients would lose every package.
        let is_complete = packages > 0 && (rejected.is_empty() || self.skip_rejected);
        let written =
            if is_complete { self.write(&key, &architecture, entries)? } else { Vec::new() };
        let index = written.first().map(|written| written.file.clone());
        output.print(&Indexed { index, written, architecture, packages, rejected })?;
        Ok(if is_complete { ExitStatus::Yes } else { ExitStatus::No })
    }

    fn read_key(&self) -> Result<SigningKey, Error> {
        let path = &self.key;
        let pem =
            fs::read_to_string(path).map(Zeroizing::new).map_err(Error::file("read", path))?;
        SigningKey::from_pem(&pem)
            .map_err(|source| Error::PrivateKey { path: path.clone(), source })
    }

    /// Writes the index of each format that the packages have, or that is there already.
    fn write(
        &self,
        key: &SigningKey,
        architecture: &Architecture,
        entries: Vec<IndexEntry>,
    ) -> Result<Vec<WrittenIndex>, Error> {
        let is_v2 = |entry: &IndexEntry| matches!(entry.identity, Identity::Control(_));
        let packages = entries.iter().filter(|entry| is_v2(entry)).count();
        let has_v3 = packages < entries.len();
        if packages > 0 && !key.kind().signs_v2() {
            let packages = pluralize(packages, "package", "packages");
            return Err(Error::SignsV3Alone { path: self.key.clone(), packages });
        }
        let target = match self.out.as_deref() {
            None => Target::Directory(&self.directory),
            Some(out) if out.is_dir() => Target::Directory(out),
            Some(out) => Target::File(out),
        };
        let is_there = |name| target.present(name).is_some();
        let index = target.present(APKINDEX);
        let has_index = index.is_some();
        if let Some(index) = index.filter(|_| !key.kind().signs_v2()) {
            return Err(Error::StaleIndex { index, path: self.key.clone() });
        }
        let is_adb_made = has_v3 || ADB_INDEXES.into_iter().any(is_there);
        let adb =
            if is_adb_made { Some(self.sign_adb(key, architecture, &entries)?) } else { None };
        let mut files = Vec::new();
        if packages > 0 || has_index {
            let v2 = entries.into_iter().filter(is_v2);
            let bytes = self.sign(key, &PackageIndex::new(v2))?;
            files.push(IndexFile { name: APKINDEX, bytes, packages });
        }
        files.extend(adb.into_iter().flatten());
        match target {
            Target::Directory(directory) => {
                files.iter().map(|file| file.write(&directory.join(file.name))).collect()
            }
            // Nothing is kept there.
            Target::File(out) if is_special(out) => {
                files.iter().map(|file| file.write(out)).collect()
            }
            Target::File(out) if has_v3 && packages > 0 => {
                Err(Error::SeveralIndexes { path: out.to_owned() })
            }
            Target::File(out) => files.iter().take(1).map(|file| file.write(out)).collect(),
        }
    }

    /// Builds and signs what is published for format v3, and checks it as a client does.
    fn sign_adb(
        &self,
        key: &SigningKey,
        architecture: &Architecture,
        entries: &[IndexEntry],
    ) -> Result<[IndexFile; 3], Error> {
        let failed = |source| Error::AdbIndex(Box::new(source));
        let description = self.description(architecture);
        let (index, left_out) = AdbIndex::new(&description, entries);
        for package in left_out {
            let (stem, reason) = (package.entry.file_stem(), package.reason);
            output::status(format_args!("warning: {stem} is not in Packages.adb: {reason}"));
        }
        let payload = index.payload().map_err(failed)?;
        let digest = PayloadDigest::of(&payload);
        let signature = AdbSignature::sign(key, Schema::Index, &digest, &mut OsRng)
            .map_err(|source| Error::Sign { path: self.key.clone(), source })?;
        let bytes = index.seal(&payload, &[signature], [&key.verifying_key()]).map_err(failed)?;
        let json = index_json::write(architecture, index.entries().iter().copied());
        let packages = index.entries().len();
        let [name, alias] = ADB_INDEXES;
        Ok([
            IndexFile { name, bytes: bytes.clone(), packages },
            IndexFile { name: alias, bytes, packages },
            IndexFile { name: "index.json", bytes: json.into_bytes(), packages },
        ])
    }

    /// Returns how clients show an index of format v3, which must say something: as the directory
    /// is called.
    fn description(&self, architecture: &Architecture) -> String {
        let directory = fs::canonicalize(&self.directory).unwrap_or_default();
        let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match name.parse::<FieldText>() {
            Ok(name) if !name.as_str().is_empty() => name.into(),
            _ => architecture.to_string(),
        }
    }

    /// Builds and signs the index as it is published, and checks it as a client does.
    fn sign(&self, key: &SigningKey, index: &PackageIndex) -> Result<Vec<u8>, Error> {
        let blocks: Vec<_> = block::cut(index.entries()).collect();
        let blocks: Vec<_> = blocks.into_par_iter().map(Block::new).collect();
        let unsigned = index_archive::write_blocks("", &blocks).map_err(Error::Index)?;
        let signatures = key
            .sign_index(&self.key_name, &unsigned, &mut OsRng)
            .map_err(|source| Error::Sign { path: self.key.clone(), source })?;
        let keys = [(&self.key_name, &key.verifying_key())];
        index_archive::seal("", &blocks, &unsigned, &signatures, keys).map_err(Error::Index)
    }
}

type Read = (PathBuf, Result<Package, PackageError>);

fn read_all(paths: &[PathBuf]) -> Result<Vec<Read>, Error> {
    let read = |path: &PathBuf| {
        let mut read = package_file::read(path)?;
        if let Ok(package) = &mut read {
            // An index does not need them, and they would take a third of the memory.
            package.signatures = Signatures::Control(Vec::new());
        }
        Ok((path.clone(), read))
    };
    paths.par_iter().map(read).collect()
}

/// Returns the one architecture that packages were built for, except `noarch`.
fn common_architecture(packages: &[Read]) -> Result<Architecture, Error> {
    let read = packages.iter().filter_map(|(_, read)| read.as_ref().ok());
    let found: BTreeSet<_> = read.map(|package| &package.metadata.architecture).collect();
    // What no client requests is rejected anyway.
    let is_of_clients = |it: &&&Architecture| !it.is_noarch() && it.names_in_apk().is_none();
    let own: Vec<_> = found.iter().filter(is_of_clients).collect();
    match *own {
        [architecture] => Ok((*architecture).clone()),
        // All were rejected before their architecture was known.
        [] if found.is_empty() => Ok(Architecture::noarch()),
        [] => Err(Error::Architecture {
            found: "no package has an architecture of its own".to_owned(),
        }),
        _ => {
            let names: Vec<_> = own.iter().map(|architecture| architecture.as_str()).collect();
            Err(Error::Architecture { found: format!("packages are for {}", names.join(" and ")) })
        }
    }
}

fn judge_all(packages: Vec<Read>, architecture: &Architecture) -> (Vec<IndexEntry>, Vec<Rejected>) {
    let (mut entries, mut rejected) = (Vec::new(), Vec::new());
    for (file, read) in packages {
        let stem = package_file::stem(&file);
        let judged = read
            .map_err(Rejection::from)
            .and_then(|package| step::make_entry(architecture, &stem, package));
        match judged {
            Ok(entry) => {
                output::warn(&file, &entry);
                entries.push(entry);
            }
            Err(rejection) => {
                let remedy = match &rejection {
                    Rejection::FileName { expected, .. } => format!("Rename it to {expected}.apk."),
                    other => other.remedy(),
                };
                let [reason, remedy] = [chain(&rejection), remedy].map(|text| escaped(&text));
                rejected.push(Rejected { file, reason, remedy });
            }
        }
    }
    (entries, rejected)
}

impl IndexFile {
    fn write(&self, path: &Path) -> Result<WrittenIndex, Error> {
        replace(path, &self.bytes)?;
        Ok(WrittenIndex { file: path.to_owned(), packages: self.packages })
    }
}

/// Returns whether a file exists that can't be replaced, such as `/dev/null`.
fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|present| !present.is_file())
}

/// Replaces a file atomically, so that a reader gets either the old or the new one.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if is_special(path) {
        return fs::write(path, bytes).map_err(Error::file("write", path));
    }
    // The umask decides who may read it, as with any other new file.
    let permissions = Permissions::from_mode(0o666);
    let directory = path.parent().unwrap_or(path);
    let new = tempfile::Builder::new().permissions(permissions).tempfile_in(directory);
    let written = new.and_then(|mut new| {
        new.write_all(bytes)?;
        Ok(new.persist(path)?)
    });
    written.map(drop).map_err(Error::file("write", path))
}

impl WriteText for Indexed {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        for Rejected { file, reason, remedy } in &self.rejected {
            writeln!(out, "{BAD}rejected{BAD:#} {}: {reason}. {remedy}", file.display())?;
        }
        let architecture = &self.architecture;
        for WrittenIndex { file, packages } in &self.written {
            let packages = pluralize(*packages, "package", "packages");
            let file = file.display();
            writeln!(out, "{GOOD}written{GOOD:#} {file}: {packages} for {architecture}")?;
        }
        match &self.index {
            Some(_) => Ok(()),
            None if self.packages == 0 => {
                writeln!(out, "{BAD}not written{BAD:#}: no package is left to be listed")
            }
            None => writeln!(out, "{BAD}not written{BAD:#}: --skip-rejected leaves these out"),
        }
    }
}

//! Paths: the workspace, and the directories that the local stack may write to.

use std::env;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::Error;

/// Returns the workspace's directory, the one with `template.yaml`.
pub fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// Returns the folder with packages and indexes that others made: `../shared/fixtures` beside the
/// workspace, or `ALPINIST_FIXTURES`. `None`, with a message on standard error, if it is missing.
///
/// # Panics
///
/// If it is missing where `CI` or `ALPINIST_FIXTURES` is set.
pub fn fixtures() -> Option<PathBuf> {
    let named = env::var_os("ALPINIST_FIXTURES");
    let promised = named.is_some() || env::var_os("CI").is_some();
    let folder = named.map_or_else(|| root().join("../shared/fixtures"), PathBuf::from);
    if folder.join("packages").is_dir() {
        return Some(folder);
    }
    let message = format!("no fixtures in {}: not checked\n", folder.display());
    assert!(!promised, "{message}");
    let _written = io::stderr().write_all(message.as_bytes());
    None
}

/// Returns a file of this package, such as `tools/emulator.py`.
pub(crate) fn own_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Returns `local-stack` in Cargo's target directory, and creates it if necessary.
///
/// Everything that the local stack writes is below it.
pub(crate) fn local_stack_directory() -> Result<PathBuf, Error> {
    let program = env::current_exe().map_err(Error::file("find", "the running program"))?;
    // Cargo marks the target directory with this file, wherever it is.
    let target = program.ancestors().find(|directory| directory.join("CACHEDIR.TAG").is_file());
    let Some(target) = target else { return Err(Error::OutsideTarget { program }) };
    let directory = target.join("local-stack");
    make_directory(&directory)?;
    Ok(directory)
}

/// Creates a directory and its parents, if it does not exist.
pub(crate) fn make_directory(directory: &Path) -> Result<(), Error> {
    fs::create_dir_all(directory).map_err(Error::file("make", directory))
}

/// Creates a directory that is removed when the result is dropped.
pub(crate) fn temporary_directory(prefix: &str) -> Result<TempDir, Error> {
    let above = local_stack_directory()?;
    TempDir::with_prefix_in(prefix, &above).map_err(Error::file("make a directory in", above))
}

/// Removes a directory with its contents, if it exists.
pub(crate) fn remove_directory(directory: &Path) -> Result<(), Error> {
    if !directory.exists() {
        return Ok(());
    }
    fs::remove_dir_all(directory).map_err(Error::file("remove", directory))
}

/// Copies a file, and creates the directory that it goes to.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    if let Some(directory) = to.parent() {
        make_directory(directory)?;
    }
    fs::copy(from, to).map_err(Error::file("copy", from))?;
    Ok(())
}

/// The files that one running emulator, and no other, writes to.
///
/// This process and the emulator both lock its log, so it is free again when both have ended,
/// however they end. The next emulator takes it over: there are never more of them than ran at
/// once, and the log of the last run is kept.
#[derive(Debug)]
pub(crate) struct RunDirectory {
    above: PathBuf,
    number: u32,
    log: File,
}

impl RunDirectory {
    /// Takes the first free one and empties it.
    pub(crate) fn take() -> Result<Self, Error> {
        let above = local_stack_directory()?;
        let mut number = 1;
        loop {
            let log_path = log_path(&above, number);
            let log = File::options().create(true).append(true).open(&log_path);
            let log = log.map_err(Error::file("open", &log_path))?;
            match log.try_lock() {
                Ok(()) => return Self { above, number, log }.emptied(),
                Err(TryLockError::WouldBlock) => number += 1,
                Err(TryLockError::Error(source)) => {
                    return Err(Error::File { action: "lock", path: log_path, source });
                }
            }
        }
    }

    /// Returns a directory for files that are not needed after the emulator has ended.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.above.join(format!("run-{}", self.number))
    }

    /// Returns the path of the log.
    pub(crate) fn log_path(&self) -> PathBuf {
        log_path(&self.above, self.number)
    }

    /// Returns the path of the file in which requests are noted.
    pub(crate) fn request_notes(&self) -> PathBuf {
        self.above.join(format!("run-{}-requests.jsonl", self.number))
    }

    /// Returns the path of the file that injects faults.
    pub(crate) fn faults(&self) -> PathBuf {
        self.scratch().join("faults.json")
    }

    /// Returns the log for the process that writes to it, which then also holds the lock.
    pub(crate) fn log(&self) -> Result<File, Error> {
        self.log.try_clone().map_err(Error::file("open", self.log_path()))
    }

    fn emptied(self) -> Result<Self, Error> {
        self.log.set_len(0).map_err(Error::file("empty", self.log_path()))?;
        remove_directory(&self.scratch())?;
        make_directory(&self.scratch())?;
        Ok(self)
    }
}

fn log_path(above: &Path, number: u32) -> PathBuf {
    above.join(format!("run-{number}.log"))
}

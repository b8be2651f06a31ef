//! Packages in files.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use alpinist_apk::package::{Package, PackageError, PackageReader};

use crate::error::Error;

/// The maximum number of bytes that are read at once.
const PIECE: u64 = 256 * 1024;
/// The minimum number of bytes that are read at once: a pipe does not report its length.
const SMALL: u64 = 16 * 1024;

/// Reads a package, up to the first fault.
pub(crate) fn read(path: &Path) -> Result<Result<Package, PackageError>, Error> {
    let mut file = File::open(path).map_err(Error::file("open", path))?;
    let mut reader = PackageReader::new();
    let length = file.metadata().map_err(Error::file("inspect", path))?.len();
    let mut buffer = vec![0; usize::try_from(length.clamp(SMALL, PIECE)).unwrap_or_default()];
    loop {
        let length = file.read(&mut buffer).map_err(Error::file("read", path))?;
        if length == 0 {
            return Ok(reader.finish());
        }
        if let Err(error) = reader.push(buffer.get(..length).unwrap_or_default()) {
            return Ok(Err(error));
        }
    }
}

/// Returns the `.apk` files of a directory, sorted by name.
pub(crate) fn list(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(directory).map_err(Error::file("list", directory))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::file("list", directory))?.path();
        if path.extension().is_some_and(|extension| extension == "apk") {
            paths.push(path);
        }
    }
    paths.sort_unstable_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
    Ok(paths)
}

/// Returns the file name without `.apk`, as it would be in a key.
pub(crate) fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

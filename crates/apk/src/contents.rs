//! What a package installs, checked as a client does during the installation.
//!
//! apk lists and verifies packages that it then can't install: it requires the directory of each
//! file before the file, a checksum of each file, and the target of a hard link before the link.
//! Measured on apk-tools 3.0.8, which is stricter than 2.14, with `apk add` into an empty root;
//! read in `apk_db_install_file` of apk-tools 3.0.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use crate::{
    tar::{Header, Kind, MAX_PATH, TarError},
    text::Excerpt,
};

/// The maximum number of entries in a package, and of directories above them. A hash of each
/// is kept.
pub const MAX_DATA_ENTRIES: u64 = 1_000_000;

/// The maximum length of a part of a path in bytes, as on Linux.
const MAX_PART: usize = 255;

/// The maximum length of the path of a file's directory in bytes: apk extracts to a name of some 55
/// bytes next to the file (measured).
pub(crate) const MAX_DIRECTORY: usize = 4040;

/// Why a client can't install the content of a package.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ContentsError {
    /// The directory of a file is not in the package, or comes after the file.
    #[error("no entry for the directory of `{path}` comes before it, so no client can install it")]
    NoDirectory {
        /// The file.
        path: Excerpt,
    },
    /// A file has no checksum.
    #[error(
        "`{path}` has no checksum (APK-TOOLS.checksum.SHA1 in a pax header), so no client can install it"
    )]
    NoChecksum {
        /// The file.
        path: Excerpt,
    },
    /// A hard link's target is not in the package, or comes after the link.
    #[error("`{path}` is a hard link to `{target}`, which does not come before it in the package")]
    HardLink {
        /// The link.
        path: Excerpt,
        /// Its target.
        target: Excerpt,
    },
    /// A symbolic link's target is empty or too long.
    #[error(
        "`{path}` is a symbolic link to `{target}`, which is empty or longer than {MAX_PATH} bytes"
    )]
    SymbolicLink {
        /// The link.
        path: Excerpt,
        /// Its target.
        target: Excerpt,
    },
    /// A part of a path is longer than file systems allow.
    #[error("`{path}` has a part of more than {MAX_PART} bytes, which no file system takes")]
    Part {
        /// The path.
        path: Excerpt,
    },
    /// The path of a file's directory is longer than apk can use.
    #[error("the directory of `{path}` has over {MAX_DIRECTORY} bytes, more than apk can install")]
    Directory {
        /// The path.
        path: Excerpt,
    },
    /// A directory and something else have the same path.
    #[error("`{path}` is a directory and something else at once")]
    Twice {
        /// The path.
        path: Excerpt,
    },
    /// Two files have the same path: apk can't install the second.
    #[error("`{path}` is in the package twice, so no client can install it: keep one")]
    Repeated {
        /// The path.
        path: Excerpt,
    },
    /// A path ends in a slash, but is not that of a directory.
    #[error(
        "`{path}` ends in a slash, but is not of the type of a directory, so no client can install it"
    )]
    Slash {
        /// The path.
        path: Excerpt,
    },
    /// The paths have too many directories.
    #[error(transparent)]
    Tar(#[from] TarError),
}

/// The paths of a package so far. They are kept as hashes, because there may be a million.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Directories that have an entry.
    directories: HashSet<u64>,
    /// Directories above those, with or without an entry.
    parents: HashSet<u64>,
    files: HashSet<u64>,
}

impl Contents {
    /// Checks and records the next entry.
    pub(crate) fn take(&mut self, header: &Header) -> Result<(), ContentsError> {
        let path = header.path.strip_suffix(b"/").unwrap_or(&header.path);
        let shown = || Excerpt::of(path);
        // apk skips paths that begin with a dot.
        if path.starts_with(b".") {
            return Ok(());
        }
        if header.kind == Kind::Directory {
            return self.take_directory(path);
        }
        check_parts(path)?;
        if path.len() < header.path.len() {
            return Err(ContentsError::Slash { path: Excerpt::of(&header.path) });
        }
        check_directory(path)?;
        if parent(path).is_some_and(|directory| !self.directories.contains(&hash(directory))) {
            return Err(ContentsError::NoDirectory { path: shown() });
        }
        self.check_is_no_directory(path)?;
        let target = || Excerpt::of(&header.target);
        match header.kind {
            Kind::File if !header.has_checksum => {
                return Err(ContentsError::NoChecksum { path: shown() });
            }
            Kind::HardLink if !self.has_file(&header.target) => {
                return Err(ContentsError::HardLink { path: shown(), target: target() });
            }
            Kind::SymbolicLink if !(1..=MAX_PATH).contains(&header.target.len()) => {
                return Err(ContentsError::SymbolicLink { path: shown(), target: target() });
            }
            _ => {}
        }
        self.insert_file(path)
    }

    /// Checks and records the next file of a v3 package, of any type. Its directory is in the
    /// package by the format.
    pub(crate) fn take_file(&mut self, path: &[u8]) -> Result<(), ContentsError> {
        check_parts(path)?;
        check_directory(path)?;
        self.check_is_no_directory(path)?;
        self.insert_file(path)
    }

    /// Returns whether there is a file of this path so far.
    pub(crate) fn has_file(&self, path: &[u8]) -> bool {
        self.files.contains(&hash(path))
    }

    fn check_is_no_directory(&self, path: &[u8]) -> Result<(), ContentsError> {
        if self.directories.contains(&hash(path)) || self.parents.contains(&hash(path)) {
            return Err(ContentsError::Twice { path: Excerpt::of(path) });
        }
        Ok(())
    }

    fn insert_file(&mut self, path: &[u8]) -> Result<(), ContentsError> {
        if !self.files.insert(hash(path)) {
            return Err(ContentsError::Repeated { path: Excerpt::of(path) });
        }
        Ok(())
    }

    /// Checks and records a directory, whose path has no slash at its end. The same directory may
    /// come again.
    pub(crate) fn take_directory(&mut self, path: &[u8]) -> Result<(), ContentsError> {
        check_parts(path)?;
        self.directories.insert(hash(path));
        let mut next = Some(path);
        while let Some(directory) = next {
            if self.files.contains(&hash(directory)) {
                return Err(ContentsError::Twice { path: Excerpt::of(directory) });
            }
            next = parent(directory).filter(|parent| self.parents.insert(hash(parent)));
        }
        if self.parents.len() as u64 > MAX_DATA_ENTRIES {
            return Err(TarError::Entries { max: MAX_DATA_ENTRIES }.into());
        }
        Ok(())
    }
}

fn check_parts(path: &[u8]) -> Result<(), ContentsError> {
    if path.split(|byte| *byte == b'/').any(|part| part.len() > MAX_PART) {
        return Err(ContentsError::Part { path: Excerpt::of(path) });
    }
    Ok(())
}

fn check_directory(path: &[u8]) -> Result<(), ContentsError> {
    if parent(path).is_some_and(|directory| directory.len() > MAX_DIRECTORY) {
        return Err(ContentsError::Directory { path: Excerpt::of(path) });
    }
    Ok(())
}

/// Returns the path of the containing directory, unless that is the root.
fn parent(path: &[u8]) -> Option<&[u8]> {
    path.iter().rposition(|byte| *byte == b'/').and_then(|end| path.get(..end))
}

fn hash(path: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

//! Reads a package of format v3.
//!
//! Its ADB payload comes first and describes all of it, so each later byte can be checked as it
//! arrives: a regular file that is not empty has one DATA block, in the order of the payload.
//!
//! A client reads much that it can't install, fails in the middle of it, or installs something else
//! than the package says (measured on apk-tools 3.0.8). All of that is refused here.

use sha2::{Digest as _, Sha256};

use super::{
    container::{ContainerError, ContainerReader, Piece, Schema},
    package_info::{self, InfoError, Source},
    schema::{acl, directory, file, package as slot},
    signature::{AdbSignature, PayloadDigest},
    value::{Reader as Values, Table, Value, ValueError},
};
use crate::{
    checksum::PayloadHash,
    contents::{Contents, ContentsError, MAX_DATA_ENTRIES, MAX_DIRECTORY},
    metadata::{Metadata, SelfConflict},
    package_limits::MAX_DATA_LENGTH,
    package_summary::{Package, PayloadSignatures, Signatures},
    tar::{MAX_PATH, TarError},
    text::Excerpt,
    value::{FieldText, InvalidValue},
};

/// The maximum size of the ADB payload of a package in bytes. It is held in memory. 200,000 files
/// take some 18 MB of it.
pub const MAX_PAYLOAD: u64 = 64 * 1024 * 1024;
/// How many values of a payload are read at most, however many tables share them.
const MAX_VALUES: u64 = 16_000_000;
/// The maximum length of all triggers in bytes, each with a space. A client can't read a line of
/// some 131,060 from its own database (measured).
const MAX_TRIGGERS: usize = 65_000;
/// The maximum length of the name of a user or a group in bytes.
const MAX_OWNER: usize = 64;
/// The bits of permission, with setuid, setgid and sticky.
const PERMISSIONS: u64 = 0o7777;
/// Those that a symbolic link can have.
const PERMISSIONS_OF_LINK: u64 = 0o777;

/// Why an ADB file is not a package that can be listed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AdbError {
    /// It is not an ADB file of a package.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// Its metadata is malformed.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// What it says of itself is rejected.
    #[error(transparent)]
    Info(#[from] InfoError),
    /// No client can install it, whatever else there is.
    #[error("the package can't be installed")]
    Itself(#[from] SelfConflict),
    /// A trigger has a control character.
    #[error("the package has an invalid trigger")]
    Trigger(#[source] InvalidValue),
    /// Its triggers are too long.
    #[error("the package has over {MAX_TRIGGERS} bytes of triggers")]
    Triggers,
    /// A client can't install its files.
    #[error(transparent)]
    Contents(ContentsError),
    /// There are more than [`MAX_DATA_ENTRIES`].
    #[error("the package has more than {MAX_DATA_ENTRIES} files and directories")]
    Entries,
    /// The name of a file or a directory is one that no client installs, or that is unsafe.
    #[error("the package has a file or directory `{path}`, {rule}")]
    Path {
        /// The file or directory.
        path: Excerpt,
        /// The rule that the name breaks, as the end of the sentence.
        rule: &'static str,
    },
    /// The mode of a file or a directory has a type, which a client would take for that of the file
    /// and leave it out or fail, or a symbolic link is setuid, setgid or sticky, which it can't be
    /// (measured).
    #[error("`{path}` has the mode 0{mode:o}, with more than the permissions it can have")]
    Mode {
        /// The file or directory.
        path: Excerpt,
        /// Its mode.
        mode: u64,
    },
    /// The name of a user or a group is no such name.
    #[error("`{path}` belongs to `{owner}`, which is not the name of a user or group")]
    Owner {
        /// The file or directory.
        path: Excerpt,
        /// The name.
        owner: Excerpt,
    },
    /// An extended attribute has no name, or no value.
    #[error(
        "`{path}` has an extended attribute `{attribute}` that is not a name, U+0000 and a value"
    )]
    Attribute {
        /// The file or directory.
        path: Excerpt,
        /// The attribute.
        attribute: Excerpt,
    },
    /// A file has no SHA-256.
    #[error("`{path}` has a hash of {length} bytes instead of a SHA-256")]
    Hash {
        /// The file.
        path: Excerpt,
        /// The length of its hash.
        length: usize,
    },
    /// A file is of a type that apk does not install.
    #[error("`{path}` is of a type (0{kind:o}) that no client installs")]
    Type {
        /// The file.
        path: Excerpt,
        /// The type, as in the mode of a file.
        kind: u16,
    },
    /// What a file refers to is malformed.
    #[error("`{path}` does not say what device it is or what it links to")]
    Target {
        /// The file.
        path: Excerpt,
    },
    /// All files together are too large.
    #[error("the files of the package have more than {MAX_DATA_LENGTH} bytes")]
    Length,
    /// A block of data is not that of the next file.
    #[error(
        "the content of `{path}` is missing: that of file {file} of directory {directory} is there"
    )]
    Misplaced {
        /// The next file.
        path: Excerpt,
        /// The directory that the block is for.
        directory: u32,
        /// The file that the block is for.
        file: u32,
    },
    /// A block of data follows that of the last file.
    #[error("the file goes on after the content of the last file of the package")]
    Superfluous,
    /// A block of data is shorter or longer than its file.
    #[error("the content of `{path}` has {length} bytes, but the package says {size}")]
    Size {
        /// The file.
        path: Excerpt,
        /// The length of the block.
        length: u64,
        /// The size of the file.
        size: u64,
    },
    /// The content of a file is another than the package says.
    #[error("the content of `{path}` does not have the SHA-256 that the package says")]
    Content {
        /// The file.
        path: Excerpt,
    },
    /// The content of a file is absent.
    #[error("the file ends before the content of `{path}`")]
    Missing {
        /// The file.
        path: Excerpt,
    },
}

impl From<ContentsError> for AdbError {
    fn from(error: ContentsError) -> Self {
        match error {
            ContentsError::Tar(TarError::Entries { .. }) => Self::Entries,
            error => Self::Contents(error),
        }
    }
}

/// Reads a package of format v3, which begins with `ADB`.
pub(crate) struct Reader {
    container: ContainerReader,
    state: State,
}

/// What of a package has been read.
#[derive(Default)]
struct State {
    tree: Option<Tree>,
    signatures: Vec<AdbSignature>,
}

/// What the ADB payload says, and how far its files were read.
struct Tree {
    payload: Vec<u8>,
    digest: PayloadDigest,
    metadata: Metadata,
    has_content: bool,
    /// The file whose content is read, or the first whose content is missing.
    next: Option<Expected>,
    /// The hash of the content so far.
    sha256: Sha256,
    /// How many bytes of the content are missing.
    rest: u64,
}

/// A file whose content must come.
#[derive(Debug, Eq, PartialEq)]
struct Expected {
    /// Its directory, from 1.
    directory: usize,
    /// Its place in the directory, from 1.
    file: usize,
    size: u64,
    hash: [u8; 32],
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self {
            container: ContainerReader::new(Schema::Package, MAX_PAYLOAD),
            state: State::default(),
        }
    }

    /// Takes the next bytes of the file.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), AdbError> {
        let state = &mut self.state;
        self.container.push(bytes, |piece| state.take(piece))
    }

    /// Ends the file, which has `size` bytes, and returns the package.
    pub(crate) fn finish(self, size: u64) -> Result<Package, AdbError> {
        let State { tree, signatures } = self.state;
        self.container.finish()?;
        // A container that ends well has a payload.
        let tree = tree.ok_or(ContainerError::Truncated { position: 0 })?;
        if let Some(missing) = &tree.next {
            return Err(AdbError::Missing { path: tree.path_of(missing) });
        }
        let identity = PayloadHash::new(*tree.digest.sha256()).into();
        let signatures = Box::new(PayloadSignatures::new(tree.digest, signatures));
        Ok(Package {
            metadata: tree.metadata,
            identity,
            size,
            has_content: tree.has_content,
            signatures: Signatures::Payload(signatures),
        })
    }
}

impl State {
    fn take(&mut self, piece: Piece<'_>) -> Result<(), AdbError> {
        match (piece, &mut self.tree) {
            (Piece::Payload(payload), _) => self.tree = Some(Tree::read(payload)?),
            (Piece::Signature(block), _) => self.signatures.extend(AdbSignature::parse(block)),
            (Piece::Data { path, file, length }, Some(tree)) => tree.begin(path, file, length)?,
            (Piece::Content(bytes), Some(tree)) => tree.content(bytes)?,
            // The payload is always the first piece.
            (Piece::Data { .. } | Piece::Content(_), None) => {}
        }
        Ok(())
    }
}

impl Tree {
    /// Reads and checks all of a payload.
    fn read(payload: Vec<u8>) -> Result<Self, AdbError> {
        let values = Values::new(&payload, MAX_VALUES)?;
        let root = values.root().object()?;
        let metadata = package_info::read(root.get(slot::INFO).object()?, Source::Package)?;
        metadata.check_itself()?;
        let has_files = check_paths(root.get(slot::PATHS).array()?)?;
        let has_scripts = check_scripts(root.get(slot::SCRIPTS).object()?)?;
        check_triggers(root.get(slot::TRIGGERS).array()?)?;
        root.get(slot::REPLACES_PRIORITY).int()?;
        let digest = PayloadDigest::of(&payload);
        let next = expected(&payload, 1, 1);
        Ok(Self {
            digest,
            metadata,
            has_content: has_files || has_scripts,
            next,
            sha256: Sha256::new(),
            rest: 0,
            payload,
        })
    }

    /// Begins the content of a file.
    fn begin(&mut self, directory: u32, file: u32, length: u64) -> Result<(), AdbError> {
        let next = self.next.as_ref().ok_or(AdbError::Superfluous)?;
        let is_next = usize::try_from(directory) == Ok(next.directory)
            && usize::try_from(file) == Ok(next.file);
        if !is_next {
            return Err(AdbError::Misplaced { path: self.path_of(next), directory, file });
        }
        if length != next.size {
            return Err(AdbError::Size { path: self.path_of(next), length, size: next.size });
        }
        self.sha256 = Sha256::new();
        self.rest = length;
        Ok(())
    }

    /// Takes the next bytes of that content.
    fn content(&mut self, bytes: &[u8]) -> Result<(), AdbError> {
        self.sha256.update(bytes);
        self.rest = self.rest.saturating_sub(bytes.len() as u64);
        let Some(complete) = self.next.as_ref().filter(|_| self.rest == 0) else { return Ok(()) };
        if std::mem::take(&mut self.sha256).finalize()[..] != complete.hash {
            return Err(AdbError::Content { path: self.path_of(complete) });
        }
        self.next = expected(&self.payload, complete.directory, complete.file + 1);
        Ok(())
    }

    /// Returns the path of a file, for a message.
    fn path_of(&self, wanted: &Expected) -> Excerpt {
        let path = || {
            let values = Values::new(&self.payload, u64::MAX).ok()?;
            let paths = values.root().object().ok()?.get(slot::PATHS).array().ok()?;
            let directory = paths.get(wanted.directory).object().ok()?;
            let file = directory.get(directory::FILES).array().ok()?.get(wanted.file);
            let name = file.object().ok()?.get(file::NAME).blob().ok()?;
            Some(join(directory.get(directory::NAME).blob().ok()?, name))
        };
        Excerpt::of(&path().unwrap_or_default())
    }
}

/// Returns the first file from this one on whose content must come, of a payload that was checked.
fn expected(payload: &[u8], directory: usize, file: usize) -> Option<Expected> {
    let values = Values::new(payload, u64::MAX).ok()?;
    let paths = values.root().object().ok()?.get(slot::PATHS).array().ok()?;
    let mut first = file;
    for number in directory..=paths.len() {
        let entry = paths.get(number).object().ok()?;
        let files = entry.get(directory::FILES).array().ok()?;
        for file in first..=files.len() {
            let entry = files.get(file).object().ok()?;
            let size = entry.get(file::SIZE).int().ok()?.unwrap_or_default();
            if size > 0 && entry.get(file::TARGET).is_absent() {
                let hash = entry.get(file::HASH).blob().ok()?.try_into().ok()?;
                return Some(Expected { directory: number, file, size, hash });
            }
        }
        first = 1;
    }
    None
}

/// Checks all that a package installs. Returns whether that is anything.
fn check_paths(paths: Table<'_>) -> Result<bool, AdbError> {
    let mut contents = Contents::default();
    let (mut entries, mut length) = (0_u64, 0_u64);
    for value in paths.iter() {
        let entry = value.object()?;
        // The root has no name.
        let path = entry.get(directory::NAME).blob()?;
        if !path.is_empty() {
            check_directory(path)?;
            contents.take_directory(path)?;
        }
        check_acl(entry.get(directory::ACL), path)?;
        let files = entry.get(directory::FILES).array()?;
        entries = entries.saturating_add(1).saturating_add(files.len() as u64);
        if entries > MAX_DATA_ENTRIES {
            return Err(AdbError::Entries);
        }
        for value in files.iter() {
            length = length.saturating_add(check_file(value.object()?, path, &mut contents)?);
            if length > MAX_DATA_LENGTH {
                return Err(AdbError::Length);
            }
        }
    }
    Ok(!paths.is_empty())
}

/// Checks a file, and returns how many bytes of content must come for it.
fn check_file(
    entry: Table<'_>,
    directory: &[u8],
    contents: &mut Contents,
) -> Result<u64, AdbError> {
    let name = entry.get(file::NAME).blob()?;
    check_name(name, || join(directory, name))?;
    let path = join(directory, name);
    let mode = check_acl(entry.get(file::ACL), &path)?;
    entry.get(file::MTIME).int()?;
    let size = entry.get(file::SIZE).int()?.unwrap_or_default();
    let hash = entry.get(file::HASH).blob()?;
    let target = entry.get(file::TARGET).blob()?;
    let shown = || Excerpt::of(&path);
    let is_regular = entry.get(file::TARGET).is_absent();
    // apk demands no hash where no content comes.
    if hash.len() != 32 && (is_regular || !hash.is_empty()) {
        return Err(AdbError::Hash { path: shown(), length: hash.len() });
    }
    if is_regular {
        contents.take_file(&path)?;
        if size == 0 && hash != &Sha256::digest(b"")[..] {
            return Err(AdbError::Content { path: shown() });
        }
        return Ok(size);
    }
    check_target(&path, target, mode, contents)?;
    contents.take_file(&path)?;
    Ok(0)
}

/// Checks what a file refers to: a type, and what depends on that.
fn check_target(
    path: &[u8],
    target: &[u8],
    mode: u64,
    contents: &Contents,
) -> Result<(), AdbError> {
    const HARD_LINK: u16 = 0o100_000;
    const SYMBOLIC_LINK: u16 = 0o120_000;
    const CHARACTER_DEVICE: u16 = 0o020_000;
    const BLOCK_DEVICE: u16 = 0o060_000;
    const FIFO: u16 = 0o010_000;
    let shown = || Excerpt::of(path);
    let Some((kind, target)) = target.split_first_chunk() else {
        return Err(AdbError::Target { path: shown() });
    };
    match u16::from_le_bytes(*kind) {
        SYMBOLIC_LINK if !(1..=MAX_PATH).contains(&target.len()) => {
            Err(ContentsError::SymbolicLink { path: shown(), target: Excerpt::of(target) }.into())
        }
        SYMBOLIC_LINK if mode > PERMISSIONS_OF_LINK => Err(AdbError::Mode { path: shown(), mode }),
        SYMBOLIC_LINK if target.contains(&0) => Err(AdbError::Target { path: shown() }),
        HARD_LINK if !contents.has_file(target) => {
            Err(ContentsError::HardLink { path: shown(), target: Excerpt::of(target) }.into())
        }
        CHARACTER_DEVICE | BLOCK_DEVICE | FIFO if target.len() != 8 => {
            Err(AdbError::Target { path: shown() })
        }
        HARD_LINK | SYMBOLIC_LINK | CHARACTER_DEVICE | BLOCK_DEVICE | FIFO => Ok(()),
        kind => Err(AdbError::Type { path: shown(), kind }),
    }
}

/// Checks the path of a directory that is not the root.
fn check_directory(path: &[u8]) -> Result<(), AdbError> {
    if path.len() > MAX_DIRECTORY {
        let rule = "which is longer than clients can install";
        return Err(AdbError::Path { path: Excerpt::of(path), rule });
    }
    path.split(|byte| *byte == b'/').try_for_each(|part| check_name(part, || path.to_vec()))
}

/// Checks a part of a path. Its length is checked with the whole path.
fn check_name(name: &[u8], path: impl Fn() -> Vec<u8>) -> Result<(), AdbError> {
    let rule = if name.is_empty() {
        "where a name is empty"
    } else if [b".".as_slice(), b".."].contains(&name) {
        "where a name is `.` or `..`"
    } else if name.contains(&b'/') {
        "where a name has a slash"
    } else if String::from_utf8_lossy(name).contains(char::is_control) {
        "whose name has a control character"
    } else {
        return Ok(());
    };
    Err(AdbError::Path { path: Excerpt::of(&path()), rule })
}

/// Checks who may do what with a file, and returns its mode. Without it, a client lets nobody do
/// anything.
fn check_acl(value: Value<'_>, path: &[u8]) -> Result<u64, AdbError> {
    let entry = value.object()?;
    let mode = entry.get(acl::MODE).int()?.unwrap_or_default();
    if mode > PERMISSIONS {
        return Err(AdbError::Mode { path: Excerpt::of(path), mode });
    }
    for slot in [acl::USER, acl::GROUP] {
        let owner = entry.get(slot).blob()?;
        let is_allowed = |b: &u8| b.is_ascii_alphanumeric() || b"._$-".contains(b);
        if owner.len() > MAX_OWNER || !owner.iter().all(is_allowed) {
            return Err(AdbError::Owner { path: Excerpt::of(path), owner: Excerpt::of(owner) });
        }
    }
    for value in entry.get(acl::XATTRS).array()?.iter() {
        let attribute = value.blob()?;
        let end = attribute.iter().position(|byte| *byte == 0);
        let name = end.and_then(|end| attribute.get(..end)).unwrap_or_default();
        if name.is_empty() || String::from_utf8_lossy(name).contains(char::is_control) {
            let (path, attribute) = (Excerpt::of(path), Excerpt::of(attribute));
            return Err(AdbError::Attribute { path, attribute });
        }
    }
    Ok(mode)
}

/// Checks the scripts, which may be of any length and content. Returns whether there is one.
fn check_scripts(scripts: Table<'_>) -> Result<bool, AdbError> {
    let mut has_scripts = false;
    for script in scripts.iter().take(super::schema::MAX_SCRIPTS) {
        has_scripts |= !script.blob()?.is_empty();
    }
    Ok(has_scripts)
}

fn check_triggers(triggers: Table<'_>) -> Result<(), AdbError> {
    let mut length = 0;
    for trigger in triggers.iter() {
        let trigger = trigger.text()?;
        length += trigger.len() + 1;
        if length > MAX_TRIGGERS {
            return Err(AdbError::Triggers);
        }
        trigger.parse::<FieldText>().map_err(AdbError::Trigger)?;
    }
    Ok(())
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

//! v3 packages built from parts, so that a test can make one of them wrong.

use std::{collections::BTreeMap, io::Write as _};

use flate2::{Compression, write::DeflateEncoder};
use sha2::{Digest as _, Sha256};

/// The slots of a package's information (apk-v3(5)).
pub mod slot {
    #![expect(missing_docs, reason = "their names say what they are")]

    pub const NAME: usize = 1;
    pub const VERSION: usize = 2;
    pub const HASHES: usize = 3;
    pub const DESCRIPTION: usize = 4;
    pub const ARCHITECTURE: usize = 5;
    pub const LICENSE: usize = 6;
    pub const ORIGIN: usize = 7;
    pub const COMMIT: usize = 10;
    pub const BUILD_TIME: usize = 11;
    pub const INSTALLED_SIZE: usize = 12;
    pub const PRIORITY: usize = 14;
    pub const DEPENDS: usize = 15;
    pub const PROVIDES: usize = 16;
    pub const REPLACES: usize = 17;
    pub const INSTALL_IF: usize = 18;
    pub const RECOMMENDS: usize = 19;
    pub const LAYER: usize = 20;
    pub const TAGS: usize = 21;
}

/// A value of a payload.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Node {
    /// NULL.
    Absent,
    /// A number.
    Int(u64),
    /// Bytes or a text.
    Blob(Vec<u8>),
    /// An array of values.
    Array(Vec<Node>),
    /// An array that holds one value so many times. The value is stored once.
    Repeated(Box<Node>, usize),
    /// An object, with its slots.
    Object(Vec<Node>),
    /// Any value, which a test makes wrong.
    Word(u32),
}

/// Returns a text.
pub fn text(text: impl AsRef<[u8]>) -> Node {
    Node::Blob(text.as_ref().to_vec())
}

/// Returns a dependency; a `comparison` of 0 is absent.
pub fn dependency(name: &str, version: &str, comparison: u64) -> Node {
    let comparison = if comparison == 0 { Node::Absent } else { Node::Int(comparison) };
    let version = if version.is_empty() { Node::Absent } else { text(version) };
    Node::Object(vec![text(name), version, comparison])
}

/// Returns permissions: a mode, and the owner `root`.
pub fn acl(mode: u64) -> Node {
    Node::Object(vec![Node::Int(mode), text("root"), text("root")])
}

/// Returns a regular file.
pub fn file(name: impl AsRef<[u8]>, content: &[u8]) -> Node {
    let size = Node::Int(content.len() as u64);
    let hash = text(Sha256::digest(content));
    Node::Object(vec![text(name), acl(0o644), size, Node::Int(1_700_000_000), hash])
}

/// Returns a file of another type, as its mode has it, that refers to `target`.
pub fn link(name: impl AsRef<[u8]>, kind: u16, target: impl AsRef<[u8]>) -> Node {
    let target = text([&kind.to_le_bytes(), target.as_ref()].concat());
    Node::Object(vec![text(name), acl(0o777), Node::Absent, Node::Absent, Node::Absent, target])
}

/// Returns a directory; the root has the path `""`.
pub fn directory(path: impl AsRef<[u8]>, files: Vec<Node>) -> Node {
    let name = if path.as_ref().is_empty() { Node::Absent } else { text(path) };
    Node::Object(vec![name, acl(0o755), Node::Array(files)])
}

/// The parts of a v3 package, which is valid as made by [`AdbParts::new`].
#[derive(Clone, Debug)]
pub struct AdbParts {
    info: BTreeMap<usize, Node>,
    paths: Node,
    scripts: Node,
    triggers: Node,
    signatures: Vec<Vec<u8>>,
    data: Vec<(u32, u32, Vec<u8>)>,
}

impl Default for AdbParts {
    fn default() -> Self {
        Self::new()
    }
}

impl AdbParts {
    /// Returns the parts of a valid package, `hello-1.2.3-r0` for `x86_64`, with two files.
    pub fn new() -> Self {
        let info = [
            (slot::NAME, text("hello")),
            (slot::VERSION, text("1.2.3-r0")),
            (slot::DESCRIPTION, text("Greets")),
            (slot::ARCHITECTURE, text("x86_64")),
            (slot::LICENSE, text("MIT")),
            (slot::INSTALLED_SIZE, Node::Int(4096)),
        ];
        let files = vec![file("empty", b""), file("hello", b"hello\n"), file("world", b"world")];
        Self {
            info: info.into(),
            paths: Node::Array(vec![directory("", vec![]), directory("usr", files)]),
            scripts: Node::Absent,
            triggers: Node::Absent,
            signatures: vec![[&[0, 4][..], &[7; 16], &[9; 70]].concat()],
            data: vec![(2, 2, b"hello\n".to_vec()), (2, 3, b"world".to_vec())],
        }
    }

    /// Replaces a value of the information.
    #[must_use]
    pub fn info(mut self, slot: usize, value: Node) -> Self {
        self.info.insert(slot, value);
        self
    }

    /// Replaces the directories and their files, none of which has content.
    #[must_use]
    pub fn paths(self, directories: Vec<Node>) -> Self {
        self.paths_as(Node::Array(directories))
    }

    /// Replaces the array of directories, whose files have no content.
    #[must_use]
    pub fn paths_as(mut self, paths: Node) -> Self {
        self.paths = paths;
        self.data(vec![])
    }

    /// Replaces the scripts.
    #[must_use]
    pub fn scripts(mut self, scripts: Node) -> Self {
        self.scripts = scripts;
        self
    }

    /// Replaces the triggers.
    #[must_use]
    pub fn triggers(mut self, triggers: Node) -> Self {
        self.triggers = triggers;
        self
    }

    /// Replaces the payloads of the SIG blocks.
    #[must_use]
    pub fn signatures(mut self, signatures: Vec<Vec<u8>>) -> Self {
        self.signatures = signatures;
        self
    }

    /// Replaces the DATA blocks: for each the numbers of a directory and a file, and content.
    #[must_use]
    pub fn data(mut self, data: Vec<(u32, u32, Vec<u8>)>) -> Self {
        self.data = data;
        self
    }

    /// Returns the root of the payload.
    pub fn root(&self) -> Node {
        let last = self.info.keys().max().copied().unwrap_or_default();
        let value = |slot| self.info.get(&slot).cloned().unwrap_or(Node::Absent);
        let info = Node::Object((1..=last).map(value).collect());
        Node::Object(vec![info, self.paths.clone(), self.scripts.clone(), self.triggers.clone()])
    }

    /// Returns the ADB payload.
    pub fn payload(&self) -> Vec<u8> {
        payload(&self.root())
    }

    /// Returns the blocks.
    pub fn blocks(&self) -> Vec<Vec<u8>> {
        let mut blocks = vec![block(0, &self.payload())];
        blocks.extend(self.signatures.iter().map(|signature| block(1, signature)));
        blocks.extend(self.data.iter().map(|(directory, file, content)| {
            block(2, &[&directory.to_le_bytes(), &file.to_le_bytes(), &**content].concat())
        }));
        blocks
    }

    /// Returns the package, without compression.
    pub fn plain(&self) -> Vec<u8> {
        stream(b"pckg", &self.blocks())
    }

    /// Returns the package, deflated.
    pub fn build(&self) -> Vec<u8> {
        [b"ADBd", &*deflate(&self.plain())].concat()
    }
}

/// Returns an ADB payload with this root. Nothing in it is shared.
pub fn payload(root: &Node) -> Vec<u8> {
    let mut bytes = vec![0; 8];
    let root = store(&mut bytes, root);
    bytes[4..8].copy_from_slice(&root.to_le_bytes());
    bytes
}

/// Stores a value, and returns the word that refers to it.
fn store(bytes: &mut Vec<u8>, node: &Node) -> u32 {
    let (kind, run) = match node {
        Node::Absent => return 0,
        Node::Word(word) => return *word,
        Node::Int(number) => match u32::try_from(*number) {
            Ok(small) if small >> 28 == 0 => return 1 << 28 | small,
            Ok(number) => (2, number.to_le_bytes().to_vec()),
            Err(_) => (3, number.to_le_bytes().to_vec()),
        },
        Node::Blob(blob) => match (u8::try_from(blob.len()), u16::try_from(blob.len())) {
            (Ok(length), _) => (8, [&[length][..], blob].concat()),
            (_, Ok(length)) => (9, [&length.to_le_bytes()[..], blob].concat()),
            _ => (10, [&u32::try_from(blob.len()).unwrap().to_le_bytes()[..], blob].concat()),
        },
        Node::Array(_) | Node::Object(_) | Node::Repeated(..) => {
            let words: Vec<_> = match node {
                Node::Repeated(node, times) => vec![store(bytes, node); *times],
                Node::Array(nodes) | Node::Object(nodes) => {
                    nodes.iter().map(|node| store(bytes, node)).collect()
                }
                _ => Vec::new(),
            };
            let stored = words.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
            if stored == 0 {
                return 0;
            }
            let count = u32::try_from(stored + 1).unwrap();
            let words = [count].into_iter().chain(words.into_iter().take(stored));
            let kind = if matches!(node, Node::Object(_)) { 14 } else { 13 };
            (kind, words.flat_map(u32::to_le_bytes).collect())
        }
    };
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let offset = u32::try_from(bytes.len()).unwrap();
    bytes.extend(run);
    kind << 28 | offset
}

/// Returns a block with its padding.
pub fn block(kind: u32, payload: &[u8]) -> Vec<u8> {
    let header = kind << 30 | u32::try_from(4 + payload.len()).unwrap();
    let mut block = [&header.to_le_bytes(), payload].concat();
    block.resize(block.len().next_multiple_of(8), 0);
    block
}

/// Returns a stream of blocks.
pub fn stream(schema: &[u8; 4], blocks: &[Vec<u8>]) -> Vec<u8> {
    [b"ADB.", &schema[..], &blocks.concat()].concat()
}

/// Compresses bytes to a raw deflate stream.
pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

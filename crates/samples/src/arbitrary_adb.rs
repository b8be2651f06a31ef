//! v3 packages and indexes of arbitrary content in correct wrapping: a fuzzer alone rarely gets
//! past lengths, offsets and the hashes of files.

use arbitrary::{Arbitrary, Unstructured};

use crate::adb_package::{
    AdbParts, Node, acl, block, deflate, dependency, directory, file, link, payload, slot, stream,
    text,
};

/// The parts of a v3 package. All zeros make a valid one without files.
#[derive(Arbitrary, Debug)]
pub struct ArbitraryAdbPackage<'a> {
    form: Form,
    info: Info<'a>,
    directories: Vec<Directory<'a>>,
    scripts: Vec<Value<'a>>,
    triggers: Vec<Value<'a>>,
    signatures: Vec<u16>,
    data: Vec<(u8, Block)>,
    patches: Vec<Patch>,
}

/// The parts of a v3 index. All zeros make a valid one without packages.
#[derive(Arbitrary, Debug)]
pub struct ArbitraryAdbIndex<'a> {
    form: Form,
    description: &'a str,
    packages: Vec<Info<'a>>,
    signatures: Vec<u16>,
    patches: Vec<Patch>,
}

/// How the stream of blocks is stored.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Form {
    Plain,
    Deflated,
    PlainWithHeader,
    DeflatedWithHeader,
}

/// Slots of a package's information that differ from those of a valid package.
type Info<'a> = Vec<(u8, Value<'a>)>;

#[derive(Arbitrary, Debug)]
enum Value<'a> {
    Absent,
    Text(&'a str),
    Bytes(&'a [u8]),
    Int(u64),
    Dependencies(Vec<(&'a str, &'a str, u8)>),
    Texts(Vec<&'a str>),
    Repeated(&'a str, u8),
    Word(u32),
}

#[derive(Arbitrary, Debug)]
struct Directory<'a> {
    path: &'a [u8],
    acl: Option<Acl<'a>>,
    files: Vec<File<'a>>,
}

#[derive(Arbitrary, Debug)]
struct File<'a> {
    name: &'a [u8],
    acl: Option<Acl<'a>>,
    content: Content<'a>,
}

#[derive(Arbitrary, Debug)]
enum Content<'a> {
    Regular(u8),
    Target(u8, &'a [u8]),
    Slots(Vec<Value<'a>>),
}

#[derive(Arbitrary, Debug)]
struct Acl<'a> {
    mode: u16,
    user: &'a [u8],
    group: &'a [u8],
    attributes: Vec<&'a [u8]>,
}

/// What happens to a DATA block.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Block {
    Removed,
    Twice,
    Renumbered(u8, u8),
    Longer,
}

/// A byte of the stream of blocks that is replaced.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Patch {
    position: u16,
    byte: u8,
}

impl<'a> ArbitraryAdbPackage<'a> {
    /// Makes the parts from a fuzzer's bytes.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        Self::arbitrary_take_rest(Unstructured::new(bytes)).ok()
    }

    /// Returns the package.
    pub fn build(&self) -> Vec<u8> {
        let directories = self.directories.iter().map(Directory::node).collect();
        let parts = self.info.iter().fold(AdbParts::new(), |parts, (slot, value)| {
            parts.info(1 + usize::from(*slot), value.node())
        });
        let parts = parts
            .paths(directories)
            .scripts(Node::Object(self.scripts.iter().map(Value::node).collect()))
            .triggers(Node::Array(self.triggers.iter().map(Value::node).collect()))
            .signatures(signatures(&self.signatures))
            .data(self.data());
        self.form.file(stream(b"pckg", &parts.blocks()), &self.patches)
    }

    fn data(&self) -> Vec<(u32, u32, Vec<u8>)> {
        let mut blocks = Vec::new();
        for (directory, number) in self.directories.iter().zip(1..) {
            for (file, place) in directory.files.iter().zip(1..) {
                if let Content::Regular(length @ 1..) = file.content {
                    blocks.push((number, place, content(length)));
                }
            }
        }
        for (index, change) in &self.data {
            let index = usize::from(*index);
            let Some(block) = blocks.get_mut(index) else { continue };
            match *change {
                Block::Removed => drop(blocks.remove(index)),
                Block::Twice => {
                    let block = block.clone();
                    blocks.push(block);
                }
                Block::Renumbered(directory, file) => {
                    (block.0, block.1) = (directory.into(), file.into());
                }
                Block::Longer => block.2.push(0),
            }
        }
        blocks
    }
}

impl<'a> ArbitraryAdbIndex<'a> {
    /// Makes the parts from a fuzzer's bytes.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        Self::arbitrary_take_rest(Unstructured::new(bytes)).ok()
    }

    /// Returns the index.
    pub fn build(&self) -> Vec<u8> {
        let packages = self.packages.iter().map(|info| {
            let hash = Value::Bytes(&[7; 32]);
            let mut slots = vec![Node::Absent; slot::TAGS];
            let own = [
                (slot::NAME, Value::Text("hello")),
                (slot::VERSION, Value::Text("1.2.3-r0")),
                (slot::HASHES, hash),
                (slot::ARCHITECTURE, Value::Text("x86_64")),
            ];
            let given = info.iter().map(|(slot, value)| (1 + usize::from(*slot), value));
            for (slot, value) in own.iter().map(|(slot, value)| (*slot, value)).chain(given) {
                slots.resize(slots.len().max(slot), Node::Absent);
                slots[slot - 1] = value.node();
            }
            Node::Object(slots)
        });
        let root = Node::Object(vec![text(self.description), Node::Array(packages.collect())]);
        let mut blocks = vec![block(0, &payload(&root))];
        blocks.extend(signatures(&self.signatures).iter().map(|signature| block(1, signature)));
        self.form.file(stream(b"indx", &blocks), &self.patches)
    }
}

impl Form {
    fn file(self, mut stream: Vec<u8>, patches: &[Patch]) -> Vec<u8> {
        for patch in patches {
            if let Some(byte) = stream.get_mut(usize::from(patch.position)) {
                *byte = patch.byte;
            }
        }
        match self {
            Self::Plain => stream,
            Self::Deflated => [b"ADBd", &*deflate(&stream)].concat(),
            Self::PlainWithHeader => [b"ADBc\0\x01", &*stream].concat(),
            Self::DeflatedWithHeader => [b"ADBc\x01\x06", &*deflate(&stream)].concat(),
        }
    }
}

impl Value<'_> {
    fn node(&self) -> Node {
        match self {
            Self::Absent => Node::Absent,
            Self::Text(value) => text(value),
            Self::Bytes(value) => text(value),
            Self::Int(number) => Node::Int(*number),
            Self::Dependencies(list) => Node::Array(
                list.iter()
                    .map(|(name, version, bits)| dependency(name, version, (*bits).into()))
                    .collect(),
            ),
            Self::Texts(texts) => Node::Array(texts.iter().map(text).collect()),
            Self::Repeated(value, times) => {
                Node::Repeated(Box::new(text(value)), usize::from(*times))
            }
            Self::Word(word) => Node::Word(*word),
        }
    }
}

impl Directory<'_> {
    fn node(&self) -> Node {
        let mut node = directory(self.path, self.files.iter().map(File::node).collect());
        set_acl(&mut node, self.acl.as_ref());
        node
    }
}

impl File<'_> {
    fn node(&self) -> Node {
        const TYPES: [u16; 8] =
            [0o120_000, 0o100_000, 0o060_000, 0o020_000, 0o010_000, 0o140_000, 0o040_000, 0];
        let mut node = match &self.content {
            Content::Regular(length) => file(self.name, &content(*length)),
            Content::Target(kind, target) => {
                link(self.name, TYPES[usize::from(*kind) % TYPES.len()], target)
            }
            Content::Slots(slots) => Node::Object(
                [text(self.name), acl(0o644)]
                    .into_iter()
                    .chain(slots.iter().map(Value::node))
                    .collect(),
            ),
        };
        set_acl(&mut node, self.acl.as_ref());
        node
    }
}

/// Replaces who may do what with a file or a directory.
fn set_acl(node: &mut Node, given: Option<&Acl<'_>>) {
    if let (Node::Object(slots), Some(Acl { mode, user, group, attributes })) = (node, given) {
        let attributes = Node::Array(attributes.iter().map(text).collect());
        slots[1] =
            Node::Object(vec![Node::Int((*mode).into()), text(user), text(group), attributes]);
    }
}

/// Returns the content of a file: a length says all of it.
fn content(length: u8) -> Vec<u8> {
    vec![length; length.into()]
}

/// Returns the payloads of SIG blocks of these lengths, modulo one more than they may have.
fn signatures(lengths: &[u16]) -> Vec<Vec<u8>> {
    let payload = |length: &u16| {
        let mut payload = vec![0, 4];
        payload.resize(usize::from(length % 2050), 9);
        payload
    };
    lengths.iter().map(payload).collect()
}

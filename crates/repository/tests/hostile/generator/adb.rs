//! The same of format v3: each is a correct package, except for one thing.
//!
//! `apk` 3.0.8 ends by itself on each of them, whatever it makes of it. What it does not is left to
//! the tests of `crates/apk`, which keep no files.

use alpinist_samples::{
    adb_package::{
        AdbParts, Node, acl, block, deflate, dependency, directory, file, link, payload, slot,
        stream, text,
    },
    gzip::gzip,
    package::Parts,
};
use sha2::{Digest as _, Sha256};

/// A name, and what makes the file from a package with that name.
type Case = (&'static str, fn(AdbParts) -> Vec<u8>);

/// Returns all files, by the names under which they would be uploaded.
pub(super) fn files() -> impl Iterator<Item = (String, Vec<u8>)> {
    [FORMS, CUTS, BLOCKS, VALUES, BOMBS, DATA, PATHS, CONTENTS, INFOS, TEXTS]
        .into_iter()
        .flatten()
        .map(|(name, make)| (format!("{name}-1.2.3-r0.apk"), make(named(name))))
}

/// Returns a package with that name.
fn named(name: &str) -> AdbParts {
    AdbParts::new().info(slot::NAME, text(name))
}

const FORMS: &[Case] = &[
    ("v3-as-index", |parts| stream(b"indx", &parts.blocks()[..2])),
    ("v3-as-database", |parts| stream(b"idb\0", &parts.blocks())),
    ("v3-of-unknown-schema", |parts| stream(b"\x1b[2J", &parts.blocks())),
    ("v3-in-zstd", |parts| [b"ADBc\x02\x03", &*parts.plain()].concat()),
    ("v3-in-unknown-compression", |parts| [b"ADBc\xff\x09", &*parts.plain()].concat()),
    ("v3-with-unknown-magic", |parts| [b"ADBe", &*deflate(&parts.plain())].concat()),
    ("v3-in-gzip", |parts| gzip(parts.plain())),
    ("v3-in-zlib", |parts| [b"ADBd\x78\x9c", &*deflate(&parts.plain())].concat()),
    ("v3-deflated-twice", |parts| [b"ADBd", &*deflate(&parts.build())].concat()),
    ("v3-deflated-behind-a-header-of-none", |parts| [b"ADBc\0\x01", &*parts.build()].concat()),
    ("v3-with-damaged-deflate", |parts| {
        let mut file = parts.build();
        file[4] |= 7;
        file
    }),
    ("v3-with-a-byte-behind-the-deflate-stream", |parts| [parts.build(), vec![0]].concat()),
    ("v3-with-a-byte-behind-the-last-block", |parts| [parts.plain(), vec![0]].concat()),
    ("v3-with-zeros-behind-the-last-block", |parts| [parts.plain(), vec![0; 8]].concat()),
    ("v3-twice", |parts| parts.plain().repeat(2)),
    ("v3-twice-deflated", |parts| parts.build().repeat(2)),
    ("v3-with-v2-behind-it", |parts| [parts.plain(), Parts::new().build()].concat()),
    ("v3-behind-v2", |parts| [Parts::new().build(), parts.plain()].concat()),
];

/// One cut for each boundary of the structure, and one within each part.
const CUTS: &[Case] = &[
    ("v3-cut-in-the-magic", |parts| cut(&parts, 3)),
    ("v3-cut-after-the-magic", |parts| cut(&parts, 4)),
    ("v3-cut-in-the-schema", |parts| cut(&parts, 6)),
    ("v3-cut-after-the-schema", |parts| cut(&parts, 8)),
    ("v3-cut-in-the-header-of-a-block", |parts| cut(&parts, 10)),
    ("v3-cut-in-the-metadata", |parts| cut(&parts, 100)),
    ("v3-cut-after-the-metadata", |parts| parts.signatures(vec![]).data(vec![]).plain()),
    ("v3-cut-in-the-signature", |parts| {
        let length = 8 + parts.blocks()[0].len() + 20;
        cut(&parts, length)
    }),
    ("v3-cut-after-the-signature", |parts| parts.data(vec![]).plain()),
    ("v3-cut-in-the-data", |parts| cut_from_end(parts.plain(), 10)),
    ("v3-cut-in-the-padding", |parts| cut_from_end(parts.plain(), 1)),
    ("v3-cut-in-the-deflate-stream", |parts| cut_from_end(parts.build(), 40)),
    ("v3-cut-before-the-last-byte-of-deflate", |parts| cut_from_end(parts.build(), 1)),
];

fn cut(parts: &AdbParts, length: usize) -> Vec<u8> {
    parts.plain()[..length].to_vec()
}

fn cut_from_end(mut file: Vec<u8>, length: usize) -> Vec<u8> {
    file.truncate(file.len() - length);
    file
}

/// The blocks of each package: metadata, a signature, two of data.
const BLOCKS: &[Case] = &[
    ("v3-without-metadata", |parts| stream(b"pckg", &parts.blocks()[1..])),
    ("v3-with-metadata-twice", |parts| {
        with_blocks(&parts, |blocks| blocks.insert(1, blocks[0].clone()))
    }),
    ("v3-with-metadata-of-15-bytes", |parts| {
        with_blocks(&parts, |blocks| blocks[0] = block(0, &[0; 15]))
    }),
    ("v3-with-metadata-of-a-gibibyte", |parts| with_length(&parts, 0, 0x3fff_ffff)),
    ("v3-with-metadata-of-16-exbibytes", |parts| with_long_header(&parts, [0; 4], u64::MAX)),
    ("v3-with-metadata-shorter-than-its-header", |parts| with_length(&parts, 0, 3)),
    ("v3-with-a-long-header-that-is-too-long", |parts| with_long_header(&parts, [0; 4], 15)),
    ("v3-with-a-long-header-not-zero", |parts| with_long_header(&parts, [1, 0, 0, 0], 100)),
    ("v3-with-a-length-that-is-too-short", |parts| {
        let length = parts.payload().len() - 8;
        with_length(&parts, 0, 4 + u32::try_from(length).unwrap())
    }),
    ("v3-with-a-length-that-is-too-long", |parts| {
        let length = parts.payload().len() + 8;
        with_length(&parts, 0, 4 + u32::try_from(length).unwrap())
    }),
    ("v3-with-an-unknown-block", |parts| {
        let unknown = [3, 0, 0, 0xc0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0];
        with_blocks(&parts, |blocks| blocks.insert(1, unknown.to_vec()))
    }),
    ("v3-with-its-metadata-at-its-end", |parts| {
        with_blocks(&parts, |blocks| blocks.rotate_left(1))
    }),
    ("v3-with-a-signature-behind-its-data", |parts| {
        with_blocks(&parts, |blocks| blocks[1..].rotate_left(1))
    }),
    ("v3-with-17-signatures", |parts| parts.signatures(vec![vec![0; 40]; 17]).plain()),
    ("v3-with-signatures-by-the-thousand", |parts| {
        parts.signatures(vec![vec![0; 40]; 100_000]).build()
    }),
    ("v3-with-a-signature-of-17-bytes", |parts| parts.signatures(vec![vec![0; 17]]).plain()),
    ("v3-with-an-empty-signature", |parts| parts.signatures(vec![vec![]]).plain()),
    ("v3-with-a-signature-of-a-mebibyte", |parts| parts.signatures(vec![vec![0; 1 << 20]]).build()),
    ("v3-with-padding-not-zero", |parts| {
        with_blocks(&parts, |blocks| *blocks[1].last_mut().unwrap() = 1)
    }),
];

fn with_blocks(parts: &AdbParts, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Vec<u8> {
    let mut blocks = parts.blocks();
    change(&mut blocks);
    stream(b"pckg", &blocks)
}

/// Changes the length in the header of a block.
fn with_length(parts: &AdbParts, block: usize, length: u32) -> Vec<u8> {
    with_blocks(parts, |blocks| {
        let header = u32::from_le_bytes(blocks[block][..4].try_into().unwrap());
        let header = header & 0xc000_0000 | length;
        blocks[block][..4].copy_from_slice(&header.to_le_bytes());
    })
}

/// Gives the metadata a header of 16 bytes.
fn with_long_header(parts: &AdbParts, reserved: [u8; 4], length: u64) -> Vec<u8> {
    let payload = parts.payload();
    with_blocks(parts, |blocks| {
        let header = [&[0, 0, 0, 0xc0], &reserved[..], &length.to_le_bytes()].concat();
        blocks[0] = [header, payload].concat();
    })
}

const VALUES: &[Case] = &[
    ("v3-of-another-version", |parts| with_payload(&parts, |payload| payload[0] = 1)),
    ("v3-with-a-root-of-nothing", |parts| with_payload(&parts, |payload| payload[4..8].fill(0))),
    ("v3-with-a-number-as-root", |parts| with_root(&parts, 0x1000_0008)),
    ("v3-with-a-root-outside", |parts| with_root(&parts, 0xefff_fffc)),
    ("v3-with-a-root-in-the-header", |parts| with_root(&parts, 0xe000_0004)),
    ("v3-with-a-root-not-aligned", |parts| with_payload(&parts, |payload| payload[4] += 1)),
    ("v3-with-a-table-within-itself", |parts| {
        with_payload(&parts.triggers(Node::Int(1)), |payload| {
            let root = payload[4..8].to_vec();
            // The triggers are the last slot of the root, which comes last.
            let last = payload.len() - 4;
            payload[last..].copy_from_slice(&root);
        })
    }),
    ("v3-with-a-count-of-nothing", |parts| {
        let parts = parts.info(slot::HASHES, text([0; 20]));
        let zeros = parts.payload().windows(20).position(|bytes| bytes == [0; 20]).unwrap();
        let table = u32::try_from(zeros.next_multiple_of(4)).unwrap();
        parts.triggers(Node::Word(0xe000_0000 | table)).plain()
    }),
    ("v3-with-a-count-of-a-billion", |parts| parts.triggers(Node::Word(0xe000_0008)).plain()),
    ("v3-with-a-text-behind-its-table", |parts| {
        let scripts = Node::Object(vec![text("x".repeat(2000))]);
        parts.info(slot::DESCRIPTION, Node::Word(0x8000_0400)).scripts(scripts).plain()
    }),
    ("v3-with-a-text-outside", |parts| {
        parts.info(slot::DESCRIPTION, Node::Word(0x8fff_ffff)).plain()
    }),
    ("v3-with-a-text-in-the-header", |parts| {
        parts.info(slot::DESCRIPTION, Node::Word(0x8000_0001)).plain()
    }),
    ("v3-with-a-number-not-aligned", |parts| {
        parts.info(slot::INSTALLED_SIZE, Node::Word(0x3000_000a)).plain()
    }),
    ("v3-with-an-error-as-its-name", |parts| {
        parts.info(slot::NAME, Node::Word(0xf000_0008)).plain()
    }),
    ("v3-with-a-number-as-its-version", |parts| parts.info(slot::VERSION, Node::Int(1)).plain()),
    ("v3-with-a-text-as-its-dependencies", |parts| parts.info(slot::DEPENDS, text("a b")).plain()),
    ("v3-with-a-text-as-its-size", |parts| parts.info(slot::INSTALLED_SIZE, text("4096")).plain()),
    ("v3-with-a-type-that-is-none", |parts| {
        parts.info(slot::DEPENDS, Node::Word(0x7000_0008)).plain()
    }),
    ("v3-with-a-number-as-its-files", |parts| parts.paths_as(Node::Int(1)).plain()),
    ("v3-with-a-number-as-a-script", |parts| {
        parts.scripts(Node::Object(vec![Node::Int(1)])).plain()
    }),
];

fn with_payload(parts: &AdbParts, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut payload = parts.payload();
    change(&mut payload);
    stream(b"pckg", &[block(0, &payload)])
}

fn with_root(parts: &AdbParts, root: u32) -> Vec<u8> {
    with_payload(parts, |payload| payload[4..8].copy_from_slice(&root.to_le_bytes()))
}

const MIB: usize = 1024 * 1024;

const BOMBS: &[Case] = &[
    ("v3-bomb-in-the-metadata", |_| deflated(&[block(0, &vec![0; 64 * MIB])])),
    ("v3-bomb-in-the-metadata-beyond-its-limit", |_| deflated(&[block(0, &vec![0; 128 * MIB])])),
    ("v3-bomb-in-the-data", |parts| parts.data(vec![(2, 2, vec![0; 128 * MIB])]).build()),
    ("v3-bomb-behind-the-data", |parts| {
        let plain = [parts.plain(), vec![0; 128 * MIB]].concat();
        [b"ADBd", &*deflate(&plain)].concat()
    }),
    ("v3-values-shared-by-the-million", |parts| {
        let attributes = Node::Repeated(Box::new(text("user.k\0v")), 100_000);
        let acl = Node::Object(vec![Node::Int(0o755), Node::Absent, Node::Absent, attributes]);
        let directory = Node::Object(vec![Node::Absent, acl]);
        parts.paths_as(Node::Repeated(Box::new(directory), 200)).build()
    }),
    ("v3-text-shared-by-the-million", |parts| {
        let attribute = text(["user.k\0".as_bytes(), &vec![b'v'; MIB]].concat());
        let attributes = Node::Repeated(Box::new(attribute), 2000);
        let acl = Node::Object(vec![Node::Int(0o755), Node::Absent, Node::Absent, attributes]);
        parts.paths(vec![Node::Object(vec![Node::Absent, acl])]).build()
    }),
    ("v3-dependencies-by-the-million", |parts| {
        let depends = Node::Repeated(Box::new(dependency("a", "", 0)), 1_000_000);
        parts.info(slot::DEPENDS, depends).build()
    }),
    ("v3-tags-by-the-million", |parts| {
        parts.info(slot::TAGS, Node::Repeated(Box::new(text("a:b")), 1_000_000)).build()
    }),
    ("v3-triggers-by-the-million", |parts| {
        parts.triggers(Node::Repeated(Box::new(text("/a")), 1_000_000)).build()
    }),
    ("v3-directories-by-the-million", |parts| {
        parts.paths_as(Node::Repeated(Box::new(directory("usr", vec![])), 1_000_001)).build()
    }),
    ("v3-files-of-16-exbibytes", |parts| {
        let large = |name| {
            let size = Node::Int(u64::MAX);
            Node::Object(vec![text(name), acl(0o644), size, Node::Absent, text([7; 32])])
        };
        parts.paths(vec![directory("usr", vec![large("a"), large("b")])]).plain()
    }),
];

fn deflated(blocks: &[Vec<u8>]) -> Vec<u8> {
    [b"ADBd", &*deflate(&stream(b"pckg", blocks))].concat()
}

/// The package has two files with content, the second and the third of its second directory.
const DATA: &[Case] = &[
    ("v3-without-the-last-content", |parts| with_data(parts, &[(2, 2, "hello\n")])),
    ("v3-with-content-of-nobody", |parts| {
        with_data(parts, &[(2, 2, "hello\n"), (2, 3, "world"), (2, 4, "!")])
    }),
    ("v3-with-content-twice", |parts| {
        with_data(parts, &[(2, 2, "hello\n"), (2, 2, "hello\n"), (2, 3, "world")])
    }),
    ("v3-with-contents-swapped", |parts| with_data(parts, &[(2, 3, "world"), (2, 2, "hello\n")])),
    ("v3-with-contents-of-each-other", |parts| {
        with_data(parts, &[(2, 2, "world\n"), (2, 3, "hello")])
    }),
    ("v3-with-content-of-an-empty-file", |parts| {
        with_data(parts, &[(2, 1, ""), (2, 2, "hello\n"), (2, 3, "world")])
    }),
    ("v3-with-content-of-another-directory", |parts| {
        with_data(parts, &[(1, 2, "hello\n"), (2, 3, "world")])
    }),
    ("v3-with-content-of-directory-4294967295", |parts| {
        with_data(parts, &[(u32::MAX, u32::MAX, "hello\n"), (2, 3, "world")])
    }),
    ("v3-with-content-that-is-too-short", |parts| {
        with_data(parts, &[(2, 2, "hello"), (2, 3, "world")])
    }),
    ("v3-with-content-that-is-too-long", |parts| {
        with_data(parts, &[(2, 2, "hello\n\n"), (2, 3, "world")])
    }),
    ("v3-with-empty-content", |parts| with_data(parts, &[(2, 2, ""), (2, 3, "world")])),
    ("v3-with-other-content", |parts| with_data(parts, &[(2, 2, "hello!"), (2, 3, "world")])),
    ("v3-with-content-without-its-file", |parts| {
        with_blocks(&parts, |blocks| blocks[2] = block(2, &[2, 0, 0, 0, 2, 0, 0]))
    }),
];

fn with_data(parts: AdbParts, data: &[(u32, u32, &str)]) -> Vec<u8> {
    let data = data.iter().map(|(directory, file, text)| (*directory, *file, (*text).into()));
    parts.data(data.collect()).plain()
}

const PATHS: &[Case] = &[
    ("v3-climbing-directory", |parts| in_directory(parts, "../etc")),
    ("v3-climbing-directory-further-down", |parts| in_directory(parts, "usr/../../etc")),
    ("v3-climbing-file", |parts| with_file(parts, file("..", b""))),
    ("v3-climbing-file-with-a-slash", |parts| with_file(parts, file("../../etc/passwd", b""))),
    ("v3-climbing-hard-link", |parts| with_file(parts, link("a", HARD_LINK, "../../etc/passwd"))),
    ("v3-absolute-directory", |parts| in_directory(parts, "/etc")),
    ("v3-absolute-file", |parts| with_file(parts, file("/etc/passwd", b""))),
    ("v3-directory-with-a-slash-at-its-end", |parts| in_directory(parts, "usr/")),
    ("v3-directory-with-two-slashes", |parts| in_directory(parts, "usr//bin")),
    ("v3-directory-with-a-dot", |parts| in_directory(parts, "usr/./bin")),
    ("v3-directory-with-a-line-break", |parts| in_directory(parts, "usr\nP:evil")),
    ("v3-directory-of-5000-bytes", |parts| in_directory(parts, &"x/".repeat(2500)[..4999])),
    ("v3-file-without-a-name", |parts| with_file(parts, file("", b""))),
    ("v3-file-called-dot", |parts| with_file(parts, file(".", b""))),
    ("v3-file-with-a-nul", |parts| with_file(parts, file("passwd\0.txt", b""))),
    ("v3-file-with-an-escape-sequence", |parts| with_file(parts, file("\u{1b}[2J", b""))),
    ("v3-file-of-256-bytes", |parts| with_file(parts, file("x".repeat(256), b""))),
    ("v3-file-twice", |parts| with_files(parts, vec![file("a", b""), file("a", b"")])),
    ("v3-file-twice-in-two-tables", |parts| {
        let usr = || directory("usr", vec![file("a", b"")]);
        parts.paths(vec![usr(), usr()]).plain()
    }),
    ("v3-file-as-a-directory", |parts| {
        let usr = directory("usr", vec![file("a", b"")]);
        parts.paths(vec![usr, directory("usr/a", vec![])]).plain()
    }),
    ("v3-file-below-a-symbolic-link", |parts| {
        let usr = directory("usr", vec![link("a", SYMBOLIC_LINK, "/etc")]);
        parts.paths(vec![usr, directory("usr/a/b", vec![file("passwd", b"")])]).plain()
    }),
];

const HARD_LINK: u16 = 0o100_000;
const SYMBOLIC_LINK: u16 = 0o120_000;
const BLOCK_DEVICE: u16 = 0o060_000;
const SOCKET: u16 = 0o140_000;
const DIRECTORY: u16 = 0o040_000;

fn in_directory(parts: AdbParts, path: &str) -> Vec<u8> {
    parts.paths(vec![directory(path, vec![file("a", b"")])]).plain()
}

fn with_file(parts: AdbParts, file: Node) -> Vec<u8> {
    with_files(parts, vec![file])
}

fn with_files(parts: AdbParts, files: Vec<Node>) -> Vec<u8> {
    parts.paths(vec![directory("usr", files)]).plain()
}

const CONTENTS: &[Case] = &[
    ("v3-hard-link-to-nothing", |parts| with_file(parts, link("a", HARD_LINK, "usr/b"))),
    ("v3-hard-link-to-itself", |parts| with_file(parts, link("a", HARD_LINK, "usr/a"))),
    ("v3-symbolic-link-to-nothing", |parts| with_file(parts, link("a", SYMBOLIC_LINK, ""))),
    ("v3-symbolic-link-of-64-kib", |parts| {
        let link = link("a", SYMBOLIC_LINK, "x".repeat(65_536));
        parts.paths(vec![directory("usr", vec![link])]).build()
    }),
    ("v3-symbolic-link-with-a-nul", |parts| with_file(parts, link("a", SYMBOLIC_LINK, "a\0b"))),
    ("v3-socket", |parts| with_file(parts, link("a", SOCKET, [0; 8]))),
    ("v3-directory-as-a-target", |parts| with_file(parts, link("a", DIRECTORY, "usr"))),
    ("v3-device-without-a-number", |parts| with_file(parts, link("a", BLOCK_DEVICE, [1; 7]))),
    ("v3-target-of-one-byte", |parts| {
        let slots = [text("a"), acl(0o644), Node::Absent, Node::Absent, Node::Absent, text("x")];
        with_file(parts, Node::Object(slots.into()))
    }),
    ("v3-file-without-a-hash", |parts| with_file(parts, with_hash(Node::Absent))),
    ("v3-file-with-a-sha-1", |parts| with_file(parts, with_hash(text([7; 20])))),
    ("v3-file-with-a-sha-512", |parts| with_file(parts, with_hash(text([7; 64])))),
    ("v3-empty-file-with-another-hash", |parts| with_file(parts, with_hash(text([7; 32])))),
    ("v3-mode-of-a-pipe", |parts| with_mode(parts, 0o10_644, Node::Absent)),
    ("v3-mode-of-a-directory", |parts| with_mode(parts, 0o40_755, Node::Absent)),
    ("v3-symbolic-link-that-is-setuid", |parts| with_mode(parts, 0o4777, text(b"\x00\xa0b"))),
    ("v3-owner-with-a-colon", |parts| with_acl(parts, "root:0", vec![])),
    ("v3-owner-with-a-line-break", |parts| with_acl(parts, "root\nP:evil", vec![])),
    ("v3-owner-of-65-bytes", |parts| with_acl(parts, &"a".repeat(65), vec![])),
    ("v3-attribute-without-a-value", |parts| with_acl(parts, "root", vec![text("user.k")])),
    ("v3-attribute-without-a-name", |parts| with_acl(parts, "root", vec![text("\0v")])),
    ("v3-attribute-with-a-line-break", |parts| with_acl(parts, "root", vec![text("a\nb\0v")])),
];

/// Returns an empty file with this hash.
fn with_hash(hash: Node) -> Node {
    Node::Object(vec![text("a"), acl(0o644), Node::Int(0), Node::Int(0), hash])
}

/// Makes a package with an empty file of this mode.
fn with_mode(parts: AdbParts, mode: u64, target: Node) -> Vec<u8> {
    let hash = match target {
        Node::Absent => text(Sha256::digest(b"")),
        _ => Node::Absent,
    };
    let slots = [text("a"), acl(mode), Node::Absent, Node::Absent, hash, target];
    with_file(parts, Node::Object(slots.into()))
}

fn with_acl(parts: AdbParts, owner: &str, attributes: Vec<Node>) -> Vec<u8> {
    let acl =
        Node::Object(vec![Node::Int(0o644), text(owner), text("root"), Node::Array(attributes)]);
    parts.paths(vec![Node::Object(vec![text("usr"), acl])]).plain()
}

const INFOS: &[Case] = &[
    ("v3-without-information", |parts| {
        let root = match parts.root() {
            Node::Object(slots) => Node::Object([vec![Node::Absent], slots[1..].to_vec()].concat()),
            _ => Node::Absent,
        };
        stream(b"pckg", &[block(0, &payload(&root))])
    }),
    ("v3-without-a-name", |parts| parts.info(slot::NAME, Node::Absent).plain()),
    ("v3-without-a-version", |parts| parts.info(slot::VERSION, Node::Absent).plain()),
    ("v3-without-an-architecture", |parts| parts.info(slot::ARCHITECTURE, Node::Absent).plain()),
    ("v3-climbing-name", |parts| parts.info(slot::NAME, text("../climbing-name")).plain()),
    ("v3-climbing-version", |parts| parts.info(slot::VERSION, text("1/../2")).plain()),
    ("v3-climbing-architecture", |parts| parts.info(slot::ARCHITECTURE, text("../x")).plain()),
    ("v3-name-of-another", |parts| parts.info(slot::NAME, text("good")).plain()),
    ("v3-version-of-another", |parts| parts.info(slot::VERSION, text("1-r0")).plain()),
    ("v3-version-outside-the-grammar", |parts| {
        parts.info(slot::VERSION, text("1.2.3-beta")).plain()
    }),
    ("v3-for-another-architecture", |parts| {
        parts.info(slot::ARCHITECTURE, text("aarch64")).plain()
    }),
    ("v3-for-all", |parts| parts.info(slot::ARCHITECTURE, text("all")).plain()),
    ("v3-priority-of-17-bits", |parts| parts.info(slot::PRIORITY, Node::Int(65_536)).plain()),
    ("v3-commit-of-65-bytes", |parts| parts.info(slot::COMMIT, text([7; 65])).plain()),
    ("v3-long-description", |parts| {
        parts.info(slot::DESCRIPTION, text("Greets ".repeat(300))).plain()
    }),
    ("v3-description-of-a-mebibyte", |parts| {
        parts.info(slot::DESCRIPTION, text("x".repeat(MIB))).build()
    }),
    ("v3-provides-itself", |parts| {
        let own = dependency("v3-provides-itself", "1", 0);
        parts.info(slot::PROVIDES, Node::Array(vec![own])).plain()
    }),
    ("v3-depends-on-another-version-of-itself", |parts| {
        depends(parts, dependency("v3-depends-on-another-version-of-itself", "9", 4))
    }),
    ("v3-provides-a-conflict", |parts| {
        parts.info(slot::PROVIDES, Node::Array(vec![dependency("a", "", 16)])).plain()
    }),
    ("v3-dependency-without-a-name", |parts| depends(parts, dependency("", "1", 0))),
    ("v3-dependency-with-an-operator-in-its-name", |parts| {
        depends(parts, dependency("a>1", "", 0))
    }),
    ("v3-dependency-compared-in-an-unknown-way", |parts| depends(parts, dependency("a", "1", 7))),
    ("v3-dependency-on-no-version", |parts| depends(parts, dependency("a", "latest", 0))),
    ("v3-dependency-of-251-bytes", |parts| depends(parts, dependency(&"a".repeat(251), "", 0))),
    ("v3-replaces-of-5000-bytes", |parts| {
        let replaces = Node::Repeated(Box::new(dependency("hello", "", 0)), 834);
        parts.info(slot::REPLACES, replaces).plain()
    }),
];

fn depends(parts: AdbParts, dependency: Node) -> Vec<u8> {
    parts.info(slot::DEPENDS, Node::Array(vec![dependency])).plain()
}

const TEXTS: &[Case] = &[
    ("v3-nul-in-a-name", |parts| parts.info(slot::NAME, text("nul\0")).plain()),
    ("v3-line-break-in-a-name", |parts| parts.info(slot::NAME, text("a\nP:evil")).plain()),
    ("v3-line-break-in-a-description", |parts| describe(parts, "Greets\nP:evil")),
    ("v3-escape-sequence", |parts| describe(parts, "\u{1b}[2JGreets")),
    ("v3-escape-sequence-beyond-ascii", |parts| describe(parts, "\u{9b}2JGreets")),
    ("v3-next-line-in-a-description", |parts| describe(parts, "Greets\u{85}P:evil")),
    ("v3-line-separator-in-a-license", |parts| {
        parts.info(slot::LICENSE, text("MIT\u{2028}P:evil")).plain()
    }),
    ("v3-not-utf-8", |parts| parts.info(slot::DESCRIPTION, text(b"Andr\xe9")).plain()),
    ("v3-line-break-in-a-dependency", |parts| depends(parts, dependency("a\nP:evil", "", 0))),
    ("v3-line-break-in-a-version", |parts| depends(parts, dependency("a", "1\nP:evil", 0))),
    ("v3-space-in-a-dependency", |parts| depends(parts, dependency("a b", "", 0))),
    ("v3-line-break-in-a-tag", |parts| {
        parts.info(slot::TAGS, Node::Array(vec![text("a\nP:evil")])).plain()
    }),
    ("v3-line-break-in-a-trigger", |parts| {
        parts.triggers(Node::Array(vec![text("/usr\nP:evil")])).plain()
    }),
];

fn describe(parts: AdbParts, description: &str) -> Vec<u8> {
    parts.info(slot::DESCRIPTION, text(description)).plain()
}

//! The real apk installs the v3 packages that we accept, whoever wrote them, through our index, and
//! we reject what it can't install or, installed, can't read again.

use std::{cell::RefCell, collections::BTreeMap, fs};

use alpinist_apk::{
    adb::{
        container::Schema,
        index::AdbIndex,
        signature::{AdbSignature, PayloadDigest},
    },
    entry::IndexEntry,
    key::SigningKey,
};
use alpinist_samples::adb_package::{
    AdbParts, Node, acl, deflate, dependency, directory, file, link, slot, text,
};
use alpinist_tests::{Apk, ApkClient, ApkOutput, KeyPair, Tools};
use proptest::{collection::vec, prelude::*, sample::select};
use rand_core::OsRng;

use crate::{
    packages::{documented, ours},
    runner,
};

const SYMBOLIC_LINK: u16 = 0o120_000;
const HARD_LINK: u16 = 0o100_000;
const FIFO: u16 = 0o010_000;
const SOCKET: u16 = 0o140_000;

/// What a file of the package is.
#[derive(Clone, Debug)]
enum Kind {
    Regular(&'static str),
    WithHash(Node),
    Target(u16, &'static str),
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    kind: Kind,
    acl: Node,
}

/// What is wrong with the DATA blocks.
#[derive(Clone, Copy, Debug)]
enum Data {
    Right,
    WithoutTheLast,
    Swapped,
    Twice,
    Longer,
    Other,
    OfAnother,
}

/// How the file is stored.
#[derive(Clone, Copy, Debug)]
enum Form {
    Plain,
    Deflated,
    PlainWithHeader,
    DeflatedWithHeader,
    Zstd,
    ZerosBehind,
    ByteBehindDeflate,
    CutDeflate,
}

#[derive(Clone, Debug)]
struct Written {
    info: Vec<(usize, Node)>,
    triggers: Vec<String>,
    script: Node,
    directories: Vec<(String, Vec<Entry>)>,
    signatures: (usize, usize),
    data: Data,
    form: Form,
}

fn entry() -> impl Strategy<Value = Entry> {
    let name = prop_oneof![
        20 => select(vec!["a", "b", "c", "opt", ".hidden", "Andr\u{e9}", "a b"]).prop_map(str::to_owned),
        1 => select(vec![".", "..", "", "a/b", "a\nb", "/a", "a\u{7f}b", "a\u{9b}b"]).prop_map(str::to_owned),
        1 => "x{250,260}",
    ];
    let targets = || select(vec!["usr/a", "usr/b", "a", "/etc/passwd", "../x", "nothing", ""]);
    let hashes = vec![Node::Absent, text([7; 20]), text([7; 32]), text([7; 33]), text([7; 64])];
    let kind = prop_oneof![
        12 => select(vec!["", "hello\n", "a longer content"]).prop_map(Kind::Regular),
        4 => targets().prop_map(|target| Kind::Target(SYMBOLIC_LINK, target)),
        2 => targets().prop_map(|target| Kind::Target(HARD_LINK, target)),
        1 => select(hashes).prop_map(Kind::WithHash),
        1 => select(vec![FIFO, SOCKET, 0]).prop_map(|kind| Kind::Target(kind, "\0\0\0\0\0\0\0\0")),
    ];
    let attributes = vec![text("user.k\0v"), text("user.k"), text("\0v"), text("user.\u{7f}\0v")];
    let acl = prop_oneof![
        12 => Just(acl(0o644)),
        1 => Just(Node::Absent),
        1 => select(vec![0o4755, 0o1777, 0o10_644, 0o40_755]).prop_map(acl),
        1 => select(vec!["root:x", "nobody-here", "a\nb", "$a_b"])
            .prop_map(|user| Node::Object(vec![Node::Int(0o644), text(user), text("root")])),
        1 => select(attributes).prop_map(|attribute| Node::Object(
            vec![Node::Int(0o644), text("root"), text("root"), Node::Array(vec![attribute])]
        )),
    ];
    (name, kind, acl).prop_map(|(name, kind, acl)| Entry { name, kind, acl })
}

fn directories() -> impl Strategy<Value = Vec<(String, Vec<Entry>)>> {
    let path = prop_oneof![
        20 => select(vec!["", "usr", "usr/b", "opt", "usr/b/c"]).prop_map(str::to_owned),
        1 => select(vec!["/usr", "usr/", "usr//b", "usr/../b", "./usr", "..", "a\nb"]).prop_map(str::to_owned),
        1 => "(x{200}/){19}y{235,245}",
    ];
    vec((path, vec(entry(), 0..4)), 0..4)
}

/// What a client can't read from its own database, or only just.
fn info() -> impl Strategy<Value = (usize, Node)> {
    let texts = || select(vec![slot::DESCRIPTION, slot::LICENSE, slot::ORIGIN]);
    let list =
        |name: &'static str, times: usize| Node::Repeated(Box::new(dependency(name, "", 0)), times);
    prop_oneof![
        4 => (texts(), "[ -~]{0,40}").prop_map(|(slot, value)| (slot, text(value))),
        2 => (texts(), "x{1000,2100}").prop_map(|(slot, value)| (slot, text(value))),
        1 => (texts(), select(vec!["a\nP:b", "a\u{7f}b", "a\rb", "\u{1b}[2J"]))
            .prop_map(|(slot, value)| (slot, text(value))),
        1 => "[0-9]{1,3}(\\.[0-9]{1,3})?(_rc[0-9])?(-r[0-9])?|[a-z0-9._-]{1,5}"
            .prop_map(|version| (slot::VERSION, text(version))),
        1 => (300..800_usize).prop_map(move |times| (slot::REPLACES, list("seven_7", times))),
        1 => (10_000..20_000_usize).prop_map(move |times| (slot::PROVIDES, list("seven_7", times))),
        1 => (230..270_usize).prop_map(|length| {
            let name = dependency(&"x".repeat(length), "", 0);
            (slot::PROVIDES, Node::Array(vec![name]))
        }),
        1 => (1..50_000_usize).prop_map(|times| {
            (slot::TAGS, Node::Repeated(Box::new(text("a:b")), times))
        }),
        1 => select(vec!["a b", "a\nb", "", "a:b"])
            .prop_map(|tag| (slot::TAGS, Node::Array(vec![text(tag)]))),
        1 => select(vec![0, 1, 65_535, 65_536]).prop_map(|number| (slot::PRIORITY, Node::Int(number))),
        1 => select(vec![0, 1, u64::MAX]).prop_map(|number| (slot::INSTALLED_SIZE, Node::Int(number))),
        2 => self_conflicts(),
    ]
}

/// Lists by which a package may conflict with itself.
fn self_conflicts() -> impl Strategy<Value = (usize, Node)> {
    let provides = |list: Vec<Node>| (slot::PROVIDES, Node::Array(list));
    let depends = |list: Vec<Node>| (slot::DEPENDS, Node::Array(list));
    select(vec![
        provides(vec![dependency("hello", "1", 0)]),
        provides(vec![dependency("v", "1", 0), dependency("v", "2", 0)]),
        provides(vec![dependency("v", "", 0), dependency("v", "", 0)]),
        provides(vec![dependency("v", "1", 1)]),
        provides(vec![dependency("v", "0unstable", 0)]),
        depends(vec![dependency("hello", "", 0)]),
        depends(vec![dependency("hello", "1.2.3-r0", 1)]),
        depends(vec![dependency("hello", "1", 9)]),
        depends(vec![dependency("hello", "9", 4)]),
        depends(vec![dependency("x", "", 16)]),
        depends(vec![dependency("x", "", 23)]),
        depends(vec![dependency("x", "1", 7)]),
    ])
}

prop_compose! {
    fn written()(
        info in vec(info(), 0..2),
        triggers in prop_oneof![
            12 => Just(vec![]),
            1 => vec("/[a-z*]{1,9}".prop_map(String::from), 1..3),
            1 => (1000..20_000_usize).prop_map(|times| vec!["/seven_7".to_owned(); times]),
            1 => select(vec!["/a\nb", "/a b", "relative", ""]).prop_map(|text| vec![text.to_owned()]),
        ],
        script in prop_oneof![
            4 => Just(Node::Absent),
            1 => Just(text("#!/bin/sh\n")),
            1 => Just(text("x".repeat(300_000))),
        ],
        directories in directories(),
        signatures in prop_oneof![
            9 => Just((1, 100)),
            3 => (select(vec![0_usize, 1, 16, 17]), select(vec![0_usize, 17, 18, 2048, 2049])),
        ],
        data in prop_oneof![
            12 => Just(Data::Right),
            3 => select(vec![
                Data::WithoutTheLast, Data::Swapped, Data::Twice, Data::Longer, Data::Other,
                Data::OfAnother,
            ]),
        ],
        form in prop_oneof![
            20 => select(vec![
                Form::Plain, Form::Deflated, Form::PlainWithHeader, Form::DeflatedWithHeader,
            ]),
            2 => select(vec![
                Form::Zstd, Form::ZerosBehind, Form::ByteBehindDeflate, Form::CutDeflate,
            ]),
        ],
    ) -> Written {
        Written { info, triggers, script, directories, signatures, data, form }
    }
}

impl Written {
    fn bytes(&self) -> Vec<u8> {
        let directories = self
            .directories
            .iter()
            .map(|(path, entries)| directory(path, entries.iter().map(Entry::node).collect()));
        let parts = self
            .info
            .iter()
            .cloned()
            .fold(AdbParts::new(), |parts, (slot, value)| parts.info(slot, value));
        let (signatures, length) = self.signatures;
        let signature = [vec![0, 4], vec![7; length]].concat()[..length].to_vec();
        let parts = parts
            .paths(directories.collect())
            .triggers(Node::Array(self.triggers.iter().map(text).collect()))
            .scripts(Node::Object(vec![Node::Absent, Node::Absent, self.script.clone()]))
            .signatures(vec![signature; signatures])
            .data(self.data.of(&self.directories));
        match self.form {
            Form::Plain => parts.plain(),
            Form::Deflated => parts.build(),
            Form::PlainWithHeader => [b"ADBc\0\x01", &*parts.plain()].concat(),
            Form::DeflatedWithHeader => [b"ADBc\x01\x09", &*deflate(&parts.plain())].concat(),
            Form::Zstd => [b"ADBc\x02\x03", &*parts.plain()].concat(),
            Form::ZerosBehind => [parts.plain(), vec![0; 8]].concat(),
            Form::ByteBehindDeflate => [parts.build(), vec![0]].concat(),
            Form::CutDeflate => {
                let mut file = parts.build();
                file.pop();
                file
            }
        }
    }
}

impl Entry {
    fn node(&self) -> Node {
        let mut node = match &self.kind {
            Kind::Regular(content) => file(&self.name, content.as_bytes()),
            Kind::WithHash(hash) => Node::Object(vec![
                text(&self.name),
                Node::Absent,
                Node::Int(0),
                Node::Int(0),
                hash.clone(),
            ]),
            Kind::Target(kind, target) => link(&self.name, *kind, target),
        };
        if let Node::Object(slots) = &mut node {
            slots[1] = self.acl.clone();
        }
        node
    }
}

impl Data {
    /// Returns the DATA blocks of the files, with what is wrong.
    fn of(self, directories: &[(String, Vec<Entry>)]) -> Vec<(u32, u32, Vec<u8>)> {
        let mut blocks = Vec::new();
        for ((_, entries), directory) in directories.iter().zip(1..) {
            for (entry, file) in entries.iter().zip(1..) {
                match entry.kind {
                    Kind::Regular(content) if !content.is_empty() => {
                        blocks.push((directory, file, content.as_bytes().to_vec()));
                    }
                    _ => {}
                }
            }
        }
        if let Some(mut last) = blocks.pop() {
            match self {
                Self::Right => blocks.push(last),
                Self::WithoutTheLast => {}
                Self::Swapped => blocks.insert(0, last),
                Self::Twice => blocks.extend([last.clone(), last]),
                Self::Longer => {
                    last.2.push(0);
                    blocks.push(last);
                }
                Self::Other => {
                    last.2[0] ^= 1;
                    blocks.push(last);
                }
                Self::OfAnother => {
                    last.1 += 1;
                    blocks.push(last);
                }
            }
        }
        blocks
    }
}

/// Installs packages with the real apk.
struct Installer {
    apk: Apk,
    key: SigningKey,
    key_name: String,
    public_key: String,
}

impl Installer {
    fn new() -> Self {
        let apk = Tools::install().unwrap().apk();
        let pair = KeyPair::generate("installing@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
        let key = SigningKey::from_pem(pair.private()).unwrap();
        let (key_name, public_key) = (pair.name().to_owned(), pair.public().unwrap());
        Self { apk, key, key_name, public_key }
    }

    /// Installs a package into an empty root: through an index that has its entry, if there is one,
    /// and from the file otherwise. Returns what apk prints if it fails, omits something, or can't
    /// read its own database afterwards.
    fn install(
        &self,
        package: &[u8],
        entry: Option<&IndexEntry>,
        written: &Written,
    ) -> Result<(), String> {
        let directory = tempfile::tempdir().unwrap();
        let prefix = directory.path().join("x86_64");
        fs::create_dir(&prefix).unwrap();
        let line = format!("v3 {}", directory.path().display());
        let client = ApkClient::new(self.apk.clone(), &line, "x86_64").unwrap();
        client.trust(&self.key_name, self.public_key.as_bytes()).unwrap();
        let index = self.index(entry);
        fs::write(prefix.join("Packages.adb"), index).unwrap();
        let added = if let Some(entry) = entry {
            fs::write(prefix.join(format!("{}.apk", entry.file_stem())), package).unwrap();
            client.add(&["hello"]).unwrap()
        } else {
            let file = directory.path().join("hello.apk");
            fs::write(&file, package).unwrap();
            let arguments = ["add", "--no-scripts", "--allow-untrusted"].map(AsRef::as_ref);
            client.run(arguments.into_iter().chain([file.as_os_str()])).unwrap()
        };
        written.check(&client, &added)
    }

    /// Returns a signed index of a package, or an empty one.
    fn index(&self, entry: Option<&IndexEntry>) -> Vec<u8> {
        let (index, left_out) = AdbIndex::new("D", entry);
        assert!(left_out.is_empty(), "{left_out:?}");
        let payload = index.payload().unwrap();
        let digest = PayloadDigest::of(&payload);
        let signature = AdbSignature::sign(&self.key, Schema::Index, &digest, &mut OsRng);
        index.seal(&payload, &[signature.unwrap()], [&self.key.verifying_key()]).unwrap()
    }
}

impl Written {
    /// Checks that the package was installed.
    fn check(&self, client: &ApkClient, added: &ApkOutput) -> Result<(), String> {
        if !added.status.success() || added.text.contains("ERROR") {
            return Err(added.text.clone());
        }
        for (directory, entries) in &self.directories {
            for Entry { name, .. } in entries {
                let path = client.root().join(directory).join(name);
                if fs::symlink_metadata(&path).is_err() {
                    return Err(format!("{} is not there: {added}", path.display()));
                }
            }
        }
        let installed = client.installed().unwrap();
        let is_listed = installed.status.success() && installed.text.contains("hello-");
        if is_listed { Ok(()) } else { Err(format!("can't be read again: {installed}")) }
    }
}

#[test]
fn what_is_accepted_of_v3_can_be_installed_and_what_cannot_is_rejected() {
    let installer = Installer::new();
    let documented = documented();
    let seen = RefCell::new(BTreeMap::<String, usize>::new());
    let note = |what: &str| *seen.borrow_mut().entry(what.to_owned()).or_default() += 1;
    let outcome = runner(1000).run(&written(), |written| {
        let package = written.bytes();
        let ours = ours(&package);
        match (&ours, installer.install(&package, ours.as_ref().ok(), &written)) {
            (Ok(_), Ok(())) => note("accepted and installed"),
            (Err(_), Err(_)) => note("rejected by both"),
            (Ok(_), Err(error)) => prop_assert!(false, "accepted: {error}"),
            (Err(error), Ok(())) => {
                let reason = documented.iter().find(|reason| error.contains(*reason));
                prop_assert!(reason.is_some(), "undocumented: {error}");
                note(reason.map_or("", String::as_str));
            }
        }
        Ok(())
    });
    outcome.unwrap();
    let seen = seen.borrow();
    let is_seen = |what: &str| seen.get(what).is_some_and(|count| *count > 200);
    assert!(is_seen("accepted and installed") && is_seen("rejected by both"), "{seen:#?}");
}

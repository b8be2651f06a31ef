//! Packages of format v3 that `apk mkpkg` makes of arbitrary metadata and files: our index entry of
//! each, against that of `apk mkndx`.

use std::{cell::RefCell, collections::BTreeMap, fs, os::unix::fs::symlink, path::Path};

use alpinist_apk::{adb::index::AdbIndex, entry::IndexEntry};
use alpinist_tests::{Apk, Tools};
use proptest::{collection::vec, prelude::*, sample::select};

use crate::{
    packages::{documented, number, ours, text, token, version},
    runner,
};

/// The scripts of a package, as options of `apk mkpkg` name them.
const SCRIPTS: [&str; 4] = ["pre-install", "post-install", "pre-upgrade", "trigger"];

/// What the package installs at one path.
#[derive(Clone, Debug)]
enum File {
    Regular(Vec<u8>),
    Directory,
    SymbolicLink(&'static str),
    HardLink(&'static str),
}

#[derive(Clone, Debug)]
struct Made {
    info: Vec<String>,
    scripts: Vec<&'static str>,
    triggers: Vec<String>,
    files: Vec<(&'static str, File)>,
    compression: &'static str,
    compatibility: &'static str,
}

fn tokens() -> impl Strategy<Value = String> {
    prop_oneof![
        20 => vec(token(), 1..5).prop_map(|tokens| tokens.join(" ")),
        1 => vec(token(), 100..200).prop_map(|tokens| tokens.join(" ")),
        1 => "[a-z]{240,260}",
    ]
}

fn tags() -> impl Strategy<Value = String> {
    prop_oneof![
        9 => vec("[A-Za-z0-9._+,:/=\\[\\]-]{1,9}", 1..4).prop_map(|tags| tags.join(" ")),
        1 => "[ -~]{1,9}",
    ]
}

fn field() -> impl Strategy<Value = String> {
    let texts = select(vec!["description", "license", "origin", "maintainer", "url"]);
    let numbers = select(vec!["build-time", "provider-priority", "layer", "replaces-priority"]);
    let lists = select(vec!["depends", "provides", "replaces", "install-if", "recommends"]);
    // Of a commit that is not one of git, our index has none or its beginning.
    let commit = "[0-9a-f]{40}";
    prop_oneof![
        8 => (texts, text()).prop_map(|(key, value)| format!("{key}:{value}")),
        4 => (numbers, number()).prop_map(|(key, value)| format!("{key}:{value}")),
        8 => (lists, tokens()).prop_map(|(key, value)| format!("{key}:{value}")),
        1 => commit.prop_map(|commit| format!("repo-commit:{commit}")),
        2 => tags().prop_map(|tags| format!("tags:{tags}")),
    ]
}

/// Files at paths none of which is another's directory.
fn file() -> impl Strategy<Value = (&'static str, File)> {
    let paths = vec!["top", ".hidden", "usr/a", "usr/b c", "usr/d/Andr\u{e9}", "usr/d/z", "opt/e"];
    let file = prop_oneof![
        6 => vec(any::<u8>(), 0..300).prop_map(File::Regular),
        1 => Just(File::Directory),
        2 => select(vec!["a", "/etc/passwd", "../../..", "nothing"]).prop_map(File::SymbolicLink),
        1 => select(vec!["top", "usr/a"]).prop_map(File::HardLink),
    ];
    (select(paths), file)
}

prop_compose! {
    fn made()(
        name in prop_oneof![20 => "[a-zA-Z0-9][a-zA-Z0-9+._-]{0,8}", 1 => text()],
        version in version(),
        fields in vec(field(), 0..6),
        scripts in vec(select(SCRIPTS.to_vec()), 0..2),
        triggers in prop_oneof![4 => Just(vec![]), 1 => vec("/[a-z*]{1,9}".prop_map(String::from), 1..3)],
        files in vec(file(), 0..5),
        compression in select(vec!["none", "deflate", "deflate:1", "deflate:9"]),
        compatibility in select(vec!["3.0.0_pre1", "3.0.8"]),
    ) -> Made {
        let own = [format!("name:{name}"), format!("version:{version}"), "arch:x86_64".to_owned()];
        let info = own.into_iter().chain(fields).collect();
        Made { info, scripts, triggers, files, compression, compatibility }
    }
}

impl Made {
    /// Returns the package, unless apk refuses to make it.
    fn make(&self, apk: &Apk) -> Option<Vec<u8>> {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("files")).unwrap();
        for (file, content) in &self.files {
            content.write(&path("files"), file);
        }
        fs::write(path("script"), "#!/bin/sh\n").unwrap();
        let mut make = apk.make_package_command(&path("files"), &path("made"));
        make.args(["--compression", self.compression, "--compat", self.compatibility]);
        make.args(self.info.iter().flat_map(|field| ["--info", field]));
        make.args(self.triggers.iter().flat_map(|trigger| ["--trigger", trigger]));
        for script in &self.scripts {
            make.arg("--script").arg(format!("{script}:{}", path("script").display()));
        }
        let is_made = make.output().unwrap().status.success();
        is_made.then(|| fs::read(path("made")).unwrap())
    }
}

impl File {
    /// Writes it below `root`, unless something is there already.
    fn write(&self, root: &Path, path: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if fs::symlink_metadata(&path).is_ok() {
            return;
        }
        match self {
            Self::Regular(content) => fs::write(path, content).unwrap(),
            Self::Directory => fs::create_dir(path).unwrap(),
            Self::SymbolicLink(target) => symlink(target, path).unwrap(),
            Self::HardLink(target) => {
                let target = root.join(target);
                if fs::symlink_metadata(&target).is_ok_and(|target| target.is_file()) {
                    fs::hard_link(target, path).unwrap();
                }
            }
        }
    }
}

/// What `apk adbdump` prints of the index that `apk mkndx` makes of a package, if it lists it.
fn listed_by_apk(apk: &Apk, package: &[u8]) -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    let (file, index) = (directory.path().join("a.apk"), directory.path().join("index.adb"));
    fs::write(&file, package).unwrap();
    let mut make = apk.make_index_command(&index, &[file]);
    let is_made = make.args(["--description", "D"]).output().unwrap().status.success();
    is_made.then(|| apk.dump(&index).unwrap())
}

/// What `apk adbdump` prints of our index.
fn listed_by_us(apk: &Apk, entry: &IndexEntry) -> String {
    let (index, left_out) = AdbIndex::new("D", [entry]);
    assert!(left_out.is_empty(), "{left_out:?}");
    let sealed = index.seal(&index.payload().unwrap(), &[], []).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, sealed).unwrap();
    apk.dump(file.path()).unwrap()
}

/// Leaves out numbers that are 0, which mean the same as absent ones.
fn without_zeros(dump: &str) -> String {
    dump.lines().filter(|line| !line.ends_with(": 0")).flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn packages_of_v3_are_indexed_as_apk_does_or_rejected_for_a_documented_reason() {
    let apk = Tools::install().unwrap().apk();
    let documented = documented();
    let seen = RefCell::new(BTreeMap::<String, usize>::new());
    let note = |what: &str| *seen.borrow_mut().entry(what.to_owned()).or_default() += 1;
    let outcome = runner(1000).run(&made(), |made| {
        let Some(package) = made.make(&apk) else {
            note("not made by apk");
            return Ok(());
        };
        match (ours(&package), listed_by_apk(&apk, &package)) {
            (Ok(entry), theirs) => {
                note("accepted by both");
                let theirs = theirs.map(|dump| without_zeros(&dump));
                prop_assert_eq!(Some(without_zeros(&listed_by_us(&apk, &entry))), theirs);
            }
            (Err(_), None) => note("rejected by both"),
            (Err(error), Some(_)) => {
                let reason = documented.iter().find(|reason| error.contains(*reason));
                prop_assert!(reason.is_some(), "undocumented: {error}");
                note(reason.map_or("", String::as_str));
            }
        }
        Ok(())
    });
    outcome.unwrap();
    let seen = seen.borrow();
    assert!(seen.get("accepted by both").is_some_and(|count| *count > 300), "{seen:#?}");
    assert!(seen.len() > 8, "{seen:#?}");
}

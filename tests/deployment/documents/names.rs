//! The names in documents: files, and what Cargo builds and runs.

use std::{collections::BTreeSet, process::Command};

use alpinist_tests::{command, workspace};
use serde_json::Value;

use super::{Document, assert_none, files};

/// Subcommands of Cargo that must be installed.
const INSTALLED: [&str; 4] = ["bloat", "cyclonedx", "deny", "lambda"];

/// The options of Cargo that name a target, and the kind of the target.
const TARGETS: [(&str, &str); 3] = [("--test", "test"), ("--bench", "bench"), ("--bin", "bin")];

/// The directories of the workspace.
const DIRECTORIES: [&str; 9] = [
    ".cargo/",
    ".ci/",
    "ci/",
    "crates/",
    "docs/",
    "findings/",
    "lambdas/",
    "statemachine/",
    "tests/",
];

fn cargo(arguments: &[&str]) -> String {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(workspace::root()).args(arguments);
    let output = command::output(&mut cargo).unwrap_or_else(|error| panic!("{}", error.chain()));
    String::from_utf8(output).unwrap()
}

/// Returns the subcommands of Cargo, including the aliases of the workspace.
fn subcommands() -> BTreeSet<String> {
    let listed = cargo(&["--list"]);
    let names = listed.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    names.chain(INSTALLED).map(str::to_owned).collect()
}

/// Returns the targets of the workspace: the kind and the name of each.
fn targets() -> BTreeSet<(String, String)> {
    let arguments = ["metadata", "--no-deps", "--offline", "--locked", "--format-version", "1"];
    let metadata: Value = serde_json::from_str(&cargo(&arguments)).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    let targets = packages.flat_map(|package| package["targets"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    targets.map(|target| (text(&target["kind"][0]), text(&target["name"]))).collect()
}

/// Returns whether a word is a placeholder that the reader replaces.
fn is_placeholder(word: &str) -> bool {
    word.chars().all(|letter| letter.is_uppercase() || letter == '_')
}

/// Returns what is wrong with the names in a Cargo command line.
fn faults_of_cargo(
    line: &str,
    subcommands: &BTreeSet<String>,
    targets: &BTreeSet<(String, String)>,
) -> Vec<String> {
    let words: Vec<_> = line.split_whitespace().collect();
    let Some(begin) = words.iter().position(|word| *word == "cargo") else { return Vec::new() };
    let words = words.get(begin + 1..).unwrap_or_default();
    let mut faults = Vec::new();
    if let Some(name) = words.first().filter(|name| !subcommands.contains(**name)) {
        faults.push(format!("cargo {name}"));
    }
    for pair in words.windows(2) {
        let kind = TARGETS.iter().find(|(option, _)| *option == pair[0]).map(|(_, kind)| *kind);
        let Some(kind) = kind.filter(|_| !is_placeholder(pair[1])) else { continue };
        if !targets.contains(&(kind.to_owned(), pair[1].to_owned())) {
            faults.push(pair.join(" "));
        }
    }
    faults
}

#[test]
fn whatever_cargo_is_told_to_do_exists() {
    let (subcommands, targets) = (subcommands(), targets());
    let (mut count, mut found) = (0, Vec::new());
    for document in Document::all() {
        for line in document.code() {
            let faults = faults_of_cargo(&line, &subcommands, &targets);
            let path = document.path.display();
            found.extend(faults.into_iter().map(|fault| format!("{path}: {fault} in: {line}")));
            count += usize::from(line.contains("cargo "));
        }
    }
    assert_none("what Cargo does not know", &found);
    assert!(count > 30, "{count} commands are too few: commands are not found");
}

#[test]
fn what_cargo_does_not_know_is_found() {
    let (subcommands, targets) = (subcommands(), targets());
    let faults = |line: &str| faults_of_cargo(line, &subcommands, &targets);
    assert_eq!(faults("A=1 cargo test --test steps heal"), <[String; 0]>::default());
    assert_eq!(faults("cargo bench --bench NAME"), <[String; 0]>::default());
    assert_eq!(faults("cargo demonstrate"), ["cargo demonstrate"]);
    assert_eq!(faults("cargo test --test stairs"), ["--test stairs"]);
}

/// Returns whether a word of code is a path in the workspace.
fn is_path(word: &str) -> bool {
    DIRECTORIES.iter().any(|name| word.starts_with(name))
}

/// Returns whether a word of code is literal, without patterns or placeholders.
fn is_literal(word: &str) -> bool {
    !word.contains(['*', '<', '$', '{', '…'])
}

#[test]
fn each_path_in_the_workspace_exists() {
    let (mut count, mut found) = (0, Vec::new());
    for document in Document::all() {
        for code in document.code() {
            let words = code.split_whitespace();
            let words = words.map(|word| word.trim_matches(['"', '\'', ',', ':']));
            for path in words.filter(|word| is_path(word) && is_literal(word)) {
                if !workspace::root().join(path).exists() {
                    found.push(format!("{}: {path}", document.path.display()));
                }
                count += 1;
            }
        }
    }
    assert_none("a path that does not exist", &found);
    assert!(count > 50, "{count} paths are too few: paths are not found");
}

#[test]
fn each_source_file_exists() {
    let known: Vec<_> =
        files(&["rs", "py"]).iter().map(|it| format!("/{}", it.display())).collect();
    let (mut count, mut found) = (0, Vec::new());
    for document in Document::all() {
        for span in document.spans() {
            let is_source = (span.ends_with(".rs") || span.ends_with(".py")) && is_literal(&span);
            if is_source && !span.contains(' ') {
                if !known.iter().any(|path| path.ends_with(&format!("/{span}"))) {
                    found.push(format!("{}: {span}", document.path.display()));
                }
                count += 1;
            }
        }
    }
    assert_none("a source file that does not exist", &found);
    assert!(count > 20, "{count} files are too few: files are not found");
}

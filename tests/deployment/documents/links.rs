//! Where links lead.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use alpinist_tests::workspace;

use super::{Document, assert_none};

/// Returns the targets of a document's links within the workspace, with their line numbers.
fn targets(document: &Document) -> Vec<(usize, &str)> {
    let links = document.prose().into_iter().flat_map(|(number, line)| {
        let targets = line.split("](").skip(1).filter_map(|part| part.split_once(')'));
        targets.map(move |(target, _)| (number, target))
    });
    links.filter(|(_, target)| !target.contains(':')).collect()
}

/// Returns the anchors of a document's headings, as GitHub makes them.
fn anchors(document: &Document) -> Vec<String> {
    let mut seen = BTreeMap::new();
    let headings = document.prose().into_iter().filter_map(|(_, line)| {
        let text = line.trim_start_matches('#');
        (text.len() < line.len()).then(|| text.strip_prefix(' ')).flatten()
    });
    let anchors = headings.map(|heading| {
        let anchor = anchor(heading);
        let count = seen.entry(anchor.clone()).and_modify(|count| *count += 1).or_insert(0);
        if *count == 0 { anchor } else { format!("{anchor}-{count}") }
    });
    anchors.collect()
}

fn anchor(heading: &str) -> String {
    let is_kept = |letter: &char| letter.is_alphanumeric() || " -_".contains(*letter);
    heading.to_lowercase().chars().filter(is_kept).collect::<String>().replace(' ', "-")
}

/// Returns the path of a target in the workspace.
fn path_of(document: &Document, target: &str) -> PathBuf {
    if target.is_empty() {
        return document.path.clone();
    }
    let mut path = document.path.parent().unwrap_or(Path::new("")).to_owned();
    for part in Path::new(target).components() {
        match part {
            Component::ParentDir => assert!(path.pop(), "{target} leads out of the workspace"),
            part => path.push(part),
        }
    }
    path
}

#[test]
fn each_link_leads_to_a_file_and_to_a_heading() {
    let documents = Document::all();
    let anchors: BTreeMap<_, _> =
        documents.iter().map(|document| (document.path.clone(), anchors(document))).collect();
    let (mut count, mut found) = (0, Vec::new());
    for document in &documents {
        for (number, target) in targets(document) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = path_of(document, file);
            let exists = workspace::root().join(&path).exists();
            let has_anchor = || {
                let known = anchors.get(&path);
                anchor.is_empty() || known.is_some_and(|known| known.iter().any(|it| it == anchor))
            };
            if !exists || !has_anchor() {
                found.push(format!("{}:{number}: {target}", document.path.display()));
            }
            count += 1;
        }
    }
    assert_none("a link that leads nowhere", &found);
    assert!(count > 50, "{count} links are too few: links are not found");
}

#[test]
fn an_anchor_is_one_of_github() {
    assert_eq!(
        anchor("`aws s3 sync` says AccessDenied, or not"),
        "aws-s3-sync-says-accessdenied-or-not"
    );
    let text = "# One\n\n```sh\n# no heading\n```\n\n## Two + one\n\n## One\n".to_owned();
    let document = Document { path: PathBuf::from("docs/a.md"), text };
    assert_eq!(anchors(&document), ["one", "two--one", "one-1"]);
    assert_eq!(path_of(&document, "../README.md"), Path::new("README.md"));
}

//! How long lines and the first page are.

use std::fs;

use alpinist_tests::workspace;

use super::{Document, assert_none, files};

/// The maximum width of a line of prose.
const PROSE: usize = 120;

/// The maximum width of a comment.
const COMMENT: usize = 100;

/// The maximum number of words on the first page.
const WORDS: usize = 1100;

/// Returns the width of a line without URLs, which can't be wrapped.
fn width(line: &str) -> usize {
    let mut parts = line.split("](");
    let mut text = parts.next().unwrap_or_default().to_owned();
    text.extend(parts.map(|part| part.split_once(')').map_or("", |(_, rest)| rest)));
    let words = text.split(' ').filter(|word| !word.contains("://"));
    words.map(|word| word.chars().count() + 1).sum::<usize>().saturating_sub(1)
}

fn is_of_table(text: &str) -> bool {
    text.trim_start_matches(['/', '!', ' ']).starts_with('|')
}

#[test]
fn no_line_of_a_document_is_wider_than_120_columns() {
    let mut found = Vec::new();
    for document in Document::all() {
        for (number, line) in document.prose() {
            if width(line) > PROSE && !is_of_table(line) {
                found.push(format!("{}:{number}: {line}", document.path.display()));
            }
        }
    }
    assert_none("wider than 120 columns", &found);
}

#[test]
fn no_comment_is_wider_than_100_columns() {
    let mut found = Vec::new();
    for path in files(&["rs"]) {
        let text = fs::read_to_string(workspace::root().join(&path)).unwrap();
        for (number, line) in (1..).zip(text.lines()) {
            let is_comment = line.trim_start().starts_with("//");
            if is_comment && width(line) > COMMENT && !is_of_table(line) {
                found.push(format!("{}:{number}: {line}", path.display()));
            }
        }
    }
    assert_none("a comment wider than 100 columns", &found);
}

#[test]
fn the_first_page_is_short() {
    let words = Document::read("README.md".into()).text.split_whitespace().count();
    assert!(words <= WORDS, "README.md has {words} words, of {WORDS} at most");
}

#[test]
fn a_width_is_that_of_what_can_be_wrapped() {
    assert_eq!(width("see [keys](docs/keys.md#clients) and more"), "see [keys and more".len());
    assert_eq!(width("// from https://example.com/a/b here"), "// from here".len());
    assert!(is_of_table("//! | module | what |") && !is_of_table("// a | b"));
}

//! The documents: two are generated, all have the same form, and all names in them exist.

mod cli;
mod configuration;
mod form;
mod links;
mod names;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use alpinist_tests::workspace;

/// The command that writes the generated documents.
const UPDATE: &str = "UPDATE_DOCUMENTS=1 cargo test --workspace --test deployment documents";

/// A document, in Markdown.
struct Document {
    /// Its path in the workspace.
    path: PathBuf,
    text: String,
}

impl Document {
    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(workspace::root().join(&path)).unwrap();
        Self { path, text }
    }

    /// Returns all documents of the workspace.
    fn all() -> Vec<Self> {
        let found: Vec<_> = files(&["md"]).into_iter().map(Self::read).collect();
        assert!(found.len() > 10, "the documents are not where they are sought");
        found
    }

    /// Returns the numbered lines in code blocks of this language, or those in none.
    fn lines(&self, language: Option<&str>) -> Vec<(usize, &str)> {
        let mut block = None;
        let mut found = Vec::new();
        for (number, line) in (1..).zip(self.text.lines()) {
            match line.trim_start().strip_prefix("```") {
                Some(begun) => block = if block.is_none() { Some(begun) } else { None },
                None if block == language => found.push((number, line)),
                None => {}
            }
        }
        found
    }

    /// Returns the prose, without blocks of code.
    fn prose(&self) -> Vec<(usize, &str)> {
        self.lines(None)
    }

    /// Returns the code spans. A span may continue on the next line.
    fn spans(&self) -> Vec<String> {
        let mut paragraphs = vec![String::new()];
        for (_, line) in self.prose() {
            let ends_paragraph = line.is_empty() || line.starts_with('|');
            if let Some(last) = paragraphs.last_mut() {
                last.push_str(line);
                last.push(' ');
            }
            if ends_paragraph {
                paragraphs.push(String::new());
            }
        }
        let spans = paragraphs.iter().flat_map(|text| text.split('`').skip(1).step_by(2));
        spans.map(str::to_owned).collect()
    }

    /// Returns all code: each span, and each line of a shell block.
    fn code(&self) -> Vec<String> {
        let lines = self.lines(Some("sh")).into_iter().map(|(_, line)| line.to_owned());
        self.spans().into_iter().chain(lines).collect()
    }
}

/// Returns the files of the workspace with one of these extensions, as relative paths.
fn files(extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(workspace::root(), extensions, &mut found);
    found.sort();
    found
}

fn collect(directory: &Path, extensions: &[&str], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        if path.is_dir() {
            collect(&path, extensions, found);
        } else if path.extension().is_some_and(|it| extensions.iter().any(|name| it == *name)) {
            found.push(path.strip_prefix(workspace::root()).unwrap().to_owned());
        }
    }
}

/// Checks that a document equals the generated text, or writes it if `UPDATE_DOCUMENTS` is set.
pub(crate) fn assert_generated(path: &str, text: &str) {
    let file = workspace::root().join(path);
    if env::var_os("UPDATE_DOCUMENTS").is_some_and(|value| value == "1") {
        fs::write(&file, text).unwrap();
        return;
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    if found != text {
        let (found, text): (Vec<_>, Vec<_>) = (found.lines().collect(), text.lines().collect());
        let line = found.iter().zip(&text).take_while(|(found, text)| found == text).count();
        let [found, text] = [found, text].map(|lines| lines.get(line).copied().unwrap_or_default());
        let number = line + 1;
        panic!("{path}:{number} is\n{found}\nand is to be\n{text}\nThis writes it:\n{UPDATE}");
    }
}

/// Checks that nothing was found, or shows each finding.
fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{} × {what}:\n{}", found.len(), found.join("\n"));
}

//! Checks that the commands in the documents can be parsed.

use std::{fs, path::PathBuf};

use clap::{Parser as _, error::ErrorKind};

use crate::Arguments;

/// What separates the commands of a line.
const OPERATORS: [&str; 9] = ["|", "||", "&&", "&", ";", "do", "then", ">", ">>"];

/// Errors of commands that a sentence names without all required arguments.
const INCOMPLETE: [ErrorKind; 4] = [
    ErrorKind::MissingRequiredArgument,
    ErrorKind::MissingSubcommand,
    ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
    ErrorKind::DisplayHelp,
];

/// Text of a document that may contain a command.
struct Line {
    text: String,
    /// Whether it is a whole command, rather than a code span in a sentence.
    is_whole: bool,
}

impl Line {
    fn whole(text: &str) -> Self {
        Self { text: text.to_owned(), is_whole: true }
    }

    fn span(text: &str) -> Self {
        Self { text: text.replace('\n', " "), is_whole: false }
    }

    /// Returns whether it is a code span without a command, or with an ellipsis.
    fn is_other(&self) -> bool {
        !self.is_whole && (!self.text.starts_with("alpinist ") || self.text.contains('…'))
    }

    /// Returns the parse errors that its command may cause.
    fn expected(&self) -> &'static [ErrorKind] {
        if self.is_whole { &[ErrorKind::DisplayHelp] } else { &INCOMPLETE }
    }
}

fn read(path: &PathBuf) -> String {
    fs::read_to_string(path).unwrap()
}

/// Returns the files with this extension in a directory of the workspace.
fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(directory);
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

/// Returns the lines of a Markdown document that may contain commands: of shell blocks, of the
/// examples in help texts, and the code spans.
fn lines_of_document(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    for (index, part) in text.split("```").enumerate() {
        if index % 2 == 0 {
            let paragraphs = part.split("\n\n").flat_map(|part| part.split("\n|"));
            let spans = paragraphs.flat_map(|part| part.split('`').skip(1).step_by(2));
            lines.extend(spans.map(Line::span));
        } else if let Some(commands) = shell_of(part) {
            let commands = commands.replace("\\\n", " ");
            lines.extend(commands.lines().map(Line::whole));
        }
    }
    lines
}

/// Returns the shell commands of a block: all of it, or the examples in a help text.
fn shell_of(block: &str) -> Option<String> {
    match block.split_once('\n')? {
        ("sh", commands) => Some(commands.to_owned()),
        ("text", help) => {
            let (_, examples) = help.split_once("\nExamples:\n")?;
            let indented = examples.lines().filter_map(|line| line.strip_prefix("  "));
            Some(indented.collect::<Vec<_>>().join("\n"))
        }
        _ => None,
    }
}

/// Returns the lines of the jobs of a CI system, which are YAML.
fn lines_of_jobs(text: &str) -> Vec<Line> {
    let lines = text.lines().map(|line| line.trim_start().trim_start_matches("- "));
    lines.map(|line| Line::whole(line.trim_start_matches("run: "))).collect()
}

/// Returns the arguments of each `alpinist` in a line. Variables and capitalised words stand for
/// values.
fn commands(line: &str) -> Vec<Vec<String>> {
    let words = shlex::split(line);
    assert!(words.is_some() || !line.contains("alpinist "), "no shell reads this: {line}");
    let words = words.unwrap_or_default();
    let commands = words.split(|word| OPERATORS.contains(&word.as_str())).filter_map(|words| {
        let is_assignment = |word: &&String| word.contains('=');
        let words: Vec<_> = words.iter().skip_while(is_assignment).collect();
        let (program, rest) = words.split_first()?;
        let is_ours = *program == "alpinist" || program.ends_with("/alpinist");
        is_ours.then(|| rest.iter().map(|word| value(word)).collect())
    });
    commands.collect()
}

/// Returns the value that a word stands for.
fn value(word: &str) -> String {
    match word.trim_end_matches(';') {
        "COMMAND" => "push".to_owned(),
        word => word.replace('$', ""),
    }
}

/// Returns why a command of a line can't be parsed, if so.
fn fault(line: &Line) -> Option<String> {
    if line.is_other() {
        return None;
    }
    commands(&line.text).into_iter().find_map(|arguments| {
        let parsed =
            Arguments::try_parse_from(["alpinist".to_owned()].into_iter().chain(arguments));
        let error = parsed.err().filter(|error| !line.expected().contains(&error.kind()))?;
        Some(format!("{}: {error}", line.text))
    })
}

#[test]
fn each_command_in_a_document_is_one() {
    let documents = [files(".", "md"), files("docs", "md")].concat();
    let documents = documents.iter().map(|path| (path, lines_of_document(&read(path))));
    let jobs = files("ci", "yml");
    let jobs = jobs.iter().map(|path| (path, lines_of_jobs(&read(path))));
    let (mut count, mut faults) = (0, Vec::new());
    for (path, lines) in documents.chain(jobs) {
        count += lines.iter().filter(|line| line.text.contains("alpinist ")).count();
        let found = lines.iter().filter_map(fault);
        faults.extend(found.map(|fault| format!("{}: {fault}", path.display())));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count > 100, "{count} commands are too few: commands are not found");
}

#[test]
fn a_command_that_is_none_is_found() {
    let faulty = |text: &str| {
        let faults: Vec<_> = lines_of_document(text).iter().filter_map(fault).collect();
        faults.len()
    };
    let block = |line: &str| format!("Text\n\n```sh\n{line}\n```\n");
    assert_eq!(faulty(&block("A=1 alpinist runs --failed | wc -l   # `alpinist frobnicate`")), 0);
    assert_eq!(faulty(&block("alpinist push \\\n    a.apk --to 3.22/main")), 0);
    assert_eq!(faulty(&block("cd x && alpinist push --to 3.22/main")), 1);
    assert_eq!(faulty(&block("alpinist push a.apk --too 3.22/main")), 1);
    assert_eq!(
        faulty("Say `alpinist push --wait`, or\n`alpinist key`, or `alpinist help COMMAND`."),
        0
    );
    assert_eq!(faulty("Say `alpinist\npush --weight`."), 1);
    assert_eq!(
        lines_of_jobs("  - run: .alpinist/bin/alpinist psuh").iter().filter_map(fault).count(),
        1
    );
}

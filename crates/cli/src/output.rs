//! What is printed to standard output and standard error, and how.

use std::{
    fmt::Display,
    io::{self, Write},
    path::Path,
};

use alpinist_apk::{
    entry::IndexEntry,
    text::{causes, escaped},
};
use alpinist_repository::message::warnings;
use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::error::Error;

/// The style of success.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// The style of problems.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// The style of headings and labels.
pub(crate) const HEADING: Style = Style::new().bold();

/// The exit status of a command that ends without an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ExitStatus {
    /// Success.
    Yes,
    /// A negative result, such as a rejected package.
    No,
    /// The result is not known.
    Unknown,
}

/// How data is printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For scripts.
    Json,
}

impl From<bool> for Format {
    /// Returns the format from the flag `--json`.
    fn from(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
}

/// What a command found or did.
pub(crate) trait WriteText: Serialize {
    /// Writes it for people.
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()>;
}

/// Where data goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: Format,
}

impl Output {
    /// Prints in `format`.
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    /// Prints what a command found or did, to standard output.
    pub(crate) fn print(self, report: &impl WriteText) -> Result<(), Error> {
        let mut out = anstream::stdout().lock();
        let written = match self.format {
            Format::Text => report.write_text(&mut out),
            Format::Json => serde_json::to_writer_pretty(&mut out, report)
                .map_err(io::Error::from)
                .and_then(|()| writeln!(out)),
        };
        written.and_then(|()| out.flush()).map_err(|source| Error::Output { source })
    }
}

/// Prints a message for people to standard error, and ignores failures.
pub(crate) fn status(message: impl Display) {
    let _ = writeln!(anstream::stderr(), "{message}");
}

/// Prints the warnings about a package that can be listed but may surprise its users.
pub(crate) fn warn(file: &Path, entry: &IndexEntry) {
    for warning in warnings(entry) {
        status(format_args!("{HEADING}warning{HEADING:#}: {}: {warning}", file.display()));
    }
}

/// Prints an error, its causes, and what to do.
pub(crate) fn print_error(error: &Error) {
    status(format_args!("{BAD}error{BAD:#}: {}", escaped(&error.to_string())));
    for cause in causes(error) {
        status(format_args!("{HEADING}cause{HEADING:#}: {}", escaped(&cause.to_string())));
    }
    if let Some(hint) = error.hint() {
        status(format_args!("{HEADING}hint{HEADING:#}: {}", escaped(&hint)));
    }
}

/// Returns a number of things in words: `1 package`, `2 packages`.
pub(crate) fn pluralize(number: usize, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}

/// Returns untrusted text with each line [escaped].
pub(crate) fn escaped_lines(text: &str) -> String {
    text.split('\n').map(escaped).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_can_not_command_a_terminal() {
        let text = "ä = b\n\u{1b}[2J\r\u{9b}\u{202e}\n";
        assert_eq!(escaped_lines(text), "ä = b\n\\u{1b}[2J\\r\\u{9b}\\u{202e}\n");
    }
}

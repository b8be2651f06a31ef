//! Runs other programs. An error says which one failed and what it wrote.

use std::io::{self, Write as _};
use std::process::{Command, Output, Stdio};

use crate::Error;

/// Runs `command` to its end and returns what it wrote to standard output.
///
/// # Errors
///
/// [`Error::Start`] if it cannot be started, [`Error::Program`] if it fails.
pub fn output(command: &mut Command) -> Result<Vec<u8>, Error> {
    let output = command.stdin(Stdio::null()).output();
    finished(command, output)
}

/// Runs `command` to its end with `input`, which must fit into a pipe, and returns what it wrote to
/// standard output.
///
/// # Errors
///
/// As [`output`].
pub(crate) fn filter(command: &mut Command, input: &[u8]) -> Result<Vec<u8>, Error> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.spawn().and_then(|mut running| {
        if let Some(mut stdin) = running.stdin.take() {
            stdin.write_all(input)?;
        }
        running.wait_with_output()
    });
    finished(command, output)
}

/// Returns what an ended program wrote to standard output, unless it failed.
pub(crate) fn finished(command: &Command, output: io::Result<Output>) -> Result<Vec<u8>, Error> {
    let output = output.map_err(not_started(command))?;
    if output.status.success() { Ok(output.stdout) } else { Err(failed(command, &output)) }
}

/// Returns a function for `map_err` that names the program that could not be started.
pub(crate) fn not_started(command: &Command) -> impl FnOnce(io::Error) -> Error + use<> {
    let program = command.get_program().to_string_lossy().into_owned();
    move |source| Error::Start { program, source }
}

/// Returns the error for a program that failed.
pub(crate) fn failed(command: &Command, output: &Output) -> Error {
    let mut text = output.stdout.clone();
    text.extend_from_slice(&output.stderr);
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    Error::Program { command: line(command), status: output.status, output: text }
}

/// Returns the command as you would type it, except for quotation marks.
pub fn line(command: &Command) -> String {
    let arguments = command.get_args().map(|argument| argument.to_string_lossy());
    [command.get_program().to_string_lossy()]
        .into_iter()
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}

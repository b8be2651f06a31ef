//! Errors of the local stack.

use std::error::Error as StandardError;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why the local stack, or a program that works on it, failed.
///
/// Its `Debug` is the message with all causes, since that is what a failed test prints.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program that must be installed by hand is missing.
    #[error("{what} is missing; install it, on Debian and Ubuntu with `{install}`")]
    Missing {
        /// What is missing.
        what: &'static str,
        /// The command that installs it.
        install: &'static str,
    },
    /// A program could not be started.
    #[error("cannot start `{program}`")]
    Start {
        /// The program, as it would have been started.
        program: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A program failed.
    #[error("`{command}` failed with {status}\n{output}")]
    Program {
        /// The program and its arguments.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it wrote to standard output and standard error.
        output: String,
    },
    /// The processes of this machine can't be read.
    #[error("the processes can't be read from /proc")]
    Processes {
        /// Why.
        source: procfs::ProcError,
    },
    /// A file or directory could not be used.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// What was tried: a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The running program is outside a Cargo target directory.
    #[error("`{}` lies in no Cargo target directory; start it with cargo", program.display())]
    OutsideTarget {
        /// The running program.
        program: PathBuf,
    },
    /// The emulator ended before it could answer.
    #[error("the emulator did not start; `{}` ends with\n{tail}", log.display())]
    Emulator {
        /// The emulator's log.
        log: PathBuf,
        /// The last lines of that log.
        tail: String,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {} s", limit.as_secs())]
    Deadline {
        /// What was waited for.
        what: String,
        /// How long we waited.
        limit: Duration,
    },
    /// The deployed template lacks an output that the harness needs.
    #[error("the deployed template has no output `{name}`; it has {present}")]
    Output {
        /// The missing output.
        name: &'static str,
        /// The existing outputs.
        present: String,
    },
    /// A reply does not have the expected form.
    #[error("cannot understand {what}: {reply}")]
    Reply {
        /// What was to be parsed.
        what: &'static str,
        /// The reply, or the part of it that was not understood.
        reply: String,
    },
    /// A call to the emulated AWS failed.
    #[error("cannot {action} `{subject}`")]
    Service {
        /// What was tried: a verb and its kind of object.
        action: &'static str,
        /// The object that it was tried on.
        subject: String,
        /// The service's reason.
        source: Box<dyn StandardError + Send + Sync>,
    },
    /// An HTTP request was not answered.
    #[error("cannot get `{url}`")]
    Http {
        /// The URL.
        url: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The stack that all tests of a process share failed to start in another test.
    #[error("the shared local stack did not start: {reason}")]
    Shared {
        /// The message of the failure, with its causes.
        reason: String,
    },
}

impl Error {
    /// Returns the message, and those of all causes, on one line each.
    pub fn chain(&self) -> String {
        let mut lines = self.to_string();
        let mut next = self.source();
        while let Some(cause) = next {
            lines.push_str("\ncause: ");
            lines.push_str(&cause.to_string());
            next = cause.source();
        }
        lines
    }

    /// Returns a function for `map_err` that makes an [`Error::File`].
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }

    /// Returns a function for `map_err` that makes an [`Error::Service`].
    pub(crate) fn service<E>(action: &'static str, subject: &str) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn StandardError + Send + Sync>>,
    {
        let subject = subject.to_owned();
        move |source| Self::Service { action, subject, source: source.into() }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.chain())
    }
}

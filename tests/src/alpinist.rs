//! The operator's command, as an operator of the local stack runs it.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::emulator::{CREDENTIALS, REGION};
use crate::{Error, Stack, command, functions};

/// The command `alpinist`, built from this workspace.
#[derive(Clone, Debug)]
pub struct Alpinist {
    program: Arc<Path>,
    environment: Vec<(&'static str, String)>,
}

/// What the command printed, and how it ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CommandOutput {
    /// The exit status: 0 success, 1 negative result, 2 error.
    pub status: Option<i32>,
    /// What it wrote to standard output.
    pub out: String,
    /// What it wrote to standard error.
    pub err: String,
}

impl Alpinist {
    /// Builds the command, for use without AWS.
    ///
    /// # Errors
    ///
    /// [`Error::Program`] if it does not compile.
    pub fn build() -> Result<Self, Error> {
        let name = "alpinist";
        let built = functions::build_programs(vec![name.to_owned()])?.into_iter().next();
        let built = built.ok_or_else(|| Error::Reply {
            what: "where cargo put the command",
            reply: name.to_owned(),
        })?;
        Ok(Self { program: built.program.into(), environment: Vec::new() })
    }

    /// Returns the command for use on a stack, with its administrator's credentials.
    #[must_use]
    pub fn on(&self, stack: &Stack) -> Self {
        let environment = [
            ("ALPINIST_STACK", stack.name()),
            ("AWS_ENDPOINT_URL", stack.endpoint()),
            ("AWS_ACCESS_KEY_ID", CREDENTIALS),
            ("AWS_SECRET_ACCESS_KEY", CREDENTIALS),
            ("AWS_REGION", REGION),
            // The emulator is on this machine, where no proxy can reach it.
            ("NO_PROXY", "127.0.0.1"),
        ];
        let environment = environment.map(|(name, value)| (name, value.to_owned())).to_vec();
        Self { program: Arc::clone(&self.program), environment }
    }

    /// Returns a command that runs it, without arguments.
    pub fn command(&self) -> Command {
        let mut alpinist = Command::new(&*self.program);
        // It must not inherit the user's settings: they could lead to a real AWS.
        alpinist.env_clear().envs(self.environment.iter().cloned());
        alpinist
    }

    /// Runs it in a directory, with arguments separated by spaces.
    pub fn run(&self, directory: &Path, arguments: &str) -> Result<CommandOutput, Error> {
        self.run_with(directory, arguments.split_whitespace())
    }

    /// Runs it in a directory, with arguments that may have spaces.
    pub fn run_with<'a>(
        &self,
        directory: &Path,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Result<CommandOutput, Error> {
        let mut alpinist = self.command();
        alpinist.current_dir(directory);
        let output = alpinist.args(arguments).stdin(Stdio::null()).output();
        let output = output.map_err(command::not_started(&alpinist))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(CommandOutput {
            status: output.status.code(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        })
    }
}

impl fmt::Display for CommandOutput {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}(exit status {:?})", self.out, self.err, self.status)
    }
}

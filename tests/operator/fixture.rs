//! What an operator works with: a directory, and the command.

use std::path::{Path, PathBuf};

use alpinist_tests::{Alpinist, CommandOutput, PackageSpec, Stack, Tools};
use serde_json::Value;
use tempfile::TempDir;

/// A directory to work in, and the command for one stack.
pub(crate) struct Operator {
    directory: TempDir,
    alpinist: Alpinist,
    pub(crate) tools: Tools,
}

impl Operator {
    pub(crate) fn without_aws() -> Self {
        let (alpinist, tools) = (Alpinist::build().unwrap(), Tools::install().unwrap());
        Self { directory: tempfile::tempdir().unwrap(), alpinist, tools }
    }

    pub(crate) fn of(stack: &Stack) -> Self {
        let operator = Self::without_aws();
        Self { alpinist: operator.alpinist.on(stack), ..operator }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Builds a package into the directory, or into one below it.
    pub(crate) fn build(&self, spec: &PackageSpec, below: &str) -> PathBuf {
        let package = spec.build(&self.tools).unwrap();
        package.save(&self.path().join(below)).unwrap()
    }

    /// Runs the command.
    pub(crate) fn run(&self, arguments: &str) -> CommandOutput {
        self.run_in(self.path(), arguments)
    }

    /// Runs the command with arguments that may have spaces.
    pub(crate) fn run_with(&self, arguments: &[&str]) -> CommandOutput {
        self.alpinist.run_with(self.path(), arguments.iter().copied()).unwrap()
    }

    /// Runs the command in another directory.
    pub(crate) fn run_in(&self, directory: &Path, arguments: &str) -> CommandOutput {
        self.alpinist.run(directory, arguments).unwrap()
    }

    /// Runs the command, which must succeed, and returns its output.
    pub(crate) fn done(&self, arguments: &str) -> String {
        let said = self.run(arguments);
        assert_eq!((said.status, &*said.err), (Some(0), ""), "{arguments}: {said}");
        said.out
    }

    /// Runs the command with `--json`, which must end with `status`.
    pub(crate) fn json(&self, status: i32, arguments: &str) -> Value {
        let said = self.run(&format!("{arguments} --json"));
        assert_eq!(said.status, Some(status), "{arguments}: {said}");
        serde_json::from_str(&said.out).unwrap()
    }
}

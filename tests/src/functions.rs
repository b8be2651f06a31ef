//! Builds the Lambda functions and lays them out as the template expects them.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::workspace::{copy, root};
use crate::{Error, command};

/// A built function.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Function {
    /// The name of its folder, its package and its program.
    pub name: String,
    /// The program.
    pub program: PathBuf,
}

/// Builds all functions below `lambdas/` for this machine, with the profile of the running program:
/// release in a benchmark, development otherwise.
///
/// Cargo's own messages show the progress.
///
/// # Errors
///
/// [`Error::Program`] if one does not compile.
pub fn build() -> Result<Vec<Function>, Error> {
    build_programs(names()?)
}

/// Builds programs of the workspace, whether they are functions or not, as [`build`] does.
///
/// # Errors
///
/// [`Error::Program`] if one does not compile.
pub fn build_programs(names: Vec<String>) -> Result<Vec<Function>, Error> {
    let mut cargo = cargo_build(&names);
    let running = cargo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let built = running.and_then(std::process::Child::wait_with_output);
    let output = built.map_err(command::not_started(&cargo))?;
    if !output.status.success() {
        let output = std::process::Output { stdout: Vec::new(), ..output };
        return Err(command::failed(&cargo, &output));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    names.into_iter().map(|name| find(name, &messages)).collect()
}

/// Lays out `functions`, `template.yaml` and `statemachine/` in `directory`, as they are in the
/// workspace after `cargo lambda build`.
pub(crate) fn lay_out(functions: &[Function], directory: &Path) -> Result<(), Error> {
    copy(&root().join("template.yaml"), &directory.join("template.yaml"))?;
    for definition in entries(&root().join("statemachine"))? {
        let to = directory.join("statemachine").join(definition.file_name().unwrap_or_default());
        copy(&definition, &to)?;
    }
    lay_out_programs(functions, directory)
}

/// Lays out only `functions` in `directory`, as they are in the workspace after `cargo lambda
/// build`.
pub(crate) fn lay_out_programs(functions: &[Function], directory: &Path) -> Result<(), Error> {
    for function in functions {
        let to = directory.join("target/lambda").join(&function.name).join("bootstrap");
        copy(&function.program, &to)?;
    }
    Ok(())
}

/// Returns a command that builds these functions without rebuilding what Cargo has just built.
///
/// Cargo chooses the features of shared dependencies for all packages of a command together, and
/// includes the needs of their tests if that command builds tests or benchmarks. So this command
/// takes the whole workspace, like `cargo run --bin demo` and `cargo test`, and it takes a test or
/// a benchmark exactly if the running program was built together with some.
fn cargo_build(names: &[String]) -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.current_dir(root()).args(["build", "--message-format=json-render-diagnostics"]);
    // What Cargo tells a test about its package: to some build scripts, it would look like a
    // change, and they would run again.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|begin| name.starts_with(begin)) {
            command.env_remove(&*name);
        }
    }
    for name in names {
        command.args(["--bin", name]);
    }
    let optimized = cfg!(not(debug_assertions));
    if optimized {
        command.arg("--release");
    }
    if cfg!(feature = "built-with-tests") {
        command.args(if optimized { ["--bench", "start"] } else { ["--test", "local_stack"] });
    }
    command
}

fn names() -> Result<Vec<String>, Error> {
    let folders = entries(&root().join("lambdas"))?;
    let names = folders.iter().filter_map(|folder| folder.file_name());
    Ok(names.map(|name| name.to_string_lossy().into_owned()).collect())
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = fs::read_dir(directory).map_err(Error::file("list", directory))?;
    let paths = read.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
    let mut paths = paths.map_err(Error::file("list", directory))?;
    paths.sort();
    Ok(paths)
}

/// Finds where Cargo put a program, in the JSON messages of the build.
fn find(name: String, messages: &str) -> Result<Function, Error> {
    let program = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message.pointer("/target/name").is_some_and(|found| *found == *name))
        .filter(|message| message.pointer("/profile/test") == Some(&Value::Bool(false)))
        .find_map(|message| message.get("executable")?.as_str().map(PathBuf::from));
    match program {
        Some(program) => Ok(Function { name, program }),
        None => Err(Error::Reply { what: "where cargo put a function", reply: name }),
    }
}

//! `cargo demo`: shows all of Alpinist at work on this machine.

#![expect(clippy::print_stdout, reason = "the show goes to standard output")]

use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use alpinist_tests::progress::{say, step};
use alpinist_tests::{
    ApkClient, ApkOutput, EmulatorOptions, Error, Execution, ExecutionStatus, KeyPair, LocalStack,
    Package, PackageSpec, Stack, StateVisit, command, interruption, next_steps,
};
use clap::Parser;

/// The repository that the packages go to, as `/etc/apk/repositories` names it.
const REPOSITORY: &str = "3.22/main";

/// The architecture of the packages, and of the client.
const ARCHITECTURE: &str = "x86_64";

/// The package that the other one depends on; its name has characters that URLs often get wrong.
const LIBRARY: &str = "libgreet++";

/// The package that the client installs by name.
const PROGRAM: &str = "greet";

/// Shows how an upload becomes a signed index that the real apk installs from
#[derive(Debug, Parser)]
#[command(name = "cargo demo", bin_name = "cargo demo --")]
struct Arguments {
    /// End after the installation instead of staying up
    #[arg(long)]
    once: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match demonstrate(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("error: {failure}"));
            ExitCode::FAILURE
        }
    }
}

/// Why the demonstration failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{}", .0.chain())]
    Stack(#[from] Error),
    #[error("the execution for `{key}` ended as {status}: {error}: {cause}")]
    Execution { key: String, status: ExecutionStatus, error: String, cause: String },
    #[error("`apk {arguments}` failed with {status}")]
    Apk { arguments: String, status: ExitStatus },
    #[error("`{package}` is not installed")]
    NotInstalled { package: &'static str },
}

async fn demonstrate(arguments: &Arguments) -> Result<(), Failure> {
    let key_pair =
        step("making a key pair", || KeyPair::generate("demo@example.com", KeyPair::BITS))?;
    let local_stack = LocalStack::start(EmulatorOptions::default())?;
    let stack = local_stack.deploy()?;
    stack.put_key(&key_pair).await?;
    for package in build_packages(&local_stack)? {
        upload(&local_stack, &stack, &package).await?;
    }
    let client = stack.client(REPOSITORY, ARCHITECTURE).await?;
    install(&client)?;
    if !arguments.once {
        println!("{}", next_steps(&local_stack, &stack, &client, REPOSITORY));
        interruption::wait().await?;
    }
    Ok(())
}

fn build_packages(local_stack: &LocalStack) -> Result<[Package; 2], Error> {
    let library = PackageSpec::new(LIBRARY, "2.1");
    let program = PackageSpec::new(PROGRAM, "1.0").depends(LIBRARY);
    step("building two packages with nfpm", || {
        let tools = local_stack.emulator().tools();
        Ok([library.build(tools)?, program.build(tools)?])
    })
}

/// Uploads a package with the AWS CLI and follows the execution that this starts.
async fn upload(local_stack: &LocalStack, stack: &Stack, package: &Package) -> Result<(), Failure> {
    let key = package.key(&format!("{REPOSITORY}/{ARCHITECTURE}"));
    let address = format!("s3://{}/{key}", stack.bucket());
    let file = package.save(&local_stack.emulator().scratch().join("packages"))?;
    println!("$ aws s3 cp {} {address}", file.display());
    let mut copy = local_stack.emulator().aws();
    command::output(copy.args(["s3", "cp", "--quiet"]).arg(file).arg(address))?;
    let execution = stack.follow(&key, 0, print_state).await?;
    print_end(&execution);
    if execution.status == ExecutionStatus::Succeeded {
        return Ok(());
    }
    let Execution { status, error, cause, .. } = execution;
    let (error, cause) = (error.unwrap_or_default(), cause.unwrap_or_default());
    Err(Failure::Execution { key, status, error, cause })
}

fn print_state(visit: &StateVisit) {
    print_duration(&visit.name, visit.duration);
}

fn print_end(execution: &Execution) {
    print_duration(&format!("= {}", execution.status), execution.duration);
}

fn print_duration(what: &str, duration: Option<Duration>) {
    println!("  {what:<20} {:>6} ms", duration.unwrap_or_default().as_millis());
}

fn install(client: &ApkClient) -> Result<(), Failure> {
    show("update", &client.update()?)?;
    show(&format!("add {PROGRAM}"), &client.add(&[PROGRAM])?)?;
    let installed = client.installed()?;
    show("list --installed", &installed)?;
    for package in [LIBRARY, PROGRAM] {
        let listed = installed.text.lines().any(|line| line.starts_with(&format!("{package}-")));
        let file = client.root().join("usr/share").join(package).join("version");
        if !listed || !file.is_file() {
            return Err(Failure::NotInstalled { package });
        }
    }
    Ok(())
}

fn show(arguments: &str, output: &ApkOutput) -> Result<(), Failure> {
    println!("$ apk {arguments}");
    for line in output.text.lines() {
        println!("  {line}");
    }
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::Apk { arguments: arguments.to_owned(), status: output.status })
}

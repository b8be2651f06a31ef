//! `cargo local`: the local stack without the demonstration.
//!
//! Standard output has only the lines that a script needs; everything else goes to standard error.

#![expect(clippy::print_stdout, reason = "where the stack is goes to standard output, for scripts")]

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use alpinist_tests::progress::say;
use alpinist_tests::{
    ApkClient, EmulatorOptions, Error, KeyPair, LocalStack, Stack, interruption, next_steps,
};
use clap::{Args, Parser};

/// The repository in the next steps.
const REPOSITORY: &str = "3.22/main";

/// Runs the whole of Alpinist on this machine.
#[derive(Debug, Parser)]
#[command(name = "cargo local", bin_name = "cargo local")]
enum Command {
    /// Start and deploy everything, print where it is, and stay up until interrupted
    Up(Up),
}

#[derive(Args, Debug)]
struct Up {
    /// The port on loopback; a free one if none is given
    #[arg(long)]
    port: Option<u16>,
    /// The private key to sign with, a PEM file; a new one if none is given
    #[arg(long, value_name = "PEM", requires = "key_name")]
    key: Option<PathBuf>,
    /// The key name, such as `ops@example.com-5f3c2a1b.rsa.pub`
    #[arg(long, value_name = "NAME", requires = "key")]
    key_name: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Command::Up(arguments) = Command::parse();
    match up(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {}", error.chain()));
            ExitCode::FAILURE
        }
    }
}

async fn up(arguments: &Up) -> Result<(), Error> {
    let key_pair = key_pair(arguments)?;
    let local_stack =
        LocalStack::start(EmulatorOptions { port: arguments.port, ..EmulatorOptions::default() })?;
    let stack = local_stack.deploy()?;
    stack.put_key(&key_pair).await?;
    print_places(&stack, &key_pair);
    let client = client(&stack, &key_pair)?;
    say(&next_steps(&local_stack, &stack, &client, REPOSITORY));
    interruption::wait().await
}

fn key_pair(arguments: &Up) -> Result<KeyPair, Error> {
    let (Some(path), Some(name)) = (&arguments.key, &arguments.key_name) else {
        return KeyPair::generate("local@example.com", KeyPair::BITS);
    };
    match fs::read_to_string(path) {
        Ok(private) => Ok(KeyPair::new(name, private)),
        Err(source) => Err(Error::File { action: "read", path: path.clone(), source }),
    }
}

/// Makes a client that trusts the key before it is published.
fn client(stack: &Stack, key_pair: &KeyPair) -> Result<ApkClient, Error> {
    let url = format!("{}/{REPOSITORY}", stack.repository_url());
    let client = ApkClient::new(stack.apk().clone(), &url, "x86_64")?;
    client.trust(key_pair.name(), key_pair.public()?.as_bytes())?;
    Ok(client)
}

fn print_places(stack: &Stack, key_pair: &KeyPair) {
    println!("ENDPOINT={}", stack.endpoint());
    println!("BUCKET={}", stack.bucket());
    println!("STATE_MACHINE_ARN={}", stack.state_machine());
    println!("REINDEX_STATE_MACHINE_ARN={}", stack.reindex_state_machine());
    println!("REPOSITORY_URL={}", stack.repository_url());
    println!("PUBLIC_KEY_URL={}", stack.public_key_url(key_pair.name()));
}

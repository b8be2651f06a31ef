//! `cargo bench --bench uploads`: how long uploads take, and what they cost.
//!
//! | part | what is measured | against what |
//! |---|---|---|
//! | `one` | one upload into a warm stack, until the index lists it | [the chain](chain) |
//! | `burst` | many uploads at once, until the index lists all | the chain |
//! | `money` | what 1,000 uploads cost on AWS | two designs on paper, see [`money`] |
//!
//! The times are those of this machine, and the emulator takes most of them. So they are compared
//! with those of a chain of four functions that do nothing, measured in turn on the same emulator.

#![expect(clippy::print_stdout, reason = "the figures go to standard output")]
#![expect(clippy::disallowed_methods, reason = "what is measured is the time")]

mod burst;
mod chain;
mod money;
mod one;

use std::process::ExitCode;
use std::time::Duration;

use alpinist_tests::progress::say;
use alpinist_tests::{EmulatorOptions, Error, KeyPair, LocalStack, Stack};
use clap::{Parser, ValueEnum};

/// How long all executions together may take.
const LIMIT: Duration = Duration::from_hours(1);

/// Measures how long uploads take, and what they cost
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench uploads", bin_name = "cargo bench --bench uploads --")]
struct Arguments {
    /// What is measured
    #[arg(value_enum, default_values = ["one", "burst", "money"])]
    parts: Vec<Part>,
    /// How often one upload is measured on each side
    #[arg(long, default_value_t = 16)]
    times: usize,
    /// How many packages are uploaded in a burst
    #[arg(long, default_value_t = 1000)]
    uploads: usize,
    /// How many are uploaded at once
    #[arg(long, default_value_t = 64)]
    writers: usize,
    /// How many bursts are measured on each side
    #[arg(long, default_value_t = 1)]
    bursts: usize,
    /// How many packages there are already where one upload is paid for, each a line of the table
    #[arg(long, default_values_t = [100, 1000, 30_000])]
    packages: Vec<usize>,
    /// What Cargo says to each benchmark
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Part {
    One,
    Burst,
    Money,
}

#[tokio::main]
async fn main() -> ExitCode {
    match measure(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {}", error.chain()));
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: &Arguments) -> Result<(), Error> {
    let is_asked = |part| arguments.parts.contains(&part);
    if is_asked(Part::One) || is_asked(Part::Burst) {
        let local_stack = LocalStack::start(EmulatorOptions::default())?;
        let ours = local_stack.deploy()?;
        put_key(&ours).await?;
        let chain = chain::deploy(&local_stack)?;
        let tools = local_stack.emulator().tools();
        if is_asked(Part::One) {
            one::measure(tools, &ours, &chain, arguments.times).await?;
        }
        if is_asked(Part::Burst) {
            let Arguments { uploads, writers, bursts, .. } = *arguments;
            burst::measure(tools, &ours, &chain, burst::Size { uploads, writers, bursts }).await?;
        }
    }
    if is_asked(Part::Money) {
        money::measure(arguments).await?;
    }
    Ok(())
}

async fn put_key(stack: &Stack) -> Result<(), Error> {
    stack.put_key(&KeyPair::generate("bench@example.com", KeyPair::BITS)?).await
}

/// Returns the middle value, or the mean of the two middle ones.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
    if values.len() % 2 == 1 {
        at(middle)
    } else {
        f64::midpoint(at(middle.wrapping_sub(1)), at(middle))
    }
}

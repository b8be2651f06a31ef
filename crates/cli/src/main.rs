//! `alpinist`, the operator's command.
//!
//! | module | what it holds |
//! |---|---|
//! | [`command`] | the subcommands, one file each |
//! | [`package_file`], [`sections`] | packages on this machine |
//! | [`source`] | packages on this machine, in S3, or behind a URL |
//! | [`context`], [`repository`] | where the repository is, and what is in it |
//! | [`selection`], [`publication`] | which of its packages are meant, and what is written |
//! | [`reader`] | readers and their tokens |
//! | [`follow`], [`time`] | executions, and times |
//! | [`progress`] | progress bars |
//! | [`output`] | what is printed to standard output and standard error, and how |
//! | [`error`] | errors, and what to do about them |

mod aws;
mod command;
mod context;
#[cfg(test)]
mod documents;
mod error;
mod follow;
mod output;
mod package_file;
mod progress;
mod publication;
mod reader;
mod repository;
mod sections;
mod selection;
mod source;
mod time;
mod withdrawn;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

use crate::{
    command::Command,
    output::{ExitStatus, Output},
};

/// The allocator of glibc cannot use again what was aligned, such as the state of each inflated
/// stream: an index of 5,000 packages took twice the memory with it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Signed Alpine Linux package repositories in an S3 bucket.
///
/// Data goes to standard output, everything else to standard error. The exit status is 0 for
/// success, 1 for a negative result, such as a rejected package, and 2 for an error.
#[derive(Debug, Parser)]
#[command(name = "alpinist", version, max_term_width = 100, after_help = command::EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Print JSON, for scripts
    #[arg(long, global = true, display_order = 100)]
    json: bool,
}

fn main() -> ExitCode {
    let Arguments { command, json } = Arguments::parse();
    let output = Output::new(json.into());
    match command.run(output) {
        Ok(ExitStatus::Yes) => ExitCode::SUCCESS,
        Ok(ExitStatus::No) => ExitCode::from(1),
        Ok(ExitStatus::Unknown) => ExitCode::from(2),
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            output::print_error(&error);
            ExitCode::from(2)
        }
    }
}

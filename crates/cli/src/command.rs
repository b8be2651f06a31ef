//! The subcommands.

mod index;
mod inspect;
mod key;
mod keygen;
mod ls;
mod outcomes;
mod page;
mod promote;
mod prune;
mod push;
mod reader;
mod reindex;
mod replay;
mod restore;
mod rm;
mod run;
mod runs;
mod setup;
mod verify;
mod withdraw;

use std::future::Future;

use clap::Subcommand;
use tokio::runtime::Runtime;

use crate::{
    error::Error,
    output::{ExitStatus, Output},
};

/// The end of `alpinist --help`.
pub(crate) const EXAMPLES: &str = "\
Examples:
  alpinist keygen ops@example.com
  alpinist key put --key ops.rsa --key-name ops@example.com-5f3c2a1b.rsa.pub --stack alpinist
  alpinist push hello-1.0-r0.apk --to 3.22/main --wait --stack alpinist
  alpinist setup 3.22/main --stack alpinist
  alpinist verify --stack alpinist

With ALPINIST_STACK=alpinist in the environment, `--stack` can be left out. `alpinist help COMMAND` has
examples of each.";

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Push(push::Push),
    Ls(ls::Ls),
    Rm(rm::Rm),
    Withdraw(withdraw::Withdraw),
    Restore(restore::Restore),
    Promote(promote::Promote),
    Prune(prune::Prune),
    Runs(runs::Runs),
    Run(run::Run),
    Replay(replay::Replay),
    Reindex(reindex::Reindex),
    Verify(verify::Verify),
    Setup(setup::Setup),
    Page(page::Page),
    Reader(reader::Reader),
    Key(key::Key),
    Keygen(keygen::Keygen),
    Index(index::Index),
    Inspect(inspect::Inspect),
}

impl Command {
    /// Runs the command.
    pub(crate) fn run(self, output: Output) -> Result<ExitStatus, Error> {
        match self {
            Self::Push(push) => wait(push.run(output)),
            Self::Ls(ls) => wait(ls.run(output)),
            Self::Rm(rm) => wait(rm.run(output)),
            Self::Withdraw(withdraw) => wait(withdraw.run(output)),
            Self::Restore(restore) => wait(restore.run(output)),
            Self::Promote(promote) => wait(promote.run(output)),
            Self::Prune(prune) => wait(prune.run(output)),
            Self::Runs(runs) => wait(runs.run(output)),
            Self::Run(run) => wait(run.run(output)),
            Self::Replay(replay) => wait(replay.run(output)),
            Self::Reindex(reindex) => wait(reindex.run(output)),
            Self::Verify(verify) => wait(verify.run(output)),
            Self::Setup(setup) => wait(setup.run(output)),
            Self::Page(page) => wait(page.run(output)),
            Self::Key(key) => wait(key.run(output)),
            Self::Keygen(keygen) => keygen.run(output),
            Self::Reader(reader) => wait(reader.run(output)),
            Self::Index(index) => index.run(output),
            Self::Inspect(inspect) => wait(inspect.run(output)),
        }
    }
}

/// Runs a command that makes requests.
fn wait(command: impl Future<Output = Result<ExitStatus, Error>>) -> Result<ExitStatus, Error> {
    Runtime::new().map_err(Error::Runtime)?.block_on(command)
}

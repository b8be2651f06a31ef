use std::io::{self, Write};

use alpinist_repository::page::{self, PAGE, Repositories};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::{
    context::{Context, TargetOptions},
    error::Error,
    output::{ExitStatus, GOOD, Output, WriteText, pluralize},
};

/// The page, as it is put into the bucket.
const HTML: &str = include_str!("../../../../page/index.html");

const EXAMPLES: &str = "\
Examples:
  alpinist page put --stack alpinist
  alpinist page rm";

/// Put a page into the bucket that shows what is published, or remove it
///
/// One file, index.html, that reads the signed index in the browser of whoever opens it, checks its
/// signature, and searches it. An upload changes nothing about it and costs no request more.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Page {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Put the page, or the one of this version of `alpinist` in its place
    ///
    /// Beside it goes repositories.json, which names the directories and the public keys that are
    /// published now. Later ones come into it by themselves. Whoever may read the page learns these
    /// names. A file of yours with one of these two names is not overwritten.
    #[command(after_help = "\
Examples:
  alpinist page put --stack alpinist
  alpinist page put --bucket example-packages")]
    Put(Put),
    /// Remove the page and the list that it reads
    #[command(after_help = "\
Examples:
  alpinist page rm --stack alpinist")]
    Rm(Rm),
}

#[derive(Args, Debug)]
struct Put {
    #[command(flatten)]
    target_options: TargetOptions,
}

#[derive(Args, Debug)]
struct Rm {
    #[command(flatten)]
    target_options: TargetOptions,
}

/// The page that was put.
#[derive(Debug, Serialize)]
struct Shown {
    /// Its URL if the stack knows it, or else its key.
    page: String,
    #[serde(flatten)]
    repositories: Repositories,
}

/// Whether there was a page.
#[derive(Debug, Serialize)]
struct Removed {
    removed: bool,
}

impl Page {
    pub(crate) async fn run(self, output: Output) -> Result<ExitStatus, Error> {
        match self.action {
            Action::Put(Put { target_options }) => {
                let context = target_options.open().await?;
                let repositories = page::put(&context.bucket()?, HTML).await?;
                output.print(&Shown { page: url(&context), repositories })?;
                Ok(ExitStatus::Yes)
            }
            Action::Rm(Rm { target_options }) => {
                let store = target_options.open().await?.bucket()?;
                let removed = page::remove(&store).await?;
                output.print(&Removed { removed })?;
                Ok(if removed { ExitStatus::Yes } else { ExitStatus::No })
            }
        }
    }
}

fn url(context: &Context) -> String {
    let base = context.output("RepositoryBaseUrl");
    base.map_or_else(|| PAGE.to_owned(), |base| format!("{}/{PAGE}", base.trim_end_matches('/')))
}

impl WriteText for Shown {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { page, repositories } = self;
        let directories = pluralize(repositories.directories.len(), "directory", "directories");
        writeln!(out, "{GOOD}put{GOOD:#} {page}, which shows {directories}")
    }
}

impl WriteText for Removed {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let said = if self.removed { "The page is removed." } else { "There is no page." };
        writeln!(out, "{said}")
    }
}

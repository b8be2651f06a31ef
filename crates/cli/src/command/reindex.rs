use std::io::{self, Write};

use alpinist_apk::text::escaped;
use alpinist_aws::s3::S3Store;
use alpinist_executions::{Execution, Executions, Status};
use alpinist_repository::{location::reindex_prefix, port, step::Report};
use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::{
    command::runs,
    context::{Context, TargetOptions},
    error::Error,
    follow,
    output::{BAD, ExitStatus, GOOD, HEADING, Output, WriteText, pluralize},
    progress::Progress,
    repository::{self, Prefix},
};

/// The maximum size of a report in bytes. A report of 100,000 packages has some ten million.
const MAX_REPORT: u64 = 256 * 1024 * 1024;

const EXAMPLES: &str = "\
Examples:
  # Rebuild everything.
  alpinist reindex --stack alpinist

  # Only what was overlooked, in one repository.
  alpinist reindex 3.22/main --stale

  # After a key was added or dropped.
  alpinist reindex --sign";

/// Rebuild fragments and indexes from the packages
///
/// Waits for the end, and shows what was found. It may run while packages are uploaded. Rejected
/// packages do not stop it; the exit status is 1 if any was rejected, or something was left undone.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Reindex {
    /// A branch, `<branch>/<repository>`, or `<branch>/<repository>/<architecture>`
    #[arg(default_value = "", hide_default_value = true)]
    prefix: Prefix,
    /// Skip packages that already have a current fragment
    #[arg(long)]
    stale: bool,
    /// Inspect no packages; only sign and publish each index again
    #[arg(long, conflicts_with = "stale")]
    sign: bool,
    #[command(flatten)]
    target_options: TargetOptions,
}

/// How a reindex ended.
#[derive(Debug, Serialize)]
struct Ended {
    id: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<Report>,
}

impl Reindex {
    pub(crate) async fn run(self, output: Output) -> Result<ExitStatus, Error> {
        let context = self.target_options.open().await?;
        let input = json!({
            "prefix": self.prefix.as_str(), "only_stale": self.stale, "sign": self.sign,
        });
        let executions = context.executions();
        repository::repositories(&context.bucket()?, &self.prefix).await?;
        let execution = start(&context, &executions, &input.to_string()).await?;
        let report = if self.sign {
            None
        } else {
            read_report(&context.bucket()?, runs::id(&execution.arn)).await?
        };
        let is_rejected = report.as_ref().is_some_and(|report| !report.rejected.is_empty());
        let answer = match execution.status {
            Status::Succeeded if !is_rejected => ExitStatus::Yes,
            _ => ExitStatus::No,
        };
        let Execution { arn, status, error, cause, .. } = execution;
        let id = runs::id(&arn).to_owned();
        output.print(&Ended { id, status: status.name(), error, cause, report })?;
        Ok(answer)
    }
}

/// Starts a reindex, and waits for its end.
pub(super) async fn start(
    context: &Context,
    executions: &Executions,
    input: &str,
) -> Result<Execution, Error> {
    let arn = executions.start(context.reindex_state_machine()?, input).await?;
    let progress = Progress::of_time();
    let ended = follow::to_the_end(executions, &arn).await?;
    drop(progress);
    Ok(ended)
}

/// Reads the report of a reindex, if it wrote one.
async fn read_report(store: &S3Store, run: &str) -> Result<Option<Report>, Error> {
    let key = format!("{}report.json", reindex_prefix(run));
    let Some(found) = port::read(store, &key, MAX_REPORT).await? else { return Ok(None) };
    serde_json::from_slice(&found.body).map(Some).map_err(|source| Error::WriteText { key, source })
}

impl WriteText for Ended {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        if let Some(report) = &self.report {
            for rejected in &report.rejected {
                writeln!(out, "{BAD}rejected{BAD:#} {}", escaped(&rejected.report.cause))?;
            }
            for (heading, keys) in [
                ("removed", &report.removed),
                ("changed meanwhile", &report.changed),
                ("failed", &report.failed),
                ("not published", &report.unpublished),
            ] {
                for key in keys {
                    writeln!(out, "{HEADING}{heading}{HEADING:#} {}", escaped(key))?;
                }
            }
            let indexed = pluralize(report.indexed.len(), "package", "packages");
            writeln!(out, "{indexed} indexed, {} unchanged", report.unchanged.len())?;
        }
        match (&self.error, &self.cause) {
            (None, _) => writeln!(out, "{GOOD}{}{GOOD:#} {}", self.status, self.id),
            (Some(error), cause) => {
                let cause = cause.as_deref().unwrap_or_default();
                writeln!(out, "{BAD}{}{BAD:#} {}: {error}: {cause}", self.status, self.id)
            }
        }
    }
}

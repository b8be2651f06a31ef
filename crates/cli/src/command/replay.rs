use std::io::{self, Write};

use alpinist_executions::{Execution, Executions};
use alpinist_repository::{failure::FailureKind, port::StoreError};
use clap::{ArgGroup, Args};
use serde::Serialize;

use crate::{
    command::{run, runs},
    context::TargetOptions,
    error::Error,
    follow::{self, Outcome, key_in, patiently},
    output::{BAD, ExitStatus, GOOD, Output, WriteText},
    progress::Progress,
    time::Since,
};

const EXAMPLES: &str = "\
Examples:
  alpinist replay 5f0c9e1e-3b1e-4c8f-a0a4-6d2f2f7f9a51 --stack alpinist

  # After an outage, or after a key was put that was missing.
  alpinist replay --failed --since 1d";

/// Continue executions that failed, and wait for their end
///
/// Redrives an execution from the state that failed, where Step Functions allows that; otherwise,
/// and to have a rejected package looked at again, starts another one with the same input. With
/// `--failed`, passes over rejected packages, which would be rejected again. The exit status is 1
/// if one fails again.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("which").required(true).args(["id", "failed"]))]
pub(crate) struct Replay {
    /// The name or ARN of an execution
    id: Option<String>,
    /// All that failed, took too long or were stopped
    #[arg(long)]
    failed: bool,
    /// How far to look back with `--failed`: `90m`, `1d`, or a time
    #[arg(long, value_name = "TIME", default_value = "1d", conflicts_with = "id")]
    since: Since,
    #[command(flatten)]
    target_options: TargetOptions,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Replayed(Vec<One>);

#[derive(Debug, Serialize)]
struct One {
    id: String,
    key: Option<String>,
    how: How,
    #[serde(flatten)]
    outcome: Outcome,
}

/// How an execution was replayed.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum How {
    Redriven,
    StartedAgain,
}

impl Replay {
    pub(crate) async fn run(self, output: Output) -> Result<ExitStatus, Error> {
        let context = self.target_options.open().await?;
        let executions = context.executions();
        let chosen = match &self.id {
            Some(id) => vec![run::find(&context, &executions, id).await?],
            None => failed(&executions, context.state_machine()?, self.since).await?,
        };
        let mut begun = Vec::new();
        for execution in chosen {
            let is_reindex = context.reindex_state_machine().ok() == Some(&execution.state_machine);
            begun.push((begin(&executions, &execution, is_reindex).await?, execution));
        }
        let progress = Progress::of_packages(begun.len());
        let mut replayed = Vec::new();
        for ((arn, how), execution) in begun {
            let ended = follow::to_the_end(&executions, &arn).await?;
            progress.add(1);
            let outcome = Outcome::of(&ended).unwrap_or(Outcome::NotObserved);
            let key = key_in(&execution.input);
            replayed.push(One { id: runs::id(&arn).to_owned(), key, how, outcome });
        }
        drop(progress);
        let is_well = replayed.iter().all(|one| one.outcome == Outcome::Published);
        output.print(&Replayed(replayed))?;
        Ok(if is_well { ExitStatus::Yes } else { ExitStatus::No })
    }
}

/// Returns the executions that failed, except those of rejected packages.
async fn failed(
    executions: &Executions,
    state_machine: &str,
    since: Since,
) -> Result<Vec<Execution>, Error> {
    let since = since.milliseconds();
    let mut listed = patiently(async || executions.list(state_machine, since).await).await?;
    listed.retain(|listed| runs::has_failed(listed.status));
    let mut found = runs::look_at_all(executions, listed).await?;
    let rejected = FailureKind::PackageRejected.name();
    found.retain(|execution| execution.error.as_deref() != Some(rejected));
    Ok(found)
}

/// Redrives an execution, or starts a new one with its input, and returns the ARN to follow.
/// Reindexes and rejected packages must start anew: the state that failed would only report the
/// same again.
async fn begin(
    executions: &Executions,
    execution: &Execution,
    is_reindex: bool,
) -> Result<(String, How), Error> {
    let is_rejected = execution.error.as_deref() == Some(FailureKind::PackageRejected.name());
    if execution.is_redrivable && !is_reindex && !is_rejected {
        match patiently(async || executions.redrive(&execution.arn).await).await {
            Ok(()) => return Ok((execution.arn.clone(), How::Redriven)),
            // It can't be redriven after all.
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let Execution { state_machine, input, .. } = execution;
    let arn = patiently(async || executions.start(state_machine, input).await).await?;
    Ok((arn, How::StartedAgain))
}

impl WriteText for Replayed {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.0.is_empty() {
            return writeln!(out, "{GOOD}nothing to do{GOOD:#}");
        }
        for One { id, key, how, outcome } in &self.0 {
            let key = key.as_deref().unwrap_or("-");
            let how = match how {
                How::Redriven => "redriven",
                How::StartedAgain => "started again",
            };
            match outcome {
                Outcome::Published => writeln!(out, "{GOOD}succeeded{GOOD:#} {id} ({how}) {key}")?,
                Outcome::Rejected { cause } => {
                    writeln!(out, "{BAD}rejected{BAD:#} {id} ({how}) {cause}")?;
                }
                Outcome::Failed { error, cause, .. } => {
                    writeln!(out, "{BAD}failed{BAD:#} {id} ({how}) {key}: {error}: {cause}")?;
                }
                Outcome::Overtaken | Outcome::NotObserved => {
                    writeln!(out, "{BAD}not seen{BAD:#} {id} ({how}) {key}")?;
                }
            }
        }
        Ok(())
    }
}

use std::{
    cmp::Reverse,
    io::{self, Write},
};

use alpinist_apk::text::escaped;
use alpinist_executions::{Execution, Executions, ListedExecution, Status};
use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use crate::{
    context::TargetOptions,
    error::Error,
    follow::{key_in, patiently},
    output::{BAD, ExitStatus, GOOD, Output, WriteText},
    time::{self, Since},
};

/// How many executions are described at once.
const PARALLEL_LOOKS: usize = 8;

const EXAMPLES: &str = "\
Examples:
  alpinist runs --stack alpinist
  alpinist runs --failed --since 7d

  # The causes of all failures of the last hour.
  alpinist runs --failed --since 1h --json | jq -r '.[].cause'";

/// List executions, the latest first
///
/// Those of the reindex are among them, without a key. `alpinist run ID` tells why one failed.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Runs {
    /// Only those that failed, took too long or were stopped
    #[arg(long)]
    failed: bool,
    /// How far to look back: `90m`, `1d`, or a time
    #[arg(long, value_name = "TIME", default_value = "1d")]
    since: Since,
    #[command(flatten)]
    target_options: TargetOptions,
}

/// Executions.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct RunList(Vec<ListedRun>);

#[derive(Debug, Serialize)]
struct ListedRun {
    id: String,
    status: &'static str,
    began: String,
    duration: Option<String>,
    key: Option<String>,
    error: Option<String>,
    cause: Option<String>,
}

impl Runs {
    pub(crate) async fn run(self, output: Output) -> Result<ExitStatus, Error> {
        let context = self.target_options.open().await?;
        let executions = context.executions();
        let since = self.since.milliseconds();
        let list =
            async |machine: &str| patiently(async || executions.list(machine, since).await).await;
        let mut listed = list(context.state_machine()?).await?;
        if let Ok(reindex) = context.reindex_state_machine() {
            listed.extend(list(reindex).await?);
            listed.sort_by_key(|listed| Reverse(listed.began));
        }
        listed.retain(|listed| !self.failed || has_failed(listed.status));
        let found = look_at_all(&executions, listed).await?;
        output.print(&RunList(found.into_iter().map(ListedRun::from).collect()))?;
        Ok(ExitStatus::Yes)
    }
}

/// Returns whether an execution ended without success.
pub(super) fn has_failed(status: Status) -> bool {
    !matches!(status, Status::Running | Status::Succeeded)
}

/// Describes executions, in the given order.
pub(super) async fn look_at_all(
    executions: &Executions,
    listed: Vec<ListedExecution>,
) -> Result<Vec<Execution>, Error> {
    let found: Vec<_> = stream::iter(listed)
        .map(|listed| async move { patiently(async || executions.find(&listed.arn).await).await })
        .buffered(PARALLEL_LOOKS)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

/// Returns the name of an execution, which identifies it in other commands.
pub(super) fn id(arn: &str) -> &str {
    arn.rsplit(':').next().unwrap_or(arn)
}

impl From<Execution> for ListedRun {
    fn from(execution: Execution) -> Self {
        let Execution { arn, status, began, ended, input, error, cause, .. } = execution;
        Self {
            id: id(&arn).to_owned(),
            status: status.name(),
            began: time::show(began),
            duration: ended.map(|ended| time::show_duration(began, ended)),
            key: key_in(&input),
            error,
            cause: cause.as_deref().map(escaped),
        }
    }
}

impl WriteText for RunList {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        for ListedRun { id, status, began, duration, key, error, .. } in &self.0 {
            let style = match *status {
                "SUCCEEDED" => GOOD,
                "RUNNING" => anstyle::Style::new(),
                _ => BAD,
            };
            let duration = duration.as_deref().unwrap_or_default();
            let (key, error) =
                (key.as_deref().unwrap_or("-"), error.as_deref().unwrap_or_default());
            let line = format!(
                "{began}  {style}{status:<9}{style:#}  {duration:>8}  {id}  {key}  {error}"
            );
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

use std::io::{self, Write};

use alpinist_apk::text::escaped;
use alpinist_executions::{Execution, Executions, Visit};
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use crate::{
    context::{Context, TargetOptions},
    error::Error,
    follow::patiently,
    output::{BAD, ExitStatus, GOOD, HEADING, Output, WriteText, escaped_lines},
    time,
};

const EXAMPLES: &str = "\
Examples:
  alpinist run 5f0c9e1e-3b1e-4c8f-a0a4-6d2f2f7f9a51 --stack alpinist

  # The whole ARN needs no stack.
  alpinist run arn:aws:states:eu-central-1:123456789012:execution:alpinist:5f0c9e1e";

/// Show an execution: its states, its input, its error and the cause
///
/// The exit status is 1 if it failed.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Run {
    /// Its name or ARN
    id: String,
    #[command(flatten)]
    target_options: TargetOptions,
}

#[derive(Debug, Serialize)]
struct Shown {
    arn: String,
    status: &'static str,
    began: String,
    duration: Option<String>,
    states: Vec<State>,
    input: Value,
    output: Option<Value>,
    error: Option<String>,
    cause: Option<String>,
    is_redrivable: bool,
    console: String,
}

#[derive(Debug, Serialize)]
struct State {
    name: String,
    /// How long the execution was in it, if it has left the state.
    duration: Option<String>,
    failed_attempts: usize,
    last_error: Option<String>,
}

impl Run {
    pub(crate) async fn run(self, output: Output) -> Result<ExitStatus, Error> {
        let context = self.target_options.open().await?;
        let executions = context.executions();
        let execution = find(&context, &executions, &self.id).await?;
        let visits = patiently(async || executions.visits(&execution.arn).await).await?;
        let has_failed = super::runs::has_failed(execution.status);
        output.print(&Shown::new(execution, visits))?;
        Ok(if has_failed { ExitStatus::No } else { ExitStatus::Yes })
    }
}

/// Finds an execution by its ARN, or by its name in either state machine.
pub(super) async fn find(
    context: &Context,
    executions: &Executions,
    id: &str,
) -> Result<Execution, Error> {
    let mut arns = Vec::new();
    if id.starts_with("arn:") {
        arns.push(id.to_owned());
    } else {
        let machines = [context.state_machine(), context.reindex_state_machine()];
        let [first, second] = machines;
        let of =
            |machine: &str| format!("{}:{id}", machine.replace(":stateMachine:", ":execution:"));
        arns.push(of(first?));
        arns.extend(second.ok().map(of));
    }
    for arn in arns {
        if let Some(found) = patiently(async || executions.find(&arn).await).await? {
            return Ok(found);
        }
    }
    Err(Error::NoExecution { id: id.to_owned() })
}

impl Shown {
    fn new(execution: Execution, visits: Vec<Visit>) -> Self {
        let Execution { arn, status, began, ended, input, output, error, cause, .. } = execution;
        let json = |text: String| serde_json::from_str(&text).unwrap_or(Value::String(text));
        Self {
            console: console(&arn),
            status: status.name(),
            began: time::show(began),
            duration: ended.map(|ended| time::show_duration(began, ended)),
            states: visits.into_iter().map(State::from).collect(),
            input: json(input),
            output: output.map(json),
            error: error.as_deref().map(escaped),
            cause: cause.as_deref().map(escaped),
            is_redrivable: execution.is_redrivable,
            arn,
        }
    }
}

/// Returns the URL of an execution in the console.
fn console(arn: &str) -> String {
    let mut parts = arn.split(':').skip(1);
    let (partition, region) = (parts.next().unwrap_or_default(), parts.nth(1).unwrap_or_default());
    let console = match partition {
        "aws-cn" => "console.amazonaws.cn",
        "aws-us-gov" => "console.amazonaws-us-gov.com",
        _ => "console.aws.amazon.com",
    };
    format!("https://{region}.{console}/states/home?region={region}#/v2/executions/details/{arn}")
}

impl From<Visit> for State {
    fn from(visit: Visit) -> Self {
        let Visit { state, entered, left, failures } = visit;
        Self {
            name: state,
            duration: left.map(|left| time::show_duration(entered, left)),
            failed_attempts: failures.len(),
            last_error: failures.into_iter().next_back().map(|(error, _)| error),
        }
    }
}

impl WriteText for Shown {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let duration = self.duration.as_deref().unwrap_or("so far");
        let style = if self.status == "SUCCEEDED" { GOOD } else { BAD };
        writeln!(out, "{style}{}{style:#} {}", self.status, self.arn)?;
        writeln!(out, "began {}, took {duration}", self.began)?;
        writeln!(out, "\n{HEADING}states{HEADING:#}")?;
        for State { name, duration, failed_attempts, last_error } in &self.states {
            let duration = duration.as_deref().unwrap_or("not left");
            write!(out, "  {name:<20} {duration:>9}")?;
            match last_error {
                Some(error) => writeln!(out, "  {BAD}{failed_attempts} × {error}{BAD:#}")?,
                None => writeln!(out)?,
            }
        }
        let output = self.output.as_ref();
        for (heading, value) in [("input", Some(&self.input)), ("output", output)] {
            if let Some(value) = value {
                let lines = escaped_lines(&format!("{value:#}")).replace('\n', "\n  ");
                writeln!(out, "\n{HEADING}{heading}{HEADING:#}\n  {lines}")?;
            }
        }
        if let Some(error) = &self.error {
            let cause = self.cause.as_deref().unwrap_or_default();
            writeln!(out, "\n{BAD}{error}{BAD:#}\n  {cause}")?;
        }
        writeln!(out, "\n{HEADING}console{HEADING:#}\n  {}", self.console)
    }
}

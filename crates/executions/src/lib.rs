//! Executions of state machines in Step Functions: the command finds, follows and starts them, and
//! `heal` [starts](starter) those that repair something.

use std::cmp::Reverse;

use alpinist_aws::error::store_error;
use alpinist_repository::port::StoreError;
use aws_sdk_sfn::{
    Client,
    error::ProvideErrorMetadata as _,
    operation::describe_execution::DescribeExecutionOutput,
    primitives::DateTime,
    types::{ExecutionListItem, ExecutionRedriveStatus, ExecutionStatus, HistoryEvent},
};
use serde_json::Value;

pub mod starter;

/// A time in milliseconds since 1970, by the clock of AWS.
pub type Milliseconds = i64;

/// The executions of Step Functions.
#[derive(Clone, Debug)]
pub struct Executions {
    client: Client,
}

/// Whether an execution runs, or how it ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// It runs, or is about to be redriven.
    Running,
    /// It succeeded.
    Succeeded,
    /// It failed.
    Failed,
    /// It exceeded its time limit.
    TimedOut,
    /// Somebody stopped it.
    Aborted,
}

impl Status {
    /// Returns its name in Step Functions.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::TimedOut => "TIMED_OUT",
            Self::Aborted => "ABORTED",
        }
    }
}

impl From<&ExecutionStatus> for Status {
    fn from(status: &ExecutionStatus) -> Self {
        match status {
            ExecutionStatus::Succeeded => Self::Succeeded,
            ExecutionStatus::Failed => Self::Failed,
            ExecutionStatus::TimedOut => Self::TimedOut,
            ExecutionStatus::Aborted => Self::Aborted,
            _ => Self::Running,
        }
    }
}

/// An execution, as a listing shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListedExecution {
    /// Its ARN.
    pub arn: String,
    /// Whether it runs, or how it ended.
    pub status: Status,
    /// When it began.
    pub began: Milliseconds,
    /// When it ended.
    pub ended: Option<Milliseconds>,
}

/// An execution as it is now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Execution {
    /// Its ARN.
    pub arn: String,
    /// The ARN of its state machine.
    pub state_machine: String,
    /// Whether it runs, or how it ended.
    pub status: Status,
    /// When it began.
    pub began: Milliseconds,
    /// When it ended.
    pub ended: Option<Milliseconds>,
    /// Its input as JSON.
    pub input: String,
    /// Its output as JSON.
    pub output: Option<String>,
    /// The name of the error with which it failed.
    pub error: Option<String>,
    /// The cause of the error: the function's message, if a function failed.
    pub cause: Option<String>,
    /// Whether it can be redriven, which resumes at the failed state.
    pub is_redrivable: bool,
}

/// One visit of an execution to a state.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Visit {
    /// The state.
    pub state: String,
    /// When it was entered.
    pub entered: Milliseconds,
    /// When it was left. A failed execution does not leave its last state.
    pub left: Option<Milliseconds>,
    /// The error and cause of each failed attempt.
    pub failures: Vec<(String, String)>,
}

/// The maximum number of executions that Step Functions lists in one response.
const MAX_PAGE: i32 = 1000;

impl Executions {
    /// Makes a view of the executions that `client` can see.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Returns the executions of a state machine that began at `since` or later, latest first.
    ///
    /// Step Functions lists "the most recent execution first", without saying by which time: an
    /// execution that began long ago and has just ended may come before one that began in between.
    /// So the listing is read up to one that ended before `since`; everything after it also began
    /// before `since`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Denied`], [`StoreError::Unavailable`].
    pub async fn list(
        &self,
        state_machine: &str,
        since: Milliseconds,
    ) -> Result<Vec<ListedExecution>, StoreError> {
        let request = self.client.list_executions().state_machine_arn(state_machine);
        // The quota counts requests, not executions.
        let mut items = request.max_results(MAX_PAGE).into_paginator().items().send();
        let mut listed = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| store_error(state_machine, &error))?;
            let item = ListedExecution::from(item);
            if item.ended.unwrap_or(item.began) < since {
                break;
            }
            listed.push(item);
        }
        listed.retain(|item| item.began >= since);
        listed.sort_by_key(|item| Reverse(item.began));
        Ok(listed)
    }

    /// Returns the most recent execution of a state machine: the one that began last, or that ended
    /// last.
    ///
    /// # Errors
    ///
    /// [`StoreError::Denied`], [`StoreError::Unavailable`].
    pub async fn latest(&self, state_machine: &str) -> Result<Option<ListedExecution>, StoreError> {
        let request = self.client.list_executions().state_machine_arn(state_machine);
        let page = request.max_results(1).send().await;
        let page = page.map_err(|error| store_error(state_machine, &error))?;
        Ok(page.executions.into_iter().next().map(ListedExecution::from))
    }

    /// Returns an execution, or `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Denied`], [`StoreError::Unavailable`].
    pub async fn find(&self, arn: &str) -> Result<Option<Execution>, StoreError> {
        match self.client.describe_execution().execution_arn(arn).send().await {
            Ok(found) => Ok(Some(found.into())),
            Err(error) if error.code() == Some("ExecutionDoesNotExist") => Ok(None),
            Err(error) => Err(store_error(arn, &error)),
        }
    }

    /// Returns the visits of an execution to its states, in order.
    ///
    /// # Errors
    ///
    /// [`StoreError::Denied`], [`StoreError::Unavailable`].
    pub async fn visits(&self, arn: &str) -> Result<Vec<Visit>, StoreError> {
        let request = self.client.get_execution_history().execution_arn(arn);
        let mut events = request.into_paginator().items().send();
        let mut visits = Vec::new();
        while let Some(event) = events.next().await {
            add(&mut visits, &event.map_err(|error| store_error(arn, &error))?);
        }
        Ok(visits)
    }

    /// Starts an execution, and returns its ARN.
    ///
    /// # Errors
    ///
    /// [`StoreError::Denied`], [`StoreError::Unavailable`].
    pub async fn start(&self, state_machine: &str, input: &str) -> Result<String, StoreError> {
        let request = self.client.start_execution().state_machine_arn(state_machine).input(input);
        let started = request.send().await.map_err(|error| store_error(state_machine, &error))?;
        Ok(started.execution_arn)
    }

    /// Redrives an execution, which resumes at the failed state.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`], if it can't be redriven; [`StoreError::Denied`],
    /// [`StoreError::Unavailable`].
    pub async fn redrive(&self, arn: &str) -> Result<(), StoreError> {
        match self.client.redrive_execution().execution_arn(arn).send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("ExecutionNotRedrivable") => {
                Err(StoreError::Conflict { key: arn.to_owned() })
            }
            Err(error) => Err(store_error(arn, &error)),
        }
    }
}

impl From<ExecutionListItem> for ListedExecution {
    fn from(item: ExecutionListItem) -> Self {
        Self {
            status: (&item.status).into(),
            began: milliseconds(&item.start_date),
            ended: item.stop_date.as_ref().map(milliseconds),
            arn: item.execution_arn,
        }
    }
}

impl From<DescribeExecutionOutput> for Execution {
    fn from(found: DescribeExecutionOutput) -> Self {
        Self {
            status: (&found.status).into(),
            began: milliseconds(&found.start_date),
            ended: found.stop_date.as_ref().map(milliseconds),
            is_redrivable: found.redrive_status == Some(ExecutionRedriveStatus::Redrivable),
            arn: found.execution_arn,
            state_machine: found.state_machine_arn,
            input: found.input.unwrap_or_default(),
            output: found.output,
            error: found.error,
            cause: found.cause.map(said),
        }
    }
}

fn milliseconds(time: &DateTime) -> Milliseconds {
    time.to_millis().unwrap_or_default()
}

/// Adds an event of the history to the visits.
fn add(visits: &mut Vec<Visit>, event: &HistoryEvent) {
    let time = milliseconds(&event.timestamp);
    if let Some(entered) = event.state_entered_event_details() {
        let state = entered.name().to_owned();
        visits.push(Visit { state, entered: time, left: None, failures: Vec::new() });
    }
    let Some(visit) = visits.last_mut() else { return };
    if event.state_exited_event_details().is_some() {
        visit.left = Some(time);
    }
    let task = event.task_failed_event_details().map(|failed| (failed.error(), failed.cause()));
    let timeout =
        event.task_timed_out_event_details().map(|failed| (failed.error(), failed.cause()));
    if let Some((error, cause)) = task.or(timeout) {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        visit.failures.push((text(error), said(text(cause))));
    }
}

/// Returns the function's message from the cause of a failure, which is JSON; otherwise the cause
/// itself.
fn said(cause: String) -> String {
    let message = serde_json::from_str::<Value>(&cause).ok();
    let message = message.as_ref().and_then(|message| message["errorMessage"].as_str());
    message.map(str::to_owned).unwrap_or(cause)
}

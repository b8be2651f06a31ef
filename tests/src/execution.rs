//! Executions of the state machine: start them, find them by package, wait for their end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use aws_sdk_sfn::primitives::DateTime;
pub use aws_sdk_sfn::types::ExecutionStatus;
use aws_sdk_sfn::types::{ExecutionListItem as Item, HistoryEvent};
use serde_json::Value;

use crate::{Error, Stack};

/// How long executions may take, including the retries that a busy machine causes.
pub(crate) const LIMIT: Duration = Duration::from_mins(2);

/// How long to wait between two checks of the executions.
const INTERVAL: Duration = Duration::from_millis(100);

/// How long to wait between two checks of very many executions.
const LONG_INTERVAL: Duration = Duration::from_secs(2);

/// An execution, as it was when it was described.
#[derive(Clone, Debug, PartialEq)]
pub struct Execution {
    /// The execution's ARN.
    pub arn: String,
    /// The key of the package that it is about, if its input names one.
    pub key: Option<String>,
    /// Whether it runs, or how it ended.
    pub status: ExecutionStatus,
    /// Its input.
    pub input: Value,
    /// Its output, if it succeeded.
    pub output: Option<Value>,
    /// The name of the error, if it failed.
    pub error: Option<String>,
    /// The cause of the error, if it failed.
    pub cause: Option<String>,
    /// When it began, by the emulator's clock, which is that of this machine.
    pub began: SystemTime,
    /// How long it took, if it ended.
    pub duration: Option<Duration>,
    /// The states that it entered, in order.
    pub states: Vec<StateVisit>,
}

/// One visit of an execution to a state.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StateVisit {
    /// The state's name.
    pub name: String,
    /// How long the visit lasted, or `None` if the execution is in this state or failed in it.
    pub duration: Option<Duration>,
    /// How often its task was started: more than once if it failed and was retried, and never if
    /// the state has no task.
    pub attempts: usize,
}

impl Execution {
    /// Returns whether it has ended, successfully or not.
    pub fn has_ended(&self) -> bool {
        self.status != ExecutionStatus::Running
    }

    /// Returns the names of the states that it entered, in order.
    pub fn state_names(&self) -> Vec<&str> {
        self.states.iter().map(|visit| visit.name.as_str()).collect()
    }

    /// Returns how many transitions AWS bills: one for each state that was entered, and one for
    /// each retry of a task.
    pub fn transitions(&self) -> usize {
        self.states.iter().map(|visit| visit.attempts.max(1)).sum()
    }

    /// Returns how often tasks were started.
    pub fn attempts(&self) -> usize {
        self.states.iter().map(|visit| visit.attempts).sum()
    }
}

impl Stack {
    /// Uploads a package, and waits until the execution that this starts has ended.
    pub async fn upload(&self, key: &str, bytes: Vec<u8>) -> Result<Execution, Error> {
        let earlier = self.started(key).await?.len();
        self.put(key, bytes).await?;
        self.follow(key, earlier, |_| {}).await
    }

    /// Deletes a package, and waits until the execution that this starts has ended.
    pub async fn remove(&self, key: &str) -> Result<Execution, Error> {
        let earlier = self.started(key).await?.len();
        self.delete(key).await?;
        self.follow(key, earlier, |_| {}).await
    }

    /// Waits for the execution about the package at `key` that comes after `earlier` others, and
    /// follows it to its end.
    ///
    /// Calls `on_exit` for each state as soon as the execution has left it.
    pub async fn follow(
        &self,
        key: &str,
        earlier: usize,
        mut on_exit: impl FnMut(&StateVisit),
    ) -> Result<Execution, Error> {
        let since = Instant::now();
        let mut told = 0;
        loop {
            if let Some(execution) = self.executions(key).await?.into_iter().nth(earlier) {
                let left = execution.states.iter().take_while(|visit| visit.duration.is_some());
                for visit in left.skip(told) {
                    on_exit(visit);
                    told += 1;
                }
                if execution.has_ended() {
                    return Ok(execution);
                }
            }
            pause(since, LIMIT, || format!("the end of execution {} for `{key}`", earlier + 1))
                .await?;
        }
    }

    /// Starts an execution by hand and waits until it has ended.
    pub async fn execute(&self, input: &Value) -> Result<Execution, Error> {
        self.execute_machine(self.state_machine(), input, LIMIT).await
    }

    /// Starts a reindex and waits until it has ended, for an hour at most.
    pub async fn reindex(&self, input: &Value) -> Result<Execution, Error> {
        self.execute_machine(self.reindex_state_machine(), input, Duration::from_hours(1)).await
    }

    /// Redrives a failed execution from the state that failed, and waits until it has ended.
    pub async fn redrive(&self, arn: &str) -> Result<Execution, Error> {
        let sent = self.sfn().redrive_execution().execution_arn(arn).send().await;
        sent.map_err(Error::service("redrive", arn))?;
        self.end_of(arn, LIMIT).await
    }

    async fn execute_machine(
        &self,
        machine: &str,
        input: &Value,
        limit: Duration,
    ) -> Result<Execution, Error> {
        let start = self.sfn().start_execution().state_machine_arn(machine);
        let started = start.input(input.to_string()).send().await;
        let started = started.map_err(Error::service("start", machine))?;
        self.end_of(&started.execution_arn, limit).await
    }

    async fn end_of(&self, arn: &str, limit: Duration) -> Result<Execution, Error> {
        let since = Instant::now();
        loop {
            let described = self.sfn().describe_execution().execution_arn(arn).send().await;
            let described = described.map_err(Error::service("describe", arn))?;
            if described.status != ExecutionStatus::Running {
                return self.execution(arn).await;
            }
            pause(since, limit, || format!("the end of {arn}")).await?;
        }
    }

    /// Waits until there are at least `count` executions about the package at `key`, or about any
    /// package below `key` if that ends in `/`, and all of them have ended.
    ///
    /// Returns them in the order in which they started.
    pub async fn wait_for_executions(
        &self,
        key: &str,
        count: usize,
    ) -> Result<Vec<Execution>, Error> {
        let since = Instant::now();
        loop {
            let started = self.started(key).await?;
            let running =
                started.iter().filter(|started| started.status == ExecutionStatus::Running).count();
            if started.len() >= count && running == 0 {
                return self.look_at(&started).await;
            }
            let seen = started.len();
            let what = || format!("the end of {count} for `{key}` ({seen} began, {running} run)");
            pause(since, LIMIT, what).await?;
        }
    }

    /// Waits until at least `count` executions have been started in all, and all have ended.
    ///
    /// Returns how many ended with each status. It only lists executions, however many there are.
    pub async fn wait_until_idle(
        &self,
        count: usize,
        limit: Duration,
    ) -> Result<BTreeMap<String, usize>, Error> {
        let since = Instant::now();
        loop {
            let all = self.list_executions().await?;
            let running = all.iter().filter(|started| started.status == ExecutionStatus::Running);
            let running = running.count();
            if all.len() >= count && running == 0 {
                let mut ends = BTreeMap::new();
                for started in all {
                    *ends.entry(started.status.to_string()).or_default() += 1;
                }
                return Ok(ends);
            }
            if since.elapsed() > limit {
                let what = format!("the end of {count} ({} began, {running} run)", all.len());
                return Err(Error::Deadline { what, limit });
            }
            tokio::time::sleep(LONG_INTERVAL).await;
        }
    }

    /// Returns when the last execution ended, if any has ended.
    pub async fn last_end(&self) -> Result<Option<SystemTime>, Error> {
        Ok(self.list_executions().await?.into_iter().filter_map(|started| started.ended).max())
    }

    /// Returns the executions about the package at `key`, or about any package below `key` if that
    /// ends in `/`, in the order in which they started.
    pub async fn executions(&self, key: &str) -> Result<Vec<Execution>, Error> {
        self.look_at(&self.started(key).await?).await
    }

    /// Returns an execution as it is now.
    pub async fn execution(&self, arn: &str) -> Result<Execution, Error> {
        let described = self.sfn().describe_execution().execution_arn(arn).send().await;
        let described = described.map_err(Error::service("describe", arn))?;
        let input = json(described.input.as_deref().unwrap_or_default())?;
        // The emulator repeats the error as the output; on AWS, a failed execution has no output.
        let output = described.output.filter(|_| described.error.is_none());
        let times = Some(described.start_date).zip(described.stop_date);
        Ok(Execution {
            arn: arn.to_owned(),
            key: key_of(&input),
            status: described.status,
            output: output.as_deref().map(json).transpose()?,
            error: described.error,
            cause: described.cause,
            began: time(&described.start_date),
            duration: times.map(|(start, stop)| between(&start, &stop)),
            states: state_visits(&self.history(arn).await?),
            input,
        })
    }

    async fn look_at(&self, started: &[Started]) -> Result<Vec<Execution>, Error> {
        let mut executions = Vec::new();
        for started in started {
            executions.push(self.execution(&started.arn).await?);
        }
        Ok(executions)
    }

    /// Lists the executions about these packages, in the order in which they started.
    async fn started(&self, key: &str) -> Result<Vec<Started>, Error> {
        let mut all = self.list_executions().await?;
        all.sort_by_key(|started| started.at);
        let mut wanted = Vec::new();
        for started in all {
            if self.input_key(&started.arn).await?.is_some_and(|found| is_about(&found, key)) {
                wanted.push(started);
            }
        }
        Ok(wanted)
    }

    async fn list_executions(&self) -> Result<Vec<Started>, Error> {
        let list = self.sfn().list_executions().state_machine_arn(self.state_machine());
        let mut items = list.into_paginator().items().send();
        let mut all = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(Error::service("list executions of", self.state_machine()))?;
            let Item { execution_arn: arn, status, start_date, stop_date, .. } = item;
            let ended = stop_date.map(|stop| time(&stop));
            all.push(Started { at: start_date.as_nanos(), ended, arn, status });
        }
        Ok(all)
    }

    /// Returns the key in an execution's input. It never changes, so it is requested only once.
    async fn input_key(&self, arn: &str) -> Result<Option<String>, Error> {
        if let Some(key) = self.input_keys().lock().await.get(arn) {
            return Ok(key.clone());
        }
        let described = self.sfn().describe_execution().execution_arn(arn).send().await;
        let described = described.map_err(Error::service("describe", arn))?;
        let key = key_of(&json(described.input.as_deref().unwrap_or_default())?);
        self.input_keys().lock().await.insert(arn.to_owned(), key.clone());
        Ok(key)
    }

    async fn history(&self, arn: &str) -> Result<Vec<HistoryEvent>, Error> {
        let get = self.sfn().get_execution_history().execution_arn(arn);
        let mut items = get.into_paginator().items().send();
        let mut events = Vec::new();
        while let Some(item) = items.next().await {
            events.push(item.map_err(Error::service("get the history of", arn))?);
        }
        Ok(events)
    }
}

/// An execution, as far as a listing describes it.
struct Started {
    arn: String,
    /// Nanoseconds since 1970.
    at: i128,
    ended: Option<SystemTime>,
    status: ExecutionStatus,
}

/// Waits a little before the next check. Fails if the limit has passed.
pub(crate) async fn pause(
    since: Instant,
    limit: Duration,
    what: impl FnOnce() -> String,
) -> Result<(), Error> {
    if since.elapsed() > limit {
        return Err(Error::Deadline { what: what(), limit });
    }
    tokio::time::sleep(INTERVAL).await;
    Ok(())
}

fn is_about(found: &str, key: &str) -> bool {
    if key.ends_with('/') { found.starts_with(key) } else { found == key }
}

/// Finds the package's key in an input, from an event or made by hand.
fn key_of(input: &Value) -> Option<String> {
    let key = input.pointer("/detail/object/key").or_else(|| input.get("key"))?;
    key.as_str().map(str::to_owned)
}

fn json(text: &str) -> Result<Value, Error> {
    let reply = || text.to_owned();
    serde_json::from_str(text)
        .map_err(|_| Error::Reply { what: "an execution's input or output", reply: reply() })
}

fn state_visits(events: &[HistoryEvent]) -> Vec<StateVisit> {
    let mut visits: Vec<(StateVisit, DateTime)> = Vec::new();
    for event in events {
        if let Some(entered) = event.state_entered_event_details() {
            let visit = StateVisit { name: entered.name.clone(), duration: None, attempts: 0 };
            visits.push((visit, event.timestamp));
        }
        if let (Some(_), Some((visit, _))) =
            (event.task_scheduled_event_details(), visits.last_mut())
        {
            visit.attempts += 1;
        }
        if let (Some(_), Some((visit, since))) =
            (event.state_exited_event_details(), visits.last_mut())
        {
            visit.duration = Some(between(since, &event.timestamp));
        }
    }
    visits.into_iter().map(|(visit, _)| visit).collect()
}

fn time(time: &DateTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + between(&DateTime::from_secs(0), time)
}

fn between(start: &DateTime, stop: &DateTime) -> Duration {
    let nanoseconds = stop.as_nanos().saturating_sub(start.as_nanos());
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or_default())
}

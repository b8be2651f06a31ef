//! Follows executions to their end.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use alpinist_apk::value::printable;
use alpinist_aws::executions::{Execution, Executions, Listed, Milliseconds, Status};
use alpinist_repository::{failure::FailureKind, port::ETag};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use serde_json::Value;

use crate::error::Error;

/// How long to wait between two looks.
const INTERVAL: Duration = Duration::from_millis(500);

/// How long S3 and EventBridge may take until an execution begins. They take a second or two.
const PATIENCE: Duration = Duration::from_mins(2);

/// How many executions are looked at, at the same time.
const PARALLEL_LOOKS: usize = 8;

/// A change of the bucket, of which an execution takes notice.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Change {
    /// The key of the package.
    pub(crate) key: String,
    /// The version that was written, or `None` if it was deleted.
    pub(crate) etag: Option<ETag>,
}

/// What became of a change.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum End {
    /// The published index has it.
    Published,
    /// The package may not be listed.
    Refused {
        /// Why, and what to do.
        cause: String,
    },
    /// The execution failed.
    Failed {
        /// Its ARN.
        execution: String,
        /// The name of the error.
        error: String,
        /// Its cause, and what to do.
        cause: String,
    },
    /// No execution began.
    NotSeen,
}

impl End {
    /// Tells how an execution ended, or `None` if it has not.
    pub(crate) fn of(execution: &Execution) -> Option<Self> {
        let text = |text: &Option<String>| printable(text.as_deref().unwrap_or_default());
        let Execution { arn, status, error, cause, .. } = execution;
        match status {
            Status::Running => None,
            Status::Succeeded => Some(Self::Published),
            _ if error.as_deref() == Some(FailureKind::PackageRefused.name()) => {
                Some(Self::Refused { cause: text(cause) })
            }
            status => Some(Self::Failed {
                execution: arn.clone(),
                error: error.clone().unwrap_or_else(|| status.name().to_owned()),
                cause: text(cause),
            }),
        }
    }
}

/// Watches the executions of a state machine that begin from now on.
pub(crate) struct Watch<'a> {
    executions: &'a Executions,
    state_machine: &'a str,
    /// When one of the last before began, and which ones there were since then.
    since: Milliseconds,
    before: HashSet<String>,
    /// The changes that executions are about, by ARN. It is asked for once.
    about: HashMap<String, Option<Change>>,
    /// Whether one of those that are about our changes has not ended yet.
    is_running: bool,
}

impl<'a> Watch<'a> {
    /// Begins to watch. What is changed from now on will be seen.
    pub(crate) async fn begin(
        executions: &'a Executions,
        state_machine: &'a str,
    ) -> Result<Self, Error> {
        let latest = executions.latest(state_machine).await?;
        let since = latest.map_or(0, |latest| latest.began);
        let before = executions.list(state_machine, since).await?;
        let before = before.into_iter().map(|listed| listed.arn).collect();
        Ok(Self {
            executions,
            state_machine,
            since,
            before,
            about: HashMap::new(),
            is_running: false,
        })
    }

    /// Waits for the end of the executions that these changes cause, and returns the ends in their order.
    /// Calls `ended` with the number of those that have ended.
    pub(crate) async fn follow(
        mut self,
        changes: &[Change],
        mut ended: impl FnMut(usize),
    ) -> Result<Vec<End>, Error> {
        let mut ends: Vec<Option<End>> = changes.iter().map(|_| None).collect();
        let mut last_news = Instant::now();
        loop {
            for execution in self.look(changes).await? {
                let Some(Some(about)) = self.about.get(&execution.arn) else { continue };
                let places = changes.iter().zip(&mut ends).filter(|(change, _)| *change == about);
                for (_, end) in places.filter(|(_, end)| end.is_none()) {
                    *end = End::of(&execution);
                    last_news = Instant::now();
                }
            }
            if self.is_running {
                last_news = Instant::now();
            }
            let count = ends.iter().flatten().count();
            ended(count);
            if count == ends.len() || last_news.elapsed() > PATIENCE {
                return Ok(ends.into_iter().map(|end| end.unwrap_or(End::NotSeen)).collect());
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Returns executions that were not seen before, and those that have ended since, once each.
    async fn look(&mut self, changes: &[Change]) -> Result<Vec<Execution>, Error> {
        let mut listed = self.executions.list(self.state_machine, self.since).await?;
        listed.retain(|listed| !self.before.contains(&listed.arn));
        let is_news = |listed: &&Listed| {
            listed.status != Status::Running || !self.about.contains_key(&listed.arn)
        };
        let arns: Vec<_> = listed.iter().filter(is_news).map(|listed| listed.arn.clone()).collect();
        let executions = self.executions;
        let found: Vec<_> = stream::iter(arns)
            .map(|arn| async move { executions.find(&arn).await })
            .buffer_unordered(PARALLEL_LOOKS)
            .try_collect()
            .await?;
        let found: Vec<_> = found.into_iter().flatten().collect();
        for execution in &found {
            let about = change_in(&execution.input);
            self.about.insert(execution.arn.clone(), about);
            if execution.status != Status::Running {
                self.before.insert(execution.arn.clone());
            }
        }
        let is_ours = |listed: &Listed| match self.about.get(&listed.arn) {
            Some(Some(about)) => changes.contains(about),
            _ => false,
        };
        self.is_running =
            listed.iter().any(|listed| !self.before.contains(&listed.arn) && is_ours(listed));
        Ok(found)
    }
}

/// Returns the change of which an event tells.
fn change_in(input: &str) -> Option<Change> {
    let event: Value = serde_json::from_str(input).ok()?;
    let text = |pointer| event.pointer(pointer).and_then(Value::as_str);
    let key = text("/detail/object/key")?.to_owned();
    let etag = match text("/detail-type")? {
        "Object Deleted" => None,
        _ => Some(ETag(format!("\"{}\"", text("/detail/object/etag")?.trim_matches('"')))),
    };
    Some(Change { key, etag })
}

/// Waits for the end of an execution.
pub(crate) async fn to_the_end(executions: &Executions, arn: &str) -> Result<Execution, Error> {
    loop {
        let found = executions.find(arn).await?;
        let execution = found.ok_or_else(|| Error::NoExecution { id: arn.to_owned() })?;
        if execution.status != Status::Running {
            return Ok(execution);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Returns the key of the package that an execution is about, for people: whoever may upload chooses it.
pub(crate) fn key_in(input: &str) -> Option<String> {
    let input: Value = serde_json::from_str(input).ok()?;
    let key = input.pointer("/detail/object/key").or_else(|| input.get("key"))?;
    key.as_str().map(printable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_tells_of_a_change() {
        let event = |kind: &str| {
            format!(
                r#"{{"detail-type": "{kind}", "detail": {{"object": {{"key": "k", "etag": "1"}}}}}}"#
            )
        };
        let written = Change { key: "k".into(), etag: Some(ETag("\"1\"".into())) };
        assert_eq!(change_in(&event("Object Created")), Some(written));
        let deleted = Change { key: "k".into(), etag: None };
        assert_eq!(change_in(&event("Object Deleted")), Some(deleted));
        assert_eq!(change_in(r#"{"bucket": "b", "key": "k"}"#), None);
        assert_eq!(key_in(r#"{"bucket": "b", "key": "k"}"#), Some("k".into()));
        assert_eq!(key_in(&event("Object Created")), Some("k".into()));
    }
}

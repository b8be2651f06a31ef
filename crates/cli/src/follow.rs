//! Follows changes of the bucket until they are published, and executions until they end.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use alpinist_apk::{
    checksum::Identity,
    index::Index,
    index_archive::{self, IndexArchive},
    text::escaped,
};
use alpinist_aws::s3::{Newer, S3Store};
use alpinist_executions::{Execution, Executions, ListedExecution, Milliseconds, Status};
use alpinist_repository::{
    failure::FailureKind,
    location::{PackageKey, RepositoryPrefix},
    port::{ETag, ObjectStore as _, StoreError},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::error::Error;

/// The first and the longest interval between two checks. It grows by half with each check that
/// finds nothing new.
const INTERVALS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];

/// The first and the longest time between queries about changes that no index has yet. All waiting
/// commands share one quota of such requests: 100 at once, and then 2 each second.
const QUESTIONS: [Duration; 2] = [Duration::from_secs(8), Duration::from_mins(1)];

/// How long S3 and EventBridge may take to start an execution. They usually take a second or two.
const PATIENCE: Duration = Duration::from_mins(2);

/// How far the clock of this machine may be off where executions are selected by it.
const CLOCK_MARGIN: Duration = Duration::from_mins(1);

/// How many executions or packages are checked at once.
const PARALLEL_LOOKS: usize = 8;

/// How often a throttled request is retried, after a second at first and then twice as long each
/// time.
const REPETITIONS: u32 = 5;

/// A change of the bucket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Change {
    /// The key of the package.
    pub(crate) key: String,
    /// The version that was written, or `None` if it was deleted.
    pub(crate) etag: Option<ETag>,
    /// What an index that has the change says of the package.
    pub(crate) listed: Listing,
}

/// What an index says of a package.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Listing {
    /// It is listed with this size and identity.
    As(u64, Identity),
    /// It is not listed.
    Not,
    /// What it will say is not known.
    Unknown,
}

impl Change {
    /// Returns the deletion of a package.
    pub(crate) fn deletion(key: String) -> Self {
        Self { key, etag: None, listed: Listing::Not }
    }

    /// Returns whether a published index has the change.
    fn is_in(&self, key: &PackageKey, index: &Index) -> bool {
        let mut entries = index.entries().iter();
        match self.listed {
            Listing::As(size, identity) => entries.any(|entry| {
                entry.file_stem() == key.stem() && entry.size == size && entry.identity == identity
            }),
            Listing::Not => !entries.any(|entry| entry.file_stem() == key.stem()),
            Listing::Unknown => false,
        }
    }
}

/// What became of a change.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// The published index has it.
    Published,
    /// The package was rejected.
    Rejected {
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
    /// Somebody else wrote or deleted the package after that.
    Overtaken,
    /// No execution was seen.
    NotObserved,
}

impl Outcome {
    /// Returns how an execution ended, or `None` if it is still running.
    pub(crate) fn of(execution: &Execution) -> Option<Self> {
        let text = |text: &Option<String>| escaped(text.as_deref().unwrap_or_default());
        let Execution { arn, status, error, cause, .. } = execution;
        match status {
            Status::Running => None,
            Status::Succeeded => Some(Self::Published),
            _ if error.as_deref() == Some(FailureKind::PackageRejected.name()) => {
                Some(Self::Rejected { cause: text(cause) })
            }
            status => Some(Self::Failed {
                execution: arn.clone(),
                error: error.clone().unwrap_or_else(|| status.name().to_owned()),
                cause: text(cause),
            }),
        }
    }
}

/// Watches until changes that are made from now on are published.
///
/// It checks the published indexes, with one conditional request for each directory, however many
/// packages there are and however many others wait. It queries executions only about changes that
/// no index has after a while.
pub(crate) struct Watch<'a> {
    store: &'a S3Store,
    executions: &'a Executions,
    state_machine: &'a str,
    /// Executions that began earlier are about other changes.
    since: Milliseconds,
    /// The executions that have ended and were inspected.
    looked_at: HashSet<String>,
    /// Executions that begin later are about other changes.
    until: Milliseconds,
}

/// A directory whose index is awaited.
struct Directory {
    prefix: RepositoryPrefix,
    /// The version of the index that was read last.
    seen: Option<ETag>,
    /// Whether these credentials may not read it, or not learn that it does not exist.
    is_hidden: bool,
    /// The changes that it must have, by their numbers.
    awaited: Vec<(usize, PackageKey)>,
}

impl<'a> Watch<'a> {
    /// Begins to watch. Changes made from now on will be seen.
    pub(crate) async fn begin(
        store: &'a S3Store,
        executions: &'a Executions,
        state_machine: &'a str,
    ) -> Result<Self, Error> {
        let since = match executions.latest(state_machine).await {
            Ok(latest) => latest.map_or(0, |latest| latest.ended.unwrap_or(latest.began)),
            Err(StoreError::Unavailable { .. }) => {
                (Timestamp::now() - CLOCK_MARGIN).as_millisecond()
            }
            Err(error) => return Err(error.into()),
        };
        let until = Milliseconds::MAX;
        Ok(Self { store, executions, state_machine, since, looked_at: HashSet::new(), until })
    }

    /// Waits until each change is published or is known to have failed, and returns the ends in
    /// order. Calls `ended` with the number of known ends.
    pub(crate) async fn follow(
        mut self,
        changes: &[Change],
        mut ended: impl FnMut(usize),
    ) -> Result<Vec<Outcome>, Error> {
        let mut outcomes: Vec<Option<Outcome>> = changes.iter().map(|_| None).collect();
        let mut directories = by_directory(changes);
        let [mut interval, longest_interval] = INTERVALS;
        let [mut question, longest_question] = QUESTIONS;
        let (mut last_news, mut last_question) = (Instant::now(), Instant::now());
        self.until = (Timestamp::now() + PATIENCE + CLOCK_MARGIN).as_millisecond();
        loop {
            let known = outcomes.iter().flatten().count();
            for directory in &mut directories {
                directory
                    .awaited
                    .retain(|(number, _)| outcomes.get(*number).is_some_and(Option::is_none));
                if !directory.awaited.is_empty() {
                    self.look(directory, changes, &mut outcomes).await?;
                }
            }
            let is_all = |outcomes: &[Option<Outcome>]| outcomes.iter().all(Option::is_some);
            if !is_all(&outcomes) && last_question.elapsed() >= question {
                let is_hidden = directories.iter().any(|directory| directory.is_hidden);
                if self.ask(changes, &mut outcomes, is_hidden).await? {
                    last_news = Instant::now();
                }
                question = (question * 2).min(longest_question);
                last_question = Instant::now();
            }
            let count = outcomes.iter().flatten().count();
            ended(count);
            if count > known {
                (last_news, interval) = (Instant::now(), INTERVALS[0]);
            }
            if is_all(&outcomes) || last_news.elapsed() > PATIENCE {
                return Ok(outcomes
                    .into_iter()
                    .map(|outcome| outcome.unwrap_or(Outcome::NotObserved))
                    .collect());
            }
            tokio::time::sleep(interval).await;
            interval = (interval * 3 / 2).min(longest_interval);
        }
    }

    /// Reads an index if it has changed.
    async fn look(
        &self,
        directory: &mut Directory,
        changes: &[Change],
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), Error> {
        let key = directory.prefix.index_key();
        let index = match self
            .store
            .newer(&key, directory.seen.as_ref(), index_archive::MAX_LENGTH)
            .await
        {
            Ok(Newer::Object { etag, bytes }) => {
                directory.seen = Some(etag);
                // An execution fixes a damaged one.
                IndexArchive::read(&bytes).ok().map(|read| read.index)
            }
            Ok(Newer::Nothing) => Some(Index::default()),
            Ok(Newer::Same) | Err(StoreError::Unavailable { .. }) => None,
            Err(StoreError::Denied { .. }) => {
                directory.is_hidden = true;
                None
            }
            Err(error) => return Err(error.into()),
        };
        let Some(index) = index else { return Ok(()) };
        for (number, key) in &directory.awaited {
            if let (Some(change), Some(outcome)) = (changes.get(*number), outcomes.get_mut(*number))
                && change.is_in(key, &index)
            {
                *outcome = Some(Outcome::Published);
            }
        }
        Ok(())
    }

    /// Queries executions about the changes that no index has. Returns whether an execution is
    /// running that may be about them; if the request is throttled, returns that none is.
    async fn ask(
        &mut self,
        changes: &[Change],
        outcomes: &mut [Option<Outcome>],
        is_hidden: bool,
    ) -> Result<bool, Error> {
        let missing = |outcomes: &[Option<Outcome>]| {
            let missing = changes.iter().zip(outcomes).enumerate();
            let missing = missing.filter(|(_, (_, outcome))| outcome.is_none());
            missing.map(|(number, (change, _))| (number, change)).collect::<Vec<_>>()
        };
        let mut listed = match self.executions.list(self.state_machine, self.since).await {
            Ok(listed) => listed,
            Err(StoreError::Unavailable { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        listed.retain(|listed| listed.began <= self.until);
        let is_running = listed.iter().any(|listed| listed.status == Status::Running);
        // Success says no more than the index does, unless an index or an entry is unknown, or no
        // execution is running any more.
        let is_unknown =
            missing(outcomes).iter().any(|(_, change)| change.listed == Listing::Unknown);
        let all = is_hidden || is_unknown || !is_running;
        let is_news = |listed: &&ListedExecution| {
            listed.status != Status::Running
                && (all || listed.status != Status::Succeeded)
                && !self.looked_at.contains(&listed.arn)
        };
        let arns: Vec<_> = listed.iter().filter(is_news).map(|listed| listed.arn.clone()).collect();
        let executions = self.executions;
        let found = stream::iter(arns)
            .map(|arn| async move { executions.find(&arn).await })
            .buffer_unordered(PARALLEL_LOOKS)
            .filter_map(async |found| match found {
                Ok(found) => found.map(Ok),
                Err(StoreError::Unavailable { .. }) => None,
                Err(error) => Some(Err(error)),
            });
        for execution in found.try_collect::<Vec<_>>().await? {
            let about = change_in(&execution.input);
            for (number, change) in missing(outcomes) {
                let is_it = about
                    .as_ref()
                    .is_some_and(|(key, etag)| *key == change.key && *etag == change.etag);
                if is_it && let Some(outcome) = outcomes.get_mut(number) {
                    *outcome = Outcome::of(&execution);
                }
            }
            self.looked_at.insert(execution.arn);
        }
        let looks = missing(outcomes).into_iter().map(async |(number, change)| {
            Ok::<_, Error>((number, self.is_overtaken(change).await?))
        });
        let looks: Vec<_> =
            stream::iter(looks).buffer_unordered(PARALLEL_LOOKS).try_collect().await?;
        for (number, is_overtaken) in looks {
            if is_overtaken && let Some(outcome) = outcomes.get_mut(number) {
                *outcome = Some(Outcome::Overtaken);
            }
        }
        Ok(is_running)
    }

    /// Returns whether somebody else has replaced or deleted what the change left in the bucket.
    async fn is_overtaken(&self, change: &Change) -> Result<bool, Error> {
        match self.store.head(&change.key).await {
            Ok(found) => Ok(found.map(|found| found.etag) != change.etag),
            // Credentials that may upload may not be allowed to read or list.
            Err(StoreError::Denied { .. } | StoreError::Unavailable { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn by_directory(changes: &[Change]) -> Vec<Directory> {
    let mut directories = BTreeMap::new();
    for (number, change) in changes.iter().enumerate() {
        let Ok(key) = change.key.parse::<PackageKey>() else { continue };
        let directory = directories.entry(key.prefix().to_string()).or_insert_with(|| Directory {
            prefix: key.prefix().clone(),
            seen: None,
            is_hidden: false,
            awaited: Vec::new(),
        });
        directory.awaited.push((number, key));
    }
    directories.into_values().collect()
}

/// Returns the change that an event reports.
fn change_in(input: &str) -> Option<(String, Option<ETag>)> {
    let event: Value = serde_json::from_str(input).ok()?;
    let text = |pointer| event.pointer(pointer).and_then(Value::as_str);
    let key = text("/detail/object/key")?.to_owned();
    let etag = match text("/detail-type")? {
        "Object Deleted" => None,
        _ => Some(ETag(format!("\"{}\"", text("/detail/object/etag")?.trim_matches('"')))),
    };
    Some((key, etag))
}

/// Waits for the end of an execution.
pub(crate) async fn to_the_end(executions: &Executions, arn: &str) -> Result<Execution, Error> {
    let [mut interval, longest] = INTERVALS;
    loop {
        let found = patiently(async || executions.find(arn).await).await?;
        let execution = found.ok_or_else(|| Error::NoExecution { id: arn.to_owned() })?;
        if execution.status != Status::Running {
            return Ok(execution);
        }
        tokio::time::sleep(interval).await;
        interval = (interval * 3 / 2).min(longest);
    }
}

/// Retries a request while AWS throttles it, more slowly each time.
pub(crate) async fn patiently<T>(
    ask: impl AsyncFn() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    for repetition in 0..REPETITIONS {
        match ask().await {
            Err(StoreError::Unavailable { .. }) => {
                tokio::time::sleep(Duration::from_secs(1 << repetition)).await;
            }
            outcome => return outcome,
        }
    }
    ask().await
}

/// Returns the key of the package that an execution is about, escaped for display: the uploader
/// chooses it.
pub(crate) fn key_in(input: &str) -> Option<String> {
    let input: Value = serde_json::from_str(input).ok()?;
    let key = input.pointer("/detail/object/key").or_else(|| input.get("key"))?;
    key.as_str().map(escaped)
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
        let written = ("k".to_owned(), Some(ETag("\"1\"".into())));
        assert_eq!(change_in(&event("Object Created")), Some(written));
        assert_eq!(change_in(&event("Object Deleted")), Some(("k".to_owned(), None)));
        assert_eq!(change_in(r#"{"bucket": "b", "key": "k"}"#), None);
        assert_eq!(key_in(r#"{"bucket": "b", "key": "k"}"#), Some("k".into()));
        assert_eq!(key_in(&event("Object Created")), Some("k".into()));
    }
}

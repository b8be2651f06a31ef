//! Follows changes of the bucket until they are published, and executions to their end.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use alpinist_apk::{
    checksum::PullChecksum,
    index::Index,
    index_archive::{self, IndexArchive},
    text::escaped,
};
use alpinist_aws::s3::{Newer, S3Store};
use alpinist_executions::{Execution, Executions, Listed, Milliseconds, Status};
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

/// How long to wait between two looks at first, and at most. Each look of nobody's news makes it
/// longer by half.
const INTERVALS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];

/// How long to wait until executions are asked about changes that no index has, and at most until
/// they are asked again. All who wait share one quota of such requests: 100 at once, and then 2
/// each second.
const QUESTIONS: [Duration; 2] = [Duration::from_secs(8), Duration::from_mins(1)];

/// How long S3 and EventBridge may take until an execution begins. They take a second or two.
const PATIENCE: Duration = Duration::from_mins(2);

/// How much the clock of this machine may be fast, where nothing else tells when executions are
/// news.
const CLOCK_MARGIN: Duration = Duration::from_mins(1);

/// How many executions are looked at, at the same time.
const PARALLEL_LOOKS: usize = 8;

/// How often a request is made again that AWS throttles, after a second at first and then twice as
/// long each time.
const REPETITIONS: u32 = 5;

/// A change of the bucket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Change {
    /// The key of the package.
    pub(crate) key: String,
    /// The version that was written, or `None` if it was deleted.
    pub(crate) etag: Option<ETag>,
    /// What an index says that has it.
    pub(crate) listed: Listing,
}

/// What an index says of a package.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Listing {
    /// It is listed with this size and checksum.
    As(u64, PullChecksum),
    /// It is not listed.
    Not,
    /// What it says is not known before.
    Unknown,
}

impl Change {
    /// Returns the deletion of a package.
    pub(crate) fn deletion(key: String) -> Self {
        Self { key, etag: None, listed: Listing::Not }
    }

    /// Returns whether a published index, or none, has the change.
    fn is_in(&self, key: &PackageKey, index: &Index) -> bool {
        let mut entries = index.entries().iter();
        match self.listed {
            Listing::As(size, checksum) => entries.any(|entry| {
                entry.file_stem() == key.stem() && entry.size == size && entry.checksum == checksum
            }),
            Listing::Not => !entries.any(|entry| entry.file_stem() == key.stem()),
            Listing::Unknown => false,
        }
    }
}

/// What became of a change.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum End {
    /// The published index has it.
    Published,
    /// The package may not be listed.
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
    /// No execution began.
    NotObserved,
}

impl End {
    /// Returns how an execution ended, or `None` if it has not.
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

/// Watches for changes that are made from now on.
///
/// What is published tells of them: one conditional request for the index of a directory at a time,
/// however many packages there are, and however many others wait. Executions are asked only about
/// what no index has after a while.
pub(crate) struct Watch<'a> {
    store: &'a S3Store,
    executions: &'a Executions,
    state_machine: &'a str,
    /// Executions that began before tell of something else.
    since: Milliseconds,
    /// Those that have ended, and that were looked at.
    looked_at: HashSet<String>,
    /// Those that begin later are about something else.
    until: Milliseconds,
}

/// A directory whose index is awaited.
struct Directory {
    prefix: RepositoryPrefix,
    /// The version of the index that was read last.
    seen: Option<ETag>,
    /// Whether these credentials may not read it, or not know that there is none.
    is_hidden: bool,
    /// The changes that it is to have, by their places.
    awaited: Vec<(usize, PackageKey)>,
}

impl<'a> Watch<'a> {
    /// Begins to watch. What is changed from now on will be seen.
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

    /// Waits until these changes are published, or until it is known why not, and returns the ends
    /// in their order. Calls `ended` with the number of those that are known.
    pub(crate) async fn follow(
        mut self,
        changes: &[Change],
        mut ended: impl FnMut(usize),
    ) -> Result<Vec<End>, Error> {
        let mut ends: Vec<Option<End>> = changes.iter().map(|_| None).collect();
        let mut directories = by_directory(changes);
        let [mut interval, longest_interval] = INTERVALS;
        let [mut question, longest_question] = QUESTIONS;
        let (mut last_news, mut last_question) = (Instant::now(), Instant::now());
        self.until = (Timestamp::now() + PATIENCE + CLOCK_MARGIN).as_millisecond();
        loop {
            let known = ends.iter().flatten().count();
            for directory in &mut directories {
                directory
                    .awaited
                    .retain(|(number, _)| ends.get(*number).is_some_and(Option::is_none));
                if !directory.awaited.is_empty() {
                    self.look(directory, changes, &mut ends).await?;
                }
            }
            let is_all = |ends: &[Option<End>]| ends.iter().all(Option::is_some);
            if !is_all(&ends) && last_question.elapsed() >= question {
                let is_hidden = directories.iter().any(|directory| directory.is_hidden);
                if self.ask(changes, &mut ends, is_hidden).await? {
                    last_news = Instant::now();
                }
                question = (question * 2).min(longest_question);
                last_question = Instant::now();
            }
            let count = ends.iter().flatten().count();
            ended(count);
            if count > known {
                (last_news, interval) = (Instant::now(), INTERVALS[0]);
            }
            if is_all(&ends) || last_news.elapsed() > PATIENCE {
                return Ok(ends.into_iter().map(|end| end.unwrap_or(End::NotObserved)).collect());
            }
            tokio::time::sleep(interval).await;
            interval = (interval * 3 / 2).min(longest_interval);
        }
    }

    /// Looks at an index, if it is another one than before.
    async fn look(
        &self,
        directory: &mut Directory,
        changes: &[Change],
        ends: &mut [Option<End>],
    ) -> Result<(), Error> {
        let key = directory.prefix.index_key();
        let index = match self
            .store
            .newer(&key, directory.seen.as_ref(), index_archive::MAX_LENGTH)
            .await
        {
            Ok(Newer::Object { etag, bytes }) => {
                directory.seen = Some(etag);
                // A damaged one is fixed by an execution.
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
            if let (Some(change), Some(end)) = (changes.get(*number), ends.get_mut(*number))
                && change.is_in(key, &index)
            {
                *end = Some(End::Published);
            }
        }
        Ok(())
    }

    /// Asks what became of changes that no index has. Tells whether any execution is running that
    /// may be about them. Whoever is throttled has heard nothing new.
    async fn ask(
        &mut self,
        changes: &[Change],
        ends: &mut [Option<End>],
        is_hidden: bool,
    ) -> Result<bool, Error> {
        let missing = |ends: &[Option<End>]| {
            let missing = changes.iter().zip(ends).enumerate();
            let missing = missing.filter(|(_, (_, end))| end.is_none());
            missing.map(|(number, (change, _))| (number, change)).collect::<Vec<_>>()
        };
        let mut listed = match self.executions.list(self.state_machine, self.since).await {
            Ok(listed) => listed,
            Err(StoreError::Unavailable { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        listed.retain(|listed| listed.began <= self.until);
        let is_running = listed.iter().any(|listed| listed.status == Status::Running);
        // That one has succeeded tells nothing that the index does not, unless there is nothing
        // else to go by.
        let is_unknown = missing(ends).iter().any(|(_, change)| change.listed == Listing::Unknown);
        let all = is_hidden || is_unknown || !is_running;
        let is_news = |listed: &&Listed| {
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
            for (number, change) in missing(ends) {
                let is_it = about
                    .as_ref()
                    .is_some_and(|(key, etag)| *key == change.key && *etag == change.etag);
                if is_it && let Some(end) = ends.get_mut(number) {
                    *end = End::of(&execution);
                }
            }
            self.looked_at.insert(execution.arn);
        }
        let looks = missing(ends).into_iter().map(async |(number, change)| {
            Ok::<_, Error>((number, self.is_overtaken(change).await?))
        });
        let looks: Vec<_> =
            stream::iter(looks).buffer_unordered(PARALLEL_LOOKS).try_collect().await?;
        for (number, is_overtaken) in looks {
            if is_overtaken && let Some(end) = ends.get_mut(number) {
                *end = Some(End::Overtaken);
            }
        }
        Ok(is_running)
    }

    /// Returns whether the bucket has another object, or none, in the place of the change.
    async fn is_overtaken(&self, change: &Change) -> Result<bool, Error> {
        match self.store.head(&change.key).await {
            Ok(found) => Ok(found.map(|found| found.etag) != change.etag),
            // Whoever may upload need not be somebody who may read or list.
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

/// Returns the change of which an event tells.
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

/// Asks again, ever more slowly, while AWS throttles.
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

/// Returns the key of the package that an execution is about, for people: whoever may upload
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

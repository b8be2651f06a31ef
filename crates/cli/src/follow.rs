//! Follows changes of the bucket until they are published, and executions until they end.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use alpinist_apk::{checksum::Identity, entry::IndexEntry, index_archive, text::escaped};
use alpinist_aws::s3::{Newer, S3Store};
use alpinist_executions::{Execution, Executions, ListedExecution, Milliseconds, Status};
use alpinist_repository::{
    failure::FailureKind,
    location::PackageKey,
    port::{ETag, ObjectStore as _, StoreError},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::{error::Error, repository::Format};

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
    /// The key of the package, or of the object that withdraws it.
    pub(crate) key: String,
    /// The version that was written, or `None` if it was deleted.
    pub(crate) etag: Option<ETag>,
    /// What an index that has the change says of the package.
    pub(crate) listed: Listing,
    /// The format of the package, whose index shows the change.
    pub(crate) format: Format,
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
    /// Returns the deletion of a package that had this identity in an index, if one listed it.
    pub(crate) fn deletion(key: String, listed: Option<&Identity>) -> Self {
        let format = listed.map_or(Format::V2, Format::of);
        Self { key, etag: None, listed: Listing::Not, format }
    }

    /// Returns whether a published index has the change.
    fn is_in(&self, key: &PackageKey, entries: &[IndexEntry]) -> bool {
        let mut entries = entries.iter();
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
/// It checks the published indexes, with one conditional request for each directory and format,
/// however many packages there are and however many others wait. It queries executions only about
/// changes that no index has after a while.
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

/// An index that is awaited.
struct AwaitedIndex {
    /// Its key.
    key: String,
    format: Format,
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
        let mut indexes = by_index(changes);
        let [mut interval, longest_interval] = INTERVALS;
        let [mut question, longest_question] = QUESTIONS;
        let (mut last_news, mut last_question) = (Instant::now(), Instant::now());
        self.until = (Timestamp::now() + PATIENCE + CLOCK_MARGIN).as_millisecond();
        loop {
            let known = outcomes.iter().flatten().count();
            for index in &mut indexes {
                index
                    .awaited
                    .retain(|(number, _)| outcomes.get(*number).is_some_and(Option::is_none));
                if !index.awaited.is_empty() {
                    self.look(index, changes, &mut outcomes).await?;
                }
            }
            let is_all = |outcomes: &[Option<Outcome>]| outcomes.iter().all(Option::is_some);
            if !is_all(&outcomes) && last_question.elapsed() >= question {
                let is_hidden = indexes.iter().any(|index| index.is_hidden);
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
        index: &mut AwaitedIndex,
        changes: &[Change],
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), Error> {
        let AwaitedIndex { key, format, seen, is_hidden, awaited } = index;
        let entries = match self.store.newer(key, seen.as_ref(), index_archive::MAX_LENGTH).await {
            Ok(Newer::Object { etag, bytes }) => {
                *seen = Some(etag);
                // An execution fixes a damaged one.
                format.read_index(key, &bytes).ok()
            }
            Ok(Newer::Nothing) => Some(Vec::new()),
            Ok(Newer::Same) | Err(StoreError::Unavailable { .. }) => None,
            Err(StoreError::Denied { .. }) => {
                *is_hidden = true;
                None
            }
            Err(error) => return Err(error.into()),
        };
        let Some(entries) = entries else { return Ok(()) };
        for (number, key) in awaited {
            if let (Some(change), Some(outcome)) = (changes.get(*number), outcomes.get_mut(*number))
                && change.is_in(key, &entries)
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

fn by_index(changes: &[Change]) -> Vec<AwaitedIndex> {
    let mut indexes = BTreeMap::new();
    for (number, change) in changes.iter().enumerate() {
        let package = PackageKey::withdrawn_by(&change.key).or_else(|| change.key.parse().ok());
        let Some(package) = package else { continue };
        let format = change.format;
        let key = format.index_key(package.prefix());
        let index = indexes.entry(key.clone()).or_insert_with(|| AwaitedIndex {
            key,
            format,
            seen: None,
            is_hidden: false,
            awaited: Vec::new(),
        });
        index.awaited.push((number, package));
    }
    indexes.into_values().collect()
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
    use alpinist_apk::adb::{index::AdbIndex, signature::AdbSignature};
    use aws_sdk_s3::{Client, operation::get_object::GetObjectOutput, primitives::ByteStream};
    use aws_smithy_mocks::{RuleMode, mock, mock_client};

    use super::*;

    /// The entry of a package of format v3.
    fn v3_entry(name: &str) -> IndexEntry {
        let text = format!(
            "C:Q2AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nP:{name}\nV:1-r0\nA:x86_64\nS:7\nI:0\n"
        );
        IndexEntry::from_stored(&text).unwrap()
    }

    fn adb(entries: &[IndexEntry]) -> Vec<u8> {
        let (index, _) = AdbIndex::new("main", entries);
        let signatures: [AdbSignature; 0] = [];
        index.seal(&index.payload().unwrap(), &signatures, []).unwrap()
    }

    /// Whether each change is published, of a bucket that has only a `Packages.adb`, with `a` and
    /// `b`. Whether `APKINDEX.tar.gz` was asked for.
    async fn in_adb_alone(changes: &[Change]) -> (Vec<bool>, bool) {
        let index = mock!(Client::get_object)
            .match_requests(|request| request.key() == Some("3.22/main/x86_64/Packages.adb"))
            .then_output(|| {
                let body = ByteStream::from(adb(&[v3_entry("a"), v3_entry("b")]));
                GetObjectOutput::builder().e_tag("\"1\"").body(body).build()
            });
        let nothing = mock!(Client::get_object)
            .match_requests(|request| request.key() == Some("3.22/main/x86_64/APKINDEX.tar.gz"))
            .then_error(|| {
                let missing = aws_sdk_s3::types::error::NoSuchKey::builder().build();
                aws_sdk_s3::operation::get_object::GetObjectError::NoSuchKey(missing)
            });
        let client = mock_client!(aws_sdk_s3, RuleMode::MatchAny, [&index, &nothing]);
        let store = S3Store::new(client, "bucket");
        let step_functions = aws_sdk_sfn::Config::builder()
            .behavior_version(aws_sdk_sfn::config::BehaviorVersion::latest())
            .build();
        let executions = Executions::new(aws_sdk_sfn::Client::from_conf(step_functions));
        let watch = Watch {
            store: &store,
            executions: &executions,
            state_machine: "",
            since: 0,
            looked_at: HashSet::new(),
            until: 0,
        };
        let mut outcomes = vec![None; changes.len()];
        for mut index in by_index(changes) {
            watch.look(&mut index, changes, &mut outcomes).await.unwrap();
        }
        let published = outcomes.iter().map(|it| *it == Some(Outcome::Published)).collect();
        (published, nothing.num_calls() > 0)
    }

    #[tokio::test]
    async fn changes_of_v3_packages_are_awaited_in_their_own_index() {
        let written = |name: &str, size| Change {
            key: format!("3.22/main/x86_64/{name}-1-r0.apk"),
            etag: Some(ETag("\"1\"".into())),
            listed: Listing::As(size, v3_entry(name).identity),
            format: Format::V3,
        };
        let deleted = |name: &str| {
            let identity = v3_entry(name).identity;
            Change::deletion(format!("3.22/main/x86_64/{name}-1-r0.apk"), Some(&identity))
        };
        let changes =
            [written("a", 7), written("b", 8), written("c", 7), deleted("a"), deleted("c")];
        let expected = vec![true, false, false, false, true];
        assert_eq!(in_adb_alone(&changes).await, (expected, false));

        let key = "3.22/main/x86_64/a-1-r0.apk".to_owned();
        let unlisted = Change::deletion(key, None);
        assert_eq!(in_adb_alone(&[unlisted]).await, (vec![true], true));
    }

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

//! What travels between states: keys and ETags, never contents. The one exception is the index
//! entry; [`alpinist_apk::entry`] bounds its size.
//!
//! The response of a step is the request of the next one; no state reshapes it.

use std::{fmt, ops::Not};

use alpinist_apk::{
    entry::IndexEntry,
    text::{chain, escaped},
    warning::{self, Warning},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    failure_kind::FailureKind,
    port::{ETag, Generation},
    rejection::Rejection,
    trust::SignedBy,
};

/// The package or index that an execution is about.
///
/// Deserialized from an S3 event from EventBridge or from `{"bucket": …, "key": …}`; any other
/// fields are ignored. The key is as in S3: EventBridge does not encode it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "Input")]
pub struct Target {
    /// The name of the bucket: 3 to 63 characters.
    pub bucket: String,
    /// The key of the package, or of the index to rebuild: 1 to 1024 bytes, like every key in S3.
    pub key: String,
    /// When the package was uploaded, replaced or deleted, if the input is an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// The reindex that this execution is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reindex: Option<Reindex>,
    /// Whether the execution follows a withdrawal of the package, or its end.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub withdrawal: bool,
}

/// A run of the reindex.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Reindex {
    /// Its name, which is part of the keys of its journal.
    pub run: String,
    /// Whether to skip packages whose fragments already describe them.
    #[serde(default)]
    pub only_stale: bool,
    /// Whether to sign and publish indexes again even if they are right, after a change of keys.
    #[serde(default)]
    pub sign: bool,
}

/// The bucket or the key can't exist in S3.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the bucket or the key in the input can't exist in S3")]
struct InvalidTarget;

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    Event {
        detail: Detail,
        #[serde(default)]
        time: Option<Timestamp>,
    },
    Direct {
        bucket: String,
        key: String,
        #[serde(default)]
        time: Option<Timestamp>,
        #[serde(default)]
        reindex: Option<Reindex>,
        #[serde(default)]
        withdrawal: bool,
    },
}

#[derive(Deserialize)]
struct Detail {
    bucket: Bucket,
    object: ObjectKey,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Deserialize)]
struct ObjectKey {
    key: String,
}

impl TryFrom<Input> for Target {
    type Error = InvalidTarget;

    fn try_from(input: Input) -> Result<Self, InvalidTarget> {
        let target = match input {
            Input::Event { detail: Detail { bucket, object }, time } => {
                let key = object.key;
                Self { bucket: bucket.name, key, time, reindex: None, withdrawal: false }
            }
            Input::Direct { bucket, key, time, reindex, withdrawal } => {
                Self { bucket, key, time, reindex, withdrawal }
            }
        };
        let Self { bucket, key, .. } = &target;
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
        let bucket_can_exist = (3..=63).contains(&bucket.len()) && bucket.chars().all(is_name);
        if bucket_can_exist && (1..=1024).contains(&key.len()) {
            return Ok(target);
        }
        Err(InvalidTarget)
    }
}

/// A package that may be listed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Accepted {
    /// The version of the object that was read.
    pub package: ETag,
    /// Its index entry.
    pub entry: IndexEntry,
    /// Who signed it, if signatures were checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<SignedBy>,
    /// What its maintainer should know, and what to do: whole sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Returns what the maintainer of a listed package should know, and what to do: whole sentences.
pub fn warnings(entry: &IndexEntry) -> Vec<String> {
    let said = |warning: &Warning| escaped(&format!("{warning}. {}", warning.remedy()));
    warning::warnings(entry).iter().map(said).collect()
}

/// Why a package may not be listed, which fails the execution once the index is right.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RejectionReport {
    /// The version of the object that was read.
    pub package: ETag,
    /// The name of the failure kind.
    pub error: String,
    /// The whole message, and what to do.
    pub cause: String,
    /// The [name](Rejection::rule) of the rule that the package breaks.
    #[serde(default)]
    pub rule: String,
    /// The version of the fragment that described the package before it was last examined: it had
    /// been accepted earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragment: Option<ETag>,
}

impl RejectionReport {
    /// Reports why the version `package` of the object at `key` was rejected.
    pub fn new(key: &str, package: ETag, rejection: &Rejection) -> Self {
        let error = FailureKind::PackageRejected.name().to_owned();
        let cause = format!("{key} was rejected: {}. {}", chain(rejection), rejection.remedy());
        let (cause, rule) = (escaped(&cause), rejection.rule().to_owned());
        Self { package, error, cause, rule, fragment: None }
    }
}

/// What extraction found.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Extracted {
    /// Where it looked.
    #[serde(flatten)]
    pub target: Target,
    /// What it found there.
    pub found: Found,
}

/// What is at the key of a package.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// Nothing to list.
    Nothing,
    /// A package whose fragment already describes it, so there is nothing to write.
    Indexed,
    /// A package that may be listed.
    Accepted(Box<Accepted>),
    /// A package that may not be listed.
    Rejected(RejectionReport),
}

impl Written {
    /// Returns whether no index may list the package: it has no fragment, or is withdrawn.
    pub(crate) fn is_unlisted(&self) -> bool {
        self.fragment.is_none() || self.withdrawn
    }

    /// Returns this of a package that is withdrawn for this reason. Only an execution that follows
    /// the withdrawal itself succeeds.
    pub(crate) fn into_withdrawn(self, reason: String) -> Self {
        let Self { target, fragment, rejection, .. } = &self;
        let package = fragment.as_ref().map(|fragment| fragment.package.clone());
        let told = package.filter(|_| !target.withdrawal && target.reindex.is_none());
        let report =
            |package| RejectionReport::new(&target.key, package, &Rejection::Withdrawn { reason });
        let rejection = rejection.clone().or_else(|| told.map(report));
        Self { rejection, withdrawn: true, ..self }
    }
}

/// The state of the package's fragment after the write.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Written {
    /// The package.
    #[serde(flatten)]
    pub target: Target,
    /// The current fragment, or `None` if there must be none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragment: Option<WrittenFragment>,
    /// The fragment of an earlier package under this name, which may not be
    /// [replaced](crate::replacing::Replacing::Refused) by the rejected one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<ETag>,
    /// Whether the package is known to be withdrawn.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub withdrawn: bool,
    /// Whether this execution wrote or removed the fragment, rather than finding it that way.
    pub changed: bool,
    /// Why the package was rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection: Option<RejectionReport>,
    /// Who signed the package, if signatures were checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<SignedBy>,
    /// What the package's maintainer should know, and what to do: whole sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A fragment, and the package that it describes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct WrittenFragment {
    /// The version of the package.
    pub package: ETag,
    /// The version of the fragment.
    pub fragment: ETag,
    /// The entry in it.
    pub entry: IndexEntry,
}

/// The request to aggregate, made at first and again after a wait or a lost race.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AggregateRequest {
    /// What was written.
    #[serde(flatten)]
    pub written: Written,
    /// The index that this execution staged before it lost a race.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<Staged>,
    /// What this execution remembers about its waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
}

impl From<Written> for AggregateRequest {
    fn from(written: Written) -> Self {
        Self { written, staged: None, waiting: None }
    }
}

/// The result of aggregation.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Aggregated {
    /// What was written.
    #[serde(flatten)]
    pub written: Written,
    /// An index to sign and publish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staged: Option<Staged>,
    /// Set if another execution is at work: ask again later. If neither this nor `staged` is set,
    /// the published index covers the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
}

impl From<Written> for Aggregated {
    fn from(written: Written) -> Self {
        Self { written, staged: None, waiting: None }
    }
}

/// The request to publish.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PublishRequest {
    /// What was written.
    #[serde(flatten)]
    pub written: Written,
    /// The index to sign and publish.
    pub staged: Staged,
}

/// A snapshot whose index waits to be signed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Staged {
    /// The version of the snapshot.
    pub snapshot: ETag,
    /// The index that was published before the bucket was listed, the only one that this one may
    /// replace. `None` if there was none.
    pub replaces: Option<ETag>,
    /// What is to be published for format v3, unless nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adb: Option<StagedAdb>,
    /// Whether one of these objects was published within the current second. `Last-Modified` has
    /// one-second resolution, so a client that asks for changes since then would never see a second
    /// index; this one must wait for the next second.
    pub is_too_soon: bool,
    /// Whether none of these objects is ours, so that the page may not know the directory.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub is_first: bool,
}

/// What is to be published for format v3.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StagedAdb {
    /// For each of [`RepositoryPrefix::adb_keys`](crate::location::RepositoryPrefix::adb_keys), the
    /// version that was published before the bucket was listed, or `None` if there was none.
    pub replaces: Vec<Option<ETag>>,
}

/// What an execution remembers while it waits for another one to publish.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Waiting {
    /// The generation of the snapshot that existed after this execution made its own change.
    pub since: Generation,
    /// How often it has waited.
    pub times: u32,
    /// How long it is to wait now before it looks again, in seconds: at least this, and less than
    /// twice as long.
    #[serde(default)]
    pub seconds: u64,
    /// Whether it has overtaken an execution that was about to publish, and waits until that one
    /// can't be running any more: longer than the timeout of its function.
    #[serde(default)]
    pub overtook: bool,
    /// How many packages were never inspected, in a repository prefix without a snapshot. Until a
    /// reindex has inspected them, the current index stays.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unknown: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// What was published.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Published {
    /// What was written.
    #[serde(flatten)]
    pub written: Written,
    /// The index.
    pub index: PublishedIndex,
}

/// A published index, for people who inspect the execution.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PublishedIndex {
    /// Its key.
    pub key: String,
    /// Its version.
    pub etag: ETag,
    /// How many packages it lists.
    pub packages: usize,
}

impl fmt::Display for PublishedIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, packages, .. } = self;
        let noun = if *packages == 1 { "package" } else { "packages" };
        write!(f, "{key} was published, and lists {packages} {noun}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_from_an_event_and_from_a_hand_written_input() {
        let event = r#"{"version":"0","source":"aws.s3","time":"2026-11-25T23:37:11Z","detail":{"bucket":{"name":"packages"},
            "object":{"key":"3.22/main/x86_64/g++-1.0~rc1-r0.apk","etag":"x"},"reason":"PutObject"}}"#;
        let by_hand =
            r#"{"bucket":"packages","key":"3.22/main/x86_64/g++-1.0~rc1-r0.apk","more":1}"#;
        let mut target: Target = serde_json::from_str(event).unwrap();
        assert_eq!(target.time.take(), "2026-11-25T23:37:11Z".parse().ok());
        assert_eq!(target.key, "3.22/main/x86_64/g++-1.0~rc1-r0.apk");
        assert_eq!(serde_json::from_str::<Target>(by_hand).unwrap(), target);
        assert!(serde_json::from_str::<Target>(r#"{"bucket":"packages"}"#).is_err());
        assert!(serde_json::from_str::<Target>(r#"{"bucket":"","key":"k"}"#).is_err());
        let key = "k".repeat(1025);
        let input = format!(r#"{{"bucket":"packages","key":"{key}"}}"#);
        assert!(serde_json::from_str::<Target>(&input).is_err());
    }

    #[test]
    fn what_was_extracted_is_a_request_to_write_and_to_extract_again() {
        let time = "2026-11-25T23:37:11Z".parse().ok();
        let target = Target {
            bucket: "packages".into(),
            key: "k".into(),
            time,
            reindex: None,
            withdrawal: false,
        };
        let rejection = Rejection::Size { size: 2, max: 1 };
        let rejection = RejectionReport::new("k", ETag("p".to_owned()), &rejection);
        for found in [Found::Nothing, Found::Indexed, Found::Rejected(rejection)] {
            let extracted = Extracted { target: target.clone(), found };
            let json = serde_json::to_string(&extracted).unwrap();
            assert_eq!(serde_json::from_str::<Extracted>(&json).unwrap(), extracted);
            assert_eq!(serde_json::from_str::<Target>(&json).unwrap(), target);
        }
    }

    #[test]
    fn what_was_written_or_aggregated_is_a_request_to_aggregate() {
        let target = Target {
            bucket: "packages".into(),
            key: "k".into(),
            time: None,
            reindex: None,
            withdrawal: false,
        };
        let written = Written {
            target,
            fragment: None,
            kept: Some(ETag("k".to_owned())),
            withdrawn: true,
            changed: true,
            rejection: None,
            signed_by: None,
            warnings: vec!["w".to_owned()],
        };
        let json = serde_json::to_string(&written).unwrap();
        let request: AggregateRequest = serde_json::from_str(&json).unwrap();
        assert_eq!(request, AggregateRequest::from(written.clone()));
        let waiting = Some(Waiting { since: 7, times: 1, seconds: 2, overtook: true, unknown: 3 });
        let adb = Some(StagedAdb { replaces: vec![None, Some(ETag("p".into())), None] });
        let staged = Some(Staged {
            snapshot: ETag("s".into()),
            replaces: None,
            adb,
            is_too_soon: true,
            is_first: true,
        });
        let aggregated = Aggregated { written, staged, waiting };
        let json = serde_json::to_string(&aggregated).unwrap();
        let Aggregated { written, staged, waiting } = aggregated;
        let request: PublishRequest = serde_json::from_str(&json).unwrap();
        let expected = PublishRequest { written: written.clone(), staged: staged.clone().unwrap() };
        assert_eq!(request, expected);
        let request: AggregateRequest = serde_json::from_str(&json).unwrap();
        assert_eq!(request, AggregateRequest { written, staged, waiting });
    }
}

//! What travels from state to state: keys and ETags, never contents. The one exception is the
//! entry on its way into a fragment; [`alpinist_apk::entry`] bounds its size.
//!
//! The response of a step is the request of the next one; no state reshapes it.

use alpinist_apk::entry::IndexEntry;
use serde::{Deserialize, Serialize};

use crate::{port::ETag, snapshot::Generation};

/// The package that an execution is about.
///
/// Reads an S3 event from EventBridge, or `{"bucket": …, "key": …}`; anything else in the input is
/// passed over. The key is as in S3: EventBridge does not encode it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "Input")]
pub struct Target {
    /// The bucket; a name of 3 to 63 characters.
    pub bucket: String,
    /// The key of the package; of 1 to 1024 bytes, like every key in S3.
    pub key: String,
}

/// Says that a bucket or key can't exist in S3.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the bucket or the key in the input can't exist in S3")]
struct InvalidTarget;

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    Event { detail: Detail },
    Direct { bucket: String, key: String },
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
        let (bucket, key) = match input {
            Input::Event { detail } => (detail.bucket.name, detail.object.key),
            Input::Direct { bucket, key } => (bucket, key),
        };
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
        let bucket_can_exist = (3..=63).contains(&bucket.len()) && bucket.chars().all(is_name);
        if bucket_can_exist && (1..=1024).contains(&key.len()) {
            return Ok(Self { bucket, key });
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
}

/// Why the execution will end as failed, once the index is right.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RefusalReport {
    /// The name of the failure kind.
    pub error: String,
    /// The whole message.
    pub cause: String,
    /// x
    pub package: Option<ETag>,
}

/// What extraction found; the state machine adds the refusal where there is one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Extracted {
    /// The package.
    #[serde(flatten)]
    pub target: Target,
    /// Its entry, or `None` where the package is gone or refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Accepted>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<RefusalReport>,
}

/// What is true of the package's fragment after it was written.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Written {
    /// The package.
    #[serde(flatten)]
    pub target: Target,
    /// The fragment that is there now, or `None` where there must be none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragment: Option<WrittenFragment>,
    /// Whether this execution wrote the fragment or removed one, rather than finding it so.
    pub changed: bool,
    /// Why the package was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<RefusalReport>,
}

/// A fragment, and the package that it describes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct WrittenFragment {
    /// The version of the package.
    pub package: ETag,
    /// The version of the fragment.
    pub fragment: ETag,
}

/// What aggregation found, and what it is asked again after a wait or a lost race.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Aggregated {
    /// What it was asked.
    #[serde(flatten)]
    pub written: Written,
    /// An index to sign and publish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<Staged>,
    /// Somebody else is at it: ask again in a while. Without this, and with nothing staged, the
    /// published index covers the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
}

impl From<Written> for Aggregated {
    fn from(written: Written) -> Self {
        Self { written, staged: None, waiting: None }
    }
}

/// A snapshot whose index waits to be signed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Staged {
    /// The version of the snapshot.
    pub snapshot: ETag,
    /// The published index before the bucket was listed, which this one may replace.
    pub replaces: Option<ETag>,
}

/// What an execution remembers while it waits for another one's publication.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Waiting {
    /// The snapshot that was there after this execution's own change was made.
    pub since: Generation,
    /// How often it has waited.
    pub times: u32,
}

/// What was published.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Published {
    /// What it was asked.
    #[serde(flatten)]
    pub written: Written,
    /// The index.
    pub index: PublishedIndex,
}

/// A published index, for whoever looks at the execution.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PublishedIndex {
    /// Its key.
    pub key: String,
    /// Its version.
    pub etag: ETag,
    /// How many packages it lists.
    pub packages: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_from_an_event_and_from_a_hand_written_input() {
        let event = r#"{"version":"0","source":"aws.s3","detail":{"bucket":{"name":"packages"},
            "object":{"key":"3.22/main/x86_64/g++-1.0~rc1-r0.apk","etag":"x"},"reason":"PutObject"}}"#;
        let by_hand =
            r#"{"bucket":"packages","key":"3.22/main/x86_64/g++-1.0~rc1-r0.apk","more":1}"#;
        let target: Target = serde_json::from_str(event).unwrap();
        assert_eq!(target.key, "3.22/main/x86_64/g++-1.0~rc1-r0.apk");
        assert_eq!(serde_json::from_str::<Target>(by_hand).unwrap(), target);
        assert!(serde_json::from_str::<Target>(r#"{"bucket":"packages"}"#).is_err());
        assert!(serde_json::from_str::<Target>(r#"{"bucket":"","key":"k"}"#).is_err());
        let key = "k".repeat(1025);
        let input = format!(r#"{{"bucket":"packages","key":"{key}"}}"#);
        assert!(serde_json::from_str::<Target>(&input).is_err());
    }

    #[test]
    fn a_refused_event_is_a_request_to_write() {
        let caught = r#"{"detail":{"bucket":{"name":"packages"},"object":{"key":"k"}},
            "refusal":{"error":"Alpinist.PackageRefused","cause":"why"}}"#;
        let request: Extracted = serde_json::from_str(caught).unwrap();
        assert_eq!(request.target.key, "k");
        assert_eq!(request.refusal.unwrap().cause, "why");
        assert_eq!(request.accepted, None);
    }

    #[test]
    fn what_was_written_or_aggregated_is_a_request_to_aggregate() {
        let target = Target { bucket: "packages".into(), key: "k".into() };
        let written = Written { target, fragment: None, changed: true, refusal: None };
        let json = serde_json::to_string(&written).unwrap();
        let request: Aggregated = serde_json::from_str(&json).unwrap();
        assert_eq!(request, Aggregated::from(written.clone()));
        let waiting = Some(Waiting { since: 7, times: 1 });
        let staged = Some(Staged { snapshot: ETag("s".into()), replaces: None });
        let aggregated = Aggregated { written, staged, waiting };
        let json = serde_json::to_string(&aggregated).unwrap();
        assert_eq!(serde_json::from_str::<Aggregated>(&json).unwrap(), aggregated);
    }
}

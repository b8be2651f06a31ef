//! The reindex journal: small objects that the steps of a reindex write, and from which its report
//! is made.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use crate::{
    failure::Failure,
    location::{PackageKey, RepositoryPrefix, reindex_prefix},
    message::{RejectionReport, Target},
    port::{
        self, Attributes, ETag, NewObject, ObjectBody as _, ObjectStore, Precondition, StoreError,
    },
};

/// The maximum size of a journal object in bytes. That of a repository prefix with 100,000 packages
/// has some ten million.
const MAX_LENGTH: u64 = 64 * 1024 * 1024;

/// The maximum size in bytes of the record of a failed execution. Its input and its cause have at
/// most 256 KiB and 32 KiB.
const MAX_RECORD: usize = 1024 * 1024;

/// How many journal objects are read at once.
const PARALLEL_READS: usize = 32;

/// A package that was rejected.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Rejected {
    /// Its key.
    pub key: String,
    /// Why.
    #[serde(flatten)]
    pub report: RejectionReport,
}

/// What became of the packages of a repository prefix, as sorted keys.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct RepositoryResult {
    /// Listed, with a fragment that this run wrote.
    pub indexed: Vec<String>,
    /// Listed, with a fragment that was already right.
    pub unchanged: Vec<String>,
    /// Not listed, because somebody withdrew them.
    #[serde(default)]
    pub withdrawn: Vec<String>,
    /// Gone, although they were listed or had a fragment.
    pub removed: Vec<String>,
    /// Existing, but not listed.
    pub unlisted: Vec<String>,
}

/// Records that this run wrote the fragment of a package. The name of the object ends in
/// `.indexed`, because the bucket notifies of each new `.apk` and `.index` object.
pub(crate) async fn record_indexed<S: ObjectStore>(
    store: &S,
    run: &str,
    key: &PackageKey,
) -> Result<(), StoreError> {
    let name = format!("{}{}.indexed", key.prefix().indexed_prefix(run), key.stem());
    put(store, &name, Vec::new()).await
}

/// Returns the `<name>-<version>` of the packages whose fragments this run wrote.
pub(crate) async fn indexed<S: ObjectStore>(
    store: &S,
    run: &str,
    prefix: &RepositoryPrefix,
) -> Result<Vec<String>, StoreError> {
    let above = prefix.indexed_prefix(run);
    let listed = store.list(&above, &[]).await?;
    let names = listed
        .iter()
        .filter_map(|object| object.key.strip_prefix(&above)?.strip_suffix(".indexed"));
    Ok(names.map(str::to_owned).collect())
}

/// Records that a package was rejected.
pub(crate) async fn record_rejected<S: ObjectStore>(
    store: &S,
    run: &str,
    target: &Target,
    report: &RejectionReport,
) -> Result<(), Failure> {
    let rejected = Rejected { key: target.key.clone(), report: report.clone() };
    put_json(store, &rejected_prefix(run), &target.key, &rejected).await
}

/// Returns the packages that this run rejected, sorted by key.
pub(crate) async fn rejected<S: ObjectStore>(
    store: &S,
    run: &str,
) -> Result<Vec<Rejected>, Failure> {
    let mut rejected: Vec<Rejected> = read_all(store, &rejected_prefix(run)).await?;
    rejected.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(rejected)
}

/// The `manifest.json` that a distributed map writes about the executions that it started.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Manifest {
    result_files: ResultFiles,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
struct ResultFiles {
    /// The files that list executions that failed or timed out.
    #[serde(default)]
    failed: Vec<ResultFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ResultFile {
    key: String,
}

/// One record of such a file, some 1.5 kB.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FailedExecution {
    name: String,
    /// JSON in a string. It may be omitted, which `InputDetails` shows.
    #[serde(default)]
    input: String,
}

impl FailedExecution {
    /// Returns the key of its object or, if that is unknown, the name of the execution.
    fn subject(self) -> String {
        let target = serde_json::from_str::<Target>(&self.input);
        target.map_or_else(|_| format!("the execution {}", self.name), |target| target.key)
    }
}

/// Returns the keys of the objects whose executions failed in a distributed map. `manifest` is the
/// key of its manifest.
pub(crate) async fn failed<S: ObjectStore>(
    store: &S,
    manifest: &str,
) -> Result<BTreeSet<String>, Failure> {
    let Manifest { result_files } = read_json(store, manifest).await?;
    let mut keys = BTreeSet::new();
    for ResultFile { key } in result_files.failed {
        read_failed(store, &key, &mut keys).await?;
    }
    Ok(keys)
}

/// Reads a list of failed executions, of any length, record by record.
async fn read_failed<S: ObjectStore>(
    store: &S,
    key: &str,
    subjects: &mut BTreeSet<String>,
) -> Result<(), Failure> {
    let failed = |source| Failure::Journal { key: key.to_owned(), source };
    let Some(mut object) = store.get(key).await? else {
        return serde_json::from_slice(b"").map_err(failed);
    };
    let mut text = Vec::new();
    loop {
        let piece = object.body.next().await?;
        text.extend_from_slice(piece.as_deref().unwrap_or_default());
        let mut read = 0;
        while let Some(rest) = text.get(read..) {
            let between = rest.iter().take_while(|byte| b"[, \t\r\n]".contains(byte)).count();
            let rest = rest.get(between..).unwrap_or_default();
            let mut records =
                serde_json::Deserializer::from_slice(rest).into_iter::<FailedExecution>();
            match records.next() {
                Some(Ok(execution)) => {
                    subjects.insert(execution.subject());
                    read += between + records.byte_offset();
                }
                Some(Err(error))
                    if error.is_eof() && piece.is_some() && rest.len() < MAX_RECORD =>
                {
                    break;
                }
                Some(Err(error)) => return Err(failed(error)),
                None => {
                    read += between;
                    break;
                }
            }
        }
        text.drain(..read);
        if piece.is_none() {
            return Ok(());
        }
    }
}

/// Reads an object that the reindex wrote. A missing one is an error.
async fn read_json<S: ObjectStore, T: DeserializeOwned>(
    store: &S,
    key: &str,
) -> Result<T, Failure> {
    let object = port::read(store, key, MAX_LENGTH).await?;
    let body = object.map(|object| object.body).unwrap_or_default();
    serde_json::from_slice(&body).map_err(|source| Failure::Journal { key: key.to_owned(), source })
}

/// Returns whether this run rejected the version `package` of the object at `key`.
pub(crate) async fn is_rejected<S: ObjectStore>(
    store: &S,
    run: &str,
    key: &str,
    package: &ETag,
) -> Result<bool, Failure> {
    let key = finding_key(&rejected_prefix(run), key);
    let Some(object) = port::read(store, &key, MAX_LENGTH).await? else { return Ok(false) };
    let rejected: Rejected =
        serde_json::from_slice(&object.body).map_err(|source| Failure::Journal { key, source })?;
    Ok(rejected.report.package == *package)
}

/// Records what became of the packages of a repository prefix.
pub(crate) async fn record_repository<S: ObjectStore>(
    store: &S,
    run: &str,
    prefix: &RepositoryPrefix,
    found: &RepositoryResult,
) -> Result<(), Failure> {
    put_json(store, &repositories_prefix(run), &prefix.to_string(), found).await
}

/// Returns what became of the packages of all repository prefixes.
pub(crate) async fn repositories<S: ObjectStore>(
    store: &S,
    run: &str,
) -> Result<Vec<RepositoryResult>, Failure> {
    read_all(store, &repositories_prefix(run)).await
}

fn rejected_prefix(run: &str) -> String {
    format!("{}rejected/", reindex_prefix(run))
}

fn repositories_prefix(run: &str) -> String {
    format!("{}repositories/", reindex_prefix(run))
}

/// Returns the key of the journal object about `about`, which may be any text of any length.
fn finding_key(above: &str, about: &str) -> String {
    format!("{above}{}", hex::encode(Sha256::digest(about)))
}

async fn put_json<S: ObjectStore>(
    store: &S,
    above: &str,
    about: &str,
    finding: &impl Serialize,
) -> Result<(), Failure> {
    let key = finding_key(above, about);
    let bytes = serde_json::to_vec(finding)
        .map_err(|source| Failure::Journal { key: key.clone(), source })?;
    Ok(put(store, &key, bytes).await?)
}

async fn read_all<S: ObjectStore, Journal: DeserializeOwned>(
    store: &S,
    above: &str,
) -> Result<Vec<Journal>, Failure> {
    let listed = store.list(above, &[]).await?;
    stream::iter(listed.into_iter().map(|object| object.key))
        .map(async |key| {
            let Some(object) = port::read(store, &key, MAX_LENGTH).await? else { return Ok(None) };
            let finding = serde_json::from_slice(&object.body);
            finding.map(Some).map_err(|source| Failure::Journal { key, source })
        })
        .buffer_unordered(PARALLEL_READS)
        .try_filter_map(async |finding| Ok(finding))
        .try_collect()
        .await
}

async fn put<S: ObjectStore>(store: &S, key: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
    let object =
        NewObject { bytes, content_type: "application/json", attributes: Attributes::new() };
    store.put(key, object, Precondition::None).await?;
    Ok(())
}

//! Writes packages into the bucket. Other bytes under the same name and version are replaced only
//! on request.

use std::{
    collections::HashMap,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use alpinist_apk::checksum::Identity;
use alpinist_aws::{s3::S3Store, upload::UploadError};
use alpinist_repository::{
    location::PackageKey,
    port::{ETag, ObjectBody as _, ObjectStore as _, Precondition, StoreError},
    withdrawal,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{
    context::Context,
    error::Error,
    follow::{self, Change, Listing, Outcome, Watch},
    output::{self, BAD, WriteText},
    progress::Progress,
    repository::Format,
};

/// How many packages are compared or written at once.
const PARALLEL: usize = 8;

/// A package, and the key to write it to.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    /// Where its bytes are.
    pub(crate) content: Content,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Its identity in an index, if known.
    pub(crate) identity: Option<Identity>,
    /// The key to write it to.
    pub(crate) key: String,
}

/// Where the bytes of a package are.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// In a file on this machine.
    File(PathBuf),
    /// In the bucket.
    Object {
        /// The key.
        key: String,
        /// The version that was seen.
        etag: ETag,
    },
}

/// What the bucket has under the key of a package.
#[derive(Clone, Debug)]
enum Present {
    /// No object.
    Nothing,
    /// Unknown, since these credentials may not read or list it.
    Hidden,
    /// The same bytes.
    Same(ETag),
    /// Other bytes.
    Other(ETag),
    /// An object in an archive storage class, which can't be read.
    Archived(ETag),
}

/// A write, and what its key has before it.
#[derive(Debug)]
pub(crate) struct Planned {
    write: Write,
    present: Present,
}

/// Packages that would replace others, so nothing was written.
#[derive(Debug, Serialize)]
pub(crate) struct Taken {
    #[serde(skip)]
    done: &'static str,
    taken: Vec<TakenKey>,
}

#[derive(Debug, Serialize)]
struct TakenKey {
    key: String,
    reason: String,
}

/// What became of a write.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    /// The package.
    write: Write,
    /// How it ended.
    pub(crate) outcome: WriteResult,
}

/// How a write ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum WriteResult {
    /// It was written; there was no object before.
    New(ETag),
    /// It was written, and replaced other bytes if there were any.
    Replaced(ETag),
    /// The same bytes were already there, so nothing was written.
    Unchanged(ETag),
    /// Something else was there, so nothing was written.
    Taken {
        /// What, and what to do.
        reason: String,
    },
}

/// What became of a package that was waited for.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum PushOutcome {
    /// An execution handled it, or should have.
    Followed(Outcome),
    /// Nothing was written.
    NotWritten(NotWritten),
}

/// Why nothing was written.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum NotWritten {
    /// The same bytes are published.
    Unchanged,
    /// Something else is there.
    Taken {
        /// What, and what to do.
        reason: String,
    },
}

impl Written {
    /// Returns the key of the package.
    pub(crate) fn key(&self) -> &str {
        &self.write.key
    }
}

impl Content {
    /// Returns the SHA-256 of the bytes.
    async fn sha256(&self, store: &S3Store) -> Result<[u8; 32], Error> {
        match self {
            Self::File(path) => sha256_of_file(path),
            Self::Object { key, etag } => match sha256_of_object(store, key).await? {
                Some((found, sha256)) if found == *etag => Ok(sha256),
                _ => Err(StoreError::Conflict { key: key.clone() }.into()),
            },
        }
    }

    fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Object { key, .. } => key.clone(),
        }
    }
}

fn sha256_of_file(path: &Path) -> Result<[u8; 32], Error> {
    let mut file = File::open(path).map_err(Error::file("open", path))?;
    let mut sha256 = HashWriter(Sha256::new());
    io::copy(&mut file, &mut sha256).map_err(Error::file("read", path))?;
    Ok(sha256.0.finalize().into())
}

/// Hashes what is written to it.
struct HashWriter(Sha256);

impl io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn sha256_of_object(
    store: &S3Store,
    key: &str,
) -> Result<Option<(ETag, [u8; 32])>, StoreError> {
    let Some(mut object) = store.get(key).await? else { return Ok(None) };
    let mut sha256 = Sha256::new();
    while let Some(chunk) = object.body.next().await? {
        sha256.update(&chunk);
    }
    Ok(Some((object.info.etag, sha256.finalize().into())))
}

impl Present {
    /// Finds out what the bucket has under the key of a package.
    async fn look(store: &S3Store, write: &Write) -> Result<Self, Error> {
        let found = match store.head(&write.key).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Self::Nothing),
            // Credentials that may upload may not be allowed to read or list.
            Err(StoreError::Denied { .. }) => return Ok(Self::Hidden),
            Err(error) => return Err(error.into()),
        };
        if found.size != write.size {
            return Ok(Self::Other(found.etag));
        }
        match sha256_of_object(store, &write.key).await {
            Ok(None) => Ok(Self::Nothing),
            Ok(Some((etag, sha256))) if sha256 == write.content.sha256(store).await? => {
                Ok(Self::Same(etag))
            }
            Ok(Some((etag, _))) => Ok(Self::Other(etag)),
            Err(StoreError::Archived { .. }) => Ok(Self::Archived(found.etag)),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns why a package may not be written there, unless it may replace another one.
    fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Nothing | Self::Same(_) => None,
            Self::Other(_) => Some(
                "other bytes have this name and version. Raise the package's pkgrel, or say --replace, as \
                 after a rejection",
            ),
            Self::Archived(_) => Some(
                "an archived object has this name and version, which can't be compared. Say --replace \
                 to replace it",
            ),
            Self::Hidden => Some(
                "something is published under this name and version, and these credentials may not read \
                 it. Raise the package's pkgrel, or say --replace",
            ),
        }
    }

    /// Returns what must still hold when the package is written.
    fn precondition(&self, replace: bool) -> Precondition {
        match self {
            Self::Hidden if replace => Precondition::None,
            Self::Nothing | Self::Hidden => Precondition::Absent,
            Self::Same(etag) | Self::Other(etag) | Self::Archived(etag) => {
                Precondition::Unchanged(etag.clone())
            }
        }
    }
}

/// Plans the writes: all of them, or none if a key is taken. `done` says what would have been done
/// to the packages, such as "uploaded".
pub(crate) async fn plan(
    store: &S3Store,
    writes: Vec<Write>,
    replace: bool,
    done: &'static str,
) -> Result<Result<Vec<Planned>, Taken>, Error> {
    let (writes, mut taken) = without_repeats(store, writes).await?;
    let looks = writes.into_iter().map(async |write| {
        let present = Present::look(store, &write).await?;
        Ok::<_, Error>(Planned { write, present })
    });
    let planned: Vec<_> = stream::iter(looks).buffered(PARALLEL).try_collect().await?;
    let hinders = |present: &Present| match present {
        Present::Hidden => None,
        _ if replace => None,
        present => present.reason(),
    };
    for Planned { write, present } in &planned {
        if let Some(reason) = hinders(present) {
            taken.push(TakenKey { key: write.key.clone(), reason: reason.to_owned() });
        } else if let Some(reason) = withdrawn(store, &write.key).await? {
            taken.push(TakenKey { key: write.key.clone(), reason });
        }
    }
    Ok(if taken.is_empty() { Ok(planned) } else { Err(Taken { done, taken }) })
}

/// Returns why a package would not be listed that is withdrawn under this name.
async fn withdrawn(store: &S3Store, key: &str) -> Result<Option<String>, Error> {
    let Ok(key) = key.parse::<PackageKey>() else { return Ok(None) };
    match withdrawal::reason(store, &key).await {
        Ok(reason) => Ok(reason.map(|reason| {
            let why = if reason.is_empty() { reason } else { format!(" ({reason})") };
            format!(
                "this name and version is withdrawn{why}. Raise the package's pkgrel, or say `alpinist \
                 restore {key}`"
            )
        })),
        // Credentials that may upload may not be allowed to read or list.
        Err(StoreError::Denied { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Leaves out repeated packages, with the same key and the same bytes. Other bytes with the same
/// key are taken: one would replace the other.
async fn without_repeats(
    store: &S3Store,
    writes: Vec<Write>,
) -> Result<(Vec<Write>, Vec<TakenKey>), Error> {
    let (mut kept, mut taken): (Vec<Write>, Vec<TakenKey>) = (Vec::new(), Vec::new());
    let mut places = HashMap::new();
    for write in writes {
        let Some(first) = places.get(&write.key).and_then(|index: &usize| kept.get(*index)) else {
            places.insert(write.key.clone(), kept.len());
            kept.push(write);
            continue;
        };
        let is_same = first.size == write.size
            && first.content.sha256(store).await? == write.content.sha256(store).await?;
        if !is_same {
            let (one, other) = (first.content.name(), write.content.name());
            let reason = format!("{one} and {other} both get this key, and have different bytes");
            taken.push(TakenKey { key: write.key, reason });
        }
    }
    Ok((kept, taken))
}

/// Writes the packages. If some were replaced, explains on standard error what this means for
/// clients.
pub(crate) async fn write_all(
    store: &S3Store,
    planned: Vec<Planned>,
    replace: bool,
) -> Result<Vec<Written>, Error> {
    let is_new = |planned: &&Planned| !matches!(planned.present, Present::Same(_));
    let progress =
        Progress::of_bytes(planned.iter().filter(is_new).map(|planned| planned.write.size).sum());
    let writes = planned.into_iter().map(async |Planned { write, present }| {
        let outcome = match &present {
            Present::Same(etag) => WriteResult::Unchanged(etag.clone()),
            present => make(store, &write, present, replace, &progress).await?,
        };
        Ok::<_, Error>(Written { write, outcome })
    });
    let written: Vec<_> = stream::iter(writes).buffered(PARALLEL).try_collect().await?;
    drop(progress);
    if written.iter().any(|written| matches!(written.outcome, WriteResult::Replaced(_))) {
        output::status(
            "note: clients that have a replaced version installed keep its old files: `apk upgrade` does \
             nothing, since the version is the same. They take the new ones with `apk upgrade --available`; \
             for all others, raise pkgrel.",
        );
    }
    Ok(written)
}

async fn make(
    store: &S3Store,
    write: &Write,
    present: &Present,
    replace: bool,
    progress: &Progress,
) -> Result<WriteResult, Error> {
    let precondition = present.precondition(replace);
    let made = match &write.content {
        Content::File(file) => store
            .upload(&write.key, (file, write.size), precondition, |sent| progress.add(sent))
            .await
            .map_err(|source| Error::Upload { file: file.clone(), source }),
        Content::Object { key, etag } => {
            let copied = store.copy_package(key, etag, &write.key, precondition).await;
            progress.add(write.size);
            copied.map_err(Error::from)
        }
    };
    match made {
        Ok(etag) if matches!(present, Present::Nothing) => Ok(WriteResult::New(etag)),
        Ok(etag) if matches!(present, Present::Hidden) && !replace => Ok(WriteResult::New(etag)),
        Ok(etag) => Ok(WriteResult::Replaced(etag)),
        Err(
            error @ (Error::Store(StoreError::Conflict { .. })
            | Error::Upload {
                source: UploadError::Store(StoreError::Conflict { .. }), ..
            }),
        ) => match Present::look(store, write).await? {
            // Somebody else wrote the same bytes, or we did and the response was lost.
            Present::Same(etag) => Ok(WriteResult::Unchanged(etag)),
            now => match now.reason() {
                Some(reason) if !replace => Ok(WriteResult::Taken { reason: reason.to_owned() }),
                _ => Err(error),
            },
        },
        Err(error) => Err(error),
    }
}

/// Waits until the published indexes have the packages, and returns what became of each.
pub(crate) async fn follow(
    context: &Context,
    store: &S3Store,
    watch: Watch<'_>,
    written: &[Written],
) -> Result<Vec<PushOutcome>, Error> {
    let change = |written: &Written| match &written.outcome {
        WriteResult::New(etag) | WriteResult::Replaced(etag) => {
            let (listed, format) = match written.write.identity {
                Some(identity) => {
                    (Listing::As(written.write.size, identity), Format::of(&identity))
                }
                None => (Listing::Unknown, Format::V2),
            };
            let (key, etag) = (written.key().to_owned(), Some(etag.clone()));
            Some(Change { key, etag, listed, format })
        }
        WriteResult::Unchanged(_) | WriteResult::Taken { .. } => None,
    };
    let changes: Vec<_> = written.iter().filter_map(change).collect();
    let progress = Progress::of_packages(changes.len());
    let mut followed = watch.follow(&changes, |ended| progress.set(ended)).await?.into_iter();
    drop(progress);
    let mut outcomes = Vec::new();
    for written in written {
        outcomes.push(match &written.outcome {
            WriteResult::New(_) | WriteResult::Replaced(_) => {
                PushOutcome::Followed(followed.next().unwrap_or(Outcome::NotObserved))
            }
            WriteResult::Taken { reason } => {
                PushOutcome::NotWritten(NotWritten::Taken { reason: reason.clone() })
            }
            WriteResult::Unchanged(_) if is_listed(store, &written.write).await? => {
                PushOutcome::NotWritten(NotWritten::Unchanged)
            }
            WriteResult::Unchanged(_) => PushOutcome::Followed(list(context, written.key()).await?),
        });
    }
    Ok(outcomes)
}

/// Returns whether the published index lists exactly this package.
async fn is_listed(store: &S3Store, write: &Write) -> Result<bool, Error> {
    let Some((key, identity)) = write.key.parse::<PackageKey>().ok().zip(write.identity.as_ref())
    else {
        return Ok(false);
    };
    match Format::of(identity).entries(store, key.prefix()).await {
        Ok(entries) => Ok(entries.iter().flatten().any(|entry| {
            entry.file_stem() == key.stem()
                && entry.size == write.size
                && entry.identity == *identity
        })),
        // An execution fixes it.
        Err(Error::PublishedIndex { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Starts an execution for a package that no event will report, and waits for its end.
async fn list(context: &Context, key: &str) -> Result<Outcome, Error> {
    let executions = context.executions();
    let input = json!({"bucket": context.bucket_name()?, "key": key}).to_string();
    let arn = executions.start(context.state_machine()?, &input).await?;
    let ended = follow::to_the_end(&executions, &arn).await?;
    Ok(Outcome::of(&ended).unwrap_or(Outcome::NotObserved))
}

impl WriteText for Taken {
    fn write_text(&self, out: &mut dyn io::Write) -> io::Result<()> {
        for TakenKey { key, reason } in &self.taken {
            writeln!(out, "{BAD}taken{BAD:#} {key}: {reason}.")?;
        }
        writeln!(out, "Nothing was {}.", self.done)
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::{
        Client,
        config::http::HttpResponse,
        operation::{
            get_object::GetObjectOutput, head_object::HeadObjectOutput, put_object::PutObjectOutput,
        },
        primitives::{ByteStream, SdkBody},
    };
    use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
    use tempfile::NamedTempFile;

    use super::*;

    const KEY: &str = "3.22/main/x86_64/hello-1.0-r0.apk";

    fn answer(status: u16, code: &str) -> HttpResponse {
        let body = SdkBody::from(format!("<Error><Code>{code}</Code></Error>"));
        HttpResponse::new(status.try_into().unwrap(), body)
    }

    fn head(status: u16) -> HttpResponse {
        HttpResponse::new(status.try_into().unwrap(), SdkBody::empty())
    }

    /// Pushes the bytes `ours`.
    async fn push(rules: &[&Rule], replace: bool) -> Result<WriteResult, Error> {
        let is_withdrawn = mock!(Client::get_object)
            .match_requests(|request| request.key().is_some_and(|key| key.ends_with(".withdrawn")))
            .then_http_response(|| answer(404, "NoSuchKey"));
        let rules = [&[&is_withdrawn], rules].concat();
        let client = mock_client!(aws_sdk_s3, RuleMode::MatchAny, &rules);
        let store = S3Store::new(client, "bucket");
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"ours").unwrap();
        let content = Content::File(file.path().to_owned());
        let write = Write { content, size: 4, identity: None, key: KEY.to_owned() };
        let planned = plan(&store, vec![write], replace, "uploaded").await?.unwrap();
        let written = write_all(&store, planned, replace).await?;
        Ok(written.into_iter().next().unwrap().outcome)
    }

    fn uploaded(none_match: Option<&'static str>) -> Rule {
        mock!(Client::put_object)
            .match_requests(move |request| {
                request.if_none_match() == none_match && request.if_match().is_none()
            })
            .then_output(|| PutObjectOutput::builder().e_tag("\"2\"").build())
    }

    fn new() -> WriteResult {
        WriteResult::New(ETag("\"2\"".into()))
    }

    #[tokio::test]
    async fn whoever_may_only_write_replaces_nothing_unless_told() {
        let forbidden = mock!(Client::head_object).then_http_response(|| head(403));
        let outcome = push(&[&forbidden, &uploaded(Some("*"))], false).await.unwrap();
        assert_eq!(outcome, new());
        let lost =
            mock!(Client::put_object).then_http_response(|| answer(412, "PreconditionFailed"));
        let outcome = push(&[&forbidden, &lost], false).await.unwrap();
        let WriteResult::Taken { reason } = outcome else { panic!("{outcome:?}") };
        assert!(reason.contains("these credentials may not read it"), "{reason}");
        let outcome = push(&[&forbidden, &uploaded(None)], true).await.unwrap();
        assert_eq!(outcome, WriteResult::Replaced(ETag("\"2\"".into())));
    }

    /// Pushes just after somebody else has written these bytes.
    async fn race(rival: &'static str) -> WriteResult {
        let absent = mock!(Client::head_object)
            .sequence()
            .http_status(404, None)
            .output(|| HeadObjectOutput::builder().e_tag("\"1\"").content_length(4).build())
            .build();
        let lost =
            mock!(Client::put_object).then_http_response(|| answer(412, "PreconditionFailed"));
        let get = mock!(Client::get_object).then_output(move || {
            let body = ByteStream::from_static(rival.as_bytes());
            GetObjectOutput::builder().e_tag("\"1\"").content_length(4).body(body).build()
        });
        push(&[&absent, &lost, &get], false).await.unwrap()
    }

    #[tokio::test]
    async fn a_rival_with_the_same_bytes_has_done_our_work() {
        assert_eq!(race("ours").await, WriteResult::Unchanged(ETag("\"1\"".into())));
        let outcome = race("else").await;
        let WriteResult::Taken { reason } = outcome else { panic!("{outcome:?}") };
        assert!(reason.starts_with("other bytes have this name"), "{reason}");
    }
}

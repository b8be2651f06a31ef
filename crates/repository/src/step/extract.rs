use alpinist_apk::{
    checksum::Identity,
    dependency::Dependencies,
    entry::IndexEntry,
    metadata::Metadata,
    package::{Package, PackageError, PackageReader},
    text::{Excerpt, escaped},
    value::Architecture,
};
use tracing::{debug, warn};

use crate::{
    failure::Failure,
    fragment,
    location::{PackageKey, PackageKeyError, Subject},
    message::{self, Accepted, Extracted, Found, RejectionReport, Target},
    panic, plus_copy,
    policy::Policy,
    port::{self, ETag, Object, ObjectBody, ObjectInfo, ObjectStore, StoreError},
    rejection::Rejection,
    trust::{self, SignedBy},
};

/// How often to read a package that somebody keeps replacing.
const ATTEMPTS: usize = 8;

/// Reads the current package, checks it and its signatures, and makes its index entry. If the
/// target is the [withdrawal](crate::withdrawal) of a package, that package is meant. A package
/// that is gone or may not be listed is no failure: its fragment and its entry must go. If it is
/// replaced meanwhile, the new one is read.
///
/// A rejection depends on settings and trusted keys as well as on the package, so the same package
/// may be accepted before or after it is rejected. If a fragment describes the rejected package,
/// the package is examined once more: only the fragment that existed before that may be removed.
///
/// # Errors
///
/// [`Failure::Store`], if the package can't be read; [`Failure::Contended`], if it keeps changing.
pub async fn extract<S: ObjectStore>(
    store: &S,
    policy: Policy,
    target: Target,
) -> Result<Extracted, Failure> {
    let target = match PackageKey::withdrawn_by(&target.key) {
        Some(package) => Target { key: package.to_string(), withdrawal: true, ..target },
        None => package_of_lost_copy(store, target).await?,
    };
    let passes_over = target.reindex.as_ref().is_some_and(|reindex| reindex.only_stale);
    let found = if passes_over && is_indexed(store, &target.key).await? {
        Found::Indexed
    } else {
        examine(store, policy, &target.key).await?
    };
    Ok(Extracted { target, found })
}

/// Reads and examines the current object at `key`, as [`extract`] does.
///
/// # Errors
///
/// Those of [`extract`].
pub async fn examine<S: ObjectStore>(
    store: &S,
    policy: Policy,
    key: &str,
) -> Result<Found, Failure> {
    let mut accepted = None;
    for _ in 0..ATTEMPTS {
        let found = match examine_once(store, policy, key).await {
            Err(Failure::Store(StoreError::Conflict { .. })) => {
                debug!(key = escaped(key), "package was replaced while it was read");
                continue;
            }
            found => found?,
        };
        let Found::Rejected(rejection) = found else { return Ok(found) };
        let fragment = accepted_as(store, key, &rejection).await?;
        if fragment == accepted {
            return Ok(Found::Rejected(RejectionReport { fragment, ..rejection }));
        }
        accepted = fragment;
    }
    Err(Failure::Contended { key: key.to_owned() })
}

/// Returns the package as the target if the target is a copy that somebody deleted or overwrote: it
/// is rebuilt with its package. A package without a fragment has no copy either: we deleted it.
async fn package_of_lost_copy<S: ObjectStore>(
    store: &S,
    target: Target,
) -> Result<Target, Failure> {
    let Some(package) = plus_copy::package_of(&target.key) else { return Ok(target) };
    let is_copy = store.head(&target.key).await?.is_some_and(|object| plus_copy::is_copy(&object));
    if is_copy || store.head(&package.fragment_key()).await?.is_none() {
        return Ok(target);
    }
    warn!(key = escaped(&target.key), "copy is gone or overwritten; its package is looked at");
    Ok(Target { key: package.to_string(), ..target })
}

/// Returns the version of the fragment that describes the rejected package, if there is one.
async fn accepted_as<S: ObjectStore>(
    store: &S,
    key: &str,
    rejection: &RejectionReport,
) -> Result<Option<ETag>, Failure> {
    let Ok(key) = key.parse::<PackageKey>() else { return Ok(None) };
    let fragment = store.head(&key.fragment_key()).await?;
    let fragment = fragment.filter(|fragment| fragment::describes(fragment, &rejection.package));
    Ok(fragment.map(|fragment| fragment.etag))
}

async fn examine_once<S: ObjectStore>(
    store: &S,
    policy: Policy,
    key: &str,
) -> Result<Found, Failure> {
    if let Ok(Subject::Index(_)) = key.parse() {
        return Ok(Found::Nothing);
    }
    let got = match store.get(key).await {
        Err(StoreError::Archived { .. }) => return archived(store, key).await,
        got => got?,
    };
    let Some(object) = got else { return Ok(Found::Nothing) };
    let package_key = key.parse::<PackageKey>();
    if package_key == Err(PackageKeyError::Space) && plus_copy::is_copy(&object.info) {
        return Ok(Found::Nothing);
    }
    let package = object.info.etag.clone();
    let outcome = match package_key {
        Ok(key) => panic::catch(Box::pin(judge(store, policy, &key, object)))
            .await
            .unwrap_or_else(|bug| Ok(Err(bug.into())))?,
        Err(error) => Err(error.into()),
    };
    Ok(match outcome {
        Ok((entry, signed_by)) => {
            let warnings = message::warnings(&entry);
            Found::Accepted(Box::new(Accepted { package, entry, signed_by, warnings }))
        }
        Err(rejection) => Found::Rejected(RejectionReport::new(key, package, &rejection)),
    })
}

/// Rejects an archived package, unless it was replaced meanwhile: a rejection names a version,
/// which must be the archived one.
async fn archived<S: ObjectStore>(store: &S, key: &str) -> Result<Found, Failure> {
    let before = store.head(key).await?;
    let is_archived = match store.get(key).await {
        Err(StoreError::Archived { .. }) => true,
        got => got.map(|_| false)?,
    };
    let after = store.head(key).await?;
    let version = |package: Option<ObjectInfo>| package.map(|package| package.etag);
    match (version(before), version(after)) {
        (Some(before), Some(after)) if is_archived && before == after => {
            Ok(Found::Rejected(RejectionReport::new(key, after, &Rejection::Archived)))
        }
        _ => Err(StoreError::Conflict { key: key.to_owned() }.into()),
    }
}

/// The index entry of a package, and who signed it.
type Examined = (IndexEntry, Option<SignedBy>);

/// Reads and checks a package. Whatever comes of that, even a panic, is due to the package alone.
async fn judge<S: ObjectStore>(
    store: &S,
    policy: Policy,
    key: &PackageKey,
    object: Object<S::Body>,
) -> Result<Result<Examined, Rejection>, Failure> {
    if object.info.size > policy.max_size {
        return Ok(Err(Rejection::Size { size: object.info.size, max: policy.max_size }));
    }
    let package = match read_package(object).await? {
        Ok(package) => package,
        Err(error) => return Ok(Err(error.into())),
    };
    let judged = trust::verify_signatures(store, policy.signatures, &package).await?;
    let architecture = key.prefix().architecture();
    Ok(judged.and_then(|signed_by| Ok((make_entry(architecture, key.stem(), package)?, signed_by))))
}

/// Returns whether the current package has a fragment that describes it, and its copy, so that a
/// reindex of stale packages skips it. If copies are not kept, packages with a `+` are examined
/// every time.
async fn is_indexed<S: ObjectStore>(store: &S, key: &str) -> Result<bool, Failure> {
    let Ok(key) = key.parse::<PackageKey>() else { return Ok(false) };
    let package_key = key.to_string();
    let fragment = match port::read(store, &key.fragment_key(), fragment::MAX_LENGTH).await {
        Ok(Some(fragment)) => fragment,
        Ok(None) | Err(StoreError::TooLarge { .. }) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let Some(package) = store.head(&package_key).await? else { return Ok(false) };
    let is_described = fragment::entry(fragment, key.prefix(), &package_key, &package.etag).is_ok();
    Ok(is_described && plus_copy::is_there(store, &key, &package.etag).await?)
}

/// Reads a package chunk by chunk, up to the first error.
async fn read_package<B: ObjectBody>(
    mut object: Object<B>,
) -> Result<Result<Package, PackageError>, Failure> {
    let mut reader = PackageReader::new();
    while let Some(chunk) = object.body.next().await? {
        if let Err(error) = reader.push(&chunk) {
            return Ok(Err(error));
        }
    }
    Ok(reader.finish())
}

/// Makes the index entry of a package in a directory of `architecture`, under the file name
/// `<stem>.apk`.
///
/// # Errors
///
/// [`Rejection`], if the package does not belong there under that name, or if its entry would harm
/// an index.
pub fn make_entry(
    architecture: &Architecture,
    stem: &str,
    package: Package,
) -> Result<IndexEntry, Rejection> {
    let Package { metadata, identity, size, has_content, .. } = package;
    let directory = architecture.clone();
    let architecture = &metadata.architecture;
    if let Some(names) = architecture.names_in_apk() {
        let package = architecture.clone();
        return Err(Rejection::ForeignArchitecture { package, names });
    }
    if *architecture != directory && !architecture.is_noarch() {
        return Err(Rejection::Architecture { package: architecture.clone(), directory });
    }
    if architecture.is_noarch() && !directory.is_known() {
        return Err(Rejection::UnknownDirectory { directory });
    }
    // Clients read what a v2 package replaces from the package itself.
    let metadata = match identity {
        Identity::Control(_) => Metadata { replaces: Dependencies::default(), ..metadata },
        Identity::Payload(_) => metadata,
    };
    let entry = IndexEntry::new(metadata, directory, identity, size, has_content)?;
    let expected = entry.file_stem();
    if stem != expected {
        return Err(Rejection::FileName { found: Excerpt::of(stem.as_bytes()), expected });
    }
    Ok(entry)
}

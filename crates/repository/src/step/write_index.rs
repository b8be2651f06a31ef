use crate::{
    failure::Failure,
    fragment, journal,
    location::PackageKey,
    message::{Accepted, Extracted, Found, Reindex, RejectionReport, Written, WrittenFragment},
    plus_copy::{self, PlusCopies},
    port::{self, ETag, ObjectInfo, ObjectStore, Precondition, StoreError},
    rejection_note,
};

/// How often to try to write a fragment that somebody keeps changing.
const ATTEMPTS: usize = 8;

/// Writes the fragment of an accepted package, or removes that of a package that is gone or was
/// rejected, if the package is still the one that was inspected.
///
/// The order of the requests matters. The fragment is inspected before the package, and is changed
/// only if it is still the same: whoever replaces the package meanwhile either comes later and
/// overwrites our fragment, or came first and makes our write fail.
///
/// # Errors
///
/// [`Failure::Superseded`], if the package is no longer the one that was accepted or rejected;
/// [`Failure::Contended`], if the fragment keeps changing; [`Failure::Store`].
pub async fn write_index<S: ObjectStore>(
    store: &S,
    copies: PlusCopies,
    request: Extracted,
) -> Result<Written, Failure> {
    let written = apply(store, copies, request).await?;
    if let Some(Reindex { run, .. }) = &written.target.reindex {
        note(store, run, &written).await?;
    }
    Ok(written)
}

async fn apply<S: ObjectStore>(
    store: &S,
    copies: PlusCopies,
    request: Extracted,
) -> Result<Written, Failure> {
    let Extracted { target, found } = request;
    let (accepted, rejection) = match found {
        Found::Indexed => return Err(Failure::InvalidInput),
        Found::Nothing => (None, None),
        Found::Accepted(accepted) => (Some(accepted), None),
        Found::Rejected(rejection) => (None, Some(rejection)),
    };
    let Ok(key) = target.key.parse::<PackageKey>() else {
        return Ok(Written {
            target,
            fragment: None,
            changed: false,
            rejection,
            signed_by: None,
            warnings: Vec::new(),
        });
    };
    for _ in 0..ATTEMPTS {
        let outcome = match &accepted {
            Some(accepted) => {
                let written = write(store, &key, accepted, copies).await;
                written.map(|(fragment, changed)| (Some(fragment), changed))
            }
            None => remove(store, &key, rejection.as_ref()).await.map(|changed| (None, changed)),
        };
        match outcome {
            Ok((fragment, changed)) => {
                if let Some(rejection) = &rejection {
                    // A note counts only if it is not older than the package, which may have been
                    // uploaded again, so each upload renews it. A reindex follows no upload, so it
                    // does not.
                    let precondition = match target.reindex {
                        Some(_) => Precondition::Absent,
                        None => Precondition::None,
                    };
                    rejection_note::write(store, &key, &rejection.package, precondition).await?;
                }
                let (signed_by, warnings) = accepted
                    .map_or((None, Vec::new()), |accepted| (accepted.signed_by, accepted.warnings));
                return Ok(Written { target, fragment, changed, rejection, signed_by, warnings });
            }
            Err(Failure::Store(StoreError::Conflict { .. })) => {}
            Err(failure) => return Err(failure),
        }
    }
    Err(Failure::Contended { key: key.fragment_key() })
}

/// Records the result in the journal of a reindex.
async fn note<S: ObjectStore>(store: &S, run: &str, written: &Written) -> Result<(), Failure> {
    if let Some(rejection) = &written.rejection {
        return journal::record_rejected(store, run, &written.target, rejection).await;
    }
    match written.target.key.parse() {
        Ok(key) if written.changed && written.fragment.is_some() => {
            Ok(journal::record_indexed(store, run, &key).await?)
        }
        _ => Ok(()),
    }
}

/// Writes the fragment of an accepted package. Returns the current fragment, and whether it was
/// written just now.
///
/// Most packages are new, so the first attempt writes without checking anything. The package is
/// checked before an existing fragment is overwritten, which may be better than ours, and always at
/// the end: whoever replaced the package since we read it may have found nothing to remove or
/// overwrite yet.
async fn write<S: ObjectStore>(
    store: &S,
    key: &PackageKey,
    accepted: &Accepted,
    copies: PlusCopies,
) -> Result<(WrittenFragment, bool), Failure> {
    let fragment_key = key.fragment_key();
    let object = fragment::new(accepted);
    let outcome = match store.put(&fragment_key, object.clone(), Precondition::Absent).await {
        Err(StoreError::Conflict { .. }) => match present(store, &fragment_key, accepted).await? {
            Present::Current(etag) => (etag, false),
            Present::Other(etag) => {
                check(store, key, accepted).await?;
                let still = Precondition::Unchanged(etag);
                (store.put(&fragment_key, object, still).await?, true)
            }
        },
        outcome => (outcome?, true),
    };
    match copies {
        PlusCopies::Kept => {
            plus_copy::write(store, key, (&accepted.package, accepted.entry.size)).await?;
        }
        PlusCopies::None => plus_copy::remove(store, key).await?,
    }
    check(store, key, accepted).await?;
    let (fragment, changed) = outcome;
    let Accepted { package, entry, .. } = accepted.clone();
    Ok((WrittenFragment { package, fragment, entry }, changed))
}

/// The version of the existing fragment.
enum Present {
    /// It is what we would write.
    Current(ETag),
    /// It is not, or is too large.
    Other(ETag),
}

/// Compares the existing fragment with that of the accepted package.
async fn present<S: ObjectStore>(
    store: &S,
    key: &str,
    accepted: &Accepted,
) -> Result<Present, StoreError> {
    let gone = || StoreError::Conflict { key: key.to_owned() };
    match port::read(store, key, fragment::MAX_LENGTH).await {
        Ok(Some(there)) if fragment::is_current(&there, accepted) => {
            Ok(Present::Current(there.info.etag))
        }
        Ok(there) => Ok(Present::Other(there.ok_or_else(gone)?.info.etag)),
        Err(StoreError::TooLarge { .. }) => {
            Ok(Present::Other(store.head(key).await?.ok_or_else(gone)?.etag))
        }
        Err(error) => Err(error),
    }
}

/// Checks that the package is still the accepted one.
async fn check<S: ObjectStore>(
    store: &S,
    key: &PackageKey,
    accepted: &Accepted,
) -> Result<(), Failure> {
    match store.head(&key.to_string()).await? {
        Some(package) if package.etag == accepted.package => Ok(()),
        _ => Err(Failure::Superseded { key: key.to_string() }),
    }
}

/// Removes the fragment and the copy, unless they describe the current package and we either did
/// not reject it or rejected it before it was accepted: then another execution accepted it, and
/// ours is late. If the package came back between the two checks, the fragment was removed wrongly,
/// and [`Failure::Superseded`] makes the execution examine the package again.
///
/// Returns whether a fragment was removed.
async fn remove<S: ObjectStore>(
    store: &S,
    key: &PackageKey,
    rejection: Option<&RejectionReport>,
) -> Result<bool, Failure> {
    plus_copy::remove(store, key).await?;
    let fragment_key = key.fragment_key();
    let Some(present) = store.head(&fragment_key).await? else { return Ok(false) };
    if !fragment::is_ours(store, key.prefix(), &fragment_key).await? {
        return Ok(false);
    }
    let superseded = || Err(Failure::Superseded { key: key.to_string() });
    let is_rejected =
        |package: &ObjectInfo| rejection.is_some_and(|rejection| rejection.package == package.etag);
    let is_described = |package: &ObjectInfo| fragment::describes(&present, &package.etag);
    if let Some(package) = store.head(&key.to_string()).await? {
        match rejection {
            Some(_) if !is_rejected(&package) => return superseded(),
            Some(rejection)
                if is_described(&package) && rejection.fragment != Some(present.etag.clone()) =>
            {
                return superseded();
            }
            None if is_described(&package) => return Ok(false),
            _ => {}
        }
    }
    store.delete(&fragment_key, &present.etag).await?;
    match store.head(&key.to_string()).await? {
        Some(package) if is_described(&package) && !is_rejected(&package) => superseded(),
        _ => Ok(true),
    }
}

use alpinist_apk::checksum::Identity;

use crate::{
    failure::Failure,
    fragment, journal,
    location::PackageKey,
    message::{Accepted, Extracted, Found, Reindex, RejectionReport, Written, WrittenFragment},
    plus_copy::{self, PlusCopies},
    port::{self, ETag, ObjectInfo, ObjectStore, Precondition, StoreError},
    rejection::Rejection,
    rejection_note,
    replacing::Replacing,
    withdrawal,
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
/// Where [replacing is refused](Replacing::Refused), a package is rejected here if the existing
/// fragment has another checksum. That fragment stays, as the memory of what was published, until
/// the package is deleted.
///
/// # Errors
///
/// [`Failure::Superseded`], if the package is no longer the one that was accepted or rejected;
/// [`Failure::Contended`], if the fragment keeps changing; [`Failure::Store`].
pub async fn write_index<S: ObjectStore>(
    store: &S,
    copies: PlusCopies,
    replacing: Replacing,
    request: Extracted,
) -> Result<Written, Failure> {
    let written = apply(store, copies, replacing, request).await?;
    if let Some(Reindex { run, .. }) = &written.target.reindex {
        note(store, run, &written).await?;
    }
    Ok(written)
}

async fn apply<S: ObjectStore>(
    store: &S,
    copies: PlusCopies,
    replacing: Replacing,
    request: Extracted,
) -> Result<Written, Failure> {
    let Extracted { target, found } = request;
    let (mut accepted, mut rejection) = match found {
        Found::Indexed => return Err(Failure::InvalidInput),
        Found::Nothing => (None, None),
        Found::Accepted(accepted) => (Some(accepted), None),
        Found::Rejected(rejection) => (None, Some(rejection)),
    };
    let Ok(key) = target.key.parse::<PackageKey>() else {
        return Ok(Written {
            target,
            fragment: None,
            kept: None,
            withdrawn: false,
            changed: false,
            rejection,
            signed_by: None,
            warnings: Vec::new(),
        });
    };
    for _ in 0..ATTEMPTS {
        let outcome = match &accepted {
            Some(accepted) => write(store, &key, accepted, copies, replacing).await,
            None => remove(store, &key, rejection.as_ref(), replacing).await,
        };
        match outcome {
            Ok(Outcome::Replaces(published)) => {
                // What is published under this name is gone.
                if let Some(Accepted { package, entry, .. }) = accepted.take().as_deref() {
                    let found = entry.identity;
                    let replaced = Rejection::Replaced { published, found };
                    let report = RejectionReport::new(&target.key, package.clone(), &replaced);
                    rejection = Some(report);
                }
            }
            Ok(Outcome::Done { fragment, kept, changed, is_new }) => {
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
                let is_doubtful = target.withdrawal || !is_new && target.reindex.is_none();
                let written = Written {
                    target,
                    fragment: fragment.map(|fragment| *fragment),
                    kept,
                    withdrawn: false,
                    changed,
                    rejection,
                    signed_by,
                    warnings,
                };
                // Of a new package, the listing will show it.
                let reason =
                    if is_doubtful { withdrawal::reason(store, &key).await? } else { None };
                return Ok(match reason {
                    Some(reason) => written.into_withdrawn(reason),
                    None => written,
                });
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

/// What came of an attempt.
enum Outcome {
    /// The fragment is as it should be.
    Done {
        /// The fragment of the package, unless it is to have none.
        fragment: Option<Box<WrittenFragment>>,
        /// The fragment of an earlier package under this name, which may not be replaced.
        kept: Option<ETag>,
        /// Whether it was written or removed just now.
        changed: bool,
        /// Whether there was none before.
        is_new: bool,
    },
    /// A package with this checksum was published under this name, and may not be replaced.
    Replaces(Identity),
}

impl Outcome {
    fn without_fragment(changed: bool) -> Self {
        Self::Done { fragment: None, kept: None, changed, is_new: false }
    }
}

/// Writes the fragment of an accepted package, unless it replaces another one and may not.
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
    replacing: Replacing,
) -> Result<Outcome, Failure> {
    let fragment_key = key.fragment_key();
    let object = fragment::new(accepted);
    let mut is_new = true;
    let outcome = match store.put(&fragment_key, object.clone(), Precondition::Absent).await {
        Err(StoreError::Conflict { .. }) => match present(store, key, accepted).await? {
            Present::Current(etag) => {
                is_new = false;
                (etag, false)
            }
            Present::Other(etag, published) => {
                check(store, key, accepted).await?;
                if let Some(published) = published.filter(|_| replacing == Replacing::Refused) {
                    return Ok(Outcome::Replaces(published));
                }
                is_new = false;
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
    let fragment = Some(Box::new(WrittenFragment { package, fragment, entry }));
    Ok(Outcome::Done { fragment, kept: None, changed, is_new })
}

/// The version of the existing fragment.
enum Present {
    /// It is what we would write.
    Current(ETag),
    /// It is not, or is too large. The checksum is that of another package of this name.
    Other(ETag, Option<Identity>),
}

/// Compares the existing fragment with that of the accepted package.
async fn present<S: ObjectStore>(
    store: &S,
    key: &PackageKey,
    accepted: &Accepted,
) -> Result<Present, StoreError> {
    let fragment_key = &key.fragment_key();
    let gone = || StoreError::Conflict { key: fragment_key.clone() };
    match port::read(store, fragment_key, fragment::MAX_LENGTH).await {
        Ok(Some(there)) if fragment::is_current(&there, accepted) => {
            Ok(Present::Current(there.info.etag))
        }
        Ok(there) => {
            let there = there.ok_or_else(gone)?;
            let etag = there.info.etag.clone();
            let published = fragment::published(there, key);
            Ok(Present::Other(etag, published.filter(|known| *known != accepted.entry.identity)))
        }
        Err(StoreError::TooLarge { .. }) => {
            Ok(Present::Other(store.head(fragment_key).await?.ok_or_else(gone)?.etag, None))
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
/// The fragment of an earlier package stays if that may not be replaced.
async fn remove<S: ObjectStore>(
    store: &S,
    key: &PackageKey,
    rejection: Option<&RejectionReport>,
    replacing: Replacing,
) -> Result<Outcome, Failure> {
    plus_copy::remove(store, key).await?;
    let fragment_key = key.fragment_key();
    let Some(present) = store.head(&fragment_key).await? else {
        return Ok(Outcome::without_fragment(false));
    };
    if !fragment::is_ours(store, key.prefix(), &fragment_key).await? {
        return Ok(Outcome::without_fragment(false));
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
            None if is_described(&package) => return Ok(Outcome::without_fragment(false)),
            Some(_) if replacing == Replacing::Refused && !is_described(&package) => {
                let kept = Some(present.etag);
                return Ok(Outcome::Done { fragment: None, kept, changed: false, is_new: false });
            }
            _ => {}
        }
    }
    store.delete(&fragment_key, &present.etag).await?;
    match store.head(&key.to_string()).await? {
        Some(package) if is_described(&package) && !is_rejected(&package) => superseded(),
        _ => Ok(Outcome::without_fragment(true)),
    }
}

use std::{
    collections::{BTreeSet, HashSet},
    slice,
};

use alpinist_apk::text::chain;
use tracing::{debug, warn};

use crate::{
    failure::Failure,
    journal,
    lease::Lease,
    listing::Listing,
    location::{PackageKey, Subject},
    message::{AggregateRequest, Aggregated, Reindex, Waiting, Written, WrittenFragment},
    port::{ETag, ObjectStore, StoreError},
    snapshot::{Edit, Record, Snapshot},
    step::{
        adoption::{
            MAX_WAITS_FOR_ADOPTION, WAITS_PER_REQUEST, ask_for_adoption, published_stems, unknown,
        },
        decide::{Baseline, Decision, Job, decide},
        merge::{Sources, same},
        published::Published,
        reindex::{record_found, rejected},
        swap::{Evidence, SnapshotUpdate, Swapped},
    },
    v3_index::V3Index,
    withdrawal,
};

/// How long an execution waits at least before it looks again, in seconds, if it waits often: twice
/// as long each time, up to this.
const LONGEST_WAIT: u64 = 16;

/// How long an execution waits at least before it looks again, in seconds, if it is one of many: as
/// long as the last snapshot has changes, up to this, which is about two publications. So most of
/// them look twice.
const CROWD_WAIT: u64 = 4;

/// Makes the index of the repository prefix from the current bucket, and stages it if it differs
/// from the published one. First checks whether another execution has done so or is at work.
///
/// The cached snapshot and the published index are inspected before the bucket is listed, and each
/// may be replaced only if it is still the same, so nobody can have published anything newer than
/// our listing. If there is nothing to publish, but an execution that listed the bucket before our
/// change may still be at work, the snapshot is replaced anyway: then that one can no longer
/// publish.
///
/// Without a snapshot, a package without a fragment was never inspected, unless it was rejected.
/// Then nothing is published until a reindex, which [`heal`](super::heal()) is asked to start, has
/// inspected it: what is published must not shrink for want of knowledge.
///
/// Costs two or three requests if the change is covered, and four if another execution is at work.
/// Otherwise a listing, which is only of the package's own objects if no other execution seems to
/// be at work; one read for each fragment that changed since the last publication; and four more
/// requests.
///
/// # Errors
///
/// [`Failure::Superseded`], if the package is no longer as the request says;
/// [`Failure::Unadopted`], if no reindex inspected the packages in time; [`Failure::Contended`];
/// [`Failure::Store`].
pub async fn aggregate<S: ObjectStore>(
    store: &S,
    v3_index: V3Index,
    mut request: AggregateRequest,
) -> Result<Aggregated, Failure> {
    let Ok(subject) = request.written.target.key.parse::<Subject>() else {
        return Ok(request.written.into());
    };
    let (mut unknown, mut changes) = (0, 0);
    let (generation, overtook) = match decide(store, &subject, &request).await.map_err(contended)? {
        Decision::UpToDate => return Ok(request.written.into()),
        Decision::Contended(contention) => {
            changes = contention.changes;
            (contention.generation, false)
        }
        Decision::Work(work) => {
            let Job { lease, base, is_alone } = *work;
            let (generation, before) = (base.generation, base.etag.clone());
            // While a reindex is awaited, each attempt would list the bucket and perhaps read all
            // fragments.
            let asked = request.waiting.as_ref().filter(|waiting| waiting.unknown > 0);
            let is_to_ask = asked.is_none_or(|waiting| waiting.times % WAITS_PER_REQUEST == 0);
            let rebuilt = match asked {
                Some(waiting) if generation == 0 && !is_to_ask => {
                    Ok(Rebuilt::Unadopted(waiting.unknown))
                }
                _ => {
                    let written = &request.written;
                    let change = Change { store, v3_index, subject: &subject, written };
                    change.make_snapshot(base, &lease, is_alone).await
                }
            };
            match rebuilt {
                Ok(Rebuilt::Swapped { swapped, is_withdrawn }) => {
                    if is_withdrawn && !request.written.withdrawn {
                        request.written = withdrawn(store, &subject, request.written).await?;
                    }
                    match swapped {
                        Swapped::Snapshot(staged) => {
                            let written = request.written;
                            return Ok(Aggregated { written, staged, waiting: None });
                        }
                        Swapped::Superseding => (generation, true),
                        Swapped::Nothing => {
                            lease.release(store).await?;
                            return Ok(request.written.into());
                        }
                    }
                }
                Ok(Rebuilt::Unadopted(found)) => {
                    if is_to_ask {
                        ask_for_adoption(store, subject.prefix()).await?;
                    }
                    lease.release(store).await?;
                    unknown = found;
                    (generation, false)
                }
                Err(Failure::Store(StoreError::Conflict { .. })) => (generation, false),
                Err(failure) => {
                    if !may_have_written(store, &subject, before, &failure).await {
                        lease.release(store).await?;
                    }
                    return Err(failure);
                }
            }
        }
    };
    let Waiting { since, times, .. } = request.waiting.unwrap_or_default();
    // While nothing is cached there is nothing to count from.
    let since = if since == 0 { generation } else { since };
    if unknown > 0 && times >= MAX_WAITS_FOR_ADOPTION {
        let prefix = subject.prefix().to_string();
        return Err(Failure::Unadopted { prefix, unknown });
    }
    debug!(key = %subject, since, times, overtook, "another execution is at work");
    let times = times + 1;
    let seconds = 2_u64.saturating_pow(times).min(LONGEST_WAIT);
    let seconds = seconds.max(u64::try_from(changes).map_or(CROWD_WAIT, |n| n.min(CROWD_WAIT)));
    let waiting = Some(Waiting { since, times, seconds, overtook, unknown });
    Ok(Aggregated { written: request.written, staged: None, waiting })
}

/// Makes the state machine retry the step if what it reads was replaced while a connection broke.
fn contended(failure: Failure) -> Failure {
    match failure {
        Failure::Store(StoreError::Conflict { key }) => Failure::Contended { key },
        failure => failure,
    }
}

/// Returns whether the snapshot may be ours although a request failed: the store carried it out,
/// and its answer was lost. Then the lease stays, to show that somebody made what follows the
/// snapshot before, should that ever be copied back.
async fn may_have_written<S: ObjectStore>(
    store: &S,
    subject: &Subject,
    before: Option<ETag>,
    failure: &Failure,
) -> bool {
    if !matches!(failure, Failure::Store(_)) {
        return false;
    }
    let now = store.head(&subject.prefix().snapshot_key()).await;
    now.map_or(true, |now| now.map(|now| now.etag) != before)
}

/// Returns what was written of a package that turned out to be withdrawn.
async fn withdrawn<S: ObjectStore>(
    store: &S,
    subject: &Subject,
    written: Written,
) -> Result<Written, Failure> {
    let Subject::Package(key) = subject else { return Ok(written) };
    let reason = withdrawal::reason(store, key).await?;
    Ok(written.into_withdrawn(reason.unwrap_or_default()))
}

/// What came of making a snapshot.
enum Rebuilt {
    Swapped {
        swapped: Swapped,
        /// Whether the package is withdrawn.
        is_withdrawn: bool,
    },
    /// There is no snapshot, and this many packages were never inspected.
    Unadopted(usize),
}

/// The change that an execution is about.
struct Change<'a, S> {
    store: &'a S,
    v3_index: V3Index,
    subject: &'a Subject,
    written: &'a Written,
}

impl<S: ObjectStore> Change<'_, S> {
    /// Makes the next snapshot: from the base and the change, if no other execution seems to be at
    /// work; otherwise from a listing of the bucket.
    async fn make_snapshot(
        &self,
        base: Baseline,
        lease: &Lease,
        is_alone: bool,
    ) -> Result<Rebuilt, Failure> {
        let unknown =
            Baseline { generation: 0, listed: 0, snapshot: Snapshot::default(), ..base.clone() };
        let made = match self.subject {
            Subject::Package(package) if is_alone && self.is_on_its_own(&base.snapshot) => {
                self.apply(package, base).await
            }
            _ => self.rebuild(base, lease).await,
        };
        match made {
            Err(Failure::StagedDamaged { key, source }) => {
                warn!(key, error = chain(&source), "snapshot is damaged; fragments are read again");
                self.rebuild(unknown, lease).await
            }
            made => made,
        }
    }

    /// Returns whether the change affects only one entry. The order of versions that apk can't tell
    /// apart depends on when all of them were uploaded, and a reindex inspects everything.
    fn is_on_its_own(&self, cached: &Snapshot) -> bool {
        let entry = self.written.fragment.as_ref().map(|written| &written.entry);
        self.written.target.reindex.is_none()
            && self.subject.stem().is_some_and(|stem| !cached.is_tied(stem, entry))
    }

    /// Applies the change to the base, after checking the package and its fragment. The base has
    /// all earlier changes: of two executions that start from the same base, only one can replace
    /// it. Of two executions for one package, the later one has inspected it later.
    async fn apply(&self, package: &PackageKey, base: Baseline) -> Result<Rebuilt, Failure> {
        let Baseline { etag, generation, listed, snapshot, has_adb, published, is_published } =
            base;
        let (prefix, stem) = (package.prefix(), package.stem());
        let listing = Listing::of_package(self.store, package).await?;
        check(&listing, self.subject, self.written)?;
        let is_withdrawn = listing.withdrawn.contains_key(stem);
        let own = self.own_record().filter(|_| !is_withdrawn);
        let is_gone = own.is_none();
        let fragment = listing.fragments.get(stem).map(|fragment| &fragment.etag);
        let is_accepted = fragment.is_some() && fragment != self.written.kept.as_ref();
        // Somebody else has accepted what we rejected.
        if is_gone && is_accepted && listing.packages.contains_key(stem) {
            return Err(Failure::Superseded { key: package.to_string() });
        }
        let damaged = |source| Failure::StagedDamaged { key: prefix.snapshot_key(), source };
        let edit = match own {
            Some(own) if same(&snapshot, slice::from_ref(&own)).map_err(damaged)?.is_empty() => {
                Some(Edit::Put(Box::new(own)))
            }
            Some(_) => None,
            None => snapshot.row(stem).map(|_| Edit::Remove),
        };
        let is_fence = edit.is_some() || is_gone;
        let changes = edit.iter().count();
        let edits = edit.map(|edit| (stem.to_owned(), edit)).into_iter().collect();
        let snapshot = snapshot.apply(edits).map_err(damaged)?;
        let has_adb = has_adb || self.wants_adb(&snapshot, &published);
        let (generation, evidence) = (generation + 1, Evidence::Attributes);
        let next = SnapshotUpdate {
            etag,
            generation,
            listed,
            changes,
            has_adb,
            published,
            evidence,
            is_fence,
            is_published,
        };
        let swapped = next.swap(self.store, prefix, &snapshot).await?;
        Ok(Rebuilt::Swapped { swapped, is_withdrawn })
    }

    fn wants_adb(&self, snapshot: &Snapshot, published: &Published) -> bool {
        let has_index = published.index.is_some();
        self.v3_index.is_wanted(snapshot.len(), snapshot.v3_len(), has_index)
    }

    fn own_record(&self) -> Option<Record> {
        let WrittenFragment { package, fragment, entry } = self.written.fragment.clone()?;
        Some(Record { package, fragment, rank: 0, entry })
    }

    /// Makes the snapshot from a listing of the bucket.
    async fn rebuild(&self, base: Baseline, lease: &Lease) -> Result<Rebuilt, Failure> {
        let Self { store, subject, written, .. } = *self;
        let Baseline {
            etag,
            generation,
            snapshot: cached,
            has_adb: knows_adb,
            mut published,
            is_published,
            ..
        } = base;
        let prefix = subject.prefix();
        let damaged = |source| Failure::StagedDamaged { key: prefix.snapshot_key(), source };
        // Perhaps it could not be published, because somebody planted or damaged something in it.
        let cached = if is_published { cached } else { cached.checked(prefix).map_err(damaged)? };
        let listing = Listing::read(store, prefix, &cached).await?;
        check(&listing, subject, written)?;
        let is_withdrawn = subject.stem().is_some_and(|stem| listing.withdrawn.contains_key(stem));
        let is_gone = written.fragment.is_none() || is_withdrawn;
        let own_stem = subject.stem().filter(|_| is_gone).map(str::to_owned);
        let mut forgotten: HashSet<_> = own_stem.into_iter().collect();
        let reindex = written.target.reindex.as_ref();
        let is_adopted = generation > 0;
        if !is_adopted && reindex.is_none() {
            let is_known = |stem: &str| listing.fragments.contains_key(stem);
            let unknown = unknown(store, prefix, subject.stem(), &listing, is_known).await?;
            if !unknown.is_empty() {
                return Ok(Rebuilt::Unadopted(unknown.len()));
            }
        }
        let generation = match generation {
            0 => u64::try_from(listing.youngest).unwrap_or_default() + 1,
            generation => generation + 1,
        };
        let own = self.own_record().filter(|_| !is_withdrawn);
        // Only a run that inspects packages says anything about them.
        let looking = reindex.filter(|reindex| !reindex.sign);
        if let Some(Reindex { run, .. }) = looking {
            forgotten.extend(rejected(store, run, &listing, &cached).await?);
        }
        let is_to_be_read = looking.is_some();
        let sources = Sources { store, prefix, listing: &listing, is_to_be_read };
        let edits = sources.collect(&cached, &forgotten, own).await?;
        let (changes, is_same) = (edits.len(), edits.is_empty());
        let removed = edits.iter().filter(|(_, edit)| **edit == Edit::Remove);
        let removed: BTreeSet<_> = removed.map(|(stem, _)| stem.clone()).collect();
        let snapshot = cached.apply(edits).map_err(damaged)?;
        drop(cached);
        let stems: HashSet<_> = snapshot.rows().map(|row| row.stem()).collect();
        if !is_adopted {
            let is_known = |stem: &str| stems.contains(stem);
            let unknown = unknown(store, prefix, subject.stem(), &listing, is_known).await?;
            let unknown = match looking {
                None => unknown.len(),
                Some(_) if unknown.is_empty() => 0,
                // Each was inspected, and some failed. Packages that were published, or that this
                // run indexed and somebody made unknown since, must not go missing because of that.
                Some(Reindex { run, .. }) => {
                    let mut expected = published_stems(store, prefix, &listing).await?;
                    expected.extend(journal::indexed(store, run, prefix).await?);
                    unknown.into_iter().filter(|stem| expected.contains(*stem)).count()
                }
            };
            if unknown > 0 {
                return match reindex {
                    None => Ok(Rebuilt::Unadopted(unknown)),
                    Some(_) => Err(Failure::Unadopted { prefix: prefix.to_string(), unknown }),
                };
            }
        }
        let evidence = Evidence::asked_by(subject, reindex);
        let listed = generation;
        let mut has_adb = knows_adb || self.wants_adb(&snapshot, &published);
        if !has_adb && listing.has_adb {
            // Somebody else's index without any v3 package is not ours to replace.
            published.look_at_adb(store, prefix).await?;
            has_adb = published.has_our_adb();
        }
        published.adb.take_if(|_| !has_adb);
        // The next executions must know of our index of format v3, too.
        let is_fence = !is_same
            || (subject.stem().is_some() && is_gone)
            || lease.was_stolen()
            || has_adb != knows_adb;
        let next = SnapshotUpdate {
            etag,
            generation,
            listed,
            changes,
            has_adb,
            published,
            evidence,
            is_fence,
            is_published,
        };
        let swapped = next.swap(store, prefix, &snapshot).await?;
        if let Some(Reindex { run, .. }) = looking {
            record_found(store, run, prefix, &listing, removed, &stems).await?;
        }
        Ok(Rebuilt::Swapped { swapped, is_withdrawn })
    }
}

/// Checks that the package and its fragment are still as the execution left them.
fn check(listing: &Listing, subject: &Subject, written: &Written) -> Result<(), Failure> {
    let Some(stem) = subject.stem() else { return Ok(()) };
    let is_withdrawn = listing.withdrawn.contains_key(stem);
    let package = listing.packages.get(stem).or_else(|| listing.withdrawn.get(stem));
    let fragment = listing.fragments.get(stem);
    let unchanged = match &written.fragment {
        Some(written) => {
            package.is_some_and(|package| package.etag == written.package)
                && fragment.is_some_and(|fragment| fragment.etag == written.fragment)
        }
        None => package.is_none_or(|package| {
            written.rejection.as_ref().is_some_and(|rejection| rejection.package == package.etag)
        }),
    };
    // What was withdrawn is listed again.
    let is_restored = written.withdrawn && package.is_some() && !is_withdrawn;
    if unchanged && !is_restored {
        Ok(())
    } else {
        Err(Failure::Superseded { key: subject.to_string() })
    }
}

//! Many histories, each made from a seed.
//!
//! The variables `ALPINIST_SEED` and `ALPINIST_HISTORIES` set the first seed and the number of
//! histories.

use std::{
    env,
    num::NonZero,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use rstest::rstest;

use crate::{
    fault::Fault,
    oracle::Violation,
    scheduler::{Report, simulate, trace},
};

/// How many histories a search runs by default.
const HISTORIES: u64 = 20_000;

/// The result of a search.
#[derive(Debug, Default)]
struct Search {
    histories: u64,
    /// All reports together.
    total: Report,
    /// The first seed whose history broke a rule.
    broken: Option<(u64, Violation)>,
}

impl Search {
    /// Runs the histories from `first` on, until one breaks a rule.
    fn run(first: u64, histories: u64, fault: Option<Fault>) -> Self {
        let next = AtomicU64::new(first);
        let end = AtomicU64::new(first + histories);
        let search = Mutex::new(Self::default());
        let work = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end.load(Ordering::Relaxed) {
                    break;
                }
                let outcome = simulate(seed, fault);
                if outcome.is_err() {
                    end.fetch_min(seed, Ordering::Relaxed);
                }
                search.lock().expect("no history panics").add(seed, outcome);
            }
        };
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
                scope.spawn(work);
            }
        });
        search.into_inner().expect("no history panics")
    }

    fn add(&mut self, seed: u64, outcome: Result<Report, Violation>) {
        self.histories += 1;
        match outcome {
            Ok(report) => self.total.add(&report),
            Err(violation) => {
                if self.broken.as_ref().is_none_or(|&(first, _)| seed < first) {
                    self.broken = Some((seed, violation));
                }
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "asks for a search, not for a setting of Alpinist")]
fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

#[expect(clippy::print_stdout, reason = "the figures of a search are to be reported")]
fn report(text: &str) {
    println!("{text}");
}

#[test]
fn no_history_breaks_a_rule() {
    let seed = number("ALPINIST_SEED");
    let histories = seed.map_or(HISTORIES, |_| 1);
    let histories = number("ALPINIST_HISTORIES").unwrap_or(histories);
    let search = Search::run(seed.unwrap_or(0), histories, None);
    if let Some((seed, _)) = search.broken {
        let trace = trace(seed, None);
        panic!("{trace}\nAgain: ALPINIST_SEED={seed} cargo test --test simulation -- no_history");
    }
    report(&format!("{search:?}"));
    assert!(seed.is_some() || search.total.has_everything(), "{search:?}");
    // Such an index stays only if the execution that overtook it has also died.
    assert!(seed.is_some() || search.total.stayed == 0, "{search:?}");
}

#[rstest]
#[case::index_without_precondition(Fault::IndexWithoutPrecondition)]
#[case::adb_without_precondition(Fault::AdbWithoutPrecondition)]
#[case::alias_unwritten(Fault::AliasUnwritten)]
#[case::index_alone_counts(Fault::IndexAloneCounts)]
#[case::snapshot_without_precondition(Fault::SnapshotWithoutPrecondition)]
#[case::package_unchecked(Fault::PackageUnchecked)]
#[case::listing_taken_first(Fault::ListingTakenFirst)]
#[case::look_taken_first(Fault::LookTakenFirst)]
#[case::look_taken_for_listing(Fault::LookTakenForListing)]
#[case::blocks_believed(Fault::BlocksBelieved)]
#[case::crowd_unseen(Fault::CrowdUnseen)]
#[case::covered_by_name(Fault::CoveredByName)]
#[case::unknown_taken_for_rejected(Fault::UnknownTakenForRejected)]
#[case::healer_deaf(Fault::HealerDeaf)]
#[case::times_forgotten(Fault::TimesForgotten)]
#[case::told_late(Fault::ToldLate)]
#[case::told_once(Fault::ToldOnce)]
#[case::list_without_precondition(Fault::ListWithoutPrecondition)]
fn a_planted_fault_is_found(#[case] fault: Fault) {
    let first = number("ALPINIST_SEED").unwrap_or(0);
    let search = Search::run(first, HISTORIES, Some(fault));
    let Some((seed, Violation(rule))) = search.broken else { panic!("{fault:?}: {search:?}") };
    report(&format!("{fault:?}: found by history {}: {rule}", seed - first + 1));
}

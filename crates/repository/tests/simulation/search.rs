//! Many histories.

use std::{
    env,
    sync::atomic::{AtomicU64, Ordering},
    sync::Mutex,
    thread,
};

use crate::{
    fault::Fault,
    judge::Violation,
    scheduler::{Report, simulate},
};

/// How many histories a search tries if nothing else is asked.
const HISTORIES: u64 = 20_000;

/// What came of a search.
#[derive(Debug, Default)]
struct Found {
    histories: u64,
    steps: usize,
    executions: usize,
    publications: usize,
    overtaken: usize,
    stayed: usize,
    waits: u32,
    first: Option<(u64, Violation)>,
}

impl Found {
    fn add(&mut self, seed: u64, outcome: Result<Report, Violation>) {
        self.histories += 1;
        match outcome {
            Ok(report) => {
                self.steps += report.steps;
                self.executions += report.executions;
                self.publications += report.publications;
                self.overtaken += report.overtaken;
                self.stayed += usize::from(report.stayed);
                self.waits = self.waits.max(report.waits);
            }
            Err(violation) => {
                if self.first.as_ref().is_none_or(|&(first, _)| seed < first) {
                    self.first = Some((seed, violation));
                }
            }
        }
    }
}

/// Runs the histories from this seed on, until one breaks a rule.
fn search(first: u64, histories: u64, fault: Option<Fault>) -> Found {
    let next = AtomicU64::new(first);
    let end = AtomicU64::new(first + histories);
    let found = Mutex::new(Found::default());
    let threads = number("ALPINIST_THREADS").unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from) as u64);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end.load(Ordering::Relaxed) {
                        break;
                    }
                    let outcome = simulate(seed, fault, None);
                    if let (Err(v), true) = (&outcome, env::var_os("ALL").is_some()) { println!("SEED {seed} {}", v.0); }
                    else if outcome.is_err() {
                        end.fetch_min(seed, Ordering::Relaxed);
                    }
                    found.lock().expect("no search panics").add(seed, outcome);
                }
            });
        }
    });
    found.into_inner().expect("no search panics")
}

fn number(variable: &str) -> Option<u64> {
    env::var_os(variable)?.to_str()?.parse().ok()
}

#[test]
fn no_history_breaks_a_rule() {
    let (seed, histories) = match number("ALPINIST_SEED") {
        Some(seed) => (seed, 1),
        None => (0, number("ALPINIST_HISTORIES").unwrap_or(HISTORIES)),
    };
    let began = std::time::Instant::now();
    let found = search(seed, histories, None);
    println!("{found:?} {:?}", began.elapsed());
    if let Some((seed, violation)) = found.first {
        let mut trace = Vec::new();
        let again = simulate(seed, None, Some(&mut trace));
        println!("{}\n{again:?}", trace.join("\n"));
        panic!("seed {seed}: {}", violation.0);
    }
}

#[test]
fn faults() {
    for fault in [Fault::IndexWithoutPrecondition, Fault::SnapshotWithoutPrecondition, Fault::PackageUnchecked, Fault::ListingTakenFirst, Fault::CoveredByName] {
        for round in 0..5 {
            let first = 1_000_000 * round;
            let found = search(first, 20000, Some(fault));
            println!("{fault:?} {:?} {} {:?}", found.first.as_ref().map(|f| f.0 - first + 1), found.histories, found.first.map(|f| f.1.0));
        }
    }
}

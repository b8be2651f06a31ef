//! Our reading of packages and versions against that of the real apk, on arbitrary ones.
//!
//! The same cases each time; `PROPTEST_CASES` asks for more than usual.

#![cfg(test)]

mod containers;
mod installing;
mod loading;
mod numbers;
mod packages;
mod versions;

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// A runner of at least so many cases.
fn runner(cases: u32) -> TestRunner {
    let asked = Config::default();
    let cases = if asked.cases == 256 { cases } else { asked.cases };
    // A strategy that filters rejects in proportion to the cases; the limit is meant for one that
    // never ends.
    let max_local_rejects = asked.max_local_rejects.max(cases.saturating_mul(1024));
    let config = Config { cases, max_local_rejects, failure_persistence: None, ..asked };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

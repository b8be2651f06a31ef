//! Compares how we and the real apk read arbitrary packages and versions.
//!
//! The cases are the same each time; `PROPTEST_CASES` sets another number of them.

#![cfg(test)]

mod adb_conversion;
mod adb_installing;
mod adb_packages;
mod containers;
mod installing;
mod loading;
mod numbers;
mod packages;
mod versions;

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// A runner of so many cases, unless `PROPTEST_CASES` sets another number.
fn runner(cases: u32) -> TestRunner {
    let asked = Config::default();
    let cases = if asked.cases == 256 { cases } else { asked.cases };
    // Strategies that filter reject in proportion to the cases; the limit is meant for one that
    // never ends.
    let max_local_rejects = asked.max_local_rejects.max(cases.saturating_mul(1024));
    let config = Config { cases, max_local_rejects, failure_persistence: None, ..asked };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

//! Packages, tars and gzip streams for tests, made from parts, each of which can be wrong.
//!
//! | module | what it makes |
//! |---|---|
//! | [`package`] | packages from parts that a test writes |
//! | [`adb_package`] | the same of format v3 |
//! | [`arbitrary_package`] | packages from parts that a fuzzer finds |
//! | [`arbitrary_adb`] | packages and indexes of format v3, the same way |
//! | [`tar`] | tar entries |
//! | [`gzip`](mod@gzip) | gzip streams |
//!
//! Nothing here uses `alpinist-apk`: the code under test must not make its own input.

#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test makes wrongly ends the test"
)]

pub mod adb_package;
pub mod arbitrary_adb;
pub mod arbitrary_package;
pub mod gzip;
pub mod package;
pub mod tar;

//! Packages, tars and gzip streams for tests, made from parts of which each can be wrong.
//!
//! | module | what it makes |
//! |---|---|
//! | [`package`] | packages from parts that a test writes |
//! | [`arbitrary_package`] | packages from parts that a fuzzer finds |
//! | [`tar`] | entries, one after the other |
//! | [`gzip`](mod@gzip) | streams |
//!
//! Nothing here uses `alpinist-apk`: what it reads is not to be made by what reads it.

#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test makes wrongly ends the test"
)]

pub mod arbitrary_package;
pub mod gzip;
pub mod package;
pub mod tar;

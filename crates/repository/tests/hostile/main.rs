//! What a hostile uploader sends, and how little it costs to refuse it.
//!
//! Each file of `corpus/` breaks one rule. The [`generator`] makes them, and a test compares both; after a
//! change of the generator, this writes them anew:
//!
//! ```text
//! HOSTILE_CORPUS=write cargo test --test hostile
//! ```
//!
//! What is too large for a repository of source code is a [`stream`], made while it is read. [`pieces`] is a
//! bucket that hands out objects piece by piece and counts what was taken, [`memory`] tells the peak, and
//! [`refused`] puts all of it before the real steps, beside a good package.

#![cfg(test)]

#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "the steps' own tests need more of it")]
mod common;
mod generator;
mod memory;
#[path = "../../../apk/tests/formats/support/package.rs"]
#[expect(dead_code, reason = "the formats' own tests need more of it")]
mod package;
mod pieces;
mod refused;
mod stream;
#[path = "../../../apk/tests/formats/support/tar.rs"]
#[expect(dead_code, reason = "the formats' own tests need more of it")]
mod tar;

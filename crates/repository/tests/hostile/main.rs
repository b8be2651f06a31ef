//! What a hostile uploader sends, and how little it costs to reject it.
//!
//! Each file in `corpus/` breaks one rule. The [`generator`] makes them, and a test compares both.
//! After a change of the generator, rewrite them:
//!
//! ```text
//! HOSTILE_CORPUS=write cargo test --test hostile
//! ```
//!
//! What is too large for a source code repository is a [`stream`], made while it is read.
//! [`chunks`] is a bucket that hands out objects chunk by chunk and counts what was taken,
//! [`memory`] measures the peak, and [`rejected`] runs the real steps on all of it, next to a good
//! package.

#![cfg(test)]

mod chunks;
#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "the steps' own tests need more of it")]
mod common;
mod generator;
mod memory;
mod rejected;
mod stream;

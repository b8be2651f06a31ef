//! What a hostile uploader sends, and how little it costs to reject it.
//!
//! Each file of `corpus/` breaks one rule. The [`generator`] makes them, and a test compares both;
//! after a change of the generator, this writes them anew:
//!
//! ```text
//! HOSTILE_CORPUS=write cargo test --test hostile
//! ```
//!
//! What is too large for a repository of source code is a [`stream`], made while it is read.
//! [`chunks`] is a bucket that hands out objects chunk by chunk and counts what was taken,
//! [`memory`] tells the peak, and [`rejected`] puts all of it before the real steps, beside a good
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

//! The four steps over a bucket in memory: what they leave behind, in which order they may come,
//! and what they cost.

#![cfg(test)]

mod adb;
mod alone;
mod blocks;
#[path = "../common/mod.rs"]
mod common;
mod edits;
mod heal;
mod page;
mod planted;
mod plus_copies;
mod publication;
mod races;
mod reindex;
mod rejections;
mod replacing;
mod rotation;
mod signatures;
mod support;
mod trust;
mod verify;
mod withdrawals;

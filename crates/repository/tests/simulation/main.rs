//! Random histories of what can happen to a bucket.

#![cfg(test)]

#[path = "../common/mod.rs"]
mod common;
mod fault;
mod judge;
mod scheduler;
mod search;
mod store;
mod trace;
mod world;

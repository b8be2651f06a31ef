//! Random histories of what can happen to a bucket.

#![cfg(test)]

#[path = "../common/mod.rs"]
mod common;
mod execution;
mod fault;
mod judge;
mod scheduler;
mod search;
mod store;
mod world;

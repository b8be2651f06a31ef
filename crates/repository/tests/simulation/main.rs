//! Random histories of what can happen to a bucket.
//!
//! A [`scenario`] of up to three packages, what somebody does to them, and how much goes wrong are
//! drawn from a seed. Each change starts executions, which run the real steps on a [`store`] that
//! holds each request twice: before it takes effect, and before it is answered. At each of these
//! points, the [`scheduler`] decides who continues, which request is served, fails, is lost or
//! repeated, and which function crashes. The [`oracle`] sees each effect, and knows what may be
//! published. A [`search`] runs many histories, and must find each [`fault`] that can be planted.
//! The [`trace`] of a seed shows a history step by step.
//!
//! The scheduler is our own because requests to S3 are the only points at which executions meet:
//! `shuttle` and `loom` interleave threads at their locks, `turmoil` simulates hosts at their
//! sockets, and `madsim`, which has a simulated S3, supports none of its preconditions and must be
//! the runtime.

#![cfg(test)]

#[path = "../common/mod.rs"]
mod common;
mod fault;
mod oracle;
mod scenario;
mod scheduler;
mod search;
mod store;
mod trace;

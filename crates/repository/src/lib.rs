//! Everything that Alpinist does with a bucket, without AWS: six steps over three ports.
//!
//! | module | what it holds |
//! |---|---|
//! | [`step`] | the steps: extract, write, aggregate, publish; beside them, reindex and heal |
//! | [`message`] | the requests and responses that travel through the state machine |
//! | [`outcome`] | what the steps report to logs and metrics |
//! | [`failure`] | what the steps report to the state machine when they fail |
//! | [`panic`](mod@panic) | panics, which become failures or rejections |
//! | [`rejection`] | why a package may not be listed, and what to do about it |
//! | [`policy`], [`trust`] | what is required of packages, and whose signatures are trusted |
//! | [`advised!`] | errors that say what to do about them |
//! | [`journal`] | the reindex journal |
//! | [`discovery`], [`verify`] | which repositories exist, and whether their indexes are right |
//! | [`prune`] | which packages are superseded, and what depends on them |
//! | [`location`] | the layout of the bucket |
//! | [`page`] | the page for browsers, and the list that it reads |
//! | [`snapshot`] | an index with the ETags of what it was made from: staged, then cached |
//! | [`plus_copy`] | copies of packages whose names have a `+` |
//! | [`v3_index`] | where indexes of format v3 are published |
//! | [`port`] | what the steps need: a bucket, signing keys, a way to start executions |
//!
//! An event is a hint that something changed, never a fact: each step inspects the current bucket.
//! Preconditions on fragments, on the index and on the snapshot keep concurrent executions apart.
//! `docs/architecture.md` explains the protocol; read it before changing a step.

pub mod discovery;
pub mod failure;
pub mod journal;
pub mod location;
#[cfg(feature = "testing")]
pub mod memory;
pub mod message;
pub mod outcome;
pub mod page;
pub mod panic;
pub mod plus_copy;
pub mod policy;
pub mod port;
pub mod prune;
pub mod rejection;
pub mod replacing;
pub mod snapshot;
pub mod step;
pub mod trust;
pub mod v3_index;
pub mod verify;
pub mod withdrawal;

mod advice;
mod cached_snapshot;
mod failure_kind;
mod fragment;
mod lease;
mod listing;
mod rank;
mod rejection_note;
mod signer;

//! What Alpinist does with a bucket, without AWS: four steps over two ports.
//!
//! | module | what it holds |
//! |---|---|
//! | [`step`] | the four steps, one after the other: extract, write, aggregate, publish |
//! | [`message`] | what travels between them through the state machine |
//! | [`outcome`] | what they tell the log and the metrics |
//! | [`failure`] | what they tell the state machine when they can't go on |
//! | [`panic`](mod@panic) | panics, which are failures or rejections like any |
//! | [`rejection`] | why a package may not be listed, and what to do about it |
//! | [`policy`], [`trust`] | what is asked of packages, and whose are listed |
//! | [`advised!`] | errors that say what to do about them |
//! | [`journal`] | what a reindex finds |
//! | [`discovery`], [`verify`] | what repositories there are, and whether what is published is what is there |
//! | [`prune`] | which packages are superseded, and what depends on them |
//! | [`location`] | the layout of the bucket |
//! | [`snapshot`] | an index with the objects it was made from: what is staged and cached |
//! | [`plus_copy`] | copies of packages whose names have a `+` |
//! | [`port`] | what the steps need of a bucket and of the keys |
//!
//! An event is a hint that something changed, never a fact: each step looks at the bucket as it is
//! now. Preconditions on fragments, on the index and on the snapshot keep concurrent executions
//! apart. `docs/architecture.md` explains the protocol; read it before changing a step.

pub mod discovery;
pub mod failure;
pub mod journal;
pub mod location;
#[cfg(feature = "testing")]
pub mod memory;
pub mod message;
pub mod outcome;
pub mod panic;
pub mod plus_copy;
pub mod policy;
pub mod port;
pub mod prune;
pub mod rejection;
pub mod snapshot;
pub mod step;
pub mod trust;
pub mod verify;

mod advice;
mod cached_snapshot;
mod failure_kind;
mod fragment;
mod lease;
mod listing;
mod rejection_note;
mod signer;

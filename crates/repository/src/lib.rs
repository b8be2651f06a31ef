//! What Alpinist does with a bucket, without AWS: four steps over two ports.
//!
//! | module | what it holds |
//! |---|---|
//! | [`step`] | the four steps, one after the other: extract, write, aggregate, publish |
//! | [`message`] | what travels between them through the state machine |
//! | [`outcome`] | what they tell the log and the metrics |
//! | [`failure`] | what they tell the state machine when they can't go on |
//! | [`bug`] | panics, which are failures or refusals like any |
//! | [`refusal`] | why a package may not be listed, and what to do about it |
//! | [`policy`], [`trust`] | what is asked of packages, and whose are listed |
//! | [`finding`] | what a reindex finds |
//! | [`survey`], [`verify`] | what repositories there are, and whether what is published is what is there |
//! | [`prune`] | which packages are superseded, and what depends on them |
//! | [`location`] | the layout of the bucket |
//! | [`snapshot`] | an index with the objects it was made from: what is staged and remembered |
//! | [`plus_copy`] | copies of packages whose names have a `+` |
//! | [`port`] | what the steps need of a bucket and of the keys |
//!
//! An event is a hint that something changed, never a fact: each step looks at the bucket as it is
//! now. What keeps concurrent executions apart are preconditions on three kinds of objects:
//!
//! - A fragment names the ETag of the package that it describes, and counts only while the package
//!   has that ETag. It is written and removed only if it is still the one that was looked at.
//! - The index is replaced only if it is still the one that was there *before* the bucket was listed.
//! - The snapshot is replaced by whoever aggregates, before its index is signed, and also by whoever
//!   finds that the index is right, while somebody who listed the bucket before may still be at work. No
//!   two snapshots are equal, so this stops an execution that listed the bucket earlier, where the index
//!   alone could not: the same packages give the same bytes, hence the same ETag, and what came and went
//!   leaves no trace in it.
//!
//! Apart from that, the snapshot is a cache: what it says of a fragment with a certain ETag is true
//! forever.
//!
//! One thing can't be kept apart. An execution may be overtaken after it has made sure of its snapshot
//! and before it writes the index, by one that finds nothing to publish. It then writes an older index,
//! notices, and aggregates again. In case that it dies just there, the one that overtook it waits until it
//! can't be running any more, looks again, and mends that. Only if that one dies as well, the older index
//! stays until the next aggregation, or the next reindex.

pub mod bug;
pub mod failure;
pub mod finding;
pub mod location;
#[cfg(feature = "testing")]
pub mod memory;
pub mod message;
pub mod outcome;
pub mod plus_copy;
pub mod policy;
pub mod port;
pub mod prune;
pub mod refusal;
pub mod snapshot;
pub mod step;
pub mod survey;
pub mod trust;
pub mod verify;

mod claim;
mod fragment;
mod listing;
mod rejection;
mod remembered;
mod signer;

//! The steps. Four handle an upload, in this order:
//!
//! | step | reads | writes |
//! |---|---|---|
//! | [`extract()`] | the package, its fragment, trusted keys | nothing |
//! | [`write_index()`] | the fragment, the attributes of the package | the fragment |
//! | [`aggregate()`] | the snapshot, a listing, changed fragments | the next snapshot |
//! | [`publish()`] | the snapshot, the signing keys | the index, public keys |
//!
//! Two more stand beside them: [`reindex()`] finds the indexes to rebuild from the packages and
//! reports the result, and [`heal()`] finds what somebody else deleted or overwrote.

mod adb;
mod adoption;
mod aggregate;
mod decide;
mod extract;
mod heal;
mod merge;
mod publish;
mod published;
mod reindex;
mod swap;
mod trusted_blocks;
mod write_index;

pub use self::{
    aggregate::aggregate,
    extract::{examine, extract, make_entry},
    heal::{HealRequest, Healed, Message, heal},
    publish::{publish, publish_key},
    published::is_ours,
    reindex::{ReindexRequest, ReindexResponse, Report, Summary, reindex},
    write_index::write_index,
};

/// The attribute of a published index that holds its [digest](crate::snapshot::Snapshot::digest).
const DIGEST: &str = "index-sha256";

/// The attribute of a published index that holds the last generation, up to its own, that was made
/// from a listing of the bucket.
const LISTED: &str = "listed-generation";

//! The four steps.
//!
//! | step | reads | writes |
//! |---|---|---|
//! | [`extract()`] | the package | nothing |
//! | [`write_index()`] | what is known of the package and of its fragment | the fragment |
//! | [`aggregate()`] | the snapshot, a listing, changed fragments | the next snapshot |
//! | [`publish()`] | the snapshot, the signing key | the index |
//!
//! Two more stand beside them: [`reindex()`] makes everything again from the packages, and
//! [`heal()`] finds what somebody else deleted or overwrote.

mod adoption;
mod aggregate;
mod decide;
mod extract;
mod heal;
mod merge;
mod publish;
mod reindex;
mod swap;
mod write_index;

pub use self::{
    aggregate::aggregate,
    extract::{examine, extract, make_entry},
    heal::{HealRequest, Healed, Message, heal},
    publish::{publish, publish_key},
    reindex::{ReindexRequest, ReindexResponse, Report, Summary, reindex},
    write_index::write_index,
};

/// The attribute of a published index that holds its [digest](crate::snapshot::Snapshot::digest).
const DIGEST: &str = "index-sha256";

//! The AWS services that only the command uses.

pub(crate) mod parameters;
pub(crate) mod reader_store;
pub(crate) mod session;
pub(crate) mod stacks;

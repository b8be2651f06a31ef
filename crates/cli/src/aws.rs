//! AWS, for somebody who runs a command.

pub(crate) mod parameters;
pub(crate) mod session;
pub(crate) mod stacks;

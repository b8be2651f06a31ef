//! Template, state machine and functions against each other, against the linters of AWS, and
//! against what the machines there can run.

mod binaries;
mod definition;
mod layers;
mod linters;

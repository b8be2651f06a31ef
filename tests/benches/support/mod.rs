//! What the benchmarks share: real metadata in any number, and figures for people.

pub(crate) mod figures;
pub(crate) mod measured;
pub(crate) mod real_index;

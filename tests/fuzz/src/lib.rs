//! What the fuzz targets share: inputs in correct wrapping, and what must hold of all that is
//! accepted.

pub mod check;

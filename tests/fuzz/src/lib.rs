//! What the fuzz targets share: what must hold for everything that is accepted.

pub mod check;

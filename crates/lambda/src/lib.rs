//! What the functions have in common: the entry point, the log and the metrics, and what the
//! environment says.
//!
//! | module | what it holds |
//! |---|---|
//! | [`run`](mod@run) | [`run()`](fn@run): requests in, responses and diagnostics out |
//! | [`telemetry`] | the log of a function, and its metrics |
//! | [`config`] | what the environment says |
//! | [`clients`] | clients of AWS for the credentials and the region of the environment |

pub mod clients;
pub mod config;
pub mod run;
pub mod telemetry;

pub use run::run;

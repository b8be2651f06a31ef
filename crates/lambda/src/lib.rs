//! What the functions share: the entry point, the log, the metrics and the configuration.
//!
//! | module | what it holds |
//! |---|---|
//! | [`run`](mod@run) | [`run()`](fn@run): requests in, responses and diagnostics out |
//! | [`telemetry`] | the log of a function, and its metrics |
//! | [`config`] | the configuration, from the environment |
//! | [`clients`] | clients of AWS with the credentials and the region from the environment |

pub mod clients;
pub mod config;
pub mod run;
pub mod telemetry;

pub use run::run;

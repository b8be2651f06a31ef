//! Panics: bugs in Alpinist that come again with the same input, so that nobody should try.

use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;

/// A panic that was caught.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("Alpinist {} panicked: {message}", env!("CARGO_PKG_VERSION"))]
pub struct Panic {
    /// What it panicked with.
    message: String,
}

/// What to do about any.
pub const REMEDY: &str = "This is a bug in Alpinist: please open an issue with its maintainers, with this \
                          text, the object that it names and the log of the function.";

/// Does `work`.
///
/// # Errors
///
/// [`Panic`], if it panics.
pub async fn catch<T>(work: impl Future<Output = T>) -> Result<T, Panic> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Panic { message: text.unwrap_or("without a word").to_owned() }
    })
}

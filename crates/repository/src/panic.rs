//! Panics: bugs in Alpinist. They recur with the same input, so a retry is pointless.

use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;

/// A panic that was caught.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("Alpinist {} panicked: {message}", env!("CARGO_PKG_VERSION"))]
pub struct Panic {
    /// The text of the panic.
    message: String,
}

/// What to do about a panic.
pub const REMEDY: &str = "This is a bug in Alpinist: please open an issue with its maintainers, with this \
                          text, the object that it names and the log of the function.";

/// Runs `work`.
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

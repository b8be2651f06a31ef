//! Waits until a person or a script interrupts the program.

use tokio::signal::unix::{SignalKind, signal};

use crate::Error;

/// Waits for Ctrl-C (SIGINT) or SIGTERM.
///
/// # Errors
///
/// [`Error::File`] if the system does not allow listening to signals.
pub async fn wait() -> Result<(), Error> {
    let listen = |kind| signal(kind).map_err(Error::file("listen to", "the signals"));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

//! The peak memory of this process, which one test at a time may measure.

use std::{
    fs,
    sync::{Mutex, PoisonError},
};

use procfs::process::Process;

/// Runs a test while no other one runs.
pub(crate) fn alone<T>(test: impl Future<Output = T>) -> T {
    static RUNNING: Mutex<()> = Mutex::new(());
    let _running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test)
}

/// Runs `work`, and returns its result and by how many bytes the peak exceeded the memory used
/// before.
pub(crate) async fn growth<T>(work: impl Future<Output = T>) -> (T, u64) {
    // Resets the peak (proc(5)).
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak();
    let outcome = work.await;
    (outcome, peak().saturating_sub(before))
}

fn peak() -> u64 {
    Process::myself().unwrap().status().unwrap().vmhwm.unwrap() * 1024
}

//! Progress bars, on terminals only.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often a bar is drawn.
const TICK: Duration = Duration::from_millis(100);

/// A bar on standard error, which is cleared when this is dropped. Without a terminal, nothing is
/// drawn.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Shows how many bytes have been uploaded.
    pub(crate) fn of_bytes(total: u64) -> Self {
        Self::new(total, "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}")
    }

    /// Shows for how many packages the execution has ended.
    pub(crate) fn of_packages(total: usize) -> Self {
        Self::new(total as u64, "{spinner} {pos} of {len} executions have ended, {elapsed}")
    }

    /// Shows how long one execution has been running.
    pub(crate) fn of_time() -> Self {
        Self::new(1, "{spinner} the execution runs, {elapsed}")
    }

    /// Adds to the count.
    pub(crate) fn add(&self, more: u64) {
        self.0.inc(more);
    }

    /// Sets the count.
    pub(crate) fn set(&self, now: usize) {
        self.0.set_position(now as u64);
    }

    fn new(total: u64, template: &str) -> Self {
        let bar = ProgressBar::new(total);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        Self(bar)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

//! How far something is: a bar, on a terminal alone.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often a bar is drawn.
const TICK: Duration = Duration::from_millis(100);

/// A bar on standard error, which is gone when it is dropped. Where there is no terminal, there is
/// nothing.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Begins to count the bytes of an upload.
    pub(crate) fn of_bytes(total: u64) -> Self {
        Self::new(total, "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}")
    }

    /// Begins to count packages that are published.
    pub(crate) fn of_packages(total: usize) -> Self {
        Self::new(total as u64, "{spinner} {pos} of {len} executions have ended, {elapsed}")
    }

    /// Begins to wait.
    pub(crate) fn of_time() -> Self {
        Self::new(1, "{spinner} the execution runs, {elapsed}")
    }

    /// Counts more.
    pub(crate) fn add(&self, more: u64) {
        self.0.inc(more);
    }

    /// Says how much it is now.
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

//! Reports progress in plain lines on standard error.

use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Reports that `step` begins, does `work`, and reports how long it took.
pub fn step<T, E>(step: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    say(&format!("==> {step}"));
    let started = Instant::now();
    let done = work()?;
    say(&format!("    {step} took {}", seconds(started.elapsed())));
    Ok(done)
}

/// Writes a line to standard error.
pub fn say(line: &str) {
    // A closed standard error must not stop the work that is reported there.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Formats a duration for people: `1.2 s`.
pub fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

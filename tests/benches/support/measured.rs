//! What a program costs.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use wait4::Wait4 as _;

/// What a program took from its start to its end.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    /// The time of all processors together.
    pub(crate) processor: Duration,
    /// The most memory that it had at once, in bytes.
    pub(crate) memory: u64,
}

/// Runs a program, which must succeed. What it says on standard output is dropped.
pub(crate) fn measure(command: &mut Command) -> Cost {
    let start = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let used = child.wait4().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let wall = start.elapsed();
    assert!(used.status.success(), "{command:?}: {}", used.status);
    let usage = used.rusage;
    Cost { wall, processor: usage.utime + usage.stime, memory: usage.maxrss }
}

/// Returns how many times `b` goes into `a`.
pub(crate) fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64()
}

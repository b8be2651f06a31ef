//! Measures what a program costs.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use wait4::Wait4 as _;

/// What a program used from start to end.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    /// The processor time, of all processors together.
    pub(crate) processor: Duration,
    /// The peak memory, in bytes.
    pub(crate) memory: u64,
}

/// Runs a program, which must succeed. Its standard output is discarded.
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

/// Returns `a` divided by `b`.
pub(crate) fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64()
}

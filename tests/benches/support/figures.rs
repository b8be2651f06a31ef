//! Medians and ratios.

use std::time::Duration;

/// Returns the median of some figures: the middle one, or the lower of the two.
pub(crate) fn median<T: Copy + PartialOrd>(figures: impl IntoIterator<Item = T>) -> T {
    let mut sorted: Vec<_> = figures.into_iter().collect();
    sorted.sort_by(|a, b| a.partial_cmp(b).expect("figures have an order"));
    sorted[(sorted.len() - 1) / 2]
}

/// Returns how many times `b` goes into `a`.
pub(crate) fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64()
}

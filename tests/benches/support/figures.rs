//! Medians.

/// Returns the median of some figures: the middle one, or the lower of the two.
pub(crate) fn median<T: Copy + PartialOrd>(figures: impl IntoIterator<Item = T>) -> T {
    let mut sorted: Vec<_> = figures.into_iter().collect();
    sorted.sort_by(|a, b| a.partial_cmp(b).expect("figures have an order"));
    sorted[(sorted.len() - 1) / 2]
}

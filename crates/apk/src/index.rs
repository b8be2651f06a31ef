//! The index: all entries of one repository prefix.

use std::{
    cmp::{Ordering, Reverse},
    fmt,
    str::FromStr,
};

use crate::{
    entry::{EntryError, IndexEntry},
    value::PackageName,
    version::Version,
};

/// The entries of one repository prefix in the order of `apk index`: by name ignoring ASCII case,
/// then by name, then by version (measured on apk-tools 3.0.8).
///
/// Clients need no order, except among versions that apk can't tell apart: a client installs the
/// first that is listed (measured).
///
/// Prints as the content of `APKINDEX`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Index(Vec<IndexEntry>);

/// Says which entry of an index is invalid, and why.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("entry {position} of the index is invalid")]
pub struct IndexError {
    /// Counts from 1.
    pub position: usize,
    /// What is wrong with it.
    pub source: EntryError,
}

impl Index {
    /// Makes an index of `entries`, which may come in any order. Among versions that apk can't tell
    /// apart, the latest build comes first.
    pub fn new(entries: impl IntoIterator<Item = IndexEntry>) -> Self {
        Self::ranked(entries.into_iter().map(|entry| (Reverse(entry.metadata.build_time), entry)))
    }

    /// Makes an index of entries with their ranks, which may come in any order. Among versions that
    /// apk can't tell apart, the one with the lowest rank comes first.
    pub fn ranked<R: Ord>(entries: impl IntoIterator<Item = (R, IndexEntry)>) -> Self {
        let mut entries: Vec<_> = entries.into_iter().collect();
        entries.sort_by(|(rank, entry), (other_rank, other)| {
            order(id(entry), id(other))
                .then_with(|| rank.cmp(other_rank))
                .then_with(|| entry.metadata.version.as_str().cmp(other.metadata.version.as_str()))
        });
        Self(entries.into_iter().map(|(_, entry)| entry).collect())
    }

    /// Makes an index of entries that are in the order in which they are to stay, as those that
    /// were read from one.
    pub fn in_order(entries: Vec<IndexEntry>) -> Self {
        Self(entries)
    }

    /// Returns the entries, in order.
    pub fn entries(&self) -> &[IndexEntry] {
        &self.0
    }
}

/// Compares two packages by their order in an index. Versions that apk can't tell apart are equal.
pub fn order(
    (a_name, a_version): (&PackageName, &Version),
    (b_name, b_version): (&PackageName, &Version),
) -> Ordering {
    folded(a_name)
        .cmp(folded(b_name))
        .then_with(|| a_name.cmp(b_name))
        .then_with(|| a_version.order(b_version))
}

fn id(entry: &IndexEntry) -> (&PackageName, &Version) {
    (&entry.metadata.name, &entry.metadata.version)
}

fn folded(name: &PackageName) -> impl Iterator<Item = u8> {
    name.as_str().bytes().map(|byte| byte.to_ascii_lowercase())
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|entry| entry.fmt(f))
    }
}

/// Parses the content of `APKINDEX`, and keeps the order of its entries: an index that somebody
/// else wrote need not be sorted.
impl FromStr for Index {
    type Err = IndexError;

    fn from_str(text: &str) -> Result<Self, IndexError> {
        Ok(Self(parse_entries(text).collect::<Result<_, _>>()?))
    }
}

/// Parses the entries of an `APKINDEX` one at a time.
pub(crate) fn parse_entries(text: &str) -> impl Iterator<Item = Result<IndexEntry, IndexError>> {
    parse_entries_by(str::parse, text)
}

/// Parses entries one at a time that are in the form that `parse` takes.
pub(crate) fn parse_entries_by(
    parse: fn(&str) -> Result<IndexEntry, EntryError>,
    text: &str,
) -> impl Iterator<Item = Result<IndexEntry, IndexError>> {
    text.split_inclusive("\n\n").enumerate().map(move |(position, entry)| {
        parse(entry).map_err(|source| IndexError { position: position + 1, source })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_the_order_of_apk_index() {
        let entry = |(name, version): (&str, &str)| {
            format!(
                "C:Q1DNWZeWkviN7MJedLpYM8yBvmnGM=\nP:{name}\nV:{version}\nA:x86_64\nS:1\nI:1\n\n"
            )
            .parse::<IndexEntry>()
            .unwrap()
        };
        let names = "A a a+ a-b a.b a0 a_b Ab aB ab B b Z zz".split(' ').map(|name| (name, "1"));
        let versions = ["1-r0", "1.9-r0", "1.10-r0", "2-r0"].map(|version| ("zzz", version));
        let expected: Vec<_> = names.chain(versions).map(entry).collect();
        let mut shuffled = expected.clone();
        shuffled.sort_by_key(|entry| Reverse(entry.file_stem()));
        assert_eq!(Index::new(shuffled).entries(), expected);
    }

    #[test]
    fn of_versions_that_apk_can_not_tell_apart_the_least_rank_comes_first() {
        let entry = |version: &str, built: u64| {
            format!(
                "C:Q1DNWZeWkviN7MJedLpYM8yBvmnGM=\nP:a\nV:{version}\nA:x86_64\nS:1\nI:1\nT:\nU:\nL:\nt:{built}\n\n"
            )
            .parse::<IndexEntry>()
            .unwrap()
        };
        let versions = |index: &Index| {
            let versions = index.entries().iter().map(|entry| entry.metadata.version.to_string());
            versions.collect::<Vec<_>>()
        };
        let tied = ["1_beta.1-r0", "1_beta.10-r0", "1_beta.2-r0"];
        let entries = || {
            [("0-r0", 9), (tied[0], 1), (tied[1], 3), (tied[2], 2), ("2-r0", 0)]
                .map(|(v, t)| entry(v, t))
        };
        assert_eq!(versions(&Index::new(entries())), ["0-r0", tied[1], tied[2], tied[0], "2-r0"]);
        let ranks = [0, 2, 1, 0, 0];
        let ranked = Index::ranked(ranks.into_iter().zip(entries()));
        assert_eq!(versions(&ranked), ["0-r0", tied[2], tied[1], tied[0], "2-r0"]);
    }
}

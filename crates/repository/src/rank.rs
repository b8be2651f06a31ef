//! Ranks: the order of versions that apk can't tell apart.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
};

use alpinist_apk::version::Version;

use crate::snapshot::{Edit, Snapshot, SnapshotError};

/// A version of a package that may have others.
struct Candidate {
    stem: String,
    version: Version,
    rank: u32,
    /// Whether it comes with the edits, and when it was built.
    build_time: Option<u64>,
}

/// Completes the edits of a snapshot, so that the versions of each package that apk can't tell
/// apart are ranked by the time at which they were `uploaded`, in seconds, the latest first; those
/// of the same second by the time at which they were built, and then as people count: 10 after 9.
///
/// # Errors
///
/// [`SnapshotError`], if a block that holds such versions is damaged.
pub(crate) fn complete(
    snapshot: &Snapshot,
    edits: &mut BTreeMap<String, Edit>,
    uploaded: impl Fn(&str) -> i64,
) -> Result<(), SnapshotError> {
    let (tied, lonely) = tied(snapshot, edits);
    for stem in lonely {
        edits.insert(stem, Edit::Rank(0));
    }
    for tied in tied {
        let times: HashSet<_> = tied.iter().map(|it| uploaded(&it.stem)).collect();
        let built = if times.len() < tied.len() { built(snapshot, &tied)? } else { HashMap::new() };
        let mut latest_first: Vec<_> = tied.iter().collect();
        latest_first.sort_by_cached_key(|it| {
            let built = it.build_time.or_else(|| built.get(&*it.stem).copied());
            Reverse((uploaded(&it.stem), built, by_numbers(&it.stem)))
        });
        let ranked: Vec<_> = (1..).zip(latest_first).collect();
        if ranked.iter().all(|(rank, it)| it.rank == *rank && it.build_time.is_none()) {
            continue;
        }
        for (rank, Candidate { stem, .. }) in ranked {
            match edits.get_mut(stem) {
                Some(Edit::Put(record)) => record.rank = rank,
                _ => drop(edits.insert(stem.clone(), Edit::Rank(rank))),
            }
        }
    }
    Ok(())
}

/// Returns the versions after the edits that apk can't tell apart, and those, by
/// `<name>-<version>`, that were ranked and have no others any more.
fn tied(snapshot: &Snapshot, edits: &BTreeMap<String, Edit>) -> (Vec<Vec<Candidate>>, Vec<String>) {
    let mut counts = HashMap::new();
    let rows = || snapshot.rows().filter(|row| !edits.contains_key(row.stem()));
    let puts = || {
        edits.iter().filter_map(|(stem, edit)| match edit {
            Edit::Put(record) => Some((stem, &record.entry.metadata)),
            Edit::Remove | Edit::Rank(_) => None,
        })
    };
    rows().for_each(|row| *counts.entry(row.name()).or_insert(0_u32) += 1);
    puts().for_each(|(_, it)| *counts.entry(it.name.as_str()).or_insert(0) += 1);
    let has_others = |name: &str| counts.get(name).is_some_and(|&count| count > 1);
    let mut candidates = BTreeMap::new();
    let mut lonely = Vec::new();
    for row in rows() {
        match row.version().filter(|_| has_others(row.name())) {
            Some(version) => {
                let stem = row.stem().to_owned();
                let candidate = Candidate { stem, version, rank: row.rank(), build_time: None };
                candidates.entry(row.name()).or_insert_with(Vec::new).push(candidate);
            }
            None if row.rank() > 0 => lonely.push(row.stem().to_owned()),
            None => {}
        }
    }
    for (stem, it) in puts().filter(|(_, it)| has_others(it.name.as_str())) {
        let (stem, version) = (stem.clone(), it.version.clone());
        let candidate = Candidate { stem, version, rank: 0, build_time: Some(it.build_time) };
        candidates.entry(it.name.as_str()).or_insert_with(Vec::new).push(candidate);
    }
    let mut tied = Vec::new();
    for mut versions in candidates.into_values() {
        versions.sort_by(|a, b| a.version.order(&b.version));
        let mut same: Vec<Candidate> = Vec::new();
        for version in versions {
            if same.last().is_some_and(|last| last.version.order(&version.version).is_ne()) {
                tied.push(std::mem::take(&mut same));
            }
            same.push(version);
        }
        tied.push(same);
    }
    let is_lonely = |same: &mut Vec<Candidate>| same.len() < 2;
    let single = tied.extract_if(.., is_lonely).flatten();
    lonely.extend(single.filter(|it| it.rank > 0).map(|it| it.stem));
    (tied, lonely)
}

/// Returns when packages of the snapshot were built.
fn built(snapshot: &Snapshot, tied: &[Candidate]) -> Result<HashMap<String, u64>, SnapshotError> {
    let stems: HashSet<_> = tied.iter().map(|it| &*it.stem).collect();
    let records = snapshot.records_near(|row| stems.contains(row.stem()))?;
    let built = records
        .into_iter()
        .map(|record| (record.entry.file_stem(), record.entry.metadata.build_time));
    Ok(built.collect())
}

/// Splits a text into numbers, each with its length, and the text between them, so that 10 sorts
/// after 9.
fn by_numbers(text: &str) -> Vec<(usize, &str)> {
    let kinds = text.as_bytes().chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit());
    let mut at = 0;
    let parts = kinds.filter_map(|part| {
        let begin = at;
        at += part.len();
        let part = text.get(begin..at)?;
        let number = part.trim_start_matches('0');
        let is_number = part.starts_with(|c: char| c.is_ascii_digit());
        Some(if is_number { (number.len() + 1, number) } else { (0, part) })
    });
    parts.collect()
}

//! Which packages of an index are superseded, and what depends on them.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use alpinist_apk::{dependency::Dependency, entry::IndexEntry, index::Index};

/// A package that would lose what it depends on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dependent {
    /// The package, `<name>-<version>`.
    pub stem: String,
    /// What it depends on, as the index says it.
    pub dependency: String,
    /// A package that would go and that it needs, `<name>-<version>`.
    pub needed: String,
}

/// Returns the entries beyond the `keep` newest versions of each name, by apk's order of versions.
pub fn superseded(index: &Index, keep: usize) -> Vec<&IndexEntry> {
    let mut by_name = BTreeMap::<_, Vec<_>>::new();
    for entry in index.entries() {
        by_name.entry(&entry.metadata.name).or_default().push(entry);
    }
    for versions in by_name.values_mut() {
        versions.sort_by_key(|entry| Reverse(&entry.metadata.version));
    }
    by_name.into_values().flat_map(|versions| versions.into_iter().skip(keep)).collect()
}

/// Returns the packages that stay and whose dependencies nothing in the index would fulfil without the packages
/// `removed`, each `<name>-<version>`. What is missing already is no matter of theirs.
pub fn dependents(index: &Index, removed: &BTreeSet<String>) -> Vec<Dependent> {
    let is_removed = |entry: &IndexEntry| removed.contains(&entry.file_stem());
    let providers = providers(index);
    let mut dependents = Vec::new();
    for entry in index.entries().iter().filter(|entry| !is_removed(entry)) {
        let depends = entry.metadata.depends.iter();
        for dependency in depends.filter(Dependency::is_requirement) {
            let candidates = providers.get(dependency.name()).into_iter().flatten().copied();
            let (gone, staying): (Vec<&IndexEntry>, Vec<_>) =
                candidates.filter(|entry| fulfils(entry, &dependency)).partition(|e| is_removed(e));
            if let (Some(needed), []) = (gone.first(), &*staying) {
                let (stem, needed) = (entry.file_stem(), needed.file_stem());
                dependents.push(Dependent { stem, dependency: dependency.to_string(), needed });
            }
        }
    }
    dependents
}

/// Returns the entries by each name that they have or provide.
fn providers(index: &Index) -> HashMap<&str, Vec<&IndexEntry>> {
    let mut providers = HashMap::<_, Vec<_>>::new();
    for entry in index.entries() {
        let metadata = &entry.metadata;
        let provided = metadata.provides.iter().map(|provided| provided.name());
        let names: BTreeSet<_> = provided.chain([metadata.name.as_str()]).collect();
        for name in names {
            providers.entry(name).or_default().push(entry);
        }
    }
    providers
}

fn fulfils(entry: &IndexEntry, dependency: &Dependency<'_>) -> bool {
    let metadata = &entry.metadata;
    dependency.is_met_by(metadata.name.as_str(), metadata.version.as_str())
        || metadata.provides.iter().any(|provided| dependency.is_met_by_provided(provided))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An index of these packages: name, version, and further lines.
    fn index(packages: &[(&str, &str, &str)]) -> Index {
        let entry = |(name, version, lines): &(&str, &str, &str)| {
            format!(
                "C:Q1cxNB5qU8YxuiYhYURUIBbcyGbys=\nP:{name}\nV:{version}\nA:x86_64\nS:1\nI:1\nT:\nU:\nL:\n{lines}\n"
            )
        };
        packages.iter().map(entry).collect::<String>().parse().unwrap()
    }

    fn stems(entries: &[&IndexEntry]) -> Vec<String> {
        entries.iter().map(|entry| entry.file_stem()).collect()
    }

    #[test]
    fn the_newest_versions_of_each_name_stay() {
        let index = index(&[
            ("a", "1.9-r0", ""),
            ("a", "1.10_rc1-r0", ""),
            ("a", "1.10-r0", ""),
            ("b", "1-r0", ""),
            ("b", "1-r10", ""),
            ("b", "1-r9", ""),
        ]);
        assert_eq!(stems(&superseded(&index, 2)), ["a-1.9-r0", "b-1-r0"]);
        assert_eq!(
            stems(&superseded(&index, 1)),
            ["a-1.10_rc1-r0", "a-1.9-r0", "b-1-r9", "b-1-r0"]
        );
        assert_eq!(superseded(&index, 3), Vec::<&IndexEntry>::new());
    }

    #[test]
    fn who_needs_what_would_go_is_told() {
        let index = index(&[
            ("lib", "1-r0", "p:so:lib.so.1=1.0 cmd:lib=1-r0\n"),
            ("lib", "2-r0", "p:so:lib.so.2=2.0 cmd:lib=2-r0\n"),
            ("by-name", "1-r0", "D:lib\n"),
            ("by-version", "1-r0", "D:lib<2 absent\n"),
            ("by-object", "1-r0", "D:so:lib.so.1\n"),
            ("by-command", "1-r0", "D:cmd:lib !lib=1-r0\n"),
        ]);
        let removed = BTreeSet::from(["lib-1-r0".to_owned()]);
        let dependent = |stem: &str, dependency: &str| Dependent {
            stem: stem.to_owned(),
            dependency: dependency.to_owned(),
            needed: "lib-1-r0".to_owned(),
        };
        let expected =
            [dependent("by-version-1-r0", "lib<2"), dependent("by-object-1-r0", "so:lib.so.1")];
        assert_eq!(dependents(&index, &removed), expected);
        let all = ["lib-1-r0", "by-version-1-r0", "by-object-1-r0"].map(str::to_owned);
        assert_eq!(dependents(&index, &all.into()), []);
    }
}

//! Which packages of an index are superseded, and what depends on them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use alpinist_apk::{dependency::Dependency, entry::IndexEntry, index::Index};

/// A package that would lose a dependency.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dependent {
    /// The package, `<name>-<version>`.
    pub stem: String,
    /// The dependency, as the index writes it.
    pub dependency: String,
    /// A package that would be removed and that fulfils the dependency, `<name>-<version>`.
    pub needed: String,
}

/// The entries beyond the newest versions of each name.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Superseded<'a> {
    /// Entries that apk considers older than every version that is kept.
    pub older: Vec<&'a IndexEntry>,
    /// Entries that apk considers neither older nor newer than the last version that is kept. The
    /// index does not show which of them came last, so they stay.
    pub tied: Vec<&'a IndexEntry>,
}

/// Returns the entries beyond the `keep` newest versions of each name, in apk's order of versions.
pub fn superseded(index: &Index, keep: usize) -> Superseded<'_> {
    let mut by_name = BTreeMap::<_, Vec<_>>::new();
    for entry in index.entries() {
        by_name.entry(&entry.metadata.name).or_default().push(entry);
    }
    let mut superseded = Superseded::default();
    for versions in by_name.values_mut() {
        versions.sort_by(|a, b| b.metadata.version.order(&a.metadata.version));
        let last = keep.checked_sub(1).and_then(|last| versions.get(last)).copied();
        for entry in versions.iter().skip(keep) {
            let is_tied = last
                .is_some_and(|last| last.metadata.version.order(&entry.metadata.version).is_eq());
            if is_tied { &mut superseded.tied } else { &mut superseded.older }.push(*entry);
        }
    }
    superseded
}

/// Returns the remaining packages with dependencies that nothing in the index would fulfil without
/// the packages `removed`, each a `<name>-<version>`. Dependencies that nothing fulfils today are
/// ignored.
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
        assert_eq!(stems(&superseded(&index, 2).older), ["a-1.9-r0", "b-1-r0"]);
        assert_eq!(
            stems(&superseded(&index, 1).older),
            ["a-1.10_rc1-r0", "a-1.9-r0", "b-1-r9", "b-1-r0"]
        );
        assert_eq!(superseded(&index, 3), Superseded::default());
    }

    #[test]
    fn nothing_goes_because_of_a_tie() {
        let index = index(&[
            ("luajit", "2.1-20231117-r9", ""),
            ("luajit", "2.1-20231117-r10", ""),
            ("luajit", "2.0-r0", ""),
            ("hello", "1.2.3_beta.9-r0", ""),
            ("hello", "1.2.3_beta.10-r0", ""),
            ("hello", "1.2.3_beta.11-r0", ""),
            ("hello", "1.3-r0", ""),
        ]);
        let found = superseded(&index, 1);
        let tied = ["hello-1.2.3_beta.9-r0", "hello-1.2.3_beta.10-r0", "hello-1.2.3_beta.11-r0"];
        assert_eq!(stems(&found.older), [&tied[..], &["luajit-2.0-r0"]].concat());
        assert_eq!(stems(&found.tied), ["luajit-2.1-20231117-r10"]);
        let found = superseded(&index, 2);
        assert_eq!(stems(&found.older), ["luajit-2.0-r0"]);
        assert_eq!(stems(&found.tied), tied[1..]);
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

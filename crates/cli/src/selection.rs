//! Packages in a bucket, selected by name, by name and version, or by key.

use std::collections::BTreeMap;

use alpinist_apk::{entry::IndexEntry, index::Index};
use alpinist_repository::{
    location::{PackageKey, RepositoryPrefix},
    port::{ListedObject, ObjectStore},
};

use crate::{
    error::Error,
    repository::{self, Prefix, RepositoryName},
};

/// A selected package.
#[derive(Clone, Debug)]
pub(crate) struct Selected {
    /// Its directory.
    pub(crate) prefix: RepositoryPrefix,
    /// The object.
    pub(crate) object: ListedObject,
    /// The object that withdraws it, if it is withdrawn.
    pub(crate) withdrawal: Option<ListedObject>,
    /// Its entry in the published index, if it is listed.
    pub(crate) entry: Option<IndexEntry>,
}

impl Selected {
    /// Returns its `<name>-<version>`, as in its key.
    pub(crate) fn stem(&self) -> &str {
        let key = self.object.key.as_str();
        let file = key.strip_prefix(&self.prefix.to_string()).unwrap_or(key);
        file.strip_suffix(".apk").unwrap_or(file)
    }
}

/// What is in the directory of one architecture.
struct Directory {
    prefix: RepositoryPrefix,
    objects: BTreeMap<String, ListedObject>,
    /// Its published index, unless that is damaged or missing.
    index: Option<Index>,
}

impl Directory {
    async fn read<S: ObjectStore>(store: &S, prefix: RepositoryPrefix) -> Result<Self, Error> {
        let objects = repository::objects(store, &prefix).await?;
        let index = match repository::index_among(store, &prefix, &objects).await {
            Err(Error::PublishedIndex { .. }) => None,
            index => index?,
        };
        Ok(Self { prefix, objects, index })
    }

    fn entries(&self) -> &[IndexEntry] {
        self.index.as_ref().map(Index::entries).unwrap_or_default()
    }

    /// Returns the package with this key, which the index need not list.
    fn by_key(&self, key: &str) -> Option<Selected> {
        let is_of = |entry: &&IndexEntry| self.prefix.package_key(&entry.file_stem()) == key;
        Some(Selected {
            prefix: self.prefix.clone(),
            object: self.objects.get(key)?.clone(),
            withdrawal: self.withdrawal(key),
            entry: self.entries().iter().find(is_of).cloned(),
        })
    }

    /// Returns the object that withdraws the package with this key, if there is one.
    fn withdrawal(&self, key: &str) -> Option<ListedObject> {
        let key = key.parse::<PackageKey>().ok()?;
        self.objects.get(&key.withdrawal_key()).cloned()
    }

    /// Returns whether there may be versions of this package, but no index that lists them.
    fn may_hide(&self, name: &str) -> bool {
        let begin = format!("{}{name}-", self.prefix);
        let is_of = |key: &String| key.starts_with(&begin) && key.ends_with(".apk");
        self.index.is_none() && self.objects.keys().any(is_of)
    }

    /// Returns all versions of the package with this name. Only the index knows names.
    fn by_name(&self, name: &str) -> Vec<Selected> {
        let entries = self.entries().iter().filter(|entry| entry.metadata.name.as_str() == name);
        let found = entries.filter_map(|entry| {
            let object = self.objects.get(&self.prefix.package_key(&entry.file_stem()))?.clone();
            let (prefix, entry) = (self.prefix.clone(), Some(entry.clone()));
            let withdrawal = self.withdrawal(&object.key);
            Some(Selected { prefix, object, withdrawal, entry })
        });
        found.collect()
    }
}

/// Returns whether a name is the key of a package: nothing else has a slash.
pub(crate) fn is_key(name: &str) -> bool {
    name.contains('/')
}

/// Finds packages. Each is named by its key; by its name and version, in one repository; or by its
/// name, which means all versions. Fails if one does not exist or is ambiguous.
pub(crate) async fn select<S: ObjectStore>(
    store: &S,
    from: Option<&RepositoryName>,
    names: &[String],
) -> Result<Vec<Selected>, Error> {
    let mut selected = BTreeMap::new();
    let (keys, names): (Vec<_>, Vec<_>) = names.iter().partition(|name| is_key(name));
    for key in keys {
        let found = by_key(store, from, key).await?;
        selected.insert(found.object.key.clone(), found);
    }
    if !names.is_empty() {
        let below = from.map(Prefix::from).unwrap_or_default();
        let mut directories = Vec::new();
        for prefix in repository::repositories(store, &below).await? {
            directories.push(Directory::read(store, prefix).await?);
        }
        for name in names {
            let found = by_name(&directories, name)?.into_iter();
            selected.extend(found.map(|found| (found.object.key.clone(), found)));
        }
    }
    Ok(selected.into_values().collect())
}

async fn by_key<S: ObjectStore>(
    store: &S,
    from: Option<&RepositoryName>,
    key: &str,
) -> Result<Selected, Error> {
    if let Some(from) = from.filter(|from| !key.starts_with(Prefix::from(*from).as_str())) {
        return Err(Error::Elsewhere { key: key.to_owned(), repository: from.to_string() });
    }
    let missing = || Error::NoPackage { name: key.to_owned() };
    let (directory, file) = key.rsplit_once('/').ok_or_else(missing)?;
    if !file.ends_with(".apk") {
        return Err(missing());
    }
    let Ok(prefix) = format!("{directory}/").parse() else {
        let is_there = store.head(key).await?.is_some();
        return Err(if is_there { Error::Stray { key: key.to_owned() } } else { missing() });
    };
    Directory::read(store, prefix).await?.by_key(key).ok_or_else(missing)
}

fn by_name(directories: &[Directory], name: &str) -> Result<Vec<Selected>, Error> {
    if let Some(hiding) = directories.iter().find(|directory| directory.may_hide(name)) {
        return Err(Error::NoIndex { key: hiding.prefix.index_key(), name: name.to_owned() });
    }
    let named: Vec<_> = directories.iter().flat_map(|directory| directory.by_name(name)).collect();
    let exact = directories
        .iter()
        .filter_map(|directory| directory.by_key(&directory.prefix.package_key(name)));
    let exact: Vec<_> = exact.collect();
    let mut repositories: Vec<_> =
        named.iter().chain(&exact).map(|found| found.prefix.repository().to_owned()).collect();
    repositories.sort_unstable();
    repositories.dedup();
    let name = name.to_owned();
    match (repositories.len(), named.is_empty(), exact.is_empty()) {
        (0, ..) => Err(Error::NoPackage { name }),
        (2.., ..) => Err(Error::InSeveral { name, repositories }),
        (1, false, false) => {
            let keys = |found: Vec<Selected>| {
                found.into_iter().map(|found| found.object.key).collect::<Vec<_>>()
            };
            Err(Error::Ambiguous { name, named: keys(named), exact: keys(exact) })
        }
        (1, true, _) => Ok(exact),
        (1, ..) => Ok(named),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use alpinist_apk::{
        index_archive,
        signature::{Algorithm, Signature, SignatureName},
    };
    use alpinist_repository::{
        memory::{MemoryStore, Request},
        port::StoreError,
    };

    use super::*;

    /// A bucket with these packages, each given by its key without `.apk`, and by the name and
    /// version in the index.
    fn bucket(packages: &[(&str, &str, &str)]) -> MemoryStore {
        let store = MemoryStore::default();
        let mut texts: BTreeMap<String, String> = BTreeMap::new();
        for (key, name, version) in packages {
            store.upload(&format!("{key}.apk"), "package");
            let (directory, _) = key.rsplit_once('/').unwrap();
            let entry = format!(
                "C:Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=\nP:{name}\nV:{version}\nA:x86_64\nS:7\nI:0\nT:\nU:\nL:\n\n"
            );
            texts.entry(directory.to_owned()).or_default().push_str(&entry);
        }
        for (directory, text) in texts {
            store.upload(&format!("{directory}/APKINDEX.tar.gz"), signed(&text.parse().unwrap()));
        }
        store
    }

    /// An index with an invalid signature, which nothing checks here.
    fn signed(index: &Index) -> Vec<u8> {
        let key_name = "ops.rsa.pub".parse().unwrap();
        let name = SignatureName { algorithm: Algorithm::RsaSha256, key_name };
        let unsigned = index_archive::write_unsigned("", index).unwrap();
        index_archive::write_signed(&[(name, Signature::from(vec![0; 256]))], &unsigned).unwrap()
    }

    const GO: [(&str, &str, &str); 4] = [
        ("3.22/main/x86_64/go-1.21", "go", "1.21"),
        ("3.22/main/x86_64/go-1.20", "go", "1.20"),
        ("3.22/main/x86_64/go-1.21-1.5-r0", "go-1.21", "1.5-r0"),
        ("3.22/main/x86_64/hello-1.0-r0", "hello", "1.0-r0"),
    ];

    async fn found(store: &MemoryStore, from: Option<&str>, name: &str) -> Result<String, Error> {
        let from = from.map(|from| from.parse::<RepositoryName>().unwrap());
        let found = select(store, from.as_ref(), &[name.to_owned()]).await?;
        Ok(found.iter().map(|found| found.object.key.as_str()).collect::<Vec<_>>().join(" "))
    }

    #[tokio::test]
    async fn a_name_means_all_versions_and_a_name_with_a_version_one() {
        let store = bucket(&GO);
        store.upload("3.22/main/x86_64/unlisted-1-r0.apk", "package");
        let found = async |name| found(&store, None, name).await.unwrap();
        assert_eq!(found("hello").await, "3.22/main/x86_64/hello-1.0-r0.apk");
        assert_eq!(found("hello-1.0-r0").await, "3.22/main/x86_64/hello-1.0-r0.apk");
        let go = "3.22/main/x86_64/go-1.20.apk 3.22/main/x86_64/go-1.21.apk";
        assert_eq!(found("go").await, go);
        assert_eq!(found("unlisted-1-r0").await, "3.22/main/x86_64/unlisted-1-r0.apk");
    }

    #[tokio::test]
    async fn a_name_that_may_be_one_with_a_version_is_no_name() {
        let store = bucket(&GO);
        let error = found(&store, None, "go-1.21").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "go-1.21 may be the name of a package (3.22/main/x86_64/go-1.21-1.5-r0.apk) or a name with \
             a version (3.22/main/x86_64/go-1.21.apk)"
        );
        for key in ["3.22/main/x86_64/go-1.21-1.5-r0.apk", "3.22/main/x86_64/go-1.21.apk"] {
            assert_eq!(found(&store, None, key).await.unwrap(), key);
        }
        // If one is gone, the other is meant.
        store.remove("3.22/main/x86_64/go-1.21.apk");
        let named = "3.22/main/x86_64/go-1.21-1.5-r0.apk";
        assert_eq!(found(&store, None, "go-1.21").await.unwrap(), named);
    }

    #[tokio::test]
    async fn the_other_package_may_be_for_another_architecture() {
        let mut packages = GO;
        packages[0].0 = "3.22/main/aarch64/go-1.21";
        let error = found(&bucket(&packages), None, "go-1.21").await.unwrap_err();
        assert!(matches!(error, Error::Ambiguous { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_package_of_several_repositories_needs_one() {
        let mut packages = GO;
        packages[3].0 = "edge/main/x86_64/hello-1.0-r0";
        packages[1] = ("3.22/main/x86_64/hello-1.0-r0", "hello", "1.0-r0");
        let store = bucket(&packages);
        let error = found(&store, None, "hello").await.unwrap_err();
        assert_eq!(error.to_string(), "hello is in 3.22/main and in edge/main");
        let there = "edge/main/x86_64/hello-1.0-r0.apk";
        assert_eq!(found(&store, Some("edge/main"), "hello").await.unwrap(), there);
        assert_eq!(found(&store, None, there).await.unwrap(), there);
        let error = found(&store, Some("3.22/main"), there).await.unwrap_err();
        assert_eq!(error.to_string(), format!("{there} is not in 3.22/main"));
    }

    #[tokio::test]
    async fn what_is_not_there_is_not_found() {
        let store = bucket(&GO);
        for name in ["bye", "go-1.21-1.5", "3.22/main/x86_64/bye-1.apk", "3.22/main/x86_64/", "a/b"]
        {
            let error = found(&store, None, name).await.unwrap_err();
            assert_eq!(error.to_string(), format!("there is no package {name}"));
        }
        let index = "3.22/main/x86_64/APKINDEX.tar.gz";
        assert!(found(&store, None, index).await.is_err(), "it is no package");
    }

    #[tokio::test]
    async fn a_damaged_index_knows_no_names() {
        let store = bucket(&GO);
        let index = "3.22/main/x86_64/APKINDEX.tar.gz";
        store.upload(index, "garbage");
        let error = found(&store, None, "hello").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{index} does not say which versions of hello there are")
        );
        let key = "3.22/main/x86_64/hello-1.0-r0.apk";
        assert_eq!(found(&store, None, "hello-1.0-r0").await.unwrap(), key);
        assert_eq!(found(&store, None, key).await.unwrap(), key);
    }

    #[tokio::test]
    async fn no_index_is_asked_for_that_the_listing_lacks() {
        let store = bucket(&GO);
        let read = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&read);
        store.before_requests(move |_, request| {
            if let Request::Get(key) = request {
                seen.lock().unwrap().push(key.to_owned());
            }
            Ok(())
        });
        found(&store, None, "hello").await.unwrap();
        assert_eq!(*read.lock().unwrap(), ["3.22/main/x86_64/APKINDEX.tar.gz"]);
    }

    #[tokio::test]
    async fn versions_that_no_index_tells_of_are_not_passed_over() {
        let mut packages = GO;
        packages[1] = ("3.22/main/aarch64/hello-1.0-r0", "hello", "1.0-r0");
        for missing in ["3.22/main/aarch64/APKINDEX.tar.gz", "3.22/main/x86_64/APKINDEX.tar.gz"] {
            let store = bucket(&packages);
            store.remove(missing);
            let error = found(&store, None, "hello").await.unwrap_err();
            assert!(matches!(&error, Error::NoIndex { key, .. } if key == missing), "{error}");
            let both = found(&store, None, "hello-1.0-r0").await.unwrap();
            assert_eq!(both.split(' ').count(), 2, "{both}");
        }
    }

    #[tokio::test]
    async fn an_index_that_can_not_be_read_is_no_empty_one() {
        let mut packages = GO;
        packages[1] = ("3.22/main/aarch64/hello-1.0-r0", "hello", "1.0-r0");
        for failing in ["3.22/main/aarch64/APKINDEX.tar.gz", "3.22/main/x86_64/APKINDEX.tar.gz"] {
            let store = bucket(&packages);
            store.before_requests(move |_, request| match request {
                Request::Get(key) if key == failing => {
                    Err(StoreError::Unavailable { key: key.to_owned(), source: "outage".into() })
                }
                _ => Ok(()),
            });
            for name in ["hello", "hello-1.0-r0"] {
                let error = found(&store, None, name).await.unwrap_err();
                assert_eq!(error.to_string(), format!("the request for {failing} failed"));
            }
        }
    }
}

//! Repositories in a bucket, as the command line names them.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    str::FromStr,
};

use alpinist_apk::{
    adb::index::ReadIndex,
    checksum::Identity,
    entry::IndexEntry,
    index::Index,
    index_archive::{self, IndexArchive},
    value::Architecture,
};
use alpinist_repository::{
    discovery::{self, Discovery},
    location::RepositoryPrefix,
    port::{self, ListedObject, ObjectStore},
    step,
};

use crate::error::Error;

/// A repository such as `3.22/main`, or the directory of one architecture, such as
/// `3.22/main/x86_64`: a name that ends in an architecture of Alpine or OpenWrt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct RepositoryName {
    repository: String,
    architecture: Option<Architecture>,
}

impl RepositoryName {
    /// Returns the directory for packages of `architecture`. For `noarch`, the name must contain
    /// the architecture.
    pub(crate) fn directory(&self, architecture: &Architecture) -> Option<RepositoryPrefix> {
        let architecture = self.architecture.as_ref().unwrap_or(architecture);
        RepositoryPrefix::new(&self.repository, architecture.as_str()).ok()
    }

    /// Returns the architecture in the name, if there is one.
    pub(crate) fn architecture(&self) -> Option<&Architecture> {
        self.architecture.as_ref()
    }

    /// Returns the name as in /etc/apk/repositories: clients add their architecture.
    pub(crate) fn without_architecture(self) -> Self {
        Self { architecture: None, ..self }
    }
}

/// Parses an architecture of clients, as given on the command line.
pub(crate) fn architecture_of_clients(text: &str) -> Result<Architecture, String> {
    let architecture: Architecture = text.parse().map_err(|error| format!("{error}"))?;
    if architecture.is_noarch() {
        return Err("no client is of the architecture `noarch`".to_owned());
    }
    match architecture.names_in_apk() {
        Some(names) => Err(format!("apk calls this architecture {names}")),
        None => Ok(architecture),
    }
}

impl FromStr for RepositoryName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim_end_matches('/');
        let last = text.rsplit('/').next().and_then(|last| last.parse::<Architecture>().ok());
        if let Some(last) = last.filter(|last| last.is_noarch() || last.names_in_apk().is_some()) {
            architecture_of_clients(last.as_str())
                .map_err(|error| format!("it ends in `{last}`, but {error}"))?;
        }
        let known = |(repository, last): (&str, &str)| {
            let architecture = last.parse().ok().filter(Architecture::is_known)?;
            Some((repository.to_owned(), architecture))
        };
        let name = match text.rsplit_once('/').and_then(known) {
            Some((repository, architecture)) => {
                Self { repository, architecture: Some(architecture) }
            }
            None => Self { repository: text.to_owned(), architecture: None },
        };
        match RepositoryPrefix::new(&name.repository, "x86_64") {
            Ok(_) => Ok(name),
            Err(error) => Err(format!("it is no repository such as `3.22/main`: {error}")),
        }
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        match &self.architecture {
            Some(architecture) => write!(f, "/{architecture}"),
            None => Ok(()),
        }
    }
}

/// The beginning of keys, up to a slash: empty, `3.22/`, `3.22/main/`, and so on.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Prefix(String);

impl Prefix {
    /// Returns it as text: empty, or ending in a slash.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim_matches('/') {
            "" => Ok(Self::default()),
            text if text.ends_with(".apk") => {
                Err("it is a package: say the directory that it is in".to_owned())
            }
            text => Ok(Self(format!("{text}/"))),
        }
    }
}

impl From<&RepositoryName> for Prefix {
    fn from(name: &RepositoryName) -> Self {
        Self(format!("{name}/"))
    }
}

/// Returns the repository prefixes below a prefix. Fails if there are none, unless the prefix is
/// empty.
pub(crate) async fn repositories<S: ObjectStore>(
    store: &S,
    prefix: &Prefix,
) -> Result<Vec<RepositoryPrefix>, Error> {
    let Discovery { repositories, .. } = discover(store, prefix).await?;
    if repositories.is_empty() && !prefix.as_str().is_empty() {
        return Err(Error::NoRepository { prefix: prefix.as_str().to_owned() });
    }
    Ok(repositories)
}

/// Discovers what is below a prefix. Fails if there is nothing, unless the prefix is empty.
pub(crate) async fn discover<S: ObjectStore>(
    store: &S,
    prefix: &Prefix,
) -> Result<Discovery, Error> {
    let found = discovery::discover(store, prefix.as_str()).await?;
    if found == Discovery::default() && !prefix.as_str().is_empty() {
        return Err(Error::NoRepository { prefix: prefix.as_str().to_owned() });
    }
    Ok(found)
}

/// The format of a package, which decides what lists it: an index of format v3 lists those of both
/// formats, but only where there are v3 packages.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Format {
    /// Listed in `APKINDEX.tar.gz`.
    V2,
    /// Listed in `Packages.adb`.
    V3,
}

impl Format {
    /// Returns the format of a package with this identity.
    pub(crate) fn of(identity: &Identity) -> Self {
        match identity {
            Identity::Control(_) => Self::V2,
            Identity::Payload(_) => Self::V3,
        }
    }

    /// Returns the key of the published index that lists packages of this format.
    pub(crate) fn index_key(self, prefix: &RepositoryPrefix) -> String {
        match self {
            Self::V2 => prefix.index_key(),
            Self::V3 => {
                let [index, ..] = prefix.adb_keys();
                index
            }
        }
    }

    /// Reads what a published index lists, in its order.
    pub(crate) fn read_index(self, key: &str, bytes: &[u8]) -> Result<Vec<IndexEntry>, Error> {
        let read = match self {
            Self::V2 => IndexArchive::read(bytes)
                .map(|read| read.index.entries().to_vec())
                .map_err(Box::from),
            Self::V3 => ReadIndex::read(bytes).map(|read| read.entries).map_err(Box::from),
        };
        read.map_err(|source| Error::PublishedIndex { key: key.to_owned(), source })
    }

    /// Returns what the published index for this format lists. `None` if there is none; an index of
    /// format v3 counts only if Alpinist wrote it.
    pub(crate) async fn entries<S: ObjectStore>(
        self,
        store: &S,
        prefix: &RepositoryPrefix,
    ) -> Result<Option<Vec<IndexEntry>>, Error> {
        let key = self.index_key(prefix);
        let published = port::read(store, &key, index_archive::MAX_LENGTH).await?;
        let published =
            published.filter(|published| self == Self::V2 || step::is_ours(&published.info));
        published.map(|published| self.read_index(&key, &published.body)).transpose()
    }
}

/// Returns what is published of a repository prefix, packages of both formats. It is empty if there
/// is no index.
pub(crate) async fn index<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
) -> Result<Index, Error> {
    let v2 = Format::V2.entries(store, prefix).await?;
    Ok(merge(v2, Format::V3.entries(store, prefix).await?).unwrap_or_default())
}

/// Lists the objects of a repository prefix, by key.
pub(crate) async fn objects<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
) -> Result<BTreeMap<String, ListedObject>, Error> {
    let listed = store.list(&prefix.to_string(), &[]).await?;
    Ok(listed.into_iter().map(|object| (object.key.clone(), object)).collect())
}

/// Returns what is published of a repository prefix that has these objects, by key: no index is
/// asked for that is not among them.
pub(crate) async fn index_among<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
    objects: &BTreeMap<String, ListedObject>,
) -> Result<Option<Index>, Error> {
    let entries = async |format: Format| {
        let is_there = objects.contains_key(&format.index_key(prefix));
        if is_there { format.entries(store, prefix).await } else { Ok(None) }
    };
    Ok(merge(entries(Format::V2).await?, entries(Format::V3).await?))
}

/// Returns what is published, packages of both formats, from what the index for each lists.
fn merge(v2: Option<Vec<IndexEntry>>, v3: Option<Vec<IndexEntry>>) -> Option<Index> {
    let (mut listed, v3) = match (v2, v3) {
        (None, None) => return None,
        (v2, None) => (v2.unwrap_or_default(), Vec::new()),
        // It has the v2 packages as well.
        (None, Some(all)) => (Vec::new(), all),
        (Some(v2), Some(mut all)) => {
            all.retain(|entry| Format::of(&entry.identity) == Format::V3);
            (v2, all)
        }
    };
    if v3.is_empty() {
        return Some(Index::in_order(listed));
    }
    let stems: HashSet<_> = v3.iter().map(IndexEntry::file_stem).collect();
    listed.retain(|entry| !stems.contains(&entry.file_stem()));
    Some(Index::ranked(listed.into_iter().chain(v3).enumerate()))
}

#[cfg(test)]
mod tests {
    use alpinist_apk::{
        adb::{index::AdbIndex, signature::AdbSignature},
        signature::{Algorithm, Signature, SignatureName},
    };
    use alpinist_repository::{
        memory::MemoryStore,
        port::{Attributes, NewObject, Precondition},
    };

    use super::*;

    fn entry(stem: &str, identity: &str) -> IndexEntry {
        let (name, version) = stem.split_once('-').unwrap();
        let text = format!("C:{identity}\nP:{name}\nV:{version}\nA:x86_64\nS:7\nI:0\n");
        IndexEntry::from_stored(&text).unwrap()
    }

    fn v2(stem: &str) -> IndexEntry {
        entry(stem, "Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=")
    }

    fn v3(stem: &str) -> IndexEntry {
        entry(stem, "Q2AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
    }

    fn apkindex(entries: &[IndexEntry]) -> Vec<u8> {
        let key_name = "ops.rsa.pub".parse().unwrap();
        let name = SignatureName { algorithm: Algorithm::RsaSha256, key_name };
        let index = Index::in_order(entries.to_vec());
        let unsigned = index_archive::write_unsigned("", &index).unwrap();
        index_archive::write_signed(&[(name, Signature::from(vec![0; 256]))], &unsigned).unwrap()
    }

    fn adb(entries: &[IndexEntry]) -> Vec<u8> {
        let (index, _) = AdbIndex::new("main", entries);
        let signatures: [AdbSignature; 0] = [];
        index.seal(&index.payload().unwrap(), &signatures, []).unwrap()
    }

    /// Publishes an index of format v3, as Alpinist does.
    async fn put_adb(store: &MemoryStore, bytes: Vec<u8>) {
        let attributes = Attributes::from([("index-sha256".to_owned(), String::new())]);
        let object = NewObject { bytes, content_type: "application/octet-stream", attributes };
        store.put("3.22/main/x86_64/Packages.adb", object, Precondition::None).await.unwrap();
    }

    #[tokio::test]
    async fn packages_of_both_formats_are_published() {
        let prefix: RepositoryPrefix = "3.22/main/x86_64/".parse().unwrap();
        let listed = async |store: &MemoryStore| {
            let objects = objects(store, &prefix).await.unwrap();
            let found = index_among(store, &prefix, &objects).await.unwrap();
            let asked = index(store, &prefix).await.unwrap();
            assert_eq!(found.clone().unwrap_or_default(), asked, "without a listing");
            let index = found?;
            let listed = index.entries().iter();
            Some(listed.map(|entry| (entry.file_stem(), Format::of(&entry.identity))).collect())
        };
        let is = |expected: &[(&str, Format)]| {
            let expected = expected.iter().map(|(stem, format)| ((*stem).to_owned(), *format));
            Some(expected.collect::<Vec<_>>())
        };
        let store = MemoryStore::default();
        assert_eq!(listed(&store).await, None);
        // Somebody else's index does not count, readable or not.
        for foreign in [adb(&[v3("x-1")]), b"garbage".to_vec()] {
            store.upload("3.22/main/x86_64/Packages.adb", foreign);
            assert_eq!(listed(&store).await, None);
        }
        put_adb(&store, adb(&[v2("a-1"), v3("b-2"), v3("c-1")])).await;
        let all = [("a-1", Format::V2), ("b-2", Format::V3), ("c-1", Format::V3)];
        assert_eq!(listed(&store).await, is(&all));
        // What has just been replaced by a package of the other format is listed once.
        let apkindex = apkindex(&[v2("d-1"), v2("c-1"), v2("a-1")]);
        store.upload("3.22/main/x86_64/APKINDEX.tar.gz", apkindex);
        assert_eq!(listed(&store).await, is(&[&all[..], &[("d-1", Format::V2)]].concat()));
        put_adb(&store, b"garbage".to_vec()).await;
        let error = index(&store, &prefix).await.unwrap_err();
        let expected = "a client rejects the index 3.22/main/x86_64/Packages.adb";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_repository_is_named_with_or_without_an_architecture() {
        let x86_64: Architecture = "x86_64".parse().unwrap();
        let directory = |name: &str| {
            name.parse::<RepositoryName>().unwrap().directory(&x86_64).unwrap().to_string()
        };
        assert_eq!(directory("3.22/main"), "3.22/main/x86_64/");
        assert_eq!(directory("3.22/main/aarch64/"), "3.22/main/aarch64/");
        assert_eq!(directory("v3.21"), "v3.21/x86_64/");
        assert_eq!(directory("v3.21/armv7"), "v3.21/armv7/");
        assert_eq!(directory("alpine/8.0/extra"), "alpine/8.0/extra/x86_64/");
        assert_eq!(directory("25.12/base/aarch64_cortex-a53"), "25.12/base/aarch64_cortex-a53/");
        for wrong in ["", "/3.22", "../main", "3.22/ma in", ".alpinist/x86_64"] {
            assert!(wrong.parse::<RepositoryName>().is_err(), "{wrong}");
        }
        let error = |name: &str| name.parse::<RepositoryName>().unwrap_err();
        let amd64 = "it ends in `amd64`, but apk calls this architecture x86_64";
        assert_eq!(error("3.22/main/amd64"), amd64);
        let noarch = "it ends in `noarch`, but no client is of the architecture `noarch`";
        assert_eq!(error("3.22/main/noarch/"), noarch);
    }

    #[test]
    fn a_prefix_ends_in_a_slash_unless_it_is_empty() {
        let prefix = |text: &str| text.parse::<Prefix>().unwrap().0;
        assert_eq!(prefix(""), "");
        assert_eq!(prefix("/"), "");
        assert_eq!(prefix("3.22/main"), "3.22/main/");
        assert_eq!(prefix("3.22/main/x86_64/"), "3.22/main/x86_64/");
        assert!("3.22/main/x86_64/a.apk".parse::<Prefix>().is_err());
    }
}

//! Repositories in a bucket, as the command line names them.

use std::{fmt, str::FromStr};

use alpinist_apk::{
    index::Index,
    index_archive::{self, IndexArchive},
    value::Architecture,
};
use alpinist_repository::{
    discovery::{self, Discovery},
    location::RepositoryPrefix,
    port::{self, ObjectStore},
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

/// Returns the published index of a repository prefix, which is empty if there is none.
pub(crate) async fn index<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
) -> Result<Index, Error> {
    Ok(published_index(store, prefix).await?.unwrap_or_default())
}

/// Returns the published index of a repository prefix, if there is one.
pub(crate) async fn published_index<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
) -> Result<Option<Index>, Error> {
    let key = prefix.index_key();
    let Some(published) = port::read(store, &key, index_archive::MAX_LENGTH).await? else {
        return Ok(None);
    };
    match IndexArchive::read(&published.body) {
        Ok(read) => Ok(Some(read.index)),
        Err(source) => Err(Error::PublishedIndex { key, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

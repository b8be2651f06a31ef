//! Repositories in a bucket, as one speaks of them.

use std::{fmt, str::FromStr};

use alpinist_apk::{
    archive::{self, IndexArchive},
    index::Index,
    value::Architecture,
};
use alpinist_repository::{
    location::RepositoryPrefix,
    port::{self, ObjectStore},
    survey,
};

use crate::error::Error;

/// `<branch>/<repository>`, or with an architecture `<branch>/<repository>/<architecture>`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct RepositoryName {
    branch: String,
    repository: String,
    architecture: Option<Architecture>,
}

impl RepositoryName {
    /// Returns the directory for packages of `architecture`; for any, there must be one in the name.
    pub(crate) fn directory(&self, architecture: &Architecture) -> Option<RepositoryPrefix> {
        let architecture = match &self.architecture {
            Some(own) => own,
            None => architecture,
        };
        format!("{}/{}/{architecture}/", self.branch, self.repository).parse().ok()
    }

    /// Returns the architecture that is in the name, if there is one.
    pub(crate) fn architecture(&self) -> Option<&Architecture> {
        self.architecture.as_ref()
    }

    /// Returns it as it stands in /etc/apk/repositories: clients add their architecture.
    pub(crate) fn without_architecture(self) -> Self {
        Self { architecture: None, ..self }
    }
}

impl FromStr for RepositoryName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = text.trim_end_matches('/').split('/').collect();
        let (branch, repository, architecture) = match *parts {
            [branch, repository] => (branch, repository, None),
            [branch, repository, architecture] => {
                (branch, repository, Some(architecture.parse::<Architecture>()))
            }
            _ => return Err("it is not <branch>/<repository>, such as `3.22/main`".to_owned()),
        };
        let architecture = architecture.transpose().map_err(|error| error.to_string())?;
        let (branch, repository) = (branch.to_owned(), repository.to_owned());
        let name = Self { branch, repository, architecture };
        let example = format!("{}/{}/x86_64/", name.branch, name.repository);
        example.parse::<RepositoryPrefix>().map_err(|error| error.to_string())?;
        Ok(name)
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.branch, self.repository)?;
        match &self.architecture {
            Some(architecture) => write!(f, "/{architecture}"),
            None => Ok(()),
        }
    }
}

/// The beginning of keys, up to a slash: nothing, `<branch>/`, and so on.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Prefix(String);

impl Prefix {
    /// Returns it as text: empty, or with a slash at its end.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim_matches('/');
        match text.split('/').count() {
            _ if text.is_empty() => Ok(Self::default()),
            1..=3 => Ok(Self(format!("{text}/"))),
            _ => Err("it has more than <branch>/<repository>/<architecture>".to_owned()),
        }
    }
}

impl From<&RepositoryName> for Prefix {
    fn from(name: &RepositoryName) -> Self {
        Self(format!("{name}/"))
    }
}

/// Returns the repository prefixes below a prefix. It is an error if there is none.
pub(crate) async fn repositories<S: ObjectStore>(
    store: &S,
    prefix: &Prefix,
) -> Result<Vec<RepositoryPrefix>, Error> {
    let found = survey::repositories(store, prefix.as_str()).await?;
    if found.is_empty() && !prefix.as_str().is_empty() {
        return Err(Error::NoRepository { prefix: prefix.as_str().to_owned() });
    }
    Ok(found)
}

/// Returns the published index of a repository prefix, which is empty if there is none.
pub(crate) async fn index<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
) -> Result<Index, Error> {
    let key = prefix.index_key();
    let Some(published) = port::read(store, &key, archive::MAX_LENGTH).await? else {
        return Ok(Index::default());
    };
    match IndexArchive::read(&published.body) {
        Ok(read) => Ok(read.index),
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
        for wrong in ["main", "3.22/main/x86_64/more", "../main", "3.22/main/X86"] {
            assert!(wrong.parse::<RepositoryName>().is_err(), "{wrong}");
        }
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

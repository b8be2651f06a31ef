//! Which repositories exist.

use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    failure::Failure,
    location::{self, RepositoryPrefix},
    port::{Directory, ObjectStore, Sought},
};

/// How many directories are listed at once.
const PARALLEL_LISTINGS: usize = 16;

/// The maximum number of directories that are listed. In a bucket with more, the caller must say
/// where to look.
const MAX_DIRECTORIES: usize = 10_000;

/// What exists below a prefix.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Discovery {
    /// The repository prefixes, in order.
    pub repositories: Vec<RepositoryPrefix>,
    /// Directories with packages, fragments or an index that are not repository prefixes, in order.
    /// They end in a slash; the top of the bucket is the empty string.
    pub strays: Vec<String>,
}

/// Returns the repository prefixes below a prefix, which is empty or ends in a slash, in order.
///
/// # Errors
///
/// Those of [`discover`].
pub async fn repositories<S: ObjectStore>(
    store: &S,
    prefix: &str,
) -> Result<Vec<RepositoryPrefix>, Failure> {
    Ok(discover(store, prefix).await?.repositories)
}

/// Finds what exists below a prefix, which is empty or ends in a slash.
///
/// Lists directories, not the packages in them. A directory with packages that is named after a
/// known architecture is not searched any further. Others are, since one stray package must not
/// hide what is beside it.
///
/// # Errors
///
/// [`Failure::TooManyDirectories`]; [`Failure::Store`].
pub async fn discover<S: ObjectStore>(store: &S, prefix: &str) -> Result<Discovery, Failure> {
    let (mut found, mut listed) = (Discovery::default(), 0);
    let mut directories = vec![prefix.to_owned()];
    while !directories.is_empty() {
        listed += directories.len();
        if listed > MAX_DIRECTORIES {
            let prefix = prefix.to_owned();
            return Err(Failure::TooManyDirectories { prefix, max: MAX_DIRECTORIES });
        }
        let below: Vec<_> = stream::iter(directories)
            .map(async |directory| {
                let prefix = directory.parse::<RepositoryPrefix>().ok();
                let is_known = prefix.as_ref().is_some_and(|it| it.architecture().is_known());
                let sought = Sought { file: location::is_of_repository, ends_listing: is_known };
                let listed = store.directory(&directory, sought).await?;
                Ok::<_, Failure>((directory, prefix, listed))
            })
            .buffered(PARALLEL_LISTINGS)
            .try_collect()
            .await?;
        directories = Vec::new();
        for (directory, prefix, Directory { below, holds_what_was_sought }) in below {
            match prefix {
                Some(prefix) if holds_what_was_sought => {
                    let is_known = prefix.architecture().is_known();
                    found.repositories.push(prefix);
                    if is_known {
                        continue;
                    }
                }
                None if holds_what_was_sought => found.strays.push(directory),
                _ => {}
            }
            directories.extend(below.into_iter().filter(|below| location::may_hold(below)));
        }
    }
    found.repositories.sort_unstable_by_key(ToString::to_string);
    found.strays.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;

    #[tokio::test]
    async fn what_lies_astray_hides_nothing() {
        let store = MemoryStore::default();
        for key in [
            "3.22/main/x86_64/a-1-r0.apk",
            "3.22/main/aarch64/APKINDEX.tar.gz",
            "3.22/main/aarch64_cortex-a53/a-1-r0.index",
            "v3.21/x86_64/a-1-r0.apk",
            "own/mine/a-1-r0.apk",
            "own/mine/deep/x86_64/a-1-r0.apk",
            "stray.apk",
            "3.22/main/stray.apk",
            "3.22/main/noarch/stray.apk",
            "other/README",
            ".alpinist/published/x86_64/stray.apk",
        ] {
            store.upload(key, "");
        }
        let found = discover(&store, "").await.unwrap();
        let repositories: Vec<_> = found.repositories.iter().map(ToString::to_string).collect();
        let expected = [
            "3.22/main/",
            "3.22/main/aarch64/",
            "3.22/main/aarch64_cortex-a53/",
            "3.22/main/x86_64/",
            "own/mine/",
            "own/mine/deep/x86_64/",
            "v3.21/x86_64/",
        ];
        assert_eq!(repositories, expected);
        assert_eq!(found.strays, ["", "3.22/main/noarch/"]);
        assert_eq!(discover(&store, "none/").await.unwrap(), Discovery::default());
    }
}

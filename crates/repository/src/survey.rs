//! What repositories there are.

use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    failure::Failure,
    location::{self, RepositoryPrefix},
    port::{Directory, ObjectStore},
};

/// How many directories are listed at once.
const PARALLEL_LISTINGS: usize = 16;

/// The most directories that are listed. In a bucket with more of them than any repository has, somebody has to say
/// where to look.
const MAX_DIRECTORIES: usize = 10_000;

/// Returns the repository prefixes below a prefix, which is empty or ends in a slash, in order.
///
/// Lists directories, not the packages in them: below a directory with packages, nothing is looked for.
///
/// # Errors
///
/// [`Failure::TooManyDirectories`]; [`Failure::Store`].
pub async fn repositories<S: ObjectStore>(
    store: &S,
    prefix: &str,
) -> Result<Vec<RepositoryPrefix>, Failure> {
    let (mut found, mut listed) = (Vec::new(), 0);
    let mut directories = vec![prefix.to_owned()];
    while !directories.is_empty() {
        listed += directories.len();
        if listed > MAX_DIRECTORIES {
            let prefix = prefix.to_owned();
            return Err(Failure::TooManyDirectories { prefix, max: MAX_DIRECTORIES });
        }
        let below: Vec<_> = stream::iter(directories)
            .map(async |directory| {
                let listed = store.directory(&directory, location::is_of_repository).await?;
                Ok::<_, Failure>((directory, listed))
            })
            .buffered(PARALLEL_LISTINGS)
            .try_collect()
            .await?;
        directories = Vec::new();
        for (directory, Directory { below, holds_what_was_sought }) in below {
            if holds_what_was_sought {
                found.extend(directory.parse::<RepositoryPrefix>().ok());
            } else {
                directories.extend(below.into_iter().filter(|below| location::may_hold(below)));
            }
        }
    }
    found.sort_unstable_by_key(ToString::to_string);
    Ok(found)
}

//! What repositories there are.

use crate::{
    location::RepositoryPrefix,
    port::{ObjectStore, StoreError},
};

/// Returns the repository prefixes below a prefix, which is empty or ends in a slash: a few listings of
/// directories, not of objects.
///
/// # Errors
///
/// Those of the store.
pub async fn repositories<S: ObjectStore>(
    store: &S,
    prefix: &str,
) -> Result<Vec<RepositoryPrefix>, StoreError> {
    let depth = prefix.matches('/').count();
    let mut directories = vec![prefix.to_owned()];
    for _ in depth..3 {
        let mut below = Vec::new();
        // What begins with a dot is no branch but ours.
        for directory in directories.iter().filter(|directory| !directory.starts_with('.')) {
            below.extend(store.directories(directory).await?);
        }
        directories = below;
    }
    Ok(directories.iter().filter_map(|directory| directory.parse().ok()).collect())
}

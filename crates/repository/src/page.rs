//! The page: an object for browsers that shows what is published, and a list for it.
//!
//! The page reads the published indexes, but can neither list the bucket nor learn from an index of
//! format v3 what the keys are called. The list says both. It only exists where there is a page;
//! [`publish`](crate::step::publish()) adds to it, and `alpinist page put` makes it anew.

use std::collections::BTreeSet;

use alpinist_apk::key_name::KeyName;
use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use crate::{
    discovery,
    failure::Failure,
    location::RepositoryPrefix,
    port::{self, Attributes, ETag, NewObject, ObjectStore, Precondition, StoreError},
};

/// The key of the page.
pub const PAGE: &str = "index.html";

/// The key of the list.
pub const REPOSITORIES: &str = "repositories.json";

/// What the page of any version of Alpinist has in it, and no other object: our own page may be
/// replaced, and somebody else's may not.
pub const MARK: &str = "<meta name=\"generator\" content=\"Alpinist\">";

/// The maximum length of the list in bytes: 10,000 directories with names of 90 bytes.
const MAX_LIST: u64 = 1 << 20;

/// The maximum length of a page in bytes.
const MAX_PAGE: u64 = 1 << 20;

/// How often a write of the list is tried that others get ahead of. Each time, one of them
/// succeeds.
const MAX_TRIES: usize = 20;

/// What the page is told.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Repositories {
    /// The directories that may have an index, without a slash at the end: `3.22/main/x86_64`.
    pub directories: BTreeSet<String>,
    /// The names of the published keys.
    pub keys: BTreeSet<String>,
}

/// The list as it is stored.
enum Stored {
    /// Nothing.
    None,
    /// Something that we can't have written.
    Foreign,
    /// A list.
    List(ETag, Repositories),
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// Another object is where the page or the list belongs.
    #[error("{key} is not of Alpinist, and would be lost")]
    Taken {
        /// Its key.
        key: &'static str,
    },
    /// Something failed.
    #[error(transparent)]
    Failure(#[from] Failure),
}

impl From<StoreError> for PageError {
    fn from(error: StoreError) -> Self {
        Self::Failure(error.into())
    }
}

impl Repositories {
    /// Reads what is stored. `None` if we can't have written it.
    fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Returns the list as it is stored. The same list gives the same bytes.
    fn object(&self) -> NewObject {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        NewObject { bytes, content_type: "application/json", attributes: Attributes::new() }
    }
}

/// Adds a directory and the names of keys to the list, if there is one.
///
/// # Errors
///
/// [`StoreError::Conflict`], if others keep changing the list; any other error of the store.
pub(crate) async fn announce<S: ObjectStore>(
    store: &S,
    prefix: &RepositoryPrefix,
    keys: impl IntoIterator<Item = &KeyName>,
) -> Result<(), StoreError> {
    let keys: Vec<_> = keys.into_iter().map(ToString::to_string).collect();
    for _ in 0..MAX_TRIES {
        let (etag, mut list) = match read(store).await? {
            Stored::None => return Ok(()),
            Stored::Foreign => {
                warn!(key = REPOSITORIES, "list for the page is damaged and left as it is");
                return Ok(());
            }
            Stored::List(etag, list) => (etag, list),
        };
        let before = list.clone();
        list.directories.insert(directory(prefix));
        list.keys.extend(keys.iter().cloned());
        if list == before {
            return Ok(());
        }
        match store.put(REPOSITORIES, list.object(), Precondition::Unchanged(etag)).await {
            Err(StoreError::Conflict { .. }) => {}
            written => {
                debug!(directory = directory(prefix), "the page knows the directory");
                return written.map(drop);
            }
        }
    }
    Err(StoreError::Conflict { key: REPOSITORIES.to_owned() })
}

/// Puts a page, and makes the list anew: the directories that have packages or an index, and the
/// published keys. Returns the list.
///
/// The list is there before the bucket is listed, so that no directory is missed: whoever publishes
/// its first index finds the list, or did so after the package that we find.
///
/// # Errors
///
/// [`PageError::Taken`], if somebody else's object has one of the two keys; others of the store and
/// of [`discovery::discover`].
pub async fn put<S: ObjectStore>(store: &S, page: &str) -> Result<Repositories, PageError> {
    let present = own_page(store).await?;
    let list = put_list(store).await?;
    let object = NewObject {
        bytes: page.as_bytes().to_vec(),
        content_type: "text/html; charset=utf-8",
        attributes: Attributes::new(),
    };
    store.put(PAGE, object, Precondition::still(present)).await?;
    Ok(list)
}

/// Removes the page and the list, the list first, so that nobody adds to it any more. Returns
/// whether there was any of it.
///
/// # Errors
///
/// Those of [`put`].
pub async fn remove<S: ObjectStore>(store: &S) -> Result<bool, PageError> {
    let page = own_page(store).await?;
    let list = match read(store).await? {
        Stored::None => None,
        Stored::Foreign => return Err(PageError::Taken { key: REPOSITORIES }),
        Stored::List(etag, _) => Some(etag),
    };
    for (key, etag) in [(REPOSITORIES, &list), (PAGE, &page)] {
        if let Some(etag) = etag {
            store.delete(key, etag).await?;
        }
    }
    Ok(page.is_some() || list.is_some())
}

async fn put_list<S: ObjectStore>(store: &S) -> Result<Repositories, PageError> {
    for _ in 0..MAX_TRIES {
        let etag = match read(store).await? {
            Stored::Foreign => return Err(PageError::Taken { key: REPOSITORIES }),
            Stored::List(etag, _) => etag,
            Stored::None => {
                let empty = Repositories::default().object();
                match store.put(REPOSITORIES, empty, Precondition::Absent).await {
                    Err(StoreError::Conflict { .. }) => continue,
                    written => written?,
                }
            }
        };
        let found = find(store).await?;
        match store.put(REPOSITORIES, found.object(), Precondition::Unchanged(etag)).await {
            Err(StoreError::Conflict { .. }) => {}
            written => return written.map(|_| found).map_err(Into::into),
        }
    }
    Err(StoreError::Conflict { key: REPOSITORIES.to_owned() }.into())
}

/// Finds what the list is to say.
async fn find<S: ObjectStore>(store: &S) -> Result<Repositories, Failure> {
    let directories = discovery::repositories(store, "").await?.iter().map(directory).collect();
    let listed = store.list("", &[]).await?.into_iter().map(|object| object.key);
    let keys = listed.filter(|key| key.parse::<KeyName>().is_ok()).collect();
    Ok(Repositories { directories, keys })
}

async fn read<S: ObjectStore>(store: &S) -> Result<Stored, StoreError> {
    Ok(match port::read(store, REPOSITORIES, MAX_LIST).await {
        Ok(None) => Stored::None,
        Ok(Some(object)) => match Repositories::read(&object.body) {
            Some(list) => Stored::List(object.info.etag, list),
            None => Stored::Foreign,
        },
        Err(StoreError::TooLarge { .. } | StoreError::Archived { .. }) => Stored::Foreign,
        Err(error) => return Err(error),
    })
}

/// Returns the version of the page, if there is one.
async fn own_page<S: ObjectStore>(store: &S) -> Result<Option<ETag>, PageError> {
    let taken = || Err(PageError::Taken { key: PAGE });
    match port::read(store, PAGE, MAX_PAGE).await {
        Ok(None) => Ok(None),
        Ok(Some(page)) if String::from_utf8_lossy(&page.body).contains(MARK) => {
            Ok(Some(page.info.etag))
        }
        Ok(Some(_)) | Err(StoreError::TooLarge { .. } | StoreError::Archived { .. }) => taken(),
        Err(error) => Err(error.into()),
    }
}

fn directory(prefix: &RepositoryPrefix) -> String {
    prefix.to_string().trim_end_matches('/').to_owned()
}

//! An in-memory bucket that follows the rules of S3: strong consistency, preconditions, and ETags
//! derived from the content. For tests that force a race or a fault.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::{self, Future},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::port::{
    Attributes, Directory, ETag, ListedObject, NewObject, Object, ObjectBody, ObjectInfo,
    ObjectStore, Precondition, Sought, StoreError,
};

/// One request to a [`MemoryStore`], as its hook and its layer see it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "named after the methods of the port")]
pub enum Request<'a> {
    Head(&'a str),
    Get(&'a str),
    Put(&'a str),
    Delete(&'a str),
    Copy(&'a str),
    Directory(&'a str),
    List { prefix: &'a str, split_points: &'a [String] },
}

type Hook = Box<dyn FnMut(&MemoryStore, Request<'_>) -> Result<(), StoreError> + Send>;

/// What stands between the steps and an in-memory bucket. `()` does nothing.
pub trait Layer: Send + Sync {
    /// Waits until a request may reach the bucket.
    fn before(
        &self,
        _bucket: &MemoryStore,
        _request: Request<'_>,
    ) -> impl Future<Output = ()> + Send {
        future::ready(())
    }

    /// Returns an object as the steps read it.
    fn read(&self, _key: &str, info: ObjectInfo, content: Bytes) -> Object<MemoryBody> {
        Object { info, body: MemoryBody::Whole(Some(content)) }
    }
}

impl Layer for () {}

/// An in-memory bucket. Clones share its objects and its clock.
#[derive(Clone)]
pub struct MemoryStore<L = ()> {
    state: Arc<Mutex<State>>,
    hook: Arc<Mutex<Option<Hook>>>,
    layer: L,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self { state: Arc::default(), hook: Arc::default(), layer: () }
    }
}

#[derive(Clone, Default)]
struct State {
    objects: BTreeMap<String, Stored>,
    clock: Duration,
    requests: usize,
}

#[derive(Clone)]
struct Stored {
    bytes: Bytes,
    etag: ETag,
    attributes: Attributes,
    written: Duration,
}

impl Stored {
    fn info(&self, now: Duration) -> ObjectInfo {
        ObjectInfo {
            etag: self.etag.clone(),
            size: self.bytes.len() as u64,
            age: Duration::from_secs(now.as_secs() - self.written.as_secs()),
            attributes: self.attributes.clone(),
        }
    }
}

impl<L> fmt::Debug for MemoryStore<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

impl MemoryStore {
    /// Puts a layer between the steps and this bucket.
    pub fn behind<L: Layer>(self, layer: L) -> MemoryStore<L> {
        MemoryStore { state: self.state, hook: self.hook, layer }
    }

    /// Calls `hook` before each request of the steps. It may change the bucket or fail the request,
    /// and does not see its own requests.
    pub fn before_requests(
        &self,
        hook: impl FnMut(&Self, Request<'_>) -> Result<(), StoreError> + Send + 'static,
    ) {
        *lock(&self.hook) = Some(Box::new(hook));
    }

    /// Returns another bucket with the same objects and the same time.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let state = lock(&self.state).clone();
        Self { state: Arc::new(Mutex::new(state)), ..Self::default() }
    }
}

impl<L> MemoryStore<L> {
    /// Returns the layer between the steps and this bucket.
    pub fn layer(&self) -> &L {
        &self.layer
    }

    /// Stores an object, as an uploader does.
    pub fn upload(&self, key: &str, bytes: impl Into<Bytes>) {
        self.insert(key, bytes.into(), Attributes::new());
    }

    /// Deletes an object, as an uploader does.
    pub fn remove(&self, key: &str) {
        lock(&self.state).objects.remove(key);
    }

    /// Restores an object from a [duplicate](Self::duplicate), including its time, as deleting the
    /// latest version does in a versioned bucket.
    pub fn restore(&self, key: &str, before: &Self) {
        let stored = lock(&before.state).objects.get(key).cloned();
        lock(&self.state).objects.extend(stored.map(|stored| (key.to_owned(), stored)));
    }

    /// Writes the content and attributes of an object in a [duplicate](Self::duplicate), as `aws s3
    /// cp` does within S3.
    pub fn copy_back(&self, key: &str, before: &Self) {
        let stored = lock(&before.state).objects.get(key).cloned();
        if let Some(Stored { bytes, attributes, .. }) = stored {
            self.insert(key, bytes, attributes);
        }
    }

    /// Returns the content of an object.
    pub fn content(&self, key: &str) -> Option<Bytes> {
        lock(&self.state).objects.get(key).map(|stored| stored.bytes.clone())
    }

    /// Returns all keys.
    pub fn keys(&self) -> Vec<String> {
        lock(&self.state).objects.keys().cloned().collect()
    }

    /// Returns all keys, and when each object was written. Unlike those of `Last-Modified`, no two
    /// times are equal.
    pub fn written(&self) -> BTreeMap<String, Duration> {
        let state = lock(&self.state);
        let objects = state.objects.iter();
        objects.map(|(key, stored)| (key.clone(), stored.written)).collect()
    }

    /// Advances the clock by `time`. Each write advances it by a tenth of a second.
    pub fn pass(&self, time: Duration) {
        lock(&self.state).clock += time;
    }

    /// Returns how many requests the steps have made.
    pub fn requests(&self) -> usize {
        lock(&self.state).requests
    }

    fn insert(&self, key: &str, bytes: Bytes, attributes: Attributes) -> ETag {
        let mut state = lock(&self.state);
        state.clock += Duration::from_millis(100);
        let etag = ETag(format!("\"{}\"", hex::encode(Sha256::digest(&bytes))));
        let stored = Stored { bytes, etag: etag.clone(), attributes, written: state.clock };
        state.objects.insert(key.to_owned(), stored);
        etag
    }

    fn info(&self, key: &str) -> Option<ObjectInfo> {
        let state = lock(&self.state);
        state.objects.get(key).map(|stored| stored.info(state.clock))
    }
}

impl<L: Layer> MemoryStore<L> {
    /// Passes a request to the layer, counts it, and passes it to the hook.
    async fn begin(&self, request: Request<'_>) -> Result<(), StoreError> {
        let (state, hook) = (Arc::clone(&self.state), Arc::clone(&self.hook));
        let bucket = MemoryStore { state, hook, layer: () };
        self.layer.before(&bucket, request).await;
        lock(&self.state).requests += 1;
        let hook = lock(&self.hook).take();
        let Some(mut hook) = hook else { return Ok(()) };
        let outcome = hook(&bucket, request);
        lock(&self.hook).get_or_insert(hook);
        outcome
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The content of an object.
pub enum MemoryBody {
    /// All of it, until it is read.
    Whole(Option<Bytes>),
    /// Chunk by chunk.
    Chunks(Box<dyn Iterator<Item = Bytes> + Send>),
}

impl fmt::Debug for MemoryBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBody").finish_non_exhaustive()
    }
}

impl ObjectBody for MemoryBody {
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        Ok(match self {
            Self::Whole(content) => content.take(),
            Self::Chunks(chunks) => chunks.next(),
        })
    }
}

impl<L: Layer> ObjectStore for MemoryStore<L> {
    type Body = MemoryBody;

    fn now(&self) -> i64 {
        lock(&self.state).clock.as_secs().cast_signed()
    }

    async fn wait_a_second(&self) {
        self.pass(Duration::from_secs(1));
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, StoreError> {
        self.begin(Request::Head(key)).await?;
        Ok(self.info(key))
    }

    async fn get(&self, key: &str) -> Result<Option<Object<MemoryBody>>, StoreError> {
        self.begin(Request::Get(key)).await?;
        let state = lock(&self.state);
        let found = state.objects.get(key);
        Ok(found.map(|stored| self.layer.read(key, stored.info(state.clock), stored.bytes.clone())))
    }

    async fn put(
        &self,
        key: &str,
        object: NewObject,
        precondition: Precondition,
    ) -> Result<ETag, StoreError> {
        self.begin(Request::Put(key)).await?;
        let present = self.info(key).map(|info| info.etag);
        let holds = match precondition {
            Precondition::None => true,
            Precondition::Absent => present.is_none(),
            Precondition::Unchanged(etag) => present == Some(etag),
        };
        if !holds {
            return Err(StoreError::Conflict { key: key.to_owned() });
        }
        Ok(self.insert(key, object.bytes.into(), object.attributes))
    }

    async fn delete(&self, key: &str, seen: &ETag) -> Result<(), StoreError> {
        self.begin(Request::Delete(key)).await?;
        match self.info(key) {
            Some(present) if present.etag != *seen => {
                Err(StoreError::Conflict { key: key.to_owned() })
            }
            _ => {
                self.remove(key);
                Ok(())
            }
        }
    }

    async fn copy(
        &self,
        source: &str,
        seen: &ETag,
        target: &str,
        attributes: Attributes,
    ) -> Result<(), StoreError> {
        self.begin(Request::Copy(target)).await?;
        match self.info(source).zip(self.content(source)) {
            Some((info, bytes)) if info.etag == *seen => {
                self.insert(target, bytes, attributes);
                Ok(())
            }
            _ => Err(StoreError::Conflict { key: source.to_owned() }),
        }
    }

    async fn directory(&self, prefix: &str, sought: Sought) -> Result<Directory, StoreError> {
        self.begin(Request::Directory(prefix)).await?;
        let keys = self.keys();
        let rests = || keys.iter().filter_map(|key| key.strip_prefix(prefix));
        let below = rests().filter_map(|rest| {
            let (directory, _) = rest.split_once('/')?;
            Some(format!("{prefix}{directory}/"))
        });
        let below = below.collect::<BTreeSet<_>>().into_iter().collect();
        let holds_what_was_sought = rests().any(|rest| !rest.contains('/') && (sought.file)(rest));
        Ok(Directory { below, holds_what_was_sought })
    }

    async fn list(
        &self,
        prefix: &str,
        split_points: &[String],
    ) -> Result<Vec<ListedObject>, StoreError> {
        self.begin(Request::List { prefix, split_points }).await?;
        let state = lock(&self.state);
        let listed = state
            .objects
            .iter()
            .filter(|(key, _)| key.strip_prefix(prefix).is_some_and(|rest| !rest.contains('/')));
        Ok(listed
            .map(|(key, stored)| {
                let ObjectInfo { etag, size, .. } = stored.info(state.clock);
                let last_modified = stored.written.as_secs().cast_signed();
                ListedObject { key: key.clone(), etag, size, last_modified }
            })
            .collect())
    }
}

//! A bucket that hands out its objects chunk by chunk, and counts what is taken of one of them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use alpinist_repository::{
    memory::MemoryStore,
    port::{
        Attributes, Directory, ETag, Listed, NewObject, Object, ObjectBody, ObjectInfo,
        ObjectStore, Precondition, Sought, StoreError, read,
    },
};
use bytes::Bytes;

use crate::stream::{PIECE, Stream};

/// The bucket.
pub(crate) struct Chunks {
    pub(crate) bucket: MemoryStore,
    /// The key of the object that is counted.
    key: String,
    /// What it has, unless that is in the bucket.
    stream: Option<Stream>,
    taken: Arc<AtomicU64>,
}

impl Chunks {
    /// Puts an object into a bucket.
    pub(crate) fn with_object(bucket: MemoryStore, key: &str, bytes: Vec<u8>) -> Self {
        bucket.upload(key, bytes);
        Self { bucket, key: key.to_owned(), stream: None, taken: Arc::default() }
    }

    /// Puts a stream into a bucket, where its name takes its place.
    pub(crate) fn with_stream(bucket: MemoryStore, key: &str, stream: Stream) -> Self {
        bucket.upload(key, stream.name);
        Self { bucket, key: key.to_owned(), stream: Some(stream), taken: Arc::default() }
    }

    /// Returns how many bytes of the object were taken.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

/// The content of an object.
pub(crate) struct Body {
    chunks: Box<dyn Iterator<Item = Bytes> + Send>,
    taken: Arc<AtomicU64>,
}

impl ObjectBody for Body {
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let chunk = self.chunks.next();
        let length = chunk.as_ref().map_or(0, Bytes::len) as u64;
        self.taken.fetch_add(length, Ordering::Relaxed);
        Ok(chunk)
    }
}

impl ObjectStore for Chunks {
    type Body = Body;

    fn now(&self) -> i64 {
        self.bucket.now()
    }

    async fn wait_a_second(&self) {
        self.bucket.wait_a_second().await;
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, StoreError> {
        self.bucket.head(key).await
    }

    async fn get(&self, key: &str) -> Result<Option<Object<Body>>, StoreError> {
        let object = read(&self.bucket, key, u64::MAX).await?;
        Ok(object.map(|Object { mut info, body }| {
            let is_counted = key == self.key;
            let chunks: Box<dyn Iterator<Item = Bytes> + Send> = match &self.stream {
                Some(stream) if is_counted => {
                    info.size = stream.length;
                    Box::new(stream.chunks())
                }
                _ => {
                    let mut rest = Bytes::from(body);
                    Box::new(std::iter::from_fn(move || {
                        let chunk = rest.split_to(rest.len().min(PIECE));
                        (!chunk.is_empty()).then_some(chunk)
                    }))
                }
            };
            let taken = if is_counted { Arc::clone(&self.taken) } else { Arc::default() };
            Object { info, body: Body { chunks, taken } }
        }))
    }

    async fn put(
        &self,
        key: &str,
        object: NewObject,
        precondition: Precondition,
    ) -> Result<ETag, StoreError> {
        self.bucket.put(key, object, precondition).await
    }

    async fn delete(&self, key: &str, seen: &ETag) -> Result<(), StoreError> {
        self.bucket.delete(key, seen).await
    }

    async fn copy(
        &self,
        source: &str,
        seen: &ETag,
        target: &str,
        attributes: Attributes,
    ) -> Result<(), StoreError> {
        self.bucket.copy(source, seen, target, attributes).await
    }

    async fn directory(&self, prefix: &str, sought: Sought) -> Result<Directory, StoreError> {
        self.bucket.directory(prefix, sought).await
    }

    async fn list(&self, prefix: &str, split_points: &[String]) -> Result<Vec<Listed>, StoreError> {
        self.bucket.list(prefix, split_points).await
    }
}

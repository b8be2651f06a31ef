//! A bucket that hands out its objects chunk by chunk, and counts how much of one is taken.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use alpinist_repository::{
    memory::{Layer, MemoryBody, MemoryStore},
    port::{Object, ObjectInfo},
};
use bytes::Bytes;

use crate::stream::{PIECE, Stream};

/// The layer that hands out the chunks.
pub(crate) struct Chunks {
    /// The key of the object that is counted.
    key: String,
    /// Its content, unless that is in the bucket.
    stream: Option<Stream>,
    taken: Arc<AtomicU64>,
}

impl Chunks {
    /// Puts an object into a bucket.
    pub(crate) fn with_object(bucket: MemoryStore, key: &str, bytes: Vec<u8>) -> MemoryStore<Self> {
        bucket.upload(key, bytes);
        bucket.behind(Self { key: key.to_owned(), stream: None, taken: Arc::default() })
    }

    /// Puts a stream into a bucket, where its name stands in for it.
    pub(crate) fn with_stream(bucket: MemoryStore, key: &str, stream: Stream) -> MemoryStore<Self> {
        bucket.upload(key, stream.name);
        bucket.behind(Self { key: key.to_owned(), stream: Some(stream), taken: Arc::default() })
    }

    /// Returns how many bytes of the object were taken.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Layer for Chunks {
    fn read(&self, key: &str, mut info: ObjectInfo, content: Bytes) -> Object<MemoryBody> {
        let is_counted = key == self.key;
        let chunks: Box<dyn Iterator<Item = Bytes> + Send> = match &self.stream {
            Some(stream) if is_counted => {
                info.size = stream.length;
                Box::new(stream.chunks())
            }
            _ => Box::new(pieces(content)),
        };
        let taken = if is_counted { Arc::clone(&self.taken) } else { Arc::default() };
        let counted = chunks.inspect(move |chunk| {
            taken.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        });
        Object { info, body: MemoryBody::Chunks(Box::new(counted)) }
    }
}

fn pieces(mut rest: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let chunk = rest.split_to(rest.len().min(PIECE));
        (!chunk.is_empty()).then_some(chunk)
    })
}

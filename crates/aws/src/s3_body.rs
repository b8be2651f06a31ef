//! The content of an object in S3.

use alpinist_apk::text::chain;
use alpinist_repository::port::{ETag, ObjectBody, StoreError};
use aws_sdk_s3::{
    Client,
    error::ProvideErrorMetadata as _,
    primitives::{ByteStream, ByteStreamError},
};
use bytes::Bytes;
use tracing::warn;

use crate::error::{is_conflict, store_error};

/// How many connections in a row may break without having delivered a byte. The SDK retries
/// requests; this is for those that S3 has responded to.
const MAX_BREAKS: u32 = 5;

/// The content of an object in S3. If a connection breaks, the next one resumes where it broke,
/// provided that the object is still the same: a package of gigabytes need not arrive over one
/// connection.
#[derive(Debug)]
pub struct S3Body {
    source: Source,
    stream: ByteStream,
    /// How many bytes have arrived.
    read: u64,
    /// How many connections have broken since the last byte.
    breaks: u32,
}

/// The object whose content is read.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) client: Client,
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) etag: ETag,
    pub(crate) size: u64,
}

impl S3Body {
    /// Makes a body of the first response, whose `stream` must be that of the whole object.
    pub(crate) fn new(source: Source, stream: ByteStream) -> Self {
        Self { source, stream, read: 0, breaks: 0 }
    }

    async fn resume(&mut self, error: ByteStreamError) -> Result<(), StoreError> {
        let Source { client, bucket, key, etag, size } = &self.source;
        self.breaks += 1;
        // After the last byte, only the checksum can have been wrong.
        if self.breaks > MAX_BREAKS || self.read >= *size {
            let source = chain(&error).into();
            return Err(StoreError::Unavailable { key: key.clone(), source });
        }
        warn!(key, read = self.read, size, error = chain(&error), "connection broke");
        let rest = format!("bytes={}-", self.read);
        let request = client.get_object().bucket(bucket).key(key).range(rest).if_match(&etag.0);
        let answer = request.send().await.map_err(|error| match error.code() {
            Some("NoSuchKey") => StoreError::Conflict { key: key.clone() },
            code if is_conflict(code) => StoreError::Conflict { key: key.clone() },
            _ => store_error(key, &error),
        })?;
        self.stream = answer.body;
        Ok(())
    }
}

impl ObjectBody for S3Body {
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        loop {
            match self.stream.next().await {
                Some(Ok(chunk)) => {
                    if !chunk.is_empty() {
                        self.read += chunk.len() as u64;
                        self.breaks = 0;
                    }
                    return Ok(Some(chunk));
                }
                Some(Err(error)) => self.resume(error).await?,
                None => return Ok(None),
            }
        }
    }
}

//! Uploads of files of any size.

use std::{
    io::{self, SeekFrom},
    path::Path,
};

use alpinist_repository::port::{ETag, Precondition, StoreError};
use aws_sdk_s3::{
    operation::create_multipart_upload::CreateMultipartUploadOutput,
    types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart},
};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::{
    fs::{self, File},
    io::{AsyncReadExt as _, AsyncSeekExt as _},
};

use crate::{
    https::{SLOW_ANSWER, patient},
    s3::{Conditions, PACKAGE, S3Store, etag},
};

/// The size of a part of an upload in bytes. An upload of 5 GiB, the most that a package may have,
/// has 640 of them; S3 accepts 10,000.
const PART: u64 = 8 * 1024 * 1024;

/// How many parts of a file are uploaded in parallel.
const PARALLEL_PARTS: usize = 4;

/// Why a file was not uploaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UploadError {
    /// The file can't be read.
    #[error("the file can't be read")]
    File(#[from] io::Error),
    /// S3 reported an error, or could not be reached.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl S3Store {
    /// Uploads the `size` bytes of a file if `precondition` holds: in one request, or in parts if
    /// it is larger than one part. S3 checks the CRC-32 of what arrives, and the precondition after
    /// the last byte. Calls `sent` after each request with the number of bytes that it carried.
    ///
    /// # Errors
    ///
    /// [`UploadError`], with [`StoreError::Conflict`] if the precondition does not hold. Parts that
    /// were already uploaded are discarded.
    pub async fn upload(
        &self,
        key: &str,
        (file, size): (&Path, u64),
        precondition: Precondition,
        sent: impl Fn(u64),
    ) -> Result<ETag, UploadError> {
        let conditions = Conditions::from(precondition);
        if size <= PART {
            let written = self
                .client
                .put_object()
                .bucket(&self.bucket)
                .key(key)
                .content_type(PACKAGE)
                .cache_control(self.cache_control_of_packages())
                .checksum_algorithm(ChecksumAlgorithm::Crc32)
                .set_if_none_match(conditions.if_none_match)
                .set_if_match(conditions.if_match)
                .body(fs::read(file).await?.into())
                .customize()
                .config_override(patient(SLOW_ANSWER))
                .send()
                .await
                .map_err(|error| self.write_error(key, &error))?;
            sent(size);
            return Ok(etag(key, written.e_tag)?);
        }
        let upload = self.begin(key).await?;
        let id = upload.upload_id().unwrap_or_default();
        let done = match self.upload_parts(key, id, (file, size), sent).await {
            Ok(parts) => self.complete(key, id, parts, conditions).await.map_err(UploadError::from),
            Err(error) => Err(error),
        };
        if done.is_err() {
            let abort = self.client.abort_multipart_upload().bucket(&self.bucket);
            // The earlier error is the one to report.
            let _ = abort.key(key).upload_id(id).send().await;
        }
        done
    }

    async fn begin(&self, key: &str) -> Result<CreateMultipartUploadOutput, StoreError> {
        self.client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .content_type(PACKAGE)
            .cache_control(self.cache_control_of_packages())
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .send()
            .await
            .map_err(|error| self.error(key, &error))
    }

    async fn upload_parts(
        &self,
        key: &str,
        upload: &str,
        (file, size): (&Path, u64),
        sent: impl Fn(u64),
    ) -> Result<Vec<CompletedPart>, UploadError> {
        let sent = &sent;
        let parts = (0..size.div_ceil(PART)).map(async |index| {
            let bytes = read_part(file, index * PART).await?;
            let length = bytes.len() as u64;
            let part = self.upload_part(key, upload, index, bytes).await?;
            sent(length);
            Ok(part)
        });
        stream::iter(parts).buffered(PARALLEL_PARTS).try_collect().await
    }

    async fn upload_part(
        &self,
        key: &str,
        upload: &str,
        index: u64,
        bytes: Bytes,
    ) -> Result<CompletedPart, StoreError> {
        let number = i32::try_from(index + 1).unwrap_or(i32::MAX);
        let request = self.client.upload_part().bucket(&self.bucket).key(key).upload_id(upload);
        let request = request.part_number(number).checksum_algorithm(ChecksumAlgorithm::Crc32);
        let request = request.body(bytes.into()).customize();
        let part = request.config_override(patient(SLOW_ANSWER)).send().await;
        let part = part.map_err(|error| self.error(key, &error))?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(part.e_tag)
            .set_checksum_crc32(part.checksum_crc32)
            .build())
    }

    async fn complete(
        &self,
        key: &str,
        upload: &str,
        parts: Vec<CompletedPart>,
        conditions: Conditions,
    ) -> Result<ETag, StoreError> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .set_if_none_match(conditions.if_none_match)
            .set_if_match(conditions.if_match);
        let request = request.upload_id(upload).multipart_upload(parts).customize();
        let done = request.config_override(patient(SLOW_ANSWER)).send().await;
        let done = done.map_err(|error| self.write_error(key, &error))?;
        etag(key, done.e_tag)
    }
}

async fn read_part(file: &Path, begin: u64) -> io::Result<Bytes> {
    let mut file = File::open(file).await?;
    file.seek(SeekFrom::Start(begin)).await?;
    let mut bytes = Vec::new();
    file.take(PART).read_to_end(&mut bytes).await?;
    Ok(bytes.into())
}

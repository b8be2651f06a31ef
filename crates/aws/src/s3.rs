//! A bucket in S3.

use std::{
    iter,
    sync::{Arc, OnceLock},
    time::Duration,
};

use alpinist_repository::{
    port::{
        Attributes, Directory, ETag, ListedObject, NewObject, Object, ObjectInfo, ObjectStore,
        Precondition, Sought, StoreError,
    },
    replacing::Replacing,
};
use aws_sdk_s3::{
    Client,
    config::{
        ConfigBag, Intercept, RuntimeComponents, http::HttpResponse,
        interceptors::BeforeDeserializationInterceptorContextRef,
    },
    error::{BoxError, ProvideErrorMetadata, SdkError},
    operation::{get_object::GetObjectError, head_object::HeadObjectError},
    primitives::{DateTime, DateTimeFormat as Format},
    types::{EncodingType, MetadataDirective, TaggingDirective},
};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::{
    error::{is_conflict, status, store_error},
    https::{COPIED, patient},
    s3_body::{S3Body, Source},
};

/// The characters that are percent-encoded in the name of an object that is copied.
const KEY_IN_HEADER: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The `Cache-Control` of each object that is written: caches may store it, but must revalidate it
/// each time, so that an index is never served with an older package.
const CACHE_CONTROL: &str = "no-cache";

/// The `Cache-Control` of packages where none is ever replaced: caches keep them for a year without
/// asking (RFC 8246).
const CACHE_CONTROL_OF_IMMUTABLE: &str = "max-age=31536000, immutable";

/// The media type of packages.
pub(crate) const PACKAGE: &str = "application/vnd.alpine.apk";

/// The tag that tells derived objects from packages: a bucket's lifecycle rules can't match the end
/// of a key.
const DERIVED: &str = "alpinist=derived";

/// How many ranges of a listing are requested in parallel.
const PARALLEL_LISTINGS: usize = 32;

/// A bucket in S3.
#[derive(Clone, Debug)]
pub struct S3Store {
    pub(crate) client: Client,
    pub(crate) bucket: String,
    replacing: Replacing,
}

/// Whether an object has changed since it was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Newer {
    /// It has not changed.
    Same,
    /// There is no such object.
    Nothing,
    /// It is new or has changed.
    Object {
        /// Its ETag.
        etag: ETag,
        /// Its content.
        bytes: Vec<u8>,
    },
}

/// The headers of a conditional write.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    pub(crate) if_none_match: Option<String>,
    pub(crate) if_match: Option<String>,
}

/// The attributes and tags of a copy, which replace those of its source.
struct Replacement {
    attributes: Attributes,
    tags: Option<&'static str>,
}

impl From<Precondition> for Conditions {
    fn from(precondition: Precondition) -> Self {
        match precondition {
            Precondition::None => Self::default(),
            Precondition::Absent => Self { if_none_match: Some("*".to_owned()), ..Self::default() },
            Precondition::Unchanged(etag) => Self { if_match: Some(etag.0), ..Self::default() },
        }
    }
}

impl S3Store {
    /// Makes a store of `bucket`.
    pub fn new(client: Client, bucket: impl Into<String>) -> Self {
        Self { client, bucket: bucket.into(), replacing: Replacing::Allowed }
    }

    /// Sets whether packages may be replaced: if not, those that are written or copied from now on
    /// tell caches that they never change.
    #[must_use]
    pub fn with_replacing(self, replacing: Replacing) -> Self {
        Self { replacing, ..self }
    }

    /// Returns the `Cache-Control` of packages.
    pub(crate) fn cache_control_of_packages(&self) -> &'static str {
        match self.replacing {
            Replacing::Allowed => CACHE_CONTROL,
            Replacing::Refused => CACHE_CONTROL_OF_IMMUTABLE,
        }
    }

    /// Reads an object with one request, unless it still has the ETag `seen`.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooLarge`], if it has more than `max` bytes; any other error that S3 reports.
    pub async fn newer(
        &self,
        key: &str,
        seen: Option<&ETag>,
        max: u64,
    ) -> Result<Newer, StoreError> {
        let request = self.client.get_object().bucket(&self.bucket).key(key);
        let found = match request.set_if_none_match(seen.map(|etag| etag.0.clone())).send().await {
            Ok(found) => found,
            Err(error) if status(&error) == Some(304) => return Ok(Newer::Same),
            Err(error) if error.as_service_error().is_some_and(GetObjectError::is_no_such_key) => {
                return Ok(Newer::Nothing);
            }
            Err(error) => return Err(self.error(key, &error)),
        };
        let size = size(found.content_length);
        if size > max {
            return Err(StoreError::TooLarge { key: key.to_owned(), size, max });
        }
        let etag = etag(key, found.e_tag)?;
        let bytes = found.body.collect().await.map_err(|error| StoreError::Unavailable {
            key: key.to_owned(),
            source: Box::new(error),
        })?;
        Ok(Newer::Object { etag, bytes: bytes.to_vec() })
    }

    /// Copies a package as [`ObjectStore::copy`] does, but without attributes and tags, if
    /// `precondition` holds for the target. Returns the ETag of the copy.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`], if the source has changed or the precondition does not hold; any
    /// other error that S3 reports.
    pub async fn copy_package(
        &self,
        source: &str,
        seen: &ETag,
        target: &str,
        precondition: Precondition,
    ) -> Result<ETag, StoreError> {
        let replacement = Replacement { attributes: Attributes::new(), tags: None };
        self.copy_if(source, seen, target, (replacement, precondition)).await
    }

    async fn copy_if(
        &self,
        source: &str,
        seen: &ETag,
        target: &str,
        (replacement, precondition): (Replacement, Precondition),
    ) -> Result<ETag, StoreError> {
        let Replacement { attributes, tags } = replacement;
        let encoded = utf8_percent_encode(source, KEY_IN_HEADER);
        let conditions = Conditions::from(precondition);
        let request = self
            .client
            .copy_object()
            .copy_source(format!("{}/{encoded}", self.bucket))
            .copy_source_if_match(&seen.0)
            .bucket(&self.bucket)
            .key(target)
            .set_if_none_match(conditions.if_none_match)
            .set_if_match(conditions.if_match)
            .metadata_directive(MetadataDirective::Replace)
            .content_type(PACKAGE)
            .cache_control(self.cache_control_of_packages())
            .set_metadata(Some(attributes.into_iter().collect()))
            // Copying tags would take permissions that nothing else needs.
            .tagging_directive(TaggingDirective::Replace)
            .set_tagging(tags.map(str::to_owned))
            .customize()
            .config_override(patient(COPIED));
        match request.send().await {
            Ok(copied) => etag(target, copied.copy_object_result.and_then(|result| result.e_tag)),
            Err(error) if is_conflict(error.code()) || error.code() == Some("NoSuchKey") => {
                Err(StoreError::Conflict { key: source.to_owned() })
            }
            Err(error) => Err(self.error(target, &error)),
        }
    }

    /// Converts an error of the SDK to one of the port. Only S3 reports missing buckets.
    pub(crate) fn error<E>(&self, key: &str, error: &SdkError<E, HttpResponse>) -> StoreError
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        if error.code() == Some("NoSuchBucket") {
            return StoreError::NoBucket { bucket: self.bucket.clone() };
        }
        store_error(key, error)
    }

    /// Converts an error of a conditional write to one of the port. S3 responds with `NoSuchKey` to
    /// an `If-Match` on an object that is gone.
    pub(crate) fn write_error<E>(&self, key: &str, error: &SdkError<E, HttpResponse>) -> StoreError
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        if is_conflict(error.code()) || error.code() == Some("NoSuchKey") {
            return StoreError::Conflict { key: key.to_owned() };
        }
        self.error(key, error)
    }
}

impl ObjectStore for S3Store {
    type Body = S3Body;

    fn now(&self) -> i64 {
        Timestamp::now().as_second()
    }

    async fn wait_a_second(&self) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, StoreError> {
        let request = self.client.head_object().bucket(&self.bucket).key(key);
        let clock = StoreClock::default();
        let found = match request.customize().interceptor(clock.clone()).send().await {
            Ok(found) => found,
            Err(error) if error.as_service_error().is_some_and(HeadObjectError::is_not_found) => {
                return Ok(None);
            }
            Err(error) => return Err(self.error(key, &error)),
        };
        Ok(Some(ObjectInfo {
            etag: etag(key, found.e_tag)?,
            size: size(found.content_length),
            age: clock.since(found.last_modified),
            attributes: found.metadata.unwrap_or_default().into_iter().collect(),
        }))
    }

    async fn get(&self, key: &str) -> Result<Option<Object<S3Body>>, StoreError> {
        let request = self.client.get_object().bucket(&self.bucket).key(key);
        let clock = StoreClock::default();
        let found = match request.customize().interceptor(clock.clone()).send().await {
            Ok(found) => found,
            Err(error) if error.as_service_error().is_some_and(GetObjectError::is_no_such_key) => {
                return Ok(None);
            }
            Err(error) => return Err(self.error(key, &error)),
        };
        let info = ObjectInfo {
            etag: etag(key, found.e_tag)?,
            size: size(found.content_length),
            age: clock.since(found.last_modified),
            attributes: found.metadata.unwrap_or_default().into_iter().collect(),
        };
        let source = Source {
            client: self.client.clone(),
            bucket: self.bucket.clone(),
            key: key.to_owned(),
            etag: info.etag.clone(),
            size: info.size,
        };
        Ok(Some(Object { info, body: S3Body::new(source, found.body) }))
    }

    async fn put(
        &self,
        key: &str,
        object: NewObject,
        precondition: Precondition,
    ) -> Result<ETag, StoreError> {
        let conditions = Conditions::from(precondition);
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_type(object.content_type)
            .cache_control(CACHE_CONTROL)
            .set_metadata(Some(object.attributes.into_iter().collect()))
            .tagging(DERIVED)
            .set_if_none_match(conditions.if_none_match)
            .set_if_match(conditions.if_match)
            .body(object.bytes.into());
        let written = request.send().await.map_err(|error| self.write_error(key, &error))?;
        etag(key, written.e_tag)
    }

    async fn delete(&self, key: &str, seen: &ETag) -> Result<(), StoreError> {
        let request = self.client.delete_object().bucket(&self.bucket).key(key).if_match(&seen.0);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("NoSuchKey") => Ok(()),
            Err(error) if is_conflict(error.code()) => {
                Err(StoreError::Conflict { key: key.to_owned() })
            }
            Err(error) => Err(self.error(key, &error)),
        }
    }

    async fn copy(
        &self,
        source: &str,
        seen: &ETag,
        target: &str,
        attributes: Attributes,
    ) -> Result<(), StoreError> {
        let replacement = Replacement { attributes, tags: Some(DERIVED) };
        self.copy_if(source, seen, target, (replacement, Precondition::None)).await?;
        Ok(())
    }

    async fn directory(&self, prefix: &str, sought: Sought) -> Result<Directory, StoreError> {
        let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix);
        let request = request.delimiter("/").encoding_type(EncodingType::Url);
        let mut pages = request.into_paginator().send();
        let mut directory = Directory::default();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.error(prefix, &error))?;
            let below = page.common_prefixes.unwrap_or_default().into_iter();
            directory.below.extend(below.filter_map(|found| Some(decode(&found.prefix?))));
            let mut objects = page.contents.unwrap_or_default().into_iter();
            directory.holds_what_was_sought |= objects.any(|object| {
                let key = decode(&object.key.unwrap_or_default());
                key.strip_prefix(prefix).is_some_and(sought.file)
            });
            if directory.holds_what_was_sought && sought.ends_listing {
                break;
            }
        }
        Ok(directory)
    }

    async fn list(
        &self,
        prefix: &str,
        split_points: &[String],
    ) -> Result<Vec<ListedObject>, StoreError> {
        let begins = iter::once(None).chain(split_points.iter().cloned().map(Some));
        let ends = split_points.iter().cloned().map(Some).chain([None]);
        let ranges =
            begins.zip(ends).map(|(begin, end)| self.list_range(prefix, begin, end).boxed());
        let ranges = stream::iter(ranges).buffer_unordered(PARALLEL_LISTINGS);
        let listed: Vec<_> = ranges.try_collect().await?;
        Ok(listed.into_iter().flatten().collect())
    }
}

impl S3Store {
    /// Lists the objects from after the key `begin` up to and including `end`. No page is requested
    /// beyond `end`.
    async fn list_range(
        &self,
        prefix: &str,
        begin: Option<String>,
        end: Option<String>,
    ) -> Result<Vec<ListedObject>, StoreError> {
        let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix);
        // Not every key is valid in XML, and one that isn't would make the response unreadable.
        let request = request.delimiter("/").encoding_type(EncodingType::Url);
        let mut pages = request.set_start_after(begin).into_paginator().send();
        let mut listed = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.error(prefix, &error))?;
            for object in page.contents.unwrap_or_default() {
                let key = decode(&object.key.unwrap_or_default());
                if end.as_ref().is_some_and(|end| key > *end) {
                    return Ok(listed);
                }
                listed.push(ListedObject {
                    etag: etag(&key, object.e_tag)?,
                    size: size(object.size),
                    last_modified: object.last_modified.map_or(0, |time| time.secs()),
                    key,
                });
            }
            if end.is_some() && end.as_ref() == listed.last().map(|last| &last.key) {
                break;
            }
        }
        Ok(listed)
    }
}

/// Takes the time from a response of the store.
#[derive(Clone, Debug, Default)]
struct StoreClock(Arc<OnceLock<DateTime>>);

impl StoreClock {
    /// Returns how long before the response `time` was; zero if either is unknown.
    fn since(&self, time: Option<DateTime>) -> Duration {
        let seconds = self.0.get().zip(time).map_or(0, |(now, time)| now.secs() - time.secs());
        Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
    }
}

impl Intercept for StoreClock {
    fn name(&self) -> &'static str {
        "StoreClock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        if let Some(now) = date.and_then(|date| DateTime::from_str(date, Format::HttpDate).ok()) {
            self.0.get_or_init(|| now);
        }
        Ok(())
    }
}

/// Decodes a key of a listing, where `+` is a space.
fn decode(key: &str) -> String {
    let key = key.replace('+', " ");
    percent_decode_str(&key).decode_utf8_lossy().into_owned()
}

pub(crate) fn etag(key: &str, etag: Option<String>) -> Result<ETag, StoreError> {
    etag.map(ETag).ok_or_else(|| StoreError::Unavailable {
        key: key.to_owned(),
        source: "the answer has no ETag".into(),
    })
}

fn size(size: Option<i64>) -> u64 {
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default()
}

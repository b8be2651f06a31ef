//! The adapter of S3: which requests it makes, and what it makes of the responses.

#![cfg(test)]

use std::io;

use alpinist_aws::{s3::S3Store, upload::UploadError};
use alpinist_repository::port::{
    self, Attributes, ETag, NewObject, Object as Read, ObjectStore as _, Precondition, Sought,
    StoreError,
};
use aws_sdk_s3::{
    Client,
    config::http::HttpResponse,
    operation::{
        abort_multipart_upload::AbortMultipartUploadOutput,
        complete_multipart_upload::{CompleteMultipartUploadInput, CompleteMultipartUploadOutput},
        copy_object::{CopyObjectInput, CopyObjectOutput},
        create_multipart_upload::CreateMultipartUploadOutput,
        delete_object::DeleteObjectOutput,
        get_object::{GetObjectInput, GetObjectOutput},
        head_object::HeadObjectOutput,
        list_objects_v2::ListObjectsV2Output,
        put_object::PutObjectOutput,
        upload_part::UploadPartOutput,
    },
    primitives::{ByteStream, SdkBody},
    types::{CopyObjectResult, EncodingType, Object},
};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use bytes::Bytes;
use futures::stream;
use http_body::Frame;
use http_body_util::StreamBody;

fn store(rules: &[&Rule]) -> S3Store {
    let client = mock_client!(aws_sdk_s3, RuleMode::MatchAny, rules);
    S3Store::new(client, "bucket")
}

/// S3's response with an error code; to a HEAD request it sends no body.
fn answer(status: u16, code: &str) -> HttpResponse {
    let body = if code.is_empty() {
        SdkBody::empty()
    } else {
        SdkBody::from(format!("<Error><Code>{code}</Code><Message>said so</Message></Error>"))
    };
    HttpResponse::new(status.try_into().unwrap(), body)
}

fn object() -> NewObject {
    let attributes = Attributes::from([("package-etag".to_owned(), "\"p\"".to_owned())]);
    NewObject { bytes: b"x".to_vec(), content_type: "text/plain", attributes }
}

async fn put(rule: &Rule, precondition: Precondition) -> Result<ETag, StoreError> {
    store(&[rule]).put("k", object(), precondition).await
}

#[tokio::test]
async fn a_write_carries_its_precondition_and_attributes() {
    let first = mock!(Client::put_object)
        .match_requests(|request| {
            request.if_none_match() == Some("*")
                && request.if_match().is_none()
                && request.metadata().and_then(|all| all.get("package-etag"))
                    == Some(&"\"p\"".to_owned())
        })
        .then_output(|| PutObjectOutput::builder().e_tag("\"1\"").build());
    assert_eq!(put(&first, Precondition::Absent).await.unwrap(), ETag("\"1\"".into()));

    let later = mock!(Client::put_object)
        .match_requests(|request| {
            request.if_match() == Some("\"1\"") && request.if_none_match().is_none()
        })
        .then_output(|| PutObjectOutput::builder().e_tag("\"2\"").build());
    let unchanged = Precondition::Unchanged(ETag("\"1\"".into()));
    assert_eq!(put(&later, unchanged).await.unwrap(), ETag("\"2\"".into()));
}

#[tokio::test]
async fn each_answer_to_a_lost_race_is_a_conflict() {
    for (status, code) in
        [(412, "PreconditionFailed"), (409, "ConditionalRequestConflict"), (404, "NoSuchKey")]
    {
        let rule = mock!(Client::put_object).then_http_response(move || answer(status, code));
        let error = put(&rule, Precondition::Unchanged(ETag("\"1\"".into()))).await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict { .. }), "{code}: {error:?}");
    }
}

#[tokio::test]
async fn denial_and_outage_are_told_apart() {
    let denied = mock!(Client::put_object).then_http_response(|| answer(403, "AccessDenied"));
    let error = put(&denied, Precondition::None).await.unwrap_err();
    assert!(matches!(error, StoreError::Denied { .. }), "{error:?}");

    let outage = mock!(Client::put_object)
        .sequence()
        .http_response(|| answer(503, "SlowDown"))
        .times(3)
        .build();
    let error = put(&outage, Precondition::None).await.unwrap_err();
    let StoreError::Unavailable { source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source.to_string(), "SlowDown: said so");
}

#[tokio::test]
async fn looking_at_an_object_tells_absent_from_forbidden() {
    let absent = mock!(Client::head_object).then_http_response(|| answer(404, ""));
    assert_eq!(store(&[&absent]).head("k").await.unwrap(), None);
    let forbidden = mock!(Client::head_object).then_http_response(|| answer(403, ""));
    let error = store(&[&forbidden]).head("k").await.unwrap_err();
    assert!(matches!(error, StoreError::Denied { .. }), "{error:?}");
    let present = mock!(Client::head_object).then_output(|| {
        HeadObjectOutput::builder().e_tag("\"1\"").content_length(7).metadata("a", "b").build()
    });
    let info = store(&[&present]).head("k").await.unwrap().unwrap();
    assert_eq!((info.size, info.attributes.get("a").map(String::as_str)), (7, Some("b")));

    let absent = mock!(Client::get_object).then_http_response(|| answer(404, "NoSuchKey"));
    assert!(store(&[&absent]).get("k").await.unwrap().is_none());
    let archived =
        mock!(Client::get_object).then_http_response(|| answer(403, "InvalidObjectState"));
    let error = store(&[&archived]).get("k").await.unwrap_err();
    assert!(matches!(error, StoreError::Archived { .. }), "{error:?}");
}

#[tokio::test]
async fn an_object_is_deleted_only_as_it_was_seen() {
    let seen = ETag("\"1\"".into());
    let rule = mock!(Client::delete_object)
        .match_requests(|request| request.if_match() == Some("\"1\""))
        .then_output(|| DeleteObjectOutput::builder().build());
    store(&[&rule]).delete("k", &seen).await.unwrap();
    let gone = mock!(Client::delete_object).then_http_response(|| answer(404, "NoSuchKey"));
    store(&[&gone]).delete("k", &seen).await.unwrap();
    let changed =
        mock!(Client::delete_object).then_http_response(|| answer(412, "PreconditionFailed"));
    let error = store(&[&changed]).delete("k", &seen).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
}

#[tokio::test]
async fn a_listing_has_all_pages_of_one_directory() {
    let page = |key: &str| {
        let object = Object::builder().key(key).e_tag("\"1\"").size(3).build();
        ListObjectsV2Output::builder().contents(object)
    };
    let first = page("p/a%2B%2B+%01").is_truncated(true).next_continuation_token("more").build();
    let last = page("p/b").is_truncated(false).build();
    let first = mock!(Client::list_objects_v2)
        .match_requests(|request| {
            request.continuation_token().is_none()
                && request.prefix() == Some("p/")
                && request.delimiter() == Some("/")
                && request.encoding_type() == Some(&EncodingType::Url)
        })
        .then_output(move || first.clone());
    let last = mock!(Client::list_objects_v2)
        .match_requests(|request| request.continuation_token() == Some("more"))
        .then_output(move || last.clone());
    let listed = store(&[&first, &last]).list("p/", &[]).await.unwrap();
    let keys: Vec<_> = listed.iter().map(|object| object.key.as_str()).collect();
    assert_eq!(keys, ["p/a++ \u{1}", "p/b"]);
}

/// A response whose connection breaks after `begin`.
fn broken(begin: &'static str, size: i64) -> GetObjectOutput {
    let cut = io::Error::from(io::ErrorKind::ConnectionReset);
    let frames = stream::iter([Ok(Frame::data(Bytes::from(begin))), Err(cut)]);
    let body = SdkBody::from_body_1_x(StreamBody::new(frames));
    whole(size, ByteStream::new(body))
}

fn whole(size: i64, body: ByteStream) -> GetObjectOutput {
    GetObjectOutput::builder().e_tag("\"1\"").content_length(size).body(body).build()
}

/// A request for what follows the first bytes of the object.
fn from(begin: &'static str) -> impl Fn(&GetObjectInput) -> bool {
    move |request| request.range() == Some(begin) && request.if_match() == Some("\"1\"")
}

async fn read(rules: &[&Rule]) -> Result<Vec<u8>, StoreError> {
    let object = port::read(&store(rules), "k", 100).await?;
    Ok(object.map(|Read { body, .. }| body).unwrap_or_default())
}

#[tokio::test]
async fn a_content_is_read_on_where_its_connection_broke() {
    let first = mock!(Client::get_object)
        .match_requests(|request| request.range().is_none())
        .then_output(|| broken("0123", 10));
    let second =
        mock!(Client::get_object).match_requests(from("bytes=4-")).then_output(|| broken("456", 6));
    let third = mock!(Client::get_object)
        .match_requests(from("bytes=7-"))
        .then_output(|| whole(3, ByteStream::from_static(b"789")));
    assert_eq!(read(&[&first, &second, &third]).await.unwrap(), b"0123456789");

    for (status, code) in [(412, "PreconditionFailed"), (404, "NoSuchKey")] {
        let replaced = mock!(Client::get_object)
            .match_requests(from("bytes=4-"))
            .then_http_response(move || answer(status, code));
        let error = read(&[&first, &replaced]).await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict { .. }), "{code}: {error:?}");
    }
}

#[tokio::test]
async fn a_connection_that_always_breaks_is_given_up() {
    let first = mock!(Client::get_object)
        .match_requests(|request| request.range().is_none())
        .then_output(|| broken("0123", 10));
    let empty =
        mock!(Client::get_object).match_requests(from("bytes=4-")).then_output(|| broken("", 6));
    let error = read(&[&first, &empty]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert_eq!(empty.num_calls(), 5);

    // All bytes have arrived, but then the connection breaks.
    let wrong = mock!(Client::get_object).then_output(|| broken("0123", 4));
    let error = read(&[&wrong]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_no_denial() {
    let says = |error: StoreError| assert_eq!(error.to_string(), "there is no bucket bucket");
    let missing = || answer(404, "NoSuchBucket");
    let list = mock!(Client::list_objects_v2).then_http_response(missing);
    says(store(&[&list]).list("p/", &[]).await.unwrap_err());
    let list = mock!(Client::list_objects_v2).then_http_response(missing);
    says(
        store(&[&list])
            .directory("", Sought { file: |_| false, ends_listing: true })
            .await
            .unwrap_err(),
    );
    let get = mock!(Client::get_object).then_http_response(missing);
    says(store(&[&get]).get("k").await.unwrap_err());
    let write = mock!(Client::put_object).then_http_response(missing);
    says(put(&write, Precondition::Absent).await.unwrap_err());
    let copy = mock!(Client::copy_object).then_http_response(missing);
    let seen = ETag("\"1\"".into());
    says(store(&[&copy]).copy("k", &seen, "l", Attributes::new()).await.unwrap_err());
    let delete = mock!(Client::delete_object).then_http_response(missing);
    says(store(&[&delete]).delete("k", &seen).await.unwrap_err());
}

/// The preconditions of an upload, and the headers that express them.
fn preconditions() -> [(Precondition, Option<&'static str>, Option<&'static str>); 3] {
    [
        (Precondition::None, None, None),
        (Precondition::Absent, Some("*"), None),
        (Precondition::Unchanged(ETag("\"1\"".into())), None, Some("\"1\"")),
    ]
}

/// Uploads a file of `length` bytes.
async fn upload(
    rules: &[&Rule],
    length: usize,
    precondition: Precondition,
) -> Result<ETag, UploadError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![b'x'; length]).unwrap();
    store(rules).upload("k", (file.path(), length as u64), precondition, |_| ()).await
}

const IN_PARTS: usize = 8 * 1024 * 1024 + 1;

fn begun() -> Rule {
    mock!(Client::create_multipart_upload)
        .then_output(|| CreateMultipartUploadOutput::builder().upload_id("u").build())
}

fn part() -> Rule {
    mock!(Client::upload_part).then_output(|| UploadPartOutput::builder().e_tag("\"p\"").build())
}

#[tokio::test]
async fn an_upload_carries_its_precondition() {
    for (precondition, none_match, r#match) in preconditions() {
        let at_once = mock!(Client::put_object)
            .match_requests(move |request| {
                request.if_none_match() == none_match && request.if_match() == r#match
            })
            .then_output(|| PutObjectOutput::builder().e_tag("\"2\"").build());
        let etag = upload(&[&at_once], 1, precondition.clone()).await.unwrap();
        assert_eq!(etag, ETag("\"2\"".into()));

        let conditions = move |request: &CompleteMultipartUploadInput| {
            request.if_none_match() == none_match && request.if_match() == r#match
        };
        let done = mock!(Client::complete_multipart_upload)
            .match_requests(conditions)
            .then_output(|| CompleteMultipartUploadOutput::builder().e_tag("\"3\"").build());
        let rules = [&begun(), &part(), &done];
        let etag = upload(&rules, IN_PARTS, precondition).await.unwrap();
        assert_eq!(etag, ETag("\"3\"".into()));
    }
}

#[tokio::test]
async fn an_upload_that_lost_a_race_leaves_no_parts() {
    for (status, code) in
        [(412, "PreconditionFailed"), (409, "ConditionalRequestConflict"), (404, "NoSuchKey")]
    {
        let lost = mock!(Client::put_object).then_http_response(move || answer(status, code));
        let error = upload(&[&lost], 1, Precondition::Absent).await.unwrap_err();
        assert!(matches!(error, UploadError::Store(StoreError::Conflict { .. })), "{error:?}");

        let lost = mock!(Client::complete_multipart_upload)
            .then_http_response(move || answer(status, code));
        let abort = mock!(Client::abort_multipart_upload)
            .match_requests(|request| request.upload_id() == Some("u"))
            .then_output(|| AbortMultipartUploadOutput::builder().build());
        let rules = [&begun(), &part(), &lost, &abort];
        let error = upload(&rules, IN_PARTS, Precondition::Absent).await.unwrap_err();
        assert!(matches!(error, UploadError::Store(StoreError::Conflict { .. })), "{error:?}");
        assert_eq!(abort.num_calls(), 1);
    }
}

#[tokio::test]
async fn a_package_is_copied_as_it_was_seen_and_where_nothing_else_is() {
    let seen = ETag("\"s\"".into());
    for (precondition, none_match, r#match) in preconditions() {
        let conditions = move |request: &CopyObjectInput| {
            request.copy_source() == Some("bucket/a/b%2B.apk")
                && request.copy_source_if_match() == Some("\"s\"")
                && request.if_none_match() == none_match
                && request.if_match() == r#match
        };
        let copied = mock!(Client::copy_object).match_requests(conditions).then_output(|| {
            let result = CopyObjectResult::builder().e_tag("\"2\"").build();
            CopyObjectOutput::builder().copy_object_result(result).build()
        });
        let store = store(&[&copied]);
        let etag = store.copy_package("a/b+.apk", &seen, "c/b+.apk", precondition).await.unwrap();
        assert_eq!(etag, ETag("\"2\"".into()));
    }
    let lost = mock!(Client::copy_object).then_http_response(|| answer(412, "PreconditionFailed"));
    let error =
        store(&[&lost]).copy_package("a", &seen, "b", Precondition::Absent).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
}

//! Which requests reached the emulator, and who made them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::Error;

/// How temporary access keys begin. The emulator gives them only to functions.
const FUNCTION_ACCESS_KEY: &str = "ASIA";

/// The record of all requests that an emulator has answered.
#[derive(Clone, Debug)]
pub struct RequestLog {
    path: PathBuf,
}

/// A request that was answered.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Request {
    /// The HTTP method, such as `GET`.
    pub method: String,
    /// The path: for S3, a slash, the bucket, and a slash with the key if there is one.
    pub path: String,
    /// The query string, as it was sent.
    pub query: String,
    /// The status code of the response.
    pub status: u16,
    /// The service that the request was signed for, such as `s3`; empty if it was not signed.
    pub service: String,
    /// The invocation that made it, an opaque text; empty if no function did.
    #[serde(rename = "trace")]
    pub invocation: String,
    /// The access key of the caller; each function has its own.
    pub access_key: String,
    /// The size of the response body in bytes.
    pub length: u64,
    /// When it arrived, since 1970.
    #[serde(deserialize_with = "since_1970")]
    pub began: Duration,
    /// When its response began, since 1970.
    #[serde(deserialize_with = "since_1970")]
    pub ended: Duration,
}

impl RequestLog {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Returns the number of requests so far, for [`RequestLog::since`].
    pub fn mark(&self) -> Result<usize, Error> {
        Ok(self.text()?.lines().count())
    }

    /// Returns the requests after `mark`, in the order of their responses.
    pub fn since(&self, mark: usize) -> Result<Vec<Request>, Error> {
        let text = self.text()?;
        let parse = |line: &str| {
            let reply = |_| Error::Reply { what: "a note of a request", reply: line.to_owned() };
            serde_json::from_str(line).map_err(reply)
        };
        text.lines().skip(mark).map(parse).collect()
    }

    /// Counts the requests that functions made to S3 after `mark`, by operation.
    pub fn s3_operations_since(&self, mark: usize) -> Result<BTreeMap<String, usize>, Error> {
        let mut counts = BTreeMap::new();
        for request in self.since(mark)? {
            if request.by_function() && request.service == "s3" {
                *counts.entry(request.s3_operation()).or_default() += 1;
            }
        }
        Ok(counts)
    }

    fn text(&self) -> Result<String, Error> {
        fs::read_to_string(&self.path).map_err(Error::file("read", &self.path))
    }
}

impl Request {
    /// Returns whether a function made it.
    pub fn by_function(&self) -> bool {
        self.access_key.starts_with(FUNCTION_ACCESS_KEY)
    }

    /// Returns the name of the operation on a bucket or object, such as `GetObject`.
    pub fn s3_operation(&self) -> String {
        let on_object = self.path.trim_matches('/').contains('/');
        match (self.method.as_str(), on_object) {
            ("GET", false) => "ListObjectsV2".to_owned(),
            ("GET", true) => "GetObject".to_owned(),
            ("HEAD", true) => "HeadObject".to_owned(),
            ("PUT", true) => "PutObject".to_owned(),
            ("DELETE", true) => "DeleteObject".to_owned(),
            (method, _) => format!("{method} {}", self.path),
        }
    }
}

fn since_1970<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(D::Error::custom)
}

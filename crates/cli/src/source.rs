//! A package from a file, an object in S3, or a URL.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use alpinist_apk::package::MAX_SIZE;
use alpinist_repository::port::{ObjectBody as _, ObjectStore as _};
use percent_encoding::percent_decode_str;
use reqwest::{Client, StatusCode, Url};
use tempfile::NamedTempFile;

use crate::{context::Access, error::Error, package_file};

/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// A package in a file. If it was downloaded, the file is deleted when this is dropped.
pub(crate) struct Source {
    name: PathBuf,
    copy: Option<NamedTempFile>,
}

impl Source {
    /// Opens a package: a file, or a download from `s3://<bucket>/<key>`, `https://…` or
    /// `http://…`.
    pub(crate) async fn open(name: &Path, access: Access) -> Result<Self, Error> {
        let url = name.to_str().filter(|name| name.contains("://"));
        let url = url.and_then(|name| name.parse::<Url>().ok());
        let object = name.to_str().and_then(|name| name.strip_prefix("s3://"));
        let name = match &url {
            Some(url) => PathBuf::from(file_name(url)),
            None => name.to_owned(),
        };
        let copy = match (object, url) {
            (Some(object), _) => Some(download_object(object, access).await?),
            (None, Some(url)) => Some(download(url).await?),
            (None, None) => None,
        };
        Ok(Self { name, copy })
    }

    /// Returns whether it was a file, rather than a download.
    pub(crate) fn is_file(&self) -> bool {
        self.copy.is_none()
    }

    /// Returns the path of the file.
    pub(crate) fn path(&self) -> &Path {
        self.copy.as_ref().map_or(&*self.name, NamedTempFile::path)
    }

    /// Returns its file name without `.apk`.
    pub(crate) fn stem(&self) -> String {
        package_file::stem(&self.name)
    }
}

/// Returns the last part of a URL's path, decoded.
fn file_name(url: &Url) -> String {
    let name = url.path().rsplit('/').next().unwrap_or_default();
    percent_decode_str(name).decode_utf8_lossy().into_owned()
}

/// A temporary file that is written chunk by chunk.
struct Download {
    name: String,
    file: NamedTempFile,
    length: u64,
}

impl Download {
    fn begin(name: &str) -> Result<Self, Error> {
        let file = NamedTempFile::new().map_err(Error::file("write", "a temporary file"))?;
        Ok(Self { name: name.to_owned(), file, length: 0 })
    }

    fn push(&mut self, chunk: &[u8]) -> Result<(), Error> {
        self.length += chunk.len() as u64;
        if self.length > MAX_SIZE {
            return Err(Error::TooLarge { name: self.name.clone(), max: MAX_SIZE });
        }
        self.file.write_all(chunk).map_err(Error::file("write", "a temporary file"))
    }

    fn finish(mut self) -> Result<NamedTempFile, Error> {
        self.file.flush().map_err(Error::file("write", "a temporary file"))?;
        Ok(self.file)
    }
}

async fn download_object(object: &str, access: Access) -> Result<NamedTempFile, Error> {
    let missing = || Error::NoPackage { name: format!("s3://{object}") };
    let (bucket, key) = object.split_once('/').ok_or_else(missing)?;
    let store = access.open().await.bucket(bucket);
    let mut found = store.get(key).await?.ok_or_else(missing)?;
    let mut copy = Download::begin(object)?;
    while let Some(chunk) = found.body.next().await? {
        copy.push(&chunk)?;
    }
    copy.finish()
}

async fn download(url: Url) -> Result<NamedTempFile, Error> {
    let failed = |source| Error::Web { url: url.to_string(), source };
    let client = Client::builder().connect_timeout(SILENCE).read_timeout(SILENCE).build();
    let answer = client.map_err(failed)?.get(url.clone()).send().await;
    let mut answer = answer.map_err(failed)?;
    if answer.status() == StatusCode::NOT_FOUND {
        return Err(Error::NoPackage { name: url.to_string() });
    }
    answer = answer.error_for_status().map_err(failed)?;
    let mut copy = Download::begin(url.as_str())?;
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        copy.push(&chunk)?;
    }
    copy.finish()
}

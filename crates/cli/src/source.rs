//! A package that is a file here, or an object in S3.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use alpinist_repository::port::{ObjectBody as _, ObjectStore as _};
use tempfile::NamedTempFile;

use crate::{context::Access, error::Error, package_file};

/// A package to look at, which is a file as long as this lives.
pub(crate) struct Source {
    name: PathBuf,
    copy: Option<NamedTempFile>,
}

impl Source {
    /// Finds a package: a file, or `s3://<bucket>/<key>`, which is downloaded.
    pub(crate) async fn open(name: &Path, access: Access) -> Result<Self, Error> {
        let object = name.to_str().and_then(|name| name.strip_prefix("s3://"));
        let copy = match object {
            None => None,
            Some(object) => Some(download(object, access).await?),
        };
        Ok(Self { name: name.to_owned(), copy })
    }

    /// Returns where its bytes are.
    pub(crate) fn path(&self) -> &Path {
        self.copy.as_ref().map_or(&*self.name, NamedTempFile::path)
    }

    /// Returns the file name that it has, without `.apk`.
    pub(crate) fn stem(&self) -> String {
        package_file::stem(&self.name)
    }
}

async fn download(object: &str, access: Access) -> Result<NamedTempFile, Error> {
    let missing = || Error::NoPackage { name: format!("s3://{object}") };
    let (bucket, key) = object.split_once('/').ok_or_else(missing)?;
    let store = access.open().await.bucket(bucket);
    let mut found = store.get(key).await?.ok_or_else(missing)?;
    let failed = || Error::file("write", "a temporary file");
    let mut copy = NamedTempFile::new().map_err(failed())?;
    while let Some(piece) = found.body.next().await? {
        copy.write_all(&piece).map_err(failed())?;
    }
    copy.flush().map_err(failed())?;
    Ok(copy)
}

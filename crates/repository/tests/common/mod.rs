//! Packages, a key, and the steps chained as the state machine chains them.

pub(crate) mod execution;

use std::{io::Write, sync::LazyLock};

use alpinist_apk::checksum::DataHash;
use alpinist_repository::{
    message::Target,
    port::{KeyStore, KeyStoreError, KeyTexts},
};
use flate2::{Compression, write::GzEncoder};
use rand_core::OsRng;
use rsa::{RsaPrivateKey, pkcs8::EncodePrivateKey as _};
use sha2::{Digest as _, Sha256};
use tar::{Builder, Header};

pub(crate) const PREFIX: &str = "3.22/main/x86_64/";
pub(crate) const INDEX: &str = "3.22/main/x86_64/APKINDEX.tar.gz";
pub(crate) const KEY_NAME: &str = "ops@example.com-5f3c2a1b.rsa.pub";

/// The private key of [`Keys::good`].
pub(crate) static PRIVATE_KEY: LazyLock<String> = LazyLock::new(private_key);

/// Makes a new private key.
pub(crate) fn private_key() -> String {
    let key = RsaPrivateKey::new(&mut OsRng, 2048).unwrap();
    key.to_pkcs8_pem(rsa::pkcs8::LineEnding::LF).unwrap().to_string()
}

/// A key store whose parameters a test may leave out.
pub(crate) struct Keys {
    pub(crate) private_key: Option<String>,
    pub(crate) name: String,
}

impl Keys {
    pub(crate) fn good() -> Self {
        Self { private_key: Some(PRIVATE_KEY.clone()), name: KEY_NAME.to_owned() }
    }
}

impl KeyStore for Keys {
    async fn key(&self) -> Result<KeyTexts, KeyStoreError> {
        let missing = || KeyStoreError::Missing { parameter: "/apk/rsa".to_owned() };
        let private_key = self.private_key.clone().ok_or_else(missing)?;
        Ok(KeyTexts { private_key: private_key.into(), name: self.name.clone() })
    }

    fn private_key_parameter(&self) -> &'static str {
        "/apk/rsa"
    }

    fn key_name_parameter(&self) -> &'static str {
        "/apk/key"
    }
}

pub(crate) fn target(key: &str) -> Target {
    Target { bucket: "bucket".to_owned(), key: key.to_owned(), reindex: None }
}

pub(crate) fn key(stem: &str) -> String {
    format!("{PREFIX}{stem}.apk")
}

/// A package of `architecture` whose one file has `content`.
pub(crate) fn package_of(name: &str, version: &str, architecture: &str, content: &str) -> Vec<u8> {
    let mut data = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    append(&mut data, "usr/share/content", content);
    let data = data.into_inner().unwrap().finish().unwrap();
    let hash = DataHash::new(Sha256::digest(&data).into());
    let info = format!(
        "pkgname = {name}\npkgver = {version}\npkgdesc = Test\narch = {architecture}\n\
         size = 4096\ndatahash = {hash}\n"
    );
    let mut control = Builder::new(Vec::new());
    append(&mut control, ".PKGINFO", &info);
    let mut control = control.into_inner().unwrap();
    control.truncate(control.len() - 1024);
    let mut stream = GzEncoder::new(Vec::new(), Compression::fast());
    stream.write_all(&control).unwrap();
    [stream.finish().unwrap(), data].concat()
}

/// A package with a signature of three bytes, which changes neither its size nor its checksum.
pub(crate) fn signed_package(name: &str, version: &str, signature: &str) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    append(&mut tar, ".SIGN.RSA.somebody.rsa.pub", signature);
    let mut tar = tar.into_inner().unwrap();
    tar.truncate(tar.len() - 1024);
    let mut stream = GzEncoder::new(Vec::new(), Compression::none());
    stream.write_all(&tar).unwrap();
    [stream.finish().unwrap(), package(name, version, "signed")].concat()
}

pub(crate) fn package(name: &str, version: &str, content: &str) -> Vec<u8> {
    package_of(name, version, "x86_64", content)
}

fn append<W: Write>(archive: &mut Builder<W>, path: &str, content: &str) {
    let mut header = Header::new_ustar();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, path, content.as_bytes()).unwrap();
}

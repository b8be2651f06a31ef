//! Packages, a key, and the steps chained as the state machine chains them.

use std::{sync::LazyLock, time::Duration};

use alpinist_apk::{archive::IndexArchive, checksum::DataHash, entry::IndexEntry, key::SigningKey};
use alpinist_repository::{
    failure::{Failure, FailureKind},
    memory::MemoryStore,
    message::{Aggregated, Extracted, RefusalReport, Target},
    plus_copy::PlusCopies,
    port::{KeyStore, KeyStoreError, KeyTexts},
    step,
};
use flate2::{Compression, write::GzEncoder};
use rand_core::OsRng;
use rsa::{RsaPrivateKey, pkcs8::EncodePrivateKey as _};
use sha2::{Digest as _, Sha256};
use tar::{Builder, Header};

pub(crate) const PREFIX: &str = "3.22/main/x86_64/";
pub(crate) const INDEX: &str = "3.22/main/x86_64/APKINDEX.tar.gz";
pub(crate) const KEY_NAME: &str = "ops@example.com-5f3c2a1b.rsa.pub";

static PRIVATE_KEY: LazyLock<String> = LazyLock::new(private_key);

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
    std::io::Write::write_all(&mut stream, &control).unwrap();
    [stream.finish().unwrap(), data].concat()
}

/// A package with a signature of three bytes, which changes neither its size nor its checksum.
pub(crate) fn signed_package(name: &str, version: &str, signature: &str) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    append(&mut tar, ".SIGN.RSA.somebody.rsa.pub", signature);
    let mut tar = tar.into_inner().unwrap();
    tar.truncate(tar.len() - 1024);
    let mut stream = GzEncoder::new(Vec::new(), Compression::none());
    std::io::Write::write_all(&mut stream, &tar).unwrap();
    [stream.finish().unwrap(), package(name, version, "signed")].concat()
}

pub(crate) fn package(name: &str, version: &str, content: &str) -> Vec<u8> {
    package_of(name, version, "x86_64", content)
}

fn append<W: std::io::Write>(archive: &mut Builder<W>, path: &str, content: &str) {
    let mut header = Header::new_ustar();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, path, content.as_bytes()).unwrap();
}

/// Runs the steps as the state machine does, until it ends.
pub(crate) async fn execute(store: &MemoryStore, key: &str) -> Result<(), Failure> {
    execute_with(store, &Keys::good(), key).await
}

pub(crate) async fn execute_with(
    store: &MemoryStore,
    keys: &Keys,
    key: &str,
) -> Result<(), Failure> {
    execute_target(store, keys, target(key)).await
}

pub(crate) async fn execute_target(
    store: &MemoryStore,
    keys: &Keys,
    target: Target,
) -> Result<(), Failure> {
    loop {
        let (extracted, refused) = match step::extract(store, target.clone()).await {
            Ok(extracted) => (extracted, None),
            Err(failure @ Failure::Refused { .. }) => {
                (caught(target.clone(), &failure), Some(failure))
            }
            Err(failure) => return Err(failure),
        };
        match after_extraction(store, keys, extracted).await {
            Err(failure) if failure.kind() == FailureKind::Superseded => {}
            Ok(()) => return refused.map_or(Ok(()), Err),
            Err(failure) => return Err(failure),
        }
    }
}

/// What the catcher of the state machine makes of a refusal.
pub(crate) fn caught(target: Target, refusal: &Failure) -> Extracted {
    let report = RefusalReport { error: refusal.kind().name().to_owned(), cause: refusal.report() };
    Extracted { refusal: Some(report), ..Extracted::nothing(target) }
}

async fn after_extraction(
    store: &MemoryStore,
    keys: &Keys,
    extracted: Extracted,
) -> Result<(), Failure> {
    let written = step::write_index(store, PlusCopies::Kept, extracted).await?;
    aggregate_and_publish(store, keys, written.into()).await
}

/// Goes on after the fragment was written. Time passes while an execution waits.
pub(crate) async fn aggregate_and_publish(
    store: &MemoryStore,
    keys: &Keys,
    mut request: Aggregated,
) -> Result<(), Failure> {
    for _ in 0..100 {
        request = step::aggregate(store, request).await?;
        if request.waiting.is_some() {
            store.pass(Duration::from_secs(30));
            continue;
        }
        if request.staged.is_none() {
            return Ok(());
        }
        match step::publish(store, keys, &mut OsRng, request.clone()).await {
            Err(failure) if failure.kind() == FailureKind::Conflict => {}
            outcome => return outcome.map(|_| ()),
        }
    }
    panic!("an execution waits for ever");
}

/// What a client sees: `<name>-<version> <checksum>` of each entry of a verified index.
pub(crate) fn listed(store: &MemoryStore) -> Vec<String> {
    let bytes = store.content(INDEX).expect("an index is published");
    let archive = IndexArchive::read(&bytes).unwrap();
    let verifying_key = SigningKey::from_pem(&PRIVATE_KEY).unwrap().verifying_key();
    assert!(archive.is_signed_by(&KEY_NAME.parse().unwrap(), &verifying_key));
    archive.index.entries().iter().map(IndexEntry::file_stem).collect()
}

/// The checksum that the index gives for a package.
pub(crate) fn checksum(store: &MemoryStore, stem: &str) -> String {
    let bytes = store.content(INDEX).unwrap();
    let archive = IndexArchive::read(&bytes).unwrap();
    let mut entries = archive.index.entries().iter();
    entries.find(|entry| entry.file_stem() == stem).unwrap().checksum.to_string()
}

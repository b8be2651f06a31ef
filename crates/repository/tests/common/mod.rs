//! Packages, a key, and the steps chained as the state machine chains them.

pub(crate) mod execution;

use std::sync::LazyLock;

use alpinist_repository::{
    message::Target,
    port::{KeyMaterial, KeyStore, KeyStoreError, Scheme, StoredKey},
};
use alpinist_samples::{
    gzip::gzip_at,
    package::data_hash,
    tar::{end_of_archive, file, installed},
};
use rand_core::OsRng;
use rsa::{
    Pkcs1v15Sign, RsaPrivateKey,
    pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _},
};

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
    pub(crate) second: Option<Second>,
}

/// The key in the second slot.
pub(crate) struct Second {
    pub(crate) name: String,
    pub(crate) private_key: String,
    /// What a key service signs instead of a digest, if the key is in one.
    pub(crate) remote: Option<fn([u8; 32]) -> [u8; 32]>,
}

impl Keys {
    pub(crate) fn good() -> Self {
        Self { private_key: Some(PRIVATE_KEY.clone()), name: KEY_NAME.to_owned(), second: None }
    }
}

impl KeyStore for Keys {
    async fn keys(&self) -> Result<Vec<StoredKey>, KeyStoreError> {
        let missing = || KeyStoreError::Missing {
            parameter: "/apk/rsa".to_owned(),
            private_key: Some("/apk/rsa".to_owned()),
            key_name: "/apk/key".to_owned(),
        };
        let pem = self.private_key.clone().ok_or_else(missing)?.into();
        let first = StoredKey {
            name_parameter: "/apk/key".to_owned(),
            name: self.name.clone(),
            material: KeyMaterial::Pem { parameter: "/apk/rsa".to_owned(), pem },
        };
        let second = self.second.as_ref().map(|Second { name, private_key, remote }| {
            let parameter = "/apk/rsa-2".to_owned();
            let material = if remote.is_some() {
                let key = RsaPrivateKey::from_pkcs8_pem(private_key).unwrap().to_public_key();
                let public_key = key.to_public_key_der().unwrap().into_vec();
                KeyMaterial::Remote { key: "remote".to_owned(), public_key }
            } else {
                KeyMaterial::Pem { parameter, pem: private_key.clone().into() }
            };
            StoredKey { name_parameter: "/apk/key-2".to_owned(), name: name.clone(), material }
        });
        Ok([Some(first), second].into_iter().flatten().collect())
    }

    async fn sign(
        &self,
        key: &str,
        scheme: Scheme,
        digest: &[u8],
    ) -> Result<Vec<u8>, KeyStoreError> {
        assert_eq!((key, scheme), ("remote", Scheme::RsaSha256));
        let sha256 = digest.try_into().expect("it is a SHA-256");
        let second = self.second.as_ref().expect("only the second key is remote");
        let key = RsaPrivateKey::from_pkcs8_pem(&second.private_key).unwrap();
        // The prefix of RFC 8017, 9.2: the crate derives it from hash types of another version than
        // ours.
        let prefix = hex::decode("3031300d060960864801650304020105000420").unwrap();
        let sha256 = second.remote.expect("it is in a key service")(sha256);
        let padding = Pkcs1v15Sign { hash_len: Some(32), prefix: prefix.into() };
        Ok(key.sign_with_rng(&mut OsRng, padding, &sha256).unwrap())
    }
}

pub(crate) fn target(key: &str) -> Target {
    Target {
        bucket: "bucket".to_owned(),
        key: key.to_owned(),
        time: None,
        reindex: None,
        withdrawal: false,
    }
}

pub(crate) fn key(stem: &str) -> String {
    format!("{PREFIX}{stem}.apk")
}

/// A package of `architecture` whose only file has `content`.
pub(crate) fn package_of(name: &str, version: &str, architecture: &str, content: &str) -> Vec<u8> {
    let data = gzip_at([installed("content", content), end_of_archive()].concat(), 1);
    let info = format!(
        "pkgname = {name}\npkgver = {version}\npkgdesc = Test\narch = {architecture}\n\
         size = 4096\ndatahash = {}\n",
        data_hash(&data)
    );
    [gzip_at(file(".PKGINFO", info), 1), data].concat()
}

/// A package with a signature of three bytes, which changes neither its size nor its checksum.
pub(crate) fn signed_package(name: &str, version: &str, signature: &str) -> Vec<u8> {
    let package = package(name, version, "signed");
    with_signatures(&package, &[("RSA.somebody.rsa.pub", signature.as_bytes())])
}

/// Prepends signatures, named `<kind>.<key name>`, to a package.
pub(crate) fn with_signatures(package: &[u8], signatures: &[(&str, &[u8])]) -> Vec<u8> {
    let file = |(name, signature): &(&str, &[u8])| file(format!(".SIGN.{name}"), signature);
    let tar: Vec<u8> = signatures.iter().flat_map(file).collect();
    [&*gzip_at(tar, 0), package].concat()
}

pub(crate) fn package(name: &str, version: &str, content: &str) -> Vec<u8> {
    package_of(name, version, "x86_64", content)
}

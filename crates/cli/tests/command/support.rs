//! Runs the command, and makes packages for it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use alpinist_apk::{
    key::SigningKey,
    signature::{Algorithm, SignatureName},
};
use alpinist_samples::{
    gzip::{gzip, streams},
    package::data_hash,
    tar::{end_of_archive, file, installed},
};
use rand_core::OsRng;
use tempfile::TempDir;

/// The name of the key that [`Bench`] has.
pub(crate) const KEY_NAME: &str = "ops@example.com-5f3c2a1b.rsa.pub";

/// A directory to work in, with the files that a test needs.
pub(crate) struct Bench {
    directory: TempDir,
}

/// What the command printed, and how it ended.
pub(crate) struct CommandOutput {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Writes a private key to `ops.rsa`.
    pub(crate) fn write_key(&self) {
        self.write("ops.rsa", key().to_pem().unwrap().as_bytes());
    }

    /// Runs the command there, with an empty environment.
    pub(crate) fn run(&self, arguments: &str) -> CommandOutput {
        self.run_with(&[], arguments)
    }

    /// Runs the command there, with arguments that may have spaces.
    pub(crate) fn run_arguments(&self, arguments: &[&str]) -> CommandOutput {
        run_in(self.directory.path(), &[], arguments)
    }

    /// Runs the command there, with only these environment variables.
    pub(crate) fn run_with(&self, environment: &[(&str, &str)], arguments: &str) -> CommandOutput {
        run_in(self.directory.path(), environment, &arguments.split(' ').collect::<Vec<_>>())
    }
}

fn run_in(directory: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> CommandOutput {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alpinist"));
    command.args(arguments).current_dir(directory);
    let output = command.env_clear().envs(environment.iter().copied()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    CommandOutput {
        status: output.status.code().unwrap(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// A private key, the same for all tests of the process, since generating one takes seconds.
pub(crate) fn key() -> SigningKey {
    static KEY: std::sync::OnceLock<SigningKey> = std::sync::OnceLock::new();
    KEY.get_or_init(|| SigningKey::generate(&mut OsRng).unwrap()).clone()
}

/// A package for `x86_64`, with one file.
pub(crate) fn package(name: &str, version: &str) -> Vec<u8> {
    package_with(&format!("pkgname = {name}\npkgver = {version}\narch = x86_64\n"))
}

/// A package whose `.PKGINFO` begins with these lines.
pub(crate) fn package_with(info: &str) -> Vec<u8> {
    let data = gzip([installed("hello", "hello\n"), end_of_archive()].concat());
    let info = format!("{info}size = 6\ndatahash = {}\n", data_hash(&data));
    [gzip(file(".PKGINFO", info)), data].concat()
}

/// Prepends a signature to a package, by [`key`] under [`KEY_NAME`].
pub(crate) fn signed(package: &[u8]) -> Vec<u8> {
    signed_as(KEY_NAME, package)
}

/// Prepends a signature to a package, by [`key`] under another name.
pub(crate) fn signed_as(key_name: &str, package: &[u8]) -> Vec<u8> {
    let control = streams(package)[0].0;
    let key_name = key_name.parse().unwrap();
    let name = SignatureName { algorithm: Algorithm::RsaSha256, key_name };
    let signature = key().sign(name.algorithm, control, &mut OsRng).unwrap().into_bytes();
    [gzip(file(name.to_string(), signature)), package.to_vec()].concat()
}

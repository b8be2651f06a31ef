//! Runs the command, and makes packages for it.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use alpinist_apk::{
    key::SigningKey,
    signature::{Algorithm, SignatureName},
};
use flate2::{Compression, write::GzEncoder};
use rand_core::OsRng;
use sha2::{Digest as _, Sha256};
use tar::Header;
use tempfile::TempDir;

/// The name of the key that [`Bench`] has.
pub(crate) const KEY_NAME: &str = "ops@example.com-5f3c2a1b.rsa.pub";

/// A directory to work in, and what is needed there.
pub(crate) struct Bench {
    directory: TempDir,
}

/// What the command said, and how it ended.
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

    /// Puts a private key into `ops.rsa`.
    pub(crate) fn write_key(&self) {
        self.write("ops.rsa", key().to_pem().unwrap().as_bytes());
    }

    /// Runs the command there, without anything of this machine's environment.
    pub(crate) fn run(&self, arguments: &str) -> CommandOutput {
        self.run_with(&[], arguments)
    }

    /// Runs the command there, with arguments that may have spaces.
    pub(crate) fn run_arguments(&self, arguments: &[&str]) -> CommandOutput {
        run_in(self.directory.path(), &[], arguments)
    }

    /// Runs the command there, with nothing but these variables in its environment.
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

/// A private key, the same for all tests of the process: it takes seconds to make.
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
    let checksum = b"68 APK-TOOLS.checksum.SHA1=f572d396fae9206628714fb2ce00f72e94f2258f\n";
    let mut header = Header::new_ustar();
    header.set_path("PaxHeader").unwrap();
    header.set_entry_type(tar::EntryType::XHeader);
    let data = gzip(&[entry(header, checksum), file("hello", b"hello\n"), vec![0; 1024]].concat());
    let info = format!("{info}size = 6\ndatahash = {}\n", hex(&Sha256::digest(&data)));
    [gzip(&file(".PKGINFO", info.as_bytes())), data].concat()
}

/// Puts a signature before a package, by [`key`] under [`KEY_NAME`].
pub(crate) fn signed(package: &[u8]) -> Vec<u8> {
    signed_as(KEY_NAME, package)
}

/// Puts a signature before a package, by [`key`] under another name.
pub(crate) fn signed_as(key_name: &str, package: &[u8]) -> Vec<u8> {
    let control = control_of(package);
    let key_name = key_name.parse().unwrap();
    let name = SignatureName { algorithm: Algorithm::RsaSha256, key_name };
    let signature = key().sign(name.algorithm, control, &mut OsRng).unwrap().into_bytes();
    [gzip(&file(&name.to_string(), &signature)), package.to_vec()].concat()
}

/// The first gzip stream of a package.
fn control_of(package: &[u8]) -> &[u8] {
    let mut decoder = flate2::bufread::GzDecoder::new(package);
    std::io::copy(&mut decoder, &mut std::io::sink()).unwrap();
    &package[..package.len() - decoder.into_inner().len()]
}

fn file(path: &str, body: &[u8]) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.set_path(path).unwrap();
    header.set_entry_type(tar::EntryType::Regular);
    entry(header, body)
}

fn entry(mut header: Header, body: &[u8]) -> Vec<u8> {
    header.set_mode(0o644);
    header.set_size(body.len() as u64);
    header.set_cksum();
    let mut entry = [header.as_bytes(), body].concat();
    entry.resize(entry.len().next_multiple_of(512), 0);
    entry
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

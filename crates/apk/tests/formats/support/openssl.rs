//! The `openssl` command, which makes keys and verifies signatures.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    sync::LazyLock,
};

use alpinist_apk::{index_archive, key::SigningKey, key_name::KeyName};
use rand_core::OsRng;

/// Runs `openssl` and returns what it prints.
pub(crate) fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("these tests need the `openssl` command (`apt-get install openssl`): {error}")
        });
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?} failed: {complaint}");
    output.stdout
}

/// Runs `openssl` to make a key, and returns its PEM.
pub(crate) fn pem(arguments: &[&str], input: &str) -> String {
    String::from_utf8(openssl(arguments, input.as_bytes())).unwrap()
}

/// A private key for all tests that need any key: 2048 bits, PKCS #8.
pub(crate) static KEY: LazyLock<String> = LazyLock::new(|| pem(&["genrsa", "2048"], ""));

/// An EC private key on P-256, in the form of SEC 1 as OpenWrt's build system makes it.
pub(crate) static P256: LazyLock<String> =
    LazyLock::new(|| pem(&["ecparam", "-name", "prime256v1", "-genkey", "-noout"], ""));

/// An EC private key on P-384.
pub(crate) static P384: LazyLock<String> =
    LazyLock::new(|| pem(&["ecparam", "-name", "secp384r1", "-genkey", "-noout"], ""));

pub(crate) fn signing_key() -> SigningKey {
    SigningKey::from_pem(&KEY).unwrap()
}

/// An index with the signatures of [`signing_key`] under a name.
pub(crate) fn signed(unsigned: &[u8], key_name: &KeyName) -> Vec<u8> {
    let signatures = signing_key().sign_index(key_name, unsigned, &mut OsRng).unwrap();
    index_archive::write_signed(&signatures, unsigned).unwrap()
}

pub(crate) fn key_name() -> KeyName {
    "ops@example.com-5f3c2a1b.rsa.pub".parse().unwrap()
}

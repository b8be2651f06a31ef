//! Keys and their names. The first byte says what the rest is: text, or DER to be wrapped.

#![no_main]

use std::fmt::{Debug, Display};

use alpinist_apk::{
    key::{KeyError, SigningKey, VerifyingKey},
    key_name::KeyName,
    signature::{Algorithm, Signature},
};
use base64ct::{Base64, Encoding as _};
use libfuzzer_sys::fuzz_target;
use rand_core::OsRng;

/// A part of a private key that no message about the key may contain.
const SECRET: &str = "kXbp9";

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 5 {
        0 => check_text(&String::from_utf8_lossy(bytes)),
        1 => check_text(&wrapped("PRIVATE KEY", bytes)),
        2 => check_text(&wrapped("RSA PRIVATE KEY", bytes)),
        4 => check_text(&wrapped("EC PRIVATE KEY", bytes)),
        _ => {
            check_public(VerifyingKey::from_der(bytes));
            check_text(&wrapped("PUBLIC KEY", bytes));
        }
    }
});

fn wrapped(label: &str, der: &[u8]) -> String {
    let base64 = Base64::encode_string(der);
    let lines: Vec<_> = base64
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn check_text(text: &str) {
    if let Ok(name) = text.parse::<KeyName>() {
        assert_eq!(name.to_string().parse().as_ref(), Ok(&name));
    }
    check_public(VerifyingKey::from_pem(text));
    check_private(SigningKey::from_pem(text));
    let middle = (0..=text.len() / 2).rev().find(|place| text.is_char_boundary(*place));
    let (before, after) = text.split_at(middle.unwrap_or_default());
    let secret = format!("{before}{SECRET}{after}");
    check_silence(SigningKey::from_pem(&secret).err());
    check_silence(VerifyingKey::from_pem(&secret).err());
}

fn check_silence(error: Option<impl Debug + Display>) {
    if let Some(error) = error {
        assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
    }
}

fn check_public(key: Result<VerifyingKey, KeyError>) {
    let Ok(key) = key else { return };
    let pem = key.to_pem().expect("it was read, so it can be written");
    assert_eq!(VerifyingKey::from_pem(&pem).as_ref(), Ok(&key));
    let signature = Signature::from(vec![1; 256]);
    assert!(!key.verifies(Algorithm::RsaSha256, b"message", &signature));
}

fn check_private(key: Result<SigningKey, KeyError>) {
    let Ok(key) = key else { return };
    let pem = key.to_pem().expect("it was read, so it can be written");
    let again = SigningKey::from_pem(&pem).expect("ours is read");
    assert_eq!(again.to_pem().as_ref(), Ok(&pem));
    assert_eq!(again.verifying_key(), key.verifying_key());
    assert_eq!(format!("{key:?}"), "SigningKey { .. }");
    if let Ok(signature) = key.sign(Algorithm::RsaSha256, b"message", &mut OsRng) {
        assert!(key.verifying_key().verifies(Algorithm::RsaSha256, b"message", &signature));
    }
}

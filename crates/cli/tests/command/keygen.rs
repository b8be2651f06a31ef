use std::os::unix::fs::PermissionsExt as _;

use alpinist_apk::{
    key::{KeyKind, SigningKey, VerifyingKey},
    key_name::KeyName,
};

use crate::support::Bench;

#[test]
fn a_new_key_pair_can_sign_and_is_named_as_abuild_names_it() {
    let bench = Bench::new();
    let said = bench.run("keygen ops@example.com --json");
    assert_eq!((said.status, &*said.err), (0, ""));
    let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let text = |name: &str| report[name].as_str().unwrap().to_owned();
    let key_name: KeyName = text("key_name").parse().unwrap();
    let digits = key_name.as_str().strip_prefix("ops@example.com-").unwrap();
    assert_eq!(digits.strip_suffix(".rsa.pub").unwrap().len(), 8);
    assert_eq!(text("public_key"), format!("./{key_name}"));
    assert_eq!(format!("{}.pub", text("private_key")), text("public_key"));

    let private = String::from_utf8(bench.read(&text("private_key"))).unwrap();
    let public = String::from_utf8(bench.read(&text("public_key"))).unwrap();
    let key = SigningKey::from_pem(&private).unwrap();
    assert_eq!(key.verifying_key(), VerifyingKey::from_pem(&public).unwrap());
    let mode = bench.path(&text("private_key")).metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn an_ec_key_is_made_on_request_and_named_as_such() {
    let bench = Bench::new();
    let said = bench.run("keygen ops@example.com --ec --dir . --json");
    assert_eq!((said.status, &*said.err), (0, ""));
    let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let text = |name: &str| report[name].as_str().unwrap().to_owned();
    let key_name: KeyName = text("key_name").parse().unwrap();
    let digits = key_name.as_str().strip_prefix("ops@example.com-").unwrap();
    assert_eq!(digits.strip_suffix(".ec.pub").unwrap().len(), 8);
    assert_eq!(format!("{}.pub", text("private_key")), text("public_key"));

    let private = String::from_utf8(bench.read(&text("private_key"))).unwrap();
    let public = String::from_utf8(bench.read(&text("public_key"))).unwrap();
    let key = SigningKey::from_pem(&private).unwrap();
    assert_eq!(key.kind(), KeyKind::P256);
    assert_eq!(key.verifying_key(), VerifyingKey::from_pem(&public).unwrap());
    let mode = bench.path(&text("private_key")).metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_name_that_can_not_be_in_a_key_name_is_told() {
    let said = Bench::new().run("keygen ops/1");
    assert_eq!((said.status, &*said.out), (2, ""));
    let begin = "error: no key can be named after ops/1\ncause: key name `ops/1-";
    assert!(said.err.starts_with(begin), "{}", said.err);
    let hint = "hint: give an address, such as `alpinist keygen ops@example.com`\n";
    assert!(said.err.ends_with(hint), "{}", said.err);
}

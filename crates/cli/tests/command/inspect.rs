use std::collections::BTreeMap;

use alpinist_apk::{
    adb::{
        container::Schema,
        signature::{AdbSignature, PayloadDigest},
    },
    key::SigningKey,
};
use alpinist_samples::adb_package::{AdbParts, Node, dependency, slot};
use rand_core::OsRng;

use crate::support::{Bench, KEY_NAME, key, package, package_with, signed, signed_as};

#[test]
fn a_package_is_shown_with_its_entry() {
    let bench = Bench::new();
    bench.write("hello-1.0-r0.apk", package("hello", "1.0-r0"));
    let said = bench.run("inspect hello-1.0-r0.apk");
    assert_eq!((said.status, &*said.err), (0, ""));
    insta::assert_snapshot!(said.out);
}

#[test]
fn a_signature_is_checked_with_the_keys_that_are_there() {
    let bench = Bench::new();
    bench.write("a-1-r0.apk", signed(&package("a", "1-r0")));
    bench.write("none/README", "no key");
    bench.write(&format!("own/{KEY_NAME}"), key().verifying_key().to_pem().unwrap());
    let signature = |keys: &str| {
        let said = bench.run(&format!("inspect a-1-r0.apk --json --keys-dir {keys}"));
        let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(report["signatures"][0]["key_name"], KEY_NAME);
        (said.status, report["signatures"][0]["verdict"].as_str().unwrap().to_owned())
    };
    assert_eq!(signature("none"), (0, "unknown".to_owned()));
    assert_eq!(signature("own"), (0, "right".to_owned()));

    let other = signed(&package("b", "1-r0"));
    let signature_of_other = &other[..other.len() - package("b", "1-r0").len()];
    bench.write("a-1-r0.apk", [signature_of_other, &package("a", "1-r0")].concat());
    assert_eq!(signature("own"), (1, "wrong".to_owned()));
}

#[test]
fn a_signature_is_shown_whatever_its_key_is_called() {
    let bench = Bench::new();
    for name in ["mykey.pem", "my_key", "two words"] {
        bench.write("a-1-r0.apk", signed_as(name, &package("a", "1-r0")));
        bench.write(&format!("{name}/{name}"), key().verifying_key().to_pem().unwrap());
        bench.write("none/README", "no key");
        let verdict = |keys: &str| {
            let said = bench.run_arguments(&["inspect", "a-1-r0.apk", "--keys-dir", keys]);
            assert_eq!((said.status, &*said.err), (0, ""));
            said.out.lines().find(|line| line.contains("RSA256 by")).unwrap().to_owned()
        };
        assert_eq!(verdict(name), format!("  RSA256 by {name}: right"));
        let unknown =
            format!("  RSA256 by {name}: not checked: --keys-dir has no key of this name");
        assert_eq!(verdict("none"), unknown);
    }
    // A wrong signature decides, as in `apk add FILE`.
    let other = signed_as("mykey.pem", &package("b", "1-r0"));
    let signature_of_other = &other[..other.len() - package("b", "1-r0").len()];
    bench.write("a-1-r0.apk", [signature_of_other, &package("a", "1-r0")].concat());
    let said = bench.run("inspect a-1-r0.apk --keys-dir mykey.pem");
    assert_eq!((said.status, &*said.err), (1, ""));
    assert!(said.out.contains("its signature by mykey.pem is wrong"), "{}", said.out);
}

#[test]
fn a_v3_package_is_shown_with_all_that_an_index_has_of_it() {
    let bench = Bench::new();
    let replaces = Node::Array(vec![dependency("bonjour", "", 0)]);
    let package = AdbParts::new().info(slot::REPLACES, replaces);
    bench.write("hello-1.2.3-r0.apk", package.build());
    let said = bench.run("inspect hello-1.2.3-r0.apk");
    assert_eq!((said.status, &*said.err), (0, ""));
    insta::assert_snapshot!(said.out);

    bench.write("hello-1.2.3-r0.apk", &package.plain()[..package.plain().len() - 8]);
    let said = bench.run("inspect hello-1.2.3-r0.apk");
    assert_eq!((said.status, &*said.err), (1, ""));
    insta::assert_snapshot!("a_cut_v3_package", said.out);
}

#[test]
fn a_signature_of_a_v3_package_is_checked_with_the_key_of_its_id() {
    let bench = Bench::new();
    let ec = SigningKey::generate_p256(&mut OsRng).unwrap();
    let id = ec.verifying_key().id();
    bench.write("keys/any name", ec.verifying_key().to_pem().unwrap());
    bench.write("none/README", "no key");
    let write = |signed: &AdbParts| {
        let digest = PayloadDigest::of(&signed.payload());
        let signature = AdbSignature::sign(&ec, Schema::Package, &digest, &mut OsRng).unwrap();
        let package = AdbParts::new().signatures(vec![signature.to_block()]);
        bench.write("hello-1.2.3-r0.apk", package.build());
    };
    let line = |keys: &str| {
        let said = bench.run(&format!("inspect hello-1.2.3-r0.apk --keys-dir {keys}"));
        let line = said.out.lines().find(|line| line.starts_with("  by ")).unwrap().to_owned();
        (said.status, line)
    };
    write(&AdbParts::new());
    assert_eq!(line("keys"), (0, format!("  by any name, {id}: right")));
    let unknown = format!("  by {id}: not checked: --keys-dir has no key of this ID");
    assert_eq!(line("none"), (0, unknown));
    write(&AdbParts::new().info(slot::LICENSE, Node::Absent));
    assert_eq!(line("keys"), (1, format!("  by any name, {id}: wrong")));
}

#[test]
fn every_rule_that_a_package_breaks_is_told() {
    let bench = Bench::new();
    let info = "pkgname = hello\npkgver = 1.0-r0\narch = aarch64\npkgdesc = ";
    bench.write("misnamed.apk", package_with(&format!("{info}{:2000}.\n", "")));
    let said = bench.run("inspect misnamed.apk --arch x86_64 --json");
    assert_eq!((said.status, &*said.err), (1, ""));
    let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report["entry"], serde_json::Value::Null);
    // Parsed into a map, since the order of the fields depends on features that other crates
    // enable.
    let broken: Vec<BTreeMap<String, String>> =
        serde_json::from_value(report["broken_rules"].clone()).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&broken).unwrap());
    let renamed = "The repository knows it as hello-1.0-r0.apk: `alpinist push` uploads it so, and `aws s3 cp` must be \
                   told to.";
    assert_eq!(report["warnings"], serde_json::json!([renamed]));
}

#[test]
fn nothing_in_a_package_can_command_a_terminal() {
    let bench = Bench::new();
    let info = "pkgname = a\npkgver = 1-r0\narch = x86_64\npkgdesc = ";
    bench.write(
        "a-1-r0.apk",
        signed_as("\u{202e}key", &package_with(&format!("{info}\u{202e}b\n"))),
    );
    let said = bench.run("inspect a-1-r0.apk");
    assert_eq!((said.status, &*said.err), (0, ""));
    for line in [
        "  RSA256 by \\u{202e}key: not checked: --keys-dir has no key of this name",
        "  pkgdesc = \\u{202e}b",
        "  T:\\u{202e}b",
    ] {
        assert!(said.out.lines().any(|said| said == line), "{line} is not in {}", said.out);
    }
    assert!(said.out.contains(" .SIGN.RSA256.\\u{202e}key\n"), "{}", said.out);
    assert!(!said.out.contains('\u{202e}'), "{}", said.out);

    // Rejected packages are shown in the same way.
    bench.write("a-1-r0.apk", package_with(&format!("{info}\u{1b}[2J\u{9b}2J\n")));
    let said = bench.run("inspect a-1-r0.apk");
    assert_eq!((said.status, &*said.err), (1, ""));
    assert!(said.out.contains("  pkgdesc = \\u{1b}[2J\\u{9b}2J\n"), "{}", said.out);
    assert!(!said.out.contains(['\u{1b}', '\u{9b}']), "{}", said.out);
}

#[test]
fn a_damaged_package_is_shown_as_far_as_it_can_be_read() {
    let bench = Bench::new();
    let mut package = package("hello", "1.0-r0");
    package.truncate(package.len() - 10);
    bench.write("hello-1.0-r0.apk", package);
    let said = bench.run("inspect hello-1.0-r0.apk");
    assert_eq!((said.status, &*said.err), (1, ""));
    insta::assert_snapshot!(said.out);
}

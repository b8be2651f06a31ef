//! Signatures of packages, as `openssl` makes them.

use alpinist_apk::{
    key::{SigningKey, VerifyingKey},
    package::Package,
};
use alpinist_samples::{gzip::gzip, package::Parts, tar::file};
use rstest::rstest;

use crate::support::{
    openssl::{KEY, openssl, pem, signing_key},
    read,
};

/// Signs the control section of a package with `openssl`.
fn signature(control: &[u8], digest: &str) -> Vec<u8> {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), &**KEY).unwrap();
    openssl(&["dgst", digest, "-sign", key.path().to_str().unwrap()], control)
}

fn control() -> Vec<u8> {
    Parts::new().sections().control
}

fn package(sections: &[&[(&str, &[u8])]]) -> Package {
    let section = |entries: &&[(&str, &[u8])]| {
        gzip(entries.iter().flat_map(|(name, body)| file(name, body)).collect::<Vec<_>>())
    };
    read(&Parts::new().signatures(sections.iter().map(section).collect()).build()).unwrap()
}

fn own() -> VerifyingKey {
    signing_key().verifying_key()
}

fn stranger() -> VerifyingKey {
    SigningKey::from_pem(&pem(&["genrsa", "2048"], "")).unwrap().verifying_key()
}

#[rstest]
#[case("RSA", "-sha1")]
#[case("RSA256", "-sha256")]
#[case("RSA512", "-sha512")]
#[case("DSA", "-sha1")]
fn a_signature_of_each_kind_is_verified(#[case] kind: &str, #[case] digest: &str) {
    let entry = format!(".SIGN.{kind}.me.rsa.pub");
    let right = signature(&control(), digest);
    let package_of = |signature: &[u8]| package(&[&[(&*entry, signature)]]);
    let package = package_of(&right);
    let [signature] = package.signatures.control() else { panic!("one is there") };
    assert_eq!(signature.name.to_string(), entry);
    assert!(signature.is_by(&own()));
    assert!(!signature.is_by(&stranger()));
    for wrong in [&right[..255], &[&*right, b"x"].concat(), b"", &self::signature(b"x", digest)] {
        assert!(!package_of(wrong).signatures.control()[0].is_by(&own()));
    }
    let wrong_digest = if digest == "-sha1" { "-sha256" } else { "-sha1" };
    assert!(
        !package_of(&self::signature(&control(), wrong_digest)).signatures.control()[0]
            .is_by(&own())
    );
}

#[test]
fn signatures_keep_their_order_over_all_sections() {
    let sha1 = signature(&control(), "-sha1");
    let sha512 = signature(&control(), "-sha512");
    let package = package(&[
        &[(".SIGN.RSA.a.rsa.pub", &sha1), (".SIGN.other.b.rsa.pub", &sha1)],
        &[(".SIGN.RSA512.c.rsa.pub", &sha512)],
    ]);
    let names: Vec<_> =
        package.signatures.control().iter().map(|found| found.name.to_string()).collect();
    assert_eq!(names, [".SIGN.RSA.a.rsa.pub", ".SIGN.RSA512.c.rsa.pub"]);
    assert!(package.signatures.control().iter().all(|found| found.is_by(&own())));
}

#[test]
fn a_signature_that_apk_would_not_read_is_passed_over() {
    let long = vec![0; 65537];
    assert_eq!(package(&[&[(".SIGN.RSA.a.rsa.pub", &long)]]).signatures.control(), []);
    assert_eq!(package(&[&[(".SIGN.RSA.a.rsa.pub", &long[1..])]]).signatures.control().len(), 1);
    assert_eq!(package(&[]).signatures.control(), []);
}

//! Keys as `openssl` writes them.

use std::sync::LazyLock;

use alpinist_apk::{
    key::{KeyError, SigningKey, VerifyingKey},
    key_name::KeyName,
    signature::{Algorithm, SignatureName},
    text::chain,
};
use insta::assert_snapshot;
use rand_core::OsRng;
use rstest::{Context, rstest};

use crate::support::openssl::{KEY, openssl, pem, signing_key};

const EC: [&str; 3] = ["genpkey", "-algorithm", "EC"];
const RSA: [&str; 3] = ["genpkey", "-algorithm", "RSA"];
const P256: [&str; 2] = ["-pkeyopt", "ec_paramgen_curve:P-256"];
const AES: [&str; 3] = ["-aes256", "-passout", "pass:secret"];

static PKCS1: LazyLock<String> = LazyLock::new(|| pem(&["rsa", "-traditional"], &KEY));

/// The path of parameters for DSA keys.
fn dsa_parameters() -> String {
    let path = std::env::temp_dir().join(format!("alpinist-dsa-{}.pem", std::process::id()));
    let path = path.to_str().unwrap().to_owned();
    openssl(&["dsaparam", "-out", &path, "1024"], b"");
    path
}

fn public(private: &str) -> String {
    pem(&["rsa", "-pubout"], private)
}

/// A key with a wrong private exponent.
fn with_wrong_exponent() -> String {
    let mut der = openssl(&["rsa", "-traditional", "-outform", "DER"], KEY.as_bytes());
    // Well after the modulus, which has 256 bytes, and well before the first prime.
    der[400] ^= 1;
    let base64 = String::from_utf8(openssl(&["base64"], &der)).unwrap();
    format!("-----BEGIN RSA PRIVATE KEY-----\n{base64}-----END RSA PRIVATE KEY-----\n")
}

#[test]
fn a_key_is_read_in_both_forms() {
    assert!(KEY.starts_with("-----BEGIN PRIVATE KEY-----"), "PKCS #8");
    assert!(PKCS1.starts_with("-----BEGIN RSA PRIVATE KEY-----"), "PKCS #1");
    let key = SigningKey::from_pem(&PKCS1).unwrap();
    assert_eq!(key.verifying_key(), signing_key().verifying_key());
}

#[rstest]
#[case::without_a_newline(|pem: &str| pem.trim_end().to_owned())]
#[case::with_blank_lines(|pem: &str| format!("\n\n{pem}\n\n"))]
#[case::with_line_ends_of_windows(|pem: &str| pem.replace('\n', "\r\n"))]
#[case::with_a_byte_order_mark(|pem: &str| format!("\u{feff}{pem}"))]
#[case::with_text_around(|pem: &str| format!("Bag Attributes\n    localKeyID: 1\n{pem}# the end\n"))]
#[case::with_its_public_key(|pem: &str| format!("{pem}{}", public(pem)))]
#[case::after_its_public_key(|pem: &str| format!("{}{pem}", public(pem)))]
fn a_key_that_was_pasted_is_read(
    #[values(&KEY, &PKCS1)] pem: &LazyLock<String>,
    #[case] paste: fn(&str) -> String,
) {
    let key = SigningKey::from_pem(&paste(pem)).unwrap();
    assert_eq!(key.verifying_key(), signing_key().verifying_key());
}

#[rstest]
#[case::empty(String::new())]
#[case::text("s3cret".to_owned())]
#[case::encrypted_pkcs8(pem(&[&["genrsa"][..], &AES, &["2048"]].concat(), ""))]
#[case::encrypted_pkcs1(pem(&[&["rsa", "-traditional"][..], &AES].concat(), &KEY))]
#[case::elliptic_curve_pkcs8(pem(&[EC.as_slice(), &P256].concat(), ""))]
#[case::elliptic_curve_sec1(pem(&["ecparam", "-name", "prime256v1", "-genkey", "-noout"], ""))]
#[case::dsa(pem(&["gendsa", &dsa_parameters()], ""))]
#[case::ed25519(pem(&["genpkey", "-algorithm", "ed25519"], ""))]
#[case::rsa_pss(pem(&["genpkey", "-algorithm", "RSA-PSS"], ""))]
#[case::public_key(public(&KEY))]
#[case::cut_off(KEY[..800].to_owned())]
#[case::three_primes_pkcs8(pem(&["genrsa", "-primes", "3", "2048"], ""))]
#[case::three_primes_pkcs1(pem(&["genrsa", "-traditional", "-primes", "3", "2048"], ""))]
#[case::exponent_of_34_bits(pem(&[&RSA[..], &["-pkeyopt", "rsa_keygen_pubexp:8589934593"]].concat(), ""))]
#[case::wrong_private_exponent(with_wrong_exponent())]
#[case::line_ends_lost(KEY.replace('\n', ""))]
#[case::line_ends_lost(KEY.replace('\n', " "))]
#[case::line_ends_lost(KEY.replace('\n', "\\n"))]
#[case::indented(KEY.replace('\n', "\n  "))]
#[case::another_text_between(KEY.replace("MII", "###"))]
#[case::two_private_keys(format!("{}{}", &*KEY, &*PKCS1))]
#[case::only_its_first_line("-----BEGIN PRIVATE KEY-----".to_owned())]
#[case::certificate(pem(&["req", "-x509", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=a"], ""))]
#[case::of_1024_bits(pem(&["genrsa", "1024"], ""))]
#[case::of_5120_bits(pem(&["genrsa", "5120"], ""))]
fn another_private_key_is_rejected_without_showing_it(
    #[context] context: Context,
    #[case] pem: String,
) {
    let error = SigningKey::from_pem(&pem).unwrap_err();
    assert_snapshot!(context.description.unwrap(), chain(&error));
}

#[test]
fn a_public_key_is_read_and_written_in_the_form_that_every_apk_reads() {
    let pem = public(&KEY);
    let key = VerifyingKey::from_pem(&pem).unwrap();
    assert_eq!(key, signing_key().verifying_key());
    assert_eq!(key.to_pem().unwrap(), pem);
}

#[rstest]
#[case::private(KEY.clone())]
#[case::pkcs1(pem(&["rsa", "-RSAPublicKey_out"], &KEY))]
#[case::elliptic_curve(pem(&["ec", "-pubout"], &pem(&[EC.as_slice(), &P256].concat(), "")))]
fn another_public_key_is_rejected(#[case] pem: String) {
    assert_eq!(VerifyingKey::from_pem(&pem), Err(KeyError::NotAnRsaPublicKey));
}

#[test]
fn a_public_key_of_1024_bits_is_rejected() {
    let pem = public(&pem(&["genrsa", "1024"], ""));
    assert_eq!(VerifyingKey::from_pem(&pem), Err(KeyError::Bits { bits: 1024 }));
}

#[test]
fn a_key_that_was_made_here_is_one_for_openssl() {
    let key = SigningKey::generate(&mut OsRng).unwrap();
    let private = key.to_pem().unwrap();
    let text = pem(&["rsa", "-noout", "-text", "-check"], &private);
    assert!(text.contains("Private-Key: (4096 bit, 2 primes)"), "{text}");
    assert!(text.contains("RSA key ok"), "{text}");
    assert_eq!(public(&private), key.verifying_key().to_pem().unwrap());
    assert_eq!(SigningKey::from_pem(&private).unwrap().verifying_key(), key.verifying_key());
}

#[test]
fn a_new_key_is_named_as_abuild_keygen_names_it() {
    let name = KeyName::new("ops@example.com", 0x5f3c_2a1b).unwrap();
    assert_eq!(name.as_str(), "ops@example.com-5f3c2a1b.rsa.pub");
    assert_eq!(KeyName::new("me", 1).unwrap().as_str(), "me-00000001.rsa.pub");
    for who in ["a/b", ".hidden", "a b", "\u{e9}", &"x".repeat(64)] {
        assert!(KeyName::new(who, 1).is_err(), "{who}");
    }
}

#[test]
fn a_signing_key_shows_nothing_of_itself() {
    assert_eq!(format!("{:?}", signing_key()), "SigningKey { .. }");
}

const ALGORITHMS: [Algorithm; 3] = [Algorithm::RsaSha1, Algorithm::RsaSha256, Algorithm::RsaSha512];

#[test]
fn a_signature_verifies_only_with_its_algorithm_message_and_key() {
    let (key, stranger) = (signing_key(), SigningKey::from_pem(&pem(&["genrsa", "2048"], "")));
    let (public, stranger) = (key.verifying_key(), stranger.unwrap().verifying_key());
    for algorithm in ALGORITHMS {
        let signature = key.sign(algorithm, b"index", &mut OsRng).unwrap();
        for other in ALGORITHMS {
            let expected = other == algorithm;
            assert_eq!(public.verifies(other, b"index", &signature), expected, "{other:?}");
        }
        assert!(!public.verifies(algorithm, b"Index", &signature));
        assert!(!stranger.verifies(algorithm, b"index", &signature));
    }
}

#[test]
fn blinding_does_not_change_a_signature() {
    for algorithm in ALGORITHMS {
        let sign = || signing_key().sign(algorithm, b"index", &mut OsRng).unwrap();
        assert_eq!(sign(), sign());
    }
}

#[rstest]
#[case::mail("ops@example.com-5f3c2a1b.rsa.pub", true)]
#[case::plus("ops+apk@example.com-1.rsa.pub", true)]
#[case::plain("melange.rsa.pub", true)]
#[case::of_80_bytes(&format!("{}.rsa.pub", "k".repeat(72)), true)]
#[case::of_81_bytes(&format!("{}.rsa.pub", "k".repeat(73)), false)]
#[case::hidden(".rsa.pub", false)]
#[case::slash("keys/a.rsa.pub", false)]
#[case::newline("a\n.rsa.pub", false)]
#[case::space("a b.rsa.pub", false)]
#[case::private("a.rsa", false)]
#[case::empty("", false)]
fn a_key_name_is_a_file_name_that_apk_loads(#[case] name: &str, #[case] valid: bool) {
    assert_eq!(name.parse::<KeyName>().is_ok(), valid);
}

#[rstest]
#[case(".SIGN.RSA.melange.rsa.pub", Some(Algorithm::RsaSha1))]
#[case(".SIGN.RSA256.melange.rsa.pub", Some(Algorithm::RsaSha256))]
#[case(".SIGN.RSA512.melange.rsa.pub", Some(Algorithm::RsaSha512))]
#[case(".SIGN.DSA.melange.rsa.pub", Some(Algorithm::DsaSha1))]
#[case(".SIGN.RSA.mykey.pem", Some(Algorithm::RsaSha1))]
#[case(".SIGN.RSA256.my_key", Some(Algorithm::RsaSha256))]
#[case(".SIGN.RSA.größe 1~$(x)", Some(Algorithm::RsaSha1))]
#[case(&format!(".SIGN.RSA.{}", "k".repeat(255)), Some(Algorithm::RsaSha1))]
#[case(&format!(".SIGN.RSA.{}", "k".repeat(256)), None)]
#[case(".SIGN.RSA.", None)]
#[case(".SIGN.RSA..hidden.pub", None)]
#[case(".SIGN.RSA.a\u{1b}[2J.pub", None)]
#[case(".SIGN.RSA.a\u{9b}2J.pub", None)]
#[case(".SIGN.RSA1.melange.rsa.pub", None)]
#[case(".SIGN.RSA.keys/melange.rsa.pub", None)]
#[case(".SIGN.RSA", None)]
#[case("SIGN.RSA.melange.rsa.pub", None)]
fn the_name_of_a_signature_tells_its_algorithm(
    #[case] path: &str,
    #[case] algorithm: Option<Algorithm>,
) {
    let name = SignatureName::parse(path.as_bytes());
    assert_eq!(name.as_ref().map(|name| name.algorithm), algorithm);
    assert!(name.is_none_or(|name| name.to_string() == path));
}

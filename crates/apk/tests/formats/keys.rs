//! Keys as `openssl` writes them.

use std::sync::LazyLock;

use alpinist_apk::{
    key::{KeyError, KeyKind, SigningKey, VerifyingKey},
    key_name::KeyName,
    signature::{Algorithm, SignatureName},
    text::chain,
};
use insta::assert_snapshot;
use rand_core::OsRng;
use rstest::{Context, rstest};

use crate::support::openssl::{KEY, P256, P384, key_name, openssl, pem, signing_key};

const RSA: [&str; 3] = ["genpkey", "-algorithm", "RSA"];
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
    pem(&["pkey", "-pubout"], private)
}

/// An EC key in the form of SEC 1, as OpenWrt's build system makes one.
fn sec1(curve: &str, more: &[&str]) -> String {
    pem(&[&["ecparam", "-name", curve, "-genkey", "-noout"], more].concat(), "")
}

/// An EC key in the form of PKCS #8.
fn pkcs8(curve: &str) -> String {
    pem(&["genpkey", "-algorithm", "EC", "-pkeyopt", &format!("ec_paramgen_curve:{curve}")], "")
}

/// A key whose public half is that of another one.
fn with_another_public_key() -> String {
    let der = |private: &str| openssl(&["ec", "-outform", "DER"], private.as_bytes());
    let (mut key, other) = (der(&P256), der(&sec1("prime256v1", &[])));
    // The last 64 bytes are the coordinates.
    key.splice(57.., other[57..].iter().copied());
    let base64 = String::from_utf8(openssl(&["base64"], &key)).unwrap();
    format!("-----BEGIN EC PRIVATE KEY-----\n{base64}-----END EC PRIVATE KEY-----\n")
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
#[case::encrypted_sec1(pem(&[&["ec"][..], &AES].concat(), &P256))]
#[case::only_parameters(pem(&["ecparam", "-name", "prime256v1"], ""))]
#[case::secp256k1(sec1("secp256k1", &[]))]
#[case::secp521r1(pkcs8("P-521"))]
#[case::brainpool(sec1("brainpoolP256r1", &[]))]
#[case::another_curve(sec1("secp112r1", &[]))]
#[case::described_curve(sec1("prime256v1", &["-param_enc", "explicit"]))]
#[case::described_curve(pem(&["pkcs8", "-topk8", "-nocrypt"], &sec1("prime256v1", &["-param_enc", "explicit"])))]
#[case::another_public_key(with_another_public_key())]
#[case::elliptic_curve_cut_off(P256[..100].to_owned())]
#[case::elliptic_curve_line_ends_lost(P256.replace('\n', " "))]
#[case::two_kinds_of_private_keys(format!("{}{}", &*KEY, &*P256))]
#[case::dsa(pem(&["gendsa", &dsa_parameters()], ""))]
#[case::ed25519(pem(&["genpkey", "-algorithm", "ed25519"], ""))]
#[case::ed448(pem(&["genpkey", "-algorithm", "ed448"], ""))]
#[case::rsa_pss(pem(&["genpkey", "-algorithm", "RSA-PSS"], ""))]
#[case::public_key(public(&KEY))]
#[case::public_key_of_an_elliptic_curve(public(&P256))]
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

/// Each key with what it is made of.
fn ec_keys() -> [(&'static LazyLock<String>, KeyKind, usize); 2] {
    [(&P256, KeyKind::P256, 65), (&P384, KeyKind::P384, 97)]
}

#[test]
fn an_ec_key_is_read_in_both_forms() {
    for (sec1, kind, _) in ec_keys() {
        assert!(sec1.starts_with("-----BEGIN EC PRIVATE KEY-----"), "SEC 1");
        let key = SigningKey::from_pem(sec1).unwrap();
        assert_eq!(key.kind(), kind);
        let pkcs8 = pem(&["pkcs8", "-topk8", "-nocrypt"], sec1);
        assert!(pkcs8.starts_with("-----BEGIN PRIVATE KEY-----"), "PKCS #8");
        assert_eq!(*key.to_pem().unwrap(), pkcs8);
        assert_eq!(SigningKey::from_pem(&pkcs8).unwrap().verifying_key(), key.verifying_key());
        assert_eq!(key.verifying_key().to_pem().unwrap(), public(sec1));
        assert_eq!(VerifyingKey::from_pem(&public(sec1)), Ok(key.verifying_key()));
    }
}

#[rstest]
#[case::with_parameters_before_it(|pem: &str| format!("{}{pem}", parameters()))]
#[case::with_parameters_after_it(|pem: &str| format!("{pem}{}", parameters()))]
#[case::without_a_newline(|pem: &str| pem.trim_end().to_owned())]
#[case::with_line_ends_of_windows(|pem: &str| pem.replace('\n', "\r\n"))]
#[case::with_a_byte_order_mark(|pem: &str| format!("\u{feff}{pem}"))]
#[case::with_its_public_key(|pem: &str| format!("{pem}{}", public(pem)))]
#[case::without_its_public_key(|private: &str| pem(&["ec", "-no_public"], private))]
#[case::with_a_compressed_point(|private: &str| pem(&["ec", "-conv_form", "compressed"], private))]
fn an_ec_key_that_was_pasted_is_read(#[case] paste: fn(&str) -> String) {
    let key = SigningKey::from_pem(&paste(&P256)).unwrap();
    assert_eq!(key.verifying_key().to_pem().unwrap(), public(&P256));
}

fn parameters() -> String {
    let parameters = pem(&["ecparam", "-name", "prime256v1"], "");
    assert!(parameters.starts_with("-----BEGIN EC PARAMETERS-----"), "{parameters}");
    parameters
}

#[rstest]
#[case::private_as_public(KEY.clone())]
#[case::public_pkcs1(pem(&["rsa", "-RSAPublicKey_out"], &KEY))]
#[case::public_secp256k1(public(&sec1("secp256k1", &[])))]
#[case::public_described_curve(pem(&["ec", "-pubout", "-param_enc", "explicit"], &P256))]
#[case::public_compressed(pem(&["ec", "-pubout", "-conv_form", "compressed"], &P256))]
#[case::public_ed25519(public(&pem(&["genpkey", "-algorithm", "ed25519"], "")))]
#[case::public_x25519(public(&pem(&["genpkey", "-algorithm", "x25519"], "")))]
fn another_public_key_is_rejected(#[context] context: Context, #[case] pem: String) {
    let error = VerifyingKey::from_pem(&pem).unwrap_err();
    assert_snapshot!(context.description.unwrap(), chain(&error));
}

#[test]
fn a_compressed_point_is_written_anew_as_the_message_says() {
    let compressed = pem(&["ec", "-pubout", "-conv_form", "compressed"], &P256);
    let command = ["ec", "-pubin", "-pubout", "-conv_form", "uncompressed"];
    assert_eq!(pem(&command, &compressed), public(&P256));
}

#[test]
fn the_id_of_a_key_is_a_hash_of_its_bare_public_half() {
    let first_half = |bare: &[u8]| {
        let printed = openssl(&["dgst", "-sha512", "-binary"], bare);
        hex::encode(&printed[..16])
    };
    let pkcs1 = openssl(&["rsa", "-RSAPublicKey_out", "-outform", "DER"], KEY.as_bytes());
    assert_eq!(signing_key().verifying_key().id().to_string(), first_half(&pkcs1));
    for (private, _, length) in ec_keys() {
        let spki = openssl(&["pkey", "-pubout", "-outform", "DER"], private.as_bytes());
        let key = SigningKey::from_pem(private).unwrap().verifying_key();
        assert_eq!(key.id().to_string(), first_half(&spki[spki.len() - length..]));
    }
}

#[test]
fn an_ec_key_signs_and_verifies_nothing_of_v2() {
    let rsa = signing_key();
    let signature = rsa.sign(Algorithm::RsaSha512, b"index", &mut OsRng).unwrap();
    assert!(rsa.kind().signs_v2());
    for (private, kind, _) in ec_keys() {
        let key = SigningKey::from_pem(private).unwrap();
        assert!(!kind.signs_v2());
        let signed = key.sign_index(&key_name(), b"index", &mut OsRng);
        assert_eq!(signed, Err(KeyError::SignsV3Alone { kind }));
        assert!(!key.verifying_key().verifies(Algorithm::RsaSha512, b"index", &signature));
    }
    let error = KeyError::SignsV3Alone { kind: KeyKind::P256 };
    assert_snapshot!("signs_v3_alone", chain(&error));
}

#[test]
fn an_ec_key_that_was_made_here_is_one_for_openssl() {
    let key = SigningKey::generate_p256(&mut OsRng).unwrap();
    let private = key.to_pem().unwrap();
    let text = pem(&["pkey", "-noout", "-text", "-check"], &private);
    assert!(text.contains("NIST CURVE: P-256") && text.contains("Key is valid"), "{text}");
    assert_eq!(public(&private), key.verifying_key().to_pem().unwrap());
    assert_eq!(SigningKey::from_pem(&private).unwrap().verifying_key(), key.verifying_key());
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
    assert_eq!(KeyName::new_ec("me", 1).unwrap().as_str(), "me-00000001.ec.pub");
    for who in ["a/b", ".hidden", "a b", "\u{e9}", &"x".repeat(64)] {
        assert!(KeyName::new(who, 1).is_err(), "{who}");
    }
}

#[test]
fn a_signing_key_shows_nothing_of_itself() {
    for pem in [&KEY, &P256, &P384] {
        assert_eq!(format!("{:?}", SigningKey::from_pem(pem).unwrap()), "SigningKey { .. }");
    }
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
#[case::elliptic_curve("ops@example.com-5f3c2a1b.ec.pub", true)]
#[case::openwrt("openwrt-snapshots.pem", true)]
#[case::just_public("ops.pub", true)]
#[case::only_an_ending(".pem", false)]
#[case::no_ending("ops", false)]
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

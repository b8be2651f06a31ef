//! Signatures of v3 files: those of the real apk, and ours, as `openssl` sees them.

use std::fs;

use alpinist_apk::{
    adb::{
        container::{ContainerError, ContainerReader, Piece, Schema},
        signature::{AdbSignature, PayloadDigest, digest_for_remote},
    },
    key::{KeyKind, SigningKey, VerifyingKey},
};
use base64ct::{Base64, Encoding as _};
use rand_core::OsRng;
use rstest::rstest;
use sha2::{Digest as _, Sha256};

use crate::{
    fixtures::v3,
    support::openssl::{KEY, P256, P384, openssl, pem},
};

const PAYLOAD: &[u8] = b"any payload: nothing looks into it";

fn digest() -> PayloadDigest {
    PayloadDigest::of(PAYLOAD)
}

fn keys() -> [SigningKey; 3] {
    [&KEY, &P256, &P384].map(|pem| SigningKey::from_pem(pem).unwrap())
}

fn sign(key: &SigningKey, schema: Schema) -> AdbSignature {
    AdbSignature::sign(key, schema, &digest(), &mut OsRng).unwrap()
}

/// The message that a signature signs, as the format describes it.
fn message(schema: &[u8], signature: &AdbSignature) -> Vec<u8> {
    let sha512 = openssl(&["dgst", "-sha512", "-binary"], PAYLOAD);
    [schema, &signature.to_block()[..18], &sha512].concat()
}

/// Has `openssl` verify a signature.
fn verify(key: &SigningKey, message: &[u8], signature: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let public = write("key", key.verifying_key().to_pem().unwrap().as_bytes());
    let signature = write("signature", signature);
    let said = openssl(&["dgst", "-sha512", "-verify", &public, "-signature", &signature], message);
    String::from_utf8(said).unwrap()
}

#[rstest]
#[case(Schema::Index, b"indx")]
#[case(Schema::Package, b"pckg")]
fn openssl_accepts_a_signature_by_each_kind_of_key(#[case] schema: Schema, #[case] name: &[u8]) {
    for key in keys() {
        let signature = sign(&key, schema);
        let block = signature.to_block();
        assert_eq!(block[..2], [0, 4]);
        assert_eq!(signature.key_id(), key.verifying_key().id());
        assert_eq!(signature.key_id().to_string(), hex::encode(&block[2..18]));
        assert_eq!(verify(&key, &message(name, &signature), &block[18..]), "Verified OK\n");
        assert!(signature.is_by(&key.verifying_key(), schema, &digest()));
    }
}

#[test]
fn a_signature_is_reproduced() {
    for key in keys() {
        assert_eq!(sign(&key, Schema::Index), sign(&key, Schema::Index));
    }
}

#[test]
fn a_signature_is_by_one_key_and_of_one_file() {
    let keys = keys();
    for key in &keys {
        let public = key.verifying_key();
        let signature = sign(key, Schema::Index);
        assert!(!signature.is_by(&public, Schema::Package, &digest()));
        assert!(!signature.is_by(&public, Schema::Index, &PayloadDigest::of(b"another")));
        for other in &keys {
            let is_own = other.kind() == key.kind();
            let is_by = signature.is_by(&other.verifying_key(), Schema::Index, &digest());
            assert_eq!(is_by, is_own);
        }
        let block = signature.to_block();
        for position in 0..block.len() {
            let mut flipped = block.clone();
            flipped[position] ^= 1;
            let flipped = AdbSignature::parse(&flipped).unwrap();
            assert!(!flipped.is_by(&public, Schema::Index, &digest()), "byte {position}");
        }
        for wrong in [&block[..18], &block[..block.len() - 1], &[&*block, &[0]].concat()] {
            let wrong = AdbSignature::parse(wrong).unwrap();
            assert!(!wrong.is_by(&public, Schema::Index, &digest()));
        }
    }
    assert_eq!(AdbSignature::parse(&[0; 17]), None);
}

/// With which hashes of the payload apk 3.0.8 trusts a signature (measured).
#[rstest]
#[case::sha1(2, "-sha1", 20, false)]
#[case::sha256(3, "-sha256", 32, true)]
#[case::sha512(4, "-sha512", 64, true)]
#[case::sha256_160(5, "-sha256", 20, true)]
#[case::unknown(6, "-sha512", 64, false)]
fn a_signature_may_cover_another_hash(
    #[case] hash: u8,
    #[case] command: &str,
    #[case] length: usize,
    #[case] is_trusted: bool,
) {
    for private in [&KEY, &P256] {
        let key = SigningKey::from_pem(private).unwrap();
        let id = &sign(&key, Schema::Index).to_block()[2..18];
        let header = [&[0, hash], id].concat();
        let hashed = &openssl(&["dgst", command, "-binary"], PAYLOAD)[..length];
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &**private).unwrap();
        let path = file.path().to_str().unwrap();
        let signed = [b"indx", &*header, hashed].concat();
        let signature = openssl(&["dgst", "-sha512", "-sign", path], &signed);
        let signature = AdbSignature::parse(&[header, signature].concat()).unwrap();
        let public = key.verifying_key();
        assert_eq!(signature.is_by(&public, Schema::Index, &digest()), is_trusted);
    }
}

/// What a key service makes of a digest, here with `openssl pkeyutl`, which like AWS KMS wants one
/// exactly as long as that of the hash that it is told.
#[rstest]
#[case::rsa(&KEY, 64, "sha512")]
#[case::p256(&P256, 32, "sha256")]
#[case::p384(&P384, 48, "sha384")]
fn a_key_service_signs_a_digest_of_its_own_length(
    #[case] private: &str,
    #[case] length: usize,
    #[case] hash: &str,
) {
    let key = SigningKey::from_pem(private).unwrap().verifying_key();
    let digest_of_message = digest_for_remote(&key, Schema::Index, &digest());
    assert_eq!(digest_of_message.len(), length);
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), private).unwrap();
    let path = file.path().to_str().unwrap();
    let hash = format!("digest:{hash}");
    let command = ["pkeyutl", "-sign", "-inkey", path, "-pkeyopt", &hash];
    let signature = openssl(&command, &digest_of_message);
    let signature = AdbSignature::from_remote(&key, signature);
    assert!(signature.is_by(&key, Schema::Index, &digest()));
}

/// The key of the vectors: its private scalar is a hash of a text, so it is no secret.
fn key_of_vectors() -> SigningKey {
    let scalar = Sha256::digest(b"alpinist v3 test key");
    // ECPrivateKey (RFC 5915) with prime256v1 as its parameters, and without a public key.
    let head: &[u8] = &[0x30, 0x31, 2, 1, 1, 4, 32];
    let tail: &[u8] = &[0xa0, 0x0a, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let der = Base64::encode_string(&[head, &scalar, tail].concat());
    let text = format!("-----BEGIN EC PRIVATE KEY-----\n{der}\n-----END EC PRIVATE KEY-----\n");
    SigningKey::from_pem(&pem(&["ec"], &text)).unwrap()
}

#[test]
fn the_key_of_the_worked_example_has_its_id() {
    let key = key_of_vectors();
    assert_eq!(key.kind(), KeyKind::P256);
    let id = key.verifying_key().id().to_string();
    assert_eq!(id, "4c076c1afbab5954a061380137ca5403");
}

/// The ADB payload of a file, and its signatures.
fn parts(schema: Schema, file: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (mut payload, mut signatures) = (Vec::new(), Vec::new());
    let mut reader = ContainerReader::new(schema, 1 << 20);
    reader
        .push(file, |piece| {
            match piece {
                Piece::Payload(bytes) => payload = bytes,
                Piece::Signature(bytes) => signatures.push(bytes.to_vec()),
                _ => {}
            }
            Ok::<(), ContainerError>(())
        })
        .unwrap();
    reader.finish().unwrap();
    (payload, signatures)
}

/// The vectors were signed with RFC 6979 and SHA-512, by another implementation.
#[test]
fn the_signatures_of_the_vectors_are_reproduced() {
    let Some(folder) = v3("vectors") else { return };
    let public = fs::read_to_string(folder.join("test.pub.pem")).unwrap();
    let key = key_of_vectors();
    assert_eq!(VerifyingKey::from_pem(&public), Ok(key.verifying_key()));
    let mut seen = 0;
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let schema = match path.extension().and_then(|extension| extension.to_str()) {
            Some("adb") => Schema::Index,
            Some("apk") => Schema::Package,
            _ => continue,
        };
        let (payload, signatures) = parts(schema, &fs::read(&path).unwrap());
        let digest = PayloadDigest::of(&payload);
        let signed = AdbSignature::sign(&key, schema, &digest, &mut OsRng).unwrap();
        assert!(signatures.contains(&signed.to_block()), "{}", path.display());
        for block in signatures {
            let signature = AdbSignature::parse(&block).unwrap();
            assert!(signature.is_by(&key.verifying_key(), schema, &digest), "{}", path.display());
        }
        seen += 1;
    }
    assert_eq!(seen, 9);
}

#[test]
fn the_feed_of_others_is_signed_by_its_key() {
    let Some(folder) = v3("real/mossdef") else { return };
    let key = fs::read_to_string(folder.join("apk.mossdef.org.pem")).unwrap();
    let key = VerifyingKey::from_pem(&key).unwrap();
    for (name, schema) in
        [("packages.adb", Schema::Index), ("sunwait-0.9.1-r2.apk", Schema::Package)]
    {
        let (payload, signatures) = parts(schema, &fs::read(folder.join(name)).unwrap());
        let digest = PayloadDigest::of(&payload);
        let [signature] = &*signatures else { panic!("not one signature") };
        assert!(AdbSignature::parse(signature).unwrap().is_by(&key, schema, &digest), "{name}");
    }
}

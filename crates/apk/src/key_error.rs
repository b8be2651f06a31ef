//! Why a text is not a usable key, and what a usable one can't do.

use rsa::pkcs8::ObjectIdentifier;

use crate::key_kind::KeyKind;

/// The minimum size of an RSA key in bits. apk itself sets no limit (measured: it accepts 512).
pub const MIN_BITS: usize = 2048;
/// The maximum size of an RSA key in bits: what abuild-keygen makes, and the limit of the `rsa`
/// crate for public keys.
pub const MAX_BITS: usize = 4096;

/// Why a text is not a usable key. Messages never quote the text.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The private key is encrypted.
    #[error("the private key is encrypted; store it decrypted (`openssl pkey -in KEY -out PLAIN`)")]
    Encrypted,
    /// It is the public key.
    #[error("this is the public key; store the private key that belongs to it")]
    IsPublic,
    /// It is a key of another kind, or in OpenSSH's format. apk checks signatures by RSA and EC
    /// keys only.
    #[error(
        "this is {kind} key, but apk checks signatures by RSA and EC keys; make one with \
         `openssl genrsa 4096`"
    )]
    OtherKind {
        /// The kind, with its article.
        kind: &'static str,
    },
    /// It has no private key, or one of an unknown kind.
    #[error(
        "the text is no RSA or EC private key in PEM form, PKCS #8 (`-----BEGIN PRIVATE KEY-----`), \
         PKCS #1 (`-----BEGIN RSA PRIVATE KEY-----`) or SEC 1 (`-----BEGIN EC PRIVATE KEY-----`)"
    )]
    NotAKey,
    /// There is more than one private key.
    #[error("the text has several private keys; store one of them alone")]
    Several,
    /// The last line is missing.
    #[error(
        "the private key is cut off: its last line, `-----END …-----`, is missing; store the whole \
         file"
    )]
    CutOff,
    /// The line breaks are missing.
    #[error(
        "the private key has lost its line ends; store the file as it is, each line on a line of its \
         own"
    )]
    OneLine,
    /// What is between the first and the last line can't be decoded.
    #[error(
        "the private key is damaged: what stands between its first and its last line can't be read; \
         store the file as it is"
    )]
    Damaged,
    /// It has more than two primes.
    #[error(
        "the RSA key has more than two primes, which is not supported; make one with `openssl genrsa \
         4096`"
    )]
    Primes,
    /// Its public exponent is too large.
    #[error(
        "the RSA key has a public exponent of more than 33 bits, which is not supported; make one with \
         `openssl genrsa 4096`"
    )]
    Exponent,
    /// Its numbers do not form a valid RSA key.
    #[error(
        "the numbers of the RSA key do not belong together; make one with `openssl genrsa 4096`"
    )]
    Inconsistent,
    /// It is an EC key on another curve than P-256 and P-384.
    #[error(
        "the EC key is on {curve}, not on P-256 or P-384; make one on P-256 with `openssl ecparam \
         -name prime256v1 -genkey -noout`"
    )]
    Curve {
        /// What the curve is called.
        curve: &'static str,
    },
    /// The number of the EC key does not belong to its curve, or to its public key.
    #[error(
        "the numbers of the EC key do not belong together; make one with `openssl ecparam -name \
         prime256v1 -genkey -noout`"
    )]
    InconsistentEc,
    /// The point of an EC public key is compressed: apk computes another key ID of it, and verifies
    /// nothing (measured).
    #[error(
        "the EC public key has a compressed point, with which apk verifies nothing; write it as it \
         must be with `openssl ec -pubin -in KEY -pubout -conv_form uncompressed`"
    )]
    Compressed,
    /// It is not a public key, or is one of an unknown kind.
    #[error(
        "the text is no RSA or EC public key in PEM form: it should begin with \
         `-----BEGIN PUBLIC KEY-----`"
    )]
    NotAPublicKey,
    /// The key has fewer than [`MIN_BITS`] or more than [`MAX_BITS`].
    #[error(
        "the RSA key has {bits} bits instead of {MIN_BITS} to {MAX_BITS}; make one with \
         `openssl genrsa 4096`"
    )]
    Bits {
        /// Bits of the modulus.
        bits: usize,
    },
    /// It is an EC key, and was to sign something in format v2.
    #[error(
        "the key ({kind}) signs `Packages.adb` and v3 packages alone: `APKINDEX.tar.gz` and v2 \
         packages need an RSA key; make one with `openssl genrsa 4096`"
    )]
    SignsV3Alone {
        /// What the key is made of.
        kind: KeyKind,
    },
    /// The library could not generate or encode the key, or sign with it.
    #[error("the key can't be used")]
    Unusable,
}

pub(crate) fn check_bits(bits: usize) -> Result<(), KeyError> {
    if (MIN_BITS..=MAX_BITS).contains(&bits) { Ok(()) } else { Err(KeyError::Bits { bits }) }
}

/// Returns the kind of an unsupported key whose algorithm has this identifier, with its article.
pub(crate) fn kind_of(identifier: ObjectIdentifier) -> Option<&'static str> {
    // RFC 3279, 8410 and 4055.
    const IDENTIFIERS: [(&str, &str); 4] = [
        ("1.2.840.10040.4.1", "a DSA"),
        ("1.3.101.112", "an Ed25519"),
        ("1.3.101.113", "an Ed448"),
        ("1.2.840.113549.1.1.10", "an RSA-PSS"),
    ];
    let identifier = identifier.to_string();
    IDENTIFIERS.iter().find(|(known, _)| *known == identifier).map(|(_, kind)| *kind)
}

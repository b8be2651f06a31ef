//! Why a text is not a usable key.

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
    #[error("the private key is encrypted; store it decrypted (`openssl rsa -in KEY -out PLAIN`)")]
    Encrypted,
    /// It is the public key.
    #[error("this is the public key; store the private key that belongs to it")]
    IsPublic,
    /// It is a private key of another kind, or in OpenSSH's format. apk checks signatures by RSA
    /// keys only.
    #[error(
        "this is {kind} key, but apk checks signatures by RSA keys; make one with \
         `openssl genrsa 4096`"
    )]
    OtherKind {
        /// The kind, with its article.
        kind: &'static str,
    },
    /// It has no private key, or one of an unknown kind.
    #[error(
        "the text is no RSA private key in PEM form, PKCS #8 (`-----BEGIN PRIVATE KEY-----`) or \
         PKCS #1 (`-----BEGIN RSA PRIVATE KEY-----`)"
    )]
    NotAnRsaKey,
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
    /// It is not a public key, or is one of another kind.
    #[error(
        "the text is no RSA public key in PEM form: it should begin with \
         `-----BEGIN PUBLIC KEY-----`"
    )]
    NotAnRsaPublicKey,
    /// The key has fewer than [`MIN_BITS`] or more than [`MAX_BITS`].
    #[error(
        "the RSA key has {bits} bits instead of {MIN_BITS} to {MAX_BITS}; make one with \
         `openssl genrsa 4096`"
    )]
    Bits {
        /// Bits of the modulus.
        bits: usize,
    },
    /// The `rsa` library could not generate or encode the key, or sign with it.
    #[error("the RSA key can't be used")]
    Unusable,
}

pub(crate) fn check_bits(bits: usize) -> Result<(), KeyError> {
    if (MIN_BITS..=MAX_BITS).contains(&bits) { Ok(()) } else { Err(KeyError::Bits { bits }) }
}

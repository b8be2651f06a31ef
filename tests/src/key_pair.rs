//! Key pairs for signing, made with openssl as docs/keys.md describes.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::{Error, command, tools};

/// A key pair and its key name.
#[derive(Clone)]
pub struct KeyPair {
    name: String,
    private: String,
}

impl KeyPair {
    /// The key size for tests: small, for speed.
    pub const BITS_FOR_TESTS: u32 = 2048;

    /// The key size for demonstrations and benchmarks: what an operator would use.
    pub const BITS: u32 = 4096;

    /// Generates an RSA key of `bits` bits for `who`, and names it `<who>-<8 hex digits>.rsa.pub`.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if openssl is not installed.
    pub fn generate(who: &str, bits: u32) -> Result<Self, Error> {
        let mut genrsa = tools::openssl()?;
        let private = command::output(genrsa.args(["genrsa", &bits.to_string()]))?;
        let private = text(private)?;
        let mut hasher = DefaultHasher::new();
        private.hash(&mut hasher);
        let digits = hasher.finish() & 0xffff_ffff;
        Ok(Self { name: format!("{who}-{digits:08x}.rsa.pub"), private })
    }

    /// Generates a key on a curve, by openssl's name, in SEC 1 form: on `prime256v1`, as OpenWrt's
    /// build system does, or on `secp384r1`.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if openssl is not installed.
    pub fn generate_ec(name: &str, curve: &str) -> Result<Self, Error> {
        let mut ecparam = tools::openssl()?;
        ecparam.args(["ecparam", "-name", curve, "-genkey", "-noout"]);
        Ok(Self::new(name, text(command::output(&mut ecparam)?)?))
    }

    /// Takes an existing PEM private key and its key name.
    pub fn new(name: impl Into<String>, private: impl Into<String>) -> Self {
        Self { name: name.into(), private: private.into() }
    }

    /// Returns the key name: the file name of the public key in `/etc/apk/keys`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the private key in PEM form.
    pub fn private(&self) -> &str {
        &self.private
    }

    /// Returns the public key in PEM form, as openssl derives it.
    pub fn public(&self) -> Result<String, Error> {
        let mut openssl = tools::openssl()?;
        openssl.args(["pkey", "-pubout"]);
        text(command::filter(&mut openssl, self.private.as_bytes())?)
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("KeyPair").field("name", &self.name).finish_non_exhaustive()
    }
}

fn text(bytes: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(bytes).map_err(|error| Error::Reply {
        what: "a key that openssl wrote",
        reply: String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

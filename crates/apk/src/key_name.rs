//! Names of keys: of our own, and of those that signatures claim to be by.

use serde::{Deserialize, Serialize};

use crate::value::{InvalidValue, checked_string};

/// The file name of a public key in `/etc/apk/keys`, such as `ops@example.com-5f3c2a1b.rsa.pub`.
///
/// A client finds the key of a v2 signature by this name alone (apk-keys(5)); the name of a v3
/// signature's key does not matter (measured). Has ASCII letters, digits and `@._+-`, ends in
/// `.pub` or `.pem`, and does not begin with `.` (apk skips hidden files, measured). At most 80
/// bytes, so that `.SIGN.RSA256.<key name>` fits a tar header.
///
/// apk takes any other ending as well. Alpine's keys end in `.rsa.pub`, and OpenWrt's in `.pem`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyName(String);

impl KeyName {
    /// Names a new RSA key as abuild-keygen does: `<who>-<8 hexadecimal digits>.rsa.pub`, where
    /// `who` is usually an e-mail address, and the digits are the time at which it was `made`, in
    /// seconds since 1970.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`], if `who` can't be a part of a key name.
    pub fn new(who: &str, made: u32) -> Result<Self, InvalidValue> {
        Self::try_from(format!("{who}-{made:08x}.rsa.pub"))
    }

    /// Names a new EC key likewise: `<who>-<8 hexadecimal digits>.ec.pub`.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`], if `who` can't be a part of a key name.
    pub fn new_ec(who: &str, made: u32) -> Result<Self, InvalidValue> {
        Self::try_from(format!("{who}-{made:08x}.ec.pub"))
    }
}

impl TryFrom<String> for KeyName {
    type Error = InvalidValue;

    fn try_from(value: String) -> Result<Self, InvalidValue> {
        let rule = if value.len() > 80 {
            "is longer than 80 bytes"
        } else if value.starts_with('.') {
            "starts with `.`"
        } else if !value.bytes().all(|b| b.is_ascii_alphanumeric() || b"@._+-".contains(&b)) {
            "may hold only ASCII letters, digits, `@`, `.`, `_`, `+` and `-`"
        } else if !value.ends_with(".pub") && !value.ends_with(".pem") {
            "does not end in `.pub` or `.pem`"
        } else {
            return Ok(Self(value));
        };
        Err(InvalidValue::new("key name", &value, rule))
    }
}

checked_string!(KeyName);

/// The name of the key that a signature claims to be by: that of any file in `/etc/apk/keys` in
/// which apk looks for a key, such as `mykey.pem`.
///
/// Every [`KeyName`], the form of our own names, is one. 1 to 255 bytes of UTF-8, without `/` and
/// control characters, not beginning with `.` (apk skips hidden files, measured).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct SignerName(String);

impl SignerName {
    /// Returns the name as a [`KeyName`], the form that our own and trusted keys must have.
    pub fn to_key_name(&self) -> Option<KeyName> {
        self.0.parse().ok()
    }
}

impl TryFrom<String> for SignerName {
    type Error = InvalidValue;

    fn try_from(value: String) -> Result<Self, InvalidValue> {
        let rule = if value.is_empty() {
            "is empty"
        } else if value.len() > 255 {
            "is longer than 255 bytes"
        } else if value.starts_with('.') {
            "starts with `.`"
        } else if value.contains('/') {
            "has a `/`"
        } else if value.contains(char::is_control) {
            "has a control character"
        } else {
            return Ok(Self(value));
        };
        Err(InvalidValue::new("name of a key", &value, rule))
    }
}

checked_string!(SignerName);

impl From<KeyName> for SignerName {
    fn from(name: KeyName) -> Self {
        Self(name.into())
    }
}

impl PartialEq<KeyName> for SignerName {
    fn eq(&self, name: &KeyName) -> bool {
        self.0 == name.as_str()
    }
}

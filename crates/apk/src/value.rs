//! Checked strings: names, architectures, and the text of a field.

use serde::{Deserialize, Serialize};

use crate::text::Excerpt;

/// Says which value breaks which rule.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{what} `{value}` {rule}")]
pub struct InvalidValue {
    /// What the value should have been, such as "package name".
    pub what: &'static str,
    /// The value, escaped and shortened for a message.
    pub value: Excerpt,
    /// The rule, as the end of the sentence.
    pub rule: &'static str,
}

impl InvalidValue {
    pub(crate) fn new(what: &'static str, value: &str, rule: &'static str) -> Self {
        Self { what, value: Excerpt::of(value.as_bytes()), rule }
    }
}

/// A package name, such as `busybox` or `g++`.
///
/// Starts with an ASCII letter or digit; the rest may also hold `.`, `_`, `+` and `-`
/// (apk-package(5)). At most 128 bytes, so that `<name>-<version>.apk` fits a file name.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct PackageName(String);

/// An architecture, such as `x86_64`, or `noarch`.
///
/// 1 to 32 lower-case ASCII letters, digits, `_` and `-`: apk checks nothing here, but the value
/// becomes part of URLs. OpenWrt has names such as `aarch64_cortex-a53`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Architecture(String);

/// Alpine's names of the architectures for which it has built packages (apk-package(5), abuild's
/// `functions.sh`).
const ALPINE: [&str; 15] = [
    "aarch64",
    "armhf",
    "armv7",
    "armel",
    "loongarch64",
    "mips",
    "mips64",
    "mips64el",
    "mipsel",
    "ppc",
    "ppc64le",
    "riscv64",
    "s390x",
    "x86",
    "x86_64",
];

/// The families in OpenWrt's names of architectures, `<family>_<processor>`.
const OPENWRT: [&str; 14] = [
    "aarch64",
    "arm",
    "armeb",
    "arc",
    "i386",
    "loongarch64",
    "mips",
    "mips64",
    "mips64el",
    "mipsel",
    "powerpc",
    "powerpc64",
    "riscv64",
    "x86",
];

/// Names of architectures in other packaging systems, languages and tools, and apk's names for
/// them. `armhf`, `armel` and `mips` are absent: apk uses these names itself.
const FOREIGN: [(&[&str], &str); 19] = [
    (&["all", "any", "none", "native", "neutral", "universal"], "noarch"),
    (&["amd64", "x64", "x86-64", "em64t", "amd64v1", "amd64v2", "amd64v3", "amd64v4"], "x86_64"),
    (&["amd64_v1", "amd64_v2", "amd64_v3", "amd64_v4"], "x86_64"),
    (&["x86_64_v2", "x86_64_v3", "x86_64_v4", "x86_64v2", "x86_64v3", "x86_64v4"], "x86_64"),
    (&["386", "i386", "i486", "i586", "i686", "ia32", "x86_32", "pentium4"], "x86"),
    (&["arm64", "armv8", "arm64v8", "arm64_v8", "arm64-v8a", "armv8a"], "aarch64"),
    (&["armv7l", "armv7h", "armv7hl", "armv7hnl", "armv7a", "arm7", "armv7-a", "arm32v7"], "armv7"),
    (&["armeabi-v7a", "armv8l", "armhfp"], "armv7"),
    (&["armv6", "armv6l", "armv6h", "armv6hl", "armv6kz", "arm6", "arm32v6"], "armhf"),
    (
        &["armv5", "armv5l", "armv5te", "armv5tel", "armv5tejl", "arm5", "arm32v5", "armeabi"],
        "armel",
    ),
    (&["arm"], "armv7 or armhf (ARMv6)"),
    (&["ppc64el", "powerpc64le", "powerpc64el"], "ppc64le"),
    (&["powerpc"], "ppc"),
    (&["powerpc64"], "ppc64"),
    (&["s390"], "s390x"),
    (&["riscv64gc", "riscv64imac", "rv64gc", "riscv"], "riscv64"),
    (&["loong64", "loongarch"], "loongarch64"),
    (&["mipsle", "mipslesoftfloat", "mipsle_softfloat"], "mipsel"),
    (&["mips64le", "mips64r6el", "mipsn64el"], "mips64el"),
];

impl Architecture {
    /// Returns `noarch`, for packages that fit every architecture.
    pub fn noarch() -> Self {
        Self("noarch".to_owned())
    }

    /// Returns whether this is `noarch`: the package fits every architecture.
    pub fn is_noarch(&self) -> bool {
        self.0 == "noarch"
    }

    /// Returns whether Alpine or OpenWrt build packages for an architecture of this name.
    pub fn is_known(&self) -> bool {
        let of_openwrt = |family: &&str| {
            self.0.strip_prefix(*family).is_some_and(|processor| processor.starts_with('_'))
        };
        ALPINE.contains(&self.as_str()) || OPENWRT.iter().any(of_openwrt)
    }

    /// Returns apk's name for this architecture, as text for a message, if this is another
    /// packaging system's name for it. No client asks for packages or directories with such a name.
    pub fn names_in_apk(&self) -> Option<&'static str> {
        FOREIGN
            .iter()
            .find(|(foreign, _)| foreign.contains(&self.as_str()))
            .map(|(_, names)| *names)
    }
}

/// The value of one index field: a single line of UTF-8 without control characters.
///
/// The index has no escaping, and apk passes control characters through (measured), so this type is
/// what keeps a package's metadata from forging index lines. Control characters beyond ASCII
/// (U+0080 to U+009F), U+2028 and U+2029 are rejected as well: some readers end a line at U+0085
/// and at the last two, and a terminal obeys U+009B.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct FieldText(String);

impl FieldText {
    /// Returns whether the text is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<String> for PackageName {
    type Error = InvalidValue;

    fn try_from(value: String) -> Result<Self, InvalidValue> {
        let rule = if value.len() > 128 {
            "is longer than 128 bytes"
        } else if !value.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            "does not start with an ASCII letter or digit"
        } else if !value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b)) {
            "may hold only ASCII letters, digits, `.`, `_`, `+` and `-`"
        } else {
            return Ok(Self(value));
        };
        Err(InvalidValue::new("package name", &value, rule))
    }
}

impl TryFrom<String> for Architecture {
    type Error = InvalidValue;

    fn try_from(value: String) -> Result<Self, InvalidValue> {
        let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
        if value.bytes().all(is_allowed) && (1..=32).contains(&value.len()) {
            return Ok(Self(value));
        }
        let rule = "is not 1 to 32 lower-case ASCII letters, digits, `_` and `-`";
        Err(InvalidValue::new("architecture", &value, rule))
    }
}

impl TryFrom<String> for FieldText {
    type Error = InvalidValue;

    fn try_from(value: String) -> Result<Self, InvalidValue> {
        // Nearly every text has only these characters, which need no decoding.
        let rule = if value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Ok(Self(value));
        } else if value.contains(char::is_control) {
            "has a control character, which could forge lines of the index"
        } else if value.contains(['\u{2028}', '\u{2029}']) {
            "has a line separator, which could forge lines of the index"
        } else {
            return Ok(Self(value));
        };
        Err(InvalidValue::new("field text", &value, rule))
    }
}

/// Implements the accessors and conversions of a checked string on top of its `TryFrom<String>`.
macro_rules! checked_string {
    ($type:ty) => {
        impl $type {
            /// Returns the value as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::value::InvalidValue;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.0
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

pub(crate) use checked_string;

checked_string!(PackageName);
checked_string!(Architecture);
checked_string!(FieldText);

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde::de::{
        IntoDeserializer as _,
        value::{Error, StrDeserializer},
    };

    use super::*;

    #[rstest]
    #[case("g++", true)]
    #[case("7zip", true)]
    #[case("A.b_c-d", true)]
    #[case(&"a".repeat(128), true)]
    #[case(&"a".repeat(129), false)]
    #[case("", false)]
    #[case(".hidden", false)]
    #[case("-option", false)]
    #[case("a b", false)]
    #[case("a/b", false)]
    #[case("a\nP:b", false)]
    #[case("ä", false)]
    fn a_package_name_is_safe_in_a_url_and_in_an_index(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(text.parse::<PackageName>().is_ok(), valid);
        let deserializer: StrDeserializer<'_, Error> = text.into_deserializer();
        assert_eq!(PackageName::deserialize(deserializer).is_ok(), valid, "deserialised");
    }

    #[rstest]
    #[case("x86_64", true)]
    #[case("noarch", true)]
    #[case("aarch64_cortex-a53", true)]
    #[case("x.y", false)]
    #[case(&"a".repeat(32), true)]
    #[case(&"a".repeat(33), false)]
    #[case("", false)]
    #[case("X86", false)]
    #[case("..", false)]
    #[case("a/b", false)]
    #[case("a\n", false)]
    fn an_architecture_is_safe_as_a_directory(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(text.parse::<Architecture>().is_ok(), valid);
        let deserializer: StrDeserializer<'_, Error> = text.into_deserializer();
        assert_eq!(Architecture::deserialize(deserializer).is_ok(), valid, "deserialised");
    }

    #[rstest]
    #[case("", true)]
    #[case("Größe: 1 = 2 ", true)]
    #[case("a\nb", false)]
    #[case("a\r", false)]
    #[case("\t", false)]
    #[case("\0", false)]
    #[case("\u{7f}", false)]
    #[case("\u{80}", false)]
    #[case("a\u{85}P:b", false)]
    #[case("\u{9b}2J", false)]
    #[case("\u{9f}", false)]
    #[case("a\u{2028}P:b", false)]
    #[case("a\u{2029}P:b", false)]
    #[case("\u{a0}\u{ad}e\u{301}\u{200b}\u{202e}\u{feff}", true)]
    fn a_field_has_no_control_characters(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(text.parse::<FieldText>().is_ok(), valid);
    }
}

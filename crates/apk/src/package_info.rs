//! `.PKGINFO`: a package's own metadata.
//!
//! ```text
//! # comment
//! pkgname = hello
//! depend = so:libc.musl-x86_64.so.1
//! ```
//!
//! A line is split at its first ` = `. Lines without one and unknown keys are ignored, as apk does
//! (measured). Nothing is trimmed or escaped.
//!
//! If a key with a single value is repeated, apk takes the last value (measured). Keys that only
//! describe the package are read in the same way here, because melange writes a `license` for each
//! copyright entry of its configuration. Keys that decide what is installed or checked must not
//! have two different values: a reader that takes the first would see another package.

use crate::{
    checksum::DataHash,
    dependency::{Dependencies, Dependency, DependencyError},
    metadata::{MAX_REPLACES, Metadata, SelfConflict},
    tags::Tags,
    text::Excerpt,
    value::{FieldText, InvalidValue},
};

/// The maximum size of a `.PKGINFO` in bytes. Real ones stay below 100 KiB.
pub const MAX_LENGTH: usize = 1024 * 1024;

/// The maximum length of a `triggers` value in bytes. A client writes a longer one to its database,
/// which it then can't read (measured).
const MAX_TRIGGERS: usize = 131_040;

/// The maximum length of a line of `.PKGINFO` in bytes, with its newline: apk rejects longer ones
/// (measured).
const MAX_LINE: usize = 128 * 1024;

/// The content of `.PKGINFO` that an index or a check of the package needs.
///
/// Omits `packager`, `triggers` and `replaces_priority`, which `apk index` reads but never writes.
/// Only the length of `triggers` is checked.
///
/// What `replaces` has besides dependencies is left out: neither `apk index` nor a client rejects
/// that (measured), and a client takes `replaces` from the package.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PackageInfo {
    /// The fields that the index entry shares.
    pub metadata: Metadata,
    /// `datahash`
    pub data_hash: DataHash,
}

/// Why a `.PKGINFO` is rejected.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PackageInfoError {
    /// It is longer than [`MAX_LENGTH`].
    #[error(".PKGINFO is longer than {MAX_LENGTH} bytes")]
    Length,
    /// A line is longer than apk can read.
    #[error(".PKGINFO has a line of more than {MAX_LINE} bytes, `{line}`")]
    Line {
        /// The line.
        line: Excerpt,
    },
    /// It is not UTF-8.
    #[error(".PKGINFO is not UTF-8 near `{near}`")]
    Encoding {
        /// The bytes around the first that is not UTF-8.
        near: Excerpt,
    },
    /// A required key is absent.
    #[error(".PKGINFO has no `{key}`; apk reads lines of the form `key = value` alone")]
    Missing {
        /// The absent key.
        key: &'static str,
    },
    /// A key that decides what is installed or checked has two different values.
    #[error(".PKGINFO has two different values for `{key}`")]
    Repeated {
        /// The repeated key.
        key: &'static str,
    },
    /// It provides its own name: a client takes that for another package of this name, and finds a
    /// conflict (measured).
    #[error(
        ".PKGINFO has `provides = {token}`, the package's own name, with which it conflicts when it is installed"
    )]
    ProvidesItself {
        /// The `provides` token.
        token: Excerpt,
    },
    /// It provides one name twice, at least once with a version: a client finds a conflict
    /// (measured).
    #[error(
        ".PKGINFO has `provides = {first} {second}`, one name twice, with which it conflicts when it is installed"
    )]
    ProvidesTwice {
        /// The first token.
        first: Excerpt,
        /// The second token.
        second: Excerpt,
    },
    /// It depends on itself, or on something that it provides, in a version that it does not have:
    /// no client can install it (measured).
    #[error(
        ".PKGINFO has `depend = {token}`, but the package itself is or provides another version of that, so no client \
         can install it"
    )]
    Unmet {
        /// The dependency.
        token: Excerpt,
    },
    /// Its `triggers` are longer than a client can read back from its own database (measured).
    #[error(
        ".PKGINFO has {length} bytes of `triggers`, more than the {MAX_TRIGGERS} that clients can read again"
    )]
    Triggers {
        /// Bytes of the value.
        length: usize,
    },
    /// Its `replaces` are longer than a client can write to its database (measured).
    #[error(
        ".PKGINFO has {length} bytes of `replaces`, more than the {MAX_REPLACES} that clients can install"
    )]
    Replaces {
        /// Bytes of all tokens, each with a space.
        length: usize,
    },
    /// A value breaks the rule of its type.
    #[error(".PKGINFO has an invalid `{key}`")]
    Value {
        /// The key.
        key: &'static str,
        /// The rule that the value breaks.
        source: InvalidValue,
    },
    /// A value is not a decimal number in its range.
    #[error(".PKGINFO has `{key} = {value}`, which is not a whole number of at most {max}")]
    Number {
        /// The key.
        key: &'static str,
        /// The value.
        value: Excerpt,
        /// The greatest number allowed.
        max: u64,
    },
    /// A dependency is malformed.
    #[error(".PKGINFO has an invalid `{key}`")]
    Dependency {
        /// The key.
        key: &'static str,
        /// The rule that the dependency breaks.
        source: DependencyError,
    },
}

impl From<SelfConflict> for PackageInfoError {
    fn from(conflict: SelfConflict) -> Self {
        match conflict {
            SelfConflict::ProvidesItself { token } => Self::ProvidesItself { token },
            SelfConflict::ProvidesTwice { first, second } => Self::ProvidesTwice { first, second },
            SelfConflict::Unmet { token } => Self::Unmet { token },
        }
    }
}

impl PackageInfo {
    /// Parses the content of a `.PKGINFO`.
    ///
    /// # Errors
    ///
    /// [`PackageInfoError`]. Stricter than apk, which takes the last of repeated values, reads
    /// numbers up to the first non-digit, and passes control characters through.
    pub fn parse(content: &[u8]) -> Result<Self, PackageInfoError> {
        if content.len() > MAX_LENGTH {
            return Err(PackageInfoError::Length);
        }
        let mut keys = Keys::default();
        for line in content.split(|byte| *byte == b'\n') {
            if line.len() >= MAX_LINE {
                return Err(PackageInfoError::Line { line: Excerpt::of(line) });
            }
            if line.starts_with(b"#") {
                continue;
            }
            let separator = line.windows(SEPARATOR.len()).position(|bytes| bytes == SEPARATOR);
            let key = separator.and_then(|length| str::from_utf8(line.get(..length)?).ok());
            if let (Some(key), Some(length)) = (key, separator) {
                let value = line.get(length + SEPARATOR.len()..).unwrap_or_default();
                keys.take(key, value)?;
            }
        }
        keys.finish()
    }
}

/// The separator of a key and its value.
const SEPARATOR: &[u8] = b" = ";

fn utf8(value: &[u8]) -> Result<&str, PackageInfoError> {
    str::from_utf8(value).map_err(|error| {
        let (before, after) = value.split_at(error.valid_up_to());
        let start = before.len().saturating_sub(20);
        let near = before.iter().skip(start).chain(after.iter().take(4));
        PackageInfoError::Encoding { near: Excerpt::of(&near.copied().collect::<Vec<_>>()) }
    })
}

/// The values of the keys seen so far.
#[derive(Default)]
struct Keys<'a> {
    pkgname: Option<&'a str>,
    pkgver: Option<&'a str>,
    arch: Option<&'a str>,
    size: Option<&'a str>,
    pkgdesc: Option<&'a str>,
    url: Option<&'a str>,
    license: Option<&'a str>,
    origin: Option<&'a str>,
    maintainer: Option<&'a str>,
    builddate: Option<&'a str>,
    commit: Option<&'a str>,
    provider_priority: Option<&'a str>,
    datahash: Option<&'a str>,
    depend: Dependencies,
    provides: Dependencies,
    install_if: Dependencies,
    replaces: Dependencies,
    /// Bytes of all `replaces` tokens, each with a space.
    replaces_length: usize,
}

impl<'a> Keys<'a> {
    fn take(&mut self, key: &str, value: &'a [u8]) -> Result<(), PackageInfoError> {
        let (name, slot) = match key {
            "pkgname" => ("pkgname", &mut self.pkgname),
            "pkgver" => ("pkgver", &mut self.pkgver),
            "arch" => ("arch", &mut self.arch),
            "size" => ("size", &mut self.size),
            "origin" => ("origin", &mut self.origin),
            "provider_priority" => ("provider_priority", &mut self.provider_priority),
            "datahash" => ("datahash", &mut self.datahash),
            "pkgdesc" => return last(&mut self.pkgdesc, value),
            "url" => return last(&mut self.url, value),
            "license" => return last(&mut self.license, value),
            "maintainer" => return last(&mut self.maintainer, value),
            "builddate" => return last(&mut self.builddate, value),
            "commit" => return last(&mut self.commit, value),
            "depend" => return list(&mut self.depend, "depend", value, Dependency::parse),
            "install_if" => {
                return list(&mut self.install_if, "install_if", value, Dependency::parse);
            }
            "provides" => {
                return list(&mut self.provides, "provides", value, Dependency::parse_provided);
            }
            "replaces" => {
                let tokens = value.split(|byte| *byte == b' ').filter(|token| !token.is_empty());
                for token in tokens {
                    self.replaces_length += token.len() + 1;
                    let token = str::from_utf8(token).ok();
                    self.replaces.extend(token.and_then(|token| Dependency::parse(token).ok()));
                }
                return Ok(());
            }
            "triggers" if value.len() > MAX_TRIGGERS => {
                return Err(PackageInfoError::Triggers { length: value.len() });
            }
            _ => return Ok(()),
        };
        let value = utf8(value)?;
        if slot.is_some_and(|earlier| earlier != value) {
            return Err(PackageInfoError::Repeated { key: name });
        }
        *slot = Some(value);
        Ok(())
    }

    fn finish(self) -> Result<PackageInfo, PackageInfoError> {
        if self.replaces_length > MAX_REPLACES {
            return Err(PackageInfoError::Replaces { length: self.replaces_length });
        }
        let metadata = Metadata {
            name: required("pkgname", self.pkgname)?,
            version: required("pkgver", self.pkgver)?,
            architecture: required("arch", self.arch)?,
            installed_size: number("size", self.size, u64::MAX)?,
            description: text("pkgdesc", self.pkgdesc)?,
            url: text("url", self.url)?,
            license: text("license", self.license)?,
            origin: text("origin", self.origin)?,
            maintainer: text("maintainer", self.maintainer)?,
            build_time: number("builddate", self.builddate, u64::MAX)?,
            commit: text("commit", self.commit)?,
            provider_priority: number("provider_priority", self.provider_priority, u16::MAX)?,
            depends: self.depend,
            provides: self.provides,
            install_if: self.install_if,
            replaces: self.replaces,
            recommends: Dependencies::default(),
            tags: Tags::default(),
            layer: 0,
        };
        metadata.check_itself()?;
        Ok(PackageInfo { metadata, data_hash: required("datahash", self.datahash)? })
    }
}

/// Stores a value, and replaces an earlier one.
fn last<'a>(slot: &mut Option<&'a str>, value: &'a [u8]) -> Result<(), PackageInfoError> {
    *slot = Some(utf8(value)?);
    Ok(())
}

fn list<'a>(
    dependencies: &mut Dependencies,
    key: &'static str,
    value: &'a [u8],
    parse: impl Fn(&'a str) -> Result<Dependency<'a>, DependencyError>,
) -> Result<(), PackageInfoError> {
    dependencies
        .extend_from_line(utf8(value)?, parse)
        .map_err(|source| PackageInfoError::Dependency { key, source })
}

fn required<T>(key: &'static str, value: Option<&str>) -> Result<T, PackageInfoError>
where
    T: std::str::FromStr<Err = InvalidValue>,
{
    let value = value.ok_or(PackageInfoError::Missing { key })?;
    value.parse().map_err(|source| PackageInfoError::Value { key, source })
}

fn text(key: &'static str, value: Option<&str>) -> Result<FieldText, PackageInfoError> {
    let value = value.unwrap_or_default();
    value.parse().map_err(|source| PackageInfoError::Value { key, source })
}

fn number<T>(key: &'static str, value: Option<&str>, max: T) -> Result<T, PackageInfoError>
where
    T: std::str::FromStr + Into<u64> + Default,
{
    let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(T::default()) };
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    value.parse().ok().filter(|_| digits).ok_or_else(|| PackageInfoError::Number {
        key,
        value: Excerpt::of(value.as_bytes()),
        max: max.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = concat!(
        "pkgname = a\npkgver = 1-r0\narch = noarch\n",
        "datahash = 0000000000000000000000000000000000000000000000000000000000000000\n",
    );

    fn parse(more: &str) -> Result<PackageInfo, PackageInfoError> {
        PackageInfo::parse(format!("{MINIMAL}{more}").as_bytes())
    }

    #[test]
    fn values_are_taken_verbatim_and_other_lines_passed_over() {
        let info = parse("# url = c\nurl = a = b \npkgdesc=x\nfoo = bar\nlicense =\n\nsize = 012");
        let info = info.unwrap();
        assert_eq!(info.metadata.url.as_str(), "a = b ");
        assert_eq!(info.metadata.description.as_str(), "");
        assert_eq!(info.metadata.license.as_str(), "");
        assert_eq!(info.metadata.installed_size, 12);
    }

    #[test]
    fn lists_accumulate_over_lines_and_keep_repeats() {
        let info = parse("depend = b a\ndepend = a\nprovides = x=1\nprovides = y=0unstable\n");
        let info = info.unwrap();
        assert_eq!(info.metadata.depends.to_string(), "b a a");
        assert_eq!(info.metadata.provides.to_string(), "x=1 y=0unstable");
    }

    #[test]
    fn of_replaces_only_dependencies_are_kept() {
        let info = parse("replaces = b=>1  c@edge !d\nreplaces = c=xyz (<< c\\t e\n").unwrap();
        assert_eq!(info.metadata.replaces.to_string(), "b>=1 !d c\\t e");
        let latin = [MINIMAL.as_bytes(), b"replaces = Andr\xe9 b\n"].concat();
        let info = PackageInfo::parse(&latin).unwrap();
        assert_eq!(info.metadata.replaces.to_string(), "b");
    }

    #[test]
    fn a_key_that_decides_what_is_installed_may_only_say_the_same_again() {
        let others = [
            ("pkgname", "a", "b"),
            ("pkgver", "1-r0", "2-r0"),
            ("arch", "noarch", "x86_64"),
            ("size", "1", "2"),
            ("provider_priority", "1", "2"),
            ("origin", "a", "b"),
            ("datahash", &"0".repeat(64), &"1".repeat(64)),
        ];
        for (key, one, two) in others {
            assert!(parse(&format!("{key} = {one}\n{key} = {one}\n")).is_ok(), "{key}");
            let error = parse(&format!("{key} = {one}\n{key} = {two}\n")).unwrap_err();
            assert_eq!(error, PackageInfoError::Repeated { key });
        }
    }

    #[test]
    fn of_a_repeated_text_the_last_is_taken() {
        let info = parse("license = MIT\nlicense = BSD-3-Clause\nbuilddate = 1\nbuilddate = 2\n");
        let metadata = info.unwrap().metadata;
        assert_eq!((metadata.license.as_str(), metadata.build_time), ("BSD-3-Clause", 2));
        let metadata = parse("url = u\nurl = \nbuilddate = \n").unwrap().metadata;
        assert_eq!((metadata.url.as_str(), metadata.build_time), ("", 0));
    }

    #[test]
    fn only_values_that_are_used_have_to_be_utf_8() {
        let parse = |line: &[u8]| PackageInfo::parse(&[MINIMAL.as_bytes(), line].concat());
        assert!(parse(b"# Andr\xe9\npackager = Andr\xe9\nAndr\xe9 = x\n").is_ok());
        let error = parse(b"maintainer = Andr\xe9\n").unwrap_err();
        assert!(matches!(error, PackageInfoError::Encoding { .. }), "{error}");
    }

    #[test]
    fn a_package_that_conflicts_with_itself_is_rejected() {
        for provided in ["a", "a=1-r0", "a=2", "b a"] {
            let error = parse(&format!("provides = {provided}\n")).unwrap_err();
            assert!(
                matches!(error, PackageInfoError::ProvidesItself { .. }),
                "{provided}: {error}"
            );
        }
        for provided in ["b=1 b=2", "b=1 b=1", "b b=1", "b=1 b"] {
            let error = parse(&format!("provides = {provided}\n")).unwrap_err();
            assert!(matches!(error, PackageInfoError::ProvidesTwice { .. }), "{provided}: {error}");
        }
        assert!(parse("provides = b b cmd:a=1 so:a=1\n").is_ok());
    }

    #[test]
    fn a_package_that_asks_for_another_version_of_itself_is_rejected() {
        for lines in [
            "depend = a=2",
            "depend = a>9",
            "depend = v=2\nprovides = v=1",
            "depend = v>1\nprovides = v",
        ] {
            let error = parse(&format!("{lines}\n")).unwrap_err();
            assert!(matches!(error, PackageInfoError::Unmet { .. }), "{lines}: {error}");
        }
        for lines in [
            "depend = a a=1-r0 a~1 a<2 !a=2",
            "depend = v v~1 v>1\nprovides = v=1.5",
            "depend = v\nprovides = v",
        ] {
            parse(&format!("{lines}\n")).unwrap();
        }
    }

    #[test]
    fn triggers_that_a_client_could_not_read_again_are_rejected() {
        let triggers = |length: usize| parse(&format!("triggers = {}\n", "x".repeat(length)));
        assert!(triggers(MAX_TRIGGERS).is_ok());
        assert_eq!(
            triggers(MAX_TRIGGERS + 1).unwrap_err(),
            PackageInfoError::Triggers { length: 131_041 }
        );
    }

    #[test]
    fn replaces_beyond_the_buffer_of_a_client_are_rejected() {
        let replaces = |count: usize| format!("replaces = {}\n", "abcdefghi ".repeat(count));
        assert!(parse(&replaces(400)).is_ok());
        let error = parse(&format!("{}{}", replaces(200), replaces(201))).unwrap_err();
        assert_eq!(error, PackageInfoError::Replaces { length: 4010 });
    }

    #[test]
    fn a_priority_that_apk_would_cut_to_16_bits_is_rejected() {
        assert_eq!(parse("provider_priority = 65535\n").unwrap().metadata.provider_priority, 65535);
        let error = parse("provider_priority = 70000\n").unwrap_err();
        assert!(matches!(error, PackageInfoError::Number { max: 65535, .. }), "{error}");
        assert!(parse("size = +1\n").is_err());
    }
}

//! `.PKGINFO`: what a package says of itself.
//!
//! ```text
//! # comment
//! pkgname = hello
//! depend = so:libc.musl-x86_64.so.1
//! ```
//!
//! A line is split at its first ` = `; a line without one, and an unknown key, are passed over, as
//! apk does (measured). There is no trimming and no escaping.

use crate::{
    checksum::DataHash,
    dependency::{Dependencies, Dependency, DependencyError},
    metadata::Metadata,
    value::{Excerpt, FieldText, InvalidValue},
};

/// The most bytes of a `.PKGINFO` that are read: real ones stay below 100 KiB.
pub const MAX_LENGTH: usize = 1024 * 1024;

/// The most bytes of a line of `.PKGINFO` with its newline: apk refuses longer ones (measured).
const MAX_LINE: usize = 128 * 1024;

/// What `.PKGINFO` says, as far as an index or a check of the package needs it.
///
/// Left out are `packager`, `triggers`, `replaces` and `replaces_priority`, which `apk index`
/// reads and never writes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PackageInfo {
    /// What an index says, too.
    pub metadata: Metadata,
    /// `datahash`
    pub data_hash: DataHash,
}

/// Why a `.PKGINFO` is refused.
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
        /// What stands around the first byte that is not UTF-8.
        near: Excerpt,
    },
    /// A key that every package must have is absent.
    #[error(".PKGINFO has no `{key}`")]
    Missing {
        /// The absent key.
        key: &'static str,
    },
    /// A key that takes one value has two different ones.
    #[error(".PKGINFO has two different values for `{key}`")]
    Repeated {
        /// The repeated key.
        key: &'static str,
    },
    /// A value breaks the rule of its type.
    #[error(".PKGINFO has an invalid `{key}`")]
    Value {
        /// The key.
        key: &'static str,
        /// The rule.
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
        /// The rule.
        source: DependencyError,
    },
}

impl PackageInfo {
    /// Parses the content of a `.PKGINFO`.
    ///
    /// # Errors
    ///
    /// See [`PackageInfoError`]. Stricter than apk, which takes the last of repeated values, reads
    /// numbers up to the first non-digit and passes control characters on.
    pub fn parse(content: &[u8]) -> Result<Self, PackageInfoError> {
        if content.len() > MAX_LENGTH {
            return Err(PackageInfoError::Length);
        }
        let text = str::from_utf8(content).map_err(|error| {
            let (before, after) = content.split_at(error.valid_up_to());
            let start = before.len().saturating_sub(20);
            let near = before.iter().skip(start).chain(after.iter().take(4));
            PackageInfoError::Encoding { near: Excerpt::of(&near.copied().collect::<Vec<_>>()) }
        })?;
        let mut keys = Keys::default();
        for line in text.split('\n') {
            if line.len() >= MAX_LINE {
                return Err(PackageInfoError::Line { line: Excerpt::of(line.as_bytes()) });
            }
            if line.starts_with('#') {
                continue;
            }
            if let Some((key, value)) = line.split_once(" = ") {
                keys.take(key, value)?;
            }
        }
        keys.finish()
    }
}

/// The keys seen so far.
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
}

impl<'a> Keys<'a> {
    fn take(&mut self, key: &str, value: &'a str) -> Result<(), PackageInfoError> {
        let (name, slot) = match key {
            "pkgname" => ("pkgname", &mut self.pkgname),
            "pkgver" => ("pkgver", &mut self.pkgver),
            "arch" => ("arch", &mut self.arch),
            "size" => ("size", &mut self.size),
            "pkgdesc" => ("pkgdesc", &mut self.pkgdesc),
            "url" => ("url", &mut self.url),
            "license" => ("license", &mut self.license),
            "origin" => ("origin", &mut self.origin),
            "maintainer" => ("maintainer", &mut self.maintainer),
            "builddate" => ("builddate", &mut self.builddate),
            "commit" => ("commit", &mut self.commit),
            "provider_priority" => ("provider_priority", &mut self.provider_priority),
            "datahash" => ("datahash", &mut self.datahash),
            "depend" => return list(&mut self.depend, "depend", value, Dependency::parse),
            "install_if" => {
                return list(&mut self.install_if, "install_if", value, Dependency::parse);
            }
            "provides" => {
                return list(&mut self.provides, "provides", value, Dependency::parse_provided);
            }
            _ => return Ok(()),
        };
        if slot.is_some_and(|earlier| earlier != value) {
            return Err(PackageInfoError::Repeated { key: name });
        }
        *slot = Some(value);
        Ok(())
    }

    fn finish(self) -> Result<PackageInfo, PackageInfoError> {
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
        };
        Ok(PackageInfo { metadata, data_hash: required("datahash", self.datahash)? })
    }
}

fn list<'a>(
    dependencies: &mut Dependencies,
    key: &'static str,
    value: &'a str,
    parse: impl Fn(&'a str) -> Result<Dependency<'a>, DependencyError>,
) -> Result<(), PackageInfoError> {
    dependencies
        .extend_from_line(value, parse)
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
    let Some(value) = value else { return Ok(T::default()) };
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
    fn a_repeated_key_may_only_say_the_same() {
        assert!(parse("pkgname = a\n").is_ok());
        let error = parse("pkgname = b\n").unwrap_err();
        assert_eq!(error, PackageInfoError::Repeated { key: "pkgname" });
    }

    #[test]
    fn a_priority_that_apk_would_cut_to_16_bits_is_refused() {
        assert_eq!(parse("provider_priority = 65535\n").unwrap().metadata.provider_priority, 65535);
        let error = parse("provider_priority = 70000\n").unwrap_err();
        assert!(matches!(error, PackageInfoError::Number { max: 65535, .. }), "{error}");
        assert!(parse("size = +1\n").is_err());
    }
}

//! The information about a package that it and its entry in an index have alike.

use super::{
    schema::{dependency, package_info as slot},
    value::{Table, Value, ValueError},
};
use crate::{
    dependency::{Dependencies, Dependency, DependencyError},
    metadata::{MAX_REPLACES, Metadata},
    tags::Tags,
    text::Excerpt,
    value::{FieldText, InvalidValue},
};

/// The maximum length of a text in bytes: that of a line in `.PKGINFO`.
const MAX_TEXT: usize = 128 * 1024;
/// The maximum length of a list of dependencies in bytes, each with a space. A client can't read a
/// longer line from its own database (measured).
const MAX_LIST: usize = 131_040;
/// The maximum number of bytes of a commit. A v2 package has it in hexadecimal digits.
const MAX_COMMIT: usize = 64;

/// Where the information stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Source {
    /// In a package. Versions must be of apk's grammar.
    Package,
    /// In an index. It may list v2 packages with other versions, as a v2 index may.
    Index,
}

/// Why the information about a package is rejected.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InfoError {
    /// A value is malformed.
    #[error("the package's `{field}` can't be read")]
    Malformed {
        /// Its name in apk.
        field: &'static str,
        /// What is wrong with it.
        source: ValueError,
    },
    /// A value that every package has is absent.
    #[error("the package has no `{field}`")]
    Missing {
        /// Its name in apk.
        field: &'static str,
    },
    /// A text or a list is too long.
    #[error("the package's `{field}` has over {max} bytes, too many to be listed")]
    Length {
        /// Its name in apk.
        field: &'static str,
        /// The limit.
        max: usize,
    },
    /// A value breaks the rule of its type.
    #[error("the package has an invalid `{field}`")]
    Value {
        /// Its name in apk.
        field: &'static str,
        /// The rule that the value breaks.
        source: InvalidValue,
    },
    /// The version is outside the grammar of `apk version --check`.
    #[error("the package has the version `{version}`, which is none that apk can order")]
    Version {
        /// The version.
        version: Excerpt,
    },
    /// A dependency is malformed.
    #[error("the package has an invalid `{field}`")]
    Dependency {
        /// Its name in apk.
        field: &'static str,
        /// The rule that the dependency breaks.
        source: DependencyError,
    },
    /// A dependency has no spelling: its name has an operator, or its version is compared in a way
    /// that apk does not know.
    #[error("the package's `{field}` has `{name}` with the match {number}, which apk can't write")]
    Match {
        /// The name of the list in apk.
        field: &'static str,
        /// The name in the dependency.
        name: Excerpt,
        /// The number of the comparison.
        number: u64,
    },
    /// The priority of what it provides is too great: a client would cut it to 16 bits (measured).
    #[error(
        "the package's `provider-priority` is {priority}, more than the {} of clients",
        u16::MAX
    )]
    Priority {
        /// The priority.
        priority: u64,
    },
}

/// Reads the information about a package. Slots that apk does not have are ignored, as clients do
/// (measured), and so are `hashes` and `file-size`, which are the caller's.
pub(crate) fn read(info: Table<'_>, source: Source) -> Result<Metadata, InfoError> {
    let list = |slot, field| read_list(info.get(slot), field, source);
    let metadata = Metadata {
        name: required(info.get(slot::NAME), "name")?,
        version: required(info.get(slot::VERSION), "version")?,
        architecture: required(info.get(slot::ARCHITECTURE), "arch")?,
        installed_size: number(info.get(slot::INSTALLED_SIZE), "installed-size")?,
        description: text(info.get(slot::DESCRIPTION), "description")?,
        url: text(info.get(slot::URL), "url")?,
        license: text(info.get(slot::LICENSE), "license")?,
        origin: text(info.get(slot::ORIGIN), "origin")?,
        maintainer: text(info.get(slot::MAINTAINER), "maintainer")?,
        build_time: number(info.get(slot::BUILD_TIME), "build-time")?,
        commit: commit(info.get(slot::REPOSITORY_COMMIT))?,
        provider_priority: priority(info.get(slot::PROVIDER_PRIORITY))?,
        depends: list(slot::DEPENDS, "depends")?,
        provides: list(slot::PROVIDES, "provides")?,
        install_if: list(slot::INSTALL_IF, "install-if")?,
        replaces: list(slot::REPLACES, "replaces")?,
        recommends: list(slot::RECOMMENDS, "recommends")?,
        tags: tags(info.get(slot::TAGS))?,
        layer: number(info.get(slot::LAYER), "layer")?,
    };
    if source == Source::Package && !metadata.version.is_canonical() {
        let version = Excerpt::of(metadata.version.as_str().as_bytes());
        return Err(InfoError::Version { version });
    }
    Ok(metadata)
}

fn malformed(field: &'static str) -> impl Fn(ValueError) -> InfoError {
    move |source| InfoError::Malformed { field, source }
}

fn number(value: Value<'_>, field: &'static str) -> Result<u64, InfoError> {
    Ok(value.int().map_err(malformed(field))?.unwrap_or_default())
}

fn short<'a>(value: Value<'a>, field: &'static str) -> Result<&'a str, InfoError> {
    let text = value.text().map_err(malformed(field))?;
    if text.len() > MAX_TEXT {
        return Err(InfoError::Length { field, max: MAX_TEXT });
    }
    Ok(text)
}

fn text(value: Value<'_>, field: &'static str) -> Result<FieldText, InfoError> {
    short(value, field)?.parse().map_err(|source| InfoError::Value { field, source })
}

fn required<T>(value: Value<'_>, field: &'static str) -> Result<T, InfoError>
where
    T: std::str::FromStr<Err = InvalidValue>,
{
    match short(value, field)? {
        "" => Err(InfoError::Missing { field }),
        text => text.parse().map_err(|source| InfoError::Value { field, source }),
    }
}

/// Returns the commit in hexadecimal digits, as a v2 package has it.
fn commit(value: Value<'_>) -> Result<FieldText, InfoError> {
    let field = "repo-commit";
    let commit = value.blob().map_err(malformed(field))?;
    if commit.len() > MAX_COMMIT {
        return Err(InfoError::Length { field, max: MAX_COMMIT });
    }
    hex::encode(commit).parse().map_err(|source| InfoError::Value { field, source })
}

fn priority(value: Value<'_>) -> Result<u16, InfoError> {
    let priority = number(value, "provider-priority")?;
    u16::try_from(priority).map_err(|_| InfoError::Priority { priority })
}

fn read_list(
    value: Value<'_>,
    field: &'static str,
    source: Source,
) -> Result<Dependencies, InfoError> {
    let max = if field == "replaces" { MAX_REPLACES } else { MAX_LIST };
    let mut list = Dependencies::default();
    for item in value.array().map_err(malformed(field))?.iter() {
        let item = item.object().map_err(malformed(field))?;
        let name = item.get(dependency::NAME).text().map_err(malformed(field))?;
        let version = item.get(dependency::VERSION).text().map_err(malformed(field))?;
        let number = number(item.get(dependency::MATCH), field)?;
        // Longer ones are refused below, whatever they are.
        if name.len() + version.len() > max {
            return Err(InfoError::Length { field, max });
        }
        let token = Dependency::token_of_parts(name, version, number);
        let token = token.ok_or_else(|| {
            let name = Excerpt::of(name.as_bytes());
            InfoError::Match { field, name, number }
        })?;
        let parsed = match (source, field) {
            (Source::Package, "provides") => Dependency::parse(&token)
                .and_then(|parsed| Dependency::parse_provided(&token).map(|_| parsed)),
            (Source::Package, _) => Dependency::parse(&token),
            (Source::Index, "provides") => Dependency::parse_provided(&token),
            (Source::Index, _) => Dependency::parse_listed(&token),
        };
        list.push(parsed.map_err(|source| InfoError::Dependency { field, source })?);
        if list.as_str().len() >= max {
            return Err(InfoError::Length { field, max });
        }
    }
    Ok(list)
}

fn tags(value: Value<'_>) -> Result<Tags, InfoError> {
    let field = "tags";
    let mut tags = Tags::default();
    for tag in value.array().map_err(malformed(field))?.iter() {
        let tag = tag.text().map_err(malformed(field))?;
        tags.push(tag).map_err(|source| InfoError::Value { field, source })?;
    }
    Ok(tags)
}

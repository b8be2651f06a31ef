//! The tags of a v3 package.

use crate::value::InvalidValue;

/// The maximum length of all tags together in bytes. A client can't read a line of some 131,060
/// from its own database (measured).
const MAX_LENGTH: usize = 65_000;

/// The tags of a package, such as `openwrt:abiversion=20`, in the package's order, repeats
/// included.
///
/// A tag has one or more ASCII letters, digits and `._+,:/[]=-`, the rule of `apk mkpkg` 3.0.8
/// (measured). Stored as one line with spaces between them, of at most 65,000 bytes.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Tags(String);

impl Tags {
    /// Returns the tags in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_terminator(' ')
    }

    /// Returns the line.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Appends a tag.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`], for a tag with other characters, or if all tags get too long.
    pub fn push(&mut self, tag: &str) -> Result<(), InvalidValue> {
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"._+,:/[]=-".contains(&b);
        let rule = if tag.is_empty() || !tag.bytes().all(is_allowed) {
            "is not made of ASCII letters, digits, and `.`, `_`, `+`, `,`, `:`, `/`, `[`, `]`, `=`, `-`"
        } else if self.0.len() + tag.len() >= MAX_LENGTH {
            "brings the tags to more than 65000 bytes, more than a client can read again"
        } else {
            if !self.0.is_empty() {
                self.0.push(' ');
            }
            self.0.push_str(tag);
            return Ok(());
        };
        Err(InvalidValue::new("tag", tag, rule))
    }
}

/// Parses a line of tags with single spaces between them; an empty one has none.
impl std::str::FromStr for Tags {
    type Err = InvalidValue;

    fn from_str(line: &str) -> Result<Self, InvalidValue> {
        let mut tags = Self::default();
        if !line.is_empty() {
            line.split(' ').try_for_each(|tag| tags.push(tag))?;
        }
        Ok(tags)
    }
}

impl std::fmt::Display for Tags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("")]
    #[case("openwrt:abiversion=20 alpine:x alpine:x")]
    #[case("aZ0._+,:/[]=-")]
    fn a_line_of_tags_is_printed_as_it_is_parsed(#[case] line: &str) {
        let tags: Tags = line.parse().unwrap();
        assert_eq!(tags.to_string(), line);
        assert_eq!(tags.iter().collect::<Vec<_>>().join(" "), line);
    }

    #[rstest]
    #[case("a\nb")]
    #[case("a  b")]
    #[case(" a")]
    #[case("a!")]
    #[case("ä")]
    #[case(&"a".repeat(65_001))]
    fn a_tag_that_mkpkg_refuses_is_refused(#[case] line: &str) {
        assert!(line.parse::<Tags>().is_err());
    }

    #[test]
    fn all_tags_together_are_limited() {
        let mut tags: Tags = "a".repeat(64_990).parse().unwrap();
        tags.push("bbbbbbbb").unwrap();
        assert_eq!(tags.as_str().len(), 64_999);
        assert!(tags.push("").is_err());
        assert!(tags.push("c").is_err());
    }
}

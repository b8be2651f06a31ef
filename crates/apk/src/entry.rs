//! The index entry: the lines of one package in `APKINDEX`.

use std::{fmt, fmt::Write as _, str::FromStr};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

use crate::{
    checksum::{Identity, PullChecksum},
    dependency::{Dependencies, Dependency, DependencyError},
    metadata::Metadata,
    tags::Tags,
    text::Excerpt,
    value::{Architecture, InvalidValue},
};

/// One package in an index.
///
/// Prints and parses the lines that `apk index` writes, in its order, with the empty line that ends
/// an entry: `C P V A S I T U L [o] [m] [t] [c] [k] [D] [p] [i]` (measured on apk-tools 3.0.8 and
/// on the 9,933 entries of Alpine 3.16 and 3.17).
///
/// These lines lack some fields of [`Metadata`], and no v2 index may list a v3 package: an entry of
/// one prints for messages alone. [`IndexEntry::stored`] and [`Serialize`] give all of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IndexEntry {
    /// `C:`
    pub identity: Identity,
    /// `S:`: the size of the package file in bytes
    pub size: u64,
    /// All other fields
    pub metadata: Metadata,
}

/// The maximum length of the lines `C:` to `k:` together, in bytes: `apk index` has a buffer of
/// 2048 for them, and gives up on the whole index if they do not fit (measured).
const MAX_HEAD: usize = 2000;

/// Which lines an entry has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    /// Those of an index.
    Index,
    /// Those of [`IndexEntry::stored`].
    Stored,
}

impl Form {
    /// Returns the letters of the fields, in order.
    fn letters(self) -> &'static str {
        match self {
            Self::Index => "CPVASITULomtckDpi",
            Self::Stored => "CPVASITULomtckDpiregy",
        }
    }
}

/// The lines that are always printed, but may be absent when an entry is parsed.
const ABSENT_LINES: &str = "S:0\nI:0\nT:\nU:\nL:\n";

/// The maximum length of an entry in bytes. A client drops the whole index for a line of 128 KiB
/// (measured), and an entry must fit into the 256 KiB of a Step Functions payload even if each byte
/// is escaped. The longest entry of Alpine 3.16 has 4 KiB.
const MAX_ENTRY: usize = 96 * 1024;

/// Why something can't be an index entry.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// The lines before the dependencies are too long for `apk index`'s buffer.
    #[error("its name, description and other texts take {length} bytes, more than {MAX_HEAD}")]
    HeadLength {
        /// Bytes of the lines `C:` to `k:`.
        length: usize,
    },
    /// The whole entry is too long.
    #[error("its index entry takes {length} bytes, more than {MAX_ENTRY}")]
    Length {
        /// Bytes of the entry.
        length: usize,
    },
    /// A line is not a letter, a colon and a value.
    #[error("line `{line}` is not a letter, `:` and a value")]
    Line {
        /// The line.
        line: Excerpt,
    },
    /// No field has this letter.
    #[error("field `{letter}:` is unknown")]
    Unknown {
        /// The letter.
        letter: char,
    },
    /// A field occurs twice.
    #[error("field `{letter}:` is repeated")]
    Repeated {
        /// The letter.
        letter: char,
    },
    /// A field comes after one that it must precede.
    #[error("field `{letter}:` is out of order")]
    Order {
        /// The letter.
        letter: char,
    },
    /// A field that every entry has is absent.
    #[error("field `{letter}:` is missing")]
    Missing {
        /// The letter.
        letter: char,
    },
    /// A value breaks the rule of its type.
    #[error("field `{letter}:` is invalid")]
    Value {
        /// The letter.
        letter: char,
        /// The rule that the value breaks.
        source: InvalidValue,
    },
    /// A value is not a decimal number.
    #[error("field `{letter}:` has `{value}` instead of a number")]
    Number {
        /// The letter.
        letter: char,
        /// The value.
        value: Excerpt,
    },
    /// A dependency is malformed.
    #[error("field `{letter}:` is invalid")]
    Dependency {
        /// The letter.
        letter: char,
        /// The rule that the dependency breaks.
        source: DependencyError,
    },
}

impl IndexEntry {
    /// Makes the entry of a package in the directory of `architecture`.
    ///
    /// `size` is that of the package file in bytes. If the package installs or runs anything
    /// (`has_content`), an installed size of 0 becomes 1, because clients take 0 for "nothing to
    /// download". abuild does the same.
    ///
    /// # Errors
    ///
    /// [`EntryError::HeadLength`], [`EntryError::Length`]: one entry that is too long can make apk
    /// give up on the whole index.
    pub fn new(
        metadata: Metadata,
        architecture: Architecture,
        identity: Identity,
        size: u64,
        has_content: bool,
    ) -> Result<Self, EntryError> {
        let installed_size = metadata.installed_size.max(u64::from(has_content));
        let metadata = Metadata { architecture, installed_size, ..metadata };
        let entry = Self { identity, size, metadata };
        entry.check_length()?;
        Ok(entry)
    }

    /// Returns `<name>-<version>`, the stem of the file names of a package and its fragment.
    pub fn file_stem(&self) -> String {
        format!("{}-{}", self.metadata.name, self.metadata.version)
    }

    /// Returns the text in which fragments and snapshots keep an entry: the lines of an index, and
    /// after `i:`, unless empty, `r:` [`replaces`](Metadata::replaces), `e:`
    /// [`recommends`](Metadata::recommends), `g:` [`tags`](Metadata::tags) and `y:`
    /// [`layer`](Metadata::layer). `C:` is a `Q2…` for a v3 package.
    ///
    /// `r:` and `g:` are the letters in a client's own database; the other two are ours.
    pub fn stored(&self) -> impl fmt::Display + '_ {
        Stored(self)
    }

    /// Parses what [`IndexEntry::stored`] returns, as strictly as [`FromStr`] does the lines of an
    /// index.
    ///
    /// # Errors
    ///
    /// [`EntryError`].
    pub fn from_stored(text: &str) -> Result<Self, EntryError> {
        Self::parse(text, Form::Stored)
    }

    fn parse(text: &str, form: Form) -> Result<Self, EntryError> {
        if text.len() > MAX_ENTRY + 1 {
            return Err(EntryError::Length { length: text.len() });
        }
        let mut fields = Fields::of(text);
        let identity = match form {
            Form::Index => Identity::Control(fields.required::<PullChecksum>('C')?),
            Form::Stored => fields.required('C')?,
        };
        let (name, version) = (fields.required('P')?, fields.required('V')?);
        let architecture = fields.required('A')?;
        let size = fields.number('S')?;
        let mut metadata = Metadata {
            name,
            version,
            architecture,
            installed_size: fields.number('I')?,
            description: fields.optional('T')?,
            url: fields.optional('U')?,
            license: fields.optional('L')?,
            origin: fields.optional('o')?,
            maintainer: fields.optional('m')?,
            build_time: fields.number('t')?,
            commit: fields.optional('c')?,
            provider_priority: fields.number('k')?,
            depends: fields.list('D', Dependency::parse_listed)?,
            provides: fields.list('p', Dependency::parse_provided)?,
            install_if: fields.list('i', Dependency::parse_listed)?,
            replaces: Dependencies::default(),
            recommends: Dependencies::default(),
            tags: Tags::default(),
            layer: 0,
        };
        if form == Form::Stored {
            metadata.replaces = fields.list('r', Dependency::parse_listed)?;
            metadata.recommends = fields.list('e', Dependency::parse_listed)?;
            metadata.tags = fields.optional('g')?;
            metadata.layer = fields.number('y')?;
        }
        let entry = Self { identity, size, metadata };
        fields.finish(form)?;
        // It prints no longer than `text`, except for lines that are absent there.
        if text.len() + ABSENT_LINES.len() >= MAX_HEAD {
            entry.check_length()?;
        }
        Ok(entry)
    }

    /// Returns how many bytes it has, stored.
    ///
    /// # Errors
    ///
    /// [`EntryError::HeadLength`], [`EntryError::Length`].
    pub(crate) fn check_length(&self) -> Result<usize, EntryError> {
        let mut length = Length(0);
        let _infallible = self.write_head(&mut length);
        if length.0 > MAX_HEAD {
            return Err(EntryError::HeadLength { length: length.0 });
        }
        let _infallible = self.write_lists(&mut length).and(self.write_more(&mut length));
        if length.0 > MAX_ENTRY {
            return Err(EntryError::Length { length: length.0 });
        }
        Ok(length.0)
    }

    fn write_head(&self, f: &mut impl fmt::Write) -> fmt::Result {
        let metadata = &self.metadata;
        writeln!(f, "C:{}", self.identity)?;
        write_text(f, "P:", metadata.name.as_str())?;
        write_text(f, "V:", metadata.version.as_str())?;
        write_text(f, "A:", metadata.architecture.as_str())?;
        writeln!(f, "S:{}\nI:{}", self.size, metadata.installed_size)?;
        write_text(f, "T:", metadata.description.as_str())?;
        write_text(f, "U:", metadata.url.as_str())?;
        write_text(f, "L:", metadata.license.as_str())?;
        write_text_unless_empty(f, "o:", metadata.origin.as_str())?;
        write_text_unless_empty(f, "m:", metadata.maintainer.as_str())?;
        write_number_unless_zero(f, "t:", metadata.build_time)?;
        write_text_unless_empty(f, "c:", metadata.commit.as_str())?;
        write_number_unless_zero(f, "k:", metadata.provider_priority.into())
    }

    fn write_lists(&self, f: &mut impl fmt::Write) -> fmt::Result {
        let Metadata { depends, provides, install_if, .. } = &self.metadata;
        write_text_unless_empty(f, "D:", depends.as_str())?;
        write_text_unless_empty(f, "p:", provides.as_str())?;
        write_text_unless_empty(f, "i:", install_if.as_str())
    }

    /// Writes what no index has.
    fn write_more(&self, f: &mut impl fmt::Write) -> fmt::Result {
        let Metadata { replaces, recommends, tags, layer, .. } = &self.metadata;
        write_text_unless_empty(f, "r:", replaces.as_str())?;
        write_text_unless_empty(f, "e:", recommends.as_str())?;
        write_text_unless_empty(f, "g:", tags.as_str())?;
        write_number_unless_zero(f, "y:", *layer)
    }
}

/// Prints all of an entry.
struct Stored<'a>(&'a IndexEntry);

impl fmt::Display for Stored<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write_head(f)?;
        self.0.write_lists(f)?;
        self.0.write_more(f)?;
        f.write_char('\n')
    }
}

/// Counts the bytes of what is printed.
struct Length(usize);

impl fmt::Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

fn write_text(f: &mut impl fmt::Write, letter: &str, text: &str) -> fmt::Result {
    f.write_str(letter)?;
    f.write_str(text)?;
    f.write_char('\n')
}

fn write_text_unless_empty(f: &mut impl fmt::Write, letter: &str, text: &str) -> fmt::Result {
    if text.is_empty() { Ok(()) } else { write_text(f, letter, text) }
}

fn write_number_unless_zero(f: &mut impl fmt::Write, letter: &str, number: u64) -> fmt::Result {
    if number == 0 { Ok(()) } else { writeln!(f, "{letter}{number}") }
}

impl fmt::Display for IndexEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_head(f)?;
        self.write_lists(f)?;
        f.write_char('\n')
    }
}

/// Serialises what [`IndexEntry::stored`] returns.
impl Serialize for IndexEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.stored())
    }
}

/// Written by hand to avoid allocations: `#[serde(try_from = "String", into = "String")]` would
/// make two strings and clone the entry, for each package of a snapshot of an earlier build.
impl<'de> Deserialize<'de> for IndexEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = IndexEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an index entry")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<IndexEntry, E> {
                IndexEntry::from_stored(text).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// Parses the lines of one entry; the empty line at its end may be absent.
///
/// Strict: an accepted text is printed unchanged, except for the canonical spelling of dependencies
/// and numbers, and for empty fields, which may be omitted or added.
impl FromStr for IndexEntry {
    type Err = EntryError;

    fn from_str(text: &str) -> Result<Self, EntryError> {
        Self::parse(text, Form::Index)
    }
}

/// The lines of an entry.
struct Fields<'a> {
    lines: &'a str,
    /// The lines that have not been taken yet, if any.
    rest: Option<&'a str>,
}

impl<'a> Fields<'a> {
    fn of(text: &'a str) -> Self {
        let lines = text.strip_suffix('\n').unwrap_or(text);
        let lines = lines.strip_suffix('\n').unwrap_or(lines);
        Self { lines, rest: Some(lines) }
    }

    /// Takes the value of the next line, if it has this letter.
    fn take(&mut self, letter: char) -> Option<&'a str> {
        let rest = self.rest?.strip_prefix(letter)?.strip_prefix(':')?;
        let (value, rest) = match rest.split_once('\n') {
            Some((value, rest)) => (value, Some(rest)),
            None => (rest, None),
        };
        self.rest = rest;
        Some(value)
    }

    fn required<T: FromStr<Err = InvalidValue>>(&mut self, letter: char) -> Result<T, EntryError> {
        let value = self.take(letter).ok_or_else(|| self.missing(letter))?;
        value.parse().map_err(|source| EntryError::Value { letter, source })
    }

    fn optional<T: FromStr<Err = InvalidValue>>(&mut self, letter: char) -> Result<T, EntryError> {
        let value = self.take(letter).unwrap_or_default();
        value.parse().map_err(|source| EntryError::Value { letter, source })
    }

    fn number<T: FromStr + Default>(&mut self, letter: char) -> Result<T, EntryError> {
        let Some(value) = self.take(letter) else { return Ok(T::default()) };
        let digits = value.bytes().all(|b| b.is_ascii_digit());
        value
            .parse()
            .ok()
            .filter(|_| digits)
            .ok_or_else(|| EntryError::Number { letter, value: Excerpt::of(value.as_bytes()) })
    }

    fn list(
        &mut self,
        letter: char,
        parse: impl Fn(&'a str) -> Result<Dependency<'a>, DependencyError>,
    ) -> Result<Dependencies, EntryError> {
        let mut dependencies = Dependencies::default();
        dependencies
            .extend_from_line(self.take(letter).unwrap_or_default(), parse)
            .map_err(|source| EntryError::Dependency { letter, source })?;
        Ok(dependencies)
    }

    /// Returns why the next line does not have this letter.
    fn missing(&self, letter: char) -> EntryError {
        match self.next_letter() {
            Err(error) => error,
            Ok(_) => EntryError::Missing { letter },
        }
    }

    /// Checks that all lines were taken, or returns what is wrong with the next one.
    fn finish(self, form: Form) -> Result<(), EntryError> {
        match self.next_letter()? {
            None => Ok(()),
            Some(letter) if !form.letters().contains(letter) => Err(EntryError::Unknown { letter }),
            Some(letter) if self.is_taken(letter) => Err(EntryError::Repeated { letter }),
            Some(letter) => Err(EntryError::Order { letter }),
        }
    }

    /// Returns whether a line with this letter was taken.
    fn is_taken(&self, letter: char) -> bool {
        let rest = self.rest.map_or(0, str::len);
        let taken = self.lines.get(..self.lines.len() - rest).unwrap_or_default();
        taken.lines().any(|line| line.starts_with(letter))
    }

    /// Returns the letter of the next line, if there is a line.
    fn next_letter(&self) -> Result<Option<char>, EntryError> {
        let Some(line) = self.rest.and_then(|lines| lines.split('\n').next()) else {
            return Ok(None);
        };
        let letter = line.split_once(':').and_then(|(letter, _)| letter.parse().ok());
        match letter {
            Some(letter) => Ok(Some(letter)),
            None => Err(EntryError::Line { line: Excerpt::of(line.as_bytes()) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const ENTRY: &str = "C:Q1DNWZeWkviN7MJedLpYM8yBvmnGM=\nP:hello\nV:0.1.0-r0\nA:x86_64\n\
        S:499\nI:4117\nT:A = b\nU:\nL:MIT\no:hello\nm:A <a@b.c>\nt:1\nc:abc\nk:5\nD:a !b<2\n\
        p:c=1 d=0unstable\ni:e f\n\n";

    #[test]
    fn parsing_and_printing_are_inverse() {
        let entry: IndexEntry = ENTRY.parse().unwrap();
        assert_eq!(entry.to_string(), ENTRY);
        assert_eq!(entry.file_stem(), "hello-0.1.0-r0");
    }

    #[test]
    fn what_no_index_has_is_stored_after_the_lines_of_an_index() {
        let v3 = "C:Q2ypnNQgDCM8SJ1ZnQeMPnvhYgMd9iJXR/SyVPz8LFjuQ=";
        let more = "r:old other>=1\ne:nice\ng:openwrt:abiversion=20\ny:1\n\n";
        let stored = ENTRY.replacen("C:Q1DNWZeWkviN7MJedLpYM8yBvmnGM=", v3, 1);
        let stored = stored.replacen("i:e f\n\n", &format!("i:e f\n{more}"), 1);
        let entry = IndexEntry::from_stored(&stored).unwrap();
        assert_eq!(entry.stored().to_string(), stored);
        assert_eq!(entry.to_string(), stored.replacen(more, "\n", 1), "for messages");
        for (line, letter) in
            [(v3, 'C'), ("r:old\n", 'r'), ("e:a", 'e'), ("g:a", 'g'), ("y:1", 'y')]
        {
            let text = match letter {
                'C' => ENTRY.replacen("C:Q1DNWZeWkviN7MJedLpYM8yBvmnGM=", line, 1),
                _ => ENTRY.replacen("\n\n", &format!("\n{line}"), 1),
            };
            assert!(IndexEntry::from_stored(&text).is_ok(), "{line}");
            let error = text.parse::<IndexEntry>().unwrap_err();
            assert!(error.to_string().starts_with(&format!("field `{letter}:` is ")), "{error}");
        }
    }

    #[test]
    fn the_fields_of_a_stored_entry_have_an_order() {
        let text = ENTRY.replacen("\n\n", "\ng:a\ne:b\n", 1);
        let error = IndexEntry::from_stored(&text).unwrap_err();
        assert_eq!(error, EntryError::Order { letter: 'e' });
    }

    #[test]
    fn what_a_v2_index_has_is_stored_as_it_is() {
        let entry: IndexEntry = ENTRY.parse().unwrap();
        assert_eq!(entry.stored().to_string(), ENTRY);
        assert_eq!(IndexEntry::from_stored(ENTRY), Ok(entry));
    }

    #[test]
    fn lists_that_no_index_has_count_for_the_length_of_an_entry() {
        let list = |length: usize| "abcdefgh ".repeat(length / 9);
        let text = ENTRY.replacen("D:a", &format!("D:{}a", list(60_000)), 1);
        let text = |more| text.replacen("\n\n", &format!("\nr:{}", list(more)), 1);
        assert!(IndexEntry::from_stored(&text(30_000)).is_ok());
        let error = IndexEntry::from_stored(&text(38_200)).unwrap_err();
        assert!(matches!(error, EntryError::Length { .. }), "{error}");
    }

    #[rstest]
    #[case::forged_entry("L:MIT\n", "L:MIT\n\nC:Q1DNWZeWkviN7MJedLpYM8yBvmnGM=\n")]
    #[case::unknown_letter("L:MIT\n", "L:MIT\nZ:1\n")]
    #[case::repeated_letter("P:hello\n", "P:hello\nP:other\n")]
    #[case::no_checksum("C:Q1DNWZeWkviN7MJedLpYM8yBvmnGM=\n", "")]
    #[case::not_a_field("T:A = b\n", "T:A = b\nX\n")]
    #[case::climbing_name("P:hello", "P:../hello")]
    #[case::signed_number("S:499", "S:+499")]
    #[case::carriage_return("T:A = b\n", "T:A = b\r\n")]
    #[case::empty_line("i:e f\n\n", "i:e f\n\n\n")]
    fn an_entry_that_could_harm_an_index_is_rejected(#[case] good: &str, #[case] bad: &str) {
        let text = ENTRY.replacen(good, bad, 1);
        assert_ne!(text, ENTRY);
        assert!(text.parse::<IndexEntry>().is_err(), "{text}");
    }

    #[rstest]
    #[case("L:MIT\n", "L:MIT\nZ:1\n", "field `Z:` is unknown")]
    #[case("L:MIT\n", "L:MIT\nL:MIT\n", "field `L:` is repeated")]
    #[case("c:abc\nk:5\n", "k:5\nc:abc\n", "field `c:` is out of order")]
    fn a_field_that_does_not_belong_where_it_is_gets_its_reason(
        #[case] good: &str,
        #[case] bad: &str,
        #[case] reason: &str,
    ) {
        let error = ENTRY.replacen(good, bad, 1).parse::<IndexEntry>().unwrap_err();
        assert_eq!(error.to_string(), reason);
    }

    #[test]
    fn texts_that_would_overrun_the_buffer_of_apk_index_are_rejected() {
        let text = ENTRY.replacen("T:A = b", &format!("T:{}", "x".repeat(2000)), 1);
        assert!(matches!(text.parse::<IndexEntry>(), Err(EntryError::HeadLength { .. })));
    }

    #[test]
    fn the_lines_that_are_absent_count_for_that_buffer() {
        let head = "C:Q1DNWZeWkviN7MJedLpYM8yBvmnGM=\nP:hello\nV:0.1.0-r0\nA:x86_64\n";
        let printed = head.len() + ABSENT_LINES.len() + "m:".len() + "\n".len();
        let text = |maintainer| format!("{head}m:{}", "x".repeat(maintainer));
        assert!(text(MAX_HEAD - printed).parse::<IndexEntry>().is_ok());
        let error = text(MAX_HEAD - printed + 1).parse::<IndexEntry>().unwrap_err();
        assert_eq!(error, EntryError::HeadLength { length: MAX_HEAD + 1 });
    }

    #[test]
    fn lists_that_would_overrun_a_state_are_rejected() {
        let list = "abcdefgh ".repeat(11_000);
        let text = ENTRY.replacen("D:a", &format!("D:{list}a"), 1);
        assert!(matches!(text.parse::<IndexEntry>(), Err(EntryError::Length { .. })));
    }
}

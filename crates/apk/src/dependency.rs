//! Dependency tokens: those of `D:`, `p:` and `i:` in an index, and of `depend`, `provides` and
//! `install_if` in `.PKGINFO`.

use std::{cmp::Ordering, fmt, fmt::Write as _};

use crate::{
    checksum::PullChecksum,
    foreign,
    text::Excerpt,
    version::{self, Version},
};

/// Why a token is not a dependency.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DependencyError {
    /// The name is empty, has a tag (`@`), a space or a control character, is a piece of Debian's
    /// or RPM's syntax, or begins with `!` in `provides`.
    #[error("dependency `{token}` has an invalid name")]
    Name {
        /// The whole token.
        token: Excerpt,
    },
    /// apk has no canonical spelling for the operator.
    #[error("dependency `{token}` has an operator other than = < <= > >= ~ <~ >~ ><")]
    Operator {
        /// The whole token.
        token: Excerpt,
    },
    /// The version is missing, or outside the grammar of `apk version --check`.
    #[error("dependency `{token}` has no valid version after its operator")]
    Version {
        /// The whole token.
        token: Excerpt,
    },
    /// It is in the syntax of deb or rpm.
    #[error("dependency `{token}` is not written as apk has it: write `{apk}`")]
    Foreign {
        /// The whole dependency.
        token: Excerpt,
        /// The same in apk's syntax.
        apk: String,
    },
    /// It has alternatives, in the syntax of deb.
    #[error("dependency `{token}` has alternatives, which apk does not know: write `{apk}`")]
    Alternatives {
        /// The whole dependency.
        token: Excerpt,
        /// Each alternative in apk's syntax.
        apk: String,
    },
    /// The token is longer than `apk index` can write (measured: 256 bytes with its space).
    #[error("dependency `{token}` is longer than {max} bytes", max = Dependency::MAX_LENGTH)]
    Length {
        /// The whole token.
        token: Excerpt,
    },
}

/// How a dependency's version is compared. `as_str` returns apk's canonical spelling.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Operator {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Checksum,
    Fuzzy,
    FuzzyLess,
    FuzzyGreater,
}

impl Operator {
    /// Reads an operator as apk does: as a set of characters, where `~` includes `=`.
    fn parse(text: &str) -> Option<Self> {
        let has = |c| text.contains(c);
        Some(match (has('<'), has('>'), has('='), has('~')) {
            (false, false, true, false) => Self::Equal,
            (true, false, false, false) => Self::Less,
            (true, false, true, false) => Self::LessOrEqual,
            (false, true, false, false) => Self::Greater,
            (false, true, true, false) => Self::GreaterOrEqual,
            (true, true, false, false) => Self::Checksum,
            (false, false, _, true) => Self::Fuzzy,
            (true, false, _, true) => Self::FuzzyLess,
            (false, true, _, true) => Self::FuzzyGreater,
            _ => return None,
        })
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Checksum => "><",
            Self::Fuzzy => "~",
            Self::FuzzyLess => "<~",
            Self::FuzzyGreater => ">~",
        }
    }

    /// Returns the operator as a set of bits, by which a v3 file has it: 1 is `=`, 2 `<`, 4 `>` and
    /// 8 `~`, which includes `=` (measured).
    fn bits(self) -> u64 {
        match self {
            Self::Equal => 1,
            Self::Less => 2,
            Self::LessOrEqual => 3,
            Self::Greater => 4,
            Self::GreaterOrEqual => 5,
            Self::Checksum => 6,
            Self::Fuzzy => 9,
            Self::FuzzyLess => 11,
            Self::FuzzyGreater => 13,
        }
    }

    /// Returns the operator of such a set of bits.
    fn of_bits(bits: u64) -> Option<Self> {
        Some(match bits {
            // No bit is `=`, and `~` alone is what it is with `=` (measured).
            0 | 1 => Self::Equal,
            2 => Self::Less,
            3 => Self::LessOrEqual,
            4 => Self::Greater,
            5 => Self::GreaterOrEqual,
            6 => Self::Checksum,
            8 | 9 => Self::Fuzzy,
            11 => Self::FuzzyLess,
            13 => Self::FuzzyGreater,
            _ => return None,
        })
    }

    /// Returns whether `version` satisfies this operator with `wanted`.
    fn admits(self, version: &str, wanted: &str) -> bool {
        let order = version::compare(version, wanted);
        let is_like = || version::begins_with(version, wanted);
        match self {
            Self::Equal => order == Ordering::Equal,
            Self::Less => order == Ordering::Less,
            Self::LessOrEqual => order != Ordering::Greater,
            Self::Greater => order == Ordering::Greater,
            Self::GreaterOrEqual => order != Ordering::Less,
            Self::Checksum => false,
            Self::Fuzzy => is_like(),
            Self::FuzzyLess => order == Ordering::Less || is_like(),
            Self::FuzzyGreater => order == Ordering::Greater || is_like(),
        }
    }
}

/// One token of a dependency list, such as `so:libc.musl-x86_64.so.1`, `!foo<2` or `bar~=1.2`.
///
/// Prints in canonical spelling: `=>` becomes `>=`, `~=` becomes `~`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Dependency<'a> {
    conflict: bool,
    name: &'a str,
    constraint: Option<(Operator, &'a str)>,
}

impl<'a> Dependency<'a> {
    /// The maximum length of a token in bytes.
    pub const MAX_LENGTH: usize = 250;

    /// Parses a token of `depend` or `install_if`.
    ///
    /// # Errors
    ///
    /// [`DependencyError`], if apk would reject or garble it.
    pub fn parse(token: &'a str) -> Result<Self, DependencyError> {
        Self::parse_with(token, |operator, version| match operator {
            Operator::Checksum => version.parse::<PullChecksum>().is_ok(),
            _ => version::is_canonical(version),
        })
    }

    /// Parses a token of `provides`, whose version may be outside the grammar.
    ///
    /// Wolfi ships `so:libaws-c-s3.so.0unstable=0unstable`, and others `cmd:nginx=1.12.2-1~x86_64`.
    /// apk lists such a token unchanged and resolves it by its name, but reports on each command
    /// that the indexes contain broken packages (measured): see
    /// [`warnings`](crate::warning::warnings).
    ///
    /// # Errors
    ///
    /// Those of [`Dependency::parse`], except for the grammar of the version; also for a token that
    /// begins with `!`.
    pub fn parse_provided(token: &'a str) -> Result<Self, DependencyError> {
        let provided = Self::parse_with(token, |_, _| true)?;
        // A client reads `!a` as `a` (measured).
        if provided.conflict {
            return Err(DependencyError::Name { token: Excerpt::of(token.as_bytes()) });
        }
        Ok(provided)
    }

    /// Parses a token of an index, whose version may be any [`Version`], even one outside the
    /// grammar.
    ///
    /// Alpine 3.16 lists `opensmtpd=6.8.0p2-r4`, which apk 3 would reject in a package.
    ///
    /// # Errors
    ///
    /// Those of [`Dependency::parse`], except for the grammar of the version.
    pub(crate) fn parse_listed(token: &'a str) -> Result<Self, DependencyError> {
        Self::parse_with(token, |operator, version| {
            operator == Operator::Checksum
                || version::is_canonical(version)
                || version.parse::<Version>().is_ok()
        })
    }

    /// Returns the number that a v3 file has for how the version is compared, and for a conflict.
    /// It is 0, and absent in the file, for `=`, and for a dependency that takes any version.
    pub(crate) fn match_bits(&self) -> u64 {
        /// A conflict: the dependency begins with `!`.
        const CONFLICT: u64 = 16;
        /// Any version: `<`, `=` and `>`.
        const ANY: u64 = 7;
        match (self.constraint, self.conflict) {
            (None | Some((Operator::Equal, _)), false) => 0,
            (None, true) => CONFLICT | ANY,
            (Some((operator, _)), false) => operator.bits(),
            (Some((operator, _)), true) => CONFLICT | operator.bits(),
        }
    }

    /// Spells what a v3 file has as a name, a version that may be empty, and a number. `None`, if
    /// apk has no operator for the number, or takes a part of the name for one.
    ///
    /// Without a version, the number tells a conflict alone (measured).
    pub(crate) fn token_of_parts(name: &str, version: &str, match_bits: u64) -> Option<String> {
        let conflict = match match_bits >> 4 {
            0 => "",
            1 => "!",
            _ => return None,
        };
        let is_operator = |c| matches!(c, '<' | '>' | '=' | '~');
        if name.starts_with('!') || name.contains(is_operator) || version.starts_with(is_operator) {
            return None;
        }
        let operator = match version {
            "" => "",
            _ => Operator::of_bits(match_bits & 15)?.as_str(),
        };
        Some(format!("{conflict}{name}{operator}{version}"))
    }

    /// Returns the version, if there is one: a checksum after `><`.
    pub fn version(&self) -> Option<&'a str> {
        self.constraint.map(|(_, version)| version)
    }

    /// Compares two dependencies by their order in a v3 file: by name, then by version, and by
    /// match (measured). apk's order of a dependency with and one without a version is not defined;
    /// here the latter comes first.
    pub(crate) fn order_in_adb(&self, other: &Self) -> Ordering {
        let versions = match (self.version(), other.version()) {
            (Some(version), Some(other)) => version::compare(version, other),
            (version, other) => version.is_some().cmp(&other.is_some()),
        };
        self.name
            .cmp(other.name)
            .then(versions)
            .then_with(|| self.match_bits().cmp(&other.match_bits()))
            .then_with(|| self.version().cmp(&other.version()))
    }

    /// Returns whether it has a version.
    pub fn has_version(&self) -> bool {
        self.constraint.is_some()
    }

    /// Returns its version, if that is outside the grammar of `apk version --check`: a client can't
    /// compare it with others. A checksum is not a version, and is never compared.
    pub fn version_outside_grammar(&self) -> Option<&'a str> {
        let (operator, version) = self.constraint?;
        (operator != Operator::Checksum && !version::is_canonical(version)).then_some(version)
    }

    /// Returns the name that is required or provided.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Returns whether it requires a package, rather than excluding it.
    pub fn is_requirement(&self) -> bool {
        !self.conflict
    }

    /// Returns whether the package `name` in this version satisfies it, if it is a requirement.
    pub fn is_met_by(&self, name: &str, version: &str) -> bool {
        let admits = |(operator, wanted): (Operator, &str)| operator.admits(version, wanted);
        self.name == name && self.constraint.is_none_or(admits)
    }

    /// Returns whether a package that provides `provided` satisfies it, if it is a requirement.
    /// Without a version, `provided` satisfies only requirements without one.
    pub fn is_met_by_provided(&self, provided: Dependency<'_>) -> bool {
        match provided.constraint {
            Some((_, version)) => self.is_met_by(provided.name, version),
            None => self.constraint.is_none() && self.name == provided.name,
        }
    }

    fn parse_with(
        token: &'a str,
        is_version: impl FnOnce(Operator, &str) -> bool,
    ) -> Result<Self, DependencyError> {
        let excerpt = || Excerpt::of(token.as_bytes());
        if token.len() > Self::MAX_LENGTH {
            return Err(DependencyError::Length { token: excerpt() });
        }
        let Parts { conflict, name, operator, version } = Parts::of(token);
        let is_name = !name.is_empty() && !name.contains('@') && !is_foreign(token, name);
        if !is_name || !token.chars().all(is_shown) {
            return Err(DependencyError::Name { token: excerpt() });
        }
        if operator.is_empty() && version.is_empty() {
            return Ok(Self { conflict, name, constraint: None });
        }
        let Some(operator) = Operator::parse(operator) else {
            return Err(DependencyError::Operator { token: excerpt() });
        };
        if version.is_empty() || !is_version(operator, version) {
            return Err(DependencyError::Version { token: excerpt() });
        }
        Ok(Self { conflict, name, constraint: Some((operator, version)) })
    }
}

/// The parts of a token, which need not be a valid dependency.
struct Parts<'a> {
    conflict: bool,
    name: &'a str,
    operator: &'a str,
    version: &'a str,
}

impl<'a> Parts<'a> {
    fn of(token: &'a str) -> Self {
        let (conflict, rest) =
            token.strip_prefix('!').map_or((false, token), |after| (true, after));
        let is_operator = |c| matches!(c, '<' | '>' | '=' | '~');
        let (name, rest) = rest.split_at(rest.find(is_operator).unwrap_or(rest.len()));
        let version = rest.trim_start_matches(is_operator);
        let (operator, _) = rest.split_at(rest.len() - version.len());
        Self { conflict, name, operator, version }
    }
}

/// Returns whether a token is a piece of Debian's or RPM's syntax, which apk would take for names:
/// `bash (>= 4.4) | fish, zsh` would require packages called `bash`, `(`, `4.4)`, `|`, `fish,` and
/// `zsh`.
fn is_foreign(token: &str, name: &str) -> bool {
    name.starts_with('(') || token == "|" || token.ends_with(',') || name.contains("${")
}

/// Returns whether a character is allowed in a token. apk allows any but its separators (measured:
/// `cmd:größe` and `cmd:a'b` are resolved); those that end a line or control a terminal are
/// rejected here.
fn is_shown(character: char) -> bool {
    !character.is_control() && !character.is_whitespace()
}

impl fmt::Display for Dependency<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.conflict { "!" } else { "" })?;
        f.write_str(self.name)?;
        match self.constraint {
            Some((operator, version)) => {
                f.write_str(operator.as_str())?;
                f.write_str(version)
            }
            None => Ok(()),
        }
    }
}

/// A list of dependencies in the package's order, repeats included: one field of an index entry.
///
/// Stored as one line in canonical spelling.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Dependencies(String);

impl Dependencies {
    /// Returns the dependencies in order.
    pub fn iter(&self) -> impl Iterator<Item = Dependency<'_>> {
        self.0.split_terminator(' ').map(|token| {
            let Parts { conflict, name, operator, version } = Parts::of(token);
            let constraint = Operator::parse(operator).map(|operator| (operator, version));
            Dependency { conflict, name, constraint }
        })
    }

    /// Returns the line. An index omits an empty one.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Appends a dependency.
    pub fn push(&mut self, dependency: Dependency<'_>) {
        let separator = if self.0.is_empty() { "" } else { " " };
        let _infallible = write!(self.0, "{separator}{dependency}");
    }

    /// Appends the tokens of `line`, which are separated by spaces.
    ///
    /// # Errors
    ///
    /// Those of `parse`, for the first token that it rejects; [`DependencyError::Foreign`] or
    /// [`DependencyError::Alternatives`], if the line is then found to be in deb's or rpm's syntax.
    pub(crate) fn extend_from_line<'a>(
        &mut self,
        line: &'a str,
        parse: impl Fn(&'a str) -> Result<Dependency<'a>, DependencyError>,
    ) -> Result<(), DependencyError> {
        self.0.reserve_exact(line.len() + usize::from(!self.0.is_empty()));
        for token in line.split(' ').filter(|token| !token.is_empty()) {
            self.push(parse(token).map_err(|error| explain(line, error))?);
        }
        Ok(())
    }
}

impl<'a> Extend<Dependency<'a>> for Dependencies {
    fn extend<I: IntoIterator<Item = Dependency<'a>>>(&mut self, dependencies: I) {
        dependencies.into_iter().for_each(|dependency| self.push(dependency));
    }
}

impl fmt::Display for Dependencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns the error for a line of dependencies, one of which was rejected with `error`. If the
/// line is in deb's or rpm's syntax, the error has all of it, and how to write it for apk.
fn explain(line: &str, error: DependencyError) -> DependencyError {
    let line = line.trim();
    let token = Excerpt::of(line.as_bytes());
    let alternatives: Vec<_> = line.split('|').collect();
    let spelled: Option<Vec<_>> = alternatives
        .iter()
        .map(|written| foreign::spell(written).filter(|apk| Dependency::parse(apk).is_ok()))
        .collect();
    match spelled.as_deref() {
        Some([one]) if one != line => DependencyError::Foreign { token, apk: one.clone() },
        Some(several @ [_, _, ..]) => {
            DependencyError::Alternatives { token, apk: several.join("` or `") }
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a", "a")]
    #[case("!a", "!a")]
    #[case("a=1", "a=1")]
    #[case("a==1", "a=1")]
    #[case("a<1", "a<1")]
    #[case("a<=1", "a<=1")]
    #[case("a=<1", "a<=1")]
    #[case("a>1", "a>1")]
    #[case("a>=1", "a>=1")]
    #[case("a=>1", "a>=1")]
    #[case("a><Q1DNWZeWkviN7MJedLpYM8yBvmnGM=", "a><Q1DNWZeWkviN7MJedLpYM8yBvmnGM=")]
    #[case("a<>Q1DNWZeWkviN7MJedLpYM8yBvmnGM=", "a><Q1DNWZeWkviN7MJedLpYM8yBvmnGM=")]
    #[case("a~1.2", "a~1.2")]
    #[case("a~=1.2", "a~1.2")]
    #[case("a=~1.2", "a~1.2")]
    #[case("a<~1", "a<~1")]
    #[case("a<~=1", "a<~1")]
    #[case("a=~>1", "a>~1")]
    #[case("!a>~1", "!a>~1")]
    #[case("cmd:[", "cmd:[")]
    #[case("/bin/sh", "/bin/sh")]
    #[case("py3.11:foo<2_rc1-r0", "py3.11:foo<2_rc1-r0")]
    #[case("cmd:größe", "cmd:größe")]
    #[case("cmd:a'b", "cmd:a'b")]
    fn a_token_is_printed_in_canonical_spelling(#[case] token: &str, #[case] canonical: &str) {
        let dependency = Dependency::parse(token).unwrap();
        assert_eq!(dependency.to_string(), canonical);
        assert_eq!(Dependency::parse(canonical), Ok(dependency));
    }

    #[rstest]
    #[case("a", "a", "1-r0", true)]
    #[case("a", "b", "1-r0", false)]
    #[case("a=1-r0", "a", "1-r0", true)]
    #[case("a=1-r0", "a", "1-r1", false)]
    #[case("a<1.10", "a", "1.9-r3", true)]
    #[case("a<1.10", "a", "1.10", false)]
    #[case("a<=1.10", "a", "1.10", true)]
    #[case("a>1.9", "a", "1.10-r0", true)]
    #[case("a>1.9", "a", "1.9", false)]
    #[case("a>=2", "a", "2", true)]
    #[case("a>=2", "a", "2_rc1", false)]
    #[case("a~1.2", "a", "1.2.3-r0", true)]
    #[case("a~1.2", "a", "1.20-r0", false)]
    #[case("a<~1.2", "a", "1.1", true)]
    #[case("a<~1.2", "a", "1.2.3", true)]
    #[case("a>~1.2", "a", "1.3", true)]
    #[case("a>~1.2", "a", "1.1", false)]
    fn a_requirement_is_met_by_what_apk_would_take(
        #[case] dependency: &str,
        #[case] name: &str,
        #[case] version: &str,
        #[case] is_met: bool,
    ) {
        let dependency = Dependency::parse(dependency).unwrap();
        assert_eq!(dependency.is_met_by(name, version), is_met);
        let provided = format!("{name}={version}");
        let provided = Dependency::parse_provided(&provided).unwrap();
        assert_eq!(dependency.is_met_by_provided(provided), is_met);
    }

    #[test]
    fn what_is_provided_without_a_version_meets_what_asks_for_none() {
        let provided = Dependency::parse_provided("cmd:a").unwrap();
        let is_met = |token| Dependency::parse(token).unwrap().is_met_by_provided(provided);
        assert!(is_met("cmd:a"));
        assert!(!is_met("cmd:a>0"));
        assert!(Dependency::parse("a").unwrap().is_requirement());
        assert!(!Dependency::parse("!a").unwrap().is_requirement());
    }

    #[rstest]
    #[case("")]
    #[case("!")]
    #[case("=1")]
    #[case("a=")]
    #[case("a@edge")]
    #[case("a<>=1")]
    #[case("a<>~1")]
    #[case("a<>~=1")]
    #[case("a=xyz")]
    #[case("a><xyz")]
    #[case("(>=")]
    #[case("|")]
    #[case("bash,")]
    #[case("${shlibs:Depends}")]
    #[case("a=1\n")]
    #[case("a\u{2028}b")]
    #[case("a\u{a0}b")]
    #[case("a\u{9b}b")]
    fn a_token_that_apk_would_garble_is_rejected(#[case] token: &str) {
        assert!(Dependency::parse(token).is_err());
    }

    #[rstest]
    #[case("a", 0)]
    #[case("!a", 23)]
    #[case("a=1", 0)]
    #[case("!a=1", 17)]
    #[case("a<1", 2)]
    #[case("a<=1", 3)]
    #[case("a>1", 4)]
    #[case("a>=1", 5)]
    #[case("!a>=1", 21)]
    #[case("a><Q1DNWZeWkviN7MJedLpYM8yBvmnGM=", 6)]
    #[case("a~1", 9)]
    #[case("a<~1", 11)]
    #[case("a>~1", 13)]
    fn a_v3_file_has_a_number_for_the_operator(#[case] token: &str, #[case] bits: u64) {
        let dependency = Dependency::parse(token).unwrap();
        assert_eq!(dependency.match_bits(), bits);
        let version = dependency.version().unwrap_or_default();
        let spelled = Dependency::token_of_parts(dependency.name(), version, bits);
        assert_eq!(spelled.as_deref(), Some(token));
    }

    #[rstest]
    #[case("a", "1", 1, Some("a=1"))]
    #[case("a", "1", 8, Some("a~1"))]
    #[case("a", "1", 17, Some("!a=1"))]
    #[case("a", "", 5, Some("a"))]
    #[case("a", "", 16, Some("!a"))]
    #[case("a", "1", 7, None)]
    #[case("a", "1", 10, None)]
    #[case("a", "1", 15, None)]
    #[case("a", "1", 31, None)]
    #[case("a", "1", 32, None)]
    #[case("a", "", 32, None)]
    #[case("!a", "", 0, None)]
    #[case("a=", "1", 0, None)]
    #[case("a", "=1", 2, None)]
    fn an_odd_number_is_normalised_or_refused(
        #[case] name: &str,
        #[case] version: &str,
        #[case] bits: u64,
        #[case] token: Option<&str>,
    ) {
        assert_eq!(Dependency::token_of_parts(name, version, bits).as_deref(), token);
    }

    #[test]
    fn dependencies_stand_in_the_order_of_a_v3_file() {
        let sorted =
            "A B a a=1 a<1 a>1 !a=1 a=1.9 a=1.10 !b b=1 c".split(' ').map(Dependency::parse);
        let sorted: Vec<_> = sorted.map(Result::unwrap).collect();
        let mut shuffled = sorted.clone();
        shuffled.sort_by_key(|dependency| std::cmp::Reverse(dependency.to_string()));
        shuffled.sort_by(Dependency::order_in_adb);
        assert_eq!(shuffled, sorted);
    }

    #[test]
    fn a_list_is_its_tokens_in_canonical_spelling() {
        let mut list = Dependencies::default();
        list.extend_from_line(" b=>1  !a", Dependency::parse).unwrap();
        list.extend_from_line("b>=1", Dependency::parse).unwrap();
        assert_eq!(list.to_string(), "b>=1 !a b>=1");
        let tokens = ["b>=1", "!a", "b>=1"].map(|token| Dependency::parse(token).unwrap());
        assert_eq!(list.iter().collect::<Vec<_>>(), tokens);
        assert_eq!(Dependencies::default().iter().count(), 0);
    }

    #[test]
    fn an_index_may_name_any_version_that_a_package_may_have() {
        let token = "opensmtpd=6.8.0p2-r4";
        assert_eq!(Dependency::parse_listed(token).unwrap().to_string(), token);
        assert!(matches!(Dependency::parse(token), Err(DependencyError::Version { .. })));
        let long = format!("a~{}", "1".repeat(100));
        assert_eq!(Dependency::parse_listed(&long), Dependency::parse(&long));
        assert!(Dependency::parse_listed("a=xyz").is_err());
    }

    #[test]
    fn only_provides_may_have_a_version_outside_the_grammar() {
        let odd = [
            "so:libaws-c-s3.so.0unstable=0unstable",
            "cmd:nginx=1.12.2-1~x86_64",
            "cmd:foo=8.0.0-ps-f@x",
            "cmd:foo=1=2",
        ];
        for token in odd {
            let provided = Dependency::parse_provided(token).unwrap();
            assert_eq!(provided.to_string(), token);
            assert!(provided.version_outside_grammar().is_some());
            assert!(matches!(Dependency::parse(token), Err(DependencyError::Version { .. })));
        }
        for token in ["a=", "a@edge=1", "!a", "!a=1", "|", "a<>=1"] {
            assert!(Dependency::parse_provided(token).is_err(), "{token}");
        }
    }

    #[rstest]
    #[case(
        "bash (>= 4.4)",
        "dependency `bash (>= 4.4)` is not written as apk has it: write `bash>=4.4`"
    )]
    #[case(
        "bash(>=4.4)",
        "dependency `bash(>=4.4)` is not written as apk has it: write `bash>=4.4`"
    )]
    #[case(
        "bash >= 4.4",
        "dependency `bash >= 4.4` is not written as apk has it: write `bash>=4.4`"
    )]
    #[case("a (<< 2)", "dependency `a (<< 2)` is not written as apk has it: write `a<2`")]
    #[case("a (>> 2)", "dependency `a (>> 2)` is not written as apk has it: write `a>2`")]
    #[case("a == 2", "dependency `a == 2` is not written as apk has it: write `a=2`")]
    #[case(
        "bash (>= 4.4) | fish",
        "dependency `bash (>= 4.4) | fish` has alternatives, which apk does not know: write `bash>=4.4` or \
         `fish`"
    )]
    #[case(
        "zsh | fish",
        "dependency `zsh | fish` has alternatives, which apk does not know: write `zsh` or `fish`"
    )]
    #[case("!bad name@", "dependency `name@` has an invalid name")]
    #[case("a (= xyz)", "dependency `(=` has an invalid name")]
    #[case("a (>= )", "dependency `(>=` has an invalid name")]
    fn a_dependency_of_deb_or_rpm_is_told_as_apk_has_it(#[case] line: &str, #[case] message: &str) {
        let rejected = Dependencies::default().extend_from_line(line, Dependency::parse);
        assert_eq!(rejected.unwrap_err().to_string(), message);
    }
}

//! Package versions: their grammar and their order.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::value::{InvalidValue, checked_string};

/// A package's version, such as `1.2.3_rc1-r0`.
///
/// Starts with a digit, followed by ASCII letters, digits, `.`, `_`, `~`, `+` and `-`; at most 64
/// bytes. This is wider than the grammar of `apk version --check` (see [`Version::is_canonical`]),
/// because Alpine itself ships versions that the grammar rejects, such as `6.8.0p2-r4`.
///
/// Not `Ord`, because apk can't tell all versions apart (see [`Version::order`]).
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(String);

impl Version {
    /// Compares two versions as `apk version -t` does. Different versions may be equal: those
    /// outside the grammar that are alike up to where they leave it (`1.2_beta.1-r0` and
    /// `1.2_beta.2-r0`), and those with a number that differs only in leading zeros (`1-r01` and
    /// `1-r1`).
    pub fn order(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }

    /// Returns whether `apk version --check` would accept this version.
    pub fn is_canonical(&self) -> bool {
        is_canonical(&self.0)
    }
}

/// Returns whether `text` is a version by the grammar of `apk version --check` (apk-tools 3):
/// `1(.2)*[a](_suffix[3])*[~hash][-r4]`.
pub(crate) fn is_canonical(text: &str) -> bool {
    !tokens(text).contains(&Token::Invalid)
}

/// Compares two versions as `apk version -t` does (see [`Version::order`]).
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    tokens(a).cmp(&tokens(b))
}

/// Returns whether `version` begins with all parts of `begin`, as `1.2.3-r0` does with `1.2`.
pub(crate) fn begins_with(version: &str, begin: &str) -> bool {
    let mut begin = tokens(begin);
    begin.pop_if(|last| *last == Token::End);
    tokens(version).starts_with(&begin)
}

impl TryFrom<String> for Version {
    type Error = InvalidValue;

    fn try_from(value: String) -> Result<Self, InvalidValue> {
        let rule = if value.len() > 64 {
            "is longer than 64 bytes"
        } else if !value.starts_with(|c: char| c.is_ascii_digit()) {
            "does not start with a digit"
        } else if !value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~+-".contains(&b)) {
            "may hold only ASCII letters, digits, `.`, `_`, `~`, `+` and `-`"
        } else {
            return Ok(Self(value));
        };
        Err(InvalidValue::new("version", &value, rule))
    }
}

checked_string!(Version);

/// One part of a version. The order of the variants is apk's order of versions that differ in the
/// kind of a part: `1_rc1` < `1` < `1-r0` < `1_p1` < `1a` < `1.1`.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Token<'a> {
    PreSuffix(usize),
    Invalid,
    End,
    Build(Number<'a>),
    Hash(&'a str),
    SuffixNumber(Number<'a>),
    PostSuffix(usize),
    Letter(u8),
    /// A number after a `.` with a leading zero, which apk compares as text: `1.01` < `1.1`.
    Fraction(&'a str),
    Number(Number<'a>),
}

/// A decimal number of any length.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Number<'a> {
    length: usize,
    digits: &'a str,
}

impl<'a> Number<'a> {
    fn new(digits: &'a str) -> Self {
        let digits = digits.trim_start_matches('0');
        Self { length: digits.len(), digits }
    }
}

const PRE_SUFFIXES: [&str; 4] = ["alpha", "beta", "pre", "rc"];
const POST_SUFFIXES: [&str; 5] = ["cvs", "svn", "git", "hg", "p"];

/// Splits `text` into its tokens; the last one is `End` or `Invalid`.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let (digits, mut rest) = split_digits(text);
    if digits.is_empty() {
        return vec![Token::Invalid];
    }
    let mut tokens = vec![Token::Number(Number::new(digits))];
    while let Some(last) = tokens.last() {
        if rest.is_empty() {
            tokens.push(Token::End);
            break;
        }
        let Some((token, after)) = next_token(last, rest) else {
            tokens.push(Token::Invalid);
            break;
        };
        tokens.push(token);
        rest = after;
    }
    tokens
}

fn next_token<'a>(last: &Token<'a>, rest: &'a str) -> Option<(Token<'a>, &'a str)> {
    let first = *rest.as_bytes().first()?;
    let in_numbers = matches!(last, Token::Number(_) | Token::Fraction(_));
    let before_hash = !matches!(last, Token::Hash(_) | Token::Build(_));
    match first {
        b'.' if in_numbers => {
            let (digits, after) = split_digits(rest.get(1..)?);
            let token = if digits.starts_with('0') {
                Token::Fraction(digits)
            } else {
                Token::Number(Number::new(digits))
            };
            (!digits.is_empty()).then_some((token, after))
        }
        b'a'..=b'z' if in_numbers => Some((Token::Letter(first), rest.get(1..)?)),
        b'0'..=b'9' if matches!(last, Token::PreSuffix(_) | Token::PostSuffix(_)) => {
            let (digits, after) = split_digits(rest);
            Some((Token::SuffixNumber(Number::new(digits)), after))
        }
        b'_' if before_hash => {
            let (word, after) = split_where(rest.get(1..)?, |b| b.is_ascii_lowercase());
            let rank = |list: &[&str]| list.iter().position(|suffix| *suffix == word);
            let token = rank(&PRE_SUFFIXES)
                .map(Token::PreSuffix)
                .or_else(|| rank(&POST_SUFFIXES).map(Token::PostSuffix))?;
            Some((token, after))
        }
        b'~' if before_hash => {
            let (hash, after) =
                split_where(rest.get(1..)?, |b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            (!hash.is_empty()).then_some((Token::Hash(hash), after))
        }
        b'-' if !matches!(last, Token::Build(_)) => {
            let (digits, after) = split_digits(rest.strip_prefix("-r")?);
            (!digits.is_empty()).then_some((Token::Build(Number::new(digits)), after))
        }
        _ => None,
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    split_where(text, |b| b.is_ascii_digit())
}

fn split_where(text: &str, belongs: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = text.bytes().position(|b| !belongs(b)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    fn versions_stand_in_the_order_of_apk(
        #[values(
            &["1_alpha", "1_beta1", "1_rc1", "1_rc2", "1", "1-r0", "1-r1", "1~abc", "1_p1", "1a", "1.0"],
            &["1-r0", "1.0-r0", "1.01-r0", "1.1-r0", "1.9-r0", "1.10-r0", "2-r0", "10-r0"],
            &["0.1", "0.99", "1", "18446744073709551616", "18446744073709551617"]
        )]
        ascending: &[&str],
    ) {
        let versions: Vec<Version> = ascending.iter().map(|v| v.parse().unwrap()).collect();
        let mut sorted = versions.clone();
        sorted.reverse();
        sorted.sort_by(Version::order);
        assert_eq!(sorted, versions);
    }

    #[rstest]
    #[case("1.0~rc1", false)]
    #[case("1.0_rc1~0f3-r2", true)]
    #[case("6.8.0p2-r4", false)]
    #[case("1.2a_p1_git20220101-r0", true)]
    #[case("1.", false)]
    #[case("1-r", false)]
    #[case("1-r0-r1", false)]
    #[case("0unstable", false)]
    fn canonical_is_what_apk_version_check_accepts(#[case] text: &str, #[case] canonical: bool) {
        assert_eq!(text.parse::<Version>().unwrap().is_canonical(), canonical);
    }

    #[rstest]
    #[case("1.2.3_beta.1-r0", "1.2.3_beta.10-r0")]
    #[case("1.2.3_4-gabcdef1-r0", "1.2.3_4-g0000000-r7")]
    #[case("2.1-20231117-r10", "2.1-20231117-r9")]
    #[case("1-r01", "1-r1")]
    fn versions_that_apk_can_not_tell_apart_are_equal(#[case] a: &str, #[case] b: &str) {
        let [a, b] = [a, b].map(|version| version.parse::<Version>().unwrap());
        assert_eq!(a.order(&b), Ordering::Equal);
        assert_ne!(a, b);
    }

    #[rstest]
    #[case("")]
    #[case("r1")]
    #[case("1 2")]
    #[case("1/../2")]
    #[case("1\n")]
    fn text_that_is_unsafe_in_a_url_is_not_a_version(#[case] text: &str) {
        assert!(text.parse::<Version>().is_err());
    }
}

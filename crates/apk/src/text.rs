//! Prepares untrusted text and messages for display.

use std::{borrow::Cow, error::Error, fmt, iter};

/// The beginning of an untrusted text, safe to show: escaped, and at most [`Excerpt::MAX`]
/// characters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Excerpt(String);

impl Excerpt {
    /// The maximum number of characters in an excerpt, before they are escaped.
    pub const MAX: usize = 80;

    /// Returns the beginning of `bytes`, with quotes, backslashes and unprintable characters
    /// escaped, and `…` at the end if it was cut.
    pub fn of(bytes: &[u8]) -> Self {
        let beginning = bytes.get(..Self::MAX * 4).unwrap_or(bytes);
        let text: Cow<'_, str> = String::from_utf8_lossy(beginning);
        let mut characters = text.chars();
        let mut shown: String =
            characters.by_ref().take(Self::MAX).flat_map(char::escape_debug).collect();
        if characters.next().is_some() || beginning.len() < bytes.len() {
            shown.push('…');
        }
        Self(shown)
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns a whole message with unprintable characters escaped, so that untrusted text in it can't
/// begin a line or control a terminal.
pub fn escaped(message: &str) -> String {
    let mut shown = String::with_capacity(message.len());
    for character in message.chars() {
        match character {
            '"' | '\'' | '\\' => shown.push(character),
            _ => shown.extend(character.escape_debug()),
        }
    }
    shown
}

/// Returns an error's message, followed by those of its causes.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    for cause in causes(error) {
        text.push_str(": ");
        text.push_str(&cause.to_string());
    }
    text
}

/// Returns the causes of an error, nearest first.
pub fn causes(error: &dyn Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    iter::successors(error.source(), |&cause| cause.source())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(b"plain", "plain")]
    #[case(b"a\nb\x1b[0m", "a\\nb\\u{1b}[0m")]
    #[case(b"Andr\xe9", "Andr\u{fffd}")]
    #[case(&[b'a'; 80], &"a".repeat(80))]
    #[case(&[b'a'; 81], &("a".repeat(80) + "…"))]
    #[case(&[b'a'; 1000], &("a".repeat(80) + "…"))]
    #[case(&"🦀".repeat(100).into_bytes(), &("🦀".repeat(80) + "…"))]
    fn an_excerpt_is_short_and_safe_to_show(#[case] bytes: &[u8], #[case] shown: &str) {
        assert_eq!(Excerpt::of(bytes).to_string(), shown);
    }

    #[rstest]
    #[case("`Größe` isn't \"a\\b\"…", "`Größe` isn't \"a\\b\"…")]
    #[case("a\r\n\tb\0", "a\\r\\n\\tb\\0")]
    #[case("\u{1b}[2J\u{9b}2J", "\\u{1b}[2J\\u{9b}2J")]
    #[case("\u{85}\u{2028}\u{2029}\u{202e}", "\\u{85}\\u{2028}\\u{2029}\\u{202e}")]
    fn a_printable_message_is_one_line_and_commands_no_terminal(
        #[case] message: &str,
        #[case] shown: &str,
    ) {
        assert_eq!(escaped(message), shown);
    }
}

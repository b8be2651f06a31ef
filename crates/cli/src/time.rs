//! Times, in the form that people write and read.

use std::{str::FromStr, time::Duration};

use alpinist_executions::Milliseconds;
use jiff::{Span, SpanRelativeTo, Timestamp};

/// A time, given as a timestamp or as how long ago it was, such as `1d` or `90m`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since(Timestamp);

impl Since {
    /// Returns it in milliseconds since 1970.
    pub(crate) fn milliseconds(self) -> Milliseconds {
        self.0.as_millisecond()
    }
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(time) = text.parse() {
            return Ok(Self(time));
        }
        let ago = text.parse::<Span>().and_then(|span| {
            let duration = span.to_duration(SpanRelativeTo::days_are_24_hours())?;
            Timestamp::now().checked_sub(duration)
        });
        ago.map(Self).map_err(|_| {
            "it is neither how long ago, such as `1d` or `90m`, nor a time such as \
             `2026-01-31T12:00:00Z`"
                .to_owned()
        })
    }
}

/// A time to come, given as how far away it is, such as `90d` or `12h`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Until(Timestamp);

impl Until {
    /// Returns it in seconds since 1970.
    pub(crate) fn seconds(self) -> i64 {
        self.0.as_second()
    }
}

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let now = Timestamp::now();
        let then = text.parse::<Span>().and_then(|span| {
            now.checked_add(span.to_duration(SpanRelativeTo::days_are_24_hours())?)
        });
        let then = then.ok().filter(|then| *then > now).map(Self);
        then.ok_or_else(|| "it is no time to come, such as `90d` or `12h`".to_owned())
    }
}

/// Formats a time.
pub(crate) fn show(time: Milliseconds) -> String {
    let time = Timestamp::from_millisecond(time).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Formats how long something took.
pub(crate) fn show_duration(begin: Milliseconds, end: Milliseconds) -> String {
    let milliseconds = u64::try_from(end - begin).unwrap_or_default();
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..100_000 => format!("{:.1} s", Duration::from_millis(milliseconds).as_secs_f64()),
        _ => format!("{} min", milliseconds / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_given_as_it_is_or_as_how_long_ago_it_was() {
        let since = |text: &str| text.parse::<Since>().unwrap().milliseconds();
        assert_eq!(since("2026-01-31T12:00:00Z"), 1_769_860_800_000);
        let day = since("1h") - since("1d");
        assert!((day - 23 * 3_600_000).abs() < 60_000, "{day}");
        assert!("yesterday".parse::<Since>().is_err());
    }

    #[test]
    fn a_time_to_come_is_given_as_how_far_away_it_is() {
        let until = |text: &str| text.parse::<Until>().map(Until::seconds);
        let day = until("25h").unwrap() - until("1d").unwrap();
        assert!((day - 3_600).abs() < 60, "{day}");
        for wrong in ["0s", "-1d", "1d ago", "2026-01-31", "90", "", "9999999y"] {
            assert!(until(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_duration_is_shown_in_the_unit_that_suits_it() {
        assert_eq!(show_duration(5, 1_004), "999 ms");
        assert_eq!(show_duration(0, 2_340), "2.3 s");
        assert_eq!(show_duration(0, 3_600_000), "60 min");
        assert_eq!(show(1_769_860_800_123), "2026-01-31T12:00:00Z");
    }
}

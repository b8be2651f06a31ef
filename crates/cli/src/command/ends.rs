//! What became of the changes that a command made.

use std::io::{self, Write};

use alpinist_apk::text::escaped;
use serde::Serialize;

use crate::{
    error::Error,
    follow::{Change, End, Watch},
    output::{self, BAD, ExitStatus, GOOD, Output, Report},
    progress::Progress,
    publication::{Fate, NotWritten},
};

/// Waits until it is known what became of these changes.
pub(super) async fn wait(watch: Watch<'_>, changes: &[Change]) -> Result<Vec<End>, Error> {
    let progress = Progress::of_packages(changes.len());
    watch.follow(changes, |ended| progress.set(ended)).await
}

/// What became of each change.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Ends {
    #[serde(skip)]
    done: &'static str,
    ends: Vec<KeyEnd>,
}

#[derive(Debug, Serialize)]
struct KeyEnd {
    key: String,
    #[serde(flatten)]
    end: Fate,
}

impl Ends {
    /// Returns what became of these packages; `done` is the word for success, such as "published".
    pub(super) fn new<'a>(
        done: &'static str,
        keys: impl Iterator<Item = &'a str>,
        ends: Vec<Fate>,
    ) -> Self {
        let ends = keys.zip(ends).map(|(key, end)| KeyEnd { key: key.to_owned(), end }).collect();
        Self { done, ends }
    }

    /// Returns what became of these deletions.
    pub(super) fn of_deletions(changes: &[Change], ends: Vec<End>) -> Self {
        let ends = ends.into_iter().map(Fate::Followed).collect();
        Self::new("removed", changes.iter().map(|change| change.key.as_str()), ends)
    }

    /// Prints them, and returns whether all succeeded.
    pub(super) fn print(&self, output: Output) -> Result<ExitStatus, Error> {
        output.print(self)?;
        if self.ends.iter().any(|key| key.end == Fate::Followed(End::NotObserved)) {
            output::status(
                "hint: no execution took notice within two minutes: does the bucket send its events to \
                 EventBridge?",
            );
            return Ok(ExitStatus::Unknown);
        }
        let is_well = self.ends.iter().all(|key| {
            matches!(
                key.end,
                Fate::Followed(End::Published) | Fate::NotWritten(NotWritten::Unchanged)
            )
        });
        Ok(if is_well { ExitStatus::Yes } else { ExitStatus::No })
    }
}

impl Report for Ends {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        for KeyEnd { key, end } in &self.ends {
            let key = &escaped(key);
            match end {
                Fate::NotWritten(NotWritten::Unchanged) => {
                    writeln!(out, "{GOOD}unchanged{GOOD:#} {key}")?;
                }
                Fate::NotWritten(NotWritten::Taken { reason }) => {
                    writeln!(out, "{BAD}taken{BAD:#} {key}: {reason}.")?;
                }
                Fate::Followed(end) => self.write_end(key, end, out)?,
            }
        }
        Ok(())
    }
}

impl Ends {
    fn write_end(&self, key: &str, end: &End, out: &mut dyn Write) -> io::Result<()> {
        match end {
            End::Published => writeln!(out, "{GOOD}{}{GOOD:#} {key}", self.done),
            // The cause begins with the key.
            End::Rejected { cause } => writeln!(out, "{BAD}rejected{BAD:#} {cause}"),
            End::Failed { execution, error, cause } => writeln!(
                out,
                "{BAD}failed{BAD:#} {key}: {error}: {cause}\n       see: alpinist run {execution}"
            ),
            End::Overtaken => writeln!(
                out,
                "{BAD}overtaken{BAD:#} {key}: somebody else wrote or deleted it after that, and what is there now counts"
            ),
            End::NotObserved => writeln!(out, "{BAD}not seen{BAD:#} {key}"),
        }
    }
}

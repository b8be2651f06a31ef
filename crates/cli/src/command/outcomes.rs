//! What became of the changes that a command made.

use std::io::{self, Write};

use alpinist_apk::text::escaped;
use serde::Serialize;

use crate::{
    error::Error,
    follow::{Change, Outcome, Watch},
    output::{self, BAD, ExitStatus, GOOD, Output, WriteText},
    progress::Progress,
    publication::{NotWritten, PushOutcome},
};

/// Waits until it is known what became of these changes.
pub(super) async fn wait(watch: Watch<'_>, changes: &[Change]) -> Result<Vec<Outcome>, Error> {
    let progress = Progress::of_packages(changes.len());
    watch.follow(changes, |ended| progress.set(ended)).await
}

/// What became of each change.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Outcomes {
    #[serde(skip)]
    done: &'static str,
    outcomes: Vec<KeyOutcome>,
}

#[derive(Debug, Serialize)]
struct KeyOutcome {
    key: String,
    #[serde(flatten)]
    outcome: PushOutcome,
}

impl Outcomes {
    /// Returns what became of these packages; `done` is the word for success, such as "published".
    pub(super) fn new<'a>(
        done: &'static str,
        keys: impl Iterator<Item = &'a str>,
        outcomes: Vec<PushOutcome>,
    ) -> Self {
        let outcomes = keys
            .zip(outcomes)
            .map(|(key, outcome)| KeyOutcome { key: key.to_owned(), outcome })
            .collect();
        Self { done, outcomes }
    }

    /// Returns what became of these deletions.
    pub(super) fn of_deletions(changes: &[Change], outcomes: Vec<Outcome>) -> Self {
        let outcomes = outcomes.into_iter().map(PushOutcome::Followed).collect();
        Self::new("removed", changes.iter().map(|change| change.key.as_str()), outcomes)
    }

    /// Prints them, and returns whether all succeeded.
    pub(super) fn print(&self, output: Output) -> Result<ExitStatus, Error> {
        output.print(self)?;
        if self
            .outcomes
            .iter()
            .any(|key| key.outcome == PushOutcome::Followed(Outcome::NotObserved))
        {
            output::status(
                "hint: no execution took notice within two minutes: does the bucket send its events to \
                 EventBridge?",
            );
            return Ok(ExitStatus::Unknown);
        }
        let is_well = self.outcomes.iter().all(|key| {
            matches!(
                key.outcome,
                PushOutcome::Followed(Outcome::Published)
                    | PushOutcome::NotWritten(NotWritten::Unchanged)
            )
        });
        Ok(if is_well { ExitStatus::Yes } else { ExitStatus::No })
    }
}

impl WriteText for Outcomes {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        for KeyOutcome { key, outcome } in &self.outcomes {
            let key = &escaped(key);
            match outcome {
                PushOutcome::NotWritten(NotWritten::Unchanged) => {
                    writeln!(out, "{GOOD}unchanged{GOOD:#} {key}")?;
                }
                PushOutcome::NotWritten(NotWritten::Taken { reason }) => {
                    writeln!(out, "{BAD}taken{BAD:#} {key}: {reason}.")?;
                }
                PushOutcome::Followed(outcome) => self.write_outcome(key, outcome, out)?,
            }
        }
        Ok(())
    }
}

impl Outcomes {
    fn write_outcome(&self, key: &str, outcome: &Outcome, out: &mut dyn Write) -> io::Result<()> {
        match outcome {
            Outcome::Published => writeln!(out, "{GOOD}{}{GOOD:#} {key}", self.done),
            // The cause begins with the key.
            Outcome::Rejected { cause } => writeln!(out, "{BAD}rejected{BAD:#} {cause}"),
            Outcome::Failed { execution, error, cause } => writeln!(
                out,
                "{BAD}failed{BAD:#} {key}: {error}: {cause}\n       see: alpinist run {execution}"
            ),
            Outcome::Overtaken => writeln!(
                out,
                "{BAD}overtaken{BAD:#} {key}: somebody else wrote or deleted it after that, and what is there now counts"
            ),
            Outcome::NotObserved => writeln!(out, "{BAD}not seen{BAD:#} {key}"),
        }
    }
}

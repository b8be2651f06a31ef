//! What became of changes, for the commands that make some.

use std::io::{self, Write};

use serde::Serialize;

use crate::{
    error::Error,
    follow::{Change, End, Watch},
    output::{self, Answer, BAD, GOOD, Output, Report},
    progress::Progress,
};

/// Waits for the ends of the executions that these changes cause.
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
    end: End,
}

impl Ends {
    /// Tells the ends of these changes; `done` is what they are if all is well, such as "published".
    pub(super) fn new(done: &'static str, changes: &[Change], ends: Vec<End>) -> Self {
        let keys = changes.iter().map(|change| change.key.clone());
        let ends = keys.zip(ends).map(|(key, end)| KeyEnd { key, end }).collect();
        Self { done, ends }
    }

    /// Prints them, and tells whether all is well.
    pub(super) fn print(&self, output: Output) -> Result<Answer, Error> {
        output.print(self)?;
        if self.ends.iter().any(|key| key.end == End::NotSeen) {
            output::say(
                "hint: no execution took notice within two minutes: does the bucket send its events to \
                 EventBridge?",
            );
            return Ok(Answer::Unknown);
        }
        let is_well = self.ends.iter().all(|key| key.end == End::Published);
        Ok(if is_well { Answer::Yes } else { Answer::No })
    }
}

impl Report for Ends {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        for KeyEnd { key, end } in &self.ends {
            match end {
                End::Published => writeln!(out, "{GOOD}{}{GOOD:#} {key}", self.done)?,
                // The cause begins with the key.
                End::Refused { cause } => writeln!(out, "{BAD}refused{BAD:#} {cause}")?,
                End::Failed { execution, error, cause } => writeln!(
                    out,
                    "{BAD}failed{BAD:#} {key}: {error}: {cause}\n       see: alpinist run {execution}"
                )?,
                End::NotSeen => writeln!(out, "{BAD}not seen{BAD:#} {key}")?,
            }
        }
        Ok(())
    }
}

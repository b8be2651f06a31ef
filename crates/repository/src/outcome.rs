//! What a step did, for logs and metrics.

use std::{borrow::Cow, collections::BTreeSet};

use serde::Serialize;

use crate::{
    location::Subject,
    message::{Aggregated, Extracted, Found, Published, Written},
    step::{Healed, ReindexResponse},
};

/// How many names a line of the log lists at most.
const NAMES: usize = 5;

/// The response of a step.
pub trait Response: Serialize {
    /// Returns what the step did.
    fn outcome(&self) -> Outcome<'_>;
}

/// What a step did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome<'a> {
    /// For people: a clause in the past tense, or the cause of a rejection.
    pub text: Cow<'a, str>,
    /// How far the execution's change of a package has come.
    pub change: ChangeState<'a>,
    /// What the maintainer of an accepted package should know. Reported once for each execution.
    pub warnings: &'a [String],
}

/// How far a change of a package has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChangeState<'a> {
    /// The published index does not have it yet, or that is not known.
    Pending,
    /// The published index lists the package as it was uploaded.
    Published,
    /// The published index no longer lists the package.
    Removed,
    /// The package breaks a rule.
    Rejected {
        /// The [name](crate::rejection::Rejection::rule) of the rule.
        rule: &'a str,
    },
    /// There is no change, or nothing more to report about it.
    None,
}

impl<'a> Outcome<'a> {
    fn new(text: &'static str, change: ChangeState<'a>) -> Self {
        Self { text: Cow::Borrowed(text), change, warnings: &[] }
    }
}

impl Response for Extracted {
    fn outcome(&self) -> Outcome<'_> {
        match &self.found {
            Found::Nothing => Outcome::new("nothing to list was found", ChangeState::Pending),
            Found::Indexed => Outcome::new("package had its fragment already", ChangeState::None),
            Found::Accepted(accepted) => Outcome {
                warnings: &accepted.warnings,
                ..Outcome::new("package was accepted", ChangeState::Pending)
            },
            Found::Rejected(report) => Outcome {
                text: Cow::Borrowed(&report.cause),
                change: ChangeState::Rejected { rule: &report.rule },
                warnings: &[],
            },
        }
    }
}

impl Response for Written {
    fn outcome(&self) -> Outcome<'_> {
        if self.kept.is_some() {
            let text = "fragment of the package that was replaced stays";
            return Outcome::new(text, ChangeState::Pending);
        }
        let text = match (&self.fragment, self.changed) {
            (Some(_), true) => "fragment was written",
            (Some(_), false) => "fragment was right already",
            (None, true) => "fragment was removed",
            (None, false) => "there was no fragment to remove",
        };
        Outcome::new(text, ChangeState::Pending)
    }
}

impl Response for Aggregated {
    fn outcome(&self) -> Outcome<'_> {
        match (&self.waiting, &self.staged) {
            (Some(_), _) => Outcome::new("another execution was at work", ChangeState::Pending),
            (None, Some(_)) => Outcome::new("index was staged", ChangeState::Pending),
            (None, None) => Outcome::new("published index was right", end(&self.written)),
        }
    }
}

impl Response for Published {
    fn outcome(&self) -> Outcome<'_> {
        let text = self.index.to_string().into();
        Outcome { text, change: end(&self.written), warnings: &[] }
    }
}

impl Response for ReindexResponse {
    fn outcome(&self) -> Outcome<'_> {
        let text = match self {
            Self::Discovered { .. } => "repositories were listed",
            Self::Reported(_) => "reindex was reported",
        };
        Outcome::new(text, ChangeState::None)
    }
}

impl Response for Healed {
    fn outcome(&self) -> Outcome<'_> {
        let Self { executions, reindexes } = self;
        let list = |names: &BTreeSet<String>| match names.len() {
            0 => "none".to_owned(),
            1..=NAMES => names.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
            more => format!("{more}, among them {}", names.first().map_or("", String::as_str)),
        };
        let text = if executions.is_empty() && reindexes.is_empty() {
            "everything was right".to_owned()
        } else {
            let (executions, reindexes) = (list(executions), list(reindexes));
            format!("something was wrong; executions started: {executions}; reindexes: {reindexes}")
        };
        Outcome { text: text.into(), change: ChangeState::None, warnings: &[] }
    }
}

/// Returns what became of a change, now that the published index is right.
fn end(written: &Written) -> ChangeState<'_> {
    let is_package = matches!(written.target.key.parse(), Ok(Subject::Package(_)));
    if written.withdrawn {
        let is_told = written.rejection.is_some() || written.target.reindex.is_some();
        return if is_told { ChangeState::None } else { ChangeState::Removed };
    }
    match (&written.fragment, &written.rejection) {
        (Some(_), None) => ChangeState::Published,
        (None, None) if is_package && written.changed => ChangeState::Removed,
        _ => ChangeState::None,
    }
}

#[cfg(test)]
mod tests {
    use alpinist_apk::entry::IndexEntry;

    use super::*;
    use crate::{
        message::{RejectionReport, Staged, Target, Waiting, WrittenFragment},
        port::ETag,
        rejection::Rejection,
    };

    fn written(key: &str, is_there: bool, changed: bool) -> Written {
        let entry =
            "C:Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=\nP:a\nV:1\nA:x86_64\nS:1\nI:1\nT:a\nU:u\nL:l\n\n";
        let entry: IndexEntry = entry.parse().unwrap();
        let etag = || ETag("e".into());
        let fragment =
            is_there.then(|| WrittenFragment { package: etag(), fragment: etag(), entry });
        let target = Target {
            bucket: "packages".into(),
            key: key.into(),
            time: None,
            reindex: None,
            withdrawal: false,
        };
        let warnings = Vec::new();
        Written {
            target,
            fragment,
            kept: None,
            withdrawn: false,
            changed,
            rejection: None,
            signed_by: None,
            warnings,
        }
    }

    const PACKAGE: &str = "3.22/main/x86_64/a-1.apk";

    #[test]
    fn a_change_is_pending_until_the_published_index_has_it() {
        let change = |written: Written, staged: bool, waits: bool| {
            let staged = staged.then(|| Staged {
                snapshot: ETag("s".into()),
                replaces: None,
                adb: None,
                is_too_soon: false,
                is_first: false,
            });
            let waiting = waits.then(Waiting::default);
            let aggregated = Aggregated { written, staged, waiting };
            let change = aggregated.outcome().change;
            match change {
                ChangeState::Rejected { .. } => unreachable!("{change:?}"),
                ChangeState::Pending => "pending",
                ChangeState::Published => "published",
                ChangeState::Removed => "removed",
                ChangeState::None => "none",
            }
        };
        assert_eq!(change(written(PACKAGE, true, true), true, false), "pending");
        assert_eq!(change(written(PACKAGE, true, true), false, true), "pending");
        assert_eq!(change(written(PACKAGE, true, false), false, false), "published");
        assert_eq!(change(written(PACKAGE, false, true), false, false), "removed");
        assert_eq!(change(written(PACKAGE, false, false), false, false), "none");
        let index = "3.22/main/x86_64/APKINDEX.tar.gz";
        assert_eq!(change(written(index, false, false), false, false), "none");
        let rejection = Rejection::Size { size: 2, max: 1 };
        let rejection = RejectionReport::new(PACKAGE, ETag("e".into()), &rejection);
        let rejected = Written { rejection: Some(rejection), ..written(PACKAGE, false, true) };
        assert_eq!(change(rejected, false, false), "none");
    }

    #[test]
    fn a_rejection_is_told_by_its_rule_and_its_cause() {
        let rejection = Rejection::Size { size: 2, max: 1 };
        let report = RejectionReport::new(PACKAGE, ETag("e".into()), &rejection);
        let cause = report.cause.clone();
        let target = written(PACKAGE, false, false).target;
        let extracted = Extracted { target, found: Found::Rejected(report) };
        let change = ChangeState::Rejected { rule: "Size" };
        assert_eq!(extracted.outcome(), Outcome { text: cause.into(), change, warnings: &[] });
    }
}

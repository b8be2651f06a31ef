//! What happened in a history, for people who investigate one that broke a rule.

use std::{collections::BTreeMap, fmt};

use alpinist_repository::{
    memory::MemoryStore,
    port::{ETag, ObjectStore as _},
};
use futures::FutureExt as _;

use crate::{
    scenario::PACKAGES,
    store::{Effect, Method, Outcome, Request},
};

/// Lines of text, or nothing if no trace is wanted.
#[derive(Default)]
pub(crate) struct Trace {
    lines: Option<Vec<String>>,
    /// Numbers for versions that have no name.
    names: BTreeMap<String, usize>,
}

impl Trace {
    /// A trace that is written.
    pub(crate) fn written() -> Self {
        Self { lines: Some(Vec::new()), names: BTreeMap::new() }
    }

    pub(crate) fn say(
        &mut self,
        step: usize,
        who: impl fmt::Display,
        what: impl FnOnce() -> String,
    ) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{step:>5} {:<14} {}", who.to_string(), what()));
        }
    }

    /// Writes what a request did, and which version the object has now.
    pub(crate) fn say_effect(
        &mut self,
        step: usize,
        who: impl fmt::Display,
        state: &str,
        bucket: &MemoryStore,
        effect: &Effect,
    ) {
        if self.lines.is_none() {
            return;
        }
        let Request { method, key, part, .. } = &effect.request;
        let verb = match method {
            Method::List => format!("List part {part} of"),
            method => format!("{method:?}"),
        };
        let outcome = match &effect.outcome {
            Outcome::Done(Some(etag)) => self.name(etag),
            Outcome::Done(None) => "done".to_owned(),
            outcome => format!("{outcome:?}"),
        };
        let present = bucket.head(key).now_or_never().and_then(Result::ok).flatten();
        let present = present.map_or_else(|| "none".to_owned(), |info| self.name(&info.etag));
        self.say(step, who, || format!("  {state}: {verb} {key}: {outcome}; now {present}"));
    }

    /// Returns a short name for a version.
    fn name(&mut self, etag: &ETag) -> String {
        let mut contents = PACKAGES.iter().flat_map(|package| &package.contents);
        if let Some(content) = contents.find(|content| content.etag == *etag) {
            return format!("`{}`", content.name);
        }
        let number = self.names.len();
        format!("v{}", self.names.entry(etag.0.clone()).or_insert(number))
    }

    /// Returns the text.
    pub(crate) fn into_text(self) -> String {
        self.lines.unwrap_or_default().join("\n")
    }
}

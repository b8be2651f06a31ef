use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use alpinist_apk::checksum::Identity;
use alpinist_aws::s3::S3Store;
use alpinist_repository::{
    location::RepositoryPrefix,
    port::ListedObject,
    prune::{self, Superseded},
};
use clap::Args;
use serde::Serialize;

use crate::{
    command::{
        outcomes::{self, Outcomes},
        rm,
    },
    context::TargetOptions,
    error::Error,
    follow::Watch,
    output::{self, BAD, ExitStatus, GOOD, HEADING, Output, WriteText},
    repository::{self, Prefix},
    time::Since,
};

const EXAMPLES: &str = "\
Examples:
  # What would go?
  alpinist prune --keep 3 --dry-run --stack alpinist

  # Keep two versions of each package, and whatever was uploaded in the last 30 days.
  alpinist prune 3.22/main --keep 2 --older-than 30d";

/// Delete old versions of packages, and see them leave the index
///
/// Counts by apk's order of versions, for each name in each directory. Versions that apk can't tell
/// apart go or stay together. If a package that stays depends on one that would go, and nothing
/// else in its directory satisfies that, nothing is deleted and the exit status is 1.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Prune {
    /// A branch, `<branch>/<repository>`, or `<branch>/<repository>/<architecture>`
    #[arg(default_value = "", hide_default_value = true)]
    prefix: Prefix,
    /// How many versions of each package stay
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep: u32,
    /// Only what was uploaded longer ago: `12h`, `30d`, or before a time
    #[arg(long, value_name = "TIME")]
    older_than: Option<Since>,
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
    /// Delete also what others depend on
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    target_options: TargetOptions,
}

/// What would be deleted, and what depends on it.
#[derive(Debug, Default, Serialize)]
struct Plan {
    removed: Vec<String>,
    needed: Vec<Needed>,
    /// What stays only because apk can't tell its version from one that stays.
    tied: Vec<String>,
    #[serde(skip)]
    packages: Vec<(ListedObject, Option<Identity>)>,
}

#[derive(Debug, Serialize)]
struct Needed {
    key: String,
    by: String,
    dependency: String,
}

impl Prune {
    pub(crate) async fn run(self, output: Output) -> Result<ExitStatus, Error> {
        let context = self.target_options.clone().open().await?;
        let (store, executions) = (context.bucket()?, context.executions());
        let mut plan = Plan::default();
        for prefix in repository::repositories(&store, &self.prefix).await? {
            self.plan(&store, &prefix, &mut plan).await?;
        }
        for key in &plan.tied {
            output::status(format_args!(
                "kept {key}: apk can't tell whether its version is older than one that stays. If it is to go, say \
                 `alpinist rm {key}`"
            ));
        }
        let is_allowed = self.force || plan.needed.is_empty();
        if self.dry_run || !is_allowed || plan.packages.is_empty() {
            output.print(&plan)?;
            return Ok(if is_allowed { ExitStatus::Yes } else { ExitStatus::No });
        }
        let watch = Watch::begin(&store, &executions, context.state_machine()?).await?;
        let changes = rm::delete_all(&store, plan.packages).await?;
        let outcomes = outcomes::wait(watch, &changes).await?;
        Outcomes::of_deletions(&changes, outcomes).print(output)
    }

    /// Adds what would be deleted from one directory.
    async fn plan(
        &self,
        store: &S3Store,
        prefix: &RepositoryPrefix,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        let listed = repository::objects(store, prefix).await?;
        let index = repository::index_among(store, prefix, &listed).await?.unwrap_or_default();
        let mut removed = BTreeSet::new();
        let Superseded { older, tied } = prune::superseded(&index, self.keep as usize);
        plan.tied.extend(tied.iter().map(|entry| prefix.package_key(&entry.file_stem())));
        for entry in older {
            let stem = entry.file_stem();
            let object = listed.get(&prefix.package_key(&stem));
            if let Some(object) = object.filter(|object| self.is_old(object)) {
                plan.removed.push(object.key.clone());
                plan.packages.push((object.clone(), Some(entry.identity)));
                removed.insert(stem);
            }
        }
        let needed = prune::dependents(&index, &removed).into_iter().map(|dependent| Needed {
            key: prefix.package_key(&dependent.needed),
            by: prefix.package_key(&dependent.stem),
            dependency: dependent.dependency,
        });
        plan.needed.extend(needed);
        Ok(())
    }

    fn is_old(&self, object: &ListedObject) -> bool {
        let written = object.last_modified.saturating_mul(1000);
        self.older_than.is_none_or(|since| written < since.milliseconds())
    }
}

impl WriteText for Plan {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        for key in &self.removed {
            writeln!(out, "{HEADING}would go{HEADING:#} {key}")?;
        }
        for Needed { key, by, dependency } in &self.needed {
            writeln!(out, "{BAD}needed{BAD:#} {key}: {by} depends on {dependency}")?;
        }
        match (self.removed.len(), self.needed.len()) {
            (0, _) => writeln!(out, "{GOOD}nothing to do{GOOD:#}"),
            (_, 0) => Ok(()),
            _ => writeln!(out, "--force deletes also what others depend on"),
        }
    }
}

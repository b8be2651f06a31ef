use alpinist_repository::{
    port::{ObjectStore as _, Precondition, StoreError},
    withdrawal::{self, MAX_REASON},
};
use clap::Args;

use crate::{
    command::outcomes::{self, Outcomes},
    context::TargetOptions,
    error::Error,
    follow::{Change, Listing, Outcome, Watch},
    output::{ExitStatus, Output},
    publication::{NotWritten, PushOutcome},
    repository::{Format, RepositoryName},
    selection,
};

const EXAMPLES: &str = "\
Examples:
  alpinist withdraw hello-1.0-r0 --reason 'CVE-2026-12345, fixed in 1.0-r1' --stack alpinist

  # All versions, of one architecture.
  alpinist withdraw hello --from 3.22/main/x86_64 --reason 'not ours'

  # What is withdrawn, and why?
  alpinist ls --all";

/// Take packages off the index, and keep them in the bucket
///
/// Clients that have an older index can still install a withdrawn package; others no longer find
/// it. Uploading it again does not list it; `alpinist restore` does. The reason is an object beside
/// the package, called like it with `.withdrawn` instead of `.apk`. A name without a version means
/// all versions that are listed.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Withdraw {
    /// What is to be withdrawn: its name, its name and version, or its key
    #[arg(required = true, value_name = "NAME[-VERSION]|KEY")]
    packages: Vec<String>,
    /// The repository, or the directory of one architecture
    #[arg(long, value_name = "BRANCH/REPOSITORY")]
    from: Option<RepositoryName>,
    /// Why: people who upload it again, `ls --all` and `verify` show it
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,
    #[command(flatten)]
    target_options: TargetOptions,
}

fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    match text.len() {
        0 => Err("it is empty".to_owned()),
        1..=MAX_REASON => Ok(text.to_owned()),
        length => Err(format!("it has {length} bytes, more than {MAX_REASON}")),
    }
}

impl Withdraw {
    pub(crate) async fn run(self, output: Output) -> Result<ExitStatus, Error> {
        let context = self.target_options.open().await?;
        let (store, executions) = (context.bucket()?, context.executions());
        let found = selection::select(&store, self.from.as_ref(), &self.packages).await?;
        let watch = Watch::begin(&store, &executions, context.state_machine()?).await?;
        let (mut keys, mut written, mut changes) = (Vec::new(), Vec::new(), Vec::new());
        for package in found {
            let key = package.prefix.withdrawal_key(package.stem());
            let object = withdrawal::new(&self.reason);
            let etag = match store.put(&key, object, Precondition::Absent).await {
                Ok(etag) => Some(etag),
                // Somebody has withdrawn it already.
                Err(StoreError::Conflict { .. }) => None,
                Err(error) => return Err(error.into()),
            };
            keys.push(package.object.key);
            written.push(etag.is_some());
            let identity = package.entry.map(|entry| entry.identity);
            let format = identity.as_ref().map_or(Format::V2, Format::of);
            changes.extend(etag.map(|etag| Change {
                key,
                etag: Some(etag),
                listed: Listing::Not,
                format,
            }));
        }
        let mut followed = outcomes::wait(watch, &changes).await?.into_iter();
        let outcomes = written.into_iter().map(|is_new| {
            if is_new {
                PushOutcome::Followed(followed.next().unwrap_or(Outcome::NotObserved))
            } else {
                PushOutcome::NotWritten(NotWritten::Unchanged)
            }
        });
        let outcomes = outcomes.collect();
        Outcomes::new("withdrawn", keys.iter().map(String::as_str), outcomes).print(output)
    }
}

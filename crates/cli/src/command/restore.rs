use alpinist_aws::s3::S3Store;
use alpinist_repository::port::ObjectStore as _;
use clap::Args;

use crate::{
    command::outcomes::{self, Outcomes},
    context::TargetOptions,
    error::Error,
    follow::{Change, Listing, Watch},
    output::{ExitStatus, Output},
    publication::PushOutcome,
    repository::{self, Format, Prefix, RepositoryName},
    selection,
    withdrawn::{self, Withdrawn},
};

const EXAMPLES: &str = "\
Examples:
  alpinist restore hello-1.0-r0 --stack alpinist

  # All versions, of one architecture.
  alpinist restore hello --from 3.22/main/x86_64

  # By the key, as `alpinist ls --all` prints it.
  alpinist restore 3.22/main/x86_64/hello-1.0-r0.apk";

/// List packages again that were withdrawn
///
/// Deletes the object that withdraws the package, and sees the package published. A name without a
/// version means all versions that are withdrawn.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Restore {
    /// What is to be restored: its name, its name and version, or its key
    #[arg(required = true, value_name = "NAME[-VERSION]|KEY")]
    packages: Vec<String>,
    /// The repository, or the directory of one architecture
    #[arg(long, value_name = "BRANCH/REPOSITORY")]
    from: Option<RepositoryName>,
    #[command(flatten)]
    target_options: TargetOptions,
}

impl Restore {
    pub(crate) async fn run(self, output: Output) -> Result<ExitStatus, Error> {
        let context = self.target_options.clone().open().await?;
        let (store, executions) = (context.bucket()?, context.executions());
        let found = self.select(&store).await?;
        let watch = Watch::begin(&store, &executions, context.state_machine()?).await?;
        let mut changes = Vec::new();
        for Withdrawn { withdrawal, object, entry, .. } in &found {
            store.delete(&withdrawal.key, &withdrawal.etag).await?;
            let (listed, format) = match (object, entry) {
                (None, _) => (Listing::Not, Format::V2),
                (Some(_), None) => (Listing::Unknown, Format::V2),
                (Some(object), Some(entry)) => {
                    let identity = entry.identity;
                    (Listing::As(object.size, identity), Format::of(&identity))
                }
            };
            changes.push(Change { key: withdrawal.key.clone(), etag: None, listed, format });
        }
        let outcomes = outcomes::wait(watch, &changes).await?;
        let outcomes = outcomes.into_iter().map(PushOutcome::Followed).collect();
        let keys: Vec<_> = found.iter().map(|found| found.package.to_string()).collect();
        Outcomes::new("restored", keys.iter().map(String::as_str), outcomes).print(output)
    }

    /// Finds the packages. Fails if one is not withdrawn, or withdrawn in several repositories.
    async fn select(&self, store: &S3Store) -> Result<Vec<Withdrawn>, Error> {
        let below = self.from.as_ref().map(Prefix::from).unwrap_or_default();
        let mut all = Vec::new();
        for prefix in repository::repositories(store, &below).await? {
            let objects = repository::objects(store, &prefix).await?;
            all.extend(withdrawn::among(store, &prefix, &objects).await?);
        }
        let mut selected: Vec<Withdrawn> = Vec::new();
        for name in &self.packages {
            let is_named = |found: &&Withdrawn| {
                let entry = found.entry.as_ref();
                let is_name = entry.is_some_and(|entry| entry.metadata.name.as_str() == name);
                if selection::is_key(name) {
                    found.package.to_string() == *name
                } else {
                    is_name || found.package.stem() == name
                }
            };
            let found: Vec<_> = all.iter().filter(is_named).cloned().collect();
            let repositories = found.iter().map(|found| found.package.prefix().repository());
            let mut repositories: Vec<_> = repositories.map(str::to_owned).collect();
            repositories.sort_unstable();
            repositories.dedup();
            match repositories.len() {
                0 => return Err(Error::NotWithdrawn { name: name.clone() }),
                1 => {}
                _ => return Err(Error::InSeveral { name: name.clone(), repositories }),
            }
            let is_new =
                |found: &Withdrawn| selected.iter().all(|known| known.package != found.package);
            let found: Vec<_> = found.into_iter().filter(is_new).collect();
            selected.extend(found);
        }
        Ok(selected)
    }
}

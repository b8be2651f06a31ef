use alpinist_apk::{checksum::Identity, entry::IndexEntry};
use alpinist_aws::s3::S3Store;
use alpinist_repository::port::{ListedObject, ObjectStore as _};
use clap::Args;

use crate::{
    command::outcomes::{self, Outcomes},
    context::TargetOptions,
    error::Error,
    follow::{Change, Watch},
    output::{ExitStatus, Output},
    repository::RepositoryName,
    selection,
};

const EXAMPLES: &str = "\
Examples:
  # One version, for each architecture.
  alpinist rm hello-1.0-r0 --stack alpinist

  # All versions, of one architecture.
  alpinist rm hello --from 3.22/main/x86_64

  # By the key, as `alpinist ls` prints it.
  alpinist rm 3.22/main/x86_64/hello-1.0-r0.apk";

/// Delete packages, and see them leave the index
///
/// A name without a version means all versions. If a package is in several repositories, say in
/// which one with `--from`. If a name may also be a name with a version, as `go-1.21` may, nothing
/// is deleted: give keys, as `alpinist ls` prints them.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Rm {
    /// What is to be deleted: its name, its name and version, or its key
    #[arg(required = true, value_name = "NAME[-VERSION]|KEY")]
    packages: Vec<String>,
    /// The repository, or the directory of one architecture
    #[arg(long, value_name = "BRANCH/REPOSITORY")]
    from: Option<RepositoryName>,
    #[command(flatten)]
    target_options: TargetOptions,
}

impl Rm {
    pub(crate) async fn run(self, output: Output) -> Result<ExitStatus, Error> {
        let context = self.target_options.open().await?;
        let (store, executions) = (context.bucket()?, context.executions());
        let found = selection::select(&store, self.from.as_ref(), &self.packages).await?;
        let withdrawals: Vec<_> =
            found.iter().filter_map(|found| found.withdrawal.clone()).collect();
        let identity = |entry: Option<IndexEntry>| entry.map(|entry| entry.identity);
        let found = found.into_iter().map(|found| (found.object, identity(found.entry))).collect();
        let watch = Watch::begin(&store, &executions, context.state_machine()?).await?;
        let changes = delete_all(&store, found).await?;
        // Nothing is left to withdraw.
        for withdrawal in withdrawals {
            store.delete(&withdrawal.key, &withdrawal.etag).await?;
        }
        let outcomes = outcomes::wait(watch, &changes).await?;
        Outcomes::of_deletions(&changes, outcomes).print(output)
    }
}

/// Deletes packages, each with its identity in an index, if one lists it. Fails if one has changed
/// since it was listed.
pub(super) async fn delete_all(
    store: &S3Store,
    packages: Vec<(ListedObject, Option<Identity>)>,
) -> Result<Vec<Change>, Error> {
    let mut changes = Vec::new();
    for (package, listed) in packages {
        store.delete(&package.key, &package.etag).await?;
        changes.push(Change::deletion(package.key, listed.as_ref()));
    }
    Ok(changes)
}

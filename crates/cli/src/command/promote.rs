use alpinist_aws::s3::S3Store;
use alpinist_repository::{
    location::RepositoryPrefix,
    port::{Attributes, ETag, ObjectStore as _},
};
use clap::Args;

use crate::{
    command::ends::{self, Ends},
    context::Place,
    error::Error,
    follow::{Change, Watch},
    output::{Answer, Output},
    repository::{self, Prefix, RepositoryName},
};

const EXAMPLES: &str = "\
Examples:
  # What was tried is released, for each architecture.
  alpinist promote hello-1.0-r0 --from edge/testing --to 3.22/main --stack alpinist

  # Of one architecture alone.
  alpinist promote hello-1.0-r0 --from edge/testing/x86_64 --to 3.22/main";

/// Copy a package to another repository, and see it published there
///
/// S3 makes the copy; nothing is downloaded. The package stays where it was. If the other repository has a
/// package of this name and version already, nothing is copied.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Promote {
    /// What is to be copied
    #[arg(value_name = "NAME-VERSION")]
    name: String,
    /// The repository that has it, or the directory of one architecture
    #[arg(long, value_name = "BRANCH/REPOSITORY")]
    from: RepositoryName,
    /// The repository that gets it
    #[arg(long, value_name = "BRANCH/REPOSITORY")]
    to: RepositoryName,
    #[command(flatten)]
    place: Place,
}

/// A copy that is to be made.
struct Copy {
    source: String,
    seen: ETag,
    target: String,
}

impl Promote {
    pub(crate) async fn run(self, output: Output) -> Result<Answer, Error> {
        let context = self.place.open().await?;
        let (store, executions) = (context.bucket()?, context.executions());
        let copies = plan(&store, &self.name, &self.from, &self.to).await?;
        let watch = Watch::begin(&executions, context.state_machine()?).await?;
        let mut changes = Vec::new();
        for Copy { source, seen, target } in copies {
            store.copy(&source, &seen, &target, Attributes::new()).await?;
            // That of a copy differs if the original was uploaded in parts.
            let etag = store.head(&target).await?.map(|copy| copy.etag);
            changes.push(Change { key: target, etag });
        }
        let ends = ends::wait(watch, &changes).await?;
        Ends::new("published", &changes, ends).print(output)
    }
}

/// Finds a package in each architecture of a repository, and makes sure that the other one has it in none.
async fn plan(
    store: &S3Store,
    name: &str,
    from: &RepositoryName,
    to: &RepositoryName,
) -> Result<Vec<Copy>, Error> {
    let mut copies = Vec::new();
    for prefix in repository::repositories(store, &Prefix::from(from)).await? {
        let source = prefix.package_key(name);
        let Some(found) = store.head(&source).await? else { continue };
        let target = target(&prefix, name, to)?;
        if store.head(&target).await?.is_some() {
            return Err(Error::PackageTaken { key: target });
        }
        copies.push(Copy { source, seen: found.etag, target });
    }
    if copies.is_empty() {
        return Err(Error::NoPackage { name: name.to_owned() });
    }
    Ok(copies)
}

fn target(prefix: &RepositoryPrefix, name: &str, to: &RepositoryName) -> Result<String, Error> {
    let target = to.directory(prefix.architecture());
    let target = target.ok_or_else(|| Error::NoRepository { prefix: to.to_string() })?;
    Ok(target.package_key(name))
}

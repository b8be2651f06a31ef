use alpinist_apk::index::Index;
use alpinist_aws::s3::S3Store;
use alpinist_repository::{
    location::RepositoryPrefix,
    port::{Listed, ObjectStore as _},
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
  # One version, for each architecture.
  alpinist rm hello-1.0-r0 --stack alpinist

  # All versions, of one architecture.
  alpinist rm hello --from 3.22/main/x86_64";

/// Delete packages, and see them leave the index
///
/// A name without a version means all versions. If a package is in several repositories, say in which one
/// with `--from`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Rm {
    /// What is to be deleted: its name, or its name and version
    #[arg(value_name = "NAME[-VERSION]")]
    name: String,
    /// The repository, or the directory of one architecture
    #[arg(long, value_name = "BRANCH/REPOSITORY")]
    from: Option<RepositoryName>,
    #[command(flatten)]
    place: Place,
}

impl Rm {
    pub(crate) async fn run(self, output: Output) -> Result<Answer, Error> {
        let context = self.place.open().await?;
        let (store, executions) = (context.bucket()?, context.executions());
        let below = self.from.as_ref().map(Prefix::from).unwrap_or_default();
        let found = find(&store, &below, &self.name).await?;
        let watch = Watch::begin(&executions, context.state_machine()?).await?;
        let changes = delete_all(&store, found).await?;
        let ends = ends::wait(watch, &changes).await?;
        Ends::new("removed", &changes, ends).print(output)
    }
}

/// Deletes packages as they were seen.
pub(super) async fn delete_all(
    store: &S3Store,
    packages: Vec<Listed>,
) -> Result<Vec<Change>, Error> {
    let mut changes = Vec::new();
    for package in packages {
        store.delete(&package.key, &package.etag).await?;
        changes.push(Change { key: package.key, etag: None });
    }
    Ok(changes)
}

/// Finds the packages that are called so, of one repository.
async fn find(store: &S3Store, below: &Prefix, name: &str) -> Result<Vec<Listed>, Error> {
    let (mut found, mut repositories) = (Vec::new(), Vec::new());
    for prefix in repository::repositories(store, below).await? {
        let index = repository::index(store, &prefix).await.unwrap_or_default();
        let mut listed = store.list(&prefix.to_string(), &[]).await?;
        listed.retain(|object| is_called(&prefix, &index, &object.key, name));
        if !listed.is_empty() && !repositories.iter().any(|found| found == prefix.repository()) {
            repositories.push(prefix.repository().to_owned());
        }
        found.extend(listed);
    }
    let name = name.to_owned();
    match repositories.len() {
        0 => Err(Error::NoPackage { name }),
        1 => Ok(found),
        _ => Err(Error::InSeveral { name, repositories }),
    }
}

/// Tells whether an object is the package `name`, which may also be one that is not listed if its version is
/// given.
fn is_called(prefix: &RepositoryPrefix, index: &Index, key: &str, name: &str) -> bool {
    let of_this_name = index.entries().iter().filter(|entry| entry.metadata.name.as_str() == name);
    let mut keys = of_this_name.map(|entry| prefix.package_key(&entry.file_stem()));
    key == prefix.package_key(name) || keys.any(|listed| listed == key)
}

use alpinist_repository::location::RepositoryPrefix;
use clap::Args;

use crate::{
    command::outcomes::Outcomes,
    context::TargetOptions,
    error::Error,
    follow::Watch,
    output::{ExitStatus, Output},
    publication::{self, Content, Write},
    repository::RepositoryName,
    selection::{self, Selected},
};

const EXAMPLES: &str = "\
Examples:
  # What was tried is released, for each architecture.
  alpinist promote hello-1.0-r0 --from edge/testing --to 3.22/main --stack alpinist

  # All versions, of one architecture.
  alpinist promote hello --from edge/testing/x86_64 --to 3.22/main

  # By the key, as `alpinist ls` prints it.
  alpinist promote edge/testing/x86_64/hello-1.0-r0.apk --to 3.22/main";

/// Copy packages to another repository, and see them published there
///
/// S3 makes the copies; nothing is downloaded. The packages stay where they were. A name without a
/// version means all versions. If the other repository has other bytes under a name and version
/// already, nothing is copied and the exit status is 1.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Promote {
    /// What is to be copied: its name, its name and version, or its key
    #[arg(required = true, value_name = "NAME[-VERSION]|KEY")]
    packages: Vec<String>,
    /// The repository that has it, or the directory of one architecture; a key says it itself
    #[arg(long, value_name = "BRANCH/REPOSITORY")]
    from: Option<RepositoryName>,
    /// The repository that gets it
    #[arg(long, value_name = "BRANCH/REPOSITORY")]
    to: RepositoryName,
    /// Replace other bytes that are published under the same name and version
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    target_options: TargetOptions,
}

impl Promote {
    pub(crate) async fn run(self, output: Output) -> Result<ExitStatus, Error> {
        if let (None, Some(name)) =
            (&self.from, self.packages.iter().find(|name| !selection::is_key(name)))
        {
            return Err(Error::NoSource { name: name.clone() });
        }
        let context = self.target_options.open().await?;
        context.check_replace(self.replace)?;
        let (store, executions) = (context.bucket()?, context.executions());
        let found = selection::select(&store, self.from.as_ref(), &self.packages).await?;
        let copies: Result<_, Error> =
            found.into_iter().map(|package| copy(package, &self.to)).collect();
        let planned = match publication::plan(&store, copies?, self.replace, "copied").await? {
            Ok(planned) => planned,
            Err(taken) => {
                output.print(&taken)?;
                return Ok(ExitStatus::No);
            }
        };
        let watch = Watch::begin(&store, &executions, context.state_machine()?).await?;
        let written = publication::write_all(&store, planned, self.replace).await?;
        let outcomes = publication::follow(&context, &store, watch, &written).await?;
        Outcomes::new("published", written.iter().map(publication::Written::key), outcomes)
            .print(output)
    }
}

fn copy(package: Selected, to: &RepositoryName) -> Result<Write, Error> {
    let key = target(&package, to)?.package_key(package.stem());
    let Selected { object, entry, .. } = package;
    let Some(entry) = entry else { return Err(Error::NotPublished { key: object.key }) };
    Ok(Write {
        content: Content::Object { key: object.key, etag: object.etag },
        size: object.size,
        identity: Some(entry.identity),
        key,
    })
}

fn target(package: &Selected, to: &RepositoryName) -> Result<RepositoryPrefix, Error> {
    let target = to.directory(package.prefix.architecture());
    target.ok_or_else(|| Error::NoRepository { prefix: to.to_string() })
}

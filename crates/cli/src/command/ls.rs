use std::io::{self, Write};

use alpinist_apk::{entry::IndexEntry, text::escaped};
use alpinist_repository::location::RepositoryPrefix;
use clap::Args;
use serde::Serialize;

use crate::{
    context::TargetOptions,
    error::Error,
    output::{ExitStatus, Output, WriteText},
    repository::{self, Prefix},
};

const EXAMPLES: &str = "\
Examples:
  alpinist ls --stack alpinist
  alpinist ls 3.22/main/x86_64

  # How many packages has each maintainer?
  alpinist ls --json | jq -r '.[].maintainer' | sort | uniq -c";

/// List the packages that are published
///
/// Reads the published indexes, so it shows what clients see: the key of each package, its size,
/// and what it is.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Ls {
    /// A branch, `<branch>/<repository>`, or `<branch>/<repository>/<architecture>`
    #[arg(default_value = "", hide_default_value = true)]
    prefix: Prefix,
    #[command(flatten)]
    target_options: TargetOptions,
}

/// The packages, by repository and in the order of the index.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Packages(Vec<ListedPackage>);

#[derive(Debug, Serialize)]
struct ListedPackage {
    key: String,
    name: String,
    version: String,
    architecture: String,
    size: u64,
    description: String,
    maintainer: String,
    build_time: u64,
}

impl ListedPackage {
    fn new(prefix: &RepositoryPrefix, entry: &IndexEntry) -> Self {
        let metadata = &entry.metadata;
        Self {
            key: prefix.package_key(&entry.file_stem()),
            name: metadata.name.to_string(),
            version: metadata.version.to_string(),
            architecture: metadata.architecture.to_string(),
            size: entry.size,
            description: metadata.description.to_string(),
            maintainer: metadata.maintainer.to_string(),
            build_time: metadata.build_time,
        }
    }
}

impl Ls {
    pub(crate) async fn run(self, output: Output) -> Result<ExitStatus, Error> {
        let store = self.target_options.open().await?.bucket()?;
        let mut packages = Vec::new();
        for prefix in repository::repositories(&store, &self.prefix).await? {
            let index = repository::index(&store, &prefix).await?;
            let entries = index.entries().iter();
            packages.extend(entries.map(|entry| ListedPackage::new(&prefix, entry)));
        }
        output.print(&Packages(packages))?;
        Ok(ExitStatus::Yes)
    }
}

impl WriteText for Packages {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let widest = self.0.iter().map(|package| package.key.len()).max().unwrap_or_default();
        for ListedPackage { key, size, description, .. } in &self.0 {
            writeln!(out, "{key:widest$}  {size:>11}  {}", escaped(description))?;
        }
        Ok(())
    }
}

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
    withdrawn::{self, Withdrawn},
};

const EXAMPLES: &str = "\
Examples:
  alpinist ls --stack alpinist
  alpinist ls 3.22/main/x86_64

  # What is withdrawn, and why?
  alpinist ls --all --json | jq '.[] | select(.withdrawn) | {key, withdrawn}'

  # How many packages has each maintainer?
  alpinist ls --json | jq -r '.[].maintainer' | sort | uniq -c";

/// List the packages that are published
///
/// Reads the published indexes, so it shows what clients see: the key of each package, its size,
/// and what it is. With `--all` also shows what is withdrawn, and why.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Ls {
    /// A branch, `<branch>/<repository>`, or `<branch>/<repository>/<architecture>`
    #[arg(default_value = "", hide_default_value = true)]
    prefix: Prefix,
    /// Also those that are withdrawn
    #[arg(long)]
    all: bool,
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
    /// Why it is withdrawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    withdrawn: Option<String>,
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
            withdrawn: None,
        }
    }
}

impl ListedPackage {
    /// A withdrawn package, of which only the key is known if it has no fragment.
    fn withdrawn(Withdrawn { package, object, entry, reason, .. }: Withdrawn) -> Self {
        let withdrawn = Some(reason);
        if let Some(entry) = entry {
            return Self { withdrawn, ..Self::new(package.prefix(), &entry) };
        }
        Self {
            key: package.to_string(),
            name: String::new(),
            version: String::new(),
            architecture: package.prefix().architecture().to_string(),
            size: object.map_or(0, |object| object.size),
            description: String::new(),
            maintainer: String::new(),
            build_time: 0,
            withdrawn,
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
            if self.all {
                let objects = repository::objects(&store, &prefix).await?;
                let withdrawn = withdrawn::among(&store, &prefix, &objects).await?;
                packages.extend(withdrawn.into_iter().map(ListedPackage::withdrawn));
            }
        }
        output.print(&Packages(packages))?;
        Ok(ExitStatus::Yes)
    }
}

impl WriteText for Packages {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let widest = self.0.iter().map(|package| package.key.len()).max().unwrap_or_default();
        for ListedPackage { key, size, description, withdrawn, .. } in &self.0 {
            let description = escaped(description);
            match withdrawn.as_deref() {
                None => writeln!(out, "{key:widest$}  {size:>11}  {description}")?,
                Some("") => writeln!(out, "{key:widest$}  {size:>11}  withdrawn")?,
                Some(why) => writeln!(out, "{key:widest$}  {size:>11}  withdrawn: {why}")?,
            }
        }
        Ok(())
    }
}

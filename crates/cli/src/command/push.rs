use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write},
    path::{Component, Path, PathBuf},
};

use alpinist_apk::{
    package::Package,
    text::{chain, escaped},
    value::Architecture,
};
use alpinist_aws::s3::S3Store;
use alpinist_repository::{
    discovery,
    location::RepositoryPrefix,
    policy::Policy,
    port::{ETag, ObjectStore as _},
    rejection::Rejection,
    step,
};
use clap::Args;
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use serde::Serialize;

use crate::{
    command::outcomes::Outcomes,
    context::{Context, TargetOptions},
    error::Error,
    follow::Watch,
    output::{self, BAD, ExitStatus, GOOD, Output, WriteText},
    package_file,
    publication::{self, Content, WriteResult, Written},
    repository::{Prefix, RepositoryName, architecture_of_clients},
};

const EXAMPLES: &str = "\
Examples:
  alpinist push hello-1.0-r0.apk --to 3.22/main --wait --stack alpinist
  alpinist push ~/packages/main/x86_64/*.apk --to 3.22/main

  # The path says where, if it is relative and ends in the name of an architecture.
  alpinist push 3.22/main/*/*.apk

  # A package for any architecture goes to each that the repository has, and to one more.
  alpinist push fonts-1-r0.apk --to 3.22/main --arch riscv64

  # Or to the directory of only one.
  alpinist push fonts-1-r0.apk --to 3.22/main/aarch64";

/// Upload packages, and see them published
///
/// Checks each package first, as the repository will, except for its signatures; if one is
/// rejected, nothing is uploaded and the exit status is 1. The same applies if other bytes are
/// published under its name and version. Each goes to the directory of its architecture, or to that
/// of every architecture that the repository has if it is for any (`noarch`), under the name that
/// its metadata gives. With `--wait`, follows them to the published index, or to the reason for
/// which they are rejected.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Push {
    /// The packages
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The repository that they go to, such as `3.22/main`, or the directory of one architecture;
    /// if their paths do not say it
    #[arg(long, value_name = "REPOSITORY")]
    to: Option<RepositoryName>,
    /// One more architecture for packages that are for any; may be repeated
    #[arg(long, value_name = "ARCH", requires = "to", value_parser = architecture_of_clients)]
    arch: Vec<Architecture>,
    /// Replace other bytes that are published under the same name and version
    #[arg(long)]
    replace: bool,
    /// Wait until they are published
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    target_options: TargetOptions,
}

/// A package that was read without a rejection.
struct Loaded {
    file: PathBuf,
    size: u64,
    package: Package,
}

/// The packages that the repository would reject.
#[derive(Debug, Serialize)]
struct Rejected {
    rejected: Vec<RejectedFile>,
}

#[derive(Debug, Serialize)]
struct RejectedFile {
    file: PathBuf,
    cause: String,
}

/// What became of the packages.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Uploaded(Vec<UploadedFile>);

#[derive(Debug, Serialize)]
struct UploadedFile {
    key: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<ETag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Push {
    pub(crate) async fn run(self, output: Output) -> Result<ExitStatus, Error> {
        let context = self.target_options.clone().open().await?;
        let policy = context.policy()?;
        context.check_replace(self.replace)?;
        let loaded: Result<Vec<_>, Error> =
            self.files.par_iter().map(|file| load(file, policy)).collect();
        let (mut accepted, mut rejected) = (Vec::new(), Vec::new());
        for loaded in loaded? {
            match loaded {
                Ok(package) => accepted.push(package),
                Err(file) => rejected.push(file),
            }
        }
        let directories = self.directories(&context, &accepted).await?;
        let mut writes = Vec::new();
        for package in accepted {
            match package.target(self.to.as_ref(), &directories)? {
                Ok(placed) => writes.extend(placed),
                Err(file) => rejected.push(file),
            }
        }
        if !rejected.is_empty() {
            output.print(&Rejected { rejected })?;
            return Ok(ExitStatus::No);
        }
        let store = context.bucket()?;
        match publication::plan(&store, writes, self.replace, "uploaded").await? {
            Ok(planned) => self.upload(&context, &store, planned, output).await,
            Err(taken) => {
                output.print(&taken)?;
                Ok(ExitStatus::No)
            }
        }
    }

    async fn upload(
        &self,
        context: &Context,
        store: &S3Store,
        planned: Vec<publication::Planned>,
        output: Output,
    ) -> Result<ExitStatus, Error> {
        if !self.wait {
            let uploaded = publication::write_all(store, planned, self.replace).await?;
            let is_taken = |file: &Written| matches!(file.outcome, WriteResult::Taken { .. });
            let is_well = !uploaded.iter().any(is_taken);
            output.print(&Uploaded(uploaded.into_iter().map(UploadedFile::from).collect()))?;
            return Ok(if is_well { ExitStatus::Yes } else { ExitStatus::No });
        }
        let executions = context.executions();
        let watch = Watch::begin(store, &executions, context.state_machine()?).await?;
        let uploaded = publication::write_all(store, planned, self.replace).await?;
        let outcomes = publication::follow(context, store, watch, &uploaded).await?;
        Outcomes::new("published", uploaded.iter().map(Written::key), outcomes).print(output)
    }

    /// Returns the architectures that packages for any architecture go to: those that the
    /// repository has or is about to get, and those given with `--arch` or in `--to`.
    async fn directories(
        &self,
        context: &Context,
        packages: &[Loaded],
    ) -> Result<BTreeSet<Architecture>, Error> {
        let mut found: BTreeSet<_> = self.arch.iter().cloned().collect();
        let Some(to) = &self.to else { return Ok(found) };
        if let Some(architecture) = to.architecture() {
            found.insert(architecture.clone());
            return Ok(found);
        }
        if packages.iter().any(Loaded::is_for_any) {
            let own = packages.iter().filter(|package| !package.is_for_any());
            found.extend(own.map(|package| package.architecture().clone()));
            found.extend(architectures(&context.bucket()?, to).await?);
        }
        Ok(found)
    }
}

/// Returns the architectures that a repository has packages for.
async fn architectures(store: &S3Store, to: &RepositoryName) -> Result<Vec<Architecture>, Error> {
    let mut found = Vec::new();
    for prefix in discovery::repositories(store, Prefix::from(to).as_str()).await? {
        let is_its_own = to.directory(prefix.architecture()).as_ref() == Some(&prefix);
        // Other directories may be next to the architectures.
        if is_its_own && has_packages(store, &prefix).await? {
            found.push(prefix.architecture().clone());
        }
    }
    Ok(found)
}

async fn has_packages(store: &S3Store, prefix: &RepositoryPrefix) -> Result<bool, Error> {
    if store.head(&prefix.index_key()).await?.is_some() {
        return Ok(true);
    }
    let listed = store.list(&prefix.to_string(), &[]).await?;
    Ok(listed.iter().any(|object| object.key.ends_with(".apk")))
}

/// Reads a package, and checks it as the pipeline will.
fn load(file: &Path, policy: Policy) -> Result<Result<Loaded, RejectedFile>, Error> {
    let size = fs::metadata(file).map_err(Error::file("inspect", file))?.len();
    if size > policy.max_size {
        return Ok(Err(RejectedFile::new(file, &Rejection::Size { size, max: policy.max_size })));
    }
    Ok(match package_file::read(file)? {
        Ok(package) => Ok(Loaded { file: file.to_owned(), size, package }),
        Err(error) => Err(RejectedFile::new(file, &error.into())),
    })
}

impl RejectedFile {
    fn new(file: &Path, rejection: &Rejection) -> Self {
        let cause = escaped(&format!("{}. {}", chain(rejection), rejection.remedy()));
        Self { file: file.to_owned(), cause }
    }
}

impl Loaded {
    fn architecture(&self) -> &Architecture {
        &self.package.metadata.architecture
    }

    fn is_for_any(&self) -> bool {
        self.architecture().is_noarch()
    }

    /// Finds where the package goes, and checks it there as the pipeline will.
    fn target(
        &self,
        to: Option<&RepositoryName>,
        directories: &BTreeSet<Architecture>,
    ) -> Result<Result<Vec<publication::Write>, RejectedFile>, Error> {
        let metadata = &self.package.metadata;
        let stem = format!("{}-{}", metadata.name, metadata.version);
        let mut writes = Vec::new();
        for prefix in self.destinations(to, directories)? {
            match step::make_entry(prefix.architecture(), &stem, self.package.clone()) {
                Ok(entry) if writes.is_empty() => output::warn(&self.file, &entry),
                Ok(_) => {}
                Err(rejection) => return Ok(Err(RejectedFile::new(&self.file, &rejection))),
            }
            writes.push(publication::Write {
                content: Content::File(self.file.clone()),
                size: self.size,
                identity: Some(self.package.identity),
                key: prefix.package_key(&stem),
            });
        }
        Ok(Ok(writes))
    }

    /// Returns the directories for the package, from `--to` or from its path as given. The working
    /// directory does not matter.
    fn destinations(
        &self,
        to: Option<&RepositoryName>,
        directories: &BTreeSet<Architecture>,
    ) -> Result<Vec<RepositoryPrefix>, Error> {
        let nowhere = || Error::NoDestination { file: self.file.clone() };
        let Some(to) = to else {
            return prefix_in(&self.file).ok_or_else(nowhere).map(|prefix| vec![prefix]);
        };
        if !self.is_for_any() {
            return to
                .directory(self.architecture())
                .ok_or_else(nowhere)
                .map(|prefix| vec![prefix]);
        }
        if directories.is_empty() {
            let (file, repository) = (self.file.clone(), to.to_string());
            return Err(Error::NoArchitectures { file, repository });
        }
        let to = to.clone().without_architecture();
        directories.iter().map(|own| to.directory(own).ok_or_else(nowhere)).collect()
    }
}

/// Returns the directory that a path names, if it is relative and ends in the name of an
/// architecture. The whole path counts.
fn prefix_in(file: &Path) -> Option<RepositoryPrefix> {
    let parts = file.parent()?.components().filter(|part| *part != Component::CurDir);
    let names = parts.map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    let names = names.collect::<Option<Vec<_>>>()?;
    let (architecture, repository) = names.split_last()?;
    let prefix = RepositoryPrefix::new(&repository.join("/"), architecture).ok()?;
    prefix.architecture().is_known().then_some(prefix)
}

impl From<Written> for UploadedFile {
    fn from(written: Written) -> Self {
        let key = written.key().to_owned();
        let (outcome, etag, reason) = match written.outcome {
            WriteResult::New(etag) => ("uploaded", Some(etag), None),
            WriteResult::Replaced(etag) => ("replaced", Some(etag), None),
            WriteResult::Unchanged(etag) => ("unchanged", Some(etag), None),
            WriteResult::Taken { reason } => ("taken", None, Some(reason)),
        };
        Self { key, outcome, etag, reason }
    }
}

impl WriteText for Rejected {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        for RejectedFile { file, cause } in &self.rejected {
            writeln!(out, "{BAD}rejected{BAD:#} {}: {cause}", file.display())?;
        }
        writeln!(out, "Nothing was uploaded.")
    }
}

impl WriteText for Uploaded {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        for UploadedFile { key, outcome, reason, .. } in &self.0 {
            match reason {
                Some(reason) => writeln!(out, "{BAD}{outcome}{BAD:#} {key}: {reason}.")?,
                None => writeln!(out, "{GOOD}{outcome}{GOOD:#} {key}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_the_whole_of_a_directory_or_nothing() {
        let prefix = |path: &str| prefix_in(Path::new(path)).map(|prefix| prefix.to_string());
        for (path, directory) in [
            ("3.22/main/x86_64/a.apk", "3.22/main/x86_64/"),
            ("./v3.21/x86_64/a.apk", "v3.21/x86_64/"),
            ("alpine/8.0/extra/aarch64/a.apk", "alpine/8.0/extra/aarch64/"),
        ] {
            assert_eq!(prefix(path).as_deref(), Some(directory), "{path}");
        }
        let paths = ["a.apk", "x86_64/a.apk", "3.22/main/a.apk", "../3.22/main/x86_64/a.apk"];
        for path in [&paths[..], &["/home/me/3.22/main/x86_64/a.apk"]].concat() {
            assert_eq!(prefix(path), None, "{path}");
        }
    }
}

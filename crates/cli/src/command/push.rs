use std::{
    fs,
    io::{self, Write},
    path::{Component, Path, PathBuf},
};

use alpinist_apk::package::Package;
use alpinist_aws::s3::S3Store;
use alpinist_repository::{
    failure::chain, location::RepositoryPrefix, policy::Policy, port::ETag, refusal::Refusal, step,
};
use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use serde::Serialize;

use crate::{
    command::ends::{self, Ends},
    context::Place,
    error::Error,
    follow::{Change, Watch},
    output::{Answer, BAD, GOOD, Output, Report},
    package_file,
    progress::Progress,
    repository::RepositoryName,
};

/// How many files are uploaded at once.
const PARALLEL_UPLOADS: usize = 8;

const EXAMPLES: &str = "\
Examples:
  alpinist push hello-1.0-r0.apk --to 3.22/main --wait --stack alpinist
  alpinist push ~/packages/main/x86_64/*.apk --to 3.22/main

  # The path says where: …/3.22/main/x86_64/hello-1.0-r0.apk.
  alpinist push 3.22/main/*/*.apk

  # A package for any architecture goes to the directory of one.
  alpinist push fonts-1-r0.apk --to 3.22/main/aarch64";

/// Upload packages, and see them published
///
/// Checks each package first, as the repository will, but for its signatures; if one is refused, nothing is uploaded and the exit
/// status is 1. Each goes to the directory of its architecture, under the name that its `.PKGINFO` gives. With
/// `--wait`, follows them to the published index, or to the reason for which they are refused.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Push {
    /// The packages
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where they go, if their paths do not say it: `<branch>/<repository>`, or with an architecture
    #[arg(long, value_name = "BRANCH/REPOSITORY")]
    to: Option<RepositoryName>,
    /// Wait until they are published
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    place: Place,
}

/// A package that may be uploaded.
struct Accepted {
    file: PathBuf,
    key: String,
    size: u64,
}

/// The packages that the repository would refuse.
#[derive(Debug, Serialize)]
struct Refused {
    refused: Vec<RefusedFile>,
}

#[derive(Debug, Serialize)]
struct RefusedFile {
    file: PathBuf,
    cause: String,
}

/// The packages that were uploaded.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Uploaded(Vec<UploadedFile>);

#[derive(Debug, Serialize)]
struct UploadedFile {
    key: String,
    etag: ETag,
}

impl Push {
    pub(crate) async fn run(self, output: Output) -> Result<Answer, Error> {
        let context = self.place.open().await?;
        let policy = context.policy();
        let judged: Result<Vec<_>, Error> =
            self.files.par_iter().map(|file| judge(file, self.to.as_ref(), policy)).collect();
        let (mut accepted, mut refused) = (Vec::new(), Vec::new());
        for judged in judged? {
            match judged {
                Ok(package) => accepted.push(package),
                Err(file) => refused.push(file),
            }
        }
        if !refused.is_empty() {
            output.print(&Refused { refused })?;
            return Ok(Answer::No);
        }
        let (store, executions) = (context.bucket()?, context.executions());
        if !self.wait {
            let uploaded = upload_all(&store, &accepted).await?;
            output.print(&Uploaded(uploaded))?;
            return Ok(Answer::Yes);
        }
        let watch = Watch::begin(&executions, context.state_machine()?).await?;
        let uploaded = upload_all(&store, &accepted).await?;
        let changes: Vec<_> = uploaded
            .into_iter()
            .map(|UploadedFile { key, etag }| Change { key, etag: Some(etag) })
            .collect();
        let ends = ends::wait(watch, &changes).await?;
        Ends::new("published", &changes, ends).print(output)
    }
}

async fn upload_all(store: &S3Store, accepted: &[Accepted]) -> Result<Vec<UploadedFile>, Error> {
    let progress = Progress::of_bytes(accepted.iter().map(|package| package.size).sum());
    let uploads = accepted.iter().map(async |Accepted { file, key, size }| {
        let etag = store.upload(key, file, *size, |sent| progress.add(sent)).await;
        let etag = etag.map_err(|source| Error::Upload { file: file.clone(), source })?;
        Ok(UploadedFile { key: key.clone(), etag })
    });
    stream::iter(uploads).buffered(PARALLEL_UPLOADS).try_collect().await
}

/// Judges a package as the pipeline will, and finds where it goes.
fn judge(
    file: &Path,
    to: Option<&RepositoryName>,
    policy: Policy,
) -> Result<Result<Accepted, RefusedFile>, Error> {
    let refused = |refusal: &Refusal| {
        let cause = format!("{}. {}", chain(refusal), refusal.remedy());
        RefusedFile { file: file.to_owned(), cause }
    };
    let size = fs::metadata(file).map_err(Error::file("look at", file))?.len();
    if size > policy.max_size {
        return Ok(Err(refused(&Refusal::Size { size, max: policy.max_size })));
    }
    let package = match package_file::read(file)? {
        Ok(package) => package,
        Err(error) => return Ok(Err(refused(&error.into()))),
    };
    let prefix = destination(file, to, &package)?;
    let metadata = &package.info.metadata;
    let stem = format!("{}-{}", metadata.name, metadata.version);
    Ok(match step::make_entry(prefix.architecture(), &stem, package) {
        Ok(_) => Ok(Accepted { file: file.to_owned(), key: prefix.package_key(&stem), size }),
        Err(refusal) => Err(refused(&refusal)),
    })
}

/// Returns the directory for a package: what was said, or what its path says as it was given. Where the command is run says
/// nothing.
fn destination(
    file: &Path,
    to: Option<&RepositoryName>,
    package: &Package,
) -> Result<RepositoryPrefix, Error> {
    let nowhere = || Error::NoDestination { file: file.to_owned() };
    if let Some(to) = to {
        return to.directory(&package.info.metadata.architecture).ok_or_else(nowhere);
    }
    let parts = file.parent().into_iter().flat_map(Path::components).map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    match *parts.collect::<Vec<_>>() {
        [.., Some(branch), Some(repository), Some(architecture)] => {
            format!("{branch}/{repository}/{architecture}/").parse().map_err(|_| nowhere())
        }
        _ => Err(nowhere()),
    }
}

impl Report for Refused {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        for RefusedFile { file, cause } in &self.refused {
            writeln!(out, "{BAD}refused{BAD:#} {}: {cause}", file.display())?;
        }
        writeln!(out, "Nothing was uploaded.")
    }
}

impl Report for Uploaded {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        self.0.iter().try_for_each(|file| writeln!(out, "{GOOD}uploaded{GOOD:#} {}", file.key))
    }
}

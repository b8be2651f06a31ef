use std::io::{self, Write};

use alpinist_apk::text::{chain, escaped};
use alpinist_repository::{
    discovery::Discovery,
    location::RepositoryPrefix,
    port::{ObjectStore as _, StoreError},
    verify::{self, Depth, Problem, Remedy, VerifyOptions},
};
use clap::Args;
use serde::Serialize;

use crate::{
    command::key,
    context::TargetOptions,
    error::Error,
    output::{BAD, ExitStatus, GOOD, HEADING, Output, WriteText, pluralize},
    repository::{self, Prefix},
};

const EXAMPLES: &str = "\
Examples:
  alpinist verify --stack alpinist
  alpinist verify 3.22/main/x86_64 --deep

  # The commands that fix what is wrong, each once.
  alpinist verify --json | jq -r '.problems[].fix // empty' | sort -u";

/// Check what is published against what is there
///
/// Reads each index as a client does, of both formats, verifies its signatures, and compares its
/// entries with the packages in the bucket. Says what is wrong, and which command fixes it, if one
/// does: none deletes anything. Packages uploaded meanwhile may be reported as problems. The exit
/// status is 1 if anything is wrong.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Verify {
    /// A branch, `<branch>/<repository>`, or `<branch>/<repository>/<architecture>`
    #[arg(default_value = "", hide_default_value = true)]
    prefix: Prefix,
    /// Read each package and each fragment, too
    #[arg(long)]
    deep: bool,
    #[command(flatten)]
    target_options: TargetOptions,
}

/// What was checked, and what is wrong.
#[derive(Debug, Default, Serialize)]
struct Verification {
    repositories: usize,
    packages: usize,
    problems: Vec<FoundProblem>,
    withdrawn: Vec<WithdrawnPackage>,
    warnings: Vec<FoundWarning>,
}

#[derive(Debug, Serialize)]
struct WithdrawnPackage {
    key: String,
    reason: String,
}

#[derive(Debug, Serialize)]
struct FoundWarning {
    key: String,
    warning: String,
}

#[derive(Debug, Serialize)]
struct FoundProblem {
    key: String,
    problem: String,
    /// The command that fixes it.
    fix: Option<String>,
    /// The command that deletes the package, if no command can fix the problem.
    delete: Option<String>,
}

impl Verify {
    pub(crate) async fn run(self, output: Output) -> Result<ExitStatus, Error> {
        let context = self.target_options.open().await?;
        let store = context.bucket()?;
        let depth = if self.deep { Depth::Content } else { Depth::Listing };
        let signers = match key::names_in_use(&context).await {
            Ok(names) => names,
            // Credentials that may read the bucket may not be allowed to read the keys.
            Err(Error::Store(StoreError::Denied { .. })) => Vec::new(),
            Err(error) => return Err(error),
        };
        let (policy, plus_copies) = (context.policy()?, context.plus_copies()?);
        let (v3_index, replacing) = (context.v3_index()?, context.replacing()?);
        let options = VerifyOptions { depth, policy, plus_copies, replacing, v3_index, signers };
        let mut verified = Verification::default();
        let bucket = context.bucket_name()?;
        let Discovery { repositories, strays } = repository::discover(&store, &self.prefix).await?;
        for directory in strays {
            let packages = store.list(&directory, &[]).await?;
            let keys = packages.into_iter().map(|package| package.key);
            let strays = keys.filter(|key| key.ends_with(".apk"));
            verified.problems.extend(strays.map(|key| FoundProblem::stray(bucket, &key)));
        }
        for prefix in repositories {
            let found = verify::verify(&store, &prefix, &options).await?;
            verified.repositories += 1;
            verified.packages += found.packages;
            let problems = found.problems.into_iter();
            verified
                .problems
                .extend(problems.map(|(key, problem)| FoundProblem::new(&prefix, &key, &problem)));
            let withdrawn = found.withdrawn.into_iter();
            let withdrawn =
                withdrawn.map(|(key, reason)| WithdrawnPackage { key: escaped(&key), reason });
            verified.withdrawn.extend(withdrawn);
            verified.warnings.extend(found.warnings.into_iter().map(|(key, warning)| {
                let warning = escaped(&format!("{warning}. {}", warning.remedy()));
                FoundWarning { key: escaped(&key), warning }
            }));
        }
        output.print(&verified)?;
        Ok(if verified.problems.is_empty() { ExitStatus::Yes } else { ExitStatus::No })
    }
}

impl FoundProblem {
    fn new(prefix: &RepositoryPrefix, key: &str, problem: &Problem) -> Self {
        let below = prefix.to_string();
        let below = below.trim_end_matches('/');
        let (fix, delete) = match problem.fix() {
            Remedy::ReindexStale => (Some(format!("alpinist reindex {below} --stale")), None),
            Remedy::Sign => (Some(format!("alpinist reindex {below} --sign")), None),
            Remedy::Replace => (None, Some(format!("alpinist rm {key}"))),
            _ => (Some(format!("alpinist reindex {below}")), None),
        };
        let [fix, delete] = [fix, delete].map(|command| command.as_deref().map(escaped));
        Self { key: escaped(key), problem: escaped(&chain(problem)), fix, delete }
    }
}

impl FoundProblem {
    /// A package in a directory that belongs to no repository.
    fn stray(bucket: &str, key: &str) -> Self {
        let delete = format!("aws s3 rm 's3://{bucket}/{}'", key.replace('\'', r"'\''"));
        let problem = "it is in no directory of a repository, so no index lists it".to_owned();
        Self { key: escaped(key), problem, fix: None, delete: Some(escaped(&delete)) }
    }
}

impl WriteText for Verification {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        for FoundProblem { key, problem, fix, delete } in &self.problems {
            writeln!(out, "{BAD}wrong{BAD:#} {key}: {problem}")?;
            if let Some(fix) = fix {
                writeln!(out, "      fix it with: {fix}")?;
            }
            if let Some(delete) = delete {
                writeln!(out, "      delete it with: {delete}")?;
            }
        }
        for WithdrawnPackage { key, reason } in &self.withdrawn {
            let reason = if reason.is_empty() { "nobody said why" } else { reason };
            writeln!(out, "{HEADING}withdrawn{HEADING:#} {key}: {reason}")?;
        }
        for FoundWarning { key, warning } in &self.warnings {
            writeln!(out, "{HEADING}warning{HEADING:#} {key}: {warning}")?;
        }
        let packages = pluralize(self.packages, "package", "packages");
        let indexes = pluralize(self.repositories, "index", "indexes");
        match self.problems.len() {
            0 => writeln!(out, "{GOOD}right{GOOD:#}: {packages} in {indexes}"),
            count => {
                let problems = pluralize(count, "problem", "problems");
                writeln!(out, "{BAD}{problems}{BAD:#} among {packages} in {indexes}")
            }
        }
    }
}

use std::io::{self, Write};

use alpinist_repository::port::StoreError;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    aws::reader_store::{ReaderStore, StoreVersion},
    context::TargetOptions,
    error::Error,
    output::{self, BAD, ExitStatus, HEADING, Output, WriteText},
    reader::{OpenPrefix, Reader as StoredReader, ReaderName, Token},
    time::{self, Until},
};

const EXAMPLES: &str = "\
Examples:
  alpinist reader add ci --in 3.22/main --for 90d --stack alpinist
  alpinist reader ls
  alpinist reader rm ci";

/// How often a change is tried while somebody else changes readers.
const ATTEMPTS: usize = 5;

/// Let somebody read private repositories, or no longer
///
/// For a stack with `Serving=cloudfront` and `Reading=private`. A reader has a name and a token,
/// and reads over HTTPS with Basic authentication, as `apk`, `apko` and browsers do. Only a digest
/// of the token is stored.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Reader {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token, and print what its reader needs
    ///
    /// The token is shown once. CloudFront knows it within seconds. To change a token without an
    /// outage, add a reader of another name, and remove the first one later.
    #[command(after_help = "\
Examples:
  alpinist reader add ci --in 3.22/main --for 90d --stack alpinist

  # Two branches; and everything.
  alpinist reader add alice --in 3.21 --in 3.22
  alpinist reader add mirror --in /")]
    Add(Add),
    /// List the readers
    #[command(after_help = "\
Examples:
  alpinist reader ls --stack alpinist")]
    Ls(Ls),
    /// Remove a reader: CloudFront refuses its token within seconds
    #[command(after_help = "\
Examples:
  alpinist reader rm ci --stack alpinist")]
    Rm(Rm),
}

#[derive(Args, Debug)]
struct Add {
    /// The reader's name
    name: ReaderName,
    /// What the reader may read: a repository, a branch, the directory of an architecture, or `/`
    /// for everything; may be repeated
    #[arg(long = "in", value_name = "PREFIX", required = true)]
    prefixes: Vec<OpenPrefix>,
    /// After what time the token expires, such as `90d` or `12h`; without it, never
    #[arg(long = "for", value_name = "TIME")]
    until: Option<Until>,
    #[command(flatten)]
    target_options: TargetOptions,
}

#[derive(Args, Debug)]
struct Ls {
    #[command(flatten)]
    target_options: TargetOptions,
}

#[derive(Args, Debug)]
struct Rm {
    /// The reader's name
    name: ReaderName,
    #[command(flatten)]
    target_options: TargetOptions,
}

/// What a new reader needs.
#[derive(Debug, Serialize)]
struct NewReader {
    name: ReaderName,
    token: Token,
    #[serde(rename = "in")]
    prefixes: Vec<String>,
    until: Option<String>,
    /// Lines for /etc/apk/repositories.
    repositories: Vec<String>,
    /// The same with the token.
    repositories_with_token: Vec<String>,
    /// The environment variable for apk and apko.
    http_auth: String,
    /// The line for ~/.netrc.
    netrc: String,
    /// What Renovate needs in its configuration.
    renovate: Renovate,
}

/// A part of the configuration of Renovate.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Renovate {
    registry_urls: Vec<String>,
    host_rules: [HostRule; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct HostRule {
    match_host: String,
    username: ReaderName,
    password: Token,
}

/// The readers, by name.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Readers(Vec<ListedReader>);

#[derive(Debug, Serialize)]
struct ListedReader {
    name: String,
    #[serde(rename = "in")]
    prefixes: Vec<String>,
    until: Option<String>,
    is_expired: bool,
}

/// A reader that was removed.
#[derive(Debug, Serialize)]
struct Removed {
    removed: ReaderName,
}

impl Reader {
    pub(crate) async fn run(self, output: Output) -> Result<ExitStatus, Error> {
        match self.action {
            Action::Add(add) => add.run(output).await,
            Action::Ls(ls) => ls.run(output).await,
            Action::Rm(rm) => rm.run(output).await,
        }
    }
}

impl Add {
    async fn run(self, output: Output) -> Result<ExitStatus, Error> {
        let Self { name, prefixes, until, target_options } = self;
        let context = target_options.open().await?;
        let store = context.readers()?;
        let until = until.map(Until::seconds);
        let token = Token::new();
        let reader = StoredReader::new(&token, prefixes, until);
        let stored = reader.to_stored().ok_or(Error::ReaderTooLong)?;
        change(&store, async |version| {
            if store.get(name.as_str()).await?.is_some() {
                return Err(Error::ReaderNameTaken { name: name.to_string() });
            }
            store.put(name.as_str(), &stored, version).await
        })
        .await?;
        if context.setting("Reading", "public") == "public" {
            output::status(
                "warning: the stack has Reading=public, so anyone may read: tokens matter once it \
                 is deployed with Reading=private",
            );
        }
        let base = context.output("RepositoryBaseUrl");
        let base = base.ok_or(Error::MissingOption { option: "--stack" })?;
        output.print(&NewReader::new(name, token, &reader, base))?;
        Ok(ExitStatus::Yes)
    }
}

impl Ls {
    async fn run(self, output: Output) -> Result<ExitStatus, Error> {
        let context = self.target_options.open().await?;
        let now = Timestamp::now().as_second();
        let mut readers = Vec::new();
        for (name, stored) in context.readers()?.all().await? {
            let reader: StoredReader = serde_json::from_str(&stored)
                .map_err(|source| Error::StoredReader { name: name.clone(), source })?;
            readers.push(ListedReader {
                name,
                prefixes: reader.prefixes.iter().map(ToString::to_string).collect(),
                until: reader.until.map(show),
                is_expired: reader.until.is_some_and(|until| now >= until),
            });
        }
        output.print(&Readers(readers))?;
        Ok(ExitStatus::Yes)
    }
}

impl Rm {
    async fn run(self, output: Output) -> Result<ExitStatus, Error> {
        let Self { name, target_options } = self;
        let store = target_options.open().await?.readers()?;
        change(&store, async |version| {
            if store.get(name.as_str()).await?.is_none() {
                return Err(Error::NoReader { name: name.to_string() });
            }
            Ok(store.delete(name.as_str(), version).await?)
        })
        .await?;
        output.print(&Removed { removed: name })?;
        Ok(ExitStatus::Yes)
    }
}

/// Changes a store, again if somebody else changed another reader meanwhile.
async fn change(
    store: &ReaderStore,
    attempt: impl AsyncFn(StoreVersion) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut changed = attempt(store.version().await?).await;
    for _ in 1..ATTEMPTS {
        if !matches!(changed, Err(Error::Store(StoreError::Conflict { .. }))) {
            break;
        }
        changed = attempt(store.version().await?).await;
    }
    changed
}

fn show(seconds: i64) -> String {
    time::show(seconds.saturating_mul(1000))
}

impl NewReader {
    fn new(name: ReaderName, token: Token, reader: &StoredReader, base: &str) -> Self {
        let host = base.trim_start_matches("https://").trim_end_matches('/');
        let credentials = format!("{name}:{}", token.as_str());
        let lines = |base: &str| reader.prefixes.iter().map(|prefix| prefix.line(base)).collect();
        let repositories: Vec<_> = lines(&format!("https://{host}"));
        let registry_urls = repositories.iter().map(|line| format!("{line}?arch=x86_64")).collect();
        Self {
            prefixes: reader.prefixes.iter().map(ToString::to_string).collect(),
            until: reader.until.map(show),
            repositories_with_token: lines(&format!("https://{credentials}@{host}")),
            http_auth: format!("basic:{host}:{credentials}"),
            netrc: format!("machine {host} login {name} password {}", token.as_str()),
            renovate: Renovate {
                registry_urls,
                host_rules: [HostRule {
                    match_host: host.to_owned(),
                    username: name.clone(),
                    password: token.clone(),
                }],
            },
            repositories,
            name,
            token,
        }
    }
}

impl WriteText for NewReader {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let until = self.until.as_ref().map(|until| format!("until {until}"));
        let until = until.unwrap_or_else(|| "for good".to_owned());
        writeln!(out, "{} may read {} {until}\n", self.name, self.prefixes.join(", "))?;
        writeln!(out, "{HEADING}# The token, which is not shown again:{HEADING:#}")?;
        writeln!(out, "{}\n", self.token.as_str())?;
        writeln!(out, "{HEADING}# In /etc/apk/repositories, either with the token:{HEADING:#}")?;
        for line in &self.repositories_with_token {
            writeln!(out, "{line}")?;
        }
        writeln!(out, "{HEADING}# or without, and the token in ~/.netrc:{HEADING:#}")?;
        for line in &self.repositories {
            writeln!(out, "{line}")?;
        }
        writeln!(out, "{}", self.netrc)?;
        writeln!(out, "{HEADING}# or in the environment of apk, apko and melange:{HEADING:#}")?;
        writeln!(out, "export HTTP_AUTH={}\n", self.http_auth)?;
        writeln!(
            out,
            "{HEADING}# In a Dockerfile, built with `--secret id=apk,env=HTTP_AUTH`:{HEADING:#}"
        )?;
        writeln!(out, "RUN --mount=type=secret,id=apk,env=HTTP_AUTH apk add PACKAGE\n")?;
        writeln!(out, "{HEADING}# In the configuration of Renovate:{HEADING:#}")?;
        let renovate = serde_json::to_string_pretty(&self.renovate)?;
        writeln!(out, "{renovate}")
    }
}

impl WriteText for Readers {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let widest = self.0.iter().map(|reader| reader.name.len()).max().unwrap_or_default();
        for ListedReader { name, prefixes, until, is_expired } in &self.0 {
            write!(out, "{name:widest$}  {}", prefixes.join(", "))?;
            match until {
                Some(until) if *is_expired => writeln!(out, "  {BAD}expired{BAD:#} {until}")?,
                Some(until) => writeln!(out, "  until {until}")?,
                None => writeln!(out)?,
            }
        }
        Ok(())
    }
}

impl WriteText for Removed {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "removed {}", self.removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(prefixes: &[&str], until: Option<i64>) -> String {
        let token = Token::of("alp_TOKEN");
        let prefixes = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
        let reader = StoredReader::new(&token, prefixes, until);
        let name = "ci".parse().unwrap();
        let reader = NewReader::new(name, token, &reader, "https://packages.example.com");
        let mut text = Vec::new();
        reader.write_text(&mut text).unwrap();
        anstream::adapter::strip_str(&String::from_utf8(text).unwrap()).to_string()
    }

    #[test]
    fn a_new_reader_is_told_what_each_tool_needs() {
        insta::assert_snapshot!(shown(&["3.22/main", "3.22/other/x86_64"], Some(1_769_860_800)));
    }

    #[test]
    fn what_is_missing_to_a_repository_is_named() {
        let text = shown(&["3.22", "/"], None);
        assert!(text.starts_with("ci may read 3.22, / for good\n"), "{text}");
        for line in ["3.22/REPOSITORY", "BRANCH/REPOSITORY"] {
            let line = format!("https://ci:alp_TOKEN@packages.example.com/{line}\n");
            assert!(text.contains(&line), "{text}");
        }
    }
}

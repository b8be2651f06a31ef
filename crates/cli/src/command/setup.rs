use std::io::{self, Write};

use alpinist_apk::key_name::KeyName;
use clap::Args;
use serde::Serialize;

use crate::{
    command::key,
    context::TargetOptions,
    error::Error,
    output::{self, ExitStatus, HEADING, Output, WriteText},
    repository::RepositoryName,
};

const EXAMPLES: &str = "\
Examples:
  alpinist setup 3.22/main --stack alpinist

  # Without AWS, for a repository that is served elsewhere.
  alpinist setup 3.22/main --url https://packages.example.com --key-name ops@example.com-5f3c2a1b.rsa.pub";

/// Print the lines that a client of a repository needs
///
/// For clients of either format on Alpine, and for routers with OpenWrt. The index of format v3
/// lists the packages of both formats, but is there only if there are packages of format v3, or if
/// the stack has `V3Index=always`. Where clients find the bucket, and the names of the keys, are
/// asked of the stack and of SSM unless they are given.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Setup {
    /// The branch and the repository, such as `3.22/main`; `apk` adds the architecture
    #[arg(value_name = "BRANCH/REPOSITORY")]
    repository: RepositoryName,
    /// Where clients find the bucket
    #[arg(long)]
    url: Option<String>,
    /// What the public key is called; may be repeated
    #[arg(long, value_name = "NAME")]
    key_name: Vec<KeyName>,
    #[command(flatten)]
    target_options: TargetOptions,
}

/// What a client needs.
#[derive(Debug, Serialize)]
struct Client {
    /// The line for /etc/apk/repositories.
    repository: String,
    /// Instead of it, the line of a client that is to read the index of format v3.
    v3_repository: String,
    /// The URLs of the files for /etc/apk/keys.
    public_keys: Vec<String>,
    /// Their names there.
    key_names: Vec<String>,
}

impl Setup {
    pub(crate) async fn run(self, output: Output) -> Result<ExitStatus, Error> {
        let Self { repository, url, key_name, target_options } = self;
        let mut names: Vec<_> = key_name.iter().map(ToString::to_string).collect();
        let url = match url {
            Some(url) if !names.is_empty() => url,
            url => {
                let context = target_options.open().await?;
                if names.is_empty() {
                    names = key::names_in_use(&context).await?;
                }
                let is_private = context.setting("Reading", "public") == "private";
                if is_private && context.output("ReadersArn").is_some() {
                    output::status(
                        "note: readers also need a token, which `alpinist reader add` makes",
                    );
                }
                let output = context.output("RepositoryBaseUrl").map(str::to_owned);
                url.or(output).ok_or(Error::MissingOption { option: "--url" })?
            }
        };
        if names.is_empty() {
            return Err(Error::NoKeyYet);
        }
        let url = url.trim_end_matches('/');
        let repository = format!("{url}/{}", repository.without_architecture());
        output.print(&Client {
            v3_repository: format!("v3 {repository}"),
            repository,
            // S3 takes a raw `+` for a space.
            public_keys: names
                .iter()
                .map(|name| format!("{url}/{}", name.replace('+', "%2B")))
                .collect(),
            key_names: names,
        })?;
        Ok(ExitStatus::Yes)
    }
}

impl WriteText for Client {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { repository, v3_repository, public_keys, key_names } = self;
        writeln!(out, "{HEADING}# On a client, as root:{HEADING:#}")?;
        for (url, name) in public_keys.iter().zip(key_names) {
            writeln!(out, "wget -O /etc/apk/keys/{name} {url}")?;
        }
        writeln!(out, "echo {repository} >> /etc/apk/repositories\napk update\n")?;
        writeln!(out, "{HEADING}# In a Dockerfile:{HEADING:#}")?;
        for (url, name) in public_keys.iter().zip(key_names) {
            writeln!(out, "ADD --chmod=644 {url} /etc/apk/keys/{name}")?;
        }
        writeln!(out, "RUN echo {repository} >> /etc/apk/repositories\n")?;
        writeln!(out, "{HEADING}# For packages of format v3 (apk 3), instead:{HEADING:#}")?;
        writeln!(out, "echo {v3_repository} >> /etc/apk/repositories\n")?;
        writeln!(out, "{HEADING}# On OpenWrt, for packages of format v3:{HEADING:#}")?;
        for (url, name) in public_keys.iter().zip(key_names) {
            writeln!(out, "wget -O /etc/apk/keys/{name} {url}")?;
        }
        let index = format!("{repository}/$(cat /etc/apk/arch)/packages.adb");
        writeln!(out, "echo {index} >> /etc/apk/repositories.d/customfeeds.list\napk update")
    }
}

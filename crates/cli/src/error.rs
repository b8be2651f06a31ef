//! Errors of commands, and what to do about them.

use std::{borrow::Cow, io, path::PathBuf};

use alpinist_apk::{
    adb::index::AdbIndexError, index_archive::ArchiveError, key::KeyError, value::InvalidValue,
};
use alpinist_aws::upload::UploadError;
use alpinist_repository::{advised, failure::Failure, page::PageError, port::StoreError};

advised! {
    /// Why a command failed.
    #[derive(Debug, thiserror::Error)]
    pub(crate) enum Error {
        /// A file or directory can't be used.
        #[error("can't {action} {path}", path = path.display())]
        File {
            /// What was tried.
            action: &'static str,
            /// The file.
            path: PathBuf,
            /// Why it failed.
            source: io::Error,
        } => match source.kind() {
            io::ErrorKind::AlreadyExists => {
                Some("move it away first: nothing is overwritten".into())
            }
            _ => None,
        },
        /// Standard output can't be written to.
        #[error("can't write to standard output")]
        Output {
            /// Why.
            source: io::Error,
        } => None,
        /// A file holds no usable private key.
        #[error("{path} holds no usable private key", path = path.display())]
        PrivateKey {
            /// The file.
            path: PathBuf,
            /// What is wrong with it.
            source: KeyError,
        } => Some(KEYGEN.into()),
        /// A new key can't be generated.
        #[error("the key can't be made")]
        NewKey(#[source] error: KeyError) => None,
        /// A key can't sign an index.
        #[error("the index can't be signed with {path}", path = path.display())]
        Sign {
            /// The file with the private key.
            path: PathBuf,
            /// Why.
            source: KeyError,
        } => Some(KEYGEN.into()),
        /// No key name can be made from a text.
        #[error("no key can be named after {who}")]
        KeyName {
            /// The text.
            who: String,
            /// The rule.
            source: InvalidValue,
        } => Some("give an address, such as `alpinist keygen ops@example.com`".into()),
        /// The architecture of an index is not known.
        #[error("missing `--arch`: {found}")]
        Architecture {
            /// What the packages say.
            found: String,
        } => Some("add the architecture of the clients, such as `--arch x86_64`".into()),
        /// There are no packages to index.
        #[error("there are no packages in {directory}", directory = directory.display())]
        NoPackages {
            /// The directory.
            directory: PathBuf,
        } => Some(
            "give the directory that holds the .apk files: subdirectories are not searched".into(),
        ),
        /// An index can't be built, or a client would reject it.
        #[error("the index can't be built")]
        Index(#[source] error: ArchiveError) => Some(REPORT.into()),
        /// An index of format v3 can't be built, or a client would reject it.
        #[error("the index of format v3 can't be built")]
        AdbIndex(#[source] error: Box<AdbIndexError>) => match **error {
            AdbIndexError::TooLarge(_) | AdbIndexError::Length => {
                Some("move some of the packages to another directory".into())
            }
            _ => Some(REPORT.into()),
        },
        /// An EC key was given for packages of format v2.
        #[error(
            "{path} holds an EC key, which can't sign the index of the {packages} of format v2",
            path = path.display()
        )]
        SignsV3Alone {
            /// The file with the private key.
            path: PathBuf,
            /// How many packages there are, in words.
            packages: String,
        } => Some(
            "give an RSA key, which signs both formats: `alpinist keygen ops@example.com` makes one"
                .into(),
        ),
        /// There is an index of format v2 already, and an EC key can't make it again.
        #[error(
            "{index} lists packages that are gone, and {path} holds an EC key, which can't sign it \
             again",
            index = index.display(), path = path.display()
        )]
        StaleIndex {
            /// The index.
            index: PathBuf,
            /// The file with the private key.
            path: PathBuf,
        } => Some(
            "delete it if no client reads it, or give an RSA key, which signs both formats".into(),
        ),
        /// One file is to take the indexes of both formats.
        #[error("{path} can't take the indexes of both formats", path = path.display())]
        SeveralIndexes {
            /// The file.
            path: PathBuf,
        } => Some("give `--out` a directory that exists: each index gets its name there".into()),
        /// There is no such stack.
        #[error("there is no stack {name}")]
        NoStack {
            /// Its name.
            name: String,
        } => Some(
            "`aws cloudformation list-stacks` lists the stacks of this account and region; \
             `--profile` and `--region` choose others"
                .into(),
        ),
        /// Neither an option nor a stack says where a resource is.
        #[error("missing `{option}` (or `--stack`)")]
        MissingOption {
            /// The missing option.
            option: &'static str,
        } => Some(
            format!("name the stack with `--stack NAME` or ALPINIST_STACK, or add `{option}`")
                .into(),
        ),
        /// A parameter of the stack has a value that this command does not support.
        #[error("the stack's parameter {parameter} has {value:?}, expected {expected}")]
        Setting {
            /// The parameter.
            parameter: &'static str,
            /// Its value.
            value: String,
            /// The allowed values.
            expected: &'static str,
        } => Some(
            "deploy the stack with another value, or install the `alpinist` of the stack's version"
                .into(),
        ),
        /// No stack is named, so its keys can't be found.
        #[error("missing `--stack`")]
        MissingStack => Some("name the stack with `--stack NAME` or ALPINIST_STACK".into()),
        /// The stack lets nobody replace packages.
        #[error("`--replace` is of no use here: the stack's parameter Replacing is `refused`")]
        ReplacingRefused => Some(
            "raise pkgrel and rebuild the package. `alpinist rm` frees the name of a package that nobody \
             uses yet".into(),
        ),
        /// There is no such repository.
        #[error("there is no repository below {prefix}")]
        NoRepository {
            /// The prefix.
            prefix: String,
        } => Some("`alpinist ls` lists the existing ones".into()),
        /// A client rejects a published index.
        #[error("a client rejects the index {key}")]
        PublishedIndex {
            /// Its key.
            key: String,
            /// Why.
            source: Box<dyn std::error::Error + Send + Sync>,
        } => Some("`alpinist verify` says how to fix it".into()),
        /// The stack has no signing key yet.
        #[error("the stack has no signing key yet, so clients would trust none of its indexes")]
        NoKeyYet => Some("store one with `alpinist key put`; `alpinist keygen` makes one".into()),
        /// A package to be restored is not withdrawn.
        #[error("no package {name} is withdrawn")]
        NotWithdrawn {
            /// What was asked for.
            name: String,
        } => Some("`alpinist ls --all` shows what is withdrawn, and why".into()),
        /// A package to be promoted is in no index.
        #[error("{key} is in no index, so it can't be promoted")]
        NotPublished {
            /// Its key.
            key: String,
        } => Some("`alpinist verify` says why it is not listed".into()),
        /// There is no such execution.
        #[error("there is no execution {id}")]
        NoExecution {
            /// Its name or ARN.
            id: String,
        } => Some("`alpinist runs --since 7d` lists executions".into()),
        /// The destination of a package is missing.
        #[error("missing `--to` for {file}", file = file.display())]
        NoDestination {
            /// The file.
            file: PathBuf,
        } => Some("add `--to BRANCH/REPOSITORY`, such as `--to 3.22/main`".into()),
        /// A package for any architecture is pushed to a repository that has no architecture yet.
        #[error(
            "{file} is for any architecture, but {repository} has none yet",
            file = file.display()
        )]
        NoArchitectures {
            /// The file.
            file: PathBuf,
            /// The repository.
            repository: String,
        } => Some("name one or more with `--arch`, such as `--arch x86_64`".into()),
        /// The repository of a package is missing.
        #[error("missing `--from` for {name}")]
        NoSource {
            /// Its name, or its name and version.
            name: String,
        } => Some(
            "add `--from BRANCH/REPOSITORY`, or give the key that `alpinist ls` prints".into(),
        ),
        /// A key is not in the repository that was named.
        #[error("{key} is not in {repository}")]
        Elsewhere {
            /// The key.
            key: String,
            /// The repository.
            repository: String,
        } => Some("omit `--from`: a key says where the package is".into()),
        /// A name is both the name of a package and the name and version of another one.
        #[error(
            "{name} may be the name of a package ({}) or a name with a version ({})",
            named.join(", "),
            exact.join(", ")
        )]
        Ambiguous {
            /// The name.
            name: String,
            /// The keys of all versions of the package with this name.
            named: Vec<String>,
            /// The keys of the packages with this name and version.
            exact: Vec<String>,
        } => Some("nothing was changed: give the keys of the packages instead".into()),
        /// There is no such package.
        #[error("there is no package {name}")]
        NoPackage {
            /// Its name, or its name and version.
            name: String,
        } => Some("`alpinist ls` lists the packages".into()),
        /// No index says which versions of a package a directory has.
        #[error("{key} does not say which versions of {name} there are")]
        NoIndex {
            /// The index, which is damaged or missing.
            key: String,
            /// The name of the package.
            name: String,
        } => Some(
            "nothing was changed: `alpinist verify` says how to fix the index; or give the keys of \
             the packages instead"
                .into(),
        ),
        /// A package is in no directory of a repository.
        #[error("{key} is in no directory of a repository, so no index lists it")]
        Stray {
            /// The package.
            key: String,
        } => Some(format!("`aws s3 rm \"s3://BUCKET/{key}\"` deletes it").into()),
        /// A package can't be downloaded from a web server.
        #[error("{url} can't be read")]
        Web {
            /// The URL.
            url: String,
            /// Why.
            source: reqwest::Error,
        } => None,
        /// A package is larger than any that can be listed.
        #[error("{name} has more than {max} bytes")]
        TooLarge {
            /// Its name.
            name: String,
            /// The limit.
            max: u64,
        } => None,
        /// A package is in more than one repository.
        #[error("{name} is in {}", repositories.join(" and in "))]
        InSeveral {
            /// Its name, or its name and version.
            name: String,
            /// Where it is.
            repositories: Vec<String>,
        } => Some("choose one with `--from BRANCH/REPOSITORY`, such as `--from 3.22/main`".into()),
        /// Another stack uses the same parameter for its keys.
        #[error("the stack {stack} has the same {parameter} and would also sign with this key")]
        SharedKey {
            /// The other stack.
            stack: String,
            /// The template parameter.
            parameter: &'static str,
        } => Some(
            "deploy one of the two with another PrivateKeyParameter and KeyNameParameter, such as \
             /test/rsa and /test/key"
                .into(),
        ),
        /// The slot for a key is in use.
        #[error("{parameter} already holds a key name")]
        KeyPlaceTaken {
            /// The parameter.
            parameter: String,
        } => Some("`alpinist key rotate` adds a second key, which also signs".into()),
        /// A private key is needed, and none was given.
        #[error("missing `--key`")]
        NoPrivateKey => Some("add the private key: `--key FILE`".into()),
        /// A private key can't be stored in the slot of a key in KMS.
        #[error("the stack signs with a key in KMS: a private key can't be stored in its place")]
        KeyIsInKms => Some(
            "omit `--key` to name the key in KMS; `alpinist key rotate` adds a second key beside it"
                .into(),
        ),
        /// A new key has the name of a key in use.
        #[error("a key in use is called {name}")]
        KeyNameInUse {
            /// The name.
            name: String,
        } => Some("give the new key its own name, as `alpinist keygen` does".into()),
        /// A key in use can't sign.
        #[error("{name} is in use, and its private key is missing or unusable")]
        KeyCannotSign {
            /// Its name.
            name: String,
        } => Some(
            format!(
                "nothing can be published until it is stored again: `alpinist key put --key FILE \
                 --key-name {name}`"
            )
            .into(),
        ),
        /// Both keys have the same name, so the name is ambiguous.
        #[error("both keys are called {name}")]
        KeyNameTwice {
            /// The name.
            name: String,
        } => Some(
            "find out which private key belongs to the published public key, and delete the two \
             parameters of the other one with `aws ssm delete-parameter`, the key name first"
                .into(),
        ),
        /// Both slots for keys are in use.
        #[error("there are already two keys")]
        TwoKeys => Some("first drop one that no client needs: `alpinist key drop NAME`".into()),
        /// No key in use has this name.
        #[error("no key in use is called {name}")]
        NoKey {
            /// The name.
            name: String,
        } => Some("`alpinist setup` shows the names of the keys".into()),
        /// The only key can't be dropped.
        #[error("{name} is the only key")]
        OnlyKey {
            /// Its name.
            name: String,
        } => Some(
            "add its successor first: `alpinist key rotate`; without a key, nothing is published"
                .into(),
        ),
        /// The stack has no distribution, so nobody has tokens.
        #[error("the stack has no readers: it is not deployed with Serving=cloudfront")]
        NoReaders => Some(
            "deploy it with Serving=cloudfront and Reading=private; docs/serving.md says what that \
             changes"
                .into(),
        ),
        /// A reader has this name.
        #[error("there is already a reader {name}")]
        ReaderNameTaken {
            /// The name.
            name: String,
        } => Some(
            format!(
                "a token can't be shown again: choose another name, or remove that reader with \
                 `alpinist reader rm {name}`"
            )
            .into(),
        ),
        /// No reader has this name.
        #[error("there is no reader {name}")]
        NoReader {
            /// The name.
            name: String,
        } => Some("`alpinist reader ls` lists the readers".into()),
        /// A reader has more prefixes than can be stored.
        #[error("CloudFront stores at most 1,024 bytes of a reader, too few for these prefixes")]
        ReaderTooLong => Some("give fewer, such as a branch instead of its repositories".into()),
        /// The store of readers is full.
        #[error("there is no room for another reader: CloudFront stores at most 5 MB of them")]
        ReadersFull => Some("remove some with `alpinist reader rm`".into()),
        /// A reader was not stored by this command.
        #[error("the reader {name} is not stored as CloudFront's function reads it")]
        StoredReader {
            /// Its name.
            name: String,
            /// What is wrong with it.
            source: serde_json::Error,
        } => Some(
            format!("remove it with `alpinist reader rm {name}`, and add it again").into(),
        ),
        /// A file could not be uploaded.
        #[error("{file} could not be uploaded", file = file.display())]
        Upload {
            /// The file.
            file: PathBuf,
            /// Why.
            source: UploadError,
        } => match source {
            UploadError::Store(error) => store_hint(error),
            _ => None,
        },
        /// The report of a reindex can't be parsed.
        #[error("the report {key} can't be read")]
        WriteText {
            /// Its key.
            key: String,
            /// What is wrong with it.
            source: serde_json::Error,
        } => Some("start the reindex again".into()),
        /// A request failed.
        #[error(transparent)]
        Store(#[from] error: StoreError) => store_hint(error),
        /// There is no page.
        #[error(transparent)]
        Page(#[from] error: PageError) => match error {
            PageError::Taken { key } => Some(
                format!("move yours: `aws s3 mv s3://BUCKET/{key} s3://BUCKET/OTHER`").into(),
            ),
            PageError::Failure(failure) => step_hint(failure),
            _ => None,
        },
        /// A step of the pipeline failed.
        #[error(transparent)]
        Step(#[from] error: Failure) => step_hint(error),
        /// The runtime could not be started.
        #[error("the runtime can't be started")]
        Runtime(#[source] error: io::Error) => None,
    }

    /// Returns what to do about it, if anything.
    pub(crate) fn hint(&self) -> Option<Cow<'static, str>>;
}

impl Error {
    /// Returns a function for `map_err` that adds what was tried with which file.
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }

    /// Returns whether the reader of standard output has closed it.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output { source } if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

const KEYGEN: &str = "`alpinist keygen ops@example.com` makes a new key";
const REPORT: &str = "this is a bug in alpinist: please report it";

/// Returns what the user can do about an error of the store. The steps have other hints, for the
/// operator.
fn store_hint(error: &StoreError) -> Option<Cow<'static, str>> {
    match error {
        StoreError::Denied { .. } => {
            Some("these credentials do not allow this; `--profile NAME` uses others".into())
        }
        StoreError::NoBucket { .. } => {
            Some("`aws s3 ls` lists your buckets; check the name".into())
        }
        StoreError::Conflict { .. } => Some("check its current state, and try again".into()),
        StoreError::Unavailable { .. } => Some(
            "`aws sts get-caller-identity` checks the credentials, the region and the network"
                .into(),
        ),
        _ => None,
    }
}

fn step_hint(error: &Failure) -> Option<Cow<'static, str>> {
    match error {
        Failure::Store(error) => store_hint(error),
        Failure::KeyNameTaken { key_name } => Some(
            format!(
                "clients may know that one; give the new key its own name, as `alpinist keygen` \
                 does. If no client knows it, first delete it with `aws s3api delete-object \
                 --bucket BUCKET --key {key_name} --if-match '*'`"
            )
            .into(),
        ),
        _ => None,
    }
}

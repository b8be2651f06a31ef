//! Why something could not be found out, and what to do.

use std::{io, path::PathBuf};

use alpinist_apk::{index_archive::ArchiveError, key::KeyError, value::InvalidValue};
use alpinist_aws::upload::UploadError;
use alpinist_repository::{failure::Failure, port::StoreError};

/// Why a command could not find out what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file, or a directory, can't be used.
    #[error("can't {action} {path}", path = path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Standard output can't be written to.
    #[error("can't write to standard output")]
    Output {
        /// Why.
        source: io::Error,
    },
    /// A file holds no private key that we can use.
    #[error("{path} holds no usable private key", path = path.display())]
    PrivateKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
    /// A new key can't be made or used.
    #[error("the key can't be made")]
    NewKey(#[source] KeyError),
    /// A key does not sign.
    #[error("the index can't be signed with {path}", path = path.display())]
    Signature {
        /// The file with the private key.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
    /// A text is not part of a key name.
    #[error("no key can be named after {who}")]
    KeyName {
        /// The text.
        who: String,
        /// The rule.
        source: InvalidValue,
    },
    /// Nothing says which architecture an index is for.
    #[error("nothing says which architecture the index is for: {found}")]
    Architecture {
        /// What the packages say.
        found: String,
    },
    /// There is nothing to make an index of.
    #[error("there are no packages in {directory}", directory = directory.display())]
    NoPackages {
        /// The directory.
        directory: PathBuf,
    },
    /// An index can't be made, or fails the checks of a client.
    #[error("the index can't be made")]
    Index(#[source] ArchiveError),
    /// There is no such stack.
    #[error("there is no stack {name}")]
    NoStack {
        /// Its name.
        name: String,
    },
    /// Neither an option nor a stack says where something is.
    #[error("nothing says what `{option}` is")]
    MissingOption {
        /// The option that says it.
        option: &'static str,
    },
    /// A parameter of the stack has a value that this command does not know.
    #[error("the stack's parameter {parameter} is `{value}`, which is none of {known}")]
    Setting {
        /// The parameter.
        parameter: &'static str,
        /// Its value.
        value: String,
        /// The values that it may have.
        known: &'static str,
    },
    /// No stack is named, and nothing else says where its keys are.
    #[error("nothing says whose keys are meant")]
    StackNotSaid,
    /// There is no such repository.
    #[error("there is no repository below {prefix}")]
    NoRepository {
        /// The prefix.
        prefix: String,
    },
    /// A published index is not one that a client accepts.
    #[error("a client rejects the index {key}")]
    PublishedIndex {
        /// Its key.
        key: String,
        /// Why.
        source: ArchiveError,
    },
    /// There is no such execution.
    #[error("there is no execution {id}")]
    NoExecution {
        /// Its name or ARN.
        id: String,
    },
    /// Nothing says where a package is to go.
    #[error("nothing says where {file} is to go", file = file.display())]
    NoDestination {
        /// The file.
        file: PathBuf,
    },
    /// A package for any architecture goes to a repository that has none.
    #[error("{file} is for any architecture, and {repository} has packages for none yet", file = file.display())]
    NoArchitectures {
        /// The file.
        file: PathBuf,
        /// The repository.
        repository: String,
    },
    /// Nothing says which repository has a package.
    #[error("nothing says which repository has {name}")]
    NoSource {
        /// Its name, or its name and version.
        name: String,
    },
    /// A key is in another repository than the one that was said.
    #[error("{key} is not in {repository}")]
    Elsewhere {
        /// The key.
        key: String,
        /// The repository.
        repository: String,
    },
    /// A name is that of a package, and the name and version of another one.
    #[error(
        "{name} may be the name of a package ({}) or a name with a version ({})",
        named.join(", "),
        exact.join(", ")
    )]
    Ambiguous {
        /// What was said.
        name: String,
        /// The keys of all versions of the package of this name.
        named: Vec<String>,
        /// The keys of the version of another one.
        exact: Vec<String>,
    },
    /// There is no such package.
    #[error("there is no package {name}")]
    NoPackage {
        /// Its name, or its name and version.
        name: String,
    },
    /// No index says which packages a directory has.
    #[error("{key} does not say which versions of {name} there are")]
    NoIndex {
        /// The index, which is damaged or missing.
        key: String,
        /// The name of the package.
        name: String,
    },
    /// A package lies where no repository has one.
    #[error("{key} lies in no directory of a repository, so it is listed nowhere")]
    Stray {
        /// The package.
        key: String,
    },
    /// A web server does not give a package.
    #[error("{url} can't be read")]
    Web {
        /// Where it was asked for.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// A package is larger than any that is listed.
    #[error("{name} has more than {max} bytes")]
    TooLarge {
        /// Its name.
        name: String,
        /// The limit.
        max: u64,
    },
    /// A package is in more than one repository.
    #[error("{name} is in {}", repositories.join(" and in "))]
    InSeveral {
        /// Its name, or its name and version.
        name: String,
        /// Where it is.
        repositories: Vec<String>,
    },
    /// Another stack signs with the same keys.
    #[error("the stack {stack} has the same {parameter}, and would sign with this key, too")]
    SharedKey {
        /// The other stack.
        stack: String,
        /// The parameter of the template.
        parameter: &'static str,
    },
    /// A target_options for a key is taken.
    #[error("{parameter} holds a key name already")]
    KeyPlaceTaken {
        /// The parameter.
        parameter: String,
    },
    /// A key is to be stored, and nothing says which.
    #[error("nothing says where the private key is")]
    NoPrivateKey,
    /// A private key is to be stored where the one in KMS signs.
    #[error(
        "the stack signs with a key in KMS: no private key can be stored in its target_options"
    )]
    KeyIsInKms,
    /// A new key has the name of one that is in use.
    #[error("a key in use is called {name}")]
    KeyNameInUse {
        /// The name.
        name: String,
    },
    /// A key that is in use can't sign.
    #[error("{name} is in use, and its private key is missing or unusable")]
    KeyCannotSign {
        /// Its name.
        name: String,
    },
    /// Both places have the same name, so it does not say which key is meant.
    #[error("both keys are called {name}")]
    KeyNameTwice {
        /// The name.
        name: String,
    },
    /// Both places for keys are taken.
    #[error("there are two keys already")]
    TwoKeys,
    /// No target_options has a key of this name.
    #[error("no key in use is called {name}")]
    NoKey {
        /// The name.
        name: String,
    },
    /// A key can't be dropped, since no other would sign.
    #[error("{name} is the only key")]
    OnlyKey {
        /// Its name.
        name: String,
    },
    /// A file could not be uploaded.
    #[error("{file} could not be uploaded", file = file.display())]
    Upload {
        /// The file.
        file: PathBuf,
        /// Why.
        source: UploadError,
    },
    /// A report is not what a reindex writes.
    #[error("the report {key} can't be read")]
    Report {
        /// Its key.
        key: String,
    },
    /// A request failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A step of the pipeline failed.
    #[error(transparent)]
    Step(#[from] Failure),
    /// The threads for requests could not be started.
    #[error("the runtime can't be started")]
    Runtime(#[source] io::Error),
    /// An index does not verify after it was signed.
    #[error("the signed index failed its own check")]
    SelfCheck,
}

impl Error {
    /// Returns a function that says what was tried with which file, for `map_err`.
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }

    /// Returns whether it is only that the reader of standard output has seen enough.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output { source } if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Says what to do, where there is something to do.
    pub(crate) fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Architecture { .. } => "say it with `--arch`, such as `--arch x86_64`".to_owned(),
            Self::NoPackages { .. } => {
                "give the directory that holds the .apk files: what is below its directories is not looked at"
                    .to_owned()
            }
            Self::KeyName { .. } => {
                "give an address, such as `alpinist keygen ops@example.com`".to_owned()
            }
            Self::PrivateKey { .. } | Self::Signature { .. } => {
                "`alpinist keygen ops@example.com` makes a new key".to_owned()
            }
            Self::File { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
                "move it away first: nothing is overwritten".to_owned()
            }
            Self::Index(_) | Self::SelfCheck => {
                "this is a fault of alpinist: please report it".to_owned()
            }
            Self::NoStack { .. } => "`aws cloudformation list-stacks` lists the stacks of this \
                                     account and region; `--profile` and `--region` choose others"
                .to_owned(),
            Self::MissingOption { option } => format!(
                "name the stack with `--stack NAME` or ALPINIST_STACK, or give `{option}` itself"
            ),
            Self::Setting { .. } => {
                "deploy the stack with another value, or install the `alpinist` of the stack's version"
                    .to_owned()
            }
            Self::StackNotSaid => {
                "name the stack with `--stack NAME` or ALPINIST_STACK".to_owned()
            }
            Self::NoRepository { .. } => "`alpinist ls` lists what there is".to_owned(),
            Self::PublishedIndex { .. } => "`alpinist verify` tells how to fix it".to_owned(),
            Self::NoExecution { .. } => "`alpinist runs --since 7d` lists executions".to_owned(),
            Self::NoDestination { .. } => {
                "say it with `--to BRANCH/REPOSITORY`, such as `--to 3.22/main`".to_owned()
            }
            Self::NoArchitectures { .. } => {
                "say for which with `--arch`, such as `--arch x86_64`, which may be repeated".to_owned()
            }
            Self::NoSource { .. } => {
                "say it with `--from BRANCH/REPOSITORY`, or give the key, as `alpinist ls` prints it"
                    .to_owned()
            }
            Self::Elsewhere { .. } => "leave `--from` out: a key says where the package is".to_owned(),
            Self::Ambiguous { .. } => {
                "nothing was changed: say which are meant by their keys".to_owned()
            }
            Self::NoPackage { .. } => "`alpinist ls` lists the packages".to_owned(),
            Self::NoIndex { .. } => {
                "nothing was changed: `alpinist verify` tells how to fix the index; or say which are meant by their \
                 keys"
                    .to_owned()
            }
            Self::Stray { key } => {
                format!("`aws s3 rm \"s3://BUCKET/{key}\"` deletes it")
            }
            Self::InSeveral { .. } => {
                "say which with `--from BRANCH/REPOSITORY`, such as `--from 3.22/main`".to_owned()
            }
            Self::Report { .. } => "start the reindex again".to_owned(),
            Self::Store(error) | Self::Upload { source: UploadError::Store(error), .. } => {
                return store_hint(error);
            }
            Self::Step(Failure::Store(error)) => return store_hint(error),
            other => return other.key_hint(),
        })
    }

    /// Says what to do about the keys that sign.
    fn key_hint(&self) -> Option<String> {
        Some(match self {
            Self::SharedKey { .. } => {
                "deploy one of the two with another PrivateKeyParameter and KeyNameParameter, such as /test/rsa and \
                 /test/key"
                    .to_owned()
            }
            Self::KeyPlaceTaken { .. } => {
                "`alpinist key rotate` adds a second key, with which indexes are signed, too"
                    .to_owned()
            }
            Self::NoPrivateKey => "say it with `--key FILE`".to_owned(),
            Self::KeyIsInKms => {
                "leave `--key` out to give that key its name; `alpinist key rotate` \
                                 adds a second key, beside the one in KMS"
                    .to_owned()
            }
            Self::KeyNameInUse { .. } => {
                "give the new key a name of its own, as `alpinist keygen` does".to_owned()
            }
            Self::KeyCannotSign { name } => format!(
                "nothing can be published until it is put back: `alpinist key put --key FILE \
                 --key-name {name}`"
            ),
            Self::KeyNameTwice { .. } => {
                "find out which private key belongs to the published public key, and delete the two \
                 parameters of the other one with `aws ssm delete-parameter`, the key name first"
                    .to_owned()
            }
            Self::TwoKeys => {
                "drop one first, when no client needs it any more: `alpinist key drop \
                              NAME`"
                    .to_owned()
            }
            Self::NoKey { .. } => "`alpinist setup` shows the names of the keys".to_owned(),
            Self::OnlyKey { .. } => {
                "add its successor first: `alpinist key rotate`; without a key, nothing is \
                 published"
                    .to_owned()
            }
            Self::Step(Failure::KeyNameTaken { key_name }) => format!(
                "clients may know that one; give the new key a name of its own, as `alpinist keygen` does. \
                 If no client does, first delete it with `aws s3api delete-object --bucket BUCKET --key {key_name} \
                 --if-match '*'`"
            ),
            _ => return None,
        })
    }
}

fn store_hint(error: &StoreError) -> Option<String> {
    Some(match error {
        StoreError::Denied { .. } => {
            "these credentials may not do this; `--profile NAME` takes others".to_owned()
        }
        StoreError::NoBucket { .. } => {
            "`aws s3 ls` lists your buckets; `--profile NAME` takes other credentials".to_owned()
        }
        StoreError::Conflict { .. } => "look what is there now, and try again".to_owned(),
        StoreError::Unavailable { .. } => "`aws sts get-caller-identity` tells whether there are \
                                           credentials, a region and a network"
            .to_owned(),
        _ => return None,
    })
}

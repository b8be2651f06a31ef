//! What a step tells the state machine when it can't go on.

use alpinist_apk::{
    index_archive::ArchiveError,
    key::KeyError,
    text::{chain, escaped},
    value::InvalidValue,
};

use crate::{
    message::PublishedIndex,
    panic::{self, Panic},
    port::{KeyStoreError, StoreError},
    snapshot::SnapshotError,
};

/// The error types that the state machine matches. A test compares them with its definition.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum FailureKind {
    /// The input of the execution is not understood.
    InvalidInput,
    /// The package may not be listed. Trying again can't help; another upload can. The execution fails with
    /// it once the index is right.
    PackageRejected,
    /// The package was replaced or deleted meanwhile: look at it again.
    Superseded,
    /// Somebody else published first, or the staged index is gone: aggregate again.
    Conflict,
    /// The signing key or its name is missing or unusable, or AWS will not do what is asked.
    Misconfigured,
    /// A role or policy does not allow what a step needs.
    AccessDenied,
    /// A reindex has left something undone, or is needed first.
    Incomplete,
    /// A function panicked. Trying again can't help; a report can.
    Bug,
    /// A service throttled, failed or was out of reach: try again.
    Unavailable,
}

impl FailureKind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::InvalidInput,
        Self::PackageRejected,
        Self::Superseded,
        Self::Conflict,
        Self::Misconfigured,
        Self::AccessDenied,
        Self::Incomplete,
        Self::Bug,
        Self::Unavailable,
    ];

    /// Returns the name that stands in `ErrorEquals` of the state machine.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidInput => "Alpinist.InvalidInput",
            Self::PackageRejected => "Alpinist.PackageRejected",
            Self::Superseded => "Alpinist.Superseded",
            Self::Conflict => "Alpinist.Conflict",
            Self::Misconfigured => "Alpinist.Misconfigured",
            Self::AccessDenied => "Alpinist.AccessDenied",
            Self::Incomplete => "Alpinist.Incomplete",
            Self::Bug => "Alpinist.Bug",
            Self::Unavailable => "Alpinist.Unavailable",
        }
    }
}

/// Why a step can't go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The input of the execution is not understood.
    #[error("the input is neither an S3 event from EventBridge nor {{\"bucket\": …, \"key\": …}}")]
    InvalidInput,
    /// The index was published without the package, which may not be listed.
    #[error("{cause}")]
    PackageRejected {
        /// The rule that it breaks, and what to do.
        cause: String,
        /// The index.
        index: PublishedIndex,
    },
    /// The package is not the one any more with which the execution began.
    #[error("{key} was replaced or deleted while its execution ran")]
    Superseded {
        /// The package.
        key: String,
    },
    /// Others keep changing an object.
    #[error("{key} keeps being changed by others")]
    Contended {
        /// The object.
        key: String,
    },
    /// The step was asked to publish, and there is nothing to publish.
    #[error("nothing is staged for {key}")]
    NothingStaged {
        /// The package.
        key: String,
    },
    /// A staged index is not what we wrote.
    #[error("the staged index {key} is damaged")]
    StagedDamaged {
        /// The staged index.
        key: String,
        /// How.
        source: SnapshotError,
    },
    /// A key is missing, can't be read or does not sign.
    #[error("the index can't be signed")]
    Key(#[source] KeyStoreError),
    /// The private key is unusable.
    #[error("the parameter {parameter} holds no usable private key")]
    PrivateKey {
        /// The parameter.
        parameter: String,
        /// What is wrong with it.
        source: KeyError,
    },
    /// A key service's key is unusable.
    #[error("the key {key} can't sign indexes")]
    RemoteKey {
        /// Its name in the service.
        key: String,
        /// What is wrong with it.
        source: KeyError,
    },
    /// A private key does not sign.
    #[error("the private key of {key_name} does not sign")]
    Unsigned {
        /// The key name.
        key_name: String,
        /// Why.
        source: KeyError,
    },
    /// Two keys have one name.
    #[error("both keys are called {key_name}")]
    SameKeyName {
        /// The name.
        key_name: String,
    },
    /// The public key can't be derived.
    #[error("the public key {key_name} can't be derived from the private key")]
    PublicKey {
        /// Its name.
        key_name: String,
        /// Why.
        source: KeyError,
    },
    /// Another key was published under the key name.
    #[error("another public key is published as {key_name}")]
    KeyNameTaken {
        /// The name.
        key_name: String,
    },
    /// The key name is unusable.
    #[error("the parameter {parameter} holds no usable key name")]
    KeyName {
        /// The parameter.
        parameter: String,
        /// What is wrong with it.
        source: InvalidValue,
    },
    /// The signed index did not pass the checks of a client, so it was not published.
    #[error("the signed index of {prefix} failed its own check")]
    SelfCheck {
        /// The repository prefix.
        prefix: String,
        /// What failed; a signature that does not verify if absent.
        source: Option<ArchiveError>,
    },
    /// The index or a snapshot could not be written in memory.
    #[error("the index of {prefix} could not be made")]
    Archive {
        /// The repository prefix.
        prefix: String,
        /// Why.
        source: ArchiveError,
    },
    /// What a reindex found can't be noted or read.
    #[error("what the reindex found, {key}, is not the JSON that we write")]
    Journal {
        /// The object.
        key: String,
        /// How.
        source: serde_json::Error,
    },
    /// There are more indexes than one reindex can make.
    #[error("there are {found} indexes, more than the {max} that one reindex can make")]
    TooManyIndexes {
        /// How many there are.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// There are more directories than repositories are looked for in.
    #[error("there are more than {max} directories below `{prefix}`")]
    TooManyDirectories {
        /// Where repositories were looked for.
        prefix: String,
        /// The limit.
        max: usize,
    },
    /// Nothing is cached of a repository prefix, and nobody has looked at packages that are there, so an index
    /// without them can't take the place of the one that is there.
    #[error("nobody has looked yet at {unknown} packages of {prefix}, so its index stays as it is")]
    Unadopted {
        /// The repository prefix.
        prefix: String,
        /// How many packages there are.
        unknown: usize,
    },
    /// A reindex did not come to the end with each package and each index.
    #[error(
        "the reindex has left {failed} packages and {unpublished} indexes undone; {report} names them"
    )]
    Incomplete {
        /// The key of the report.
        report: String,
        /// How many packages are neither listed nor rejected.
        failed: usize,
        /// How many indexes are not published.
        unpublished: usize,
    },
    /// The function panicked.
    #[error("the step for {subject} came to no end")]
    Bug {
        /// The object or the prefix that it was at.
        subject: String,
        /// How.
        source: Panic,
    },
    /// The store did not do what it was asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Failure {
    /// Returns the kind, on which the state machine decides.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::InvalidInput
            | Self::NothingStaged { .. }
            | Self::TooManyDirectories { .. }
            | Self::TooManyIndexes { .. } => FailureKind::InvalidInput,
            Self::Incomplete { .. } | Self::Unadopted { .. } => FailureKind::Incomplete,
            Self::Bug { .. } => FailureKind::Bug,
            Self::PackageRejected { .. } => FailureKind::PackageRejected,
            Self::Superseded { .. } => FailureKind::Superseded,
            Self::Contended { .. } => FailureKind::Unavailable,
            // Making it again would make the same.
            Self::StagedDamaged { source: SnapshotError::TooLarge, .. } => {
                FailureKind::Misconfigured
            }
            Self::StagedDamaged { .. } => FailureKind::Conflict,
            Self::Key(KeyStoreError::Store(error)) | Self::Store(error) => store_kind(error),
            Self::Key(_)
            | Self::PrivateKey { .. }
            | Self::RemoteKey { .. }
            | Self::Unsigned { .. }
            | Self::SameKeyName { .. }
            | Self::PublicKey { .. }
            | Self::KeyNameTaken { .. }
            | Self::KeyName { .. }
            | Self::SelfCheck { .. }
            | Self::Archive { .. }
            | Self::Journal { .. } => FailureKind::Misconfigured,
        }
    }

    /// Returns the message with the whole chain of causes, and what to do about it, in one line.
    pub fn report(&self) -> String {
        match self {
            Self::PackageRejected { cause, .. } => cause.clone(),
            _ => escaped(&format!("{}. {}", chain(self), self.remedy())),
        }
    }

    /// Says what to do: whole sentences.
    fn remedy(&self) -> String {
        match self {
            Self::InvalidInput | Self::NothingStaged { .. } => {
                r#"Start another execution with {"bucket": …, "key": …}."#.to_owned()
            }
            Self::StagedDamaged { source: SnapshotError::TooLarge, .. }
            | Self::SelfCheck { source: Some(ArchiveError::Length), .. } => {
                "The old index stays. Delete packages of this directory, or move some to another \
                 repository, then redrive this execution."
                    .to_owned()
            }
            Self::Superseded { .. } | Self::StagedDamaged { .. } => GOES_ON.to_owned(),
            // The cause says it.
            Self::PackageRejected { .. } => String::new(),
            Self::Key(KeyStoreError::Missing { private_key: Some(private_key), key_name, .. }) => {
                format!(
                    "Put {private_key} (SecureString: the RSA private key in PEM form) and \
                     {key_name} (String: the file name of the public key under /etc/apk/keys), then \
                     redrive this execution."
                )
            }
            Self::Key(KeyStoreError::Missing { private_key: None, key_name, .. }) => format!(
                "Put {key_name} (String: the file name of the public key under /etc/apk/keys), then \
                 redrive this execution."
            ),
            Self::Key(KeyStoreError::Unusable { .. }) | Self::RemoteKey { .. } => {
                "The key must exist and be enabled in the region of the stack, with the usage \
                 SIGN_VERIFY and the specification RSA_2048, RSA_3072 or RSA_4096. Fix that, or deploy \
                 the stack with another SigningKey, then redrive this execution."
                    .to_owned()
            }
            Self::SameKeyName { .. } => {
                "Give one of the two keys another name, since a client knows one key by a name, then \
                 redrive this execution."
                    .to_owned()
            }
            Self::Unsigned { .. } => "The key's numbers do not belong together: put another private \
                                      key, then redrive this execution."
                .to_owned(),
            Self::PrivateKey { parameter, .. } | Self::KeyName { parameter, .. } => {
                format!("Put another value into {parameter}, then redrive this execution.")
            }
            Self::KeyNameTaken { key_name } => format!(
                "Give the new key a name of its own, and put both parameters. Or, if somebody overwrote the published key, or no \
                 client has it, {}. Then redrive this execution.",
                delete(key_name)
            ),
            Self::PublicKey { .. } | Self::SelfCheck { .. } | Self::Archive { .. } => {
                "The old index stays. This is a fault of Alpinist: please report it.".to_owned()
            }
            Self::Bug { .. } => panic::REMEDY.to_owned(),
            Self::Contended { .. } => REDRIVE.to_owned(),
            Self::Journal { key, .. } => format!("Delete {key}, then start the reindex again."),
            Self::TooManyDirectories { .. } | Self::TooManyIndexes { .. } => {
                "Say where to look, with a prefix such as 3.22/.".to_owned()
            }
            Self::Unadopted { prefix, .. } => format!(
                "Look at them with `alpinist reindex {prefix} --stale`; if that reports packages that failed, \
                 fix or delete those. Then redrive this execution."
            ),
            Self::Incomplete { .. } => {
                "The failed executions tell why. Fix that, then start another reindex with the same input."
                    .to_owned()
            }
            Self::Key(KeyStoreError::Store(error)) | Self::Store(error) => store_remedy(error),
        }
    }
}

const GOES_ON: &str = "The execution looks again by itself.";
const REDRIVE: &str = "Redrive this execution.";

fn store_remedy(error: &StoreError) -> String {
    match error {
        StoreError::Conflict { .. } => GOES_ON.to_owned(),
        StoreError::Denied { .. } => "Fix the role of this function or the policy of the bucket, \
                                      then redrive this execution."
            .to_owned(),
        StoreError::NoBucket { .. } => {
            "Create the bucket again, or deploy the stack with another BucketName.".to_owned()
        }
        StoreError::Archived { key } => format!(
            "Alpinist did not archive it: {}, then redrive this execution, and it is made again.",
            delete(key)
        ),
        StoreError::Permanent { .. } => {
            "It is answered so each time; its code says why. Where a package is encrypted by a key of its uploader's \
             (SSE-C), upload it again without; where a key in KMS is disabled, enable it; where a bucket is in another \
             region, deploy the stack there; where the store is not S3, it lacks what S3 has. Then redrive this \
             execution."
                .to_owned()
        }
        StoreError::Unavailable { .. } => REDRIVE.to_owned(),
        StoreError::TooLarge { key, .. } => format!(
            "Alpinist did not write it so: {}, then redrive this execution, and it is made again.",
            delete(key)
        ),
    }
}

/// Says how to delete an object that the policy of the bucket protects from deletions without a precondition.
fn delete(key: &str) -> String {
    let key = key.replace('\'', "'\\''");
    format!("delete it with `aws s3api delete-object --bucket BUCKET --key '{key}' --if-match '*'`")
}

fn store_kind(error: &StoreError) -> FailureKind {
    match error {
        StoreError::Conflict { .. } => FailureKind::Conflict,
        StoreError::Denied { .. } | StoreError::NoBucket { .. } => FailureKind::AccessDenied,
        StoreError::Unavailable { .. } => FailureKind::Unavailable,
        StoreError::TooLarge { .. }
        | StoreError::Archived { .. }
        | StoreError::Permanent { .. } => FailureKind::Misconfigured,
    }
}

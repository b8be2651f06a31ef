//! What a step reports to the state machine when it fails.

use std::borrow::Cow;

use alpinist_apk::{
    adb::index::AdbIndexError,
    index_archive::ArchiveError,
    key::KeyError,
    text::{chain, escaped},
    value::InvalidValue,
};

pub use crate::failure_kind::FailureKind;
use crate::{
    advised,
    message::PublishedIndex,
    panic::{self, Panic},
    port::{KeyStoreError, StoreError},
    snapshot::SnapshotError,
};

advised! {
    /// Why a step failed.
    #[derive(Debug, thiserror::Error)]
    #[non_exhaustive]
    pub enum Failure {
        /// The input of the execution is invalid.
        #[error(
            "the input is neither an S3 event from EventBridge nor {{\"bucket\": …, \"key\": …}}"
        )]
        InvalidInput => FailureKind::InvalidInput.help(START_ANOTHER),
        /// The index was published without the package, which may not be listed.
        #[error("{cause}")]
        PackageRejected {
            /// The rule that it breaks, and what to do.
            cause: String,
            /// The index.
            index: PublishedIndex,
        } => FailureKind::PackageRejected.help(""),
        /// The package was replaced or deleted while the execution ran.
        #[error("{key} was replaced or deleted while its execution ran")]
        Superseded {
            /// The package.
            key: String,
        } => FailureKind::Superseded.help(CHECKS_AGAIN),
        /// Other executions or programs keep changing an object.
        #[error("others keep changing {key}")]
        Contended {
            /// The object.
            key: String,
        } => FailureKind::Unavailable.help(REDRIVE),
        /// A staged index is not what we wrote.
        #[error("the staged index {key} is damaged")]
        StagedDamaged {
            /// The staged index.
            key: String,
            /// What is wrong with it.
            source: SnapshotError,
        } => match source {
            // Rebuilding it would give the same.
            SnapshotError::TooLarge => FailureKind::Misconfigured.help(TOO_LARGE),
            _ => FailureKind::Conflict.help(CHECKS_AGAIN),
        },
        /// A key is missing, can't be read or can't sign.
        #[error("the index can't be signed")]
        Key(#[source] error: KeyStoreError) => key_advice(error),
        /// The private key is unusable.
        #[error("the parameter {parameter} holds no usable private key")]
        PrivateKey {
            /// The parameter.
            parameter: String,
            /// What is wrong with it.
            source: KeyError,
        } => FailureKind::Misconfigured.help(store_another_value(parameter)),
        /// A key service's key is unusable.
        #[error("the key {key} can't sign indexes")]
        RemoteKey {
            /// Its name in the service.
            key: String,
            /// What is wrong with it.
            source: KeyError,
        } => FailureKind::Misconfigured.help(KEY_SERVICE),
        /// A private key can't sign.
        #[error("the private key of {key_name} does not sign")]
        Unsigned {
            /// The key name.
            key_name: String,
            /// Why.
            source: KeyError,
        } => FailureKind::Misconfigured.help(
            "The numbers of the key do not fit together: store another private key (RSA of 2048 to \
             4096 bits or, for packages of format v3 only, EC on P-256 or P-384), then redrive \
             this execution.",
        ),
        /// Two keys have one name.
        #[error("both keys are called {key_name}")]
        SameKeyName {
            /// The name.
            key_name: String,
        } => FailureKind::Misconfigured.help(
            "Rename one of the two keys, since a client has only one key of a name, then redrive \
             this execution.",
        ),
        /// The public key can't be derived.
        #[error("the public key {key_name} can't be derived from the private key")]
        PublicKey {
            /// Its name.
            key_name: String,
            /// Why.
            source: KeyError,
        } => FailureKind::Misconfigured.help(REPORT),
        /// No key can sign `APKINDEX.tar.gz`.
        #[error(
            "{prefix} has packages of format v2, but {} can't sign APKINDEX.tar.gz: an EC key signs \
             only format v3", key_names.join(" and ")
        )]
        NoRsaKey {
            /// The repository prefix.
            prefix: String,
            /// The names of the keys.
            key_names: Vec<String>,
        } => FailureKind::Misconfigured.help(
            "Store an RSA key beside it or in its place, or delete the packages of format v2, then \
             redrive this execution.",
        ),
        /// Another key was published under the key name.
        #[error("another public key is published as {key_name}")]
        KeyNameTaken {
            /// The name.
            key_name: String,
        } => FailureKind::Misconfigured.help(format!(
            "Give the new key its own name, and store both parameters. Or, if somebody overwrote \
             the published key, or no client has it, {}. Then redrive this execution.",
            delete(key_name)
        )),
        /// The key name is unusable.
        #[error("the parameter {parameter} holds no usable key name")]
        KeyName {
            /// The parameter.
            parameter: String,
            /// What is wrong with it.
            source: InvalidValue,
        } => FailureKind::Misconfigured.help(store_another_value(parameter)),
        /// The index could not be built, or a client would reject it, so it was not published.
        #[error("the index of {prefix} could not be built")]
        Archive {
            /// The repository prefix.
            prefix: String,
            /// Why.
            source: ArchiveError,
        } => FailureKind::Misconfigured.help(match source {
            ArchiveError::Length => TOO_LARGE,
            _ => REPORT,
        }),
        /// The index of format v3 could not be built, or a client would reject it, so it was not
        /// published.
        #[error("the index of format v3 of {prefix} could not be built")]
        Adb {
            /// The repository prefix.
            prefix: String,
            /// Why.
            source: Box<AdbIndexError>,
        } => FailureKind::Misconfigured.help(match **source {
            AdbIndexError::TooLarge(_) | AdbIndexError::Length => TOO_LARGE,
            _ => REPORT,
        }),
        /// An object of the reindex journal can't be written or read.
        #[error("the reindex journal {key} is not the JSON that Alpinist writes")]
        Journal {
            /// The object.
            key: String,
            /// Why.
            source: serde_json::Error,
        } => FailureKind::Misconfigured
            .help(format!("Delete {key}, then start the reindex again.")),
        /// There are more indexes than one reindex can rebuild.
        #[error("there are {found} indexes, more than the {max} that one reindex can rebuild")]
        TooManyIndexes {
            /// How many there are.
            found: usize,
            /// The limit.
            max: usize,
        } => FailureKind::InvalidInput.help(NARROW),
        /// There are more directories than are searched for repositories.
        #[error("there are more than {max} directories below `{prefix}`")]
        TooManyDirectories {
            /// The prefix that was searched.
            prefix: String,
            /// The limit.
            max: usize,
        } => FailureKind::InvalidInput.help(NARROW),
        /// A repository prefix has no snapshot, and some of its packages were never checked, so an
        /// index without them can't replace the current one.
        #[error("{unknown} packages of {prefix} were never checked, so its index stays unchanged")]
        Unadopted {
            /// The repository prefix.
            prefix: String,
            /// How many packages were never checked.
            unknown: usize,
        } => FailureKind::Incomplete.help(format!(
            "Check them with `alpinist reindex {prefix} --stale`; if that reports packages that \
             failed, fix or delete those. Then redrive this execution."
        )),
        /// A reindex did not finish every package and every index.
        #[error(
            "the reindex left {failed} packages and {unpublished} indexes unfinished; {report} \
             names them"
        )]
        Incomplete {
            /// The key of the report.
            report: String,
            /// How many packages are neither listed nor rejected.
            failed: usize,
            /// How many indexes are not published.
            unpublished: usize,
        } => FailureKind::Incomplete.help(
            "The failed executions say why. Fix that, then start another reindex with the same \
             input.",
        ),
        /// The function panicked.
        #[error("internal error while processing {subject}")]
        Bug {
            /// The object or prefix that it was processing.
            subject: String,
            /// The panic.
            source: Panic,
        } => FailureKind::Bug.help(panic::REMEDY),
        /// A request to the store failed.
        #[error(transparent)]
        Store(#[from] error: StoreError) => store_advice(error),
    }

    /// Returns the kind, and what to do.
    fn advice(&self) -> Advice;
}

impl Failure {
    /// Returns the kind, which the state machine matches.
    pub fn kind(&self) -> FailureKind {
        self.advice().kind
    }

    /// Returns the message with the whole chain of causes, and what to do about it, in one line.
    pub fn report(&self) -> String {
        match self {
            Self::PackageRejected { cause, .. } => cause.clone(),
            _ => escaped(&format!("{}. {}", chain(self), self.advice().help)),
        }
    }
}

/// The kind of a failure, and what to do about it.
struct Advice {
    kind: FailureKind,
    /// What to do: whole sentences.
    help: Cow<'static, str>,
}

impl FailureKind {
    fn help(self, help: impl Into<Cow<'static, str>>) -> Advice {
        Advice { kind: self, help: help.into() }
    }
}

const START_ANOTHER: &str = r#"Start another execution with {"bucket": …, "key": …}."#;
const CHECKS_AGAIN: &str = "The execution checks again automatically.";
const REDRIVE: &str = "Redrive this execution.";
const TOO_LARGE: &str = "The old index stays. Delete packages of this directory, or move some to \
                         another repository, then redrive this execution.";
const KEY_SERVICE: &str = "The key must exist and be enabled in the region of the stack, with the \
                           usage SIGN_VERIFY and the specification RSA_2048, RSA_3072 or RSA_4096 \
                           or, to sign only format v3, ECC_NIST_P256 or ECC_NIST_P384. \
                           Fix that, or deploy the stack with another SigningKey, then redrive \
                           this execution.";
const REPORT: &str = "The old index stays. This is a bug in Alpinist: please report it.";
const NARROW: &str = "Name a prefix, such as 3.22/.";

fn store_another_value(parameter: &str) -> String {
    format!("Store another value in {parameter}, then redrive this execution.")
}

fn key_advice(error: &KeyStoreError) -> Advice {
    const NAME: &str = "(String: the file name of the public key under /etc/apk/keys)";
    match error {
        KeyStoreError::Missing { private_key: Some(private_key), key_name, .. } => {
            FailureKind::Misconfigured.help(format!(
                "Store {private_key} (SecureString: the private key in PEM form) and \
                 {key_name} {NAME}, then redrive this execution."
            ))
        }
        KeyStoreError::Missing { private_key: None, key_name, .. } => FailureKind::Misconfigured
            .help(format!("Store {key_name} {NAME}, then redrive this execution.")),
        KeyStoreError::Unusable { .. } => FailureKind::Misconfigured.help(KEY_SERVICE),
        KeyStoreError::Store(error) => store_advice(error),
    }
}

/// Returns the advice of a step for an error of the store. The command advises its users
/// differently.
fn store_advice(error: &StoreError) -> Advice {
    match error {
        StoreError::Conflict { .. } => FailureKind::Conflict.help(CHECKS_AGAIN),
        StoreError::Denied { .. } => FailureKind::AccessDenied.help(
            "Fix the role of this function or the policy of the bucket, then redrive this \
             execution.",
        ),
        StoreError::NoBucket { .. } => FailureKind::AccessDenied
            .help("Create the bucket again, or deploy the stack with another BucketName."),
        StoreError::Archived { key } => FailureKind::Misconfigured.help(format!(
            "Alpinist did not archive it: {}, then redrive this execution, which rebuilds it.",
            delete(key)
        )),
        StoreError::Permanent { .. } => FailureKind::Misconfigured.help(
            "Retrying does not help; the error code says why. If a package is encrypted with a \
             key of its uploader (SSE-C), upload it again without; if a KMS key is disabled, \
             enable it; if the bucket is in another region, deploy the stack there; if the store \
             is not S3, it lacks a feature of S3. Then redrive this execution.",
        ),
        StoreError::Unavailable { .. } => FailureKind::Unavailable.help(REDRIVE),
        StoreError::TooLarge { key, .. } => FailureKind::Misconfigured.help(format!(
            "Alpinist did not write it like this: {}, then redrive this execution, which rebuilds \
             it.",
            delete(key)
        )),
    }
}

/// Returns how to delete an object that the bucket policy protects from unconditional deletion.
fn delete(key: &str) -> String {
    let key = key.replace('\'', "'\\''");
    format!("delete it with `aws s3api delete-object --bucket BUCKET --key '{key}' --if-match '*'`")
}

//! What a step tells the state machine when it can't go on.

use std::error::Error;

use alpinist_apk::{archive::ArchiveError, key::KeyError, value::InvalidValue};

use crate::{
    port::{KeyStoreError, StoreError},
    refusal::Refusal,
    snapshot::SnapshotError,
};

/// The error types that the state machine matches. A test compares them with its definition.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum FailureKind {
    /// The input of the execution is not understood.
    InvalidInput,
    /// The package may not be listed. Trying again can't help; another upload can.
    PackageRefused,
    /// The package was replaced or deleted meanwhile: look at it again.
    Superseded,
    /// Somebody else published first, or the staged index is gone: aggregate again.
    Conflict,
    /// The signing key or its name is missing or unusable.
    Misconfigured,
    /// A role or policy does not allow what a step needs.
    AccessDenied,
    /// A service throttled, failed or was out of reach: try again.
    Unavailable,
}

impl FailureKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::InvalidInput,
        Self::PackageRefused,
        Self::Superseded,
        Self::Conflict,
        Self::Misconfigured,
        Self::AccessDenied,
        Self::Unavailable,
    ];

    /// Returns the name that stands in `ErrorEquals` of the state machine.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidInput => "Alpinist.InvalidInput",
            Self::PackageRefused => "Alpinist.PackageRefused",
            Self::Superseded => "Alpinist.Superseded",
            Self::Conflict => "Alpinist.Conflict",
            Self::Misconfigured => "Alpinist.Misconfigured",
            Self::AccessDenied => "Alpinist.AccessDenied",
            Self::Unavailable => "Alpinist.Unavailable",
        }
    }
}

/// Why a step can't go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The input of the execution is not understood.
    #[error(
        "the input is neither an S3 event from EventBridge nor {{\"bucket\": …, \"key\": …}}; \
         start the execution again with one of these"
    )]
    InvalidInput(#[source] serde_json::Error),
    /// The package may not be listed.
    #[error("{key} was refused")]
    Refused {
        /// The package.
        key: String,
        /// Why.
        source: Refusal,
    },
    /// The package is not the one any more with which the execution began.
    #[error("{key} was replaced or deleted while its execution ran; it is looked at again")]
    Superseded {
        /// The package.
        key: String,
    },
    /// Others keep changing an object.
    #[error("{key} keeps being changed by others; it may be tried again")]
    Contended {
        /// The object.
        key: String,
    },
    /// The step was asked to publish, and there is nothing to publish.
    #[error("nothing is staged for {key}; start the execution again with its first input")]
    NothingStaged {
        /// The package.
        key: String,
    },
    /// A staged index can't be used any more.
    #[error("the staged index {key} is gone; the index is aggregated again")]
    StagedGone {
        /// The staged index.
        key: String,
    },
    /// A staged index is not what we wrote.
    #[error("the staged index {key} is damaged; the index is aggregated again")]
    StagedDamaged {
        /// The staged index.
        key: String,
        /// How.
        source: SnapshotError,
    },
    /// A parameter is missing or can't be read.
    #[error(
        "the index can't be signed; put the parameters {private_key} (SecureString: the RSA private key in PEM form) and {key_name} (String: its file name under /etc/apk/keys), then redrive or replay this execution"
    )]
    Key {
        /// The parameter of the private key.
        private_key: String,
        /// The parameter of the key name.
        key_name: String,
        /// Which, and how.
        source: KeyStoreError,
    },
    /// The private key is unusable.
    #[error(
        "the parameter {parameter} holds no usable key; put another one, then redrive or replay this execution"
    )]
    PrivateKey {
        /// The parameter.
        parameter: String,
        /// What is wrong with it.
        source: KeyError,
    },
    /// The public key can't be derived.
    #[error("the public key {key_name} can't be derived from the private key")]
    PublicKey {
        /// Its name.
        key_name: String,
        /// Why.
        source: KeyError,
    },
    /// The key name is unusable.
    #[error(
        "the parameter {parameter} holds no usable key name; put another one, then redrive or replay this execution"
    )]
    KeyName {
        /// The parameter.
        parameter: String,
        /// What is wrong with it.
        source: InvalidValue,
    },
    /// The signed index did not pass the checks of a client, so it was not published.
    #[error(
        "the signed index of {prefix} failed its own check and was not published; the old one stays. This is a fault of Alpinist: please report it"
    )]
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
    /// The store did not do what it was asked.
    #[error("the bucket did not answer as needed")]
    Store(#[from] StoreError),
}

impl Failure {
    /// Returns the kind, on which the state machine decides.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::InvalidInput(_) | Self::NothingStaged { .. } => FailureKind::InvalidInput,
            Self::Refused { .. } => FailureKind::PackageRefused,
            Self::Superseded { .. } => FailureKind::Superseded,
            Self::Contended { .. } => FailureKind::Unavailable,
            Self::StagedGone { .. } | Self::StagedDamaged { .. } => FailureKind::Conflict,
            Self::Key { source: KeyStoreError::Store(error), .. } | Self::Store(error) => {
                store_kind(error)
            }
            Self::Key { .. }
            | Self::PrivateKey { .. }
            | Self::PublicKey { .. }
            | Self::KeyName { .. }
            | Self::SelfCheck { .. }
            | Self::Archive { .. } => FailureKind::Misconfigured,
        }
    }

    /// Returns the message with the whole chain of causes, and the remedy of a refusal.
    pub fn report(&self) -> String {
        let mut report = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            report.push_str(": ");
            report.push_str(&error.to_string());
            cause = error.source();
        }
        if let Self::Refused { source, .. } = self {
            report.push_str(". ");
            report.push_str(&source.remedy());
        }
        report
    }
}

fn store_kind(error: &StoreError) -> FailureKind {
    match error {
        StoreError::Conflict { .. } => FailureKind::Conflict,
        StoreError::Denied { .. } => FailureKind::AccessDenied,
        StoreError::Unavailable { .. } => FailureKind::Unavailable,
        StoreError::TooLarge { .. } => FailureKind::Misconfigured,
    }
}

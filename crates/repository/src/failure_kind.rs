//! The error types that the state machine matches.

/// The error types that the state machine matches. A test compares them with its definition.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum FailureKind {
    /// The input of the execution is invalid.
    InvalidInput,
    /// The package may not be listed. A retry can't help; another upload can. The execution fails
    /// with this error once the index is right.
    PackageRejected,
    /// The package was replaced or deleted while the execution ran: check it again.
    Superseded,
    /// Somebody else published first, or the staged index is gone: aggregate again.
    Conflict,
    /// The signing key or its name is missing or unusable, or AWS rejects a request.
    Misconfigured,
    /// A role or policy does not allow what a step needs.
    AccessDenied,
    /// A reindex left something unfinished, or is needed first.
    Incomplete,
    /// A function panicked. A retry can't help; a bug report can.
    Bug,
    /// A service throttled, failed or could not be reached: retry.
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

    /// Returns the name that `ErrorEquals` of the state machine matches.
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

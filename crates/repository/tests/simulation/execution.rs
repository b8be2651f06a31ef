//! The steps, chained as the state machine chains them.

use alpinist_repository::{
    failure::{Failure, FailureKind},
    message::{Aggregated, Extracted, RefusalReport, Target},
    port::ObjectStore,
    step,
};
use rand_core::OsRng;
use serde::{Serialize, de::DeserializeOwned};

use crate::common::Keys;

/// A task of the state machine with its input.
#[derive(Clone, Debug)]
pub(crate) enum State {
    Extract(Target),
    Write(Extracted),
    Aggregate(Aggregated),
    Publish(Aggregated),
}

/// Where a task leads.
#[derive(Debug)]
pub(crate) enum Next {
    Go(State),
    /// To wait before the next task.
    Wait(State),
    /// The execution ends, well or because the package was refused.
    End,
}

impl State {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Extract(_) => "extract",
            Self::Write(_) => "write",
            Self::Aggregate(_) => "aggregate",
            Self::Publish(_) => "publish",
        }
    }

    /// Runs the task, and catches what the state machine catches.
    pub(crate) async fn run<S: ObjectStore>(self, store: &S, keys: &Keys) -> Result<Next, Failure> {
        match self {
            Self::Extract(target) => match step::extract(store, target.clone()).await {
                Err(failure) if failure.kind() == FailureKind::PackageRefused => {
                    let error = failure.kind().name().to_owned();
                    let Failure::Refused { package, .. } = &failure else { unreachable!() };
                    let refusal = Some(RefusalReport { error, cause: failure.report(), package: Some(package.clone()) });
                    Ok(Next::Go(Self::Write(Extracted { target, accepted: None, refusal })))
                }
                outcome => Ok(Next::Go(Self::Write(travelled(&outcome?)))),
            },
            Self::Write(request) => {
                let target = request.target.clone();
                match step::write_index(store, request).await {
                    Err(failure) if failure.kind() == FailureKind::Superseded => {
                        Ok(Next::Go(Self::Extract(target)))
                    }
                    outcome => Ok(Next::Go(Self::Aggregate(travelled(&outcome?)))),
                }
            }
            Self::Aggregate(request) => {
                let target = request.written.target.clone();
                match step::aggregate(store, request).await {
                    Err(failure) if failure.kind() == FailureKind::Superseded => {
                        Ok(Next::Go(Self::Extract(target)))
                    }
                    outcome => {
                        let aggregated: Aggregated = travelled(&outcome?);
                        Ok(match &aggregated {
                            Aggregated { staged: Some(_), .. } => Next::Go(Self::Publish(aggregated)),
                            Aggregated { waiting: Some(_), .. } => {
                                Next::Wait(Self::Aggregate(aggregated))
                            }
                            _ => Next::End,
                        })
                    }
                }
            }
            Self::Publish(request) => {
                match step::publish(store, keys, &mut OsRng, request.clone()).await {
                    Err(failure) if failure.kind() == FailureKind::Conflict => {
                        Ok(Next::Go(Self::Aggregate(request)))
                    }
                    outcome => outcome.map(|_| Next::End),
                }
            }
        }
    }
}

/// Returns a message as it arrives at the next step.
fn travelled<M: Serialize, N: DeserializeOwned>(message: &M) -> N {
    let json = serde_json::to_vec(message).expect("a message is JSON");
    serde_json::from_slice(&json).expect("a message is the request of the next step")
}

/// Tells whether the state machine tries again.
pub(crate) fn is_passing(failure: &Failure) -> bool {
    failure.kind() == FailureKind::Unavailable
}


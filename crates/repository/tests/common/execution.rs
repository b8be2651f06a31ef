//! The steps, chained as the state machine chains them.

use alpinist_repository::{
    failure::{Failure, FailureKind},
    message::{
        AggregateRequest, Aggregated, Extracted, Found, PublishRequest, RejectionReport, Target,
    },
    plus_copy::PlusCopies,
    policy::Policy,
    port::{ObjectStore, Starter, StoreError},
    replacing::Replacing,
    step::{self, HealRequest, Healed},
    v3_index::V3Index,
};
use rand_core::OsRng;
use serde::{Serialize, de::DeserializeOwned};

use super::Keys;

/// A state of the state machine that runs a function, with its input.
#[derive(Clone, Debug)]
pub(crate) enum State {
    Extract(Target),
    Write(Extracted),
    Aggregate(AggregateRequest),
    Publish(PublishRequest),
    /// Not a state, but the function that starts executions where something is wrong.
    Heal(HealRequest),
}

/// The parameters of the template that change what steps do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) v3_index: V3Index,
    pub(crate) replacing: Replacing,
}

impl Default for Settings {
    fn default() -> Self {
        Self { v3_index: V3Index::Auto, replacing: Replacing::Allowed }
    }
}

impl From<V3Index> for Settings {
    fn from(v3_index: V3Index) -> Self {
        Self { v3_index, ..Self::default() }
    }
}

impl From<Replacing> for Settings {
    fn from(replacing: Replacing) -> Self {
        Self { replacing, ..Self::default() }
    }
}

/// Where a state leads.
#[derive(Debug)]
pub(crate) enum Next {
    /// Starts these.
    Start(Healed),
    Go(State),
    /// Waits before the next state.
    Wait(State),
    /// Ends the execution: successfully, or because the package was rejected.
    End(Option<RejectionReport>),
}

impl State {
    /// The name of the function.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Extract(_) => "extract",
            Self::Write(_) => "write",
            Self::Aggregate(_) => "aggregate",
            Self::Publish(_) => "publish",
            Self::Heal(_) => "heal",
        }
    }

    /// Runs the function, and catches what the state machine catches.
    pub(crate) async fn run<S: ObjectStore>(self, store: &S, keys: &Keys) -> Result<Next, Failure> {
        self.run_where(store, keys, Settings::default()).await
    }

    /// Runs the function where these are the settings.
    pub(crate) async fn run_where<S: ObjectStore>(
        self,
        store: &S,
        keys: &Keys,
        settings: impl Into<Settings>,
    ) -> Result<Next, Failure> {
        let Settings { v3_index, replacing } = settings.into();
        match self {
            Self::Extract(target) => {
                let extracted = step::extract(store, Policy::default(), target).await?;
                Ok(match extracted.found {
                    Found::Indexed => Next::End(None),
                    _ => Next::Go(Self::Write(travelled(&extracted))),
                })
            }
            Self::Write(request) => {
                let target = request.target.clone();
                match step::write_index(store, PlusCopies::Kept, replacing, request).await {
                    Err(failure) if failure.kind() == FailureKind::Superseded => {
                        Ok(Next::Go(Self::Extract(target)))
                    }
                    // A reindex processes all packages before it makes an index.
                    Ok(_) if target.reindex.is_some() && target.key.ends_with(".apk") => {
                        Ok(Next::End(None))
                    }
                    written => Ok(Next::Go(Self::Aggregate(travelled(&written?)))),
                }
            }
            Self::Aggregate(request) => {
                let target = request.written.target.clone();
                match step::aggregate(store, v3_index, request).await {
                    Err(failure) if failure.kind() == FailureKind::Superseded => {
                        Ok(Next::Go(Self::Extract(target)))
                    }
                    aggregated => Ok(after_aggregation(&aggregated?)),
                }
            }
            Self::Publish(request) => {
                match step::publish(store, keys, &mut OsRng, request.clone()).await {
                    Err(failure) if failure.kind() == FailureKind::Conflict => {
                        Ok(Next::Go(Self::Aggregate(travelled(&request))))
                    }
                    Err(failure) if failure.kind() == FailureKind::PackageRejected => {
                        Ok(Next::End(request.written.rejection))
                    }
                    published => Ok(Next::End(published?.written.rejection)),
                }
            }
            Self::Heal(request) => Ok(Next::Start(
                step::heal(store, &NothingStarted, PlusCopies::Kept, replacing, v3_index, request)
                    .await?,
            )),
        }
    }
}

/// Starts nothing: the response says what would be started.
struct NothingStarted;

impl Starter for NothingStarted {
    async fn start(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    async fn reindex(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }
}

fn after_aggregation(aggregated: &Aggregated) -> Next {
    match aggregated {
        Aggregated { waiting: Some(_), .. } => Next::Wait(State::Aggregate(travelled(aggregated))),
        Aggregated { staged: Some(_), .. } => Next::Go(State::Publish(travelled(aggregated))),
        Aggregated { written, .. } => Next::End(written.rejection.clone()),
    }
}

/// Returns a message as it arrives at the next step.
pub(crate) fn travelled<M: Serialize, N: DeserializeOwned>(message: &M) -> N {
    let json = serde_json::to_vec(message).expect("a message is JSON");
    serde_json::from_slice(&json).expect("a message is the request of the next step")
}

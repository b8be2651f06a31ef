//! Starts executions of the two state machines.

use alpinist_aws::error::store_error;
use alpinist_repository::port::{Starter, StoreError};
use aws_sdk_sfn::{Client, error::ProvideErrorMetadata as _, types::ExecutionStatus};
use jiff::Timestamp;
use serde_json::json;

/// The maximum length of a prefix in the name of a reindex, in bytes. The name may have 80.
const MAX_PREFIX: usize = 60;

/// Starts executions that repair something.
#[derive(Clone, Debug)]
pub struct SfnStarter {
    client: Client,
    bucket: String,
    state_machine: String,
    reindex_state_machine: String,
}

impl SfnStarter {
    /// Makes a starter for a bucket and the ARNs of the state machines that work on it.
    pub fn new(
        client: Client,
        bucket: String,
        state_machine: String,
        reindex_state_machine: String,
    ) -> Self {
        Self { client, bucket, state_machine, reindex_state_machine }
    }

    /// Returns whether a reindex is running whose name begins with `begin`.
    async fn is_running(&self, begin: &str) -> Result<bool, StoreError> {
        let request = self.client.list_executions().status_filter(ExecutionStatus::Running);
        let request = request.state_machine_arn(&self.reindex_state_machine);
        let mut items = request.into_paginator().items().send();
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| store_error(&self.reindex_state_machine, &error))?;
            if item.name.starts_with(begin) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Starter for SfnStarter {
    async fn start(&self, key: &str) -> Result<(), StoreError> {
        let input = json!({"bucket": self.bucket, "key": key});
        let request = self.client.start_execution().state_machine_arn(&self.state_machine);
        let started = request.input(input.to_string()).send().await;
        started.map_err(|error| store_error(key, &error))?;
        Ok(())
    }

    async fn reindex(&self, prefix: &str) -> Result<(), StoreError> {
        let readable = prefix.trim_end_matches('/').replace('/', ".");
        let begin = format!("heal-{}-", readable.get(..MAX_PREFIX).unwrap_or(&readable));
        if self.is_running(&begin).await? {
            return Ok(());
        }
        let input = json!({"prefix": prefix, "only_stale": true});
        // Calls in the same second use the same name, so only one execution is started.
        let name = format!("{begin}{}", Timestamp::now().as_second());
        let request = self.client.start_execution().state_machine_arn(&self.reindex_state_machine);
        match request.name(name).input(input.to_string()).send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("ExecutionAlreadyExists") => Ok(()),
            Err(error) => Err(store_error(prefix, &error)),
        }
    }
}

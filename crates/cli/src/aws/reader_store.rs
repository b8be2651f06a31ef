//! The key-value store of CloudFront in which the readers of a distribution are stored.

use alpinist_aws::error::store_error;
use alpinist_repository::port::StoreError;
use aws_sdk_cloudfrontkeyvaluestore::{Client, error::ProvideErrorMetadata as _};

use crate::error::Error;

/// How many readers are listed by one request, the most that CloudFront allows.
const PAGE: i32 = 50;

/// The readers of a distribution, each as text under its name.
#[derive(Clone, Debug)]
pub(crate) struct ReaderStore {
    client: Client,
    arn: String,
}

/// The state of a store. A change names the one that it is based on, so that none is lost.
#[derive(Clone, Debug)]
pub(crate) struct StoreVersion(String);

impl ReaderStore {
    pub(crate) fn new(client: Client, arn: impl Into<String>) -> Self {
        Self { client, arn: arn.into() }
    }

    /// Returns the current version of the store.
    ///
    /// # Errors
    ///
    /// [`StoreError::Denied`], [`StoreError::Unavailable`].
    pub(crate) async fn version(&self) -> Result<StoreVersion, StoreError> {
        let described = self.client.describe_key_value_store().kvs_arn(&self.arn).send().await;
        let described = described.map_err(|error| store_error("the store of readers", &error))?;
        Ok(StoreVersion(described.e_tag))
    }

    /// Returns all readers and their names, in the order of the names.
    ///
    /// # Errors
    ///
    /// Those of [`Self::version`].
    pub(crate) async fn all(&self) -> Result<Vec<(String, String)>, StoreError> {
        let list = self.client.list_keys().kvs_arn(&self.arn).max_results(PAGE);
        let mut items = list.into_paginator().items().send();
        let mut all = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| store_error("the store of readers", &error))?;
            all.push((item.key, item.value));
        }
        all.sort();
        Ok(all)
    }

    /// Returns a reader, or `None` if there is none of this name.
    ///
    /// # Errors
    ///
    /// Those of [`Self::version`].
    pub(crate) async fn get(&self, name: &str) -> Result<Option<String>, StoreError> {
        match self.client.get_key().kvs_arn(&self.arn).key(name).send().await {
            Ok(found) => Ok(Some(found.value)),
            Err(error) if error.code() == Some("ResourceNotFoundException") => Ok(None),
            Err(error) => Err(store_error(&of(name), &error)),
        }
    }

    /// Stores a reader, if the store is still of this version.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if it is not; [`Error::ReadersFull`], [`StoreError::Denied`],
    /// [`StoreError::Unavailable`].
    pub(crate) async fn put(
        &self,
        name: &str,
        value: &str,
        StoreVersion(version): StoreVersion,
    ) -> Result<(), Error> {
        let put = self.client.put_key().kvs_arn(&self.arn).key(name).value(value);
        match put.if_match(version).send().await {
            Ok(_) => Ok(()),
            Err(error) => match error.code() {
                Some("ConflictException") => Err(StoreError::Conflict { key: of(name) }.into()),
                Some("ServiceQuotaExceededException") => Err(Error::ReadersFull),
                _ => Err(store_error(&of(name), &error).into()),
            },
        }
    }

    /// Deletes a reader, if the store is still of this version.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if it is not; [`StoreError::Denied`], [`StoreError::Unavailable`].
    pub(crate) async fn delete(
        &self,
        name: &str,
        StoreVersion(version): StoreVersion,
    ) -> Result<(), StoreError> {
        let delete = self.client.delete_key().kvs_arn(&self.arn).key(name).if_match(version);
        match delete.send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("ConflictException") => {
                Err(StoreError::Conflict { key: of(name) })
            }
            Err(error) => Err(store_error(&of(name), &error)),
        }
    }
}

fn of(name: &str) -> String {
    format!("the reader {name}")
}

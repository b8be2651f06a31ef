//! Deployed stacks.

use std::collections::BTreeMap;

use alpinist_aws::error::store_error;
use alpinist_repository::port::StoreError;
use aws_sdk_cloudformation::{Client, error::ProvideErrorMetadata as _, types};

/// The stacks of `CloudFormation`.
#[derive(Clone, Debug)]
pub(crate) struct Stacks {
    client: Client,
}

/// The outputs and parameters of a stack.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Stack {
    /// Its outputs, by name.
    pub(crate) outputs: BTreeMap<String, String>,
    /// The values of its template's parameters, by name.
    pub(crate) parameters: BTreeMap<String, String>,
}

impl Stacks {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Returns the stack `name`, or `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// [`StoreError::Denied`], [`StoreError::Unavailable`].
    pub(crate) async fn find(&self, name: &str) -> Result<Option<Stack>, StoreError> {
        let found = match self.client.describe_stacks().stack_name(name).send().await {
            Ok(found) => found,
            Err(error) if error.code() == Some("ValidationError") => return Ok(None),
            Err(error) => return Err(store_error(&format!("stack {name}"), &error)),
        };
        Ok(found.stacks.unwrap_or_default().into_iter().next().map(Stack::from))
    }

    /// Returns all stacks of the account in this region, by name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Denied`], [`StoreError::Unavailable`].
    pub(crate) async fn all(&self) -> Result<BTreeMap<String, Stack>, StoreError> {
        let mut stacks = self.client.describe_stacks().into_paginator().items().send();
        let mut all = BTreeMap::new();
        while let Some(stack) = stacks.next().await {
            let stack = stack.map_err(|error| store_error("the stacks", &error))?;
            let name = stack.stack_name().unwrap_or_default().to_owned();
            all.insert(name, stack.into());
        }
        Ok(all)
    }
}

impl From<types::Stack> for Stack {
    fn from(stack: types::Stack) -> Self {
        let outputs = stack.outputs.unwrap_or_default().into_iter();
        let parameters = stack.parameters.unwrap_or_default().into_iter();
        Self {
            outputs: outputs
                .filter_map(|output| Some((output.output_key?, output.output_value?)))
                .collect(),
            parameters: parameters
                .filter_map(|given| Some((given.parameter_key?, given.parameter_value?)))
                .collect(),
        }
    }
}

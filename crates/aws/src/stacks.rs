//! Deployed stacks.

use std::collections::BTreeMap;

use alpinist_repository::port::StoreError;
use aws_sdk_cloudformation::{Client, error::ProvideErrorMetadata as _};

use crate::error::store_error;

/// The stacks of `CloudFormation`.
#[derive(Clone, Debug)]
pub struct Stacks {
    client: Client,
}

/// What a stack says of itself.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Stack {
    /// Its outputs, by name.
    pub outputs: BTreeMap<String, String>,
    /// The values of its template's parameters, by name.
    pub parameters: BTreeMap<String, String>,
}

impl Stacks {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Returns the stack `name`, or `None` where there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Denied`], [`StoreError::Unavailable`].
    pub async fn find(&self, name: &str) -> Result<Option<Stack>, StoreError> {
        let found = match self.client.describe_stacks().stack_name(name).send().await {
            Ok(found) => found,
            Err(error) if error.code() == Some("ValidationError") => return Ok(None),
            Err(error) => return Err(store_error(&format!("stack {name}"), &error)),
        };
        let Some(stack) = found.stacks.unwrap_or_default().into_iter().next() else {
            return Ok(None);
        };
        let outputs = stack.outputs.unwrap_or_default().into_iter();
        let parameters = stack.parameters.unwrap_or_default().into_iter();
        Ok(Some(Stack {
            outputs: outputs
                .filter_map(|output| Some((output.output_key?, output.output_value?)))
                .collect(),
            parameters: parameters
                .filter_map(|given| Some((given.parameter_key?, given.parameter_value?)))
                .collect(),
        }))
    }
}

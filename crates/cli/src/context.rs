//! Where the repository is: a stack, a bucket, state machines.

use alpinist_aws::s3::S3Store;
use alpinist_executions::Executions;
use alpinist_repository::{
    plus_copy::PlusCopies,
    policy::Policy,
    port::{KeyStoreError, StoreError},
    replacing::Replacing,
    trust::PackageSignatures,
    v3_index::V3Index,
};
use clap::{Args, builder::NonEmptyStringValueParser};

use crate::aws::{
    parameters::Parameters,
    reader_store::ReaderStore,
    session::{Session, SessionOptions},
    stacks::Stack,
};
use crate::error::Error;

/// How AWS is reached. What is not said is taken as the AWS CLI takes it, from the environment and
/// `~/.aws`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "AWS")]
pub(crate) struct Access {
    /// The profile in ~/.aws
    #[arg(long, value_name = "NAME", display_order = 90)]
    profile: Option<String>,
    /// The region
    #[arg(long, display_order = 91)]
    region: Option<String>,
    /// The address of an emulated AWS
    #[arg(long, value_name = "URL", display_order = 92)]
    endpoint_url: Option<String>,
}

/// Where the repository is. A stack knows all of it.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Where")]
pub(crate) struct TargetOptions {
    /// The CloudFormation stack, whose outputs give the rest
    #[arg(
        long,
        env = "ALPINIST_STACK",
        hide_env_values = true,
        value_parser = NonEmptyStringValueParser::new(),
        value_name = "NAME",
        display_order = 80
    )]
    stack: Option<String>,
    /// The bucket
    #[arg(
        long,
        env = "ALPINIST_BUCKET",
        hide_env_values = true,
        value_parser = NonEmptyStringValueParser::new(),
        value_name = "NAME",
        display_order = 81
    )]
    bucket: Option<String>,
    /// The state machine that follows uploads
    #[arg(
        long,
        env = "ALPINIST_STATE_MACHINE",
        hide_env_values = true,
        value_parser = NonEmptyStringValueParser::new(),
        value_name = "ARN",
        display_order = 82
    )]
    state_machine: Option<String>,
    /// The state machine that rebuilds everything
    #[arg(
        long,
        env = "ALPINIST_REINDEX_STATE_MACHINE",
        hide_env_values = true,
        value_parser = NonEmptyStringValueParser::new(),
        value_name = "ARN",
        display_order = 83
    )]
    reindex_state_machine: Option<String>,
    #[command(flatten)]
    access: Access,
}

/// Where the repository is, with its stack if one is named.
#[derive(Debug)]
pub(crate) struct Context {
    session: Session,
    target_options: TargetOptions,
    stack: Stack,
}

impl Access {
    /// Opens a session. This makes no request yet.
    pub(crate) async fn open(self) -> Session {
        let Self { profile, region, endpoint_url } = self;
        Session::open(SessionOptions { profile, region, endpoint_url }).await
    }
}

impl TargetOptions {
    /// Looks up the stack, if one is named.
    pub(crate) async fn open(self) -> Result<Context, Error> {
        let session = self.access.clone().open().await;
        let stack = match &self.stack {
            None => Stack::default(),
            Some(name) => {
                let found = session.stacks().find(name).await?;
                found.ok_or_else(|| Error::NoStack { name: name.clone() })?
            }
        };
        Ok(Context { session, target_options: self, stack })
    }
}

impl Context {
    /// Returns the bucket's name.
    pub(crate) fn bucket_name(&self) -> Result<&str, Error> {
        self.find(self.target_options.bucket.as_deref(), "BucketName", "--bucket")
    }

    /// Returns the bucket.
    pub(crate) fn bucket(&self) -> Result<S3Store, Error> {
        Ok(self.session.bucket(self.bucket_name()?).with_replacing(self.replacing()?))
    }

    /// Returns the ARN of the state machine that follows uploads.
    pub(crate) fn state_machine(&self) -> Result<&str, Error> {
        self.find(
            self.target_options.state_machine.as_deref(),
            "StateMachineArn",
            "--state-machine",
        )
    }

    /// Returns the ARN of the state machine for reindexes.
    pub(crate) fn reindex_state_machine(&self) -> Result<&str, Error> {
        let said = self.target_options.reindex_state_machine.as_deref();
        self.find(said, "ReindexStateMachineArn", "--reindex-state-machine")
    }

    /// Returns the executions of state machines.
    pub(crate) fn executions(&self) -> Executions {
        self.session.executions()
    }

    /// Returns the parameters in SSM.
    pub(crate) fn parameters(&self) -> Parameters {
        self.session.parameters()
    }

    /// Returns the readers of the stack's distribution.
    pub(crate) fn readers(&self) -> Result<ReaderStore, Error> {
        self.expect_stack()?;
        let arn = self.output("ReadersArn").ok_or(Error::NoReaders)?;
        Ok(self.session.readers(arn))
    }

    /// Returns the public half of a key in KMS, in DER form.
    pub(crate) async fn public_key_in_kms(&self, key: &str) -> Result<Vec<u8>, KeyStoreError> {
        self.session.public_key_in_kms(key).await
    }

    /// Returns an output of the stack.
    pub(crate) fn output(&self, name: &str) -> Option<&str> {
        self.stack.outputs.get(name).map(String::as_str)
    }

    /// Fails if no stack is named.
    pub(crate) fn expect_stack(&self) -> Result<(), Error> {
        self.target_options.stack.as_ref().map(|_| ()).ok_or(Error::MissingStack)
    }

    /// Returns the name of another stack with the same value of a template parameter, if there is
    /// one.
    pub(crate) async fn sharing(&self, parameter: &str) -> Result<Option<String>, StoreError> {
        let own = self.stack.parameters.get(parameter);
        let shares = |(name, other): (String, Stack)| {
            let is_other = self.target_options.stack.as_ref() != Some(&name);
            (is_other && own.is_some() && other.parameters.get(parameter) == own).then_some(name)
        };
        Ok(self.session.stacks().all().await?.into_iter().find_map(shares))
    }

    /// Returns the value of a template parameter, or its default.
    pub(crate) fn setting<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.stack.parameters.get(name).map_or(default, String::as_str)
    }

    /// Returns the stack's policy for packages.
    pub(crate) fn policy(&self) -> Result<Policy, Error> {
        let default = Policy::default();
        let expected = PackageSignatures::VALUES;
        let signatures = self.parse("PackageSignatures", expected, |value| value.parse().ok())?;
        let max_size = self.parse("MaxPackageMiB", "a whole number from 1 on", |value| {
            value.parse::<u64>().ok().filter(|max| *max > 0)
        })?;
        Ok(Policy {
            signatures: signatures.unwrap_or(default.signatures),
            max_size: max_size.map_or(default.max_size, |max| max.saturating_mul(1 << 20)),
        })
    }

    /// Returns whether the stack keeps copies of packages with a `+` in their names.
    pub(crate) fn plus_copies(&self) -> Result<PlusCopies, Error> {
        let by_serving = match self.setting("Serving", "bucket") {
            "cloudfront" => PlusCopies::None,
            _ => PlusCopies::Kept,
        };
        let copies = self.parse("PlusCopies", "auto, true or false", |value| match value {
            "auto" => Some(by_serving),
            "true" => Some(PlusCopies::Kept),
            "false" => Some(PlusCopies::None),
            _ => None,
        })?;
        Ok(copies.unwrap_or(by_serving))
    }

    /// Returns where the stack publishes indexes of format v3.
    pub(crate) fn v3_index(&self) -> Result<V3Index, Error> {
        let v3_index = self.parse("V3Index", V3Index::VALUES, |value| value.parse().ok())?;
        Ok(v3_index.unwrap_or(V3Index::Auto))
    }

    /// Returns whether published packages may be replaced in the stack's bucket.
    pub(crate) fn replacing(&self) -> Result<Replacing, Error> {
        let replacing = self.parse("Replacing", Replacing::VALUES, |value| value.parse().ok())?;
        Ok(replacing.unwrap_or(Replacing::Allowed))
    }

    /// Fails if `--replace` was given, but the stack lets nobody replace packages.
    pub(crate) fn check_replace(&self, replace: bool) -> Result<(), Error> {
        match self.replacing()? {
            Replacing::Refused if replace => Err(Error::ReplacingRefused),
            _ => Ok(()),
        }
    }

    /// Parses a template parameter, if the stack has it.
    fn parse<T>(
        &self,
        parameter: &'static str,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.stack.parameters.get(parameter) else { return Ok(None) };
        let unknown = || Error::Setting { parameter, value: value.clone(), expected };
        read(value).ok_or_else(unknown).map(Some)
    }

    fn find<'a>(
        &'a self,
        said: Option<&'a str>,
        output: &str,
        option: &'static str,
    ) -> Result<&'a str, Error> {
        said.or_else(|| self.output(output)).ok_or(Error::MissingOption { option })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        target_options: TargetOptions,
    }

    /// A stack with this parameter.
    async fn with(parameter: &str, value: &str) -> Context {
        let target_options =
            Arguments::parse_from(["alpinist", "--region", "eu-central-1"]).target_options;
        let parameters = BTreeMap::from([(parameter.to_owned(), value.to_owned())]);
        let session = target_options.access.clone().open().await;
        Context { session, target_options, stack: Stack { parameters, ..Stack::default() } }
    }

    #[tokio::test]
    async fn a_value_that_nobody_knows_is_no_default() {
        let policy = with("PackageSignatures", "Require").await.policy().unwrap();
        assert_eq!(policy.signatures, PackageSignatures::Require);
        assert_eq!(with("MaxPackageMiB", "3").await.policy().unwrap().max_size, 3 << 20);
        assert_eq!(with("Other", "x").await.policy().unwrap().max_size, Policy::default().max_size);
        assert_eq!(with("PlusCopies", "false").await.plus_copies().unwrap(), PlusCopies::None);
        assert_eq!(with("Other", "x").await.plus_copies().unwrap(), PlusCopies::Kept);
        assert_eq!(with("PlusCopies", "auto").await.plus_copies().unwrap(), PlusCopies::Kept);
        assert_eq!(with("Serving", "cloudfront").await.plus_copies().unwrap(), PlusCopies::None);
        assert_eq!(with("V3Index", "always").await.v3_index().unwrap(), V3Index::Always);
        assert_eq!(with("Other", "x").await.v3_index().unwrap(), V3Index::Auto);
        assert_eq!(with("Replacing", "refused").await.replacing().unwrap(), Replacing::Refused);
        assert_eq!(with("Other", "x").await.replacing().unwrap(), Replacing::Allowed);

        let error = with("PackageSignatures", "Demand").await.policy().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the stack's parameter PackageSignatures has \"Demand\", expected Ignore, Verify or Require"
        );
        for wrong in ["", "0", "-1", "5 GiB"] {
            let error = with("MaxPackageMiB", wrong).await.policy().unwrap_err();
            assert!(matches!(error, Error::Setting { .. }), "{wrong}");
        }
        let error = with("PlusCopies", "True").await.plus_copies().unwrap_err();
        assert!(matches!(error, Error::Setting { .. }));
        let error = with("V3Index", "Always").await.v3_index().unwrap_err();
        assert!(matches!(error, Error::Setting { .. }));
        let error = with("Replacing", "no").await.replacing().unwrap_err();
        assert!(matches!(error, Error::Setting { .. }));
    }
}

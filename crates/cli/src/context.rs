//! Where the repository is: a stack, a bucket, state machines.

use alpinist_aws::{
    executions::Executions,
    parameters::Parameters,
    s3::S3Store,
    session::{Session, SessionOptions},
    stacks::Stack,
};
use alpinist_repository::{plus_copy::PlusCopies, policy::Policy, port::KeyStoreError};
use clap::Args;

use crate::error::Error;

/// How AWS is reached. What is not said is taken as the AWS CLI takes it, from the environment and `~/.aws`.
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
pub(crate) struct Place {
    /// The stack, which knows the rest
    #[arg(
        long,
        env = "ALPINIST_STACK",
        hide_env_values = true,
        value_name = "NAME",
        display_order = 80
    )]
    stack: Option<String>,
    /// The bucket
    #[arg(
        long,
        env = "ALPINIST_BUCKET",
        hide_env_values = true,
        value_name = "NAME",
        display_order = 81
    )]
    bucket: Option<String>,
    /// The state machine that follows uploads
    #[arg(
        long,
        env = "ALPINIST_STATE_MACHINE",
        hide_env_values = true,
        value_name = "ARN",
        display_order = 82
    )]
    state_machine: Option<String>,
    /// The state machine that makes everything again
    #[arg(
        long,
        env = "ALPINIST_REINDEX_STATE_MACHINE",
        hide_env_values = true,
        value_name = "ARN",
        display_order = 83
    )]
    reindex_state_machine: Option<String>,
    #[command(flatten)]
    access: Access,
}

/// A repository that was found.
#[derive(Debug)]
pub(crate) struct Context {
    session: Session,
    place: Place,
    stack: Stack,
}

impl Access {
    /// Opens a session. That makes no request yet.
    pub(crate) async fn open(self) -> Session {
        let Self { profile, region, endpoint_url } = self;
        Session::open(SessionOptions { profile, region, endpoint_url }).await
    }
}

impl Place {
    /// Asks the stack, if one is named.
    pub(crate) async fn open(self) -> Result<Context, Error> {
        let session = self.access.clone().open().await;
        let stack = match &self.stack {
            None => Stack::default(),
            Some(name) => {
                let found = session.stacks().find(name).await?;
                found.ok_or_else(|| Error::NoStack { name: name.clone() })?
            }
        };
        Ok(Context { session, place: self, stack })
    }
}

impl Context {
    /// Returns the bucket's name.
    pub(crate) fn bucket_name(&self) -> Result<&str, Error> {
        self.find(self.place.bucket.as_deref(), "BucketName", "--bucket")
    }

    /// Returns the bucket.
    pub(crate) fn bucket(&self) -> Result<S3Store, Error> {
        Ok(self.session.bucket(self.bucket_name()?))
    }

    /// Returns the ARN of the state machine that follows uploads.
    pub(crate) fn state_machine(&self) -> Result<&str, Error> {
        self.find(self.place.state_machine.as_deref(), "StateMachineArn", "--state-machine")
    }

    /// Returns the ARN of the state machine that makes everything again.
    pub(crate) fn reindex_state_machine(&self) -> Result<&str, Error> {
        let said = self.place.reindex_state_machine.as_deref();
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
        self.place.stack.as_ref().map(|_| ()).ok_or(Error::StackNotSaid)
    }

    /// Returns the value of a parameter of the template, or what it is by default.
    pub(crate) fn setting<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.stack.parameters.get(name).map_or(default, String::as_str)
    }

    /// Returns what the stack asks of packages.
    pub(crate) fn policy(&self) -> Policy {
        let default = Policy::default();
        let signatures = self.setting("PackageSignatures", "").parse();
        let max_size = self.setting("MaxPackageMiB", "").parse::<u64>();
        Policy {
            signatures: signatures.unwrap_or(default.signatures),
            max_size: max_size.map_or(default.max_size, |max| max.saturating_mul(1 << 20)),
        }
    }

    /// Tells whether the stack keeps copies of packages whose names have a `+`.
    pub(crate) fn plus_copies(&self) -> PlusCopies {
        match self.setting("PlusCopies", "true") {
            "true" => PlusCopies::Kept,
            _ => PlusCopies::None,
        }
    }

    fn find<'a>(
        &'a self,
        said: Option<&'a str>,
        output: &str,
        option: &'static str,
    ) -> Result<&'a str, Error> {
        said.or_else(|| self.output(output)).ok_or(Error::NotSaid { option })
    }
}

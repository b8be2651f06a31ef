//! A session with AWS: credentials, a region, and an endpoint.

use alpinist_aws::{https, keys, s3::S3Store};
use alpinist_executions::Executions;
use alpinist_repository::port::KeyStoreError;
use aws_config::{Region, SdkConfig};
use aws_sdk_cloudfrontkeyvaluestore::config::endpoint::{
    Endpoint, EndpointFuture, Params, ResolveEndpoint,
};

use crate::aws::{parameters::Parameters, reader_store::ReaderStore, stacks::Stacks};

/// Settings that override the environment and the configuration of the AWS CLI.
#[derive(Clone, Debug, Default)]
pub(crate) struct SessionOptions {
    /// The profile in `~/.aws`.
    pub(crate) profile: Option<String>,
    /// The region.
    pub(crate) region: Option<String>,
    /// The endpoint of all services, for an emulated AWS.
    pub(crate) endpoint_url: Option<String>,
}

/// An endpoint that does not depend on the request.
#[derive(Debug)]
struct FixedEndpoint {
    url: String,
}

impl ResolveEndpoint for FixedEndpoint {
    fn resolve_endpoint<'a>(&'a self, _: &'a Params) -> EndpointFuture<'a> {
        EndpointFuture::ready(Ok(Endpoint::builder().url(self.url.clone()).build()))
    }
}

/// Credentials, a region, and an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    config: SdkConfig,
}

impl Session {
    /// Opens a session. This makes no request yet.
    pub(crate) async fn open(options: SessionOptions) -> Self {
        let SessionOptions { profile, region, endpoint_url } = options;
        let mut loader = aws_config::from_env().http_client(https::client());
        loader = loader.timeout_config(https::timeouts());
        if let Some(profile) = profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = region {
            loader = loader.region(Region::new(region));
        }
        if let Some(endpoint_url) = endpoint_url {
            loader = loader.endpoint_url(endpoint_url);
        }
        Self { config: loader.load().await }
    }

    /// Returns a bucket. If an endpoint is set, the bucket's name goes into the path, since its
    /// host name would not resolve there.
    pub(crate) fn bucket(&self, name: impl Into<String>) -> S3Store {
        let path_style = self.config.endpoint_url().is_some();
        let config = aws_sdk_s3::config::Builder::from(&self.config).force_path_style(path_style);
        S3Store::new(aws_sdk_s3::Client::from_conf(config.build()), name)
    }

    /// Returns the executions of Step Functions.
    pub(crate) fn executions(&self) -> Executions {
        Executions::new(aws_sdk_sfn::Client::new(&self.config))
    }

    /// Returns the stacks of `CloudFormation`.
    pub(crate) fn stacks(&self) -> Stacks {
        Stacks::new(aws_sdk_cloudformation::Client::new(&self.config))
    }

    /// Returns the parameters of SSM.
    pub(crate) fn parameters(&self) -> Parameters {
        Parameters::new(aws_sdk_ssm::Client::new(&self.config))
    }

    /// Returns a store of readers. If an endpoint is set, it is asked as it is: the SDK would put
    /// the account into its host name, which would not resolve.
    pub(crate) fn readers(&self, arn: &str) -> ReaderStore {
        let mut config = aws_sdk_cloudfrontkeyvaluestore::config::Builder::from(&self.config);
        if let Some(url) = self.config.endpoint_url() {
            config = config.endpoint_resolver(FixedEndpoint { url: url.to_owned() });
        }
        let client = aws_sdk_cloudfrontkeyvaluestore::Client::from_conf(config.build());
        ReaderStore::new(client, arn)
    }

    /// Returns the public half of a key in KMS, in DER form.
    ///
    /// # Errors
    ///
    /// [`KeyStoreError::Unusable`], [`KeyStoreError::Store`].
    pub(crate) async fn public_key_in_kms(&self, key: &str) -> Result<Vec<u8>, KeyStoreError> {
        keys::public_key(&aws_sdk_kms::Client::new(&self.config), key).await
    }
}

//! What tests and the demonstration do with a deployed stack.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{EventBridgeConfiguration, NotificationConfiguration};
use aws_sdk_ssm::types::ParameterType;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::Mutex;

use crate::emulator::{CREDENTIALS, Emulator, REGION};
use crate::execution::{LIMIT, pause};
use crate::requests::RequestLog;
use crate::{Apk, ApkClient, Error, KeyPair, http};

/// The names of outputs and parameters of `template.yaml`.
mod template {
    pub(super) const BUCKET: &str = "BucketName";
    pub(super) const STATE_MACHINE: &str = "StateMachineArn";
    pub(super) const REINDEX_STATE_MACHINE: &str = "ReindexStateMachineArn";
    /// A parameter that names an SSM parameter, and its default.
    pub(super) const PRIVATE_KEY: (&str, &str) = ("PrivateKeyParameter", "/apk/rsa");
    /// A parameter that names an SSM parameter, and its default.
    pub(super) const KEY_NAME: (&str, &str) = ("KeyNameParameter", "/apk/key");
}

/// Where the parts of a deployed stack are.
#[derive(Clone, Debug)]
pub(crate) struct Deployed {
    name: String,
    endpoint: String,
    bucket: String,
    state_machine: String,
    reindex_state_machine: String,
    outputs: BTreeMap<String, String>,
    private_key_parameter: String,
    key_name_parameter: String,
    requests: RequestLog,
    apk: Apk,
    /// The packages that known executions are about, by the execution's ARN.
    input_keys: Arc<Mutex<BTreeMap<String, Option<String>>>>,
}

impl Deployed {
    pub(crate) fn new(
        name: &str,
        emulator: &Emulator,
        outputs: BTreeMap<String, String>,
        parameters: &[(&str, &str)],
    ) -> Result<Self, Error> {
        Ok(Self {
            name: name.to_owned(),
            endpoint: emulator.endpoint().to_owned(),
            bucket: output(&outputs, template::BUCKET)?,
            state_machine: output(&outputs, template::STATE_MACHINE)?,
            // A template that ours is compared with has none.
            reindex_state_machine: output(&outputs, template::REINDEX_STATE_MACHINE)
                .unwrap_or_default(),
            outputs,
            private_key_parameter: parameter(parameters, template::PRIVATE_KEY),
            key_name_parameter: parameter(parameters, template::KEY_NAME),
            requests: RequestLog::new(emulator.request_notes()),
            apk: emulator.tools().apk(),
            input_keys: Arc::default(),
        })
    }
}

/// A deployed stack, as its users and its operator see it.
///
/// Its connections belong to the tokio runtime that first uses them.
#[derive(Debug)]
pub struct Stack {
    deployed: Deployed,
    s3: aws_sdk_s3::Client,
    sfn: aws_sdk_sfn::Client,
    ssm: aws_sdk_ssm::Client,
}

impl Stack {
    pub(crate) fn connect(deployed: Deployed) -> Self {
        let credentials = Credentials::new(CREDENTIALS, CREDENTIALS, None, None, "local stack");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http::client())
            .region(Region::new(REGION))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(&deployed.endpoint)
            .build();
        let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        Self {
            deployed,
            s3: aws_sdk_s3::Client::from_conf(s3),
            sfn: aws_sdk_sfn::Client::new(&config),
            ssm: aws_sdk_ssm::Client::new(&config),
        }
    }

    /// Returns the stack's name, which is in the names of its log groups.
    pub fn name(&self) -> &str {
        &self.deployed.name
    }

    /// Returns the address of all emulated services.
    pub fn endpoint(&self) -> &str {
        &self.deployed.endpoint
    }

    /// Returns the bucket's name.
    pub fn bucket(&self) -> &str {
        &self.deployed.bucket
    }

    /// Returns the state machine's ARN.
    pub fn state_machine(&self) -> &str {
        &self.deployed.state_machine
    }

    /// Returns the ARN of the state machine for reindexes.
    pub fn reindex_state_machine(&self) -> &str {
        &self.deployed.reindex_state_machine
    }

    /// Returns the template's outputs, by name, as they would be on AWS.
    pub fn outputs(&self) -> &BTreeMap<String, String> {
        &self.deployed.outputs
    }

    /// Returns the URL to which `/<branch>/<repository>` is appended in `/etc/apk/repositories`.
    ///
    /// The template's own output names a host of the real AWS; here it is the same bucket.
    pub fn repository_url(&self) -> String {
        format!("{}/{}", self.endpoint(), self.bucket())
    }

    /// Returns the URL that the public key with this key name is published at.
    pub fn public_key_url(&self, key_name: &str) -> String {
        format!("{}/{key_name}", self.repository_url())
    }

    /// Returns the record of all requests to the emulator.
    pub fn requests(&self) -> &RequestLog {
        &self.deployed.requests
    }

    /// Returns the real apk.
    pub fn apk(&self) -> &Apk {
        &self.deployed.apk
    }

    /// Stores both parameters of a key pair, as an operator does, and replaces existing ones.
    pub async fn put_key(&self, key_pair: &KeyPair) -> Result<(), Error> {
        let Deployed { private_key_parameter, key_name_parameter, .. } = &self.deployed;
        let secret = ParameterType::SecureString;
        self.put_parameter(private_key_parameter, key_pair.private(), secret).await?;
        self.put_parameter(key_name_parameter, key_pair.name(), ParameterType::String).await
    }

    /// Stores a second key pair: from now on, both sign.
    pub async fn put_second_key(&self, key_pair: &KeyPair) -> Result<(), Error> {
        let Deployed { private_key_parameter, key_name_parameter, .. } = &self.deployed;
        let (private_key, key_name) =
            (format!("{private_key_parameter}-2"), format!("{key_name_parameter}-2"));
        self.put_parameter(&private_key, key_pair.private(), ParameterType::SecureString).await?;
        self.put_parameter(&key_name, key_pair.name(), ParameterType::String).await
    }

    /// Stores only the key name, for a private key in KMS.
    pub async fn put_key_name(&self, name: &str) -> Result<(), Error> {
        self.put_parameter(&self.deployed.key_name_parameter, name, ParameterType::String).await
    }

    /// Drops the first key pair, the key name first, as an operator does after a rotation.
    pub async fn drop_key(&self) -> Result<(), Error> {
        let Deployed { private_key_parameter, key_name_parameter, .. } = &self.deployed;
        for name in [key_name_parameter, private_key_parameter] {
            let sent = self.ssm.delete_parameter().name(name).send().await;
            sent.map_err(Error::service("delete the parameter", name))?;
        }
        Ok(())
    }

    /// Returns the key name that the stack signs under.
    pub async fn key_name(&self) -> Result<String, Error> {
        let name = &self.deployed.key_name_parameter;
        let reply = self.ssm.get_parameter().name(name).send().await;
        let reply = reply.map_err(Error::service("get the parameter", name))?;
        let value = reply.parameter.and_then(|parameter| parameter.value);
        value.ok_or_else(|| Error::Reply {
            what: "a parameter without a value",
            reply: name.clone(),
        })
    }

    /// Creates a client of a repository such as `3.22/main` that trusts the published key.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] if no public key is published, as before the first publication.
    pub async fn client(&self, repository: &str, architecture: &str) -> Result<ApkClient, Error> {
        let url = format!("{}/{repository}", self.repository_url());
        self.client_of_line(&url, architecture).await
    }

    /// Creates a client of a line of `/etc/apk/repositories` that trusts the published key.
    ///
    /// # Errors
    ///
    /// Those of [`Self::client`].
    pub async fn client_of_line(&self, line: &str, architecture: &str) -> Result<ApkClient, Error> {
        let client = ApkClient::new(self.apk().clone(), line, architecture)?;
        let key_name = self.key_name().await?;
        let key_url = self.public_key_url(&key_name);
        let published = http::get(&key_url)?;
        if published.status != 200 {
            let reply = format!("{key_url} answers {}", published.status);
            return Err(Error::Reply { what: "the public key", reply });
        }
        client.trust(&key_name, &published.body)?;
        Ok(client)
    }

    /// Creates a client of a repository such as `3.22/main` that trusts only this PEM public key.
    pub fn client_with_key(
        &self,
        repository: &str,
        key_name: &str,
        public_key: &str,
    ) -> Result<ApkClient, Error> {
        let url = format!("{}/{repository}", self.repository_url());
        let client = ApkClient::new(self.apk().clone(), &url, "x86_64")?;
        client.trust(key_name, public_key.as_bytes())?;
        Ok(client)
    }

    /// Puts an object.
    pub async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<(), Error> {
        let put = self.s3.put_object().bucket(self.bucket()).key(key);
        let sent = put.body(ByteStream::from(bytes)).send().await;
        sent.map_err(Error::service("put the object", key))?;
        Ok(())
    }

    /// Puts many objects, `at_once` of them at the same time.
    pub async fn put_all(
        &self,
        objects: impl IntoIterator<Item = (String, Vec<u8>)>,
        at_once: usize,
    ) -> Result<(), Error> {
        let put = |(key, bytes): (String, Vec<u8>)| async move { self.put(&key, bytes).await };
        let puts = stream::iter(objects).map(put).buffer_unordered(at_once);
        puts.try_collect().await
    }

    /// Puts a package and its fragment, as Alpinist would write it.
    pub async fn put_indexed(
        &self,
        key: &str,
        bytes: Vec<u8>,
        fragment: (String, Vec<u8>),
    ) -> Result<(), Error> {
        let (fragment_key, text) = fragment;
        let put = self.s3.put_object().bucket(self.bucket()).key(key);
        let sent = put.body(ByteStream::from(bytes)).send().await;
        let package = sent.map_err(Error::service("put the object", key))?;
        let put = self.s3.put_object().bucket(self.bucket()).key(&fragment_key).if_none_match("*");
        let put = put.metadata("package-etag", package.e_tag.unwrap_or_default());
        let sent = put.body(ByteStream::from(text)).send().await;
        sent.map_err(Error::service("put the object", &fragment_key))?;
        Ok(())
    }

    /// Puts an object that Alpinist itself writes, with the precondition that the bucket policy
    /// demands.
    pub async fn plant(&self, key: &str, bytes: Vec<u8>) -> Result<(), Error> {
        let head = self.s3.head_object().bucket(self.bucket()).key(key).send().await;
        let put = self.s3.put_object().bucket(self.bucket()).key(key);
        let put = match head {
            Err(error) if error.code() == Some("NotFound") => put.if_none_match("*"),
            other => {
                let present = other.map_err(Error::service("look at the object", key))?;
                put.set_if_match(present.e_tag)
            }
        };
        let sent = put.body(ByteStream::from(bytes)).send().await;
        sent.map_err(Error::service("plant the object", key))?;
        Ok(())
    }

    /// Overwrites an object but keeps its attributes, which make it look like one of ours.
    ///
    /// # Errors
    ///
    /// [`Error::Service`] if there is no such object.
    pub async fn overwrite(&self, key: &str, bytes: Vec<u8>) -> Result<(), Error> {
        let present = self.head(key).await?;
        let put = self.s3.put_object().bucket(self.bucket()).key(key);
        let put = put.set_if_match(present.e_tag).set_metadata(present.metadata);
        let sent = put.body(ByteStream::from(bytes)).send().await;
        sent.map_err(Error::service("overwrite the object", key))?;
        Ok(())
    }

    /// Makes a bucket that existed before the stack send events from now on.
    pub async fn send_events(&self) -> Result<(), Error> {
        self.notify(Some(EventBridgeConfiguration::builder().build())).await
    }

    /// Makes the bucket send no events from now on, so that nothing interferes.
    pub async fn send_no_events(&self) -> Result<(), Error> {
        self.notify(None).await
    }

    async fn notify(&self, events: Option<EventBridgeConfiguration>) -> Result<(), Error> {
        let configuration = NotificationConfiguration::builder();
        let configuration = configuration.set_event_bridge_configuration(events).build();
        let put = self.s3.put_bucket_notification_configuration().bucket(self.bucket());
        let sent = put.notification_configuration(configuration).send().await;
        sent.map_err(Error::service("configure the events of", self.bucket()))?;
        Ok(())
    }

    /// Waits until an object exists whose content `is_right`, and returns it.
    pub async fn wait_for_object(
        &self,
        key: &str,
        is_right: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<u8>, Error> {
        let since = Instant::now();
        loop {
            if let Some(bytes) = self.get(key).await?.filter(|bytes| is_right(bytes)) {
                return Ok(bytes);
            }
            pause(since, LIMIT, || format!("the right content of `{key}`")).await?;
        }
    }

    /// Gets an object, or `None` if it does not exist.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let sent = self.s3.get_object().bucket(self.bucket()).key(key).send().await;
        let object = match sent {
            Err(error) if error.code() == Some("NoSuchKey") => return Ok(None),
            other => other.map_err(Error::service("get the object", key))?,
        };
        let bytes = object.body.collect().await.map_err(Error::service("read the object", key))?;
        Ok(Some(bytes.to_vec()))
    }

    /// Returns when an object was last modified, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// [`Error::Service`] if there is no such object.
    pub async fn last_modified(&self, key: &str) -> Result<i64, Error> {
        let head = self.head(key).await?;
        Ok(head.last_modified.map(|time| time.secs()).unwrap_or_default())
    }

    async fn head(&self, key: &str) -> Result<HeadObjectOutput, Error> {
        let sent = self.s3.head_object().bucket(self.bucket()).key(key).send().await;
        sent.map_err(Error::service("look at the object", key))
    }

    /// Deletes an object.
    pub async fn delete(&self, key: &str) -> Result<(), Error> {
        let sent = self.s3.delete_object().bucket(self.bucket()).key(key).send().await;
        sent.map_err(Error::service("delete the object", key))?;
        Ok(())
    }

    /// Deletes an object that Alpinist wrote, or a public key, with the precondition that the
    /// bucket policy demands.
    ///
    /// # Errors
    ///
    /// [`Error::Service`] if there is no such object.
    pub async fn discard(&self, key: &str) -> Result<(), Error> {
        let delete = self.s3.delete_object().bucket(self.bucket()).key(key).if_match("*");
        delete.send().await.map_err(Error::service("discard the object", key))?;
        Ok(())
    }

    /// Lists the keys that begin with `prefix`, in order.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let list = self.s3.list_objects_v2().bucket(self.bucket()).prefix(prefix);
        let mut pages = list.into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(Error::service("list the objects below", prefix))?;
            keys.extend(page.contents.into_iter().flatten().filter_map(|object| object.key));
        }
        Ok(keys)
    }

    /// Returns the client for executions.
    pub(crate) fn sfn(&self) -> &aws_sdk_sfn::Client {
        &self.sfn
    }

    /// Returns the known packages of executions.
    pub(crate) fn input_keys(&self) -> &Mutex<BTreeMap<String, Option<String>>> {
        &self.deployed.input_keys
    }

    /// Returns where the parts of the stack are.
    pub(crate) fn deployed(&self) -> &Deployed {
        &self.deployed
    }

    async fn put_parameter(
        &self,
        name: &str,
        value: &str,
        kind: ParameterType,
    ) -> Result<(), Error> {
        let put = self.ssm.put_parameter().name(name).value(value).r#type(kind).overwrite(true);
        put.send().await.map_err(Error::service("put the parameter", name))?;
        Ok(())
    }
}

fn output(outputs: &BTreeMap<String, String>, name: &'static str) -> Result<String, Error> {
    outputs.get(name).cloned().ok_or_else(|| {
        let present = outputs.keys().cloned().collect::<Vec<_>>().join(", ");
        Error::Output { name, present }
    })
}

/// Returns the given value of a template parameter, or its default.
fn parameter(given: &[(&str, &str)], (name, default): (&str, &str)) -> String {
    let value = given.iter().find(|(given, _)| *given == name).map_or(default, |(_, value)| value);
    value.to_owned()
}

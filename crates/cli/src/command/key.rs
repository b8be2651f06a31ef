use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
};

use alpinist_apk::{
    key::{SigningKey, VerifyingKey},
    key_name::KeyName,
    text::{chain, escaped},
};
use alpinist_aws::keys::SigningKeys;
use alpinist_executions::{Execution, Status};
use alpinist_repository::{failure::Failure, port::StoreError, step};
use clap::{Args, Subcommand};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{
    aws::parameters::{ParameterKind, Parameters},
    command::reindex,
    context::{Context, TargetOptions},
    error::Error,
    output::{self, BAD, ExitStatus, GOOD, Output, WriteText},
};

const EXAMPLES: &str = "\
Examples:
  alpinist key put --key ops.rsa --key-name ops@example.com-5f3c2a1b.rsa.pub --stack alpinist

  # Change the key: both sign, until every client has the new public key.
  alpinist key rotate --key new.rsa --key-name ops@example.com-6a0b9c8d.rsa.pub
  alpinist setup 3.22/main
  alpinist key drop ops@example.com-5f3c2a1b.rsa.pub";

/// Store the key that signs, change it, or drop it
///
/// There are places for two keys in SSM, and while both are filled, both sign. So a client needs
/// one of them. The public key is published at the top of the bucket, under the key name.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Key {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Store the first key, or its private key again
    ///
    /// If this key name is in use, and its private key is missing or unusable, it is put back.
    #[command(after_help = "\
Examples:
  alpinist key put --key ops.rsa --key-name ops@example.com-5f3c2a1b.rsa.pub --stack alpinist

  # The stack signs with a key in KMS, which needs only a name.
  alpinist key put --key-name ops@example.com-5f3c2a1b.rsa.pub --stack alpinist")]
    Put(Put),
    /// Store a second key, and sign all indexes again with both
    #[command(after_help = "\
Examples:
  alpinist key rotate --key new.rsa --key-name ops@example.com-6a0b9c8d.rsa.pub --stack alpinist")]
    Rotate(Put),
    /// Drop one of two keys
    ///
    /// What it has signed stays valid for whoever trusts it; `alpinist reindex --sign` takes its
    /// signatures off.
    #[command(after_help = "\
Examples:
  alpinist key drop ops@example.com-5f3c2a1b.rsa.pub --stack alpinist")]
    Drop(Drop),
}

#[derive(Args, Debug)]
struct Put {
    /// The private key, in PEM form: RSA, or EC to sign only format v3. Not for a key in KMS,
    /// which stays there
    #[arg(long, value_name = "PEM")]
    key: Option<PathBuf>,
    /// What the public key is called in /etc/apk/keys of the clients
    #[arg(long, value_name = "NAME")]
    key_name: KeyName,
    #[command(flatten)]
    target_options: TargetOptions,
}

#[derive(Args, Debug)]
struct Drop {
    /// The key name
    name: KeyName,
    #[command(flatten)]
    target_options: TargetOptions,
}

/// The keys that sign from now on.
#[derive(Debug, Serialize)]
struct KeyList {
    signing: Vec<String>,
    /// The status of the reindex that signed everything again, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    reindex: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
}

/// A slot for a key: two parameters, or one if the private key is in KMS.
struct KeySlot {
    private_key: Option<String>,
    key_name: String,
}

impl Key {
    pub(crate) async fn run(self, output: Output) -> Result<ExitStatus, Error> {
        match self.action {
            Action::Put(put) => put.put(output).await,
            Action::Rotate(put) => put.rotate(output).await,
            Action::Drop(drop) => drop.run(output).await,
        }
    }
}

/// Opens a stack to change its keys. The stack must be named: with default parameters, a key could
/// go to a slot that the stack does not use.
async fn open(target_options: TargetOptions) -> Result<Context, Error> {
    let context = target_options.open().await?;
    context.expect_stack()?;
    for parameter in ["PrivateKeyParameter", "KeyNameParameter"] {
        match context.sharing(parameter).await {
            Ok(Some(stack)) => return Err(Error::SharedKey { stack, parameter }),
            Ok(None) => {}
            Err(StoreError::Denied { .. }) => output::status(
                "warning: these credentials may not list stacks, so another stack may share this one's keys",
            ),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(context)
}

/// Returns the two slots of a stack.
fn slots(context: &Context) -> [KeySlot; 2] {
    let private_key = context.setting("PrivateKeyParameter", "/apk/rsa");
    let key_name = context.setting("KeyNameParameter", "/apk/key");
    let is_in_kms = context.setting("SigningKey", "ssm") != "ssm";
    let SigningKeys { first, second, .. } =
        SigningKeys::new(private_key.to_owned(), key_name.to_owned(), None);
    [(first, is_in_kms), (second, false)].map(|(parameters, is_in_kms)| KeySlot {
        private_key: (!is_in_kms).then_some(parameters.private_key),
        key_name: parameters.key_name,
    })
}

/// Returns the names of the keys that sign, each with its slot.
async fn in_use(
    context: &Context,
    parameters: &Parameters,
) -> Result<Vec<(String, KeySlot)>, Error> {
    let mut found = Vec::new();
    for slot in slots(context) {
        if let Some(name) = parameters.get(&slot.key_name).await? {
            found.push((name.trim().to_owned(), slot));
        }
    }
    Ok(found)
}

/// Returns the names of the keys that sign.
pub(super) async fn names_in_use(context: &Context) -> Result<Vec<String>, Error> {
    let found = in_use(context, &context.parameters()).await?;
    Ok(found.into_iter().map(|(name, _)| name).collect())
}

impl Put {
    async fn put(self, output: Output) -> Result<ExitStatus, Error> {
        let (pem, key) = self.read()?.unzip();
        let context = open(self.target_options.clone()).await?;
        let parameters = context.parameters();
        let used = in_use(&context, &parameters).await?;
        let same = used.iter().find(|(name, _)| *name == self.key_name.as_str());
        if let (Some((_, slot)), Some(pem)) = (same, &pem) {
            if slot.can_sign(&parameters).await? {
                return Err(Error::KeyPlaceTaken { parameter: slot.key_name.clone() });
            }
            self.publish(&context, slot, key.as_ref()).await?;
            slot.store(&parameters, pem).await?;
            return report(&context, None, output).await;
        }
        let [first, _] = slots(&context);
        // If the first slot is for a key in KMS, the second slot may be filled first.
        let taken = used
            .iter()
            .find(|(_, slot)| first.private_key.is_some() || slot.key_name == first.key_name);
        if let Some((_, taken)) = taken {
            return Err(Error::KeyPlaceTaken { parameter: taken.key_name.clone() });
        }
        first.expect_key(pem.as_ref())?;
        self.publish(&context, &first, key.as_ref()).await?;
        first.fill(&parameters, pem.as_ref(), &self.key_name).await?;
        report(&context, None, output).await
    }

    async fn rotate(self, output: Output) -> Result<ExitStatus, Error> {
        let (pem, key) = self.read()?.unzip();
        let context = open(self.target_options.clone()).await?;
        let parameters = context.parameters();
        let used = in_use(&context, &parameters).await?;
        if used.len() == 2 {
            return Err(Error::TwoKeys);
        }
        for (name, slot) in &used {
            if *name == self.key_name.as_str() {
                return Err(Error::KeyNameInUse { name: name.clone() });
            }
            if !slot.can_sign(&parameters).await? {
                return Err(Error::KeyCannotSign { name: name.clone() });
            }
        }
        let is_used = |slot: &KeySlot| used.iter().any(|(_, used)| used.key_name == slot.key_name);
        // A slot without a private key is only for the key in KMS.
        let mut free = slots(&context).into_iter().filter(|slot| !is_used(slot));
        let free = free.find(|slot| slot.private_key.is_some());
        let free = free.ok_or(Error::TwoKeys)?;
        free.expect_key(pem.as_ref())?;
        self.publish(&context, &free, key.as_ref()).await?;
        free.fill(&parameters, pem.as_ref(), &self.key_name).await?;
        let executions = context.executions();
        let signed = reindex::start(&context, &executions, r#"{"sign": true}"#).await?;
        report(&context, Some(signed), output).await
    }

    /// Publishes the public key, so that clients can trust it before it has signed anything. If it
    /// can't be published now, the first publication of an index does it.
    async fn publish(
        &self,
        context: &Context,
        slot: &KeySlot,
        key: Option<&SigningKey>,
    ) -> Result<(), Error> {
        let public = match key {
            Some(key) => Ok(key.verifying_key()),
            None => slot.public_key(context).await,
        };
        let published = match public {
            Ok(public) => step::publish_key(&context.bucket()?, &self.key_name, &public).await,
            Err(error) => Err(error),
        };
        match published {
            Err(
                error @ (Failure::Store(StoreError::Denied { .. })
                | Failure::Key(_)
                | Failure::RemoteKey { .. }),
            ) => {
                output::status(format_args!(
                    "warning: the public key is not published yet: {}. The first publication of an index \
                     does it",
                    escaped(&chain(&error))
                ));
                Ok(())
            }
            published => Ok(published?),
        }
    }

    /// Reads and checks the private key, if one was given.
    fn read(&self) -> Result<Option<(Zeroizing<String>, SigningKey)>, Error> {
        let Some(path) = &self.key else { return Ok(None) };
        let pem =
            fs::read_to_string(path).map(Zeroizing::new).map_err(Error::file("read", path))?;
        let unusable = |source| Error::PrivateKey { path: path.clone(), source };
        let key = SigningKey::from_pem(&pem).map_err(unusable)?;
        // Nothing else in the file may be stored.
        Ok(Some((key.to_pem().map_err(unusable)?, key)))
    }
}

impl KeySlot {
    /// Returns whether its private key is usable, which a key in KMS always counts as.
    async fn can_sign(&self, parameters: &Parameters) -> Result<bool, Error> {
        let Some(private_key) = &self.private_key else { return Ok(true) };
        let pem = parameters.get(private_key).await?;
        Ok(pem.is_some_and(|pem| SigningKey::from_pem(&pem).is_ok()))
    }

    /// Returns the public half of the key in KMS.
    async fn public_key(&self, context: &Context) -> Result<VerifyingKey, Failure> {
        let key = context.setting("SigningKey", "ssm");
        let key = key.strip_prefix("kms:").unwrap_or(key).to_owned();
        let der = context.public_key_in_kms(&key).await.map_err(Failure::Key)?;
        VerifyingKey::from_der(&der).map_err(|source| Failure::RemoteKey { key, source })
    }

    /// Checks that a key can be stored here: with a private key, or without one if it is in KMS.
    fn expect_key(&self, pem: Option<&Zeroizing<String>>) -> Result<(), Error> {
        match (pem, &self.private_key) {
            (Some(_), None) => Err(Error::KeyIsInKms),
            (None, Some(_)) => Err(Error::NoPrivateKey),
            _ => Ok(()),
        }
    }

    /// Stores a private key in the slot, in place of an unusable one or of none.
    async fn store(&self, parameters: &Parameters, pem: &str) -> Result<(), Error> {
        let private_key = self.private_key.as_ref().ok_or(Error::KeyIsInKms)?;
        parameters.delete(private_key).await?;
        Ok(parameters.create(private_key, pem, ParameterKind::Secret).await?)
    }

    /// Stores a key in a slot that has no name. The name comes last: once it is stored, the key
    /// signs.
    async fn fill(
        &self,
        parameters: &Parameters,
        pem: Option<&Zeroizing<String>>,
        name: &KeyName,
    ) -> Result<(), Error> {
        if let Some(pem) = pem {
            self.store(parameters, pem).await?;
        }
        Ok(parameters.create(&self.key_name, name.as_str(), ParameterKind::Text).await?)
    }

    /// Empties the slot. The name goes first: without it, the key does not sign.
    async fn empty(&self, parameters: &Parameters) -> Result<(), Error> {
        parameters.delete(&self.key_name).await?;
        if let Some(private_key) = &self.private_key {
            parameters.delete(private_key).await?;
        }
        Ok(())
    }
}

impl Drop {
    async fn run(self, output: Output) -> Result<ExitStatus, Error> {
        let context = open(self.target_options).await?;
        let parameters = context.parameters();
        let used = in_use(&context, &parameters).await?;
        let name = self.name.to_string();
        let Some((_, slot)) = used.iter().find(|(used, _)| *used == name) else {
            return Err(Error::NoKey { name });
        };
        if used.len() == 1 {
            return Err(Error::OnlyKey { name });
        }
        if used.iter().all(|(used, _)| *used == name) {
            return Err(Error::KeyNameTwice { name });
        }
        slot.empty(&parameters).await?;
        report(&context, None, output).await
    }
}

async fn report(
    context: &Context,
    signed: Option<Execution>,
    output: Output,
) -> Result<ExitStatus, Error> {
    let signing = names_in_use(context).await?;
    let is_well = signed.as_ref().is_none_or(|signed| signed.status == Status::Succeeded);
    let reindex = signed.as_ref().map(|signed| signed.status.name());
    let cause = signed.and_then(|signed| signed.cause);
    output.print(&KeyList { signing, reindex, cause })?;
    Ok(if is_well { ExitStatus::Yes } else { ExitStatus::No })
}

impl WriteText for KeyList {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        for name in &self.signing {
            writeln!(out, "{GOOD}signing{GOOD:#} {name}")?;
        }
        match (&self.reindex, &self.cause) {
            (Some(status), Some(cause)) => {
                writeln!(out, "{BAD}{status}{BAD:#} the reindex that signs again: {cause}")
            }
            (Some(_), None) => writeln!(out, "All indexes are signed again."),
            (None, _) => Ok(()),
        }
    }
}

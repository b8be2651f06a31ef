//! The whole local stack: an emulated AWS on which the real template is deployed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::stack::Deployed;
use crate::workspace::copy;
use crate::{
    Emulator, EmulatorOptions, Error, KeyPair, Stack, Tools, command, functions, progress,
};

/// The bucket for the functions' code and the template, which `aws cloudformation` uploads.
const ARTIFACTS: &str = "artifacts";

/// The name of a template in the directory from which it is deployed.
const TEMPLATE: &str = "template.yaml";

/// The stack that [`LocalStack::shared`] and the programs deploy.
const STACK_NAME: &str = "alpinist";

/// A running emulator with the packaged template; everything ends when this is dropped.
#[derive(Debug)]
pub struct LocalStack {
    emulator: Emulator,
    /// The template that refers to the uploaded code.
    packaged: PathBuf,
}

impl LocalStack {
    /// Installs what is missing, builds the functions, starts an emulator, and packages the
    /// template. Nothing is deployed yet.
    pub fn start(options: EmulatorOptions) -> Result<Self, Error> {
        let tools = Tools::install()?;
        let functions = progress::step("building the functions", functions::build)?;
        let emulator =
            progress::step("starting the emulator", || Emulator::start(&tools, options))?;
        progress::say(&format!("    its log is {}", emulator.log().display()));
        progress::step("packaging the template", || {
            let directory = emulator.scratch().join("deployment");
            functions::lay_out(&functions, &directory)?;
            command::output(emulator.aws().args(["s3", "mb", &format!("s3://{ARTIFACTS}")]))?;
            let packaged = package(&emulator, &directory)?;
            Ok(Self { emulator, packaged })
        })
    }

    /// Returns a stack that all tests of a process share, with a key pair in its parameters.
    ///
    /// The first caller starts it, and it ends with the process. Each test that uses it must have
    /// its own repositories.
    pub async fn shared() -> Result<Stack, Error> {
        static SHARED: OnceCell<Result<(LocalStack, Deployed), String>> = OnceCell::const_new();
        let start = async || start_shared().await.map_err(|error| error.chain());
        match SHARED.get_or_init(start).await {
            // Connections belong to the runtime of one test, so each caller gets its own.
            Ok((_, deployed)) => Ok(Stack::connect(deployed.clone())),
            Err(reason) => Err(Error::Shared { reason: reason.clone() }),
        }
    }

    /// Deploys the template under the name that the README uses, with its default parameters.
    pub fn deploy(&self) -> Result<Stack, Error> {
        self.deploy_as(STACK_NAME, &[])
    }

    /// Deploys the template as the stack `name`, with a bucket of the same name.
    ///
    /// `parameters` are names and values of the template's parameters.
    pub fn deploy_as(&self, name: &str, parameters: &[(&str, &str)]) -> Result<Stack, Error> {
        self.deploy_packaged(&self.packaged, name, parameters)
    }

    /// Deploys the template as [`LocalStack::deploy_as`] does, but with an existing bucket of this
    /// name, which anyone may read and which sends no events yet.
    pub fn deploy_beside_bucket(
        &self,
        name: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Stack, Error> {
        let anyone_reads = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
            "Resource": format!("arn:aws:s3:::{name}/*")}]});
        let policy = anyone_reads.to_string();
        command::output(self.emulator.aws().args(["s3", "mb", &format!("s3://{name}")]))?;
        for arguments in
            [&["delete-public-access-block"][..], &["put-bucket-policy", "--policy", &policy][..]]
        {
            let mut aws = self.emulator.aws();
            command::output(aws.arg("s3api").args(arguments).args(["--bucket", name]))?;
        }
        self.deploy_as(name, &[&[("BucketIs", "existing")], parameters].concat())
    }

    /// Deploys another template to compare ours with, as the stack `name` with a bucket of the same
    /// name. Its only function is `program` of this workspace, at `target/lambda/<program>/`.
    pub fn deploy_other(&self, name: &str, template: &Path, program: &str) -> Result<Stack, Error> {
        let functions = functions::build_programs(vec![program.to_owned()])?;
        let directory = self.emulator.scratch().join(name);
        copy(template, &directory.join(TEMPLATE))?;
        functions::lay_out_programs(&functions, &directory)?;
        let packaged = package(&self.emulator, &directory)?;
        self.deploy_packaged(&packaged, name, &[])
    }

    /// Returns the emulator that the stacks run on.
    pub fn emulator(&self) -> &Emulator {
        &self.emulator
    }

    fn deploy_packaged(
        &self,
        packaged: &Path,
        name: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Stack, Error> {
        let deployed = progress::step(&format!("deploying the stack `{name}`"), || {
            self.cloudformation_deploy(packaged, name, parameters)?;
            let outputs = self.outputs(name)?;
            Deployed::new(name, &self.emulator, outputs, parameters)
        })?;
        Ok(Stack::connect(deployed))
    }

    fn cloudformation_deploy(
        &self,
        packaged: &Path,
        name: &str,
        parameters: &[(&str, &str)],
    ) -> Result<(), Error> {
        let mut deploy = self.emulator.aws();
        deploy
            .args(["cloudformation", "deploy", "--stack-name", name, "--template-file"])
            .arg(packaged)
            .args(["--s3-bucket", ARTIFACTS])
            .args(["--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"])
            .args(["--parameter-overrides", &format!("BucketName={name}")])
            .args(parameters.iter().map(|(parameter, value)| format!("{parameter}={value}")));
        command::output(&mut deploy)?;
        Ok(())
    }

    fn outputs(&self, name: &str) -> Result<BTreeMap<String, String>, Error> {
        let mut describe = self.emulator.aws();
        describe.args(["cloudformation", "describe-stacks", "--stack-name", name]);
        let reply = command::output(describe.args(["--query", "Stacks[0].Outputs"]))?;
        outputs_of(&reply).ok_or_else(|| Error::Reply {
            what: "the outputs of the stack",
            reply: String::from_utf8_lossy(&reply).into_owned(),
        })
    }
}

async fn start_shared() -> Result<(LocalStack, Deployed), Error> {
    let local_stack = LocalStack::start(EmulatorOptions::default())?;
    let stack = local_stack.deploy()?;
    stack.put_key(&KeyPair::generate("tests@example.com", KeyPair::BITS_FOR_TESTS)?).await?;
    Ok((local_stack, stack.deployed().clone()))
}

/// Uploads the code that the template in `directory` refers to, and returns a template that refers
/// to the uploaded code.
fn package(emulator: &Emulator, directory: &Path) -> Result<PathBuf, Error> {
    let packaged = directory.join("packaged.yaml");
    let mut package = emulator.aws();
    package
        .current_dir(directory)
        .args(["cloudformation", "package", "--template-file", TEMPLATE])
        .args(["--s3-bucket", ARTIFACTS, "--output-template-file"])
        .arg(&packaged);
    command::output(&mut package)?;
    Ok(packaged)
}

fn outputs_of(reply: &[u8]) -> Option<BTreeMap<String, String>> {
    let outputs: Vec<Value> = serde_json::from_slice(reply).ok()?;
    let pair = |output: &Value| {
        let text = |name| output.get(name)?.as_str().map(str::to_owned);
        Some((text("OutputKey")?, text("OutputValue")?))
    };
    outputs.iter().map(pair).collect()
}

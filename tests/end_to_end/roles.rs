//! Who may do what: each role, each action and each kind of object, with real calls.

use std::collections::BTreeSet;

use alpinist_tests::{
    Emulator, EmulatorOptions, KeyPair, LocalStack, Stack, command,
    emulator::CREDENTIALS,
    http,
    rights::{self, ALLOWED, FUNCTIONS, OBJECTS},
    workspace,
};
use aws_sdk_s3::{
    config::{
        BehaviorVersion, ConfigBag, Credentials, Intercept, Region, RuntimeComponents,
        interceptors::BeforeTransmitInterceptorContextMut,
    },
    error::{BoxError, ProvideErrorMetadata},
    types::ServerSideEncryption as Encryption,
};
use serde_json::{Value, json};

const PARAMETERS: [&str; 5] =
    ["/roles/rsa", "/roles/key", "/roles/rsa-2", "/roles/key-2", "/roles/other"];

/// All actions that are tried, and those for a function's log, traces, queue and list of reindexes.
const ACTIONS: [&str; 17] = [
    "s3:GetObject",
    "s3:PutObject",
    "s3:PutObjectTagging",
    "s3:DeleteObject",
    "s3:ListBucket",
    "ssm:GetParameters",
    "states:StartExecution",
    "states:ListExecutions",
    "sqs:ReceiveMessage",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "kms:Sign",
    "kms:GetPublicKey",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
];

fn aws(emulator: &Emulator, arguments: &[&str]) -> Value {
    let output = command::output(emulator.aws().args(arguments));
    let output = output.unwrap_or_else(|error| panic!("{}", error.chain()));
    if output.is_empty() { Value::Null } else { serde_json::from_slice(&output).unwrap() }
}

fn resource(emulator: &Emulator, stack: &str, name: &str) -> String {
    let describe = ["cloudformation", "describe-stack-resource", "--stack-name", stack];
    let reply = aws(emulator, &[&describe[..], &["--logical-resource-id", name]].concat());
    reply["StackResourceDetail"]["PhysicalResourceId"].as_str().unwrap().to_owned()
}

/// The name of the role of a function.
fn role_of(emulator: &Emulator, stack: &str, function: &str) -> String {
    resource(emulator, stack, &rights::role_of(function))
}

/// The actions in the policies of a function's role.
fn actions_of_role(emulator: &Emulator, stack: &str, function: &str) -> BTreeSet<String> {
    let role = role_of(emulator, stack, function);
    let policies = aws(emulator, &["iam", "list-role-policies", "--role-name", &role]);
    let mut actions = BTreeSet::new();
    for name in policies["PolicyNames"].as_array().unwrap() {
        let which = ["--role-name", &role, "--policy-name", name.as_str().unwrap()];
        let policy = aws(emulator, &[&["iam", "get-role-policy"], &which[..]].concat());
        for statement in policy["PolicyDocument"]["Statement"].as_array().unwrap() {
            let action = &statement["Action"];
            let several = action.as_array().cloned().unwrap_or_else(|| vec![action.clone()]);
            actions.extend(several.iter().map(|action| action.as_str().unwrap().to_owned()));
        }
    }
    assert!(!actions.is_empty(), "{function}");
    actions
}

/// A caller with credentials.
struct Somebody {
    s3: aws_sdk_s3::Client,
    ssm: aws_sdk_ssm::Client,
    kms: aws_sdk_kms::Client,
    sfn: aws_sdk_sfn::Client,
}

impl Somebody {
    fn new(emulator: &Emulator, credentials: &Value) -> Self {
        let text = |name: &str| credentials[name].as_str().map(str::to_owned);
        let credentials = Credentials::new(
            text("AccessKeyId").unwrap(),
            text("SecretAccessKey").unwrap(),
            text("SessionToken"),
            None,
            "a test",
        );
        let config = aws_config::SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http::client())
            .region(Region::new("eu-central-1"))
            .credentials_provider(aws_sdk_s3::config::SharedCredentialsProvider::new(credentials))
            .endpoint_url(emulator.endpoint())
            .build();
        let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        Self {
            s3: aws_sdk_s3::Client::from_conf(s3),
            ssm: aws_sdk_ssm::Client::new(&config),
            kms: aws_sdk_kms::Client::new(&config),
            sfn: aws_sdk_sfn::Client::new(&config),
        }
    }

    /// An anonymous caller: requests without credentials, only to S3.
    fn anonymous(emulator: &Emulator) -> Self {
        let none = json!({"AccessKeyId": "", "SecretAccessKey": ""});
        let s3 = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http::client())
            .region(Region::new("eu-central-1"))
            .endpoint_url(emulator.endpoint())
            .force_path_style(true)
            .allow_no_auth()
            .build();
        Self { s3: aws_sdk_s3::Client::from_conf(s3), ..Self::new(emulator, &none) }
    }

    fn with_role_of(emulator: &Emulator, stack: &str, function: &str) -> Self {
        let role = role_of(emulator, stack, function);
        let arn = format!("arn:aws:iam::000000000000:role/{role}");
        let assume = ["sts", "assume-role", "--role-session-name", "test", "--role-arn", &arn];
        Self::new(emulator, &aws(emulator, &assume)["Credentials"])
    }

    /// The same caller, whose requests to S3 look to the emulator as if they came over plain HTTP.
    fn without_tls(self) -> Self {
        let s3 = self.s3.config().to_builder().interceptor(WithoutTls).build();
        Self { s3: aws_sdk_s3::Client::from_conf(s3), ..self }
    }

    /// Tries an action on an object, with a precondition where possible, and returns whether it was
    /// allowed.
    async fn object(&self, action: &str, bucket: &str, key: &str) -> bool {
        match action {
            "s3:PutObject" => {
                let put = self.s3.put_object().bucket(bucket).key(key).if_none_match("*");
                is_allowed(put.send().await)
            }
            "s3:DeleteObject" => {
                let delete = self.s3.delete_object().bucket(bucket).key(key).if_match("*");
                is_allowed(delete.send().await)
            }
            other => self.object_unawares(other, bucket, key).await,
        }
    }

    /// Tries an action on an object without a precondition, and returns whether it was allowed.
    async fn object_unawares(&self, action: &str, bucket: &str, key: &str) -> bool {
        match action {
            "s3:GetObject" => is_allowed(self.s3.get_object().bucket(bucket).key(key).send().await),
            "s3:PutObject" => is_allowed(self.s3.put_object().bucket(bucket).key(key).send().await),
            "s3:DeleteObject" => {
                is_allowed(self.s3.delete_object().bucket(bucket).key(key).send().await)
            }
            other => panic!("{other} is no action on objects"),
        }
    }

    /// Tries an action that leaves a bucket as it is, and returns whether it was allowed.
    async fn bucket(&self, action: &str, bucket: &str) -> bool {
        match action {
            "s3:ListBucket" => is_allowed(self.s3.list_objects_v2().bucket(bucket).send().await),
            "s3:GetBucketPolicy" => {
                is_allowed(self.s3.get_bucket_policy().bucket(bucket).send().await)
            }
            "s3:PutBucketPolicy" => {
                let put = self.s3.put_bucket_policy().bucket(bucket).policy("{}");
                is_allowed(put.send().await)
            }
            other => panic!("{other} is no action on buckets"),
        }
    }

    async fn parameter(&self, name: &str) -> bool {
        is_allowed(self.ssm.get_parameters().names(name).with_decryption(true).send().await)
    }

    async fn kms(&self, key: &str) -> [bool; 2] {
        use aws_sdk_kms::{primitives::Blob, types};
        let sign = self.kms.sign().key_id(key).message(Blob::new([7; 32]));
        let sign = sign
            .message_type(types::MessageType::Digest)
            .signing_algorithm(types::SigningAlgorithmSpec::RsassaPkcs1V15Sha256);
        let public_key = self.kms.get_public_key().key_id(key);
        [is_allowed(sign.send().await), is_allowed(public_key.send().await)]
    }

    async fn start(&self, stack: &Stack) -> bool {
        is_allowed(self.sfn.start_execution().state_machine_arn(stack.state_machine()).send().await)
    }
}

#[derive(Debug)]
struct WithoutTls;

impl Intercept for WithoutTls {
    fn name(&self) -> &'static str {
        "WithoutTls"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        context.request_mut().headers_mut().insert("x-forwarded-proto", "http");
        Ok(())
    }
}

/// Returns whether a service allowed a request, whatever the outcome.
fn is_allowed<T, E: ProvideErrorMetadata + std::fmt::Debug>(answer: Result<T, E>) -> bool {
    match answer {
        Ok(_) => true,
        Err(error) => match error.code() {
            Some("AccessDenied" | "AccessDeniedException") => false,
            Some("NoSuchKey" | "NoSuchBucketPolicy" | "PreconditionFailed") => true,
            _ => panic!("neither allowed nor denied: {error:?}"),
        },
    }
}

async fn deploy(local_stack: &LocalStack, name: &str, parameters: &[(&str, &str)]) -> Stack {
    let names = [("PrivateKeyParameter", "/roles/rsa"), ("KeyNameParameter", "/roles/key")];
    let parameters = [&names[..], parameters].concat();
    let stack = local_stack.deploy_as(name, &parameters).unwrap();
    let key_pair = KeyPair::generate("roles@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    stack.put_key(&key_pair).await.unwrap();
    stack
}

/// Each function × action × resource that is allowed, as a line of text.
fn expected() -> BTreeSet<String> {
    let lines = ALLOWED.iter().flat_map(|(function, action, resources)| {
        resources.iter().map(move |resource| format!("{function} {action} {resource}"))
    });
    lines.collect()
}

#[tokio::test]
async fn each_function_may_do_what_it_needs_and_nothing_else() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let emulator = local_stack.emulator();
    // Not public: reading what everybody may read would prove nothing.
    let stack = deploy(&local_stack, "roles", &[("Reading", "private")]).await;
    aws(
        emulator,
        &[
            "s3api",
            "create-bucket",
            "--bucket",
            "foreign",
            "--create-bucket-configuration",
            "LocationConstraint=eu-central-1",
        ],
    );
    let mut allowed = BTreeSet::new();
    for function in FUNCTIONS {
        let actions = actions_of_role(emulator, "roles", function);
        let unknown: Vec<_> =
            actions.iter().filter(|action| !ACTIONS.contains(&action.as_str())).collect();
        assert!(unknown.is_empty(), "{function} may do what is not tried here: {unknown:?}");
        let somebody = Somebody::with_role_of(emulator, "roles", function);
        let mut note = |is_allowed: bool, action: &str, resource: &str| {
            if is_allowed {
                allowed.insert(format!("{function} {action} {resource}"));
            }
        };
        for action in ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"] {
            for (kind, key) in OBJECTS {
                note(somebody.object(action, stack.bucket(), key).await, action, kind);
                note(somebody.object(action, "foreign", key).await, action, "foreign");
            }
        }
        for action in ["s3:ListBucket", "s3:GetBucketPolicy", "s3:PutBucketPolicy"] {
            note(somebody.bucket(action, stack.bucket()).await, action, "bucket");
            note(somebody.bucket(action, "foreign").await, action, "foreign");
        }
        for parameter in PARAMETERS {
            note(somebody.parameter(parameter).await, "ssm:GetParameters", parameter);
        }
        note(somebody.start(&stack).await, "states:StartExecution", "state machine");
    }
    assert_eq!(allowed, expected());
}

#[tokio::test]
async fn a_key_in_kms_can_be_used_by_one_function_and_no_other_key_can() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let emulator = local_stack.emulator();
    let [own, other] = [(); 2].map(|()| {
        let create = ["kms", "create-key", "--key-usage", "SIGN_VERIFY", "--key-spec", "RSA_2048"];
        aws(emulator, &create)["KeyMetadata"]["Arn"].as_str().unwrap().to_owned()
    });
    let signing_key = format!("kms:{own}");
    deploy(&local_stack, "kms-roles", &[("SigningKey", &signing_key)]).await;
    for function in FUNCTIONS {
        let somebody = Somebody::with_role_of(emulator, "kms-roles", function);
        let may_sign = function == "SignAndPublish";
        assert_eq!(somebody.kms(&own).await, [may_sign, may_sign], "{function}");
        assert_eq!(somebody.kms(&other).await, [false, false], "{function}");
        assert!(!somebody.parameter("/roles/rsa").await, "{function}");
    }
}

#[tokio::test]
async fn nobody_overwrites_or_deletes_unawares_what_alpinist_wrote() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let stack = deploy(&local_stack, "unawares", &[]).await;
    let bucket = stack.bucket();
    stack.send_no_events().await.unwrap();
    let root = json!({"AccessKeyId": CREDENTIALS, "SecretAccessKey": CREDENTIALS});
    let root = Somebody::new(local_stack.emulator(), &root);
    stack.put("source", Vec::new()).await.unwrap();
    for (kind, key) in OBJECTS {
        let may_put = !["fragment", "index", "snapshot", "lease"].contains(&kind);
        let may_delete = may_put && !["public key", "trusted key"].contains(&kind);
        for (action, may) in [("s3:PutObject", may_put), ("s3:DeleteObject", may_delete)] {
            stack.plant(key, Vec::new()).await.unwrap();
            assert_eq!(root.object_unawares(action, bucket, key).await, may, "{action} {kind}");
            assert!(root.object(action, bucket, key).await, "{action} {kind}, if it is there");
        }
        let upload = root.s3.create_multipart_upload().bucket(bucket).key(key).send().await;
        assert_eq!(is_allowed(upload), may_put, "upload {kind} in parts");
        let copy = root.s3.copy_object().bucket(bucket).key(key);
        let copy = copy.copy_source(format!("{bucket}/source")).send().await;
        assert_eq!(is_allowed(copy), may_put, "copy to {kind}");
    }
}

/// The policy that `SECURITY.md` gives to uploaders.
fn uploaders_policy(bucket: &str) -> String {
    let text = std::fs::read_to_string(workspace::root().join("SECURITY.md")).unwrap();
    let policy = text.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    policy.replace("example-packages", bucket)
}

#[tokio::test]
async fn an_uploader_writes_packages_of_one_repository_and_the_public_reads() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let emulator = local_stack.emulator();
    let stack = deploy(&local_stack, "uploads", &[]).await;
    let policy = uploaders_policy(stack.bucket());
    let name = ["--user-name", "uploader"];
    aws(emulator, &[&["iam", "create-user"], &name[..]].concat());
    let put = ["iam", "put-user-policy", "--policy-name", "upload", "--policy-document", &policy];
    aws(emulator, &[&put[..], &name].concat());
    let key = aws(emulator, &[&["iam", "create-access-key"], &name[..]].concat());
    let uploader = Somebody::new(emulator, &key["AccessKey"]);
    let public = Somebody::anonymous(emulator);

    for (kind, key) in OBJECTS {
        let is_package = ["package", "copy"].contains(&kind);
        for action in ["s3:PutObject", "s3:DeleteObject"] {
            let may = uploader.object(action, stack.bucket(), key).await;
            assert_eq!(may, is_package, "uploader {action} {kind}");
            assert!(!public.object(action, stack.bucket(), key).await, "public {action} {kind}");
        }
        let is_internal = key.starts_with(".alpinist/");
        stack.plant(key, Vec::new()).await.unwrap();
        let may_read = public.object("s3:GetObject", stack.bucket(), key).await;
        assert_eq!(may_read, !is_internal, "public s3:GetObject {kind}");
    }
    for key in ["3.21/main/x86_64/a-1-r0.apk", "a-1-r0.apk", ".alpinist/published/a-1-r0.apk"] {
        assert!(!uploader.object("s3:PutObject", stack.bucket(), key).await, "{key}");
    }
    for somebody in [&uploader, &public] {
        for action in ["s3:ListBucket", "s3:GetBucketPolicy", "s3:PutBucketPolicy"] {
            assert!(!somebody.bucket(action, stack.bucket()).await, "{action}");
        }
    }
    assert!(!uploader.start(&stack).await);
    assert!(!uploader.parameter("/roles/rsa").await);

    let (_, package) = OBJECTS[0];
    for (encryption, may) in [(Encryption::Aes256, true), (Encryption::AwsKms, false)] {
        let put = uploader.s3.put_object().bucket(stack.bucket()).key(package);
        let put = put.server_side_encryption(encryption.clone()).send().await;
        assert_eq!(is_allowed(put), may, "{encryption}");
    }
    assert!(uploader.object("s3:PutObject", stack.bucket(), package).await);
    let careless = uploader.without_tls();
    for action in ["s3:PutObject", "s3:DeleteObject"] {
        assert!(!careless.object(action, stack.bucket(), package).await, "{action} without TLS");
    }
    assert!(public.without_tls().object("s3:GetObject", stack.bucket(), package).await);
}

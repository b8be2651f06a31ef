//! What the policies of the template allow in each partition of AWS, by an evaluator other than the
//! emulator's.

use std::collections::BTreeSet;

use alpinist_tests::{
    Tools, command,
    rights::{ALLOWED, FUNCTIONS, OBJECTS, role_of},
    workspace,
};
use serde_json::{Value, json};

pub(crate) const PARTITIONS: [(&str, &str); 3] =
    [("aws", "eu-central-1"), ("aws-cn", "cn-north-1"), ("aws-us-gov", "us-gov-west-1")];

pub(crate) const ACCOUNT: &str = "123456789012";

/// The principal of origin access controls.
const CLOUDFRONT: &str = "cloudfront.amazonaws.com";

/// The policies of a template in a partition.
pub(crate) struct Policies {
    partition: &'static str,
    region: &'static str,
    found: Value,
}

/// A request: the role, the action, the resource, and the context for conditions.
pub(crate) struct Request {
    role: Option<String>,
    action: String,
    resource: String,
    pub(crate) context: Value,
}

impl Policies {
    /// The policies of the stack.
    fn of(partition: (&'static str, &'static str), parameters: &[&str]) -> Self {
        Self::of_template("template.yaml", partition, parameters)
    }

    /// The policies of a template. The bucket is called `bucket`.
    pub(crate) fn of_template(
        template: &str,
        (partition, region): (&'static str, &'static str),
        parameters: &[&str],
    ) -> Self {
        let mut script = Tools::install().unwrap().script("policies.py");
        script.arg(workspace::root().join(template)).args([partition, region, ACCOUNT]);
        script.arg("BucketName=bucket").args(parameters);
        Self { partition, region, found: serde_json::from_slice(&run(script)).unwrap() }
    }

    pub(crate) fn arn(&self, service: &str, name: &str) -> String {
        match service {
            "s3" => format!("arn:{}:s3:::{name}", self.partition),
            service => {
                format!("arn:{}:{service}:{}:{ACCOUNT}:{name}", self.partition, self.region)
            }
        }
    }

    /// Those of `requests` that are allowed, as `<role> <action> <resource>`.
    pub(crate) fn allowed(&self, requests: &[Request]) -> BTreeSet<String> {
        let asked: Vec<_> = requests.iter().map(|request| self.asked(request)).collect();
        let text = json!({"account": ACCOUNT, "requests": asked}).to_string();
        let answers: Vec<Value> = serde_json::from_slice(&run_with("iam.cjs", &text)).unwrap();
        assert_eq!(answers.len(), requests.len());
        let answered = requests.iter().zip(answers);
        let allowed = answered.filter(|(request, answer)| {
            assert!(answer.is_string(), "{} {}: {answer:#}", request.action, request.resource);
            answer == "Allowed"
        });
        allowed.map(|(request, _)| request.line()).collect()
    }

    /// Checks that parliament finds these faults and no others, each given by its beginning and a
    /// text in it.
    pub(crate) fn assert_faultless_but(&self, accepted: &[(&str, &str)]) {
        let found = run_with("lint_policies.py", &self.found.to_string());
        let found = String::from_utf8(found).unwrap();
        let lines: Vec<_> = found.lines().collect();
        assert_eq!(lines.len(), accepted.len(), "{found}");
        for (line, (what, action)) in lines.iter().zip(accepted) {
            assert!(line.starts_with(*what) && line.contains(*action), "{line}");
        }
    }

    fn asked(&self, request: &Request) -> Value {
        let Request { role, action, resource, context } = request;
        let principal = role.as_ref().map(|role| match role.as_str() {
            // A user of the account who may do anything.
            "Administrator" => format!("arn:{}:iam::{ACCOUNT}:user/Administrator", self.partition),
            CLOUDFRONT => CLOUDFRONT.to_owned(),
            role => format!("arn:{}:iam::{ACCOUNT}:role/{role}", self.partition),
        });
        let anything = json!([{
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
        }]);
        let policies = match role.as_deref() {
            None | Some(CLOUDFRONT) => json!([]),
            Some("Administrator") => anything,
            Some(role) => self.found["roles"][role].clone(),
        };
        assert!(policies.is_array(), "{role:?}");
        let mut context = context.clone();
        if role.as_deref().is_some_and(|role| role != CLOUDFRONT) {
            context["aws:PrincipalAccount"] = json!(ACCOUNT);
        }
        let is_of_bucket = resource.contains(":s3:::bucket");
        let resource_policy = if is_of_bucket {
            self.found["resources"]["BucketPolicy"].clone()
        } else {
            Value::Null
        };
        let mut asked = json!({
            "principal": principal, "action": action, "resource": resource,
            "policies": policies, "context": context,
        });
        if !resource_policy.is_null() {
            asked["resourcePolicy"] = resource_policy;
        }
        asked
    }
}

impl Request {
    pub(crate) fn line(&self) -> String {
        let role = self.role.as_deref().unwrap_or("Anyone");
        format!("{role} {} {}", self.action, self.resource)
    }
}

fn run(mut script: std::process::Command) -> Vec<u8> {
    command::output(&mut script).unwrap_or_else(|error| panic!("{}", error.chain()))
}

/// Runs a script on this text, and returns its output.
fn run_with(script: &str, text: &str) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let mut script = Tools::install().unwrap().script(script);
    script.arg(file.path());
    run(script)
}

/// The context of a request of ours: writes have a precondition.
fn with_precondition(action: &str) -> Value {
    let mut context = json!({"aws:SecureTransport": "true"});
    if ["s3:PutObject", "s3:DeleteObject"].contains(&action) {
        context["s3:if-match"] = json!("\"1\"");
    }
    context
}

pub(crate) fn by(role: &str, action: &str, resource: String) -> Request {
    let context = with_precondition(action);
    Request { role: Some(role.to_owned()), action: action.to_owned(), resource, context }
}

#[test]
fn each_function_may_do_what_it_needs_and_nothing_else_in_each_partition() {
    for partition in PARTITIONS {
        // With public reading, everybody would be allowed to read.
        let policies = Policies::of(partition, &["Reading=private"]);
        let object = |kind: &str| {
            let key = OBJECTS.iter().find(|(found, _)| *found == kind).map(|(_, key)| key);
            policies.arn("s3", &format!("bucket/{}", key.unwrap()))
        };
        let mut requests = Vec::new();
        for function in FUNCTIONS {
            let role = role_of(function);
            let actions =
                ["s3:GetObject", "s3:PutObject", "s3:PutObjectTagging", "s3:DeleteObject"];
            for (kind, action) in OBJECTS.iter().flat_map(|(kind, _)| actions.map(|it| (kind, it)))
            {
                requests.push(by(&role, action, object(kind)));
            }
            requests.push(by(&role, "s3:ListBucket", policies.arn("s3", "bucket")));
            requests.push(by(&role, "s3:PutBucketPolicy", policies.arn("s3", "bucket")));
            for machine in ["StateMachine", "ReindexStateMachine", "FailureStateMachine"] {
                let machine = policies.arn("states", &format!("stateMachine:{machine}"));
                requests.push(by(&role, "states:StartExecution", machine));
            }
            for parameter in ["/apk/rsa", "/apk/key", "/apk/rsa-2", "/apk/key-2", "/apk/other"] {
                let parameter = policies.arn("ssm", &format!("parameter{parameter}"));
                requests.push(by(&role, "ssm:GetParameters", parameter));
            }
        }
        let mut expected = BTreeSet::new();
        for (function, action, resources) in ALLOWED {
            for resource in resources {
                let resource = match *resource {
                    "bucket" => policies.arn("s3", "bucket"),
                    "state machine" => policies.arn("states", "stateMachine:StateMachine"),
                    name if name.starts_with('/') => policies
                        .arn("ssm", &format!("parameter/apk{}", name.trim_start_matches("/roles"))),
                    kind => object(kind),
                };
                let role = role_of(function);
                // Whoever writes must also tag.
                if action == "s3:PutObject" {
                    expected.insert(format!("{role} s3:PutObjectTagging {resource}"));
                }
                if resource.ends_with(":stateMachine:StateMachine") {
                    let reindex = resource.replace(":StateMachine", ":ReindexStateMachine");
                    expected.insert(format!("{role} {action} {reindex}"));
                }
                expected.insert(format!("{role} {action} {resource}"));
            }
        }
        assert_eq!(policies.allowed(&requests), expected, "{partition:?}");
    }
}

#[test]
fn what_starts_and_tells_may_do_that_alone() {
    let function =
        |name: &str| ("lambda", "lambda:InvokeFunction", format!("function:{name}Function"));
    let start = |name: &str| ("states", "states:StartExecution", format!("stateMachine:{name}"));
    let of_execution =
        |action: &'static str, name: &str| ("states", action, format!("execution:{name}"));
    let publish = || ("sns", "sns:Publish", "FailureTopic".to_owned());
    let everything = || {
        let functions = FUNCTIONS.map(function).to_vec();
        let starts =
            ["StateMachine", "ReindexStateMachine", "FailureStateMachine"].map(start).to_vec();
        let executions = [
            "StateMachine:child",
            "ReindexStateMachine:parent",
            "ReindexStateMachine/EachObject:child",
            "FailureStateMachine:it",
        ];
        let actions =
            ["states:DescribeExecution", "states:StopExecution", "states:RedriveExecution"];
        let executions =
            executions.iter().flat_map(|name| actions.map(|action| of_execution(action, name)));
        [functions, starts, executions.collect(), vec![publish()]].concat()
    };
    let pipeline = ["ExtractMetadata", "WriteIndex", "AggregateApkindex", "SignAndPublish"];
    let of_reindex = ["Reindex", "ExtractMetadata", "WriteIndex"].map(function).to_vec();
    let nested = ["states:DescribeExecution", "states:StopExecution", "states:RedriveExecution"];
    let nested = nested.iter().flat_map(|action| {
        let names = [
            "StateMachine:child",
            "ReindexStateMachine:parent",
            "ReindexStateMachine/EachObject:child",
        ];
        names.map(|name| of_execution(action, name))
    });
    let own = [start("StateMachine"), start("ReindexStateMachine")].to_vec();
    let roles = [
        ("PackageChangedRole", vec![start("StateMachine")]),
        ("StateMachineRole", pipeline.map(function).to_vec()),
        ("ReindexRole", [of_reindex, own, nested.collect()].concat()),
        ("ReindexTimerRole", vec![start("ReindexStateMachine")]),
        ("CheckTimerRole", vec![function("Heal")]),
        ("ExecutionFailedRole", vec![start("FailureStateMachine")]),
        ("FailureRole", vec![publish()]),
    ];
    for partition in PARTITIONS {
        let policies = Policies::of(partition, &["ReindexSchedule=rate(30 days)"]);
        let arn = |(service, action, name): &(&str, &str, String)| {
            ((*action).to_owned(), policies.arn(service, name))
        };
        let mut requests = Vec::new();
        let mut expected = BTreeSet::new();
        for (role, allowed) in &roles {
            for (action, resource) in everything().iter().map(arn) {
                requests.push(by(role, &action, resource));
            }
            for (action, resource) in allowed.iter().map(arn) {
                expected.insert(format!("{role} {action} {resource}"));
            }
        }
        assert_eq!(policies.allowed(&requests), expected, "{partition:?}");
        let trusted = policies.found["trust"].as_object().unwrap().len();
        assert_eq!(trusted, roles.len() + FUNCTIONS.len(), "each role is in one of the two tests");
    }
}

#[test]
fn the_policy_of_the_bucket_keeps_derived_objects_and_lets_anyone_read_the_rest() {
    for partition in PARTITIONS {
        for reading in ["public", "private"] {
            let policies = Policies::of(partition, &[&format!("Reading={reading}")]);
            let (mut requests, mut expected) = (Vec::new(), BTreeSet::new());
            for (kind, key) in OBJECTS {
                let resource = policies.arn("s3", &format!("bucket/{key}"));
                let is_walled = ["fragment", "index", "snapshot", "lease"].contains(&kind);
                let is_key = key.ends_with(".rsa.pub");
                let is_internal = key.starts_with(".alpinist/");
                let mut ask = |role: Option<&str>, action: &str, more: Value, is_allowed: bool| {
                    let mut context = json!({"aws:SecureTransport": "true"});
                    context.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                    let request = Request {
                        role: role.map(str::to_owned),
                        action: action.to_owned(),
                        resource: resource.clone(),
                        context,
                    };
                    if is_allowed {
                        expected.insert(request.line());
                    }
                    requests.push(request);
                };
                ask(None, "s3:GetObject", json!({}), reading == "public" && !is_internal);
                ask(Some("Administrator"), "s3:GetObject", json!({}), true);
                ask(Some("Administrator"), "s3:PutObject", json!({}), !is_walled);
                let is_kept = is_walled || is_key;
                ask(Some("Administrator"), "s3:DeleteObject", json!({}), !is_kept);
            }
            assert_eq!(policies.allowed(&requests), expected, "{partition:?}, {reading}");
            let rejected = OBJECTS.iter().flat_map(|(_, key)| {
                let resource = policies.arn("s3", &format!("bucket/{key}"));
                [
                    json!({"aws:SecureTransport": "false", "s3:if-none-match": "*"}),
                    json!({"s3:x-amz-server-side-encryption": "aws:kms", "s3:if-none-match": "*"}),
                    json!({
                        "s3:x-amz-server-side-encryption-customer-algorithm": "AES256",
                        "s3:if-none-match": "*",
                    }),
                ]
                .map(|context| Request {
                    role: Some("Administrator".to_owned()),
                    action: "s3:PutObject".to_owned(),
                    resource: resource.clone(),
                    context,
                })
            });
            let rejected = policies.allowed(&rejected.collect::<Vec<_>>());
            assert_eq!(rejected, BTreeSet::new(), "{partition:?}, {reading}");
        }
    }
}

#[test]
fn the_policy_of_the_bucket_lets_those_read_whom_the_parameters_name() {
    let [own, other, foreign] = ["Distribution", "E1OTHER", "E2FOREIGN"].map(
        |id| json!({"aws:SourceArn": format!("arn:aws:cloudfront::{ACCOUNT}:distribution/{id}")}),
    );
    let [vpc, other_vpc] =
        ["vpce-1a2b3c4d", "vpce-99999999"].map(|id| json!({"aws:SourceVpce": id}));
    let readers = [
        ("anyone", None, json!({})),
        ("the VPC", None, vpc),
        ("another VPC", None, other_vpc),
        ("the distribution", Some(CLOUDFRONT), own),
        ("the other distribution", Some(CLOUDFRONT), other),
        ("a foreign distribution", Some(CLOUDFRONT), foreign),
    ];
    let vpc = "VpcEndpoint=vpce-1a2b3c4d";
    let other = format!("ReadingDistribution=arn:aws:cloudfront::{ACCOUNT}:distribution/E1OTHER");
    let private = "Reading=private";
    let cloudfront = "Serving=cloudfront";
    let all = readers.each_ref().map(|(name, ..)| *name);
    let cases: [(&[&str], &[&str]); 7] = [
        (&[], &all),
        (&[private], &[]),
        (&[cloudfront], &["the distribution"]),
        (&[cloudfront, private], &["the distribution"]),
        (&[private, vpc], &["the VPC"]),
        (&[private, &other], &["the other distribution"]),
        (
            &[cloudfront, private, vpc, &other],
            &["the VPC", "the distribution", "the other distribution"],
        ),
    ];
    for (parameters, expected) in cases {
        let policies = Policies::of(PARTITIONS[0], parameters);
        let ask = |(_, role, context): &(&str, Option<&str>, Value), action: &str, name: &str| {
            let (role, resource) = (role.map(str::to_owned), policies.arn("s3", name));
            Request { role, action: action.to_owned(), resource, context: context.clone() }
        };
        // Each has an object of its own, which tells the answers apart.
        let (mut requests, mut allowed) = (Vec::new(), BTreeSet::new());
        for (number, reader) in readers.iter().enumerate() {
            let object = format!("bucket/3.22/main/x86_64/a-{number}.apk");
            let internal = format!("bucket/.alpinist/trusted-keys/{number}.pub");
            let read = ask(reader, "s3:GetObject", &object);
            if expected.contains(&reader.0) {
                allowed.insert(read.line());
            }
            let others = [("s3:GetObject", &internal), ("s3:PutObject", &object)];
            requests.push(read);
            requests.extend(others.map(|(action, name)| ask(reader, action, name)));
        }
        assert_eq!(policies.allowed(&requests), allowed, "{parameters:?}");
        // Our distribution tells what is missing; a foreign one might pass on a query that lists.
        let list = |reader| ask(reader, "s3:ListBucket", "bucket");
        let (own, others): (Vec<_>, Vec<_>) =
            readers.iter().partition(|(name, ..)| *name == "the distribution");
        let own = policies.allowed(&own.into_iter().map(list).collect::<Vec<_>>());
        assert_eq!(!own.is_empty(), parameters.contains(&cloudfront), "{parameters:?}");
        let others = policies.allowed(&others.into_iter().map(list).collect::<Vec<_>>());
        assert_eq!(others, BTreeSet::new(), "{parameters:?}");
    }
}

/// What parliament reports, and why we accept it.
const ACCEPTED: [(&str, &str); 3] = [
    // For this action, it only knows the ARN of express executions, and ours are standard ones.
    ("ReindexRole RESOURCE_MISMATCH", "states:DescribeExecution"),
    ("ReindexRole RESOURCE_MISMATCH", "states:DescribeExecution"),
    // It takes the action for one on map runs; AWS's reference also lists the state machine.
    ("HealRole RESOURCE_MISMATCH", "states:ListExecutions"),
];

#[test]
fn parliament_finds_no_fault_in_the_policies_but_what_it_does_not_know() {
    Policies::of(PARTITIONS[0], &["ReindexSchedule=rate(30 days)"]).assert_faultless_but(&ACCEPTED);
}

//! The role for CI systems, and the jobs that assume it.

use std::{
    collections::BTreeSet,
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use alpinist_tests::{
    Alpinist, Emulator, EmulatorOptions, KeyPair, LocalStack, PackageSpec, Stack, Tools, command,
    workspace,
};
use serde_json::{Value, json};

use crate::iam::{ACCOUNT, PARTITIONS, Policies, by};

const TEMPLATE: &str = "ci/uploader.yaml";

const AUDIENCE: &str = "sts.amazonaws.com";

const GITHUB: &str = "token.actions.githubusercontent.com";

const GITHUB_JOBS: &str = "ci/github.yml";

const GITLAB_JOBS: &str = "ci/gitlab.yml";

/// The jobs that upload, in both files.
const PUBLISHERS: [&str; 2] = ["publish", "publish-with-the-aws-cli"];

/// What a job may do with objects: the key, with `REPOSITORY` for the repository, and the actions.
const OBJECTS: [(&str, &[&str]); 17] = [
    ("REPOSITORY/x86_64/a+b-1-r0.apk", &["GetObject", "PutObject", "AbortMultipartUpload"]),
    ("REPOSITORY/aarch64/a-1-r0.apk", &["GetObject", "PutObject", "AbortMultipartUpload"]),
    ("REPOSITORY/x86_64/APKINDEX.tar.gz", &["GetObject"]),
    ("REPOSITORY/x86_64/Packages.adb", &["GetObject"]),
    ("REPOSITORY/x86_64/packages.adb", &["GetObject"]),
    ("REPOSITORY/x86_64/index.json", &["GetObject"]),
    ("REPOSITORY/x86_64/a-1-r0.index", &[]),
    ("REPOSITORY/x86_64/README", &[]),
    ("REPOSITORY/x86_64/deeper/a-1-r0.apk", &["GetObject", "AbortMultipartUpload"]),
    ("REPOSITORY/armv7/a-1-r0.apk", &[]),
    ("REPOSITORY/deeper/x86_64/a-1-r0.apk", &[]),
    ("REPOSITORY-other/x86_64/a-1-r0.apk", &[]),
    ("other/x86_64/a-1-r0.apk", &[]),
    ("x86_64/a-1-r0.apk", &[]),
    (".alpinist/published/REPOSITORY/x86_64/a-1-r0.apk", &[]),
    (".alpinist/trusted-keys/builder@example.com-5f3c2a1b.rsa.pub", &[]),
    ("ops@example.com-5f3c2a1b.rsa.pub", &[]),
];

/// What else a job might try: the service, the action, the name, and whether it may.
const OTHERS: [(&str, &str, &str, bool); 11] = [
    ("cloudformation", "DescribeStacks", "stack/alpinist/1", true),
    ("cloudformation", "DescribeStacks", "stack/other/1", false),
    ("cloudformation", "UpdateStack", "stack/alpinist/1", false),
    ("states", "ListExecutions", "stateMachine:StateMachine", true),
    ("states", "StartExecution", "stateMachine:StateMachine", true),
    ("states", "StartExecution", "stateMachine:ReindexStateMachine", false),
    ("states", "DescribeExecution", "execution:StateMachine:1", true),
    ("states", "DescribeExecution", "execution:ReindexStateMachine:1", false),
    ("states", "StopExecution", "execution:StateMachine:1", false),
    ("states", "RedriveExecution", "execution:StateMachine:1", false),
    ("ssm", "GetParameters", "parameter/apk/rsa", false),
];

fn repository_parameters(repository: &str) -> [String; 3] {
    [
        format!("Repository={repository}"),
        "Architectures=x86_64,aarch64".to_owned(),
        "Subject=repo:example/packages:ref:refs/heads/main".to_owned(),
    ]
}

/// The policies of a role whose jobs name the stack and wait.
fn policies(partition: (&'static str, &'static str), repository: &str) -> Policies {
    let (name, region) = partition;
    let machine = format!("arn:{name}:states:{region}:{ACCOUNT}:stateMachine:StateMachine");
    let follow = ["Stack=alpinist".to_owned(), format!("StateMachineArn={machine}")];
    let parameters = [&repository_parameters(repository)[..], &follow].concat();
    let parameters: Vec<_> = parameters.iter().map(String::as_str).collect();
    Policies::of_template(TEMPLATE, partition, &parameters)
}

#[test]
fn a_job_uploads_packages_to_one_repository_and_does_nothing_else_in_each_partition() {
    for partition in PARTITIONS {
        for repository in ["v3.21", "3.22/main", "alpine/8.0/extra"] {
            let policies = policies(partition, repository);
            let (mut requests, mut expected) = (Vec::new(), BTreeSet::new());
            let mut ask = |service: &str, action: &str, name: &str, may: bool| {
                let resource = policies.arn(service, name);
                let request = by("Uploader", &format!("{service}:{action}"), resource);
                if may {
                    expected.insert(request.line());
                }
                requests.push(request);
            };
            for (key, allowed) in OBJECTS {
                let key = key.replace("REPOSITORY", repository);
                for action in ["GetObject", "PutObject", "AbortMultipartUpload", "DeleteObject"] {
                    ask("s3", action, &format!("bucket/{key}"), allowed.contains(&action));
                    ask("s3", action, &format!("foreign/{key}"), false);
                }
            }
            for (service, action, name, may) in OTHERS {
                ask(service, action, name, may);
            }
            assert_eq!(policies.allowed(&requests), expected, "{partition:?}, {repository}");
        }
    }
}

#[test]
fn a_job_lists_its_repository_alone() {
    let policies = policies(PARTITIONS[0], "3.22/main");
    let may_list = |prefix: &str| {
        let mut request = by("Uploader", "s3:ListBucket", policies.arn("s3", "bucket"));
        request.context["s3:prefix"] = json!(prefix);
        !policies.allowed(&[request]).is_empty()
    };
    for prefix in ["3.22/main/", "3.22/main/x86_64/", "3.22/main/x86_64/a-1-r0.apk"] {
        assert!(may_list(prefix), "{prefix}");
    }
    for prefix in ["", "3.22/", "3.22/main-other/", "3.22/other/", ".alpinist/"] {
        assert!(!may_list(prefix), "{prefix}");
    }
}

#[test]
fn a_job_that_does_not_wait_can_neither_see_the_stack_nor_executions() {
    let parameters = repository_parameters("3.22/main");
    let parameters: Vec<_> = parameters.iter().map(String::as_str).collect();
    let policies = Policies::of_template(TEMPLATE, PARTITIONS[0], &parameters);
    let requests = OTHERS.map(|(service, action, name, _)| {
        by("Uploader", &format!("{service}:{action}"), policies.arn(service, name))
    });
    assert_eq!(policies.allowed(&requests), BTreeSet::new());
}

/// What parliament reports about the role; `iam.rs` says why that is accepted.
const ACCEPTED: [(&str, &str); 2] = [
    ("Uploader RESOURCE_MISMATCH", "states:ListExecutions"),
    ("Uploader RESOURCE_MISMATCH", "states:DescribeExecution"),
];

#[test]
fn parliament_finds_no_fault_in_the_role_but_what_it_does_not_know() {
    policies(PARTITIONS[0], "3.22/main").assert_faultless_but(&ACCEPTED);
}

fn run(mut program: Command) -> Result<String, String> {
    let output = command::output(&mut program).map_err(|error| error.chain())?;
    Ok(String::from_utf8(output).unwrap())
}

/// Deploys the role, and returns its ARN.
fn deploy(emulator: &Emulator, name: &str, parameters: &[(&str, &str)]) -> String {
    let mut deploy = emulator.aws();
    deploy
        .current_dir(workspace::root())
        .args(["cloudformation", "deploy", "--template-file", TEMPLATE, "--stack-name", name])
        .args(["--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"])
        .arg("--parameter-overrides")
        .args(parameters.iter().map(|(parameter, value)| format!("{parameter}={value}")));
    run(deploy).unwrap();
    let mut describe = emulator.aws();
    describe
        .args(["cloudformation", "describe-stacks", "--stack-name", name, "--output", "text"])
        .args(["--query", "Stacks[0].Outputs[?OutputKey=='RoleArn'].OutputValue"]);
    run(describe).unwrap().trim().to_owned()
}

/// A token for a job. The emulator checks its claims, but no signature.
fn token(issuer: &str, audience: &str, subject: &str) -> String {
    let mut script = Tools::install().unwrap().script("unsigned_token.py");
    script.arg(format!("https://{issuer}")).args([audience, subject]);
    run(script).unwrap()
}

#[test]
fn only_jobs_with_the_subject_and_the_audience_get_credentials() {
    let emulator = Emulator::start(&Tools::install().unwrap(), EmulatorOptions::default()).unwrap();
    let main = "repo:example/packages:ref:refs/heads/main";
    let request = "repo:example/packages:pull_request";
    let any = "repo:example/packages:*";
    let other = "repo:example/other:ref:refs/heads/main";
    let gitlab = "project_path:group/project:ref_type:branch:ref:main";
    for (name, issuer, (subject, is), (right, wrong)) in [
        ("exact", GITHUB, (main, "exact"), (&[main][..], &[request, other, gitlab][..])),
        ("no-pattern", GITHUB, (any, "exact"), (&[][..], &[main, request][..])),
        ("pattern", GITHUB, (any, "pattern"), (&[main, request][..], &[other][..])),
        ("gitlab", "gitlab.com", (gitlab, "exact"), (&[gitlab][..], &[main][..])),
        ("own", "gitlab.example.com", (gitlab, "exact"), (&[gitlab][..], &[main][..])),
    ] {
        let parameters = [
            ("BucketName", "example-packages"),
            ("Repository", "3.22/main"),
            ("Issuer", issuer),
            ("Subject", subject),
            ("SubjectIs", is),
        ];
        let role = deploy(&emulator, name, &parameters);
        let assume = |token: &str| {
            let mut assume = emulator.aws();
            assume
                .args(["sts", "assume-role-with-web-identity", "--role-session-name", "job"])
                .args(["--role-arn", &role, "--web-identity-token", token]);
            run(assume)
        };
        for subject in right {
            assume(&token(issuer, AUDIENCE, subject)).unwrap();
            assert_not_authorized(assume(&token(issuer, "other", subject)));
            assert_not_authorized(assume(&token("other.example.com", AUDIENCE, subject)));
        }
        for subject in wrong {
            assert_not_authorized(assume(&token(issuer, AUDIENCE, subject)));
        }
    }
}

fn assert_not_authorized(answer: Result<String, String>) {
    let error = answer.unwrap_err();
    // docs/ci.md says what to do about this message.
    assert!(error.contains("Not authorized to perform sts:AssumeRoleWithWebIdentity"), "{error}");
}

fn read(file: &str) -> Value {
    let mut script = Tools::install().unwrap().script("read_yaml.py");
    script.arg(workspace::root().join(file));
    serde_json::from_str(&run(script).unwrap()).unwrap()
}

/// The commands that a job runs as the role.
fn commands(file: &str, job: &str) -> String {
    let jobs = read(file);
    let script = if file == GITHUB_JOBS {
        let steps = jobs["jobs"][job]["steps"].as_array().unwrap();
        &steps.last().unwrap()["run"]
    } else {
        &jobs[job]["script"]
    };
    match script {
        Value::String(script) => script.clone(),
        Value::Array(lines) => {
            lines.iter().map(|line| line.as_str().unwrap()).collect::<Vec<_>>().join("\n")
        }
        other => panic!("{file}, {job}: {other}"),
    }
}

/// Where a job runs: its directory, and what the CI system sets.
struct Job<'a> {
    directory: &'a Path,
    emulator: &'a Emulator,
    stack: &'a Stack,
    repository: &'a str,
    role: &'a str,
}

impl Job<'_> {
    /// Runs commands with a token, as the CI system does.
    fn run(&self, commands: &str, token: &str) -> Result<String, String> {
        let file = self.directory.join("token");
        fs::write(&file, token).unwrap();
        let programs = [self.directory.join(".alpinist/bin"), self.emulator.tools().programs()];
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(programs.into_iter().chain(env::split_paths(&path))).unwrap();
        let mut shell = Command::new("sh");
        shell
            .args(["-ec", commands])
            .current_dir(self.directory)
            // There are no credentials except those of the role.
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.directory)
            .env("TMPDIR", self.directory)
            .env("NO_PROXY", "127.0.0.1")
            .env("AWS_ENDPOINT_URL", self.emulator.endpoint())
            .env("AWS_DEFAULT_REGION", "eu-central-1")
            .env("AWS_ROLE_ARN", self.role)
            // An earlier step does this on GitHub; on GitLab, the job's own commands do.
            .env("AWS_WEB_IDENTITY_TOKEN_FILE", file)
            .env("AWS_TOKEN", token)
            .env("ALPINIST_STACK", self.stack.name())
            .env("BUCKET", self.stack.bucket())
            .env("REPOSITORY", self.repository);
        run(shell)
    }
}

/// The path of the program `alpinist`.
fn program() -> PathBuf {
    Alpinist::build().unwrap().command().get_program().into()
}

#[tokio::test]
async fn the_jobs_of_both_systems_publish_with_the_role_alone() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let (emulator, tools) = (local_stack.emulator(), local_stack.emulator().tools());
    // Not public: reading what everybody may read would prove nothing.
    let stack = local_stack.deploy_as("ci-packages", &[("Reading", "private")]).unwrap();
    let key_pair = KeyPair::generate("ops@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    stack.put_key(&key_pair).await.unwrap();
    for (name, file, issuer, subject, repository) in [
        ("github", GITHUB_JOBS, GITHUB, "repo:example/a:ref:refs/heads/main", "v3.21"),
        ("gitlab", GITLAB_JOBS, "gitlab.com", "project_path:a/b:ref_type:branch:ref:main", "a/b/c"),
    ] {
        let parameters = [
            ("BucketName", stack.bucket()),
            ("Repository", repository),
            ("Architectures", "x86_64,aarch64"),
            ("Issuer", issuer),
            ("Subject", subject),
            ("Stack", stack.name()),
            ("StateMachineArn", stack.state_machine()),
        ];
        let role = deploy(emulator, name, &parameters);
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        fs::create_dir_all(directory.join(".alpinist/bin")).unwrap();
        symlink(program(), directory.join(".alpinist/bin/alpinist")).unwrap();
        let job = Job { directory, emulator, stack: &stack, repository, role: &role };
        let [publish, publish_with_the_aws_cli] = PUBLISHERS.map(|job| commands(file, job));
        let build = |spec: PackageSpec, architecture: &str| {
            let package = spec.build(tools).unwrap();
            package.save(&directory.join("packages").join(architecture)).unwrap();
        };
        let right = token(issuer, AUDIENCE, subject);

        stack.send_events().await.unwrap();
        build(PackageSpec::new("hello", "1.0"), "x86_64");
        build(PackageSpec::new("hello", "1.0").architecture("aarch64"), "aarch64");
        build(PackageSpec::new("fonts", "1.0").architecture("noarch"), "noarch");
        let said = job.run(&publish, &right).unwrap();
        for key in ["x86_64/hello", "aarch64/hello", "x86_64/fonts", "aarch64/fonts"] {
            assert!(said.contains(&format!("published {repository}/{key}-1.0-r0.apk")), "{said}");
        }

        // No event reports this one, so the next job starts an execution.
        stack.send_no_events().await.unwrap();
        fs::remove_dir_all(directory.join("packages")).unwrap();
        build(PackageSpec::new("late", "1.0"), "x86_64");
        job.run(&publish_with_the_aws_cli, &right).unwrap();
        let said = job.run(&publish, &right).unwrap();
        assert!(said.contains(&format!("published {repository}/x86_64/late-1.0-r0.apk")), "{said}");

        let wrong = token(issuer, AUDIENCE, &format!("{subject}-2"));
        for commands in [&publish, &publish_with_the_aws_cli] {
            assert_not_authorized(job.run(commands, &wrong));
        }
        let elsewhere = Job { repository: "other", ..job };
        for commands in [&publish, &publish_with_the_aws_cli] {
            let error = elsewhere.run(commands, &right).unwrap_err();
            assert!(error.contains("AccessDenied"), "{error}");
        }
    }
}

#[test]
fn only_the_jobs_that_publish_get_a_token() {
    let github = read(GITHUB_JOBS);
    assert_eq!(github["permissions"], json!({}));
    for (name, job) in github["jobs"].as_object().unwrap() {
        let may = job["permissions"]["id-token"] == "write";
        assert_eq!(may, PUBLISHERS.contains(&name.as_str()), "{name}");
        for step in job["steps"].as_array().unwrap() {
            let Some(action) = step["uses"].as_str() else { continue };
            let (_, version) = action.split_once("@v").unwrap();
            assert!(version.parse::<u32>().is_ok(), "{action} is not pinned");
        }
    }
    let gitlab = read(GITLAB_JOBS);
    for (name, job) in gitlab.as_object().unwrap() {
        let audience = job["id_tokens"]["AWS_TOKEN"]["aud"].as_str();
        let is_publisher = PUBLISHERS.contains(&name.as_str());
        assert_eq!(audience, is_publisher.then_some(AUDIENCE), "{name}");
    }
}

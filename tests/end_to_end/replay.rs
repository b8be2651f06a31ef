//! Failed executions can be redriven or restarted once the cause is gone.

use std::time::{Duration, Instant};

use alpinist_apk::index_archive::IndexArchive;
use alpinist_tests::{
    Emulator, EmulatorOptions, Execution, ExecutionStatus, Fault, FaultAnswer, KeyPair, LocalStack,
    PackageSpec, Stack, StateVisit, Tools, command,
};
use futures::future::join_all;
use serde_json::Value;

use crate::repository::assert_succeeded;

/// A state, and the request without which it can't do its work.
const STATES: [(&str, &str, &str); 4] = [
    ("ExtractMetadata", "GET", ".apk"),
    ("WriteIndex", "PUT", ".index"),
    ("AggregateApkindex", "GET", "snapshot"),
    ("SignAndPublish", "PUT", "APKINDEX.tar.gz"),
];

async fn deploy(local_stack: &LocalStack, name: &str) -> Stack {
    let stack = local_stack.deploy_as(name, &[]).unwrap();
    let key_pair = KeyPair::generate("replay@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    stack.put_key(&key_pair).await.unwrap();
    stack
}

fn aws(emulator: &Emulator, arguments: &[&str]) -> Vec<u8> {
    let output = command::output(emulator.aws().args(arguments));
    output.unwrap_or_else(|error| panic!("{}", error.chain()))
}

/// Uploads a package that can't be published, and returns its execution, which failed in `state`.
async fn fail(stack: &Stack, branch: &str, state: &str, error: &str) -> Execution {
    let package = PackageSpec::new("hello", "1.0").build(&Tools::install().unwrap()).unwrap();
    let key = package.key(&format!("{branch}/main/x86_64"));
    let execution = stack.upload(&key, package.bytes).await.unwrap();
    assert_eq!(execution.status, ExecutionStatus::Failed, "{branch}: {execution:#?}");
    assert_eq!(execution.error.as_deref(), Some(error), "{branch}: {execution:#?}");
    assert_eq!(execution.state_names().last(), Some(&state), "{branch}: {execution:#?}");
    execution
}

async fn assert_listed(stack: &Stack, branch: &str) {
    let client = stack.client(&format!("{branch}/main"), "x86_64").await.unwrap();
    assert!(client.update().unwrap().status.success());
    assert!(client.add(&["hello"]).unwrap().status.success(), "{branch}");
}

/// Makes all four states fail at the same time, each in its own repository, and replays them.
async fn fail_and_replay(
    local_stack: &LocalStack,
    stack: &Stack,
    answer: FaultAnswer,
    error: &str,
    redrive: bool,
) {
    let branch = |state: &str| format!("{state}-{answer:?}");
    let faults = STATES.map(|(state, method, object)| Fault {
        method,
        path: vec![branch(state), object.to_owned()],
        answer,
    });
    local_stack.emulator().inject(&faults).unwrap();
    let failing =
        STATES.map(async |(state, ..)| (state, fail(stack, &branch(state), state, error).await));
    let failed = join_all(failing).await;
    local_stack.emulator().inject(&[]).unwrap();
    for (state, execution) in failed {
        let replayed = if redrive {
            stack.redrive(&execution.arn).await
        } else {
            stack.execute(&execution.input).await
        };
        assert_succeeded(&replayed.unwrap());
        assert_listed(stack, &branch(state)).await;
    }
}

#[tokio::test]
async fn a_throttled_execution_can_be_redriven() {
    let local_stack = LocalStack::start(short_waits()).unwrap();
    let stack = deploy(&local_stack, "throttled").await;
    let answer = FaultAnswer::Throttled;
    fail_and_replay(&local_stack, &stack, answer, "Alpinist.Unavailable", true).await;
}

#[tokio::test]
async fn the_input_of_an_execution_whose_function_died_can_be_started_again() {
    let local_stack = LocalStack::start(short_waits()).unwrap();
    let stack = deploy(&local_stack, "died").await;
    for function in functions(&local_stack, "died") {
        let change = ["lambda", "update-function-configuration", "--timeout", "2"];
        aws(local_stack.emulator(), &[&change[..], &["--function-name", &function]].concat());
    }
    let answer = FaultAnswer::Never;
    fail_and_replay(&local_stack, &stack, answer, "Sandbox.Timedout", false).await;
}

/// Functions may run for minutes, and one of them for a quarter of an hour.
#[tokio::test]
async fn a_service_that_accepts_and_never_answers_costs_seconds() {
    let local_stack = LocalStack::start(short_waits()).unwrap();
    let stack = deploy(&local_stack, "silent").await;
    let faults = STATES.map(|(state, method, object)| Fault {
        method,
        path: vec![format!("{state}/main"), object.to_owned()],
        answer: FaultAnswer::Never,
    });
    local_stack.emulator().inject(&faults).unwrap();
    let package = PackageSpec::new("hello", "1.0").build(&Tools::install().unwrap()).unwrap();
    for (state, ..) in STATES {
        stack
            .put(&package.key(&format!("{state}/main/x86_64")), package.bytes.clone())
            .await
            .unwrap();
    }
    let patience = Instant::now() + Duration::from_mins(2);
    let is_told = |log: &str, state: &str| {
        let is_it = |line: &str| line.contains("Alpinist.Unavailable") && line.contains(state);
        log.lines().any(is_it)
    };
    loop {
        let log = std::fs::read_to_string(local_stack.emulator().log()).unwrap();
        if STATES.iter().all(|(state, ..)| is_told(&log, &format!("{state}/main/x86_64/"))) {
            break;
        }
        assert!(Instant::now() < patience, "{log}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    local_stack.emulator().inject(&[]).unwrap();
    for (state, ..) in STATES {
        let executions = stack.wait_for_executions(&format!("{state}/main/"), 1).await.unwrap();
        executions.iter().for_each(assert_succeeded);
        assert_listed(&stack, state).await;
    }
}

#[tokio::test]
async fn an_execution_that_may_not_do_its_work_can_be_redriven() {
    let local_stack = LocalStack::start(short_waits()).unwrap();
    let stack = deploy(&local_stack, "denied").await;
    for (state, ..) in &STATES[1..] {
        deny_and_redrive(&local_stack, &stack, state).await;
        assert_listed(&stack, state).await;
    }
    // Anyone may read a public package.
    let stack = local_stack.deploy_as("denied-private", &[("Reading", "private")]).unwrap();
    deny_and_redrive(&local_stack, &stack, "ExtractMetadata").await;
    let index = stack.get("ExtractMetadata/main/x86_64/APKINDEX.tar.gz").await.unwrap().unwrap();
    let index = IndexArchive::read(&index).unwrap().index;
    assert_eq!(index.entries().len(), 1);
}

async fn deny_and_redrive(local_stack: &LocalStack, stack: &Stack, state: &str) {
    let role = resource(local_stack, stack.name(), &format!("{state}Role"));
    let policy = PolicyOfRole::take(local_stack.emulator(), &role);
    let execution = fail(stack, state, state, "Alpinist.AccessDenied").await;
    policy.put_back(local_stack.emulator());
    assert_succeeded(&stack.redrive(&execution.arn).await.unwrap());
}

#[tokio::test]
async fn a_storm_of_conflicts_passes() {
    let local_stack = LocalStack::start(short_waits()).unwrap();
    let stack = deploy(&local_stack, "storm").await;
    let storm = Fault {
        method: "PUT",
        path: vec!["3.22/main".to_owned(), "APKINDEX.tar.gz".to_owned()],
        answer: FaultAnswer::Conflict,
    };
    local_stack.emulator().inject(&[storm]).unwrap();
    let package = PackageSpec::new("hello", "1.0").build(&Tools::install().unwrap()).unwrap();
    let key = package.key("3.22/main/x86_64");
    stack.put(&key, package.bytes).await.unwrap();
    let mut attempts = 0;
    let mut on_exit = |visit: &StateVisit| {
        attempts += usize::from(visit.name == "SignAndPublish");
        if attempts == 3 {
            local_stack.emulator().inject(&[]).unwrap();
        }
    };
    assert_succeeded(&stack.follow(&key, 0, &mut on_exit).await.unwrap());
    assert!(attempts > 3);
    assert_listed(&stack, "3.22").await;
}

#[tokio::test]
async fn a_package_whose_connection_breaks_is_read_on() {
    let local_stack = LocalStack::start(short_waits()).unwrap();
    let stack = deploy(&local_stack, "cut").await;
    let path = vec!["cut/main".to_owned(), ".apk".to_owned()];
    let cut = Fault { method: "GET", path, answer: FaultAnswer::Cut };
    local_stack.emulator().inject(&[cut]).unwrap();
    let package = PackageSpec::new("hello", "1.0").build(&Tools::install().unwrap()).unwrap();
    let mark = stack.requests().mark().unwrap();
    let key = package.key("cut/main/x86_64");
    assert_succeeded(&stack.upload(&key, package.bytes).await.unwrap());
    let requests = stack.requests().since(mark).unwrap();
    let reads = requests.iter().filter(|request| {
        request.by_function() && request.method == "GET" && request.path.ends_with(".apk")
    });
    assert_eq!(reads.map(|request| request.status).collect::<Vec<_>>(), [200, 206]);
    local_stack.emulator().inject(&[]).unwrap();
    assert_listed(&stack, "cut").await;
}

#[tokio::test]
async fn a_rejected_package_is_rejected_again_until_it_is_a_better_one() {
    let stack = LocalStack::shared().await.unwrap();
    let package = PackageSpec::new("hello", "1.0").build(&Tools::install().unwrap()).unwrap();
    let key = package.key("replayed-rejection/main/x86_64");
    let rejected = stack.upload(&key, b"no package".to_vec()).await.unwrap();
    let again = stack.execute(&rejected.input).await.unwrap();
    assert_eq!(again.error.as_deref(), Some("Alpinist.PackageRejected"));
    assert_eq!(again.cause, rejected.cause);
    stack.upload(&key, package.bytes).await.unwrap();
    assert_succeeded(&stack.execute(&rejected.input).await.unwrap());
    assert_listed(&stack, "replayed-rejection").await;
}

#[tokio::test]
async fn a_rejected_package_that_could_not_be_taken_off_the_index_can_be_redriven() {
    let local_stack = LocalStack::start(short_waits()).unwrap();
    let stack = deploy(&local_stack, "rejected").await;
    let package = PackageSpec::new("hello", "1.0").build(&Tools::install().unwrap()).unwrap();
    let key = package.key("3.22/main/x86_64");
    assert_succeeded(&stack.upload(&key, package.bytes).await.unwrap());
    let path = vec!["3.22/main".to_owned(), "APKINDEX.tar.gz".to_owned()];
    let throttled = Fault { method: "PUT", path, answer: FaultAnswer::Throttled };
    local_stack.emulator().inject(&[throttled]).unwrap();
    let failed = stack.upload(&key, b"no package".to_vec()).await.unwrap();
    assert_eq!(failed.error.as_deref(), Some("Alpinist.Unavailable"), "{failed:#?}");
    assert_eq!(failed.state_names().last(), Some(&"SignAndPublish"));

    local_stack.emulator().inject(&[]).unwrap();
    let rejected = stack.redrive(&failed.arn).await.unwrap();
    assert_eq!(rejected.error.as_deref(), Some("Alpinist.PackageRejected"), "{rejected:#?}");
    assert_eq!(rejected.state_names().last(), Some(&"Rejected"));
    let index = stack.get("3.22/main/x86_64/APKINDEX.tar.gz").await.unwrap().unwrap();
    assert!(IndexArchive::read(&index).unwrap().index.entries().is_empty());
}

fn short_waits() -> EmulatorOptions {
    EmulatorOptions { wait_percentage: Some(5), ..EmulatorOptions::default() }
}

/// Returns the physical ID of a resource of the template.
fn resource(local_stack: &LocalStack, stack: &str, name: &str) -> String {
    let describe = ["cloudformation", "describe-stack-resource", "--stack-name", stack];
    let which = ["--logical-resource-id", name, "--output", "text", "--query"];
    let query = ["StackResourceDetail.PhysicalResourceId"];
    let id = aws(local_stack.emulator(), &[&describe[..], &which, &query].concat());
    String::from_utf8(id).unwrap().trim().to_owned()
}

fn functions(local_stack: &LocalStack, stack: &str) -> Vec<String> {
    STATES.map(|(state, ..)| resource(local_stack, stack, &format!("{state}Function"))).to_vec()
}

/// The policy of a role, while the role is without it.
struct PolicyOfRole {
    role: String,
    name: String,
    document: String,
}

impl PolicyOfRole {
    fn take(emulator: &Emulator, role: &str) -> Self {
        let json = |arguments: &[&str]| -> Value {
            serde_json::from_slice(&aws(emulator, arguments)).unwrap()
        };
        let policies = json(&["iam", "list-role-policies", "--role-name", role]);
        let name = policies["PolicyNames"][0].as_str().unwrap().to_owned();
        let which = ["--role-name", role, "--policy-name", &name];
        let policy = json(&[&["iam", "get-role-policy"], &which[..]].concat());
        aws(emulator, &[&["iam", "delete-role-policy"], &which[..]].concat());
        let document = policy["PolicyDocument"].to_string();
        Self { role: role.to_owned(), name, document }
    }

    fn put_back(self, emulator: &Emulator) {
        let Self { role, name, document } = &self;
        let which = ["--role-name", role, "--policy-name", name, "--policy-document", document];
        aws(emulator, &[&["iam", "put-role-policy"], &which[..]].concat());
    }
}

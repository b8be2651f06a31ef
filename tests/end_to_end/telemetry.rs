//! What the functions report to `CloudWatch`.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use alpinist_tests::{EmulatorOptions, KeyPair, LocalStack, PackageSpec, Stack, Tools, command};
use serde_json::{Value, json};

use crate::repository::assert_succeeded;

/// What all functions have written, line by line.
fn log(local_stack: &LocalStack) -> Vec<Value> {
    let log = std::fs::read_to_string(local_stack.emulator().log()).unwrap();
    log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The level and the message of each line about an object, sorted.
fn told(log: &[Value], subject: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let lines = log.iter().filter(|line| line["fields"]["subject"] == subject);
    let mut told: Vec<_> =
        lines.map(|line| (text(&line["level"]), text(&line["fields"]["message"]))).collect();
    told.sort();
    told
}

/// The sum of each counter and the number of values of each other metric, by name and the dimension
/// `Rule`.
fn metrics(log: &[Value]) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for line in log.iter().filter(|line| !line["_aws"].is_null()) {
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Namespace"], "Alpinist");
        assert_eq!(
            (&directive["Dimensions"][0][0], &line["Stack"]),
            (&json!("Stack"), &json!("telemetry"))
        );
        for metric in directive["Metrics"].as_array().unwrap() {
            let name = metric["Name"].as_str().unwrap();
            let value = match &line[name] {
                Value::Array(values) => u64::try_from(values.len()).unwrap(),
                value => value.as_u64().unwrap(),
            };
            let rule = line["Rule"].as_str().map(|rule| format!(" {rule}"));
            *sums.entry(name.to_owned() + &rule.unwrap_or_default()).or_default() += value;
        }
    }
    sums
}

/// Returns the output of the AWS CLI.
fn aws(local_stack: &LocalStack, arguments: &[&str]) -> Value {
    let mut aws = local_stack.emulator().aws();
    // For SQS, it ignores the endpoint in the environment.
    let general = ["--output", "json", "--endpoint-url", local_stack.emulator().endpoint()];
    let output = command::output(aws.args(arguments).args(general));
    let output = output.unwrap_or_else(|error| panic!("{}", error.chain()));
    serde_json::from_slice(&output).unwrap_or_default()
}

/// A queue that receives the messages of a stack's failure topic.
struct Hearer<'a> {
    local_stack: &'a LocalStack,
    queue: String,
}

impl<'a> Hearer<'a> {
    fn subscribe(local_stack: &'a LocalStack, stack: &Stack) -> Self {
        let anyone = json!({"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"});
        let policy = json!({"Version": "2012-10-17", "Statement": [anyone]}).to_string();
        let policy = json!({"Policy": policy}).to_string();
        let queue = ["sqs", "create-queue", "--queue-name", "heard", "--attributes", &policy];
        let queue = aws(local_stack, &queue)["QueueUrl"].as_str().unwrap().to_owned();
        let attributes = ["--attribute-names", "QueueArn"];
        let attributes = [&["sqs", "get-queue-attributes", "--queue-url", &queue], &attributes[..]];
        let attributes = aws(local_stack, &attributes.concat());
        let arn = attributes["Attributes"]["QueueArn"].as_str().unwrap();
        let topic = stack.outputs()["FailureTopicArn"].as_str();
        let subscription = ["sns", "subscribe", "--topic-arn", topic, "--protocol", "sqs"];
        aws(local_stack, &[&subscription[..], &["--notification-endpoint", arn]].concat());
        Self { local_stack, queue }
    }

    /// The subject and the text of the next message.
    fn hear(&self) -> (String, String) {
        let queue = ["--queue-url", &self.queue];
        let receive =
            [&["sqs", "receive-message", "--wait-time-seconds", "20"], &queue[..]].concat();
        let message = &aws(self.local_stack, &receive)["Messages"][0];
        let receipt = ["--receipt-handle", message["ReceiptHandle"].as_str().unwrap()];
        aws(self.local_stack, &[&["sqs", "delete-message"], &queue[..], &receipt].concat());
        let body: Value = serde_json::from_str(message["Body"].as_str().unwrap()).unwrap();
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        (text("Subject"), text("Message"))
    }
}

#[tokio::test]
async fn a_failure_is_told_to_the_topic_with_the_package_the_rule_the_remedy_and_a_link() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let stack = local_stack.deploy_as("told", &[]).unwrap();
    let hearer = Hearer::subscribe(&local_stack, &stack);

    let key = "3.22/main/x86_64/bad-1.0-r0.apk";
    let rejected = stack.upload(key, b"no package".to_vec()).await.unwrap();
    let (subject, message) = hearer.hear();
    assert_eq!(subject, "Alpinist: bad-1.0-r0.apk was rejected");
    let expected = [
        format!("Package: {key}"),
        "Stack: told".to_owned(),
        "Status: FAILED".to_owned(),
        "Error: Alpinist.PackageRejected".to_owned(),
        format!(
            "Cause: {key} was rejected: not an apk package: it begins neither with a gzip header nor with `ADB`. \
             Upload an .apk that was built by abuild, melange, nfpm or `apk mkpkg`."
        ),
        String::new(),
        "What to do: upload a better package under the same name, or delete this one.".to_owned(),
        format!(
            "Look at it: https://eu-central-1.console.aws.amazon.com/states/home?region=eu-central-1\
             #/v2/executions/details/{}",
            rejected.arn
        ),
    ];
    assert_eq!(message.lines().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_failure_is_told_whatever_is_in_its_cause() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let stack = local_stack.deploy_as("hostile", &[]).unwrap();
    let hearer = Hearer::subscribe(&local_stack, &stack);
    let machines = aws(&local_stack, &["stepfunctions", "list-state-machines"]);
    let mut machines = machines["stateMachines"].as_array().unwrap().iter();
    let is_it =
        |machine: &&Value| machine["name"].as_str().unwrap().contains("FailureStateMachine");
    let machine = machines.find(is_it).unwrap()["stateMachineArn"].as_str().unwrap();

    let hostile = r#"a "quoted" \n \ <cause> of 'ours', `$x` {% 1 %} and größe"#;
    let by_function =
        json!({"errorType": "Alpinist.Unavailable", "errorMessage": hostile}).to_string();
    let input =
        json!({"detail": {"object": {"key": "3.22/main/x86_64/größe-1-r0.apk"}}}).to_string();
    let event = |detail: Value| {
        let mut event =
            json!({"detail": {"executionArn": "arn", "name": "run", "status": "FAILED"}});
        event["detail"].as_object_mut().unwrap().extend(detail.as_object().unwrap().clone());
        event.to_string()
    };
    let what = "Package: 3.22/main/x86_64/größe-1-r0.apk";
    let cases = [
        (json!({"input": input, "error": "x", "cause": hostile}), what, hostile),
        (json!({"input": input, "error": "x", "cause": by_function}), what, hostile),
        (json!({"input": input, "error": "x", "cause": "{ no JSON"}), "x86_64/gr", "{ no JSON"),
        (
            json!({"input": "{}", "error": null, "cause": null}),
            "Input: {}",
            "Error: none was given",
        ),
        // EventBridge omits a large input.
        (
            json!({"inputDetails": {"included": false}, "error": "x", "cause": hostile}),
            "FAILED",
            "quoted",
        ),
        (
            json!({"input": r#"{"bucket": "b", "key": "k"}"#, "status": "TIMED_OUT"}),
            "Package: k",
            "TIMED_OUT",
        ),
    ];
    for (detail, what, cause) in cases {
        let event = event(detail);
        let start = ["stepfunctions", "start-execution", "--state-machine-arn", machine, "--input"];
        aws(&local_stack, &[&start[..], &[&event]].concat());
        let (subject, message) = hearer.hear();
        assert!(subject.starts_with("Alpinist: ") && subject.len() <= 100, "{subject}");
        assert!(subject.is_ascii(), "{subject}");
        assert!(message.contains(what) && message.contains(cause), "{event}: {message}");
    }
}

#[tokio::test]
async fn the_dashboard_and_the_alarms_show_metrics_that_there_are() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    local_stack.deploy_as("shown", &[]).unwrap();
    let name = "shown-eu-central-1";
    let dashboard = aws(&local_stack, &["cloudwatch", "get-dashboard", "--dashboard-name", name]);
    let body: Value = serde_json::from_str(dashboard["DashboardBody"].as_str().unwrap()).unwrap();
    let widgets = body["widgets"].as_array().unwrap().iter();
    let mut shown = Vec::new();
    for metrics in widgets.filter_map(|widget| widget["properties"]["metrics"].as_array()) {
        let mut namespace = "";
        for metric in metrics {
            if let Some(expression) = metric[0]["expression"].as_str() {
                assert!(expression.contains(r#"MetricName="PackagesRejected" Stack="shown""#));
            }
            let is_said = metric[0].as_str().filter(|first| ![".", "..."].contains(first));
            namespace = is_said.unwrap_or(namespace);
            shown.extend(metric[1].as_str().filter(|_| namespace == "Alpinist"));
        }
    }
    shown.sort_unstable();
    let packages = ["PackagesPublished", "PackagesRemoved", "PackagesWarned"];
    let others = ["PublishLatency", "Requests", "UnpublishedAge"];
    assert_eq!(shown, [&["Conflicts"][..], &packages, &others].concat());

    let alarms = aws(&local_stack, &["cloudwatch", "describe-alarms"]);
    let alarms = alarms["MetricAlarms"].as_array().unwrap().iter();
    let ours = alarms.filter(|alarm| alarm["Namespace"] == "Alpinist");
    let ours: Vec<_> = ours.map(|alarm| (&alarm["MetricName"], &alarm["Dimensions"])).collect();
    let dimensions = json!([{"Name": "Stack", "Value": "shown"}]);
    assert_eq!(ours, [(&json!("UnpublishedAge"), &dimensions)]);
}

#[tokio::test]
async fn each_step_says_in_one_line_what_it_did_and_counts_it() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let stack = local_stack.deploy_as("telemetry", &[]).unwrap();
    let key_pair = KeyPair::generate("ops@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    stack.put_key(&key_pair).await.unwrap();
    let package = PackageSpec::new("hello", "1.0").build(&Tools::install().unwrap()).unwrap();
    let key = package.key("3.22/main/x86_64");
    assert_succeeded(&stack.upload(&key, package.bytes).await.unwrap());
    let bad = "3.22/main/x86_64/bad-1.0-r0.apk";
    let rejected = stack.upload(bad, b"no package".to_vec()).await.unwrap();
    assert_succeeded(&stack.remove(&key).await.unwrap());

    let line = |level: &str, text: &str| (level.to_owned(), text.to_owned());
    let index = "3.22/main/x86_64/APKINDEX.tar.gz was published, and lists";
    let of_key = [
        line("INFO", &format!("{index} 0 packages")),
        line("INFO", &format!("{index} 1 package")),
        line("INFO", "fragment was removed"),
        line("INFO", "fragment was written"),
        line("INFO", "index was staged"),
        line("INFO", "index was staged"),
        line("INFO", "nothing to list was found"),
        line("INFO", "package was accepted"),
    ];
    let of_bad = [
        line("INFO", "published index was right"),
        line("INFO", "there was no fragment to remove"),
        line("WARN", &rejected.cause.unwrap()),
    ];
    let requests: usize = stack.requests().s3_operations_since(0).unwrap().values().sum();
    let counted = BTreeMap::from([
        ("PackagesPublished".to_owned(), 1),
        ("PackagesRejected Package".to_owned(), 1),
        ("PackagesRemoved".to_owned(), 1),
        ("PublishLatency".to_owned(), 2),
        ("Requests".to_owned(), u64::try_from(requests).unwrap()),
        ("UnpublishedAge".to_owned(), 7),
    ]);
    // The last lines may still be in a pipe.
    let patience = Instant::now() + Duration::from_secs(30);
    loop {
        let log = log(&local_stack);
        let observed = (told(&log, &key), told(&log, bad), metrics(&log));
        if observed == (of_key.to_vec(), of_bad.to_vec(), counted.clone()) {
            break;
        }
        assert!(Instant::now() < patience, "{observed:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

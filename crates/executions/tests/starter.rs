//! What is started to heal something, with the SDK's mocks.

#![cfg(test)]

use std::sync::{Arc, Mutex};

use alpinist_executions::starter::SfnStarter;
use alpinist_repository::port::Starter as _;
use aws_sdk_sfn::{
    Client,
    operation::{list_executions::ListExecutionsOutput, start_execution::StartExecutionOutput},
    primitives::DateTime,
    types::{ExecutionListItem, ExecutionStatus},
};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};

/// What was started: the state machine, the name and the input of each execution.
type Started = Arc<Mutex<Vec<(String, String, String)>>>;

fn starting(started: &Started) -> Rule {
    let started = started.clone();
    mock!(Client::start_execution)
        .match_requests(move |request| {
            let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
            let (name, input) = (text(request.name()), text(request.input()));
            started.lock().unwrap().push((text(request.state_machine_arn()), name, input));
            true
        })
        .then_output(|| {
            let started = StartExecutionOutput::builder().execution_arn("arn");
            started.start_date(DateTime::from_secs(1)).build().unwrap()
        })
}

fn running(name: &'static str) -> Rule {
    mock!(Client::list_executions)
        .match_requests(|request| request.state_machine_arn() == Some("reindex"))
        .then_output(move || {
            let item = ExecutionListItem::builder().execution_arn("arn").name(name);
            let item = item.state_machine_arn("reindex").status(ExecutionStatus::Running);
            let item = item.start_date(DateTime::from_secs(1)).build().unwrap();
            ListExecutionsOutput::builder().executions(item).build().unwrap()
        })
}

fn starter(started: &Started, running: &Rule) -> SfnStarter {
    let starting = starting(started);
    let client = mock_client!(aws_sdk_sfn, RuleMode::MatchAny, [&starting, running]);
    let [bucket, machine, reindex] = ["packages", "machine", "reindex"].map(str::to_owned);
    SfnStarter::new(client, bucket, machine, reindex)
}

#[tokio::test]
async fn an_execution_is_started_for_a_key() {
    let started = Started::default();
    let stack = starter(&started, &running("other"));
    stack.start("3.22/main/x86_64/g++-1.apk").await.unwrap();
    let input = r#"{"bucket":"packages","key":"3.22/main/x86_64/g++-1.apk"}"#;
    let expected = ("machine".to_owned(), String::new(), input.to_owned());
    assert_eq!(*started.lock().unwrap(), [expected]);
}

#[tokio::test]
async fn a_reindex_is_started_unless_one_runs_for_that_directory() {
    for (running_now, is_started) in
        [("heal-3.22.main.x86_64-1764230400", false), ("heal-3.22.main.x86-1764230400", true)]
    {
        let started = Started::default();
        starter(&started, &running(running_now)).reindex("3.22/main/x86_64/").await.unwrap();
        let started = started.lock().unwrap();
        assert_eq!(started.len(), usize::from(is_started), "{running_now}");
        for (machine, name, input) in &*started {
            assert_eq!(machine, "reindex");
            assert!(name.starts_with("heal-3.22.main.x86_64-") && name.len() <= 80, "{name}");
            assert_eq!(input, r#"{"prefix":"3.22/main/x86_64/","only_stale":true}"#);
        }
    }
}

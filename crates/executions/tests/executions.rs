//! The adapter of Step Functions.

#![cfg(test)]

use alpinist_executions::Executions;
use aws_sdk_sfn::{
    Client,
    operation::{
        describe_execution::DescribeExecutionOutput, list_executions::ListExecutionsOutput,
    },
    primitives::DateTime,
    types::{ExecutionListItem, ExecutionStatus},
};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};

/// An execution that began at one second, and ended at another or is still running.
fn item(arn: &str, began: i64, ended: Option<i64>) -> ExecutionListItem {
    let status =
        if ended.is_some() { ExecutionStatus::Succeeded } else { ExecutionStatus::Running };
    ExecutionListItem::builder()
        .execution_arn(arn)
        .state_machine_arn("machine")
        .name(arn)
        .status(status)
        .start_date(DateTime::from_secs(began))
        .set_stop_date(ended.map(DateTime::from_secs))
        .build()
        .unwrap()
}

fn page(
    token: Option<&'static str>,
    next: Option<&'static str>,
    items: Vec<ExecutionListItem>,
) -> Rule {
    mock!(Client::list_executions)
        .match_requests(move |request| request.next_token() == token)
        .then_output(move || {
            ListExecutionsOutput::builder()
                .set_executions(Some(items.clone()))
                .set_next_token(next.map(str::to_owned))
                .build()
                .unwrap()
        })
}

async fn arns(since: i64, pages: &[Rule]) -> Vec<String> {
    let pages: Vec<_> = pages.iter().collect();
    let executions = Executions::new(mock_client!(aws_sdk_sfn, RuleMode::MatchAny, &pages));
    let listed = executions.list("machine", since * 1000).await.unwrap();
    listed.into_iter().map(|listed| listed.arn).collect()
}

#[tokio::test]
async fn an_old_execution_that_ended_just_now_hides_none_that_began_since() {
    let items = vec![
        item("old", 5, Some(30)),
        item("new", 10, Some(20)),
        item("running", 15, None),
        item("older", 1, Some(9)),
    ];
    assert_eq!(arns(10, &[page(None, None, items)]).await, ["running", "new"]);
}

#[tokio::test]
async fn a_cause_is_what_the_function_said() {
    for (cause, said) in [
        (
            r#"{"errorType": "Alpinist.Misconfigured", "errorMessage": "no key. Put it."}"#,
            "no key. Put it.",
        ),
        ("a was rejected.", "a was rejected."),
        (r#"{"other": 1}"#, r#"{"other": 1}"#),
    ] {
        let found = mock!(Client::describe_execution).then_output(move || {
            DescribeExecutionOutput::builder()
                .execution_arn("arn")
                .state_machine_arn("machine")
                .status(ExecutionStatus::Failed)
                .start_date(DateTime::from_secs(1))
                .cause(cause)
                .build()
                .unwrap()
        });
        let executions = Executions::new(mock_client!(aws_sdk_sfn, [&found]));
        assert_eq!(executions.find("arn").await.unwrap().unwrap().cause.as_deref(), Some(said));
    }
}

#[tokio::test]
async fn a_listing_is_read_as_far_as_it_matters() {
    let first = page(None, Some("2"), vec![item("c", 30, None)]);
    let second = page(Some("2"), Some("3"), vec![item("b", 20, Some(21)), item("a", 5, Some(9))]);
    let third = page(Some("3"), None, vec![item("unread", 40, None)]);
    assert_eq!(arns(10, &[first, second, third]).await, ["c", "b"]);
}

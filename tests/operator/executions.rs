//! Executions: listed, shown, replayed.

use alpinist_tests::{EmulatorOptions, KeyPair, LocalStack, PackageSpec};

use serde_json::json;

use crate::fixture::Operator;

#[tokio::test]
async fn a_failure_is_found_explained_and_replayed() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let stack = local_stack.deploy_as("outage", &[]).unwrap();
    let operator = Operator::of(&stack);
    operator.build(&PackageSpec::new("hello", "1.0"), "");
    let said = operator.run("push hello-1.0-r0.apk --to 3.22/main --wait");
    assert_eq!((said.status, &*said.err), (Some(1), ""), "{said}");
    assert!(said.out.starts_with("failed 3.22/main/x86_64/hello-1.0-r0.apk: Alpinist.Misconf"));

    let failed = operator.json(0, "runs --failed");
    let failed = failed.as_array().unwrap();
    let of_hello = |run: &&serde_json::Value| run["key"] == "3.22/main/x86_64/hello-1.0-r0.apk";
    let run = failed.iter().find(of_hello).unwrap();
    assert_eq!(
        (&run["status"], &run["error"]),
        (&"FAILED".into(), &"Alpinist.Misconfigured".into())
    );
    assert_eq!(
        operator.json(0, "runs --failed --since 2100-01-01T00:00:00Z"),
        serde_json::json!([])
    );
    let line = operator.done("runs");
    assert!(
        line.contains("FAILED") && line.contains("hello-1.0-r0.apk  Alpinist.Misconf"),
        "{line}"
    );

    let id = run["id"].as_str().unwrap();
    let said = operator.run(&format!("run {id}"));
    assert_eq!((said.status, &*said.err), (Some(1), ""), "{said}");
    for part in [
        "FAILED arn:aws:states:eu-central-1:",
        "  ExtractMetadata ",
        "  SignAndPublish        not left  1 × Alpinist.Misconfigured",
        "\"key\": \"3.22/main/x86_64/hello-1.0-r0.apk\"",
        "the parameter /apk/key does not exist",
        "https://eu-central-1.console.aws.amazon.com/states/home?region=eu-central-1#/v2/executions/",
    ] {
        assert!(said.out.contains(part), "{part} is not in {said}");
    }
    let said = operator.run("run absent");
    assert_eq!((said.status, &*said.out), (Some(2), ""), "{said}");
    assert!(said.err.starts_with("error: there is no execution absent\n"), "{said}");

    let key_pair = KeyPair::generate("late@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    stack.put_key(&key_pair).await.unwrap();
    // The uploader chooses the key, which the operator's terminal must not interpret.
    let bad = "3.22/main/x86_64/bad\u{1b}[2J-1-r0.apk";
    stack.put(bad, b"no package".to_vec()).await.unwrap();
    stack.wait_for_executions(bad, 1).await.unwrap();
    let replayed = operator.json(0, "replay --failed --since 1h");
    let expected =
        json!([{"id": id, "key": run["key"], "how": "redriven", "outcome": "published"}]);
    assert_eq!(replayed, expected);
    let client = stack.client("3.22/main", "x86_64").await.unwrap();
    client.update().unwrap();
    assert!(client.add(&["hello"]).unwrap().status.success());

    let again = operator.done(&format!("replay {id}"));
    let key = "3.22/main/x86_64/hello-1.0-r0.apk";
    assert!(
        again.starts_with("succeeded ") && again.ends_with(&format!("(started again) {key}\n"))
    );
    let lines = operator.done("runs");
    assert!(lines.contains(r"bad\u{1b}[2J-1-r0.apk") && !lines.contains('\u{1b}'), "{lines}");
    let failed = operator.json(0, "runs --failed");
    let failed = failed.as_array().unwrap();
    let rejected = failed.iter().find(|run| run["error"] == "Alpinist.PackageRejected").unwrap();
    let rejected = operator.json(1, &format!("replay {}", rejected["id"].as_str().unwrap()));
    assert_eq!(rejected[0]["outcome"], "rejected");
    // A redrive would report the same without reading the package.
    assert_eq!(rejected[0]["how"], "started_again");
}

//! Every expression of the state machines, evaluated by two implementations of `JSONata`: npm's,
//! which is the reference implementation, and the emulator's.

use std::fs;

use alpinist_tests::{Tools, command, workspace};
use serde_json::{Value, json};

use crate::definition::MACHINES;

/// The expressions of a definition, each with the path of its field.
fn expressions(value: &Value, path: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                expressions(field, &format!("{path}.{name}"), found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, path, found)),
        Value::String(text) => {
            let inner = text.strip_prefix("{%").and_then(|text| text.strip_suffix("%}"));
            found.extend(inner.map(|inner| (path.to_owned(), inner.trim().to_owned())));
        }
        _ => {}
    }
}

/// Inputs of the states: regular ones, and ones that should never occur.
fn inputs() -> Vec<Value> {
    let event = json!({"detail-type": "Object Created", "detail": {"bucket": {"name": "b"}, "object": {"key": "3.22/main/x86_64/a-1-r0.apk", "etag": "1"}}});
    let failed = |input: Value, cause: Value| {
        json!({"detail": {
            "executionArn": "arn:aws:states:eu-central-1:1:execution:m:n", "name": "n", "status": "FAILED",
            "error": "Alpinist.Unavailable", "cause": cause, "input": input,
        }})
    };
    let text = event.to_string();
    let mut inputs = vec![
        event,
        json!({}),
        json!({"bucket": "b", "key": "k"}),
        json!({"prefix": "3.22/", "only_stale": true}),
        json!({"prefix": "", "only_stale": "true", "sign": "false"}),
        json!({"only_stale": "yes"}),
        json!({"sign": 1}),
        json!({"sign": true, "indexes": ["a/APKINDEX.tar.gz"], "reindex": {"run": "r", "sign": true}}),
        json!({"reindex": {"run": "r", "only_stale": false, "sign": false}, "indexes": [], "unpublished": []}),
        json!({"reindex": {"run": "r"}, "unpublished": ["a", ""], "manifest": "m"}),
        json!({"key": "a.apk", "found": "indexed"}),
        json!({"key": "README", "found": "nothing"}),
        json!({"staged": {"is_too_soon": true}}),
        json!({"staged": {"is_too_soon": false}}),
        json!({"staged": {"is_too_soon": true}, "rejection": {"error": "e", "cause": "c"}}),
        json!({"rejection": {"error": "e", "cause": "c \"quoted\""}}),
        json!({"waiting": {"seconds": 2, "overtook": true}}),
        failed(json!(text), json!("a \"cause\"")),
        failed(json!(text), json!("{\"errorMessage\": \"said\", \"errorType\": \"t\"}")),
        failed(json!("{}"), Value::Null),
        failed(Value::Null, json!("{ no JSON")),
        failed(json!("no JSON"), json!("")),
    ];
    inputs.extend((1..8).map(|seconds| json!({"waiting": {"seconds": seconds}})));
    inputs
}

fn evaluate(script: &str, cases: &str) -> Vec<Value> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), cases).unwrap();
    let mut script = Tools::install().unwrap().script(script);
    let output = command::output(script.arg(file.path()));
    serde_json::from_slice(&output.unwrap_or_else(|error| panic!("{}", error.chain()))).unwrap()
}

#[test]
fn two_implementations_of_jsonata_agree_on_every_expression() {
    let mut found = Vec::new();
    for machine in MACHINES {
        let path = workspace::root().join(format!("statemachine/{machine}.asl.json"));
        let definition = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        expressions(&definition, machine, &mut found);
    }
    let results =
        [json!({"Payload": {"indexes": ["a"], "found": "nothing"}}), json!(["", "a"]), json!([])];
    let mut cases = Vec::new();
    for (path, expression) in &found {
        for (number, input) in inputs().into_iter().enumerate() {
            let result = &results[number % results.len()];
            let context =
                json!({"Execution": {"Name": "run"}, "Map": {"Item": {"Value": {"Key": "k.apk"}}}});
            let states = json!({"input": input, "result": result, "context": context});
            cases.push((path, json!({"expression": expression, "states": states})));
        }
    }
    let text =
        Value::from(cases.iter().map(|(_, case)| case.clone()).collect::<Vec<_>>()).to_string();
    let [ours, other] =
        ["jsonata.cjs", "evaluate_jsonata.py"].map(|script| evaluate(script, &text));
    assert_eq!((ours.len(), other.len()), (cases.len(), cases.len()));
    for (((path, case), ours), other) in cases.iter().zip(ours).zip(other) {
        assert!(same(&ours, &other), "{path}: {case:#}\nnpm: {ours}\nthe emulator's: {other}");
    }
}

/// Compares values. Equal numbers are the same, whether they are written as integers or not.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (a, b) => a == b,
    }
}

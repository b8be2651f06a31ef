//! The definitions of the state machines.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use alpinist_repository::failure::FailureKind;
use alpinist_tests::workspace;
use serde_json::{Value, json};

fn text(path: &str) -> String {
    fs::read_to_string(workspace::root().join(path)).unwrap()
}

/// The state machines.
pub(crate) const MACHINES: [&str; 3] = ["alpinist", "failure", "reindex"];

/// The states of all machines, including those inside maps, by name and machine.
fn states() -> BTreeMap<String, Value> {
    let mut states = BTreeMap::new();
    for machine in MACHINES {
        let definition = text(&format!("statemachine/{machine}.asl.json"));
        collect_states(machine, &serde_json::from_str(&definition).unwrap(), &mut states);
    }
    states
}

fn collect_states(machine: &str, part: &Value, states: &mut BTreeMap<String, Value>) {
    for (name, state) in part["States"].as_object().unwrap() {
        states.insert(format!("{machine}: {name}"), state.clone());
        if state["Type"] == "Map" {
            collect_states(machine, &state["ItemProcessor"], states);
        }
    }
}

/// The states that call a service, whose ARN ends with `resource`.
fn calls(resource: &str) -> BTreeMap<String, Value> {
    let calls = |state: &Value| state["Resource"].as_str().is_some_and(|it| it.ends_with(resource));
    states().into_iter().filter(|(_, state)| calls(state)).collect()
}

/// The states that invoke a function.
fn tasks() -> BTreeMap<String, Value> {
    calls(":lambda:invoke")
}

/// The errors that the retriers or the catchers of a task name.
fn errors(handlers: &Value) -> Vec<String> {
    let lists = handlers.as_array().unwrap().iter().map(|handler| &handler["ErrorEquals"]);
    lists
        .flat_map(|list| list.as_array().unwrap())
        .map(|name| name.as_str().unwrap().into())
        .collect()
}

#[test]
fn every_state_says_what_it_does() {
    for (name, state) in states() {
        assert!(state["Comment"].as_str().is_some_and(|text| text.len() > 20), "{name}");
    }
}

#[test]
fn every_task_has_a_limit_and_retriers() {
    for (name, task) in tasks() {
        assert!(task["TimeoutSeconds"].is_u64(), "{name}");
        for retrier in task["Retry"].as_array().unwrap() {
            assert_eq!(retrier["JitterStrategy"], "FULL", "{name}");
        }
        assert_eq!(task["Retry"][0]["ErrorEquals"][0], FailureKind::Unavailable.name(), "{name}");
    }
}

#[test]
fn all_retriers_of_functions_are_the_same() {
    let mut retriers = tasks().into_values().map(|task| task["Retry"].clone());
    let first = retriers.next().unwrap();
    assert!(retriers.all(|retrier| retrier == first));
    let mut retriers = calls(":sns:publish").into_values().map(|task| task["Retry"].clone());
    let first = retriers.next().unwrap();
    assert!(retriers.all(|retrier| retrier == first));
}

/// EventBridge inserts what it extracts into a template unescaped: a quotation mark in a cause
/// would end a string there, and invalid JSON is not delivered.
#[test]
fn no_event_is_put_into_a_template() {
    assert!(!text("template.yaml").contains("InputTransformer"));
}

#[test]
fn what_trying_again_cannot_fix_is_not_tried_again() {
    for (name, task) in tasks() {
        for error in errors(&task["Retry"]) {
            assert!(!["States.ALL", "States.TaskFailed"].contains(&&*error), "{name}: {error}");
            let ours = error.starts_with("Alpinist.");
            assert!(!ours || error == FailureKind::Unavailable.name(), "{name}: {error}");
        }
    }
}

#[test]
fn the_errors_in_the_definition_are_those_of_the_code() {
    let known: BTreeSet<_> = FailureKind::ALL.iter().map(|kind| kind.name().to_owned()).collect();
    let handled: BTreeSet<_> = tasks()
        .values()
        .flat_map(|task| {
            let catchers = task.get("Catch").map(errors).unwrap_or_default();
            [errors(&task["Retry"]), catchers].concat()
        })
        .filter(|error| error.starts_with("Alpinist."))
        .collect();
    assert!(handled.is_subset(&known), "{handled:?}");
    let ends_the_execution = ["InvalidInput", "Misconfigured", "AccessDenied", "Incomplete", "Bug"];
    let ends_the_execution = ends_the_execution.map(|name| format!("Alpinist.{name}"));
    let unhandled: BTreeSet<_> = known.difference(&handled).cloned().collect();
    assert_eq!(unhandled, BTreeSet::from(ends_the_execution));
}

#[test]
fn a_rejected_package_takes_the_same_way_to_the_index_and_ends_in_rejected() {
    let states = states();
    assert_eq!(states.keys().filter(|name| name.starts_with("alpinist: ")).count(), 9);
    let catchers = states["alpinist: SignAndPublish"]["Catch"].as_array().unwrap();
    let kind = json!([FailureKind::PackageRejected.name()]);
    let [catcher] = &catchers.iter().filter(|it| it["ErrorEquals"] == kind).collect::<Vec<_>>()[..]
    else {
        panic!("{catchers:?}");
    };
    assert_eq!(
        (&catcher["Next"], &catcher["Output"]),
        (&json!("Rejected"), &json!("{% $states.input %}"))
    );
}

#[test]
fn every_state_can_be_reached() {
    for machine in MACHINES {
        let definition = text(&format!("statemachine/{machine}.asl.json"));
        assert_reached(&serde_json::from_str(&definition).unwrap());
    }
}

fn assert_reached(part: &Value) {
    let states = part["States"].as_object().unwrap();
    let mut reached = BTreeSet::new();
    let mut next = vec![part["StartAt"].as_str().unwrap().to_owned()];
    while let Some(name) = next.pop() {
        if reached.insert(name.clone()) {
            let mut state = states[&name].clone();
            if state["Type"] == "Map" {
                assert_reached(&state["ItemProcessor"].take());
            }
            collect_next(&state, &mut next);
        }
    }
    assert_eq!(reached, states.keys().cloned().collect());
}

fn collect_next(value: &Value, names: &mut Vec<String>) {
    if let Some(object) = value.as_object() {
        for (key, value) in object {
            match (key.as_str(), value.as_str()) {
                ("Next" | "Default", Some(name)) => names.push(name.to_owned()),
                _ => collect_next(value, names),
            }
        }
    }
    value.as_array().into_iter().flatten().for_each(|value| collect_next(value, names));
}

#[test]
fn the_template_deploys_each_function_and_no_other() {
    let template = text("template.yaml");
    let deployed: BTreeSet<_> = template
        .lines()
        .filter_map(|line| line.trim().strip_prefix("CodeUri: target/lambda/"))
        .map(|name| name.trim_end_matches('/').to_owned())
        .collect();
    let folders = fs::read_dir(workspace::root().join("lambdas")).unwrap();
    let folders: BTreeSet<_> =
        folders.map(|folder| folder.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(deployed, folders);
}

/// The emulated AWS supports neither permissions boundaries nor reserved concurrency.
#[test]
fn each_role_has_the_path_and_the_boundary_of_the_organisation() {
    let template = text("template.yaml");
    let roles: Vec<_> =
        template.split("\n\n").filter(|part| part.contains("    Type: AWS::IAM::Role\n")).collect();
    assert!(roles.len() >= 12, "{}", roles.len());
    let boundary =
        "PermissionsBoundary: !If [RolesAreBounded, !Ref PermissionsBoundary, !Ref AWS::NoValue]";
    for role in roles {
        assert!(role.contains("Path: !Ref RolePath") && role.contains(boundary), "{role}");
    }
}

#[test]
fn the_functions_that_follow_uploads_can_be_bounded() {
    let template = text("template.yaml");
    let reserved = "ReservedConcurrentExecutions: !If [ConcurrencyIsReserved, !Ref ReservedConcurrency, !Ref AWS::NoValue]";
    let parts = template.split("\n\n").filter(|part| part.contains(reserved));
    let bounded: BTreeSet<_> = parts.filter_map(|part| part.trim().split(':').next()).collect();
    let functions = ["AggregateApkindex", "ExtractMetadata", "SignAndPublish", "WriteIndex"];
    let functions = functions.map(|name| format!("{name}Function"));
    assert_eq!(bounded, functions.iter().map(String::as_str).collect());
}

#[test]
fn only_one_role_may_read_the_private_key() {
    let template = text("template.yaml");
    let roles: Vec<_> = template.split("\n\n").filter(|part| part.contains("ssm:Get")).collect();
    let [role] = roles.as_slice() else { panic!("{} roles read parameters", roles.len()) };
    assert!(role.trim_start().starts_with("SignAndPublishRole:"), "{role}");
}

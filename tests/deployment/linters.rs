//! What linters report: those of AWS, and the one for dependencies.

use std::{fs, process::Command};

use alpinist_tests::{Tools, command, workspace};

use crate::definition::MACHINES;

fn lint(program: &str, arguments: &[&str]) {
    let program = Tools::install().unwrap().programs().join(program);
    let mut linter = Command::new(program);
    linter.current_dir(workspace::root()).args(arguments);
    let output = command::output(&mut linter).unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(String::from_utf8_lossy(&output), "");
}

/// Statelint does not know that the seconds of a Wait state may be an expression, as AWS documents.
fn with_fixed_seconds(definition: &str) -> String {
    let expression = definition.split('"').find(|text| text.starts_with("{% $ceil($min("));
    let Some(expression) = expression else { return definition.to_owned() };
    definition.replace(&format!("\"{expression}\""), "1")
}

#[test]
fn statelint_finds_no_fault_in_the_state_machines() {
    let directory = tempfile::tempdir().unwrap();
    for machine in MACHINES {
        let name = format!("{machine}.asl.json");
        let definition = workspace::root().join("statemachine").join(&name);
        let copy = directory.path().join(&name);
        fs::write(&copy, with_fixed_seconds(&fs::read_to_string(definition).unwrap())).unwrap();
        lint("statelint", &["--eval-jsonata", copy.to_str().unwrap()]);
    }
}

#[test]
fn cfn_lint_finds_no_fault_in_the_templates() {
    lint("cfn-lint", &["template.yaml", "ci/uploader.yaml"]);
}

/// Advisories are left out: their database must be downloaded, and CI has no network.
#[test]
fn cargo_deny_finds_no_fault_in_the_dependencies() {
    let program = Tools::install().unwrap().programs().join("cargo-deny");
    let mut deny = Command::new(program);
    deny.current_dir(workspace::root()).args(["--locked", "--log-level", "error"]);
    deny.args(["check", "bans", "licenses", "sources"]);
    command::output(&mut deny).unwrap_or_else(|error| panic!("{}", error.chain()));
}

#[test]
fn the_language_service_of_aws_finds_no_fault_in_the_state_machines() {
    let mut service = Tools::install().unwrap().script("asl.cjs");
    for machine in MACHINES {
        service.arg(workspace::root().join(format!("statemachine/{machine}.asl.json")));
    }
    let output = command::output(&mut service).unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(String::from_utf8_lossy(&output), "");
}

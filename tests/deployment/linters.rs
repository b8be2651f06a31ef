//! What the linters of AWS say.

use std::process::Command;

use alpinist_tests::{Tools, command, workspace};

fn lint(program: &str, arguments: &[&str]) {
    let program = Tools::install().unwrap().programs().join(program);
    let mut linter = Command::new(program);
    linter.current_dir(workspace::root()).args(arguments);
    let output = command::output(&mut linter).unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(String::from_utf8_lossy(&output), "");
}

#[test]
fn statelint_finds_no_fault_in_the_state_machine() {
    lint("statelint", &["--eval-jsonata", "statemachine/alpinist.asl.json"]);
}

#[test]
fn cfn_lint_finds_no_fault_in_the_template() {
    lint("cfn-lint", &["template.yaml"]);
}

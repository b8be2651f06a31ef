//! Which crate may use which.

use std::process::Command;

use alpinist_tests::workspace;

/// The packages that `package` is built from.
fn dependencies(package: &str) -> Vec<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(workspace::root()).args([
        "tree",
        "--offline",
        "--locked",
        "--edges",
        "normal",
    ]);
    let output = cargo.args(["--prefix", "none", "--package", package]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn the_formats_know_nothing_of_aws_and_of_time() {
    let all = dependencies("alpinist-apk");
    let foreign =
        |name: &&String| name.starts_with("aws-") || *name == "tokio" || *name == "tracing";
    assert_eq!(all.iter().find(foreign), None);
}

#[test]
fn the_steps_know_nothing_of_aws_and_of_lambda() {
    let all = dependencies("alpinist-repository");
    let foreign =
        |name: &&String| name.starts_with("aws-") || name.starts_with("lambda") || *name == "tokio";
    assert_eq!(all.iter().find(foreign), None);
}

#[test]
fn no_function_has_clients_of_other_services_than_it_asks() {
    let functions = [
        ("aggregate-apkindex", &["cloudformation", "sfn"][..]),
        ("extract-metadata", &["cloudformation", "sfn"]),
        ("heal", &["cloudformation"]),
        ("reindex", &["cloudformation", "sfn"]),
        ("sign-and-publish", &["cloudformation", "sfn"]),
        ("write-index", &["cloudformation", "sfn"]),
    ];
    for (function, services) in functions {
        let all = dependencies(function);
        let foreign = |name: &&String| services.contains(&name.trim_start_matches("aws-sdk-"));
        assert_eq!(all.iter().find(foreign), None, "{function}");
    }
    let all = dependencies("alpinist-cli");
    let foreign = |name: &&String| name.starts_with("lambda") || *name == "alpinist-lambda";
    assert_eq!(all.iter().find(foreign), None);
}

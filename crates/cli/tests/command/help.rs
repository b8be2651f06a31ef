//! The texts of `--help`.

use crate::support::Bench;

const COMMANDS: &[&str] = &[
    "",
    "push",
    "ls",
    "rm",
    "withdraw",
    "restore",
    "promote",
    "prune",
    "runs",
    "run",
    "replay",
    "reindex",
    "verify",
    "setup",
    "page",
    "page put",
    "page rm",
    "key",
    "key put",
    "key rotate",
    "key drop",
    "keygen",
    "reader",
    "reader add",
    "reader ls",
    "reader rm",
    "index",
    "inspect",
];

#[test]
fn help_teaches_by_example() {
    let bench = Bench::new();
    for command in COMMANDS {
        let said = bench.run(&format!("{command} --help").trim().replace("  ", " "));
        assert_eq!((said.status, &*said.err), (0, ""));
        assert!(said.out.contains("Examples:"), "{}", said.out);
        let name = format!("alpinist {command}").trim().replace(' ', "_");
        insta::assert_snapshot!(name, said.out);
    }
}

#[test]
fn what_is_not_understood_could_not_be_found_out() {
    let said = Bench::new().run("frobnicate");
    assert_eq!((said.status, &*said.out), (2, ""));
    assert!(said.err.contains("unrecognized subcommand 'frobnicate'"), "{}", said.err);
}

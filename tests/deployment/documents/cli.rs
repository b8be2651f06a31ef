//! The command's help, and the permissions that it needs.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::PathBuf};

use alpinist_tests::workspace;

/// The directory of the help texts that `crates/cli/tests/command/help.rs` checks.
const SNAPSHOTS: &str = "crates/cli/tests/command/snapshots";

/// The maximum width of a paragraph of help.
const WIDTH: usize = 110;

const INTRODUCTION: &str = "\
# The command

Each subcommand of `alpinist`: the IAM permissions that it needs, and its `--help`. This page is generated from the help
and from the table in `tests/deployment/documents/cli.rs`. After a change, run
`INSTA_UPDATE=always cargo test --workspace --test command help`, then
`UPDATE_DOCUMENTS=1 cargo test --workspace --test deployment documents`.

In the tables, `BUCKET` is the bucket, `REPOSITORY` a branch and a repository such as `3.22/main`, `STATE_MACHINE` the
state machine of the output `StateMachineArn`, `REINDEX_STATE_MACHINE` that of `ReindexStateMachineArn`, and
`key-value-store/ID` that of `ReadersArn`. Parameters have their default names. The beginning of an ARN, up to the
account, is left out.

With `--stack` or `ALPINIST_STACK`, a command also needs `cloudformation:DescribeStacks` on `stack/STACK/*`. Without a
stack, `--bucket`, `--state-machine` and `--reindex-state-machine` say what is needed. A private key in SSM is encrypted
with the account's key `aws/ssm`, which needs no permission of its own. *Optional* permissions make a command do more,
and it works without them.
";

/// A permission: the actions, the resources, and the purpose.
type Permission = (&'static [&'static str], &'static [&'static str], &'static str);

const LIST_BUCKET: &[&str] = &["s3:ListBucket"];
const GET_OBJECT: &[&str] = &["s3:GetObject"];
const LIST_EXECUTIONS: &[&str] = &["states:ListExecutions"];
const DESCRIBE_EXECUTION: &[&str] = &["states:DescribeExecution"];
const START_EXECUTION: &[&str] = &["states:StartExecution"];
const GET_PARAMETER: &[&str] = &["ssm:GetParameter"];

const BUCKET: &[&str] = &["BUCKET"];
const INDEXES: &[&str] = &["BUCKET/*/APKINDEX.tar.gz", "BUCKET/*/Packages.adb"];
const PAGE: &[&str] = &["BUCKET/index.html", "BUCKET/repositories.json"];
const MACHINE: &[&str] = &["STATE_MACHINE"];
const MACHINES: &[&str] = &["STATE_MACHINE", "REINDEX_STATE_MACHINE"];
const REINDEX: &[&str] = &["REINDEX_STATE_MACHINE"];
const EXECUTIONS: &[&str] = &["execution:STATE_MACHINE:*"];
const ALL_EXECUTIONS: &[&str] = &["execution:STATE_MACHINE:*", "execution:REINDEX_STATE_MACHINE:*"];
const REINDEX_EXECUTIONS: &[&str] = &["execution:REINDEX_STATE_MACHINE:*"];
const KEY_NAMES: &[&str] = &["parameter/apk/key", "parameter/apk/key-2"];
const PRIVATE_KEYS: &[&str] = &["parameter/apk/rsa", "parameter/apk/rsa-2"];

const READERS: &[&str] = &["key-value-store/ID"];

const SEE_READERS: Permission = (
    &["cloudfront-keyvaluestore:DescribeKeyValueStore"],
    READERS,
    "the version that the change is based on",
);
const FIND_PACKAGES: Permission = (LIST_BUCKET, BUCKET, "finding the packages");
const READ_INDEXES: Permission = (GET_OBJECT, INDEXES, "reading the published indexes");
const SEE_EXECUTIONS: Permission = (LIST_EXECUTIONS, MACHINE, "following the changes");
const SEE_CAUSES: Permission = (DESCRIBE_EXECUTION, EXECUTIONS, "following the changes");
const SEE_REINDEX: Permission = (DESCRIBE_EXECUTION, REINDEX_EXECUTIONS, "waiting for its end");
const LIST_UNCHANGED: Permission =
    (START_EXECUTION, MACHINE, "indexing what is unchanged, and not listed");
const DELETE_PACKAGES: Permission = (
    &["s3:DeleteObject", "s3:GetObject"],
    &["BUCKET/*.apk"],
    "deleting packages, unless they have changed",
);
const SEE_OTHER_STACKS: Permission = (
    &["cloudformation:DescribeStacks"],
    &["*"],
    "optional: making sure that no other stack has the same parameters",
);
const SEE_KEY_NAMES: Permission = (GET_PARAMETER, KEY_NAMES, "finding the keys in use");
const SEE_PRIVATE_KEYS: Permission = (GET_PARAMETER, PRIVATE_KEYS, "checking that they can sign");
const STORE_PRIVATE_KEY: Permission = (
    &["ssm:DeleteParameter", "ssm:PutParameter"],
    PRIVATE_KEYS,
    "storing the private key, in place of an unusable one",
);
const STORE_KEY_NAME: Permission = (&["ssm:PutParameter"], KEY_NAMES, "storing the key name");
const PUBLISH_KEY: Permission = (
    &["s3:GetObject", "s3:PutObject"],
    &["BUCKET/KEY_NAME"],
    "optional: publishing the public key before the first index",
);
const FIND_KEY: Permission =
    (LIST_BUCKET, BUCKET, "optional: learning that no public key of this name is published");

/// Each subcommand, and the permissions that it needs.
const COMMANDS: &[(&str, &[Permission])] = &[
    ("", &[]),
    (
        "push",
        &[
            (&["s3:PutObject"], &["BUCKET/REPOSITORY/*.apk"], "uploading"),
            (
                &["s3:AbortMultipartUpload"],
                &["BUCKET/REPOSITORY/*.apk"],
                "optional: removing the parts of a large package whose upload fails",
            ),
            (
                GET_OBJECT,
                &["BUCKET/REPOSITORY/*.apk"],
                "optional: comparing with the published package, and replacing it only if it is still that one",
            ),
            (
                GET_OBJECT,
                &["BUCKET/REPOSITORY/*.withdrawn"],
                "optional: uploading nothing that is withdrawn",
            ),
            (LIST_BUCKET, BUCKET, "`noarch` packages: finding the architectures"),
            (
                GET_OBJECT,
                &["BUCKET/REPOSITORY/*/APKINDEX.tar.gz", "BUCKET/REPOSITORY/*/Packages.adb"],
                "`noarch` packages, and `--wait`",
            ),
            (LIST_EXECUTIONS, MACHINE, "`--wait`"),
            (DESCRIBE_EXECUTION, EXECUTIONS, "`--wait`"),
            (START_EXECUTION, MACHINE, "`--wait`: indexing what is unchanged, and not listed"),
        ],
    ),
    (
        "ls",
        &[
            FIND_PACKAGES,
            READ_INDEXES,
            (GET_OBJECT, &["BUCKET/*.withdrawn", "BUCKET/*.index"], "`--all`"),
        ],
    ),
    (
        "rm",
        &[
            FIND_PACKAGES,
            READ_INDEXES,
            DELETE_PACKAGES,
            (&["s3:DeleteObject"], &["BUCKET/*.withdrawn"], "packages that are withdrawn"),
            SEE_EXECUTIONS,
            SEE_CAUSES,
        ],
    ),
    (
        "withdraw",
        &[
            FIND_PACKAGES,
            READ_INDEXES,
            (&["s3:PutObject", "s3:PutObjectTagging"], &["BUCKET/*.withdrawn"], "withdrawing"),
            SEE_EXECUTIONS,
            SEE_CAUSES,
        ],
    ),
    (
        "restore",
        &[
            FIND_PACKAGES,
            READ_INDEXES,
            (
                GET_OBJECT,
                &["BUCKET/*.withdrawn", "BUCKET/*.index"],
                "finding what is withdrawn, and what is to be listed",
            ),
            (&["s3:DeleteObject"], &["BUCKET/*.withdrawn"], "restoring"),
            SEE_EXECUTIONS,
            SEE_CAUSES,
        ],
    ),
    (
        "promote",
        &[
            FIND_PACKAGES,
            READ_INDEXES,
            (GET_OBJECT, &["BUCKET/FROM/*.apk"], "copying from there"),
            (
                GET_OBJECT,
                &["BUCKET/TO/*.withdrawn"],
                "optional: copying nothing that is withdrawn there",
            ),
            (
                &["s3:PutObject", "s3:GetObject"],
                &["BUCKET/TO/*.apk"],
                "copying there, and comparing with the published package",
            ),
            SEE_EXECUTIONS,
            SEE_CAUSES,
            LIST_UNCHANGED,
        ],
    ),
    (
        "prune",
        &[
            FIND_PACKAGES,
            READ_INDEXES,
            (
                &["s3:DeleteObject", "s3:GetObject"],
                &["BUCKET/*.apk"],
                "not with `--dry-run`: deleting packages, unless they have changed",
            ),
            (LIST_EXECUTIONS, MACHINE, "not with `--dry-run`: following the changes"),
            (DESCRIBE_EXECUTION, EXECUTIONS, "not with `--dry-run`: following the changes"),
        ],
    ),
    (
        "runs",
        &[
            (LIST_EXECUTIONS, MACHINES, "listing"),
            (DESCRIBE_EXECUTION, ALL_EXECUTIONS, "keys, errors and causes"),
        ],
    ),
    (
        "run",
        &[(
            &["states:DescribeExecution", "states:GetExecutionHistory"],
            ALL_EXECUTIONS,
            "the execution and its states",
        )],
    ),
    (
        "replay",
        &[
            (LIST_EXECUTIONS, MACHINE, "`--failed`"),
            (DESCRIBE_EXECUTION, ALL_EXECUTIONS, "reading the input, and waiting for the end"),
            (&["states:RedriveExecution"], EXECUTIONS, "redriving"),
            (START_EXECUTION, MACHINES, "starting what can't be redriven"),
        ],
    ),
    (
        "reindex",
        &[
            (LIST_BUCKET, BUCKET, "checking that there is something below the prefix"),
            (START_EXECUTION, REINDEX, "starting"),
            SEE_REINDEX,
            (GET_OBJECT, &["BUCKET/.alpinist/reindex/*"], "not with `--sign`: the report"),
        ],
    ),
    (
        "verify",
        &[
            FIND_PACKAGES,
            READ_INDEXES,
            (GET_OBJECT, &["BUCKET/*.pub", "BUCKET/*.pem"], "checking signatures"),
            (
                GET_OBJECT,
                &["BUCKET/*/packages.adb", "BUCKET/*/index.json"],
                "comparing them with `Packages.adb`",
            ),
            (
                GET_OBJECT,
                &["BUCKET/*.apk", "BUCKET/*.index"],
                "reading packages that no index lists, or all with `--deep`; copies of names with a `+`",
            ),
            (GET_OBJECT, &["BUCKET/*.withdrawn"], "saying why packages are withdrawn"),
            (GET_PARAMETER, KEY_NAMES, "optional: whether each key in use has signed each index"),
        ],
    ),
    ("setup", &[(GET_PARAMETER, KEY_NAMES, "not with `--key-name`: finding the keys in use")]),
    ("reader", &[]),
    (
        "reader add",
        &[
            SEE_READERS,
            (
                &["cloudfront-keyvaluestore:GetKey", "cloudfront-keyvaluestore:PutKey"],
                READERS,
                "storing the reader, unless there is one of this name",
            ),
        ],
    ),
    ("reader ls", &[(&["cloudfront-keyvaluestore:ListKeys"], READERS, "listing the readers")]),
    (
        "reader rm",
        &[
            SEE_READERS,
            (
                &["cloudfront-keyvaluestore:DeleteKey", "cloudfront-keyvaluestore:GetKey"],
                READERS,
                "removing the reader",
            ),
        ],
    ),
    ("page", &[]),
    (
        "page put",
        &[
            (LIST_BUCKET, BUCKET, "finding the directories and the public keys"),
            (
                &["s3:GetObject", "s3:PutObject", "s3:PutObjectTagging"],
                PAGE,
                "putting them, unless they are yours",
            ),
        ],
    ),
    (
        "page rm",
        &[
            (LIST_BUCKET, BUCKET, "learning that there is no page"),
            (&["s3:DeleteObject", "s3:GetObject"], PAGE, "removing them, unless they are yours"),
        ],
    ),
    ("key", &[]),
    (
        "key put",
        &[
            SEE_OTHER_STACKS,
            SEE_KEY_NAMES,
            SEE_PRIVATE_KEYS,
            STORE_PRIVATE_KEY,
            STORE_KEY_NAME,
            PUBLISH_KEY,
            FIND_KEY,
            (
                &["kms:GetPublicKey"],
                &["key/ID"],
                "optional, for a key in KMS: publishing its public half before the first index",
            ),
        ],
    ),
    (
        "key rotate",
        &[
            SEE_OTHER_STACKS,
            SEE_KEY_NAMES,
            SEE_PRIVATE_KEYS,
            STORE_PRIVATE_KEY,
            STORE_KEY_NAME,
            PUBLISH_KEY,
            FIND_KEY,
            (START_EXECUTION, REINDEX, "signing all indexes with both keys"),
            SEE_REINDEX,
        ],
    ),
    (
        "key drop",
        &[
            SEE_OTHER_STACKS,
            SEE_KEY_NAMES,
            (&["ssm:DeleteParameter"], KEY_NAMES, "dropping the key name, which ends its use"),
            (&["ssm:DeleteParameter"], PRIVATE_KEYS, "dropping the private key"),
        ],
    ),
    ("keygen", &[]),
    ("index", &[]),
    (
        "inspect",
        &[
            (GET_OBJECT, &["BUCKET/KEY"], "only for `s3://BUCKET/KEY`"),
            (GET_OBJECT, &["BUCKET/*.withdrawn"], "optional: saying whether it is withdrawn"),
        ],
    ),
];

/// Returns the file with the help of a subcommand.
fn snapshot(command: &str) -> PathBuf {
    let name = format!("alpinist {command}").trim_end().replace(' ', "_");
    workspace::root().join(SNAPSHOTS).join(format!("command__help__{name}.snap"))
}

/// Returns the help of a subcommand.
fn help(command: &str) -> String {
    let text = fs::read_to_string(snapshot(command)).unwrap();
    let (_, help) = text.trim_start_matches("---\n").split_once("---\n").unwrap();
    help.lines().map(wrapped).collect()
}

/// Returns a line of help, wrapped if it belongs to a wide paragraph or description.
fn wrapped(line: &str) -> String {
    let text = line.trim_start();
    let indent = " ".repeat(line.len() - text.len());
    if line.chars().count() <= WIDTH || !["", "          "].contains(&indent.as_str()) {
        return format!("{}\n", line.trim_end());
    }
    let (mut lines, mut last) = (String::new(), indent.clone());
    for word in text.split(' ') {
        if last.chars().count() + word.chars().count() > WIDTH {
            lines.push_str(last.trim_end());
            lines.push('\n');
            last.clone_from(&indent);
        }
        last.push_str(word);
        last.push(' ');
    }
    lines + last.trim_end() + "\n"
}

fn codes(texts: &[&str]) -> String {
    texts.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(", ")
}

/// Returns the permissions that a subcommand needs, in words or as a table.
fn needs(command: &str, permissions: &[Permission]) -> String {
    if permissions.is_empty() {
        let is_group = COMMANDS.iter().any(|(name, _)| name.starts_with(&format!("{command} ")));
        return if is_group { String::new() } else { "No permissions.\n\n".to_owned() };
    }
    let mut table = "| actions | on | for |\n|---|---|---|\n".to_owned();
    for (actions, resources, purpose) in permissions {
        writeln!(table, "| {} | {} | {purpose} |", codes(actions), codes(resources)).unwrap();
    }
    table + "\n"
}

fn document() -> String {
    let mut text = INTRODUCTION.to_owned();
    for (command, permissions) in COMMANDS {
        let (title, needs) = match *command {
            "" => ("All commands", String::new()),
            command => (command, needs(command, permissions)),
        };
        let help = help(command);
        write!(text, "\n## {title}\n\n{needs}```text\n{}\n```\n", help.trim_end()).unwrap();
    }
    text
}

#[test]
fn each_subcommand_is_documented_as_its_help_has_it() {
    super::assert_generated("docs/cli.md", &document());
}

#[test]
fn the_permissions_of_each_subcommand_are_known() {
    let entries = fs::read_dir(workspace::root().join(SNAPSHOTS)).unwrap();
    let names = entries.map(|entry| entry.unwrap().path());
    let is_help = |path: &PathBuf| path.to_string_lossy().contains("/command__help__");
    let found: BTreeSet<_> = names.filter(is_help).collect();
    let known: BTreeSet<_> = COMMANDS.iter().map(|(command, _)| snapshot(command)).collect();
    assert_eq!(found, known);
}

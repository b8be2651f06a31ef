//! Problems are found, and fixed with the suggested commands.

use alpinist_tests::{EmulatorOptions, KeyPair, LocalStack, PackageSpec};
use serde_json::Value;

use crate::fixture::Operator;

const PREFIX: &str = "3.22/main/x86_64";

/// What `verify` reports, by file name: the problem, and the command that fixes it or else the one
/// that deletes the package.
pub(crate) fn problems(verified: &Value) -> Vec<(&str, &str, &str)> {
    let problems = verified["problems"].as_array().unwrap().iter();
    problems
        .map(|problem| {
            let key = problem["key"].as_str().unwrap();
            let file = key.rsplit('/').next().unwrap();
            let command =
                if problem["fix"].is_null() { &problem["delete"] } else { &problem["fix"] };
            (file, problem["problem"].as_str().unwrap(), command.as_str().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn each_problem_is_fixed_by_the_command_that_verify_tells() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let stack = local_stack.deploy_beside_bucket("repaired", &[]).unwrap();
    let key_pair = KeyPair::generate("old@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    stack.put_key(&key_pair).await.unwrap();
    let operator = Operator::of(&stack);
    let fix = |command: &str| operator.run(command.strip_prefix("alpinist ").unwrap());

    // The bucket sends no events.
    let hello = PackageSpec::new("hello", "1.0").build(&operator.tools).unwrap();
    let plus = PackageSpec::new("plus++", "1.0").build(&operator.tools).unwrap();
    for package in [&hello, &plus] {
        stack.put(&package.key(PREFIX), package.bytes.clone()).await.unwrap();
    }
    let bad = format!("{PREFIX}/bad-1-r0.apk");
    stack.put(&bad, b"no package".to_vec()).await.unwrap();
    let verified = operator.json(1, "verify");
    let stale = "alpinist reindex 3.22/main/x86_64 --stale";
    let remove = "alpinist rm 3.22/main/x86_64/bad-1-r0.apk";
    let found = problems(&verified);
    assert_eq!(
        found[0],
        ("APKINDEX.tar.gz", "there is no index, although there are packages", stale)
    );
    assert_eq!((found[1].0, found[1].2), ("bad-1-r0.apk", remove));
    assert!(verified["problems"][1]["fix"].is_null(), "what deletes fixes nothing");
    assert!(
        found[1]
            .1
            .contains("not an apk package: it begins neither with a gzip header nor with `ADB`"),
        "{found:?}"
    );
    assert_eq!(found.len(), 2, "that no index lists the others is told once");
    let said = fix(stale);
    assert_eq!(said.status, Some(1), "one is rejected: {said}");
    assert!(said.out.contains("2 packages indexed, 0 unchanged\n"), "{said}");
    let copy = format!("{PREFIX}/plus  -1.0-r0.apk");
    stack.delete(&copy).await.unwrap();
    let verified = operator.json(1, "verify");
    let no_copy = "it has no copy for clients that ask for its name with a `+`";
    assert!(problems(&verified).contains(&("plus++-1.0-r0.apk", no_copy, stale)), "{verified}");
    fix(stale);

    // Events restore a copy automatically.
    stack.send_events().await.unwrap();
    stack.delete(&copy).await.unwrap();
    stack.wait_for_object(&copy, |_| true).await.unwrap();
    stack.wait_for_executions(&format!("{PREFIX}/"), 1).await.unwrap();
    let said = fix(remove);
    assert_eq!(said.out, format!("removed {bad}\n"), "{said}");
    assert_eq!(operator.done("verify"), "right: 2 packages in 1 index\n");
    assert_eq!(operator.json(0, "verify 3.22/main --deep")["packages"], 2);

    // What a listing shows.
    stack.plant(&format!("{PREFIX}/APKINDEX.tar.gz"), b"garbage".to_vec()).await.unwrap();
    stack.plant(&format!("{PREFIX}/gone-1-r0.index"), b"garbage".to_vec()).await.unwrap();
    let verified = operator.json(1, "verify");
    let found = problems(&verified);
    assert_eq!((found[0].0, found[0].2), ("APKINDEX.tar.gz", stale));
    assert!(found[0].1.starts_with("a client rejects the index: "), "{found:?}");
    assert_eq!(found[1], ("gone-1-r0.index", "it is a fragment without a package", stale));
    assert_eq!(fix(stale).status, Some(0));
    assert_eq!(operator.done("verify --deep"), "right: 2 packages in 1 index\n");

    // What only the content shows.
    let everything = "alpinist reindex 3.22/main/x86_64";
    let fragment = format!("{PREFIX}/hello-1.0-r0.index");
    stack.plant(&fragment, b"garbage".to_vec()).await.unwrap();
    assert_eq!(operator.run("verify").status, Some(0));
    let verified = operator.json(1, "verify --deep");
    let expected = ("hello-1.0-r0.apk", "its fragment does not describe it", everything);
    assert_eq!(problems(&verified), [expected]);
    assert_eq!(fix(everything).status, Some(0));
    stack.discard(key_pair.name()).await.unwrap();
    let verified = operator.json(1, "verify --deep");
    let found = problems(&verified);
    assert!(found[0].1.starts_with("no public key is published of those who signed"), "{found:?}");
    assert_eq!(fix(found[0].2).status, Some(0));
    assert_eq!(operator.run("verify --deep").status, Some(0));
}

#[tokio::test]
async fn what_no_event_told_of_is_published_by_a_push_of_the_same() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let stack = local_stack.deploy_beside_bucket("overlooked", &[]).unwrap();
    let key_pair = KeyPair::generate("ops@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    stack.put_key(&key_pair).await.unwrap();
    let operator = Operator::of(&stack);
    let hello = PackageSpec::new("hello", "1.0").build(&operator.tools).unwrap();
    hello.save(operator.path()).unwrap();
    let key = hello.key(PREFIX);
    stack.put(&key, hello.bytes.clone()).await.unwrap();
    assert_eq!(operator.done("push hello-1.0-r0.apk --to 3.22/main"), format!("unchanged {key}\n"));
    let push = "push hello-1.0-r0.apk --to 3.22/main --wait";
    assert_eq!(operator.done(push), format!("published {key}\n"));
    assert_eq!(operator.done(push), format!("unchanged {key}\n"));
    assert_eq!(operator.done("verify"), "right: 1 package in 1 index\n");

    // A damaged index does not list this package.
    let index = format!("{PREFIX}/APKINDEX.tar.gz");
    stack.put(&index, b"garbage".to_vec()).await.unwrap();
    assert_eq!(operator.done(push), format!("published {key}\n"));
    assert_eq!(operator.done("verify"), "right: 1 package in 1 index\n");

    // With a damaged index, packages are deleted by name and version, since their names are not
    // known.
    stack.put(&index, b"garbage".to_vec()).await.unwrap();
    let said = operator.run("rm hello");
    assert_eq!((said.status, &*said.out), (Some(2), ""), "{said}");
    let error =
        "error: 3.22/main/x86_64/APKINDEX.tar.gz does not say which versions of hello there are\n";
    assert!(said.err.starts_with(error), "{said}");
    stack.send_events().await.unwrap();
    let said = operator.run("rm hello-1.0-r0");
    assert_eq!((said.status, said.out), (Some(0), format!("removed {key}\n")));
}

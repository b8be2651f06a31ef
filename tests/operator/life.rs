//! The life of a package: withdrawn and restored, and never replaced.

use alpinist_tests::{EmulatorOptions, KeyPair, LocalStack, PackageSpec, http};

use crate::{fixture::Operator, packages::noise};

#[tokio::test]
async fn a_withdrawn_package_is_found_by_nobody_who_updates_until_it_is_restored() {
    let stack = LocalStack::shared().await.unwrap();
    let operator = Operator::of(&stack);
    for version in ["1.0", "1.1"] {
        operator.build(&PackageSpec::new("hello", version), "");
    }
    operator.build(&PackageSpec::new("bye", "1.0"), "");
    let all = "hello-1.0-r0.apk hello-1.1-r0.apk bye-1.0-r0.apk";
    operator.done(&format!("push {all} --to life/main --wait"));
    let late = stack.client("life/main", "x86_64").await.unwrap();
    assert!(late.update().unwrap().status.success());

    let key = "life/main/x86_64/hello-1.1-r0.apk";
    let withdraw = ["withdraw", "hello-1.1-r0", "--reason", "breaks the\nboot"];
    let said = operator.run_with(&withdraw);
    assert_eq!((said.status, said.out), (Some(0), format!("withdrawn {key}\n")), "{}", said.err);
    let said = operator.run_with(&withdraw);
    assert_eq!((said.status, said.out), (Some(0), format!("unchanged {key}\n")), "{}", said.err);

    // Who has an older index still installs it.
    let add = late.add(&["hello=1.1-r0"]).unwrap();
    assert!(add.status.success(), "{add}");
    let client = stack.client("life/main", "x86_64").await.unwrap();
    assert!(client.update().unwrap().status.success());
    let add = client.add(&["hello"]).unwrap();
    assert!(add.status.success() && add.text.contains("hello (1.0-r0)"), "{add}");

    // It is seen where it matters, and not listed by an upload.
    assert!(!operator.done("ls life").contains("hello-1.1-r0"));
    assert!(operator.done("ls life --all").contains("withdrawn: breaks the boot"));
    let listed = operator.json(0, "ls life --all");
    let found = listed.as_array().unwrap().iter().find(|package| package["key"] == key).unwrap();
    assert_eq!(
        (&found["withdrawn"], &found["version"]),
        (&"breaks the boot".into(), &"1.1-r0".into())
    );
    let verified = operator.done("verify life --deep");
    assert!(verified.contains(&format!("withdrawn {key}: breaks the boot\n")), "{verified}");
    let said = operator.run("push hello-1.1-r0.apk --to life/main --wait");
    assert_eq!(said.status, Some(1), "{said}");
    assert!(said.out.contains("is withdrawn (breaks the boot)"), "{said}");
    let bytes = stack.get(key).await.unwrap().unwrap();
    let execution = stack.upload(key, bytes).await.unwrap();
    let cause = execution.cause.unwrap();
    assert!(cause.contains("it is withdrawn: breaks the boot"), "{cause}");
    let inspected = operator.run(&format!("inspect s3://{}/{key}", stack.bucket()));
    assert!(inspected.out.contains("breaks the boot"), "{inspected}");

    let said = operator.run("restore bye");
    assert_eq!(said.status, Some(2), "{said}");
    assert!(said.err.contains("no package bye is withdrawn"), "{said}");
    assert_eq!(operator.done("restore hello --from life/main"), format!("restored {key}\n"));
    assert!(client.update().unwrap().status.success());
    let upgraded = client.run(["upgrade", "--no-scripts"]).unwrap();
    assert!(upgraded.text.contains("1.0-r0 -> 1.1-r0"), "{upgraded}");
    assert_eq!(operator.done("verify life --deep"), "right: 3 packages in 1 index\n");

    // With a deletion, the name is free again.
    operator.done(&format!("withdraw {key} --reason gone"));
    assert_eq!(operator.done(&format!("rm {key}")), format!("removed {key}\n"));
    let said = operator.done("push hello-1.1-r0.apk --to life/main --wait");
    assert_eq!(said, format!("published {key}\n"));
}

#[tokio::test]
async fn where_replacing_is_refused_nobody_replaces_a_package() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let stack = local_stack.deploy_as("immutable", &[("Replacing", "refused")]).unwrap();
    stack
        .put_key(&KeyPair::generate("ops@example.com", KeyPair::BITS_FOR_TESTS).unwrap())
        .await
        .unwrap();
    let operator = Operator::of(&stack);
    let first = PackageSpec::new("c++", "1.0").file("/usr/share/c", "first");
    operator.build(&first, "first");
    operator.build(&first.clone().file("/usr/share/more", "second"), "second");
    operator.build(
        &PackageSpec::new("large", "1.0").file("/usr/share/noise", &noise(9_000_000)),
        "first",
    );
    let key = "3.22/main/x86_64/c++-1.0-r0.apk";
    operator.done("push first/c++-1.0-r0.apk first/large-1.0-r0.apk --to 3.22/main --wait");
    let url = |key: &str| format!("{}/{}/{key}", stack.endpoint(), stack.bucket());
    for key in [key.replace('+', "%2B"), key.replace('+', "%20")] {
        let object = http::get(&url(&key)).unwrap();
        let forever = Some("max-age=31536000, immutable");
        assert_eq!((object.status, object.header("cache-control")), (200, forever), "{key}");
    }

    // By none of the ways to write.
    let said = operator.run("push second/c++-1.0-r0.apk --to 3.22/main --wait --replace");
    assert_eq!(said.status, Some(2), "{said}");
    assert!(said.err.contains("the stack's parameter Replacing is `refused`"), "{said}");
    assert_eq!(operator.run("push second/c++-1.0-r0.apk --to 3.22/main").status, Some(1));
    let file = operator.path().join("second/c++-1.0-r0.apk");
    let target = format!("s3://{}/{key}", stack.bucket());
    let large = "3.22/main/x86_64/large-1.0-r0.apk";
    let aws = |arguments: &[&str]| local_stack.emulator().aws().args(arguments).output().unwrap();
    for arguments in [
        ["s3", "cp", file.to_str().unwrap(), &target].as_slice(),
        &["s3", "cp", &format!("s3://{}/{large}", stack.bucket()), &target],
    ] {
        let said = aws(arguments);
        let error = String::from_utf8_lossy(&said.stderr);
        assert!(!said.status.success() && error.contains("AccessDenied"), "{error}");
    }

    // What is new is welcome, also as a copy, in parts, and withdrawn.
    let said = operator.done("promote c++-1.0-r0 large --from 3.22/main --to edge/main");
    assert_eq!(said.lines().count(), 2, "{said}");
    let new = "3.22/main/x86_64/new-1.0-r0.apk";
    let file = operator.build(&PackageSpec::new("new", "1.0"), "");
    let put = ["s3api", "put-object", "--bucket", stack.bucket(), "--key", new, "--body"];
    let said = aws(&[&put[..], &[file.to_str().unwrap(), "--if-none-match", "*"]].concat());
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    stack.wait_for_executions(new, 1).await.unwrap();
    operator.done(&format!("withdraw {key} --reason later"));
    operator.done(&format!("restore {key}"));
    let client = stack.client("3.22/main", "x86_64").await.unwrap();
    assert!(client.update().unwrap().status.success());
    let add = client.add(&["c++", "large", "new"]).unwrap();
    assert!(add.status.success(), "{add}");
    assert_eq!(operator.run("verify --deep").status, Some(0));
}

#[tokio::test]
async fn what_is_replaced_all_the_same_is_rejected_with_both_checksums() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let parameters = [("Replacing", "refused"), ("BucketPolicyIs", "yours")];
    let stack = local_stack.deploy_as("replaced", &parameters).unwrap();
    stack
        .put_key(&KeyPair::generate("ops@example.com", KeyPair::BITS_FOR_TESTS).unwrap())
        .await
        .unwrap();
    let operator = Operator::of(&stack);
    let first = PackageSpec::new("hello", "1.0");
    let second = first.clone().file("/usr/share/more", "more").build(&operator.tools).unwrap();
    let first = first.build(&operator.tools).unwrap();
    let key = first.key("3.22/main/x86_64");
    assert!(stack.upload(&key, first.bytes.clone()).await.unwrap().cause.is_none());
    let listed = operator.json(0, "ls");
    assert_eq!(listed.as_array().unwrap().len(), 1);

    let execution = stack.upload(&key, second.bytes).await.unwrap();
    let cause = execution.cause.unwrap();
    assert_eq!(cause.matches("Q1").count(), 2, "{cause}");
    assert_eq!(operator.json(0, "ls").as_array().unwrap().len(), 0);
    let verified = operator.run("verify");
    assert_eq!(verified.status, Some(1));
    assert!(verified.out.contains("`Replacing` is `refused`"), "{verified}");
    let said = operator.run(&format!("replay {}", execution.arn));
    assert_eq!(said.status, Some(1), "{said}");

    assert!(stack.upload(&key, first.bytes).await.unwrap().cause.is_none());
    assert_eq!(operator.run("verify --deep").status, Some(0));
}

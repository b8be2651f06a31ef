//! Packages: pushed, listed, deleted.

use alpinist_tests::{EmulatorOptions, KeyPair, LocalStack, PackageSpec, http};
use serde_json::json;

use crate::fixture::Operator;

/// Text of `length` bytes that does not compress well.
pub(crate) fn noise(length: usize) -> String {
    let mut state = 1_u64;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + u8::try_from((state >> 33) % 94).unwrap())
    };
    (0..length).map(|_| next()).collect()
}

#[tokio::test]
async fn pushed_packages_are_followed_until_the_real_apk_can_install_them() {
    let stack = LocalStack::shared().await.unwrap();
    let operator = Operator::of(&stack);
    operator.build(&PackageSpec::new("hello", "1.0").depends("large"), "");
    // More than two parts of a multipart upload.
    let large = PackageSpec::new("large", "1.0").file("/usr/share/noise", &noise(24_000_000));
    let file = operator.build(&large, "");
    assert!(file.metadata().unwrap().len() > 2 * 8 * 1024 * 1024);
    let said = operator.done("push hello-1.0-r0.apk large-1.0-r0.apk --to push/main --wait");
    let expected = "published push/main/x86_64/hello-1.0-r0.apk\n\
                    published push/main/x86_64/large-1.0-r0.apk\n";
    assert_eq!(said, expected);

    for name in ["hello", "large"] {
        let key = format!("push/main/x86_64/{name}-1.0-r0.apk");
        let object = http::get(&format!("{}/{}/{key}", stack.endpoint(), stack.bucket())).unwrap();
        assert_eq!(object.header("content-type"), Some("application/vnd.alpine.apk"), "{name}");
        assert_eq!(object.header("cache-control"), Some("no-cache"), "{name}");
    }
    let client = stack.client("push/main", "x86_64").await.unwrap();
    assert!(client.update().unwrap().status.success());
    let add = client.add(&["hello"]).unwrap();
    assert!(add.status.success(), "{add}");
}

#[tokio::test]
async fn a_package_is_pushed_where_its_path_says_and_under_its_own_name() {
    let stack = LocalStack::shared().await.unwrap();
    let operator = Operator::of(&stack);
    let below = "by-path/main/x86_64";
    let file = operator.build(&PackageSpec::new("hello", "1.0"), below);
    std::fs::rename(&file, file.with_file_name("hello_1.0_x86_64.apk")).unwrap();
    let uploaded = operator.json(0, "push by-path/main/x86_64/hello_1.0_x86_64.apk");
    assert_eq!(uploaded[0]["key"], "by-path/main/x86_64/hello-1.0-r0.apk");
    stack.wait_for_executions("by-path/main/x86_64/hello-1.0-r0.apk", 1).await.unwrap();
}

#[tokio::test]
async fn a_package_for_any_architecture_goes_to_each_that_the_repository_has() {
    let stack = LocalStack::shared().await.unwrap();
    let operator = Operator::of(&stack);
    operator.build(&PackageSpec::new("data", "1").architecture("noarch"), "");
    operator.build(&PackageSpec::new("hello", "1.0"), "");
    operator.build(&PackageSpec::new("arm", "1.0").architecture("aarch64"), "");
    let said = operator.run("push data-1-r0.apk --to any/main --wait");
    assert_eq!((said.status, &*said.out), (Some(2), ""), "{said}");
    let error = "error: data-1-r0.apk is for any architecture, but any/main has none yet\n\
                 hint: name one or more with `--arch`, such as `--arch x86_64`\n";
    assert_eq!(said.err, error);
    assert_eq!(stack.list("any/").await.unwrap(), Vec::<String>::new());

    // Another directory next to the architectures is none.
    stack.put("any/main/notes/README", b"notes".to_vec()).await.unwrap();
    operator.done("push arm-1.0-r0.apk --to any/main --wait");
    let to = |architecture: &str| format!("published any/main/{architecture}/data-1-r0.apk\n");
    let said =
        operator.done("push data-1-r0.apk hello-1.0-r0.apk --to any/main --arch riscv64 --wait");
    let hello = "published any/main/x86_64/hello-1.0-r0.apk\n";
    assert_eq!(said, [&*to("aarch64"), &to("riscv64"), &to("x86_64"), hello].concat());
    for architecture in ["aarch64", "riscv64", "x86_64"] {
        let client = stack.client("any/main", architecture).await.unwrap();
        assert!(client.update().unwrap().status.success(), "{architecture}");
        let add = client.add(&["data"]).unwrap();
        assert!(add.status.success(), "{architecture}: {add}");
    }
    let said = operator.done("push data-1-r0.apk --to any-other/main/x86_64 --wait");
    assert_eq!(said, "published any-other/main/x86_64/data-1-r0.apk\n");
}

#[tokio::test]
async fn what_is_published_is_not_replaced_by_accident() {
    let stack = LocalStack::shared().await.unwrap();
    let operator = Operator::of(&stack);
    let first = PackageSpec::new("hello", "1.0").file("/usr/share/noise", &noise(9_000_000));
    let second = first.clone().file("/usr/share/more", "more");
    operator.build(&first, "first");
    operator.build(&second, "second");
    let small = PackageSpec::new("small", "1.0").file("/usr/share/small/of", "a");
    let other = PackageSpec::new("small", "1.0").file("/usr/share/small/of", "b");
    for (spec, below) in [(&small, "first"), (&other, "second")] {
        operator.build(spec, below);
    }
    let files = |below: &str| format!("{below}/hello-1.0-r0.apk {below}/small-1.0-r0.apk");
    let (first, second) = (files("first"), files("second"));
    let key = |name: &str| format!("kept/main/x86_64/{name}-1.0-r0.apk");
    let all = |word: &str| format!("{word} {}\n{word} {}\n", key("hello"), key("small"));

    // Nor do the files of one command replace each other.
    let said = operator.run(&format!("push {first} {second} --to kept/main --wait"));
    assert_eq!((said.status, &*said.err), (Some(1), ""), "{said}");
    let taken = "first/hello-1.0-r0.apk and second/hello-1.0-r0.apk both get this key";
    assert!(said.out.contains(taken) && said.out.ends_with("\nNothing was uploaded.\n"), "{said}");
    assert_eq!(stack.list("kept/").await.unwrap(), Vec::<String>::new());

    assert_eq!(
        operator.done(&format!("push {first} {first} --to kept/main --wait")),
        all("published")
    );
    let before = stack.last_modified(&key("hello")).await.unwrap();
    assert_eq!(operator.done(&format!("push {first} --to kept/main --wait")), all("unchanged"));
    assert_eq!(operator.done(&format!("push {first} --to kept/main")), all("unchanged"));
    assert_eq!(stack.last_modified(&key("hello")).await.unwrap(), before);

    // A new package is not uploaded together with one whose key is taken.
    operator.build(&PackageSpec::new("new", "1.0"), "second");
    let push = format!("push {second} second/new-1.0-r0.apk --to kept/main --wait");
    let said = operator.run(&push);
    assert_eq!((said.status, &*said.err), (Some(1), ""), "{said}");
    let reason = "other bytes have this name and version. Raise the package's pkgrel, or say --replace, \
                  as after a rejection.\n";
    let taken = |name: &str| format!("taken {}: {reason}", key(name));
    assert_eq!(said.out, format!("{}{}Nothing was uploaded.\n", taken("hello"), taken("small")));
    let listed = operator.json(0, "ls kept");
    assert_eq!(listed.as_array().unwrap().len(), 2);

    let said = operator.run(&format!("{push} --replace"));
    let new = format!("published {}\n", key("new"));
    assert_eq!((said.status, said.out), (Some(0), all("published") + &new));
    assert!(said.err.contains("apk upgrade --available"), "{}", said.err);
    assert_eq!(operator.done(&format!("push {second} --to kept/main --replace")), all("unchanged"));
    let client = stack.client("kept/main", "x86_64").await.unwrap();
    assert!(client.update().unwrap().status.success());
    assert!(client.add(&["hello", "small"]).unwrap().status.success());
    assert_eq!(operator.done("verify kept --deep"), "right: 3 packages in 1 index\n");
}

#[tokio::test]
async fn what_would_be_rejected_is_not_uploaded() {
    let stack = LocalStack::shared().await.unwrap();
    let operator = Operator::of(&stack);
    operator.build(&PackageSpec::new("good", "1.0"), "");
    std::fs::write(operator.path().join("bad.apk"), "no package").unwrap();
    let said = operator.run("push good-1.0-r0.apk bad.apk --to rejected/main");
    assert_eq!((said.status, &*said.err), (Some(1), ""), "{said}");
    let expected = "rejected bad.apk: not an apk package: it begins neither with a gzip header nor with `ADB`. \
                    Upload an .apk that was built by abuild, melange, nfpm or `apk mkpkg`.\nNothing was uploaded.\n";
    assert_eq!(said.out, expected);
    assert_eq!(stack.list("rejected/").await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn what_only_the_repository_can_reject_is_told_with_its_reason() {
    let stack = LocalStack::shared().await.unwrap();
    let operator = Operator::of(&stack);
    let trusted = KeyPair::generate("builder@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    let other = KeyPair::generate("builder@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    let impostor = KeyPair::new(trusted.name(), other.private());
    let key = format!(".alpinist/trusted-keys/{}", trusted.name());
    stack.put(&key, trusted.public().unwrap().into_bytes()).await.unwrap();
    operator.build(&PackageSpec::new("fake", "1.0").signed_by(&impostor), "");
    let ends = operator.json(1, "push fake-1.0-r0.apk --to impostor/main --wait");
    assert_eq!(ends[0]["outcome"], "rejected");
    let cause = ends[0]["cause"].as_str().unwrap();
    assert!(cause.contains(&format!("its signature by {} is wrong", trusted.name())), "{cause}");
    let said = operator.run("promote impostor/main/x86_64/fake-1.0-r0.apk --to impostor/other");
    assert_eq!((said.status, &*said.out), (Some(2), ""), "{said}");
    assert!(said.err.contains("is in no index, so it can't be promoted"), "{said}");
}

#[tokio::test]
async fn what_lies_in_the_bucket_is_inspected_like_a_file() {
    let stack = LocalStack::shared().await.unwrap();
    let operator = Operator::of(&stack);
    operator.build(&PackageSpec::new("hello", "1.0"), "");
    operator.done("push hello-1.0-r0.apk --to inspected/main --wait");
    let object = format!("s3://{}/inspected/main/x86_64/hello-1.0-r0.apk", stack.bucket());
    let mut there = operator.json(0, &format!("inspect {object}"));
    let mut here = operator.json(0, "inspect hello-1.0-r0.apk");
    assert_eq!(there["file"].take(), json!(object));
    assert_eq!(here["file"].take(), json!("hello-1.0-r0.apk"));
    assert_eq!(there, here);

    let url =
        format!("{}/{}/inspected/main/x86_64/hello-1.0-r0.apk", stack.endpoint(), stack.bucket());
    let mut there = operator.json(0, &format!("inspect {url}?download=1"));
    assert_eq!(there["file"].take(), json!(format!("{url}?download=1")));
    assert_eq!(there["entry"], here["entry"]);
    let said = operator.run("inspect http://127.0.0.1:9/hello.apk");
    assert_eq!((said.status, &*said.out), (Some(2), ""), "{said}");
    assert!(said.err.contains("error: http://127.0.0.1:9/hello.apk can't be read"), "{said}");

    let said = operator.run(&format!("inspect {object}.gone"));
    assert_eq!((said.status, &*said.out), (Some(2), ""), "{said}");
    assert!(said.err.starts_with(&format!("error: there is no package {object}.gone\n")), "{said}");
}

#[tokio::test]
async fn packages_are_listed_and_deleted() {
    let stack = LocalStack::shared().await.unwrap();
    let operator = Operator::of(&stack);
    for version in ["1.0", "1.1"] {
        operator.build(&PackageSpec::new("hello", version), "");
    }
    operator.build(&PackageSpec::new("hello-doc", "1.0"), "");
    let files = "hello-1.0-r0.apk hello-1.1-r0.apk hello-doc-1.0-r0.apk";
    operator.done(&format!("push {files} --to list-a/main --wait"));
    operator.done("push hello-1.0-r0.apk --to list-b/main --wait");

    let names = |prefix: &str| {
        let listed = operator.json(0, &format!("ls {prefix}"));
        let listed = listed.as_array().unwrap().iter();
        let stem = |package: &serde_json::Value| {
            format!(
                "{}-{}",
                package["name"].as_str().unwrap(),
                package["version"].as_str().unwrap()
            )
        };
        listed.map(stem).collect::<Vec<_>>()
    };
    assert_eq!(names("list-a"), ["hello-1.0-r0", "hello-1.1-r0", "hello-doc-1.0-r0"]);
    let text = operator.done("ls list-b/main/x86_64");
    assert!(text.starts_with("list-b/main/x86_64/hello-1.0-r0.apk  "), "{text}");
    assert!(text.ends_with("  hello for a test of Alpinist\n"), "{text}");
    let said = operator.run("ls nowhere/main");
    assert_eq!((said.status, &*said.out), (Some(2), ""), "{said}");
    for command in ["ls", "push hello-1.0-r0.apk --to list-a/main"] {
        let said = operator.run(&format!("{command} --bucket no-such-bucket"));
        assert_eq!((said.status, &*said.out), (Some(2), ""), "{said}");
        assert!(
            said.err.contains(": there is no bucket no-such-bucket\nhint: `aws s3 ls`"),
            "{said}"
        );
    }

    let said = operator.run("rm hello-1.0-r0");
    assert_eq!((said.status, &*said.out), (Some(2), ""), "{said}");
    assert!(said.err.contains("in list-a/main and in list-b/main"), "{said}");
    let removed = operator.json(0, "rm hello-1.0-r0 --from list-a/main");
    let expected = json!([{"key": "list-a/main/x86_64/hello-1.0-r0.apk", "outcome": "published"}]);
    assert_eq!(removed, expected);
    assert_eq!(names("list-a"), ["hello-1.1-r0", "hello-doc-1.0-r0"]);
    let said = operator.done("rm hello --from list-a/main/x86_64");
    assert_eq!(said, "removed list-a/main/x86_64/hello-1.1-r0.apk\n");
    assert_eq!(names("list-a"), ["hello-doc-1.0-r0"]);
    let said = operator.run("rm hello --from list-a/main");
    assert_eq!(said.status, Some(2), "{said}");
    assert!(said.err.contains("error: there is no package hello\n"), "{said}");
}

#[tokio::test]
async fn what_was_tried_is_promoted_for_each_architecture() {
    let stack = LocalStack::shared().await.unwrap();
    let operator = Operator::of(&stack);
    operator.build(&PackageSpec::new("hello", "1.0"), "");
    operator.build(&PackageSpec::new("data", "1").architecture("noarch"), "");
    operator.done("push hello-1.0-r0.apk --to tried/testing --wait");
    operator.done("push data-1-r0.apk --to tried/testing/aarch64 --wait");
    let said = operator.done("promote hello-1.0-r0 --from tried/testing --to released/main");
    assert_eq!(said, "published released/main/x86_64/hello-1.0-r0.apk\n");
    let said = operator.done("promote data-1-r0 --from tried/testing --to released/main");
    assert_eq!(said, "published released/main/aarch64/data-1-r0.apk\n");

    let client = stack.client("released/main", "x86_64").await.unwrap();
    assert!(client.update().unwrap().status.success());
    let add = client.add(&["hello"]).unwrap();
    assert!(add.status.success(), "{add}");
    let said = operator.done("promote hello-1.0-r0 --from tried/testing --to released/main");
    assert_eq!(said, "unchanged released/main/x86_64/hello-1.0-r0.apk\n");
    let said = operator.run("promote hello-2.0-r0 --from tried/testing --to released/main");
    assert!(said.err.starts_with("error: there is no package hello-2.0-r0\n"), "{said}");
}

#[tokio::test]
async fn all_versions_are_promoted_and_none_takes_the_place_of_other_bytes() {
    let stack = LocalStack::shared().await.unwrap();
    let operator = Operator::of(&stack);
    for version in ["1.0", "1.1"] {
        operator.build(&PackageSpec::new("hello", version), "");
    }
    operator.done("push hello-1.0-r0.apk hello-1.1-r0.apk --to new/testing --wait");
    let other = PackageSpec::new("hello", "1.1").file("/usr/share/other", "other");
    operator.build(&other, "other");
    operator.done("push other/hello-1.1-r0.apk --to new/main --wait");
    let key = |version: &str| format!("new/main/x86_64/hello-{version}-r0.apk");

    let said = operator.run("promote hello --to new/main");
    assert_eq!((said.status, &*said.out), (Some(2), ""), "{said}");
    assert!(said.err.starts_with("error: missing `--from` for hello\n"), "{said}");
    let said = operator.run("promote hello --from new/testing --to new/main");
    assert_eq!((said.status, &*said.err), (Some(1), ""), "{said}");
    let expected = format!(
        "taken {}: other bytes have this name and version. Raise the package's pkgrel, or say \
         --replace, as after a rejection.\nNothing was copied.\n",
        key("1.1")
    );
    assert_eq!(said.out, expected);
    assert_eq!(operator.json(0, "ls new/main").as_array().unwrap().len(), 1);

    let said = operator.done("promote new/testing/x86_64/hello-1.0-r0.apk --to new/main");
    assert_eq!(said, format!("published {}\n", key("1.0")));
    let said = operator.run("promote hello --from new/testing --to new/main --replace");
    let expected = format!("unchanged {}\npublished {}\n", key("1.0"), key("1.1"));
    assert_eq!((said.status, said.out), (Some(0), expected));
    assert!(said.err.contains("apk upgrade --available"), "{}", said.err);
    let tried = stack.get("new/testing/x86_64/hello-1.1-r0.apk").await.unwrap();
    assert_eq!(stack.get(&key("1.1")).await.unwrap(), tried);
}

#[tokio::test]
async fn a_name_that_may_be_one_with_a_version_deletes_nothing() {
    let stack = LocalStack::shared().await.unwrap();
    let operator = Operator::of(&stack);
    operator.build(&PackageSpec::new("go", "1.21"), "");
    operator.build(&PackageSpec::new("go-1.21-r0", "5"), "");
    operator.done("push go-1.21-r0.apk go-1.21-r0-5-r0.apk --to two/main --wait");
    for command in ["rm go-1.21-r0", "promote go-1.21-r0 --from two/main --to three/main"] {
        let said = operator.run(command);
        assert_eq!((said.status, &*said.out), (Some(2), ""), "{said}");
        let expected = "error: go-1.21-r0 may be the name of a package \
                        (two/main/x86_64/go-1.21-r0-5-r0.apk) or a name with a version \
                        (two/main/x86_64/go-1.21-r0.apk)\n\
                        hint: nothing was changed: give the keys of the packages instead\n";
        assert_eq!(said.err, expected);
    }
    assert_eq!(operator.json(0, "ls two").as_array().unwrap().len(), 2);
    let said = operator.done("rm two/main/x86_64/go-1.21-r0.apk");
    assert_eq!(said, "removed two/main/x86_64/go-1.21-r0.apk\n");
    let said = operator.done("rm go-1.21-r0");
    assert_eq!(said, "removed two/main/x86_64/go-1.21-r0-5-r0.apk\n");
}

#[tokio::test]
async fn old_versions_are_pruned_unless_somebody_needs_them() {
    let stack = LocalStack::shared().await.unwrap();
    let operator = Operator::of(&stack);
    for version in ["1.9", "1.10", "1.11"] {
        operator.build(&PackageSpec::new("lib", version), "");
    }
    operator.build(&PackageSpec::new("tool", "1.0").depends("lib<1.10"), "");
    operator.done("push lib-1.9-r0.apk lib-1.10-r0.apk lib-1.11-r0.apk tool-1.0-r0.apk --to pruned/main --wait");

    let key = |stem: &str| format!("pruned/main/x86_64/{stem}.apk");
    let plan = operator.json(1, "prune pruned --keep 1 --dry-run");
    assert_eq!(plan["removed"], json!([key("lib-1.10-r0"), key("lib-1.9-r0")]));
    let (needed, by) = (key("lib-1.9-r0"), key("tool-1.0-r0"));
    assert_eq!(plan["needed"], json!([{"key": needed, "by": by, "dependency": "lib<1.10"}]));
    let said = operator.run("prune pruned --keep 1");
    assert_eq!((said.status, &*said.err), (Some(1), ""), "{said}");
    assert_eq!(operator.done("prune pruned --keep 1 --older-than 1d"), "nothing to do\n");
    assert_eq!(operator.json(0, "ls pruned").as_array().unwrap().len(), 4);

    let both = format!("removed {}\nremoved {}\n", key("lib-1.10-r0"), key("lib-1.9-r0"));
    assert_eq!(operator.done("prune pruned --keep 1 --force"), both);
    assert_eq!(operator.json(0, "ls pruned").as_array().unwrap().len(), 2);
    let client = stack.client("pruned/main", "x86_64").await.unwrap();
    client.update().unwrap();
    assert!(client.add(&["lib"]).unwrap().status.success());
    assert!(!client.add(&["tool"]).unwrap().status.success());
}

#[tokio::test]
async fn what_apk_can_not_order_is_warned_of_wherever_a_person_looks() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let stack = local_stack.deploy_as("warned", &[]).unwrap();
    let key_pair = KeyPair::generate("ops@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    stack.put_key(&key_pair).await.unwrap();
    let operator = Operator::of(&stack);
    let warning = |version: &str| format!("apk can't order the version `{version}`");
    let [older, newer] = ["1.2.3_beta.9", "1.2.3_beta.10"];
    for version in [older, newer] {
        operator.build(&PackageSpec::new("tied", version), "packages");
    }
    let remedy = "`version: 1.2.3` with `prerelease: p4`";
    let file = format!("packages/tied-{older}-r0.apk");
    let said = operator.run(&format!("inspect {file}"));
    assert!(
        said.status == Some(0) && said.out.contains(&warning(&format!("{older}-r0"))),
        "{said}"
    );
    assert!(said.out.contains(remedy), "{said}");
    std::fs::write(operator.path().join("ops.rsa"), key_pair.private()).unwrap();
    let said =
        operator.run(&format!("index packages --key ops.rsa --key-name {}", key_pair.name()));
    assert!(
        said.status == Some(0) && said.err.contains(&warning(&format!("{newer}-r0"))),
        "{said}"
    );

    for version in [newer, older] {
        let said =
            operator.run(&format!("push packages/tied-{version}-r0.apk --to warned/main --wait"));
        assert_eq!(said.status, Some(0), "{said}");
        assert!(said.err.contains(&warning(&format!("{version}-r0"))), "{said}");
        assert!(said.err.contains(remedy), "{said}");
    }
    let verified = operator.json(0, "verify");
    assert_eq!(verified["warnings"].as_array().unwrap().len(), 2, "{verified}");
    let executions = stack.wait_for_executions("warned/main/", 2).await.unwrap();
    for execution in &executions {
        let output = execution.output.as_ref().unwrap().to_string();
        assert!(output.contains("apk can't order the version"), "{output}");
    }
    let log = std::fs::read_to_string(local_stack.emulator().log()).unwrap();
    let lines: Vec<_> =
        log.lines().filter(|line| line.contains("apk can't order the version")).collect();
    assert!(lines.iter().any(|line| line.contains(r#""level":"WARN""#)), "{log}");
    assert!(log.contains(r#""PackagesWarned":1"#), "{log}");

    let said = operator.run("prune warned --keep 1");
    assert_eq!((said.status, &*said.out), (Some(0), "nothing to do\n"), "{said}");
    let kept = format!(
        "kept warned/main/x86_64/tied-{newer}-r0.apk: apk can't tell whether its version is older"
    );
    assert!(said.err.contains(&kept) || said.err.contains(&kept.replace(newer, older)), "{said}");
    assert_eq!(operator.json(0, "ls warned").as_array().unwrap().len(), 2);
    assert_eq!(
        operator.json(0, "prune warned --keep 1 --dry-run")["tied"].as_array().unwrap().len(),
        1
    );
}

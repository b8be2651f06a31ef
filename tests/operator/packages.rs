//! Packages: pushed, listed, deleted.

use alpinist_tests::{KeyPair, LocalStack, PackageSpec, http};
use serde_json::json;

use crate::desk::Desk;

/// Text of `length` bytes that does not compress well.
fn noise(length: usize) -> String {
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
    let desk = Desk::of(&stack);
    desk.build(&PackageSpec::new("hello", "1.0").depends("large"), "");
    // More than two parts of an upload.
    let large = PackageSpec::new("large", "1.0").file("/usr/share/noise", &noise(24_000_000));
    let file = desk.build(&large, "");
    assert!(file.metadata().unwrap().len() > 2 * 8 * 1024 * 1024);
    let said = desk.done("push hello-1.0-r0.apk large-1.0-r0.apk --to push/main --wait");
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
    let desk = Desk::of(&stack);
    let below = "by-path/main/x86_64";
    let file = desk.build(&PackageSpec::new("hello", "1.0"), below);
    std::fs::rename(&file, file.with_file_name("hello_1.0_x86_64.apk")).unwrap();
    let uploaded = desk.json(0, "push by-path/main/x86_64/hello_1.0_x86_64.apk");
    assert_eq!(uploaded[0]["key"], "by-path/main/x86_64/hello-1.0-r0.apk");
    stack.wait_for_executions("by-path/main/x86_64/hello-1.0-r0.apk", 1).await.unwrap();

    desk.build(&PackageSpec::new("data", "1").architecture("noarch"), "");
    let said = desk.run("push data-1-r0.apk --to by-path/main");
    assert_eq!((said.status, &*said.out), (Some(2), ""), "{said}");
    assert!(said.err.contains("error: nothing says where data-1-r0.apk is to go"), "{said}");
    let said = desk.done("push data-1-r0.apk --to by-path/main/x86_64 --wait");
    assert_eq!(said, "published by-path/main/x86_64/data-1-r0.apk\n");
}

#[tokio::test]
async fn what_would_be_refused_is_not_uploaded() {
    let stack = LocalStack::shared().await.unwrap();
    let desk = Desk::of(&stack);
    desk.build(&PackageSpec::new("good", "1.0"), "");
    std::fs::write(desk.path().join("bad.apk"), "no package").unwrap();
    let said = desk.run("push good-1.0-r0.apk bad.apk --to refused/main");
    assert_eq!((said.status, &*said.err), (Some(1), ""), "{said}");
    let expected = "refused bad.apk: the file does not begin as a gzip stream, as a package does. \
                    Upload an .apk that was built by abuild, melange or nfpm.\nNothing was uploaded.\n";
    assert_eq!(said.out, expected);
    assert_eq!(stack.list("refused/").await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn what_only_the_repository_can_refuse_is_told_with_its_reason() {
    let stack = LocalStack::shared().await.unwrap();
    let desk = Desk::of(&stack);
    let trusted = KeyPair::generate("builder@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    let other = KeyPair::generate("builder@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    let impostor = KeyPair::new(trusted.name(), other.private());
    let key = format!(".alpinist/trusted-keys/{}", trusted.name());
    stack.put(&key, trusted.public().unwrap().into_bytes()).await.unwrap();
    desk.build(&PackageSpec::new("fake", "1.0").signed_by(&impostor), "");
    let ends = desk.json(1, "push fake-1.0-r0.apk --to impostor/main --wait");
    assert_eq!(ends[0]["outcome"], "refused");
    let cause = ends[0]["cause"].as_str().unwrap();
    assert!(cause.contains(&format!("its signature by {} is wrong", trusted.name())), "{cause}");
}

#[tokio::test]
async fn what_lies_in_the_bucket_is_inspected_like_a_file() {
    let stack = LocalStack::shared().await.unwrap();
    let desk = Desk::of(&stack);
    desk.build(&PackageSpec::new("hello", "1.0"), "");
    desk.done("push hello-1.0-r0.apk --to inspected/main --wait");
    let object = format!("s3://{}/inspected/main/x86_64/hello-1.0-r0.apk", stack.bucket());
    let mut there = desk.json(0, &format!("inspect {object}"));
    let mut here = desk.json(0, "inspect hello-1.0-r0.apk");
    assert_eq!(there["file"].take(), json!(object));
    assert_eq!(here["file"].take(), json!("hello-1.0-r0.apk"));
    assert_eq!(there, here);

    let url =
        format!("{}/{}/inspected/main/x86_64/hello-1.0-r0.apk", stack.endpoint(), stack.bucket());
    let mut there = desk.json(0, &format!("inspect {url}?download=1"));
    assert_eq!(there["file"].take(), json!(format!("{url}?download=1")));
    assert_eq!(there["entry"], here["entry"]);
    let said = desk.run("inspect http://127.0.0.1:9/hello.apk");
    assert_eq!((said.status, &*said.out), (Some(2), ""), "{said}");
    assert!(said.err.contains("error: http://127.0.0.1:9/hello.apk can't be read"), "{said}");

    let said = desk.run(&format!("inspect {object}.gone"));
    assert_eq!((said.status, &*said.out), (Some(2), ""), "{said}");
    assert!(said.err.starts_with(&format!("error: there is no package {object}.gone\n")), "{said}");
}

#[tokio::test]
async fn packages_are_listed_and_deleted() {
    let stack = LocalStack::shared().await.unwrap();
    let desk = Desk::of(&stack);
    for version in ["1.0", "1.1"] {
        desk.build(&PackageSpec::new("hello", version), "");
    }
    desk.build(&PackageSpec::new("hello-doc", "1.0"), "");
    let files = "hello-1.0-r0.apk hello-1.1-r0.apk hello-doc-1.0-r0.apk";
    desk.done(&format!("push {files} --to list-a/main --wait"));
    desk.done("push hello-1.0-r0.apk --to list-b/main --wait");

    let names = |prefix: &str| {
        let listed = desk.json(0, &format!("ls {prefix}"));
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
    let text = desk.done("ls list-b/main/x86_64");
    assert!(text.starts_with("list-b/main/x86_64/hello-1.0-r0.apk  "), "{text}");
    assert!(text.ends_with("  hello for a test of Alpinist\n"), "{text}");
    let said = desk.run("ls nowhere/main");
    assert_eq!((said.status, &*said.out), (Some(2), ""), "{said}");

    let said = desk.run("rm hello-1.0-r0");
    assert_eq!((said.status, &*said.out), (Some(2), ""), "{said}");
    assert!(said.err.contains("in list-a/main and in list-b/main"), "{said}");
    let removed = desk.json(0, "rm hello-1.0-r0 --from list-a/main");
    let expected = json!([{"key": "list-a/main/x86_64/hello-1.0-r0.apk", "outcome": "published"}]);
    assert_eq!(removed, expected);
    assert_eq!(names("list-a"), ["hello-1.1-r0", "hello-doc-1.0-r0"]);
    let said = desk.done("rm hello --from list-a/main/x86_64");
    assert_eq!(said, "removed list-a/main/x86_64/hello-1.1-r0.apk\n");
    assert_eq!(names("list-a"), ["hello-doc-1.0-r0"]);
    let said = desk.run("rm hello --from list-a/main");
    assert_eq!(said.status, Some(2), "{said}");
    assert!(said.err.contains("error: there is no package hello\n"), "{said}");
}

#[tokio::test]
async fn what_was_tried_is_promoted_for_each_architecture() {
    let stack = LocalStack::shared().await.unwrap();
    let desk = Desk::of(&stack);
    desk.build(&PackageSpec::new("hello", "1.0"), "");
    desk.build(&PackageSpec::new("data", "1").architecture("noarch"), "");
    desk.done("push hello-1.0-r0.apk --to tried/testing --wait");
    desk.done("push data-1-r0.apk --to tried/testing/aarch64 --wait");
    let said = desk.done("promote hello-1.0-r0 --from tried/testing --to released/main");
    assert_eq!(said, "published released/main/x86_64/hello-1.0-r0.apk\n");
    let said = desk.done("promote data-1-r0 --from tried/testing --to released/main");
    assert_eq!(said, "published released/main/aarch64/data-1-r0.apk\n");

    let client = stack.client("released/main", "x86_64").await.unwrap();
    assert!(client.update().unwrap().status.success());
    let add = client.add(&["hello"]).unwrap();
    assert!(add.status.success(), "{add}");
    let said = desk.run("promote hello-1.0-r0 --from tried/testing --to released/main");
    assert_eq!((said.status, &*said.out), (Some(2), ""), "{said}");
    let expected = "error: released/main/x86_64/hello-1.0-r0.apk is there already\n";
    assert!(said.err.starts_with(expected), "{said}");
    let said = desk.run("promote hello-2.0-r0 --from tried/testing --to released/main");
    assert!(said.err.starts_with("error: there is no package hello-2.0-r0\n"), "{said}");
}

#[tokio::test]
async fn old_versions_are_pruned_unless_somebody_needs_them() {
    let stack = LocalStack::shared().await.unwrap();
    let desk = Desk::of(&stack);
    for version in ["1.9", "1.10", "1.11"] {
        desk.build(&PackageSpec::new("lib", version), "");
    }
    desk.build(&PackageSpec::new("tool", "1.0").depends("lib<1.10"), "");
    desk.done("push lib-1.9-r0.apk lib-1.10-r0.apk lib-1.11-r0.apk tool-1.0-r0.apk --to pruned/main --wait");

    let key = |stem: &str| format!("pruned/main/x86_64/{stem}.apk");
    let plan = desk.json(1, "prune pruned --keep 1 --dry-run");
    assert_eq!(plan["removed"], json!([key("lib-1.10-r0"), key("lib-1.9-r0")]));
    let (needed, by) = (key("lib-1.9-r0"), key("tool-1.0-r0"));
    assert_eq!(plan["needed"], json!([{"key": needed, "by": by, "dependency": "lib<1.10"}]));
    let said = desk.run("prune pruned --keep 1");
    assert_eq!((said.status, &*said.err), (Some(1), ""), "{said}");
    assert_eq!(desk.done("prune pruned --keep 1 --older-than 1d"), "nothing to do\n");
    assert_eq!(desk.json(0, "ls pruned").as_array().unwrap().len(), 4);

    let both = format!("removed {}\nremoved {}\n", key("lib-1.10-r0"), key("lib-1.9-r0"));
    assert_eq!(desk.done("prune pruned --keep 1 --force"), both);
    assert_eq!(desk.json(0, "ls pruned").as_array().unwrap().len(), 2);
    let client = stack.client("pruned/main", "x86_64").await.unwrap();
    client.update().unwrap();
    assert!(client.add(&["lib"]).unwrap().status.success());
    assert!(!client.add(&["tool"]).unwrap().status.success());
}

//! Packages of format v3, and of both formats beside each other.

use std::{fs, path::Path, process::Command};

use alpinist_apk::{adb::index::ReadIndex, entry::IndexEntry};
use alpinist_tests::{
    ApkClient, EmulatorOptions, KeyPair, LocalStack, PackageSpec, Stack, command, http,
};
use serde_json::{Value, json};

use crate::{fixture::Operator, repair::problems};

impl Operator {
    /// Builds a package of format v3 into a directory below the own one.
    fn build_v3(&self, (name, version): (&str, &str), architecture: &str, below: &str) {
        let architecture = format!("arch:{architecture}");
        let package = self.tools.apk().make_package(name, version, &[&architecture]).unwrap();
        let directory = self.path().join(below);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(format!("{name}-{version}.apk")), package).unwrap();
    }

    /// What `ls` prints: `<name>-<version>` of each package.
    fn listed(&self, prefix: &str) -> Vec<String> {
        let listed = self.json(0, &format!("ls {prefix}"));
        let text = |package: &Value, field: &str| package[field].as_str().unwrap().to_owned();
        let stem = |package| format!("{}-{}", text(package, "name"), text(package, "version"));
        listed.as_array().unwrap().iter().map(stem).collect()
    }
}

/// What each object for format v3 lists, after checking that they agree.
async fn in_adb(stack: &Stack, directory: &str) -> Vec<String> {
    let get = async |file: &str| stack.get(&format!("{directory}/{file}")).await.unwrap().unwrap();
    let index = get("Packages.adb").await;
    assert_eq!(get("packages.adb").await, index);
    let json: Value = serde_json::from_slice(&get("index.json").await).unwrap();
    let entries = ReadIndex::read(&index).unwrap().entries;
    let names: Vec<_> = entries.iter().map(|entry| entry.metadata.name.as_str()).collect();
    assert_eq!(json["packages"].as_object().unwrap().keys().collect::<Vec<_>>(), names);
    entries.iter().map(IndexEntry::file_stem).collect()
}

#[tokio::test]
async fn a_pushed_v3_package_is_in_each_object_when_the_command_ends() {
    let stack = LocalStack::shared().await.unwrap();
    let operator = Operator::of(&stack);
    for name in ["a", "b", "c"] {
        operator.build_v3((name, "1-r0"), "x86_64", "");
        let said = operator.done(&format!("push {name}-1-r0.apk --to pushed-v3/main --wait"));
        assert_eq!(said, format!("published pushed-v3/main/x86_64/{name}-1-r0.apk\n"));
        let listed = in_adb(&stack, "pushed-v3/main/x86_64").await;
        assert!(listed.contains(&format!("{name}-1-r0")), "{listed:?}");
    }
}

#[tokio::test]
async fn packages_of_both_formats_are_listed_pruned_promoted_and_deleted() {
    let stack = LocalStack::shared().await.unwrap();
    let operator = Operator::of(&stack);
    for version in ["1.9-r0", "1.10-r0"] {
        operator.build_v3(("lib", version), "x86_64", "");
    }
    for version in ["1.0", "1.1"] {
        operator.build(&PackageSpec::new("tool", version), "");
    }
    operator.build_v3(("alone", "1-r0"), "x86_64", "");
    let files = "lib-1.9-r0.apk lib-1.10-r0.apk tool-1.0-r0.apk tool-1.1-r0.apk";
    operator.done(&format!("push {files} --to mixed-v3/main --wait"));
    operator.done("push alone-1-r0.apk --to alone-v3/main --wait");
    let all = ["lib-1.10-r0", "lib-1.9-r0", "tool-1.0-r0", "tool-1.1-r0"];
    let mut listed = operator.listed("mixed-v3");
    listed.sort();
    assert_eq!(listed, all);
    assert_eq!(operator.listed("alone-v3"), ["alone-1-r0"]);
    assert_eq!(operator.done("verify mixed-v3 --deep"), "right: 4 packages in 1 index\n");
    assert_eq!(operator.done("verify alone-v3 --deep"), "right: 1 package in 1 index\n");

    let key = |stem: &str| format!("mixed-v3/main/x86_64/{stem}.apk");
    let old = [key("lib-1.9-r0"), key("tool-1.0-r0")];
    let plan = operator.json(0, "prune mixed-v3 --keep 1 --dry-run");
    assert_eq!(plan["removed"], json!(old));
    let said = operator.done("prune mixed-v3 --keep 1");
    assert_eq!(said, format!("removed {}\nremoved {}\n", old[0], old[1]));
    assert_eq!(in_adb(&stack, "mixed-v3/main/x86_64").await, ["lib-1.10-r0", "tool-1.1-r0"]);

    let said = operator.done("promote lib tool --from mixed-v3/main --to both-v3/released");
    let to = |stem: &str| format!("published both-v3/released/x86_64/{stem}.apk\n");
    assert_eq!(said, [to("lib-1.10-r0"), to("tool-1.1-r0")].concat());
    let line = format!("v3 {}/both-v3/released", stack.repository_url());
    let client = stack.client_of_line(&line, "x86_64").await.unwrap();
    assert!(client.update().unwrap().status.success());
    let add = client.add(&["lib", "tool"]).unwrap();
    assert!(add.status.success(), "{add}");
    let said = operator.done("promote lib-1.10-r0 --from mixed-v3/main --to both-v3/released");
    assert_eq!(said, "unchanged both-v3/released/x86_64/lib-1.10-r0.apk\n");

    let said = operator.done("rm lib --from both-v3/released");
    assert_eq!(said, "removed both-v3/released/x86_64/lib-1.10-r0.apk\n");
    assert_eq!(in_adb(&stack, "both-v3/released/x86_64").await, ["tool-1.1-r0"]);
    let said = operator.done("rm alone");
    assert_eq!(said, "removed alone-v3/main/x86_64/alone-1-r0.apk\n");
    assert!(in_adb(&stack, "alone-v3/main/x86_64").await.is_empty());
    assert_eq!(operator.done("verify alone-v3"), "right: 0 packages in 1 index\n");
    assert_eq!(operator.listed("alone-v3"), Vec::<String>::new());
}

#[tokio::test]
async fn each_problem_with_format_v3_is_fixed_by_the_command_that_verify_tells() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let stack = local_stack.deploy_beside_bucket("repaired-v3", &[]).unwrap();
    let key_pair = KeyPair::generate("ops@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    stack.put_key(&key_pair).await.unwrap();
    let operator = Operator::of(&stack);
    let fix = |command: &str| operator.run(command.strip_prefix("alpinist ").unwrap());
    let stale = "alpinist reindex 25.12/feed/x86_64 --stale";

    // The bucket sends no events.
    operator.build_v3(("b", "1-r0"), "x86_64", "");
    let object = |file: &str| format!("25.12/feed/x86_64/{file}");
    let v3 = fs::read(operator.path().join("b-1-r0.apk")).unwrap();
    stack.put(&object("b-1-r0.apk"), v3).await.unwrap();
    let verified = operator.json(1, "verify");
    let missing = "there is no index, although there are packages";
    assert_eq!(problems(&verified), [("Packages.adb", missing, stale)]);
    assert_eq!(fix(stale).status, Some(0));
    let v2 = PackageSpec::new("a", "1.0").build(&operator.tools).unwrap();
    stack.put(&v2.key("25.12/feed/x86_64"), v2.bytes.clone()).await.unwrap();
    let verified = operator.json(1, "verify");
    assert_eq!(problems(&verified), [("APKINDEX.tar.gz", missing, stale)]);
    assert_eq!(fix(stale).status, Some(0));
    assert_eq!(operator.done("verify --deep"), "right: 2 packages in 1 index\n");

    for (file, problem) in [
        ("Packages.adb", "a client rejects the index: "),
        ("packages.adb", "it is not a copy of `Packages.adb`"),
        ("index.json", "it does not say what `Packages.adb` lists"),
    ] {
        stack.plant(&object(file), b"garbage".to_vec()).await.unwrap();
        let verified = operator.json(1, "verify");
        let found = problems(&verified);
        assert!(found[0].1.starts_with(problem), "{file}: {found:?}");
        assert_eq!((found[0].0, found[0].2), (file, stale));
        assert_eq!(fix(stale).status, Some(0));
        assert_eq!(operator.done("verify --deep"), "right: 2 packages in 1 index\n", "{file}");
    }

    // Where an index of format v3 is to be everywhere, it is missed where there is none.
    stack.put(&v2.key("25.12/old/x86_64"), v2.bytes.clone()).await.unwrap();
    assert_eq!(operator.run("reindex 25.12/old --stale").status, Some(0));
    assert_eq!(operator.run("verify").status, Some(0));
    let parameters = [("BucketIs", "existing"), ("V3Index", "always")];
    local_stack.deploy_as("repaired-v3", &parameters).unwrap();
    let verified = operator.json(1, "verify");
    let message = "there is no index of format v3, although `V3Index` is `always`";
    let fix_old = "alpinist reindex 25.12/old/x86_64 --stale";
    assert_eq!(problems(&verified), [("Packages.adb", message, fix_old)]);
    assert_eq!(fix(fix_old).status, Some(0));
    assert_eq!(operator.done("verify --deep"), "right: 3 packages in 2 indexes\n");
    assert_eq!(in_adb(&stack, "25.12/old/x86_64").await, ["a-1.0-r0"]);
}

/// New machines of an architecture that read the index of format v3 by the keyword, and by the URL
/// that OpenWrt uses.
async fn clients_of_v3(stack: &Stack, repository: &str, architecture: &str) -> [ApkClient; 2] {
    let url = format!("{}/{repository}", stack.repository_url());
    let client = async |line: &str| stack.client_of_line(line, architecture).await.unwrap();
    [
        client(&format!("v3 {url}")).await,
        client(&format!("{url}/{architecture}/packages.adb")).await,
    ]
}

/// Whatever the line of the client, it asks for a `noarch` package where the index is: it is listed
/// under the architecture of the directory.
#[tokio::test]
async fn a_v3_package_for_any_architecture_goes_to_each_that_the_repository_has() {
    let stack = LocalStack::shared().await.unwrap();
    let operator = Operator::of(&stack);
    let architectures = ["aarch64_cortex-a53", "x86_64"];
    operator.build_v3(("fonts", "1-r0"), "noarch", "");
    operator.build(&PackageSpec::new("data", "1").architecture("noarch"), "");
    for architecture in architectures {
        operator.build_v3(("tool", "1-r0"), architecture, architecture);
    }
    let tools = architectures.map(|architecture| format!("{architecture}/tool-1-r0.apk"));
    operator.done(&format!("push {} --to each-v3/feed --wait", tools.join(" ")));
    let said = operator.done("push fonts-1-r0.apk data-1-r0.apk --to each-v3/feed --wait");
    let published = |architecture: &str| {
        ["fonts", "data"]
            .map(|name| format!("published each-v3/feed/{architecture}/{name}-1-r0.apk\n"))
    };
    for line in architectures.iter().flat_map(|architecture| published(architecture)) {
        assert!(said.contains(&line), "{said}");
    }
    assert_eq!(said.lines().count(), 4, "{said}");

    // An architecture that the repository gets later.
    let said =
        operator.done("promote fonts data --from each-v3/feed/x86_64 --to each-v3/feed/mips_24kc");
    for line in published("mips_24kc") {
        assert!(said.contains(&line), "{said}");
    }
    for architecture in architectures.into_iter().chain(["mips_24kc"]) {
        for client in clients_of_v3(&stack, "each-v3/feed", architecture).await {
            assert!(client.update().unwrap().status.success(), "{architecture}");
            let add = client.add(&["fonts", "data"]).unwrap();
            assert!(add.status.success(), "{architecture}: {add}");
        }
        let client = stack.client("each-v3/feed", architecture).await.unwrap();
        assert!(client.update().unwrap().status.success(), "{architecture}");
        let add = client.add(&["data"]).unwrap();
        assert!(add.status.success(), "{architecture}: {add}");
    }
    assert_eq!(operator.run("verify each-v3/feed").status, Some(0));
}

/// Runs a line of what `setup` prints, as on the machine with this root directory.
fn run_line(line: &str, root: &Path) {
    let etc = root.join("etc/apk");
    let line = line.replace("/etc/apk", &etc.display().to_string());
    if let Some(arguments) = line.strip_prefix("wget -O ") {
        let (path, url) = arguments.split_once(' ').unwrap();
        let found = http::get(url).unwrap();
        assert_eq!(found.status, 200, "{url}");
        fs::write(path, found.body).unwrap();
        return;
    }
    command::output(Command::new("sh").args(["-c", &line])).unwrap();
}

/// The machine is one of Alpine, with the configuration of a router: OpenWrt's own apk fetches and
/// verifies by other libraries.
#[tokio::test]
async fn the_lines_for_a_router_make_it_install_from_the_feed() {
    let stack = LocalStack::shared().await.unwrap();
    let operator = Operator::of(&stack);
    let architecture = "aarch64_cortex-a53";
    operator.build_v3(("greeter", "1-r0"), architecture, "");
    operator.done("push greeter-1-r0.apk --to 25.12/router --wait");
    let said = operator.done(&format!("setup 25.12/router --url {}", stack.repository_url()));
    let (_, lines) = said.split_once("# On OpenWrt, for packages of format v3:\n").unwrap();

    // `apk add --initdb --arch`, by which images are built, writes `etc/apk/arch`.
    let router = ApkClient::new(stack.apk().clone(), "", architecture).unwrap();
    let root = router.root();
    let written = fs::read_to_string(root.join("etc/apk/arch")).unwrap();
    assert_eq!(written.trim_end(), architecture);
    for directory in ["keys", "repositories.d"] {
        fs::create_dir_all(root.join("etc/apk").join(directory)).unwrap();
    }
    let (lines, last) = lines.trim_end().rsplit_once('\n').unwrap();
    for line in lines.lines() {
        run_line(line, &root);
    }
    assert_eq!(last, "apk update");
    let update = router.run_own(["update"]).unwrap();
    assert!(update.status.success() && !update.text.contains("UNTRUSTED"), "{update}");
    let add = router.run_own(["add", "--no-scripts", "greeter"]).unwrap();
    assert!(add.status.success(), "{add}");
    let file = fs::read_to_string(root.join("usr/share/greeter/version")).unwrap();
    assert_eq!(file, "greeter 1-r0\n");
}

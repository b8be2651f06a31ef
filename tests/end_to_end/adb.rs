//! Packages of format v3: the real client installs them through each address of their index.

use std::fs;

use alpinist_tests::{
    ApkClient, EmulatorOptions, KeyPair, LocalStack, PackageSpec, Stack, command, workspace,
};
use serde_json::{Value, json};

use crate::repository::{Repository, assert_succeeded, listed, publish};

impl Repository {
    /// Uploads a package of format v3 that `apk mkpkg` makes.
    async fn publish_v3(&self, name: &str, version: &str, more: &[&str]) {
        let package = self.stack.apk().make_package(name, version, more).unwrap();
        let key = format!("{}/{name}-{version}.apk", self.prefix());
        assert_succeeded(&self.stack.upload(&key, package).await.unwrap());
    }

    /// New machines that read the index of format v3 of the repository.
    async fn clients_of_v3(&self) -> Vec<ApkClient> {
        clients_of_v3(&self.stack, &self.prefix()).await
    }
}

/// New machines that read the index of format v3 in the directory `prefix`: by the keyword of
/// Alpine, by the file's name there, and by that at OpenWrt.
async fn clients_of_v3(stack: &Stack, prefix: &str) -> Vec<ApkClient> {
    let url = stack.repository_url();
    let repository = prefix.strip_suffix("/x86_64").unwrap();
    let mut clients = Vec::new();
    for line in [
        format!("v3 {url}/{repository}"),
        format!("{url}/{prefix}/Packages.adb"),
        format!("{url}/{prefix}/packages.adb"),
    ] {
        clients.push(stack.client_of_line(&line, "x86_64").await.unwrap());
    }
    clients
}

fn assert_installs(client: &ApkClient, name: &str, version: &str) {
    let add = client.add(&[name]).unwrap();
    assert!(add.status.success(), "{add}");
    let file = client.root().join("usr/share").join(name).join("version");
    assert_eq!(fs::read_to_string(file).unwrap(), format!("{name} {version}\n"));
}

#[tokio::test]
async fn both_formats_are_installed_through_each_address() {
    let repository = Repository::open("formats").await;
    repository.publish(&repository.build(&PackageSpec::new("old", "1.0"))).await;
    let ours = "arch:x86_64";
    repository.publish_v3("g++", "13.2_rc1~0abc-r0", &[ours, "depends:old>=1.0"]).await;
    repository.publish_v3("data", "1.0-r0", &["arch:noarch", "description:For all"]).await;
    repository.publish_v3("tool", "1-r0", &[ours, "provides:cmd:tool=1-r0", "tags:a:b=1"]).await;
    for client in repository.clients_of_v3().await {
        assert_eq!(
            listed(&client),
            ["data-1.0-r0", "g++-13.2_rc1~0abc-r0", "old-1.0-r0", "tool-1-r0"]
        );
        for (name, version) in [("g++", "13.2_rc1~0abc-r0"), ("data", "1.0-r0"), ("tool", "1-r0")] {
            assert_installs(&client, name, version);
        }
        let installed = client.installed().unwrap().text;
        assert!(installed.contains("old-1.0-r0"), "{installed}");
    }
    assert_eq!(repository.available().await, ["old-1.0-r0"], "v2 clients notice nothing");
    assert_eq!(repository.install("old").await, "old 1.0\n");
}

#[tokio::test]
async fn a_replaced_v3_package_and_the_removal_of_the_last_one_reach_the_clients() {
    let repository = Repository::open("replaced-v3").await;
    repository.publish_v3("tool", "1-r0", &["arch:x86_64", "description:First"]).await;
    repository.publish_v3("tool", "1-r0", &["arch:x86_64", "description:Second"]).await;
    for client in repository.clients_of_v3().await {
        assert_eq!(listed(&client), ["tool-1-r0"]);
        let search = client.run(["search", "--description", "Second"]).unwrap();
        assert_eq!(search.text, "tool-1-r0\n");
        assert_installs(&client, "tool", "1-r0");
    }
    let key = format!("{}/tool-1-r0.apk", repository.prefix());
    assert_succeeded(&repository.stack.remove(&key).await.unwrap());
    for client in repository.clients_of_v3().await {
        assert!(listed(&client).is_empty());
    }
}

#[tokio::test]
async fn a_real_feed_is_published_with_our_key() {
    let Some(fixtures) = workspace::fixtures() else { return };
    let feed = fixtures.join("../v3/real/mossdef");
    let repository = Repository::open("feed").await;
    let mut files: Vec<_> = fs::read_dir(&feed).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "apk"));
    files.sort();
    let mut names = Vec::new();
    for path in &files {
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let key = format!("{}/{stem}.apk", repository.prefix());
        let bytes = fs::read(path).unwrap();
        assert_succeeded(&repository.stack.upload(&key, bytes).await.unwrap());
        names.push(stem);
    }
    assert_eq!(names.len(), 6, "in {}", feed.display());
    for client in repository.clients_of_v3().await {
        assert_eq!(listed(&client), names);
        // The others need packages of OpenWrt. This one is signed by a key that we do not have.
        let add = client.add(&["wireless-regdb", "sunwait"]).unwrap();
        assert!(add.status.success() || add.text.contains("required by"), "{add}");
        let fetched = client.fetch("sunwait").unwrap();
        assert!(fetched.0.status.success(), "{}", fetched.0);
    }
}

/// Publishes a v3 package, and returns whether a new machine that has only this key installs it.
async fn publishes_for(stack: &Stack, key_name: &str, public_key: &str, name: &str) -> bool {
    let package = stack.apk().make_package(name, "1-r0", &["arch:x86_64"]).unwrap();
    let key = format!("25.12/feed/x86_64/{name}-1-r0.apk");
    assert_succeeded(&stack.upload(&key, package).await.unwrap());
    installs_with(stack, key_name, public_key, name)
}

fn installs_with(stack: &Stack, key_name: &str, public_key: &str, name: &str) -> bool {
    let line = format!("v3 {}/25.12/feed", stack.repository_url());
    let client = ApkClient::new(stack.apk().clone(), &line, "x86_64").unwrap();
    client.trust(key_name, public_key.as_bytes()).unwrap();
    let update = client.update().unwrap();
    assert_eq!(update.status.success(), !update.text.contains("UNTRUSTED"), "{update}");
    update.status.success() && client.add(&[name]).unwrap().status.success()
}

#[tokio::test]
async fn keys_of_each_kind_in_kms_sign_format_v3() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    for (name, spec) in [("p256", "ECC_NIST_P256"), ("p384", "ECC_NIST_P384"), ("rsa", "RSA_3072")]
    {
        let kms = |arguments: &[&str]| -> Value {
            let mut aws = local_stack.emulator().aws();
            let output = command::output(aws.arg("kms").args(arguments));
            let output = output.unwrap_or_else(|error| panic!("{}", error.chain()));
            serde_json::from_slice(&output).unwrap()
        };
        let made = kms(&["create-key", "--key-usage", "SIGN_VERIFY", "--key-spec", spec]);
        let arn = made["KeyMetadata"]["Arn"].as_str().unwrap();
        let signing_key = format!("kms:{arn}");
        let stack = local_stack.deploy_as(name, &[("SigningKey", &signing_key)]).unwrap();
        let key_name = format!("{name}.pem");
        stack.put_key_name(&key_name).await.unwrap();
        let public = kms(&["get-public-key", "--key-id", arn]);
        let public = public["PublicKey"].as_str().unwrap();
        let public = format!("-----BEGIN PUBLIC KEY-----\n{public}\n-----END PUBLIC KEY-----\n");
        assert!(publishes_for(&stack, &key_name, &public, "hello").await, "{spec}");
    }
}

#[tokio::test]
async fn clients_with_an_ec_key_and_with_an_rsa_key_are_both_served() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let stack = local_stack.deploy_as("kinds", &[]).unwrap();
    let ec = KeyPair::generate_ec("ec.pem", "prime256v1").unwrap();
    let rsa = KeyPair::generate("rsa@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    stack.put_key(&ec).await.unwrap();
    let [ec_public, rsa_public] = [&ec, &rsa].map(|key| key.public().unwrap());
    assert!(publishes_for(&stack, ec.name(), &ec_public, "first").await);
    assert!(!installs_with(&stack, rsa.name(), &rsa_public, "first"));
    stack.put_second_key(&rsa).await.unwrap();
    assert!(publishes_for(&stack, ec.name(), &ec_public, "second").await);
    assert!(installs_with(&stack, rsa.name(), &rsa_public, "second"));
    publish(&stack, "old").await;
}

#[tokio::test]
async fn where_it_is_always_wanted_clients_of_v3_install_packages_of_v2() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let stack = local_stack.deploy_as("always", &[]).unwrap();
    let key_pair = KeyPair::generate("ops@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    stack.put_key(&key_pair).await.unwrap();
    let directory = "3.22/main/x86_64";
    publish(&stack, "old").await;
    for client in clients_of_v3(&stack, directory).await {
        let update = client.update().unwrap();
        assert!(!update.status.success(), "there is no index of format v3: {update}");
    }

    // A directory from before gets it by a reindex, and by an upload.
    let stack = local_stack.deploy_as("always", &[("V3Index", "always")]).unwrap();
    assert_succeeded(&stack.reindex(&json!({"only_stale": true})).await.unwrap());
    for client in clients_of_v3(&stack, directory).await {
        assert_eq!(listed(&client), ["old-1.0-r0"]);
        assert_installs(&client, "old", "1.0");
    }
    publish(&stack, "new").await;
    for client in clients_of_v3(&stack, directory).await {
        assert_eq!(listed(&client), ["new-1.0-r0", "old-1.0-r0"]);
        assert_installs(&client, "new", "1.0");
    }

    for name in ["old", "new"] {
        let key = format!("{directory}/{name}-1.0-r0.apk");
        assert_succeeded(&stack.remove(&key).await.unwrap());
    }
    for client in clients_of_v3(&stack, directory).await {
        assert!(listed(&client).is_empty());
    }
    let client = stack.client("3.22/main", "x86_64").await.unwrap();
    assert!(listed(&client).is_empty(), "nor do clients of v2 miss theirs");
}

//! The life of a signing key: missing, unusable, stored, replaced by another, in KMS.

use std::process::Command;

use alpinist_apk::index_archive::IndexArchive;
use alpinist_tests::{
    EmulatorOptions, ExecutionStatus, KeyPair, LocalStack, PackageSpec, Stack, Tools, command,
};
use serde_json::{Value, json};

use crate::repository::{assert_succeeded, publish};

const INDEX: &str = "3.22/main/x86_64/APKINDEX.tar.gz";

/// Returns whether a new machine that has only this key can install a package.
fn can_install(stack: &Stack, key_pair: &KeyPair, package: &str) -> bool {
    let public = key_pair.public().unwrap();
    let client = stack.client_with_key("3.22/main", key_pair.name(), &public).unwrap();
    let update = client.update().unwrap();
    let is_untrusted = update.text.contains("UNTRUSTED signature");
    assert_eq!(update.status.success(), !is_untrusted, "{update}");
    !is_untrusted && client.add(&[package]).unwrap().status.success()
}

fn openssl(arguments: &[&str]) -> String {
    let output = command::output(Command::new("openssl").args(arguments));
    String::from_utf8(output.unwrap()).unwrap()
}

#[tokio::test]
async fn one_key_takes_the_place_of_another_without_an_outage() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let stack = local_stack.deploy_as("rotation", &[]).unwrap();
    let [old, new] = ["old@example.com", "new@example.com"]
        .map(|who| KeyPair::generate(who, KeyPair::BITS_FOR_TESTS).unwrap());
    let accept = |package: &str| [&old, &new].map(|key| can_install(&stack, key, package));
    stack.put_key(&old).await.unwrap();
    publish(&stack, "first").await;
    assert_eq!(accept("first"), [true, false]);

    stack.put_second_key(&new).await.unwrap();
    assert_succeeded(&stack.reindex(&json!({"sign": true})).await.unwrap());
    assert_eq!(accept("first"), [true, true]);
    publish(&stack, "second").await;
    assert_eq!(accept("second"), [true, true], "warm functions know both");
    for key_pair in [&old, &new] {
        let published = stack.get(key_pair.name()).await.unwrap().unwrap();
        assert_eq!(String::from_utf8(published).unwrap(), key_pair.public().unwrap());
    }

    stack.drop_key().await.unwrap();
    publish(&stack, "third").await;
    assert_eq!(accept("third"), [false, true]);
    let log = std::fs::read_to_string(local_stack.emulator().log()).unwrap();
    let shows = |key: &KeyPair| key.private().lines().any(|line| log.contains(line));
    assert!(!shows(&old) && !shows(&new), "the functions log to the same file");
}

#[tokio::test]
async fn a_key_in_kms_signs() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let kms = |arguments: &[&str]| -> Value {
        let mut aws = local_stack.emulator().aws();
        let output = command::output(aws.arg("kms").args(arguments));
        serde_json::from_slice(&output.unwrap_or_else(|error| panic!("{}", error.chain()))).unwrap()
    };
    let made = kms(&["create-key", "--key-usage", "SIGN_VERIFY", "--key-spec", "RSA_4096"]);
    let arn = made["KeyMetadata"]["Arn"].as_str().unwrap();
    let signing_key = format!("kms:{arn}");
    let stack = local_stack.deploy_as("kms", &[("SigningKey", &signing_key)]).unwrap();
    let name = "kms@example.com-5f3c2a1b.rsa.pub";
    stack.put_key_name(name).await.unwrap();
    publish(&stack, "hello").await;

    let public = kms(&["get-public-key", "--key-id", arn]);
    let public = public["PublicKey"].as_str().unwrap();
    let public = format!("-----BEGIN PUBLIC KEY-----\n{public}\n-----END PUBLIC KEY-----\n");
    let client = stack.client_with_key("3.22/main", name, &public).unwrap();
    let update = client.update().unwrap();
    assert!(update.status.success(), "{update}");
    assert!(client.add(&["hello"]).unwrap().status.success());
    let index = stack.get(INDEX).await.unwrap().unwrap();
    let signatures = IndexArchive::read(&index).unwrap().signatures;
    let names: Vec<_> = signatures.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, [format!(".SIGN.RSA256.{name}")]);

    command::output(local_stack.emulator().aws().args(["kms", "disable-key", "--key-id", arn]))
        .unwrap();
    let package = PackageSpec::new("later", "1.0").build(&Tools::install().unwrap()).unwrap();
    let key = package.key("3.22/main/x86_64");
    let failed = stack.upload(&key, package.bytes).await.unwrap();
    assert_eq!(failed.error.as_deref(), Some("Alpinist.Misconfigured"), "{failed:#?}");
    assert_eq!(stack.get(INDEX).await.unwrap().unwrap(), index);
    command::output(local_stack.emulator().aws().args(["kms", "enable-key", "--key-id", arn]))
        .unwrap();
    assert_succeeded(&stack.redrive(&failed.arn).await.unwrap());
}

#[tokio::test]
async fn an_unusable_key_is_rejected_before_anything_is_published() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let stack = local_stack.deploy_as("unusable", &[]).unwrap();
    let package = PackageSpec::new("hello", "1.0").build(&Tools::install().unwrap()).unwrap();
    let name = "ops@example.com-5f3c2a1b.rsa.pub";
    let good = || openssl(&["genrsa", "2048"]);
    let encrypted = openssl(&["genrsa", "-aes256", "-passout", "pass:secret", "2048"]);
    let elliptic = openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let cases = [
        ("garbage".to_owned(), name, "no RSA or EC private key in PEM form"),
        (encrypted, name, "is encrypted; store it decrypted"),
        (openssl(&["genrsa", "1024"]), name, "has 1024 bits instead of 2048 to 4096"),
        (elliptic, name, "an EC key signs only format v3"),
        (good(), "ops.rsa", "does not end in `.pub` or `.pem`"),
        (good(), "../ops.rsa.pub", "starts with `.`"),
    ];
    for (number, (private, name, rule)) in cases.into_iter().enumerate() {
        stack.put_key(&KeyPair::new(name, private)).await.unwrap();
        let key = package.key(&format!("3.{number}/main/x86_64"));
        let failed = stack.upload(&key, package.bytes.clone()).await.unwrap();
        assert_eq!(failed.error.as_deref(), Some("Alpinist.Misconfigured"), "{failed:#?}");
        let cause = failed.cause.unwrap();
        assert!(cause.contains(rule) && cause.contains("then redrive this execution"), "{cause}");
        let there = stack.list("").await.unwrap();
        let is_published = |key: &String| key.ends_with(".pub") || key.ends_with(".tar.gz");
        assert!(!there.iter().any(is_published), "{there:?}");
    }
}

#[tokio::test]
async fn a_missing_key_fails_the_execution_and_its_input_can_be_replayed() {
    let parameters = [("PrivateKeyParameter", "/late/rsa"), ("KeyNameParameter", "/late/key")];
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let stack = local_stack.deploy_as("late-key", &parameters).unwrap();
    let hello = PackageSpec::new("hello", "1.0").build(&Tools::install().unwrap()).unwrap();
    let key = hello.key("3.22/main/x86_64");

    let failed = stack.upload(&key, hello.bytes).await.unwrap();
    assert_eq!(failed.status, ExecutionStatus::Failed);
    assert_eq!(failed.error.as_deref(), Some("Alpinist.Misconfigured"));
    let cause = failed.cause.clone().unwrap();
    assert!(cause.contains("parameter /late/key does not exist"), "{cause}");
    assert_eq!(failed.state_names().last(), Some(&"SignAndPublish"), "a redrive begins there");
    assert_eq!(stack.get("3.22/main/x86_64/APKINDEX.tar.gz").await.unwrap(), None);

    let key_pair = KeyPair::generate("late@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    stack.put_key(&key_pair).await.unwrap();
    let replayed = stack.execute(&failed.input).await.unwrap();
    assert_eq!(replayed.status, ExecutionStatus::Succeeded, "{replayed:#?}");
    let redriven = stack.redrive(&failed.arn).await.unwrap();
    assert_eq!(redriven.status, ExecutionStatus::Succeeded, "{redriven:#?}");
    let client = stack.client("3.22/main", "x86_64").await.unwrap();
    let update = client.update().unwrap();
    assert!(update.status.success(), "{update}");
    let add = client.add(&["hello"]).unwrap();
    assert!(add.status.success(), "{add}");
    let published = stack.get(key_pair.name()).await.unwrap().unwrap();
    assert_eq!(String::from_utf8(published).unwrap(), key_pair.public().unwrap());
}

//! Keys: generated, stored, rotated, dropped.

use std::fs;

use alpinist_apk::{index_archive::IndexArchive, key::VerifyingKey};
use alpinist_tests::{EmulatorOptions, LocalStack, PackageSpec, Stack, command};
use serde_json::Value;

use crate::fixture::Operator;

const INDEX: &str = "3.22/main/x86_64/APKINDEX.tar.gz";

/// Makes a key pair, and returns the path of the private key and the key name.
fn keygen(operator: &Operator, who: &str) -> (String, String) {
    let key = operator.json(0, &format!("keygen {who}"));
    let text = |name: &str| key[name].as_str().unwrap().to_owned();
    (text("private_key"), text("key_name"))
}

async fn signers(stack: &Stack) -> Vec<String> {
    let index = stack.get(INDEX).await.unwrap().unwrap();
    let signatures = IndexArchive::read(&index).unwrap().signatures;
    let mut names: Vec<_> = signatures.iter().map(|(name, _)| name.key_name.to_string()).collect();
    names.dedup();
    names
}

#[tokio::test]
async fn a_key_that_two_stacks_share_is_changed_on_neither() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let parameters = [("PrivateKeyParameter", "/same/rsa"), ("KeyNameParameter", "/same/key")];
    let stack = local_stack.deploy_as("real", &parameters).unwrap();
    local_stack.deploy_as("staging", &parameters).unwrap();
    let operator = Operator::of(&stack);
    let (key, name) = keygen(&operator, "ops@example.com");
    for command in [
        format!("key put --key {key} --key-name {name}"),
        format!("key rotate --key {key} --key-name {name}"),
        format!("key drop {name}"),
    ] {
        let said = operator.run(&command);
        let error = "error: the stack staging has the same PrivateKeyParameter and would also sign with this key\n";
        assert!(said.status == Some(2) && said.err.starts_with(error), "{said}");
    }
}

#[tokio::test]
async fn a_key_is_put_changed_and_dropped_while_clients_go_on() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let parameters = [("PrivateKeyParameter", "/own/rsa"), ("KeyNameParameter", "/own/key")];
    let stack = local_stack.deploy_as("rotated", &parameters).unwrap();
    let operator = Operator::of(&stack);
    let (old_key, old_name) = keygen(&operator, "old@example.com");
    let (new_key, new_name) = keygen(&operator, "new@example.com");

    let said = operator.run("setup 3.22/main");
    assert_eq!((said.status, &*said.out), (Some(2), ""), "no client could use it: {said}");
    assert!(said.err.contains("has no signing key yet"), "{said}");
    fs::write(operator.path().join("garbage"), "no key").unwrap();
    let said = operator.run(&format!("key put --key garbage --key-name {old_name}"));
    assert_eq!((said.status, &*said.out), (Some(2), ""), "{said}");
    let said = operator.done(&format!("key put --key {old_key} --key-name {old_name}"));
    assert_eq!(said, format!("signing {old_name}\n"));
    let public = fs::read(operator.path().join(&old_name)).unwrap();
    // Clients can be set up before there is a package.
    assert_eq!(stack.get(&old_name).await.unwrap(), Some(public));
    for name in [&old_name, &new_name] {
        let said = operator.run(&format!("key put --key {new_key} --key-name {name}"));
        assert_eq!(said.status, Some(2), "{said}");
        assert!(said.err.starts_with("error: /own/key already holds a key name\n"), "{said}");
    }
    let said = operator.run(&format!("key rotate --key {new_key} --key-name {old_name}"));
    assert!(said.err.starts_with(&format!("error: a key in use is called {old_name}\n")), "{said}");
    let said = operator.run(&format!("key drop {old_name}"));
    assert!(said.err.starts_with(&format!("error: {old_name} is the only key\n")), "{said}");

    operator.build(&PackageSpec::new("hello", "1.0"), "");
    operator.done("push hello-1.0-r0.apk --to 3.22/main --wait");
    assert_eq!(signers(&stack).await, std::slice::from_ref(&old_name));
    assert_eq!(stack.get(&new_name).await.unwrap(), None);
    let said = operator.done(&format!("key rotate --key {new_key} --key-name {new_name}"));
    let both = format!("signing {old_name}\nsigning {new_name}\nAll indexes are signed again.\n");
    assert_eq!(said, both);
    assert_eq!(signers(&stack).await, [old_name.clone(), new_name.clone()]);
    let said = operator.run(&format!("key rotate --key {new_key} --key-name {new_name}"));
    assert!(said.err.starts_with("error: there are already two keys\n"), "{said}");
    let setup = operator.json(0, "setup 3.22/main");
    let base = "https://rotated.s3.eu-central-1.amazonaws.com";
    assert_eq!(setup["repository"], format!("{base}/3.22/main"));
    assert_eq!(setup["public_keys"][1], format!("{base}/{new_name}"));

    for name in [&old_name, &new_name] {
        let public = fs::read_to_string(operator.path().join(name)).unwrap();
        let client = stack.client_with_key("3.22/main", name, &public).unwrap();
        assert!(client.update().unwrap().status.success(), "{name}");
    }
    let said = operator.done(&format!("key drop {old_name}"));
    assert_eq!(said, format!("signing {new_name}\n"));
    assert_eq!(operator.done("verify"), "right: 1 package in 1 index\n");
    let said = operator.run(&format!("key rotate --key {new_key} --key-name {old_name}"));
    assert_eq!(said.status, Some(2), "{said}");
    let error =
        format!("error: another public key is published as {old_name}\nhint: clients may know");
    assert!(said.err.starts_with(&error), "{said}");
    assert_eq!(operator.json(0, "setup 3.22/main")["public_keys"].as_array().unwrap().len(), 1);
    let said = operator.run(&format!("key drop {old_name}"));
    assert!(
        said.err.starts_with(&format!("error: no key in use is called {old_name}\n")),
        "{said}"
    );
    operator.done("reindex --sign");
    assert_eq!(signers(&stack).await, std::slice::from_ref(&new_name));
    let said = operator.run(&format!("key put --key {old_key} --key-name {old_name}"));
    assert!(said.err.starts_with("error: /own/key-2 already holds a key name\n"), "{said}");

    // The private key is lost, and stored again.
    let delete = ["ssm", "delete-parameter", "--name", "/own/rsa-2"];
    command::output(local_stack.emulator().aws().args(delete)).unwrap();
    let ends = operator.json(1, "push hello-1.0-r0.apk --to later/main --wait");
    let cause = ends[0]["cause"].as_str().unwrap();
    assert!(cause.starts_with("the index can't be signed"), "{cause}");
    let said = operator.run(&format!("key rotate --key {old_key} --key-name {old_name}"));
    let error = format!("error: {new_name} is in use, and its private key is missing or unusable");
    assert!(said.err.starts_with(&error), "{said}");
    let said = operator.done(&format!("key put --key {new_key} --key-name {new_name}"));
    assert_eq!(said, format!("signing {new_name}\n"));
    operator.json(0, "replay --failed --since 1h");
}

#[tokio::test]
async fn a_key_in_kms_gets_a_name_and_a_second_key_beside_it() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let create = ["kms", "create-key", "--key-usage", "SIGN_VERIFY", "--key-spec", "RSA_2048"];
    let made = command::output(local_stack.emulator().aws().args(create)).unwrap();
    let made: Value = serde_json::from_slice(&made).unwrap();
    let signing_key = format!("kms:{}", made["KeyMetadata"]["Arn"].as_str().unwrap());
    let stack = local_stack.deploy_as("in-kms", &[("SigningKey", &signing_key)]).unwrap();
    let operator = Operator::of(&stack);
    let (key, name) = keygen(&operator, "second@example.com");
    let in_kms = "kms@example.com-5f3c2a1b.rsa.pub";

    let said = operator.run(&format!("key put --key {key} --key-name {in_kms}"));
    assert_eq!(said.status, Some(2), "{said}");
    assert!(said.err.starts_with("error: the stack signs with a key in KMS:"), "{said}");
    let said = operator.run(&format!("key rotate --key-name {name}"));
    assert!(said.err.starts_with("error: missing `--key`\n"), "{said}");
    let said = operator.done(&format!("key rotate --key {key} --key-name {name}"));
    assert_eq!(said, format!("signing {name}\nAll indexes are signed again.\n"));
    let public = fs::read(operator.path().join(&name)).unwrap();
    assert_eq!(stack.get(&name).await.unwrap(), Some(public), "although there is no index yet");
    operator.build(&PackageSpec::new("hello", "1.0"), "");
    operator.done("push hello-1.0-r0.apk --to 3.22/main --wait");
    let said = operator.done(&format!("key put --key-name {in_kms}"));
    assert_eq!(said, format!("signing {in_kms}\nsigning {name}\n"));
    let public = String::from_utf8(stack.get(in_kms).await.unwrap().unwrap()).unwrap();
    assert!(VerifyingKey::from_pem(&public).is_ok(), "{public}");
    let problem = &operator.json(1, "verify")["problems"][0];
    assert_eq!(problem["problem"], format!("it is not signed by {in_kms}, a key that is in use"));
    assert_eq!(problem["fix"], "alpinist reindex 3.22/main/x86_64 --sign");
    operator.done("reindex --sign");
    assert_eq!(operator.done("verify"), "right: 1 package in 1 index\n");
    assert_eq!(signers(&stack).await, [in_kms, &name]);
    operator.done(&format!("key drop {name}"));
    operator.done("reindex --sign");
    assert_eq!(signers(&stack).await, [in_kms]);
}

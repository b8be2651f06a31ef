//! The signing key: missing, put, and the same input again.

use alpinist_tests::{EmulatorOptions, ExecutionStatus, KeyPair, LocalStack, PackageSpec, Tools};

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
    assert!(cause.contains("parameter /late/rsa does not exist"), "{cause}");
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

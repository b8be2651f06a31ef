//! Whose packages are listed, with the signatures that nfpm makes.

use alpinist_tests::{
    EmulatorOptions, Execution, KeyPair, LocalStack, Package, PackageSpec, Stack, Tools,
};
use serde_json::json;

use crate::repository::assert_succeeded;

const PREFIX: &str = "3.22/main/x86_64";

fn key_pair(who: &str) -> KeyPair {
    KeyPair::generate(who, KeyPair::BITS_FOR_TESTS).unwrap()
}

fn package(name: &str, signer: Option<&KeyPair>) -> Package {
    let spec = PackageSpec::new(name, "1.0");
    let spec = signer.into_iter().fold(spec, PackageSpec::signed_by);
    spec.build(&Tools::install().unwrap()).unwrap()
}

async fn upload(stack: &Stack, package: Package) -> Execution {
    stack.upload(&package.key(PREFIX), package.bytes).await.unwrap()
}

fn assert_rejected(execution: &Execution, rule: &str) {
    assert_eq!(execution.error.as_deref(), Some("Alpinist.PackageRejected"), "{execution:#?}");
    let cause = execution.cause.as_ref().unwrap();
    assert!(cause.contains(rule), "{cause}");
}

async fn assert_listed(stack: &Stack, expected: &[&str]) {
    let client = stack.client("3.22/main", "x86_64").await.unwrap();
    assert!(client.update().unwrap().status.success());
    let text = client.list().unwrap().text;
    let mut listed: Vec<_> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    listed.sort_unstable();
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn what_is_asked_of_the_signatures_of_packages_is_a_setting() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let own = key_pair("own@example.com");
    let builder = key_pair("builder@example.com");
    let stranger = key_pair("stranger@example.com");
    let forger = KeyPair::new(builder.name(), stranger.private());
    let mut stacks = Vec::new();
    for (name, policy) in [("ignore", "Ignore"), ("verify", "Verify"), ("require", "Require")] {
        let stack = local_stack.deploy_as(name, &[("PackageSignatures", policy)]).unwrap();
        stack.put_key(&own).await.unwrap();
        let trusted = format!(".alpinist/trusted-keys/{}", builder.name());
        stack.put(&trusted, builder.public().unwrap().into_bytes()).await.unwrap();
        let signed = upload(&stack, package("signed", Some(&builder))).await;
        assert_succeeded(&signed);
        stacks.push((stack, signed.output.unwrap()["signed_by"].clone()));
    }
    let [(ignore, by_ignored), (verify, by_verified), (require, by_required)] = &*stacks else {
        panic!("there are three")
    };
    assert_eq!(*by_ignored, json!(null));
    assert_eq!(*by_verified, json!({"trusted": builder.name()}));
    assert_eq!(*by_required, json!({"trusted": builder.name()}));

    for stack in [verify, require] {
        let wrong = upload(stack, package("forged", Some(&forger))).await;
        assert_rejected(&wrong, &format!("its signature by {} is wrong", builder.name()));
        // The stack's own key, which is published with the first index.
        let own_name = own.name();
        let own = upload(stack, package("own", Some(&own))).await;
        assert_eq!(own.output.unwrap()["signed_by"], json!({"trusted": own_name}));
    }
    assert_succeeded(&upload(ignore, package("forged", Some(&forger))).await);

    let unknown = upload(verify, package("unknown", Some(&stranger))).await;
    assert_eq!(unknown.output.unwrap()["signed_by"], json!({"unknown": [stranger.name()]}));
    let unsigned = upload(verify, package("unsigned", None)).await;
    assert_eq!(unsigned.output.unwrap()["signed_by"], json!("nobody"));
    let rejected = upload(require, package("unknown", Some(&stranger))).await;
    assert_rejected(&rejected, &format!("by a trusted key, but by {}", stranger.name()));
    assert_rejected(&upload(require, package("unsigned", None)).await, "but by nobody");

    assert_listed(ignore, &["forged-1.0-r0", "signed-1.0-r0"]).await;
    let all = ["own-1.0-r0", "signed-1.0-r0", "unknown-1.0-r0", "unsigned-1.0-r0"];
    assert_listed(verify, &all).await;
    assert_listed(require, &all[..2]).await;
}

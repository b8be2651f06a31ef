//! The page, as an operator puts and removes it. What it shows is in `tests/browser`.

use alpinist_tests::{EmulatorOptions, KeyPair, LocalStack, PackageSpec};
use serde_json::{Value, json};

use crate::fixture::Operator;

#[tokio::test]
async fn a_page_is_put_learns_of_uploads_and_is_removed() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let stack = local_stack.deploy_as("paged", &[]).unwrap();
    let key_pair = KeyPair::generate("ops@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    stack.put_key(&key_pair).await.unwrap();
    let operator = Operator::of(&stack);
    let said = operator.run("page rm");
    assert_eq!((said.status, &*said.out), (Some(1), "There is no page.\n"), "{said}");

    stack.put("index.html", b"<title>Mine</title>".to_vec()).await.unwrap();
    for command in ["page put", "page rm"] {
        let said = operator.run(command);
        assert_eq!(said.status, Some(2), "{said}");
        let error = "error: index.html is not of Alpinist, and would be lost\n\
                     hint: move yours: `aws s3 mv s3://BUCKET/index.html s3://BUCKET/OTHER`\n";
        assert_eq!(said.err, error);
    }
    stack.delete("index.html").await.unwrap();
    let page = format!("{}/index.html", stack.outputs()["RepositoryBaseUrl"]);
    let said = operator.done("page put");
    assert_eq!(said, format!("put {page}, which shows 0 directories\n"));

    let package = PackageSpec::new("hello", "1.0").build(&operator.tools).unwrap();
    for directory in ["3.22/main/x86_64", "edge/x86_64"] {
        let execution = stack.upload(&package.key(directory), package.bytes.clone()).await.unwrap();
        assert_eq!(execution.error, None);
    }
    let expected = json!({
        "directories": ["3.22/main/x86_64", "edge/x86_64"],
        "keys": [key_pair.name()],
    });
    let list = async || {
        let list = stack.get("repositories.json").await.unwrap()?;
        Some(serde_json::from_slice::<Value>(&list).unwrap())
    };
    assert_eq!(list().await, Some(expected.clone()));
    let put = operator.json(0, "page put");
    assert_eq!(put["page"], page);
    assert_eq!((&put["directories"], &put["keys"]), (&expected["directories"], &expected["keys"]));
    assert_eq!(list().await, Some(expected));

    assert_eq!(operator.done("page rm"), "The page is removed.\n");
    assert_eq!((list().await, stack.get("index.html").await.unwrap()), (None, None));
    let execution = stack.upload(&package.key("late/x86_64"), package.bytes).await.unwrap();
    assert_eq!((execution.error, list().await), (None, None));
}

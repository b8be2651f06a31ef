use crate::support::{Bench, package};

#[test]
fn where_a_package_goes_is_not_taken_from_where_the_command_is_run() {
    let bench = Bench::new();
    bench.write("3.22/main/x86_64/hello-1.0-r0.apk", package("hello", "1.0-r0"));
    bench.write("x86_64/hello-1.0-r0.apk", package("hello", "1.0-r0"));
    for directory in ["x86_64", "3.22/main/x86_64/../x86_64"] {
        let path = format!("{directory}/hello-1.0-r0.apk");
        let said = bench.run(&format!("push {path} --bucket packages --region eu-central-1"));
        assert_eq!((said.status, &*said.out), (2, ""), "{}", said.err);
        assert!(said.err.contains("--to BRANCH/REPOSITORY"), "{}", said.err);
    }
}

#[test]
fn a_key_is_put_nowhere_unless_a_stack_says_where() {
    let bench = Bench::new();
    bench.write_key();
    let said =
        bench.run("key put --key ops.rsa --key-name a@b.c-00000001.rsa.pub --region eu-central-1");
    assert_eq!((said.status, &*said.out), (2, ""), "{}", said.err);
    assert!(said.err.contains("ALPINIST_STACK"), "{}", said.err);
}

#[test]
fn keys_are_looked_up_without_a_stack() {
    let environment = [("AWS_EC2_METADATA_DISABLED", "true")];
    let said = Bench::new().run_with(
        &environment,
        "setup 3.22/main --url https://packages.example.com --region eu-central-1",
    );
    assert_eq!((said.status, &*said.out), (2, ""), "{}", said.err);
    assert!(said.err.contains("/apk/key"), "{}", said.err);
}

use crate::support::Bench;

#[test]
fn a_client_is_told_what_it_needs() {
    let said = Bench::new().run(
        "setup 3.22/main --url https://packages.example.com/ --key-name a@b.c-00000001.rsa.pub \
         --key-name a@b.c-00000002.rsa.pub",
    );
    assert_eq!((said.status, &*said.err), (0, ""));
    insta::assert_snapshot!(said.out);
}

#[test]
fn a_client_adds_the_architecture_itself() {
    let setup = |repository| {
        let said = Bench::new().run(&format!(
            "setup {repository} --url https://packages.example.com --key-name a@b.c-00000001.rsa.pub"
        ));
        assert_eq!((said.status, &*said.err), (0, ""));
        said.out
    };
    assert_eq!(setup("3.22/main/x86_64"), setup("3.22/main"));
}

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

#[test]
fn a_key_name_with_a_plus_is_found_where_it_is_said_to_be() {
    let name = "jane+apk@example.com-00000001.rsa.pub";
    let setup = |more| {
        let url = "https://packages.example.com";
        let said =
            Bench::new().run(&format!("setup 3.22/main --url {url} --key-name {name}{more}"));
        assert_eq!((said.status, &*said.err), (0, ""));
        said.out
    };
    let url = "https://packages.example.com/jane%2Bapk@example.com-00000001.rsa.pub";
    let text = setup("");
    assert!(text.contains(&format!("\nwget -O /etc/apk/keys/{name} {url}\n")), "{text}");
    assert!(text.contains(&format!("\nADD --chmod=644 {url} /etc/apk/keys/{name}\n")), "{text}");
    let json: serde_json::Value = serde_json::from_str(&setup(" --json")).unwrap();
    assert_eq!((&json["public_keys"][0], &json["key_names"][0]), (&url.into(), &name.into()));
}

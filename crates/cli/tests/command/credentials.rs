use crate::support::Bench;

const CONFIG: &str = "\
[profile process]
credential_process = sh -c 'echo no credentials today >&2; exit 1'
[profile sso]
sso_session = company
sso_account_id = 111122223333
sso_role_name = ops
[sso-session company]
sso_start_url = https://company.example.com/start
sso_region = eu-central-1
";

/// Both fail here, but in the same way as with the AWS CLI.
#[test]
fn credentials_are_taken_from_a_process_or_sso_where_the_profile_says_so() {
    let bench = Bench::new();
    bench.write("config", CONFIG);
    let config = bench.path("config");
    for (profile, reason) in [("process", "no credentials today"), ("sso", "the cached SSO token")]
    {
        let environment =
            [("AWS_CONFIG_FILE", config.to_str().unwrap()), ("PATH", "/bin:/usr/bin")];
        let arguments =
            format!("ls 3.22/main --stack alpinist --region eu-central-1 --profile {profile}");
        let said = bench.run_with(&environment, &arguments);
        assert_eq!((said.status, &*said.out), (2, ""), "{}", said.err);
        assert!(said.err.contains(reason), "{}", said.err);
    }
}

//! Readers of private repositories: the command gives and takes tokens, and the real apk reads with
//! them over TLS, through the emulator's CloudFront.

use std::fs;

use alpinist_tests::{
    ApkClient, ApkOutput, EmulatorOptions, KeyPair, LocalStack, PackageSpec, Stack, Viewer, http,
};
use base64ct::{Base64, Encoding as _};
use serde_json::{Value, json};

use crate::fixture::Operator;

/// A stack behind CloudFront, and the way to it.
struct Edge {
    stack: Stack,
    operator: Operator,
    viewer: Viewer,
    key_pair: KeyPair,
    /// The name of the distribution.
    host: String,
}

impl Edge {
    async fn deploy(local_stack: &LocalStack, name: &str, reading: &str) -> Self {
        let key_parameters = [format!("/{name}/rsa"), format!("/{name}/key")];
        let parameters = [
            ("Serving", "cloudfront"),
            ("Reading", reading),
            ("PrivateKeyParameter", &key_parameters[0]),
            ("KeyNameParameter", &key_parameters[1]),
        ];
        let stack = local_stack.deploy_as(name, &parameters).unwrap();
        let key_pair = KeyPair::generate("ops@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
        stack.put_key(&key_pair).await.unwrap();
        let url = &stack.outputs()["RepositoryBaseUrl"];
        let host = url.strip_prefix("https://").unwrap().to_owned();
        assert!(host.ends_with(".cloudfront.net"), "{host}");
        let (operator, viewer) = (Operator::of(&stack), Viewer::start(&stack).unwrap());
        Self { stack, operator, viewer, key_pair, host }
    }

    /// Publishes a package of this name.
    fn publish(&self, name: &str, version: &str, repository: &str) {
        let package = self.operator.build(&PackageSpec::new(name, version), "");
        let file = package.file_name().unwrap().to_string_lossy();
        self.operator.done(&format!("push {file} --to {repository} --wait"));
    }

    /// Adds a reader.
    fn reader(&self, arguments: &str) -> Value {
        self.operator.json(0, &format!("reader add {arguments}"))
    }

    /// Runs the real apk with this line in its repositories, and a variable in its environment.
    fn client(&self, line: &str, variable: Option<(&'static str, String)>) -> ApkClient {
        let environment = self.viewer.environment().into_iter().chain(variable).collect();
        let apk = self.stack.apk().clone();
        let client = ApkClient::with_environment(apk, line, "x86_64", environment).unwrap();
        let public = self.key_pair.public().unwrap();
        client.trust(self.key_pair.name(), public.as_bytes()).unwrap();
        client
    }

    /// Gets a path as CloudFront does, with credentials as `name:token`.
    fn get(&self, path: &str, credentials: Option<&str>) -> http::Answer {
        let basic = credentials.map(|it| format!("Basic {}", Base64::encode_string(it.as_bytes())));
        let mut headers = vec![("Host", self.host.as_str()), ("X-Forwarded-Proto", "https")];
        headers.extend(basic.as_deref().map(|basic| ("Authorization", basic)));
        http::get_with(&format!("{}{path}", self.stack.endpoint()), &headers).unwrap()
    }
}

fn text<'a>(reader: &'a Value, name: &str) -> &'a str {
    reader[name].as_str().unwrap()
}

fn first<'a>(reader: &'a Value, name: &str) -> &'a str {
    reader[name][0].as_str().unwrap()
}

fn assert_installs(client: &ApkClient, packages: &[&str]) {
    let updated = client.update().unwrap();
    assert!(updated.status.success(), "{updated}");
    let added = client.add(packages).unwrap();
    assert!(added.status.success(), "{added}");
}

fn assert_refused(updated: &ApkOutput, status: &str) {
    assert!(!updated.status.success(), "{updated}");
    assert!(updated.text.contains(status), "{updated}");
}

#[tokio::test]
async fn a_reader_installs_what_the_token_opens_and_nothing_else() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let edge = Edge::deploy(&local_stack, "private", "private").await;
    let packages = ["hello", "libstdc++", "tilde"];
    edge.publish("hello", "1.0", "3.22/main");
    edge.publish("libstdc++", "13.2", "3.22/main");
    edge.publish("tilde", "1.0~abc1", "3.22/main");
    edge.publish("secret", "1.0", "3.22/other");
    let keys = edge.stack.list("3.22/").await.unwrap();
    assert!(keys.iter().any(|key| key.contains("++")), "{keys:?}");
    assert!(keys.iter().all(|key| !key.contains(' ')), "a copy is needless: {keys:?}");

    let ci = edge.reader("ci --in 3.22/main --for 90d");
    let credentials = format!("ci:{}", text(&ci, "token"));
    let line = format!("https://{}/3.22/main", edge.host);
    assert_eq!(first(&ci, "repositories"), line);
    assert_installs(&edge.client(first(&ci, "repositories_with_token"), None), &packages);
    let http_auth = ("HTTP_AUTH", text(&ci, "http_auth").to_owned());
    assert_installs(&edge.client(&line, Some(http_auth.clone())), &packages);
    let netrc = edge.operator.path().join("netrc");
    fs::write(&netrc, format!("{}\n", text(&ci, "netrc"))).unwrap();
    let netrc = ("NETRC", netrc.to_string_lossy().into_owned());
    assert_installs(&edge.client(&line, Some(netrc)), &packages);

    assert_refused(&edge.client(&line, None).update().unwrap(), "401");
    let elsewhere = format!("https://{credentials}@{}/3.22/other", edge.host);
    assert_refused(&edge.client(&elsewhere, None).update().unwrap(), "403");
    let wrong = format!("https://ci:alp_{}@{}/3.22/main", "A".repeat(43), edge.host);
    assert_refused(&edge.client(&wrong, None).update().unwrap(), "401");
    let expired = edge.reader("gone --in 3.22/main --for 1ms");
    let expired = edge.client(first(&expired, "repositories_with_token"), None);
    assert_refused(&expired.update().unwrap(), "401");
    let in_the_clear = format!("http://{credentials}@{}/3.22/main", edge.host);
    assert_refused(&edge.client(&in_the_clear, None).update().unwrap(), "403");
    let of_bucket = format!("{}/3.22/main", edge.stack.repository_url());
    assert_refused(&edge.client(&of_bucket, None).update().unwrap(), "403");

    let all = edge.reader("mirror --in /");
    let all = format!("mirror:{}", text(&all, "token"));
    let both = format!("https://{all}@{}/3.22/other", edge.host);
    assert_installs(&edge.client(&both, None), &["secret"]);
    let got = |path: &str| edge.get(path, Some(&all)).status;
    assert_eq!(got("/3.22/main/x86_64/hello-1.0-r0.apk"), 200);
    assert_eq!(got("/3.22/main/x86_64/hello-2.0-r0.apk"), 404);
    assert_eq!(got("/3.22/main/x86_64/hello-1.0-r0.index"), 404);
    let snapshot = "/.alpinist/published/3.22/main/x86_64/snapshot.json.gz";
    assert_eq!([got(snapshot), got(&snapshot.replacen('.', "%2e", 1))], [404, 404]);
    assert_eq!(got("/?list-type=2"), 302);

    let removed = edge.operator.done("reader rm ci");
    assert_eq!(removed, "removed ci\n");
    assert_refused(&edge.client(&line, Some(http_auth)).update().unwrap(), "401");
}

#[tokio::test]
async fn anyone_reads_at_the_edge_of_a_public_stack_while_the_bucket_is_closed() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let edge = Edge::deploy(&local_stack, "open", "public").await;
    edge.publish("g++", "13.2", "3.22/main");
    let line = format!("https://{}/3.22/main", edge.host);
    assert_installs(&edge.client(&line, None), &["g++"]);
    let in_the_clear = line.replacen("https", "http", 1);
    assert_refused(&edge.client(&in_the_clear, None).update().unwrap(), "403");
    let bucket = edge.stack.repository_url();
    assert_eq!(
        http::get(&format!("{bucket}/3.22/main/x86_64/APKINDEX.tar.gz")).unwrap().status,
        403
    );

    let package = edge.get("/3.22/main/x86_64/g++-13.2-r0.apk", None);
    assert_eq!(package.status, 200);
    assert_eq!(package.header("Content-Security-Policy"), Some("default-src 'none'; sandbox"));
    assert_eq!(package.header("X-Content-Type-Options"), Some("nosniff"));
    edge.stack.put("index.html", b"a page".to_vec()).await.unwrap();
    let page = edge.get("/index.html", None);
    assert_eq!((page.status, page.header("X-Frame-Options")), (200, Some("DENY")));
    assert_eq!(page.header("Content-Security-Policy"), None, "the page has its own");
    assert_eq!(edge.get("/", None).header("Location"), Some("/index.html"));
    let key = edge.get(&format!("/{}", edge.key_pair.name()), None);
    assert_eq!(key.body, edge.key_pair.public().unwrap().into_bytes());

    let setup = edge.operator.json(0, "setup 3.22/main");
    assert_eq!(setup["repository"], line);
    let said = edge.operator.run("reader add ci --in 3.22/main");
    assert_eq!(said.status, Some(0), "{said}");
    assert!(said.err.starts_with("warning: the stack has Reading=public"), "{said}");
}

#[tokio::test]
async fn readers_are_added_once_listed_and_removed() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let edge = Edge::deploy(&local_stack, "listed", "private").await;
    let operator = &edge.operator;
    assert_eq!(operator.json(0, "reader ls"), json!([]));
    operator.done("reader add old --in 3.21 --in edge/testing/x86_64 --for 1ms");
    // CloudFront lists 50 at once.
    for number in 10..61 {
        operator.done(&format!("reader add r{number} --in 3.22/main"));
    }
    assert_eq!(operator.done("reader rm r10"), "removed r10\n");
    let listed = operator.done("reader ls");
    let lines: Vec<_> = listed.lines().collect();
    assert_eq!(lines.len(), 51, "{listed}");
    assert!(lines[0].starts_with("old  3.21, edge/testing/x86_64  expired 20"), "{listed}");
    assert_eq!([lines[1], lines[50]], ["r11  3.22/main", "r60  3.22/main"]);
    let error = |arguments: &str| {
        let said = operator.run(arguments);
        assert_eq!((said.status, &*said.out), (Some(2), ""), "{said}");
        said.err
    };
    let taken = error("reader add r11 --in 3.22/main");
    assert!(taken.starts_with("error: there is already a reader r11\nhint: a token "), "{taken}");
    let unknown = error("reader rm r10");
    let expected = "error: there is no reader r10\nhint: `alpinist reader ls` lists the readers\n";
    assert_eq!(unknown, expected);
    let long = "--in a-long-way/to-a-repository/of-many ".repeat(40);
    let long = error(&format!("reader add long {long}"));
    assert!(long.starts_with("error: CloudFront stores at most 1,024 bytes of a reader"), "{long}");

    let plain = local_stack.deploy_as("plain", &[]).unwrap();
    let said = Operator::of(&plain).run("reader ls");
    assert!(said.err.starts_with("error: the stack has no readers: "), "{said}");
}

#[tokio::test]
async fn readers_that_are_added_at_once_are_all_there() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let edge = Edge::deploy(&local_stack, "at-once", "private").await;
    let added: Vec<_> = std::thread::scope(|scope| {
        let add = |number| {
            let operator = &edge.operator;
            scope.spawn(move || operator.run(&format!("reader add r{number} --in 3.22/main")))
        };
        let adding: Vec<_> = (0..4).map(add).collect();
        adding.into_iter().map(|added| added.join().unwrap()).collect()
    });
    for said in &added {
        assert_eq!((said.status, &*said.err), (Some(0), ""), "{said}");
    }
    assert_eq!(edge.operator.json(0, "reader ls").as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn a_domain_needs_its_certificate_and_stands_in_the_outputs() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let domain = ("Domain", "packages.example.com");
    let certificate = (
        "CertificateArn",
        "arn:aws:acm:us-east-1:123456789012:certificate/12345678-1234-1234-1234-123456789012",
    );
    for parameters in [
        &[domain, ("Serving", "cloudfront")][..],
        &[domain, certificate],
        &[domain, certificate, ("Serving", "bucket")],
    ] {
        let refused = local_stack.deploy_as("named", parameters).unwrap_err().chain();
        assert!(refused.contains("Domain "), "{refused}");
    }
    let parameters = [domain, certificate, ("Serving", "cloudfront")];
    let stack = local_stack.deploy_as("named", &parameters).unwrap();
    let output = |name: &str| stack.outputs()[name].as_str();
    assert_eq!(output("RepositoryBaseUrl"), "https://packages.example.com");
    assert_eq!(output("PublicKeyUrl"), "https://packages.example.com/<key name>");
    assert!(output("DistributionDomain").ends_with(".cloudfront.net"));
    assert!(output("DistributionArn").starts_with("arn:aws:cloudfront::"));
}

//! The function of CloudFront, in the two engines that can be had: Node, and njs, which the runtime
//! of CloudFront descends from.

use std::{fs, path::Path, process::Command};

use alpinist_repository::location::{PackageKey, RepositoryPrefix, rejected_prefix, trusted_key};
use alpinist_tests::{Tools, command, workspace};
use base64ct::{Base64, Encoding as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::documents::assert_generated;

const SOURCE: &str = "edge/reader.js";

/// The largest function that CloudFront takes, in bytes.
const MAX_LENGTH: usize = 10 * 1024;

/// The tokens of the readers `ci` and `all`.
const TOKEN: &str = "alp_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq";
const OTHER: &str = "alp_-_-_0123456789-_-_0123456789-_-_0123456789A";

/// Two times, in seconds since 1970.
const YEAR_2026: u64 = 1_767_225_600;
const YEAR_3000: u64 = 32_503_680_000;

const PACKAGE: &str = "/3.22/main/x86_64/hello-1.0-r0.apk";

/// What the function answers.
#[derive(Debug, Eq, PartialEq)]
enum Answer {
    /// CloudFront is to ask S3 for this path.
    Ask(String),
    /// Nothing is asked: the status, and the text or the address.
    Refuse(u64, String),
}

/// Which of the two forms of the function is asked.
#[derive(Clone, Copy)]
enum Reading {
    Public,
    Private,
}

fn source(reading: Reading) -> String {
    let source = fs::read_to_string(workspace::root().join(SOURCE)).unwrap();
    match reading {
        Reading::Private => source,
        Reading::Public => {
            let public = source.replace("const reading = 'private'", "const reading = 'public'");
            assert_ne!(public, source);
            public
        }
    }
}

fn own_file(name: &str) -> String {
    fs::read_to_string(workspace::root().join("tests/deployment/edge").join(name)).unwrap()
}

fn stored() -> Value {
    let reader = |token: &str, prefixes: &[&str], until: Option<u64>| {
        let digest = hex::encode(Sha256::digest(token));
        let mut reader = json!({"sha256": digest, "in": prefixes});
        if let Some(until) = until {
            reader["until"] = until.into();
        }
        reader.to_string()
    };
    json!({
        "ci": reader(TOKEN, &["3.22/main"], Some(YEAR_3000)),
        "all": reader(OTHER, &[""], None),
        "two": reader(OTHER, &["3.21", "edge/testing/x86_64"], None),
        "gone": reader(TOKEN, &["3.22/main"], Some(YEAR_2026)),
        "none": reader(TOKEN, &[], None),
        "null": "null",
        "broken": "{",
    })
}

fn basic(user: &str, token: &str) -> String {
    format!("Basic {}", base64(&format!("{user}:{token}")))
}

fn base64(text: &str) -> String {
    Base64::encode_string(text.as_bytes())
}

/// Asks the function in both engines, which must agree.
fn ask(reading: Reading, requests: &[(&str, Option<&str>)]) -> Vec<Answer> {
    let requests: Vec<_> = requests
        .iter()
        .map(|(uri, authorization)| {
            let headers =
                authorization.map_or(json!({}), |value| json!({"authorization": {"value": value}}));
            let query = json!({"list-type": {"value": "2"}});
            json!({"method": "GET", "uri": uri, "querystring": query, "headers": headers})
        })
        .collect();
    let asked = own_file("ask.js").replace("REQUESTS", &json!(requests).to_string());
    let function = format!("{}\n{asked}", source(reading));
    let module = own_file("cloudfront.js").replace("READERS", &stored().to_string());
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    fs::write(directory.join("reader.mjs"), function).unwrap();
    // Node finds a module in a directory of its name, and njs in a file of its name.
    let for_node = directory.join("node_modules/cloudfront");
    fs::create_dir_all(&for_node).unwrap();
    fs::write(for_node.join("package.json"), r#"{"type": "module", "main": "index.js"}"#).unwrap();
    fs::write(for_node.join("index.js"), &module).unwrap();
    let for_njs = directory.join("njs");
    fs::create_dir(&for_njs).unwrap();
    fs::write(for_njs.join("cloudfront"), &module).unwrap();

    let node = Tools::install().unwrap().programs().join("node");
    let by_node = run(Command::new(node).arg("reader.mjs"), directory);
    let njs = Tools::njs().unwrap_or_else(|error| panic!("{}", error.chain()));
    let by_njs = run(Command::new(njs).args(["-p", "njs", "reader.mjs"]), directory);
    assert_eq!(by_njs, by_node);
    assert_eq!(by_node.len(), requests.len());
    by_node
}

fn run(command: &mut Command, directory: &Path) -> Vec<Answer> {
    let output = command::output(command.current_dir(directory));
    let output = output.unwrap_or_else(|error| panic!("{}", error.chain()));
    String::from_utf8(output).unwrap().lines().map(answer).collect()
}

fn answer(line: &str) -> Answer {
    let answer: Value = serde_json::from_str(line).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().trim_end().to_owned();
    let Some(status) = answer["statusCode"].as_u64() else {
        assert_eq!(answer["querystring"], json!({}), "a query asks S3 for something else");
        return Answer::Ask(text(&answer["uri"]));
    };
    let headers = &answer["headers"];
    if status == 302 {
        return Answer::Refuse(status, text(&headers["location"]["value"]));
    }
    assert_eq!(headers["cache-control"]["value"], "no-store");
    assert_eq!(headers["www-authenticate"].is_object(), status == 401, "{line}");
    Answer::Refuse(status, text(&answer["body"]))
}

fn asks(path: &str) -> Answer {
    Answer::Ask(path.to_owned())
}

fn nothing() -> Answer {
    Answer::Refuse(404, "There is nothing to read here.".to_owned())
}

fn stranger() -> Answer {
    Answer::Refuse(401, "Reading needs the name and the token of a reader.".to_owned())
}

fn elsewhere() -> Answer {
    Answer::Refuse(403, "This token does not open this repository.".to_owned())
}

/// Checks what the function answers to each path.
fn assert_answers(reading: Reading, authorization: Option<&str>, cases: &[(&str, Answer)]) {
    let requests: Vec<_> = cases.iter().map(|(uri, _)| (*uri, authorization)).collect();
    for (found, (uri, expected)) in ask(reading, &requests).iter().zip(cases) {
        assert_eq!(found, expected, "{uri:.200}");
    }
}

#[test]
fn the_template_has_the_function_of_the_source() {
    let template = fs::read_to_string(workspace::root().join("template.yaml")).unwrap();
    let source = source(Reading::Private);
    assert!(source.len() < MAX_LENGTH, "{} bytes", source.len());
    assert!(!source.contains("${"), "CloudFormation would replace it");
    let source = source.replace("const reading = 'private'", "const reading = '${Reading}'");
    let indented =
        |line: &str| if line.is_empty() { "\n".into() } else { format!("        {line}\n") };
    let code: String = source.lines().map(indented).collect();
    let begin = "      FunctionCode: !Sub |\n";
    let (before, rest) = template.split_once(begin).unwrap();
    let end = rest.find("\n\n  BucketAccess:").unwrap() + 1;
    assert_generated("template.yaml", &format!("{before}{begin}{code}{}", &rest[end..]));
}

#[test]
fn what_is_published_is_asked_for_as_s3_reads_it() {
    let cases = [
        (PACKAGE, asks(PACKAGE)),
        ("/3.22/main/x86_64/APKINDEX.tar.gz", asks("/3.22/main/x86_64/APKINDEX.tar.gz")),
        ("/3.22/main/x86_64/Packages.adb", asks("/3.22/main/x86_64/Packages.adb")),
        (
            "/25.12/base/aarch64_cortex-a53/packages.adb",
            asks("/25.12/base/aarch64_cortex-a53/packages.adb"),
        ),
        (
            "/25.12/base/aarch64_cortex-a53/index.json",
            asks("/25.12/base/aarch64_cortex-a53/index.json"),
        ),
        ("/v3.21/armhf/a-1.apk", asks("/v3.21/armhf/a-1.apk")),
        ("/a/b/c/d/e/x86/A.b_c-1.apk", asks("/a/b/c/d/e/x86/A.b_c-1.apk")),
        ("/index.html", asks("/index.html")),
        ("/repositories.json", asks("/repositories.json")),
        ("/ops@example.com-5f3c2a1b.rsa.pub", asks("/ops%40example.com-5f3c2a1b.rsa.pub")),
        ("/ops%40example.com-5f3c2a1b.ec.pem", asks("/ops%40example.com-5f3c2a1b.ec.pem")),
        // As apk sends it, as S3 needs it, and in lower case.
        (
            "/3.22/main/x86_64/libstdc++-13-r0.apk",
            asks("/3.22/main/x86_64/libstdc%2B%2B-13-r0.apk"),
        ),
        (
            "/3.22/main/x86_64/libstdc%2B%2b-13-r0.apk",
            asks("/3.22/main/x86_64/libstdc%2B%2B-13-r0.apk"),
        ),
        ("/3.22/main/x86_64/a-1%7e2-r0.apk", asks("/3.22/main/x86_64/a-1~2-r0.apk")),
        ("/3.22/main/x86_64/a-1~2-r0.apk", asks("/3.22/main/x86_64/a-1~2-r0.apk")),
        ("/%33.22/main%2Fx86_64/a-1.apk", asks("/3.22/main/x86_64/a-1.apk")),
        ("/", Answer::Refuse(302, "/index.html".to_owned())),
    ];
    assert_answers(Reading::Public, None, &cases);
    assert_answers(Reading::Private, Some(&basic("all", OTHER)), &cases);
}

#[test]
fn what_alpinist_publishes_is_not_refused() {
    let prefix: RepositoryPrefix = "3.22/main/x86_64/".parse().unwrap();
    let published = prefix.adb_keys().into_iter().chain([prefix.index_key()]);
    let published: Vec<_> = published.map(|key| format!("/{key}")).collect();
    let cases: Vec<_> = published.iter().map(|path| (path.as_str(), asks(path))).collect();
    assert_answers(Reading::Public, None, &cases);
}

#[test]
fn what_is_internal_and_what_is_no_path_does_not_exist_for_anyone() {
    let prefix: RepositoryPrefix = "3.22/main/x86_64/".parse().unwrap();
    let package: PackageKey = "3.22/main/x86_64/a-1.apk".parse().unwrap();
    let key = "ops@example.com-5f3c2a1b.rsa.pub".parse().unwrap();
    let internal = [
        package.fragment_key(),
        prefix.snapshot_key(),
        prefix.adoption_key(),
        rejected_prefix(&prefix) + "a-1@0",
        trusted_key(&key),
    ];
    let mut paths: Vec<_> = internal.iter().map(|key| format!("/{key}")).collect();
    // Whatever somebody escapes.
    paths.extend(internal.iter().map(|key| format!("/{}", key.replace('.', "%2e"))));
    paths.extend(internal.iter().map(|key| format!("/{}", key.replace('.', "%252e"))));
    paths.extend(internal.iter().map(|key| format!("/{}", key.replace('.', "%EF%BC%8E"))));
    paths.extend(
        [
            "",
            "//",
            "/.",
            "/..",
            "/3.22",
            "/3.22/",
            "/3.22/main/x86_64/",
            "/a.apk",
            "/x86_64/a-1.apk",
            "//3.22/main/x86_64/a-1.apk",
            "/3.22//main/x86_64/a-1.apk",
            "/3.22/main/x86_64//a-1.apk",
            "/3.22/main/../main/x86_64/a-1.apk",
            "/3.22/%2e%2e/main/x86_64/a-1.apk",
            "/3.22/..%2fmain/x86_64/a-1.apk",
            "/3.22/..%5cmain/x86_64/a-1.apk",
            "/3.22/main/x86_64/%2e%2e%2fa-1.apk",
            "/3.22/main/x86_64/libstdc%20%20-13-r0.apk",
            "/3.22/main/x86_64/a-1.apk%00",
            "/3.22/main/x86_64/a-1.apk%0a",
            "/3.22/main/x86_64/a-1%0A.apk",
            "/3.22/main/x86_64/\u{e4}-1.apk",
            "/3.22/main/x86_64/%C3%A4-1.apk",
            "/3.22/main/x86_64/%c0%af-1.apk",
            "/3.22/main/x86_64/%zz-1.apk",
            "/3.22/main/x86_64/%",
            "/3.22/main/x86_64/%2",
            "/3.22/main/x86_64/%u0041.apk",
            "/3.22/main/x86_64/a%252fb-1.apk",
            "/3.22/main/x86_64/a-1.apk?x",
            "/3.22/main/x86_64/a-1.apk#x",
            "/3.22/main/x86_64/a-1.APK",
            "/3.22/main/x86_64/.apk",
            "/3.22/main/x86_64/evil.html",
            "/3.22/main/X86/a-1.apk",
            "/index.html/",
            "/index.html%0A",
            "/INDEX.HTML",
            "/.hidden.pub",
            "/a/ops.pub",
        ]
        .map(str::to_owned),
    );
    paths.push(format!("/{}x86_64/a-1.apk", "a/".repeat(2000)));
    let cases: Vec<_> = paths.iter().map(|path| (path.as_str(), nothing())).collect();
    assert_answers(Reading::Public, None, &cases);
    assert_answers(Reading::Private, None, &cases);
    assert_answers(Reading::Private, Some(&basic("all", OTHER)), &cases);
}

#[test]
fn a_token_opens_its_repositories_by_whole_directories() {
    let open = |path: &'static str| (path, asks(path));
    let closed = |path: &'static str| (path, elsewhere());
    let ci = [
        open(PACKAGE),
        open("/3.22/main/aarch64/APKINDEX.tar.gz"),
        open("/3.22/main/sub/x86_64/a-1.apk"),
        open("/index.html"),
        open("/repositories.json"),
        closed("/3.22/main2/x86_64/APKINDEX.tar.gz"),
        closed("/3.22/community/x86_64/APKINDEX.tar.gz"),
        closed("/3.2/main/x86_64/APKINDEX.tar.gz"),
        closed("/other/3.22/main/x86_64/APKINDEX.tar.gz"),
        closed("/3.22/x86_64/APKINDEX.tar.gz"),
        ("/3.22%2fmain%2Fx86_64/a-1.apk", asks("/3.22/main/x86_64/a-1.apk")),
    ];
    assert_answers(Reading::Private, Some(&basic("ci", TOKEN)), &ci);
    let two = [
        open("/3.21/main/x86_64/a-1.apk"),
        open("/edge/testing/x86_64/a-1.apk"),
        closed("/edge/testing/aarch64/a-1.apk"),
        closed(PACKAGE),
    ];
    assert_answers(Reading::Private, Some(&basic("two", OTHER)), &two);
    assert_answers(Reading::Private, Some(&basic("none", TOKEN)), &[closed(PACKAGE)]);
    let expired = Answer::Refuse(401, "This token has expired.".to_owned());
    assert_answers(Reading::Private, Some(&basic("gone", TOKEN)), &[(PACKAGE, expired)]);
}

#[test]
fn nobody_reads_without_a_token_but_what_is_public() {
    let key = "/ops.rsa.pub";
    let cases = [
        (key, asks(key)),
        (PACKAGE, stranger()),
        ("/index.html", stranger()),
        ("/repositories.json", stranger()),
    ];
    assert_answers(Reading::Private, None, &cases);
    assert_answers(Reading::Private, Some(&basic("ci", OTHER)), &cases);
    assert_answers(Reading::Public, None, &[(PACKAGE, asks(PACKAGE)), (key, asks(key))]);
}

#[test]
fn whoever_has_no_right_credentials_learns_nothing() {
    let right = basic("ci", TOKEN);
    let long = format!("Basic {}", "QUFB".repeat(10_000));
    let padded = format!("Basic {}{}", " ".repeat(300), base64(&format!("ci:{TOKEN}")));
    let wrong = [
        basic("ci", &TOKEN.replace('A', "B")),
        basic("ci", &TOKEN.to_lowercase()),
        basic("ci", ""),
        basic("ci", &format!("{TOKEN}\n")),
        basic("ci", &format!("{TOKEN}x")),
        basic("ci", &format!(" {TOKEN}")),
        basic("ci", &format!("x:{TOKEN}")),
        basic("gone", OTHER),
        basic("nobody", TOKEN),
        basic("", TOKEN),
        basic("CI", TOKEN),
        basic("ci\0", TOKEN),
        basic("\u{e4}", TOKEN),
        basic("__proto__", TOKEN),
        basic("constructor", TOKEN),
        basic("null", TOKEN),
        basic("broken", TOKEN),
        basic(&"a".repeat(65), TOKEN),
        base64(&format!("ci:{TOKEN}")),
        format!("Bearer {TOKEN}"),
        format!("Basic ci:{TOKEN}"),
        "Basic".to_owned(),
        "Basic ".to_owned(),
        "Basic ====".to_owned(),
        "Basic \u{ff}\u{fe}".to_owned(),
        format!("{right}, {right}"),
        String::new(),
        long,
        padded,
    ];
    let mut requests: Vec<_> = wrong.iter().map(|value| (PACKAGE, Some(value.as_str()))).collect();
    let lower = right.replacen("Basic", "basic", 1);
    requests.extend([(PACKAGE, Some(right.as_str())), (PACKAGE, Some(lower.as_str()))]);
    let answers = ask(Reading::Private, &requests);
    let (right, wrong) = (&answers[wrong.len()..], &answers[..wrong.len()]);
    for (found, (_, authorization)) in wrong.iter().zip(&requests) {
        assert_eq!(*found, stranger(), "{authorization:.200?}");
    }
    assert_eq!(*right, [asks(PACKAGE), asks(PACKAGE)], "the scheme has no case");
}

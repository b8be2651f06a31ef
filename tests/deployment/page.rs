//! The page: its policy allows its own style and script, and these make nothing of foreign text.

use std::{env, fs};

use alpinist_tests::workspace;
use base64ct::{Base64, Encoding as _};
use sha2::{Digest as _, Sha256};

const PAGE: &str = "page/index.html";

/// What would run, load or send something else than the page itself, or make markup of a text.
const FORBIDDEN: [&str; 17] = [
    "http://",
    "https://",
    "//cdn",
    "src=",
    "url(",
    "@import",
    "import(",
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "document.write",
    "eval(",
    "Function(",
    "javascript:",
    "unsafe-",
    "localStorage",
    "cookie",
];

fn page() -> String {
    fs::read_to_string(workspace::root().join(PAGE)).unwrap()
}

/// Returns what stands in the only element of this name.
fn content<'a>(page: &'a str, element: &str) -> &'a str {
    let (begin, end) = (format!("<{element}>"), format!("</{element}>"));
    assert_eq!(page.matches(&begin).count(), 1, "{begin}");
    let (_, rest) = page.split_once(&begin).unwrap();
    rest.split_once(&end).unwrap().0
}

/// Returns the page with the hashes of its style and its script in its policy.
fn with_hashes(page: &str) -> String {
    let mut page = page.to_owned();
    for (element, directive) in [("style", "style-src"), ("script", "script-src")] {
        let hash = Base64::encode_string(&Sha256::digest(content(&page, element)));
        let (before, rest) = page.split_once(&format!("{directive} 'sha256-")).unwrap();
        let (_, rest) = rest.split_once('\'').unwrap();
        page = format!("{before}{directive} 'sha256-{hash}'{rest}");
    }
    page
}

#[test]
fn the_policy_of_the_page_allows_its_own_style_and_script_alone() {
    let (page, expected) = (page(), with_hashes(&page()));
    if env::var_os("UPDATE_DOCUMENTS").is_some_and(|value| value == "1") {
        fs::write(workspace::root().join(PAGE), &expected).unwrap();
        return;
    }
    let update = "UPDATE_DOCUMENTS=1 cargo test --workspace --test deployment page";
    assert!(page == expected, "{PAGE} has other hashes than its style and script: run {update}");
    let policy = page.split("http-equiv=\"Content-Security-Policy\" content=\"").nth(1).unwrap();
    let policy = policy.split('"').next().unwrap();
    let directives: Vec<_> = policy.split("; ").filter(|it| !it.contains("sha256-")).collect();
    let expected = [
        "default-src 'none'",
        "img-src data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ];
    assert_eq!(directives, expected);
}

#[test]
fn the_page_loads_nothing_from_elsewhere_and_makes_no_markup_of_text() {
    let page = page();
    for forbidden in FORBIDDEN {
        assert!(!page.contains(forbidden), "{PAGE} has `{forbidden}`");
    }
    for tag in page.split('<').filter(|tag| tag.starts_with(|it: char| it.is_ascii_lowercase())) {
        let handler = tag.split('>').next().unwrap().split_whitespace();
        let handler = handler.skip(1).find(|it| it.starts_with("on") && it.contains('='));
        assert_eq!(handler, None, "the policy blocks handlers in attributes: <{tag}");
    }
    assert!(page.len() < 64 << 10, "{PAGE} has {} bytes", page.len());
}

//! The page, in real browsers, on the local stack.
//!
//! `page.cjs` in `tests/tools/npm` has the checks, which [`published`](mod@published) gives
//! something to look at.

#![cfg(test)]

mod published;

use std::{env, fs, path::Path, process::Command};

use alpinist_tests::{Tools, browsers::Browser, command, workspace};

use crate::published::published;

/// The pictures in the documents.
const PICTURES: [&str; 3] = ["page-list.png", "page-package.png", "page-phone.png"];

/// The maximum size of a picture in bytes.
const MAX_PICTURE: u64 = 150_000;

/// Runs a script in `directory`, with what is published in a file, and returns what it prints.
async fn run(script: &str, directory: &Path, arguments: &[&str], more: &[&str]) -> String {
    let file = directory.join("published.json");
    fs::write(&file, published().await.to_string()).unwrap();
    let mut script: Command = Tools::install().unwrap().script(script);
    script.args(arguments).arg(file).args(more);
    // Firefox writes into the home directory of whoever starts it.
    script.env("HOME", directory);
    let said = command::output(&mut script).unwrap_or_else(|error| panic!("{}", error.chain()));
    String::from_utf8(said).unwrap()
}

async fn check(browser: Browser) {
    let directory = tempfile::tempdir().unwrap();
    let program = browser.program().unwrap();
    run("page.cjs", directory.path(), &[browser.kind(), &program], &[]).await;
}

#[tokio::test]
async fn chromium_shows_what_is_published() {
    check(Browser::Chromium).await;
}

#[tokio::test]
async fn firefox_shows_what_is_published() {
    check(Browser::Firefox).await;
}

#[tokio::test]
async fn the_pictures_of_the_page_are_small() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let program = Browser::Chromium.program().unwrap();
    run("pictures.cjs", directory, &[&program], &[directory.to_str().unwrap()]).await;
    for name in PICTURES {
        let size = fs::metadata(directory.join(name)).unwrap().len();
        assert!(size < MAX_PICTURE, "{name} has {size} bytes");
        let kept = workspace::root().join("docs/images").join(name);
        if env::var_os("UPDATE_DOCUMENTS").is_some_and(|value| value == "1") {
            fs::copy(directory.join(name), &kept).unwrap();
        }
        assert!(kept.is_file(), "{}", kept.display());
    }
}

#[expect(clippy::disallowed_methods, reason = "asks for rounds, not for a setting of Alpinist")]
fn rounds() -> String {
    env::var("ALPINIST_ROUNDS").unwrap_or_else(|_| "1".to_owned())
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the times are to be reported")]
async fn how_long_the_page_takes_can_be_measured() {
    println!("          packages first rows all listed    checked     heap");
    for browser in [Browser::Chromium, Browser::Firefox] {
        let directory = tempfile::tempdir().unwrap();
        let arguments = [browser.kind(), &browser.program().unwrap()];
        let measured = run("times.cjs", directory.path(), &arguments, &[&rounds()]).await;
        assert_eq!(measured.lines().count(), 2, "{measured}");
        print!("{measured}");
    }
}

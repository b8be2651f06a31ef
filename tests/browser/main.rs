//! The page, in real browsers, on the local stack.
//!
//! `page.cjs` in `tests/tools/npm` has the checks, which [`published`] gives something to look at.

#![cfg(test)]

mod published;

use std::fs;

use alpinist_tests::{Tools, browsers::Browser, command};

use crate::published::published;

async fn run(browser: Browser) {
    let published = published().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("published.json");
    fs::write(&file, published.to_string()).unwrap();
    let mut checks = Tools::install().unwrap().script("page.cjs");
    checks.arg(browser.kind()).arg(browser.program().unwrap()).arg(file);
    // Firefox writes into the home directory of whoever starts it.
    checks.env("HOME", directory.path());
    command::output(&mut checks).unwrap_or_else(|error| panic!("{}", error.chain()));
}

#[tokio::test]
async fn chromium_shows_what_is_published() {
    run(Browser::Chromium).await;
}

#[tokio::test]
async fn firefox_shows_what_is_published() {
    run(Browser::Firefox).await;
}

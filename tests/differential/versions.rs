//! Which versions are valid, and how they are ordered.

use std::cmp::Ordering;

use alpinist_apk::version::Version;
use alpinist_tests::{ApkClient, Tools};
use proptest::prelude::*;

use crate::runner;

/// Versions that agree in their first parts, inside and just outside the grammar.
fn version() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[01]{1,2}(\\.[019]{1,2}){0,2}[ab]?(_(alpha|beta|pre|rc|cvs|svn|git|hg|p)[01]{0,2}){0,2}(~[0a]{1,2})?(-r[01])?",
        2 => "[01]([01.]|a|_rc|_p|_git|~|-r|-|\\+){0,5}",
        1 => "[0-9a-zA-Z._~+-]{1,8}",
    ]
}

fn client() -> ApkClient {
    let apk = Tools::install().unwrap().apk();
    ApkClient::new(apk, "http://127.0.0.1:9/none", "x86_64").unwrap()
}

#[test]
fn versions_are_judged_and_ordered_as_apk_does() {
    let client = client();
    let apk = |arguments: &[&str]| client.run(["version"].iter().chain(arguments)).unwrap();
    let outcome = runner(1000).run(&(version(), version()), |(a, b)| {
        let mut parsed = Vec::new();
        for text in [&a, &b] {
            let is_valid = apk(&["--check", "--", text]).status.success();
            let ours = text.parse::<Version>();
            let is_canonical = ours.as_ref().is_ok_and(Version::is_canonical);
            prop_assert_eq!(is_canonical, is_valid, "is {} valid?", text);
            parsed.extend(ours.ok());
        }
        if let [first, second] = &*parsed {
            let order = match apk(&["-t", "--", &a, &b]).text.trim() {
                "<" => Ordering::Less,
                ">" => Ordering::Greater,
                "=" => Ordering::Equal,
                // For most versions outside the grammar, apk gives no order.
                _ => return Ok(()),
            };
            prop_assert_eq!(first.order(second), order, "{} and {}", a, b);
        }
        Ok(())
    });
    outcome.unwrap();
}

//! What can be set, and what the roles may do.

use alpinist_tests::{Tools, command, workspace};

#[test]
fn the_configuration_is_documented_as_the_template_has_it() {
    let mut script = Tools::install().unwrap().script("configuration.py");
    script.arg(workspace::root().join("template.yaml"));
    let text = command::output(&mut script).unwrap_or_else(|error| panic!("{}", error.chain()));
    super::assert_generated("docs/configuration.md", &String::from_utf8(text).unwrap());
}

//! What the functions' programs require of the machine that runs them.

use std::process::Command;

use alpinist_tests::{command, functions};

/// The glibc of Amazon Linux 2023, which runs `provided.al2023`.
const GLIBC: (u32, u32) = (2, 34);

#[test]
fn the_functions_need_no_newer_glibc_than_lambda_has() {
    for function in functions::build().unwrap() {
        let mut readelf = Command::new("readelf");
        readelf.arg("--version-info").arg(&function.program);
        let versions = command::output(&mut readelf)
            .unwrap_or_else(|error| panic!("apt-get install binutils: {}", error.chain()));
        let versions = String::from_utf8(versions).unwrap();
        let needed = versions.split("GLIBC_").skip(1).filter_map(|rest| {
            let number = rest.split([' ', '\n']).next()?;
            let mut parts = number.split('.').map_while(|part| part.parse().ok());
            Some((parts.next()?, parts.next()?))
        });
        let newest = needed.max().expect("a program that is linked with glibc");
        assert!(newest <= GLIBC, "{} needs glibc {newest:?}", function.name);
    }
}

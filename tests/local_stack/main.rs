//! The parts of the local stack, one by one; the stories about Alpinist are in `end_to_end`.

use std::io;
use std::net::TcpStream;
use std::process::Command;

use alpinist_tests::{
    ApkClient, Emulator, EmulatorOptions, Error, ExecutionStatus, KeyPair, LocalStack, PackageSpec,
    Tools, command, http,
};

/// Returns the emulator's address without the scheme.
fn address(emulator: &Emulator) -> String {
    emulator.endpoint().trim_start_matches("http://").to_owned()
}

#[test]
fn emulators_run_side_by_side_and_end_when_dropped() {
    let tools = Tools::install().unwrap();
    let first = Emulator::start(&tools, EmulatorOptions::default()).unwrap();
    let second = Emulator::start(&tools, EmulatorOptions::default()).unwrap();
    assert_ne!(first.endpoint(), second.endpoint());
    assert_ne!(first.log(), second.log());

    let address = address(&first);
    assert!(TcpStream::connect(&address).is_ok());
    drop(first);
    let rejected = TcpStream::connect(&address).unwrap_err();
    assert_eq!(rejected.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_taken_port_is_an_error_that_shows_the_log() {
    let tools = Tools::install().unwrap();
    let first = Emulator::start(&tools, EmulatorOptions::default()).unwrap();
    let port = address(&first).rsplit(':').next().unwrap().parse().unwrap();
    let options = EmulatorOptions { port: Some(port), ..EmulatorOptions::default() };
    let error = Emulator::start(&tools, options).unwrap_err();
    assert!(
        matches!(&error, Error::Emulator { tail, .. } if tail.contains("already in use")),
        "{error:?}"
    );
}

#[test]
fn the_cli_talks_to_the_emulator_and_a_stranger_may_not_read() {
    let emulator = Emulator::start(&Tools::install().unwrap(), EmulatorOptions::default()).unwrap();
    command::output(emulator.aws().args(["s3", "mb", "s3://bucket"])).unwrap();
    let answer = http::get(&format!("{}/bucket/key", emulator.endpoint())).unwrap();
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn nothing_listens_beyond_loopback() {
    let local_stack = LocalStack::start(EmulatorOptions::default()).unwrap();
    let stack = local_stack.deploy().unwrap();
    let key_pair = KeyPair::generate("ops@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    stack.put_key(&key_pair).await.unwrap();
    let hello = PackageSpec::new("hello", "1.0").build(&Tools::install().unwrap()).unwrap();
    let upload = stack.upload(&hello.key("3.22/main/x86_64"), hello.bytes).await.unwrap();
    assert_eq!(upload.status, ExecutionStatus::Succeeded, "{upload:#?}");

    let emulator = local_stack.emulator();
    let listeners = emulator.listeners().unwrap();
    assert!(listeners.contains(&address(emulator).parse().unwrap()), "{listeners:?}");
    // Each process of a function requests its work from the emulator at its own address.
    let functions = emulator.function_processes().unwrap().len();
    assert!(functions > 0 && listeners.len() > functions, "{functions}: {listeners:?}");
    let beyond: Vec<_> =
        listeners.iter().filter(|at| !at.ip().to_canonical().is_loopback()).collect();
    assert!(beyond.is_empty(), "{beyond:?}");
}

#[test]
fn the_same_description_gives_the_same_package() {
    let tools = Tools::install().unwrap();
    let spec = PackageSpec::new("hello++", "1.0_rc1").release(2).depends("other");
    let package = spec.build(&tools).unwrap();
    assert_eq!(package.file_name(), "hello++-1.0_rc1-r2.apk");
    assert_eq!(package, spec.build(&tools).unwrap());
}

#[test]
fn the_real_apk_makes_an_index_of_a_package() {
    let tools = Tools::install().unwrap();
    let package = PackageSpec::new("hello++", "1.0").architecture("noarch").build(&tools).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = package.save(directory.path()).unwrap();
    let archive = directory.path().join("APKINDEX.tar.gz");
    std::fs::write(&archive, tools.apk().index("x86_64", &[path]).unwrap()).unwrap();
    let entry = Command::new("tar").arg("xzOf").arg(&archive).arg("APKINDEX").output().unwrap();
    let entry = String::from_utf8(entry.stdout).unwrap();
    assert!(entry.contains("\nP:hello++\nV:1.0-r0\nA:x86_64\n"), "{entry}");
}

#[test]
fn a_client_without_a_repository_says_so() {
    let tools = Tools::install().unwrap();
    let client = ApkClient::new(tools.apk(), "http://127.0.0.1:9/nothing", "x86_64").unwrap();
    let update = client.update().unwrap();
    assert!(!update.status.success(), "{update}");
}

#[test]
fn a_new_key_pair_has_a_key_name_and_a_public_half() {
    let key_pair = KeyPair::generate("ops@example.com", KeyPair::BITS_FOR_TESTS).unwrap();
    let name = key_pair.name();
    let digits = name.strip_prefix("ops@example.com-").unwrap().strip_suffix(".rsa.pub").unwrap();
    assert_eq!(digits.len(), 8);
    assert!(key_pair.public().unwrap().starts_with("-----BEGIN PUBLIC KEY-----"));
    assert!(!format!("{key_pair:?}").contains("BEGIN"));
}

//! `cargo bench --bench start`: how long the functions take from the start of the process until
//! they request work, compared with an empty function with the same clients; and how large they are
//! when zipped.

#![expect(clippy::print_stdout, reason = "the figures go to standard output")]

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use alpinist_tests::functions::{Function, build_programs};
use alpinist_tests::{Error, progress};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// The functions, and the clients that they need.
const FUNCTIONS: [(&str, &str); 4] = [
    ("extract-metadata", "s3"),
    ("write-index", "s3"),
    ("aggregate-apkindex", "s3"),
    ("sign-and-publish", "s3 ssm"),
];

/// The function that they are compared with.
const EMPTY: &str = "empty";

/// The variables that `template.yaml` and Lambda itself set.
const ENVIRONMENT: [(&str, &str); 18] = [
    ("STACK_NAME", "alpinist"),
    ("PACKAGE_SIGNATURES", "Verify"),
    ("MAX_PACKAGE_MIB", "5120"),
    ("PLUS_COPIES", "true"),
    ("REPLACING", "allowed"),
    ("V3_INDEX", "auto"),
    ("PRIVATE_KEY_PARAMETER", "/apk/rsa"),
    ("KEY_NAME_PARAMETER", "/apk/key"),
    ("SIGNING_KEY", "ssm"),
    ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
    ("AWS_LAMBDA_LOG_LEVEL", "INFO"),
    ("AWS_LAMBDA_FUNCTION_NAME", "measured"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
    ("AWS_REGION", "eu-central-1"),
    ("AWS_ACCESS_KEY_ID", "ASIAEXAMPLE"),
    ("AWS_SECRET_ACCESS_KEY", "secret"),
    ("AWS_SESSION_TOKEN", "token"),
];

/// How often each is started. The first start is not counted: it reads the program from the disk.
const STARTS: usize = 41;

/// How long one start may take before it counts as failed.
const LIMIT: Duration = Duration::from_secs(10);

/// How many milliseconds longer than the empty function a function may take.
const MORE_MILLISECONDS: u32 = 10;

/// How many MB (a million bytes) a zipped function may have.
const ZIPPED_MEGABYTES: f64 = 3.5;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let names = FUNCTIONS.map(|(name, _)| name).into_iter().chain([EMPTY]);
    let names = names.map(str::to_owned).collect();
    let mut programs = progress::step("building the functions", || build_programs(names))?;
    let Some(empty) = programs.pop() else { return Ok(()) };
    println!("median of {} starts, from the process to its first request for work", STARTS - 1);
    println!(
        "{:20}{:>10}{:>10}{:>12}{:>12}",
        "",
        "function",
        EMPTY,
        format!("< +{MORE_MILLISECONDS} ms"),
        format!("< {ZIPPED_MEGABYTES} MB")
    );
    for (Function { name, program }, (_, clients)) in programs.iter().zip(FUNCTIONS) {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..STARTS {
            ours.push(start(program, clients).await?);
            theirs.push(start(&empty.program, clients).await?);
        }
        let (ours, theirs) = (median(ours), median(theirs));
        let more = ours - theirs;
        let zipped = zipped(program)?;
        println!("{name:20}{ours:>7.2} ms{theirs:>7.2} ms{more:>+9.2} ms{zipped:>9.2} MB");
    }
    Ok(())
}

/// Starts a function, and returns after how many milliseconds it requests work.
async fn start(program: &Path, clients: &str) -> Result<f64, Error> {
    let no_api = |source| Error::Http { url: "http://127.0.0.1".to_owned(), source };
    let api = TcpListener::bind("127.0.0.1:0").await.map_err(no_api)?;
    let address = api.local_addr().map_err(no_api)?.to_string();
    let mut function = Command::new(program);
    function.env_clear().envs(ENVIRONMENT).env("CLIENTS", clients);
    function.env("AWS_LAMBDA_RUNTIME_API", address).stdin(Stdio::null()).stdout(Stdio::null());
    let started = Instant::now();
    let mut process = function
        .spawn()
        .map_err(|source| Error::Start { program: program.display().to_string(), source })?;
    let asked = timeout(LIMIT, request(&api)).await;
    let took = started.elapsed();
    let ended = process.kill().and_then(|()| process.wait());
    ended.map_err(no_api)?;
    let what = "the request for work";
    let line = asked.map_err(|_| Error::Deadline { what: what.to_owned(), limit: LIMIT })?;
    let (line, _connection) = line.map_err(no_api)?;
    if line.starts_with("GET /2018-06-01/runtime/invocation/next ") {
        Ok(took.as_secs_f64() * 1000.0)
    } else {
        Err(Error::Reply { what, reply: line })
    }
}

/// Reads the first line of the first request, which is left waiting while the connection is open.
async fn request(api: &TcpListener) -> io::Result<(String, BufReader<TcpStream>)> {
    let (stream, _) = api.accept().await?;
    let mut connection = BufReader::new(stream);
    let mut line = String::new();
    connection.read_line(&mut line).await?;
    Ok((line, connection))
}

fn median(mut times: Vec<f64>) -> f64 {
    let mut times = times.split_off(1);
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Returns the size of a program in MB with zip's best compression.
fn zipped(program: &Path) -> Result<f64, Error> {
    let failed = |source| Error::File { action: "compress", path: program.to_owned(), source };
    let mut archive = DeflateEncoder::new(Vec::new(), Compression::best());
    archive.write_all(&fs::read(program).map_err(failed)?).map_err(failed)?;
    let bytes = u32::try_from(archive.finish().map_err(failed)?.len());
    Ok(f64::from(bytes.unwrap_or(u32::MAX)) / 1e6)
}

//! `cargo bounds`: measures what Alpinist costs when it is much, and compares it with what it may cost.

#![expect(clippy::print_stdout, reason = "the figures go to standard output")]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alpinist_tests::progress::{say, step};
use alpinist_tests::{
    EmulatorOptions, Error, KeyPair, LocalStack, Package, PackageSpec, Request, Stack,
};
use clap::Parser;
use tokio::task::JoinSet;

/// The repository that is measured, with the architecture.
const PREFIX: &str = "3.22/main/x86_64";

/// How long all executions together may take.
const LIMIT: Duration = Duration::from_hours(1);

/// Measures a burst of uploads into an empty repository
#[derive(Debug, Parser)]
#[command(name = "cargo bounds", bin_name = "cargo bounds")]
struct Arguments {
    /// How many packages are uploaded in the burst
    #[arg(long, default_value_t = 1000)]
    uploads: usize,
    /// How many are uploaded at once
    #[arg(long, default_value_t = 64)]
    writers: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    match measure(&Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("error: {}", error.chain()));
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: &Arguments) -> Result<bool, Error> {
    let key_pair = KeyPair::generate("bounds@example.com", KeyPair::BITS)?;
    let local_stack = LocalStack::start(EmulatorOptions::default())?;
    let stack = Arc::new(local_stack.deploy()?);
    stack.put_key(&key_pair).await?;
    let tools = local_stack.emulator().tools();
    let packages = step("building packages", || {
        PackageSpec::new("bulk", "1.0").build_series(tools, arguments.uploads)
    })?;
    burst(&stack, packages, arguments.writers).await
}

/// Uploads all packages at once, and counts what comes of it.
async fn burst(stack: &Arc<Stack>, packages: Vec<Package>, writers: usize) -> Result<bool, Error> {
    let uploads = packages.len();
    say(&format!("==> {uploads} uploads by {writers} writers into an empty repository"));
    let mark = stack.requests().mark()?;
    let start = Instant::now();
    put_all(stack, packages, writers).await?;
    let uploaded = start.elapsed();
    let ends = stack.wait_until_idle(uploads, LIMIT).await?;
    let ended = start.elapsed();
    let requests = stack.requests().since(mark)?;
    let by_functions: Vec<_> =
        requests.iter().filter(|request| request.by_function && request.service == "s3").collect();
    let publications = by_functions.iter().filter(|request| is_publication(request)).count();
    let client = stack.client("3.22/main", "x86_64").await?;
    client.update()?;
    let listed = client.list()?.text.lines().filter(|line| line.starts_with("bulk")).count();
    for (operation, count) in stack.requests().s3_operations_since(mark)? {
        println!("  {operation:<14} {count:>7}");
    }
    println!("  executions     {ends:?}");
    println!(
        "  uploaded after {:.0} s, indexed after {:.0} s",
        uploaded.as_secs_f64(),
        ended.as_secs_f64()
    );
    let bounds = [
        bound("packages listed", listed, uploads, listed == uploads),
        bound("publications", publications, 60, publications <= 60),
        bound(
            "requests to S3 in all",
            by_functions.len(),
            15 * uploads,
            by_functions.len() <= 15 * uploads,
        ),
    ];
    Ok(bounds.iter().all(|held| *held))
}

fn bound(what: &str, found: usize, bound: usize, held: bool) -> bool {
    let verdict = if held { "held" } else { "BROKEN" };
    println!("{what:<24} {found:>7}   bound {bound:>7}   {verdict}");
    held
}

fn is_publication(request: &Request) -> bool {
    request.method == "PUT" && request.path.ends_with("/APKINDEX.tar.gz") && request.status == 200
}

async fn put_all(stack: &Arc<Stack>, packages: Vec<Package>, writers: usize) -> Result<(), Error> {
    let mut packages = packages.into_iter();
    let mut running = JoinSet::new();
    loop {
        while running.len() < writers
            && let Some(package) = packages.next()
        {
            let stack = stack.clone();
            running.spawn(async move { stack.put(&package.key(PREFIX), package.bytes).await });
        }
        match running.join_next().await {
            None => return Ok(()),
            Some(Ok(done)) => done?,
            Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

//! `cargo bounds`: measures what Alpinist costs under load, and compares it with what it may cost.

#![expect(clippy::print_stdout, reason = "the figures go to standard output")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use alpinist_tests::progress::{say, step};
use alpinist_tests::{
    EmulatorOptions, Error, KeyPair, LocalStack, Package, PackageSpec, Request, Stack,
};
use clap::{Parser, ValueEnum};
use serde_json::json;

/// The repository prefix that is measured.
const PREFIX: &str = "3.22/main/x86_64";

/// How long all executions together may take.
const LIMIT: Duration = Duration::from_hours(1);

/// The delay of each request to S3 while one upload is measured: about what S3 takes.
const LATENCY: Duration = Duration::from_millis(20);

const MEBIBYTE: u64 = 1024 * 1024;

/// Measures a burst of uploads into an empty repository, a long one in a new account, and one
/// upload into a large repository
#[derive(Debug, Parser)]
#[command(name = "cargo bounds", bin_name = "cargo bounds")]
struct Arguments {
    /// What is measured; all of it if nothing is said
    #[arg(value_enum)]
    what: Vec<What>,
    /// How many packages are uploaded in the burst
    #[arg(long, default_value_t = 1000)]
    uploads: usize,
    /// How many are uploaded at once
    #[arg(long, default_value_t = 64)]
    writers: usize,
    /// How many packages are uploaded in a new account
    #[arg(long, default_value_t = 3000)]
    uploads_of_new_account: usize,
    /// How many packages the large repository has
    #[arg(long, default_value_t = 30_000)]
    packages: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum What {
    Burst,
    NewAccount,
    OneUpload,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match measure(&arguments).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("error: {}", error.chain()));
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: &Arguments) -> Result<bool, Error> {
    let is_asked = |what| arguments.what.is_empty() || arguments.what.contains(&what);
    let mut held = true;
    if is_asked(What::Burst) {
        held &= burst(arguments.uploads, arguments.writers).await?;
    }
    if is_asked(What::NewAccount) {
        held &= burst_of_new_account(arguments.uploads_of_new_account).await?;
    }
    if is_asked(What::OneUpload) {
        held &= one_upload(arguments.packages).await?;
    }
    Ok(held)
}

/// Uploads 50 packages a second where ten functions may run at once, and measures the result.
async fn burst_of_new_account(uploads: usize) -> Result<bool, Error> {
    say(&format!("==> {uploads} uploads, 50 a second, where ten functions may run at once"));
    let options = EmulatorOptions { concurrency: Some(10), ..EmulatorOptions::default() };
    let local_stack = LocalStack::start(options)?;
    let stack = local_stack.deploy()?;
    put_key(&stack).await?;
    let objects = build(&local_stack, uploads)?;
    let start = Instant::now();
    let mut due = tokio::time::interval(Duration::from_millis(20));
    for (key, bytes) in objects {
        due.tick().await;
        stack.put(&key, bytes).await?;
    }
    let uploaded = start.elapsed();
    let ends = stack.wait_until_idle(uploads, LIMIT).await?;
    let ended = start.elapsed();
    let executions = stack.executions(&format!("{PREFIX}/")).await?;
    let visits = executions.iter().flat_map(|execution| &execution.states);
    // Each attempt after the first is billed as a transition.
    let transitions: usize = visits.map(|visit| visit.attempts.max(1)).sum();
    println!("  executions     {ends:?}");
    println!(
        "  uploaded after {:.0} s, indexed after {:.0} s",
        uploaded.as_secs_f64(),
        ended.as_secs_f64()
    );
    println!("  transitions    {transitions}, for each upload {}", transitions / uploads.max(1));
    let listed = listed(&stack).await?;
    let succeeded = ends.get("SUCCEEDED").copied().unwrap_or_default();
    let bounds = [
        bound("packages listed", listed, uploads, listed == uploads),
        bound("executions that succeeded", succeeded, uploads, succeeded == uploads),
    ];
    Ok(bounds.iter().all(|held| *held))
}

/// Uploads all packages at once, and measures the result.
async fn burst(uploads: usize, writers: usize) -> Result<bool, Error> {
    say(&format!("==> {uploads} uploads by {writers} writers into an empty repository"));
    let local_stack = LocalStack::start(EmulatorOptions::default())?;
    let stack = local_stack.deploy()?;
    put_key(&stack).await?;
    let objects = build(&local_stack, uploads)?;
    let mark = stack.requests().mark()?;
    let start = Instant::now();
    stack.put_all(objects, writers).await?;
    let uploaded = start.elapsed();
    let ends = stack.wait_until_idle(uploads, LIMIT).await?;
    let ended = start.elapsed();
    let requests = requests_to_s3(&stack, mark)?;
    let publications = requests.iter().filter(|request| is_publication(request)).count();
    let listed = listed(&stack).await?;
    print_operations(&stack, mark)?;
    println!("  executions     {ends:?}");
    println!(
        "  uploaded after {:.0} s, indexed after {:.0} s",
        uploaded.as_secs_f64(),
        ended.as_secs_f64()
    );
    let bounds = [
        bound("packages listed", listed, uploads, listed == uploads),
        bound("publications", publications, 60, publications <= 60),
        bound_above("requests to S3 in all", requests.len(), 15 * uploads),
    ];
    Ok(bounds.iter().all(|held| *held))
}

/// Uploads one package into a repository that has many, and measures the result.
async fn one_upload(packages: usize) -> Result<bool, Error> {
    say(&format!("==> One upload into {packages} packages, {LATENCY:?} for each request to S3"));
    let options = EmulatorOptions { s3_latency: LATENCY, ..EmulatorOptions::default() };
    let local_stack = LocalStack::start(options)?;
    let stack = local_stack.deploy_beside_bucket("large", &[])?;
    put_key(&stack).await?;
    stack.put_all(build(&local_stack, packages)?, 64).await?;
    let start = Instant::now();
    let reindex = stack.reindex(&json!({})).await?;
    let report = reindex.output.map(|output| output.to_string());
    println!("  reindex        {:.0} s: {report:?}", start.elapsed().as_secs_f64());
    print_memory(&local_stack)?;

    stack.send_events().await?;
    let package = PackageSpec::new("bulk", "2.0").build(local_stack.emulator().tools())?;
    let mark = stack.requests().mark()?;
    let execution = stack.upload(&package.key(PREFIX), package.bytes.clone()).await?;
    let requests = requests_to_s3(&stack, mark)?.len();
    print_operations(&stack, mark)?;
    for visit in &execution.states {
        println!("  {:<18} {:>7.2?}", visit.name, visit.duration.unwrap_or_default());
    }
    println!("  {:?} after {:.2?}", execution.status, execution.duration.unwrap_or_default());
    let peak = print_memory(&local_stack)?.div_ceil(MEBIBYTE);
    let listed = listed(&stack).await?;
    let bounds = [
        bound("packages listed", listed, packages + 1, listed == packages + 1),
        bound_above("requests to S3", requests, (2 * packages).div_ceil(1000) + 12),
        bound_above("memory in MiB", usize::try_from(peak).unwrap_or(usize::MAX), 128),
    ];
    Ok(bounds.iter().all(|held| *held))
}

async fn put_key(stack: &Stack) -> Result<(), Error> {
    stack.put_key(&KeyPair::generate("bounds@example.com", KeyPair::BITS)?).await
}

/// Builds packages, and returns them with their keys.
fn build(local_stack: &LocalStack, count: usize) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let spec = PackageSpec::new("bulk", "1.0");
    let packages =
        step("building packages", || spec.build_series(local_stack.emulator().tools(), count))?;
    let with_key = |package: Package| (package.key(PREFIX), package.bytes);
    Ok(packages.into_iter().map(with_key).collect())
}

/// Returns how many packages the real apk lists.
async fn listed(stack: &Stack) -> Result<usize, Error> {
    let client = stack.client("3.22/main", "x86_64").await?;
    client.update()?;
    Ok(client.list()?.text.lines().filter(|line| line.starts_with("bulk")).count())
}

/// Returns the requests of functions to S3.
fn requests_to_s3(stack: &Stack, mark: usize) -> Result<Vec<Request>, Error> {
    let mut requests = stack.requests().since(mark)?;
    requests.retain(|request| request.by_function() && request.service == "s3");
    Ok(requests)
}

fn print_operations(stack: &Stack, mark: usize) -> Result<(), Error> {
    for (operation, count) in stack.requests().s3_operations_since(mark)? {
        println!("  {operation:<14} {count:>7}");
    }
    Ok(())
}

/// Prints the peak memory of each function, and returns the largest.
fn print_memory(local_stack: &LocalStack) -> Result<u64, Error> {
    let peaks = local_stack.emulator().peak_memory()?;
    for (function, peak) in &peaks {
        println!("  {function:<44} {:>4} MiB at most", peak.div_ceil(MEBIBYTE));
    }
    Ok(peaks.into_values().max().unwrap_or_default())
}

fn bound_above(what: &str, found: usize, bound: usize) -> bool {
    self::bound(what, found, bound, found <= bound)
}

fn bound(what: &str, found: usize, bound: usize, held: bool) -> bool {
    let verdict = if held { "held" } else { "BROKEN" };
    println!("{what:<24} {found:>7}   bound {bound:>7}   {verdict}");
    held
}

fn is_publication(request: &Request) -> bool {
    request.method == "PUT" && request.path.ends_with("/APKINDEX.tar.gz") && request.status == 200
}

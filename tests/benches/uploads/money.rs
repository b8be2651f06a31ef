//! What 1,000 uploads cost on AWS at the prices of us-east-1 in 2026, without the free tiers.
//!
//! Requests, events, invocations and transitions are counted. Durations on the emulator are not
//! those on Lambda, so the billed time of an invocation is modelled, without favouring any design:
//!
//! - *Waiting*: 20 milliseconds for each request to S3 or SSM. Overlapping requests are waited for
//!   together: what counts is the longest chain of requests in the invocation in which each began
//!   after the previous one was answered. To make them overlap as on AWS, the emulator delays each
//!   request to S3 by the same time.
//! - *Computing*: the processor time of the functions' processes, as used by a function of 1769 MB,
//!   which has a whole processor; one with less memory gets less of the processor, and takes
//!   proportionally longer.
//!
//! Functions are warm, and nothing is rounded up to the millisecond. Storage, logs, traces,
//! metrics, and the request that uploads are left out, as they are [on paper](ON_PAPER).

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use alpinist_apk::package::PackageReader;
use alpinist_repository::location::PackageKey;
use alpinist_repository::step::make_entry;
use alpinist_tests::progress::{say, step};
use alpinist_tests::{
    Emulator, EmulatorOptions, Error, Execution, FunctionProcess, LocalStack, Package, PackageSpec,
    Request, Stack,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;

use crate::one::Side;
use crate::{Arguments, burst, put_key};

/// How long S3 and SSM take to answer.
const LATENCY: Duration = Duration::from_millis(20);

/// A function with this much memory, in MB, has a whole processor.
const MEMORY_OF_A_PROCESSOR: f64 = 1769.0;

/// Prices in US dollars.
mod price {
    /// A request that writes or lists.
    pub(super) const PUT: f64 = 0.005 / 1e3;
    /// A request that reads.
    pub(super) const GET: f64 = 0.0004 / 1e3;
    /// An event that S3 sends to EventBridge.
    pub(super) const EVENT: f64 = 1.0 / 1e6;
    /// A state that is entered, or a task that is retried.
    pub(super) const TRANSITION: f64 = 0.025 / 1e3;
    /// An invocation.
    pub(super) const INVOCATION: f64 = 0.20 / 1e6;
    /// A gigabyte-second of an arm64 function.
    pub(super) const GIGABYTE_SECOND: f64 = 0.000_013_333_4;
    /// The decryption of a parameter.
    pub(super) const DECRYPTION: f64 = 0.03 / 1e4;
}

/// What two designs would cost for 1,000 uploads into a directory of so many packages, calculated
/// and not measured: the original Alpinist, which lists the directory and reads each fragment, and
/// one that reads a single object instead and lists nothing.
const ON_PAPER: [(usize, f64, f64); 3] =
    [(100, 0.192, 0.152), (1000, 0.559, 0.152), (30_000, 12.51, 0.152)];

/// Measures, and prints the table.
pub(crate) async fn measure(arguments: &Arguments) -> Result<(), Error> {
    let options = EmulatorOptions { s3_latency: LATENCY, ..EmulatorOptions::default() };
    let local_stack = LocalStack::start(options)?;
    let stack = local_stack.deploy_beside_bucket("money", &[])?;
    put_key(&stack).await?;
    for count in &arguments.packages {
        fill(&local_stack, &stack, *count).await?;
    }
    stack.send_events().await?;

    let mut lines = Vec::new();
    for count in &arguments.packages {
        let usage = one_at_a_time(&local_stack, &stack, *count, arguments.times).await?;
        let on_paper = ON_PAPER.iter().find(|(packages, ..)| packages == count);
        lines.push((format!("one at a time, N = {count}"), usage, on_paper));
    }
    let Arguments { uploads, writers, .. } = *arguments;
    let usage = burst(&local_stack, &stack, uploads, writers).await?;
    lines.push((format!("{uploads} by {writers} writers, N = 0"), usage, None));
    print(&lines);
    Ok(())
}

fn prefix(count: usize) -> String {
    format!("n{count}/main/x86_64")
}

/// Fills a directory with packages and their fragments, and has Alpinist make its index.
async fn fill(local_stack: &LocalStack, stack: &Stack, count: usize) -> Result<(), Error> {
    say(&format!("==> Filling a directory with {count} packages"));
    let spec = PackageSpec::new("there", "1.0");
    let tools = local_stack.emulator().tools();
    let packages = step("building packages", || spec.build_series(tools, count))?;
    let prefix = prefix(count);
    let put = async |package: Package| {
        let key = package.key(&prefix);
        let fragment = fragment(&key, &package)?;
        stack.put_indexed(&key, package.bytes, fragment).await
    };
    stream::iter(packages).map(put).buffer_unordered(64).try_collect::<()>().await?;
    let made = stack.reindex(&json!({"prefix": format!("{prefix}/"), "sign": true})).await?;
    match made.output {
        Some(_) => Ok(()),
        None => Err(Error::Reply { what: "the end of a reindex", reply: format!("{made:?}") }),
    }
}

/// Returns the key and the content of a package's fragment.
fn fragment(key: &str, package: &Package) -> Result<(String, Vec<u8>), Error> {
    let failed = |reply: String| Error::Reply { what: "a package that was built", reply };
    let parsed: PackageKey = key.parse().map_err(|error| failed(format!("{error}")))?;
    let mut reader = PackageReader::new();
    let read = reader.push(&package.bytes).and_then(|()| reader.finish());
    let read = read.map_err(|error| failed(format!("{error}")))?;
    let entry = make_entry(parsed.prefix().architecture(), parsed.stem(), read);
    let entry = entry.map_err(|error| failed(format!("{error}")))?;
    Ok((parsed.fragment_key(), entry.to_string().into_bytes()))
}

/// What was used.
struct Usage {
    uploads: usize,
    /// Requests that write or list.
    puts: usize,
    /// Requests that read.
    gets: usize,
    decryptions: usize,
    events: usize,
    invocations: usize,
    transitions: usize,
    gigabyte_seconds: f64,
}

/// What an emulator had done at a certain time.
struct Mark {
    requests: usize,
    processes: Vec<FunctionProcess>,
}

impl Mark {
    fn set(emulator: &Emulator, stack: &Stack) -> Result<Self, Error> {
        let requests = stack.requests().mark()?;
        Ok(Self { requests, processes: emulator.function_processes()? })
    }

    /// Returns what has been used since then.
    fn usage(
        self,
        emulator: &Emulator,
        stack: &Stack,
        uploads: usize,
        executions: &[Execution],
    ) -> Result<Usage, Error> {
        let mut requests = stack.requests().since(self.requests)?;
        requests.retain(Request::by_function);
        let of = |service: &str, methods: &[&str]| {
            let is_one = |request: &&Request| {
                request.service == service && methods.contains(&request.method.as_str())
            };
            requests.iter().filter(is_one).count()
        };
        let lists =
            requests.iter().filter(|request| request.s3_operation() == "ListObjectsV2").count();
        let has_changed = |request: &&Request| {
            ["PUT", "DELETE"].contains(&request.method.as_str()) && request.status < 300
        };
        let processes = emulator.function_processes()?;
        Ok(Usage {
            uploads,
            puts: of("s3", &["PUT"]) + lists,
            gets: of("s3", &["GET", "HEAD"]) - lists,
            decryptions: of("ssm", &["POST"]),
            events: uploads + requests.iter().filter(has_changed).count(),
            invocations: executions.iter().map(Execution::attempts).sum(),
            transitions: executions.iter().map(Execution::transitions).sum(),
            gigabyte_seconds: waited(&requests, &processes) + computed(&self.processes, &processes),
        })
    }
}

/// Returns the gigabyte-seconds in which functions waited for answers.
fn waited(requests: &[Request], processes: &[FunctionProcess]) -> f64 {
    let gigabytes: HashMap<_, _> = processes
        .iter()
        .map(|process| (&*process.access_key, f64::from(process.memory_size) / 1024.0))
        .collect();
    let mut invocations: BTreeMap<&str, Vec<&Request>> = BTreeMap::new();
    for request in requests {
        invocations.entry(&request.invocation).or_default().push(request);
    }
    let waited = invocations.into_values().map(|requests| {
        let memory = requests.first().and_then(|request| gigabytes.get(&*request.access_key));
        memory.copied().unwrap_or_default() * longest_chain(requests) * LATENCY.as_secs_f64()
    });
    waited.sum()
}

/// Returns the length of the longest chain of requests in which each began after the previous one
/// was answered.
fn longest_chain(mut requests: Vec<&Request>) -> f64 {
    requests.sort_by_key(|request| request.ended);
    let mut last = Duration::ZERO;
    let mut length = 0.0;
    for request in requests {
        if request.began >= last {
            length += 1.0;
            last = request.ended;
        }
    }
    length
}

/// Returns the gigabyte-seconds in which functions computed.
fn computed(before: &[FunctionProcess], after: &[FunctionProcess]) -> f64 {
    let before: HashMap<_, _> =
        before.iter().map(|process| (process.id, process.computed)).collect();
    let computed = after.iter().map(|process| {
        let before = before.get(&process.id).copied().unwrap_or_default();
        process.computed.saturating_sub(before).as_secs_f64()
    });
    computed.sum::<f64>() * MEMORY_OF_A_PROCESSOR / 1024.0
}

/// Uploads into a directory that has `count` packages, and returns what that used.
async fn one_at_a_time(
    local_stack: &LocalStack,
    stack: &Stack,
    count: usize,
    times: usize,
) -> Result<Usage, Error> {
    say(&format!("==> {times} uploads into {count} packages, one at a time"));
    let emulator = local_stack.emulator();
    let packages = PackageSpec::new("paid", "1.0").build_series(emulator.tools(), times + 1)?;
    let mut side = Side::new("Alpinist", stack).await?;
    let mut mark = Mark::set(emulator, stack)?;
    let mut executions = Vec::new();
    for (number, package) in packages.iter().enumerate() {
        let key = package.key(&prefix(count));
        let (_, execution) = side.upload(&key, &package.bytes).await?;
        // The first one starts the functions.
        match number {
            0 => mark = Mark::set(emulator, stack)?,
            _ => executions.push(execution),
        }
    }
    mark.usage(emulator, stack, times, &executions)
}

/// Uploads many packages at once, and returns what that used.
async fn burst(
    local_stack: &LocalStack,
    stack: &Stack,
    uploads: usize,
    writers: usize,
) -> Result<Usage, Error> {
    say(&format!("==> {uploads} uploads by {writers} writers, {LATENCY:?} for each request to S3"));
    let emulator = local_stack.emulator();
    let packages = PackageSpec::new("burst", "1.0").build_series(emulator.tools(), uploads)?;
    let mark = Mark::set(emulator, stack)?;
    let prefix = "burst/main/x86_64";
    burst::burst(stack, prefix, &packages, writers).await?;
    let executions = stack.executions(&format!("{prefix}/")).await?;
    mark.usage(emulator, stack, uploads, &executions)
}

/// A line of the table: what was done, what that used, and what it costs on paper.
type Line<'a> = (String, Usage, Option<&'a (usize, f64, f64)>);

fn print(lines: &[Line<'_>]) {
    println!("\n1,000 uploads on AWS, counted or modelled from what was measured here");
    println!(
        "{:<30} {:>8} {:>8} {:>7} {:>7} {:>7} {:>8}",
        "", "PUT/LIST", "GET/HEAD", "events", "invoc.", "GB-s", "transit."
    );
    for (name, usage, _) in lines {
        let Usage { puts, gets, events, invocations, transitions, gigabyte_seconds, .. } = usage;
        let per = |count: &usize| usage.per_thousand(as_f64(*count));
        println!(
            "{name:<30} {:>8.0} {:>8.0} {:>7.0} {:>7.0} {:>7.1} {:>8.0}",
            per(puts),
            per(gets),
            per(events),
            per(invocations),
            usage.per_thousand(*gigabyte_seconds),
            per(transitions),
        );
    }
    println!(
        "\n{:<30} {:>8} {:>8} {:>8} {:>8} {:>8}   {:>8} {:>8}",
        "US dollars", "S3", "Events", "Lambda", "States", "in all", "A, paper", "B, paper"
    );
    for (name, usage, on_paper) in lines {
        let Usage { puts, gets, decryptions, events, invocations, transitions, .. } = usage;
        let paid = |count: &usize, price: f64| usage.per_thousand(as_f64(*count)) * price;
        let s3 = paid(puts, price::PUT) + paid(gets, price::GET);
        let events = paid(events, price::EVENT);
        let seconds = usage.per_thousand(usage.gigabyte_seconds) * price::GIGABYTE_SECOND;
        let lambda =
            paid(invocations, price::INVOCATION) + seconds + paid(decryptions, price::DECRYPTION);
        let states = paid(transitions, price::TRANSITION);
        let all = s3 + events + lambda + states;
        print!("{name:<30} {s3:>8.4} {events:>8.4} {lambda:>8.4} {states:>8.4} {all:>8.4}");
        match on_paper {
            Some((_, original, incremental)) => println!("   {original:>8.3} {incremental:>8.3}"),
            None => println!(),
        }
    }
    println!("Lambda is with the decryption of the key, by KMS.");
}

impl Usage {
    fn per_thousand(&self, count: f64) -> f64 {
        count * 1000.0 / as_f64(self.uploads)
    }
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

//! The emulated AWS: one process on loopback, with the functions as its child processes.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use procfs::process::FDTarget;
use serde_json::{Value, json};

use crate::workspace::{self, RunDirectory};
use crate::{Error, Tools, command, http};

/// The region that everything is in.
pub const REGION: &str = "eu-central-1";

/// The access key and the secret key of the emulated account's administrator.
pub const CREDENTIALS: &str = "test";

/// How long the emulator may take to start: it takes two seconds on an idle machine.
const START_LIMIT: Duration = Duration::from_mins(1);

/// How long to wait between two checks whether the emulator answers.
const START_INTERVAL: Duration = Duration::from_millis(50);

/// How many lines of the log are shown if the emulator does not start.
const LOG_TAIL: usize = 20;

/// The options of an emulator.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmulatorOptions {
    /// The port on loopback; a free one if none is given.
    pub port: Option<u16>,
    /// The delay of each request from a function to S3, in whole milliseconds.
    pub s3_latency: Duration,
    /// The percentage that executions keep of each wait and of each pause before a retry, if not
    /// all of it.
    pub wait_percentage: Option<u8>,
    /// How many functions may run at once; unlimited if not given. A new AWS account may run 10.
    pub concurrency: Option<u16>,
    /// Whether requests to Step Functions have the quotas of AWS.
    pub has_quotas: bool,
}

/// The quotas of Step Functions in the regions with the smaller ones: how many requests may come at
/// once, and how many each second after that.
const QUOTAS: [(&str, [u32; 2]); 3] = [
    ("ListExecutions", [100, 2]),
    ("DescribeExecution", [250, 10]),
    ("StartExecution", [800, 150]),
];

/// An injected fault: a kind of request that fails.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The HTTP method.
    pub method: &'static str,
    /// Parts that the path contains.
    pub path: Vec<String>,
    /// How the request fails.
    pub answer: FaultAnswer,
}

/// How a request fails.
#[derive(Clone, Copy, Debug)]
pub enum FaultAnswer {
    /// S3 asks to slow down.
    Throttled,
    /// S3 reports a conflict with another request.
    Conflict,
    /// There is no response until the function times out.
    Never,
    /// The connection breaks in the middle of the object, unless only a part of it was requested.
    Cut,
}

/// A process that serves invocations of a function, one after the other.
#[derive(Clone, Debug)]
pub struct FunctionProcess {
    /// The process ID.
    pub id: i32,
    /// The function's name.
    pub function: String,
    /// The access key of the function's requests.
    pub access_key: String,
    /// The memory that the function was given, in MiB.
    pub memory_size: u32,
    /// The peak memory of the process, in bytes.
    pub peak_memory: u64,
    /// The processor time that it has used.
    pub computed: Duration,
}

/// A running emulator. It ends with its functions when this is dropped or this process ends.
#[derive(Debug)]
pub struct Emulator {
    process: Child,
    endpoint: String,
    directory: RunDirectory,
    tools: Tools,
}

impl Emulator {
    /// Starts an emulator and waits until it answers.
    ///
    /// # Errors
    ///
    /// [`Error::Emulator`] if it ends before it answers, for instance because the port is in use.
    pub fn start(tools: &Tools, options: EmulatorOptions) -> Result<Self, Error> {
        let directory = RunDirectory::take()?;
        let mut command = emulator_command(tools, &directory, options)?;
        let mut process = command.spawn().map_err(command::not_started(&command))?;
        let bound = process.stdout.take().and_then(|stdout| {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).ok()?;
            line.trim().parse::<u16>().ok()
        });
        let endpoint = format!("http://127.0.0.1:{}", bound.unwrap_or_default());
        let mut emulator = Self { process, endpoint, directory, tools: tools.clone() };
        if bound.is_none() {
            return Err(emulator.failure());
        }
        emulator.wait_until_ready()?;
        Ok(emulator)
    }

    /// Returns the address of all its services, such as `http://127.0.0.1:4700`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns the file that the emulator and its functions log to.
    pub fn log(&self) -> PathBuf {
        self.directory.log_path()
    }

    /// Returns a command for the AWS CLI that uses this emulator.
    pub fn aws(&self) -> Command {
        let mut aws = self.tools.command("aws");
        // It must not inherit the user's settings: they could lead to a real AWS.
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("AWS_") {
                aws.env_remove(name);
            }
        }
        aws.envs(self.settings())
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
        aws
    }

    /// Returns the environment variables that make any AWS program use this emulator.
    pub fn settings(&self) -> [(&'static str, &str); 4] {
        [
            ("AWS_ENDPOINT_URL", &self.endpoint),
            ("AWS_ACCESS_KEY_ID", CREDENTIALS),
            ("AWS_SECRET_ACCESS_KEY", CREDENTIALS),
            ("AWS_DEFAULT_REGION", REGION),
        ]
    }

    /// Returns a directory for files that are not needed after the emulator has ended.
    pub fn scratch(&self) -> PathBuf {
        self.directory.scratch()
    }

    /// Makes the requests from functions to S3 fail that match one of `faults`, until this is
    /// called again.
    pub fn inject(&self, faults: &[Fault]) -> Result<(), Error> {
        let path = self.directory.faults();
        let faults = faults.iter().map(|fault| {
            let (status, code) = match fault.answer {
                FaultAnswer::Throttled => (503, "SlowDown"),
                FaultAnswer::Conflict => (409, "ConditionalRequestConflict"),
                FaultAnswer::Never => (0, ""),
                FaultAnswer::Cut => (200, ""),
            };
            json!({"method": fault.method, "path": fault.path, "status": status, "code": code})
        });
        let text = Value::from(faults.collect::<Vec<_>>()).to_string();
        // Replaced atomically, since the emulator may be reading it.
        let new = path.with_extension("new");
        let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &path));
        written.map_err(Error::file("write", path))
    }

    /// Returns the peak memory of the processes of each function, in bytes, by function name.
    pub fn peak_memory(&self) -> Result<BTreeMap<String, u64>, Error> {
        let mut peaks = BTreeMap::new();
        for process in self.function_processes()? {
            let known = peaks.entry(process.function).or_default();
            *known = process.peak_memory.max(*known);
        }
        Ok(peaks)
    }

    /// Returns the processes of all functions.
    pub fn function_processes(&self) -> Result<Vec<FunctionProcess>, Error> {
        let failed = |source| Error::Processes { source };
        let processes = procfs::process::all_processes().map_err(failed)?.flatten();
        // A process that has ended meanwhile can't be read.
        Ok(processes.filter_map(|process| self.function_process(&process)).collect())
    }

    fn function_process(&self, process: &procfs::process::Process) -> Option<FunctionProcess> {
        let group = i32::try_from(self.process.id()).ok()?;
        let stat = process.stat().ok()?;
        if stat.pgrp != group {
            return None;
        }
        let environment = process.environ().ok()?;
        let variable = |name: &str| environment.get(OsStr::new(name))?.to_str().map(str::to_owned);
        let ticks = f64::from(u32::try_from(stat.utime + stat.stime).ok()?);
        let ticks_per_second = f64::from(u32::try_from(procfs::ticks_per_second()).ok()?);
        Some(FunctionProcess {
            id: process.pid(),
            function: variable("AWS_LAMBDA_FUNCTION_NAME")?,
            access_key: variable("AWS_ACCESS_KEY_ID")?,
            memory_size: variable("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")?.parse().ok()?,
            peak_memory: process.status().ok()?.vmhwm? * 1024,
            computed: Duration::from_secs_f64(ticks / ticks_per_second),
        })
    }

    /// Returns the addresses on which the emulator and the functions' processes listen, by TCP or
    /// UDP.
    pub fn listeners(&self) -> Result<BTreeSet<SocketAddr>, Error> {
        use procfs::net::{TcpState, UdpState};
        let failed = |source| Error::Processes { source };
        let group = i32::try_from(self.process.id()).unwrap_or_default();
        let processes = procfs::process::all_processes().map_err(failed)?.flatten();
        let own = processes.filter(|process| process.stat().is_ok_and(|stat| stat.pgrp == group));
        // A file, or a whole process, may have gone meanwhile.
        let files = own.filter_map(|process| process.fd().ok()).flatten().flatten();
        let sockets: BTreeSet<_> = files
            .filter_map(|file| match file.target {
                FDTarget::Socket(inode) => Some(inode),
                _ => None,
            })
            .collect();
        let tcp = procfs::net::tcp().map_err(failed)?.into_iter();
        let tcp = tcp.chain(procfs::net::tcp6().map_err(failed)?);
        let tcp = tcp.filter(|entry| entry.state == TcpState::Listen);
        let tcp = tcp.map(|entry| (entry.inode, entry.local_address));
        let udp = procfs::net::udp().map_err(failed)?.into_iter();
        let udp = udp.chain(procfs::net::udp6().map_err(failed)?);
        // A connected socket takes datagrams only from its peer.
        let udp = udp.filter(|entry| entry.state != UdpState::Established);
        let udp = udp.map(|entry| (entry.inode, entry.local_address));
        Ok(tcp.chain(udp).filter(|(inode, _)| sockets.contains(inode)).map(|(_, at)| at).collect())
    }

    /// Returns the programs that this emulator was started with.
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// Returns the file with a line for each request.
    pub(crate) fn request_notes(&self) -> PathBuf {
        self.directory.request_notes()
    }

    fn wait_until_ready(&mut self) -> Result<(), Error> {
        let url = format!("{}/_ministack/ready", self.endpoint);
        let started = Instant::now();
        while !http::get(&url).is_ok_and(|answer| answer.status == 200) {
            if self.process.try_wait().is_ok_and(|ended| ended.is_some()) {
                return Err(self.failure());
            }
            if started.elapsed() > START_LIMIT {
                let what = "the emulator's start".to_owned();
                return Err(Error::Deadline { what, limit: START_LIMIT });
            }
            thread::sleep(START_INTERVAL);
        }
        Ok(())
    }

    fn failure(&self) -> Error {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let skipped = text.lines().count().saturating_sub(LOG_TAIL);
        let tail = text.lines().skip(skipped).collect::<Vec<_>>().join("\n");
        Error::Emulator { log: self.log(), tail }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // When its standard input closes, the emulator removes its scratch directory and kills its
        // process group.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

fn emulator_command(
    tools: &Tools,
    directory: &RunDirectory,
    options: EmulatorOptions,
) -> Result<Command, Error> {
    let scratch = directory.scratch();
    let quotas = if options.has_quotas { &QUOTAS[..] } else { &[] };
    let quotas: Value = quotas.iter().map(|(action, quota)| (*action, json!(quota))).collect();
    let mut command = tools.command("python");
    command
        .arg(workspace::own_file("tools/emulator.py"))
        .arg(options.port.unwrap_or_default().to_string())
        .arg(directory.request_notes())
        .arg(options.s3_latency.as_millis().to_string())
        .arg(directory.faults())
        .arg(quotas.to_string())
        // The functions inherit the environment, and must see what they would see on AWS.
        .env_clear()
        .envs(env::var_os("PATH").map(|path| ("PATH", path)))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("HOME", &scratch)
        .env("TMPDIR", &scratch)
        .env("MINISTACK_REGION", REGION)
        // Services that nobody uses; the second one would listen on all interfaces.
        .env("SFTP_ENABLED", "0")
        .env("IOT_MTLS_ENABLED", "0")
        .envs(
            options
                .wait_percentage
                .map(|percentage| ("SFN_WAIT_SCALE", (f64::from(percentage) / 100.0).to_string())),
        )
        // Callers that wait for a function must not count as running, so there is no limit unless a
        // test asks for one.
        .env("LAMBDA_ACCOUNT_CONCURRENCY", options.concurrency.unwrap_or_default().to_string())
        // Enforces the functions' roles and the bucket policy.
        .env("AUTH", "true")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(directory.log()?)
        // Ctrl-C in the terminal is for this process, which then ends the emulator.
        .process_group(0);
    Ok(command)
}

//! The emulated AWS: one process on loopback, with the functions' processes below it.

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

/// The access key, and the secret, of the emulated account's administrator.
pub const CREDENTIALS: &str = "test";

/// How long the emulator may take until it answers: it takes two seconds on an idle machine.
const START_LIMIT: Duration = Duration::from_mins(1);

/// How long to wait between two looks at whether the emulator answers.
const START_INTERVAL: Duration = Duration::from_millis(50);

/// This many lines of the log are shown when the emulator does not start.
const LOG_TAIL: usize = 20;

/// How an emulator is to run.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmulatorOptions {
    /// The port on loopback; a free one if none is given.
    pub port: Option<u16>,
    /// How long each request of a function to S3 is held back, in whole milliseconds.
    pub s3_latency: Duration,
    /// How much of each wait and of each pause before a retry executions keep, if not all of it.
    pub wait_percentage: Option<u8>,
    /// How many functions may run at once; any number if it is not given. A new account of AWS may
    /// run 10.
    pub concurrency: Option<u16>,
    /// Whether requests to Step Functions have the quotas that they have on AWS.
    pub has_quotas: bool,
}

/// The quotas of Step Functions: the requests that may come at once, and those that may come each
/// second after that, in the regions with the smaller ones.
const QUOTAS: [(&str, [u32; 2]); 3] = [
    ("ListExecutions", [100, 2]),
    ("DescribeExecution", [250, 10]),
    ("StartExecution", [800, 150]),
];

/// A kind of request that is to fail.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The HTTP method.
    pub method: &'static str,
    /// Parts that the path has.
    pub path: Vec<String>,
    /// What the functions get.
    pub answer: FaultAnswer,
}

/// How a request fails.
#[derive(Clone, Copy, Debug)]
pub enum FaultAnswer {
    /// S3 asks to slow down.
    Throttled,
    /// S3 says that another request was faster.
    Conflict,
    /// There is no answer, until the function runs out of time.
    Never,
    /// The connection breaks in the middle of the object, unless only a part of it was asked for.
    Cut,
}

/// A process that serves invocations of a function, one after the other.
#[derive(Clone, Debug)]
pub struct FunctionProcess {
    /// The number of the process.
    pub id: i32,
    /// The function's name.
    pub function: String,
    /// The access key of the function's requests.
    pub access_key: String,
    /// The memory that the function was given, in MiB.
    pub memory_size: u32,
    /// The most memory that the process had, in bytes.
    pub peak_memory: u64,
    /// How long it has computed.
    pub computed: Duration,
}

/// A running emulator. It ends, and its functions end, when this is dropped or the process ends.
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
    /// [`Error::Emulator`] if it ends before it answers, for instance as the port is taken.
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

    /// Returns an AWS CLI that talks to this emulator.
    pub fn aws(&self) -> Command {
        let mut aws = self.tools.command("aws");
        // No setting of the person who runs this may reach the command, lest it reach a real AWS.
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

    /// Returns the environment variables with which any AWS program talks to this emulator.
    pub fn settings(&self) -> [(&'static str, &str); 4] {
        [
            ("AWS_ENDPOINT_URL", &self.endpoint),
            ("AWS_ACCESS_KEY_ID", CREDENTIALS),
            ("AWS_SECRET_ACCESS_KEY", CREDENTIALS),
            ("AWS_DEFAULT_REGION", REGION),
        ]
    }

    /// Returns a directory for what is of no use once the emulator has ended.
    pub fn scratch(&self) -> PathBuf {
        self.directory.scratch()
    }

    /// Makes the requests of functions to S3 fail that fit one of `faults`, until it is called
    /// again.
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
        // Replaced at once, since the emulator may be reading it.
        let new = path.with_extension("new");
        let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &path));
        written.map_err(Error::file("write", path))
    }

    /// Returns the most memory that a process of each function ever had, in bytes, by function
    /// name.
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
        // One that ends meanwhile can't be read any more.
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

    /// Returns where the emulator and the functions' processes can be reached, by TCP or UDP.
    pub fn listeners(&self) -> Result<BTreeSet<SocketAddr>, Error> {
        use procfs::net::{TcpState, UdpState};
        let failed = |source| Error::Processes { source };
        let group = i32::try_from(self.process.id()).unwrap_or_default();
        let processes = procfs::process::all_processes().map_err(failed)?.flatten();
        let own = processes.filter(|process| process.stat().is_ok_and(|stat| stat.pgrp == group));
        // A file, or a whole process, may be gone meanwhile.
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
        // One that is connected takes datagrams of its peer alone.
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
        // Listeners of services that nobody asks for; the second one is on all interfaces.
        .env("SFTP_ENABLED", "0")
        .env("IOT_MTLS_ENABLED", "0")
        .envs(
            options
                .wait_percentage
                .map(|percentage| ("SFN_WAIT_SCALE", (f64::from(percentage) / 100.0).to_string())),
        )
        // Who waits for a function must not count as running, so there is no limit unless a test
        // asks for one.
        .env("LAMBDA_ACCOUNT_CONCURRENCY", options.concurrency.unwrap_or_default().to_string())
        // The functions' roles and the bucket policy count.
        .env("AUTH", "true")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(directory.log()?)
        // A Ctrl-C in the terminal is for us, who then end the emulator.
        .process_group(0);
    Ok(command)
}

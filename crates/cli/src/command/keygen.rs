use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use alpinist_apk::{key::SigningKey, key_name::KeyName};
use clap::Args;
use jiff::Timestamp;
use rand_core::OsRng;
use serde::Serialize;

use crate::{
    error::Error,
    output::{ExitStatus, Output, WriteText},
};

const EXAMPLES: &str = "\
Examples:
  # Writes ops@example.com-5f3c2a1b.rsa and ops@example.com-5f3c2a1b.rsa.pub.
  alpinist keygen ops@example.com

  alpinist keygen ops@example.com --dir ~/.abuild

  # Only for packages of format v3, such as those of OpenWrt.
  alpinist keygen ops@example.com --ec";

/// Make a key pair to sign with
///
/// An RSA key of 4096 bits, named like those of abuild-keygen: an address and the time. Only you
/// can read the private key. The file name of the public key is the key name: clients must store
/// it under this name. An RSA key signs for all clients; with `--ec`, the key signs only
/// format v3.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Keygen {
    /// Whose key it is; by custom, an address
    who: String,
    /// Where the two files go
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// An EC key on the curve P-256, as OpenWrt's build system makes, which can't sign what clients
    /// of format v2 read
    #[arg(long)]
    ec: bool,
}

/// The new key pair.
#[derive(Debug, Serialize)]
struct NewKey {
    key_name: KeyName,
    private_key: PathBuf,
    public_key: PathBuf,
}

impl Keygen {
    pub(crate) fn run(self, output: Output) -> Result<ExitStatus, Error> {
        let Self { who, dir, ec } = self;
        // The time in the name has 8 hex digits, which suffice until 2106.
        let now = u32::try_from(Timestamp::now().as_second()).unwrap_or(u32::MAX);
        let key_name = if ec { KeyName::new_ec(&who, now) } else { KeyName::new(&who, now) };
        let key_name = key_name.map_err(|source| Error::KeyName { who, source })?;
        let public_key = dir.join(key_name.as_str());
        let private_key = public_key.with_extension("");
        let key = if ec {
            SigningKey::generate_p256(&mut OsRng)
        } else {
            SigningKey::generate(&mut OsRng)
        };
        let key = key.map_err(Error::NewKey)?;
        write(&private_key, &key.to_pem().map_err(Error::NewKey)?, 0o600)?;
        write(&public_key, &key.verifying_key().to_pem().map_err(Error::NewKey)?, 0o644)?;
        output.print(&NewKey { key_name, private_key, public_key })?;
        Ok(ExitStatus::Yes)
    }
}

/// Creates a file. Fails if it already exists.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let file = File::options().write(true).create_new(true).mode(mode).open(path);
    let mut file = file.map_err(Error::file("create", path))?;
    file.write_all(text.as_bytes()).map_err(Error::file("write", path))
}

impl WriteText for NewKey {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "key name:    {}", self.key_name)?;
        writeln!(out, "private key: {}", self.private_key.display())?;
        writeln!(out, "public key:  {}", self.public_key.display())
    }
}

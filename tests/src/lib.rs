//! The local stack: all of Alpinist on one machine, for tests and demonstrations.
//!
//! It needs neither an AWS account nor root: the AWS CLI deploys `template.yaml` into an emulated
//! AWS on loopback, uploads start executions there, executions invoke the functions, and the real
//! apk installs from the bucket. Everything is written below `local-stack` in Cargo's target
//! directory.
//!
//! | module | what it is for |
//! |---|---|
//! | [`local_stack`] | start everything: [`LocalStack`] |
//! | [`stack`] | use a deployed stack: [`Stack`] |
//! | [`execution`] | wait for executions, and inspect them: [`Execution`] |
//! | [`requests`] | count requests to S3: [`RequestLog`] |
//! | [`package`] | build packages with nfpm: [`PackageSpec`] |
//! | [`alpinist`] | the operator's command: [`Alpinist`] |
//! | [`apk`] | the real apk as a client, and as an oracle: [`ApkClient`], [`Apk`] |
//! | [`browsers`] | browsers of the machine: [`Browser`](browsers::Browser) |
//! | [`key_pair`] | make key pairs with openssl: [`KeyPair`] |
//! | [`viewer`] | reach a distribution of CloudFront over TLS: [`Viewer`] |
//! | [`tools`] | install the programs: [`Tools`] |
//! | [`functions`] | build the functions, and lay them out |
//! | [`emulator`] | the emulated AWS: [`Emulator`] |
//! | [`next_steps`](mod@next_steps) | what to type while it is up |
//! | [`http`], [`interruption`] | requests without credentials, Ctrl-C |
//! | [`command`], [`workspace`] | run other programs, directories |
//! | [`progress`], [`error`] | messages to people, failures |
//!
//! A test looks like this:
//!
//! ```no_run
//! use alpinist_tests::{Error, LocalStack, PackageSpec, Tools};
//!
//! # async fn test() -> Result<(), Error> {
//! let stack = LocalStack::shared().await?;
//! let package = PackageSpec::new("hello", "1.0").build(&Tools::install()?)?;
//! let key = package.key("first-upload/main/x86_64");
//! let execution = stack.upload(&key, package.bytes.clone()).await?;
//! assert_eq!(execution.error, None);
//!
//! let client = stack.client("first-upload/main", "x86_64").await?;
//! assert!(client.update()?.status.success());
//! assert!(client.add(&["hello"])?.status.success());
//! # Ok(())
//! # }
//! ```

pub mod alpinist;
pub mod apk;
pub mod browsers;
pub mod command;
pub mod emulator;
pub mod error;
pub mod execution;
pub mod functions;
pub mod http;
pub mod interruption;
pub mod key_pair;
pub mod local_stack;
pub mod next_steps;
pub mod package;
pub mod progress;
pub mod requests;
pub mod rights;
pub mod stack;
pub mod tools;
pub mod viewer;
pub mod workspace;

pub use alpinist::{Alpinist, CommandOutput};
pub use apk::{Apk, ApkClient, ApkOutput};
pub use emulator::{Emulator, EmulatorOptions, Fault, FaultAnswer, FunctionProcess};
pub use error::Error;
pub use execution::{Execution, ExecutionStatus, StateVisit};
pub use key_pair::KeyPair;
pub use local_stack::LocalStack;
pub use next_steps::next_steps;
pub use package::{Package, PackageSpec};
pub use requests::{Request, RequestLog};
pub use stack::Stack;
pub use tools::Tools;
pub use viewer::Viewer;

//! The apk v2 and v3 formats, read from and written to memory: this crate does no I/O.
//!
//! | module | what it holds |
//! |---|---|
//! | [`package`] | reading an `.apk` file as a stream: sections, checksum, data hash |
//! | [`package_info`] | `.PKGINFO` |
//! | [`entry`] | one package's lines in an index |
//! | [`metadata`] | the fields that these two share |
//! | [`index`] | all entries of a repository prefix, in apk's order |
//! | [`block`] | an index in compressed blocks, each of which can be replaced on its own |
//! | [`index_archive`] | `APKINDEX.tar.gz`: writing, signing, reading, verifying |
//! | [`adb`] | the v3 formats: ADB containers and what they hold |
//! | [`key`], [`key_name`] | RSA and EC keys, and their names |
//! | [`signature`], [`package_signature`] | signatures in general, and those of packages |
//! | [`warning`] | what is valid in a package, but will surprise its users |
//! | [`text`] | untrusted text and error messages, prepared for display |
//! | [`value`], [`version`], [`dependency`], [`tags`], [`checksum`] | checked values that the rest
//! uses |
//!
//! A package file is a sequence of gzip streams (*members* in RFC 1952), called *sections* here and
//! *segments* elsewhere: signatures, control, data. Together they inflate to a single tar.
//!
//! The rules come from the manual pages apk-v2(5), apk-package(5) and apk-keys(5), from the source
//! of apk-tools, and from running apk-tools 3.0.8 on files built for the purpose ("measured").
//!
//! ```
//! use alpinist_apk::{entry::IndexEntry, index::Index};
//!
//! let text = "C:Q1DNWZeWkviN7MJedLpYM8yBvmnGM=\nP:hello\nV:0.1.0-r0\nA:x86_64\nS:499\n\
//!             I:4117\nT:Greets\nU:\nL:MIT\nD:so:libc.musl-x86_64.so.1\n\n";
//! let entry: IndexEntry = text.parse()?;
//! assert_eq!(Index::new([entry]).to_string(), text);
//! # Ok::<(), alpinist_apk::entry::EntryError>(())
//! ```

pub mod adb;
pub mod block;
pub mod checksum;
pub mod dependency;
pub mod entry;
pub mod index;
pub mod index_archive;
pub mod key;
pub mod key_name;
pub mod metadata;
pub mod package;
pub mod package_info;
pub mod package_signature;
pub mod signature;
pub mod tags;
pub mod text;
pub mod value;
pub mod version;
pub mod warning;

mod contents;
mod ec;
mod foreign;
mod gzip;
mod inflate;
mod key_error;
mod key_kind;
mod key_material;
mod package_error;
mod package_limits;
mod package_summary;
mod package_v2;
mod pem;
mod spki;
mod tar;

//! The apk v2 formats, without any input or output of their own.
//!
//! | module | what it holds |
//! |---|---|
//! | [`package`] | reading an `.apk` file as a stream: sections, checksum, data hash |
//! | [`package_info`] | `.PKGINFO` |
//! | [`entry`] | one package's lines in an index |
//! | [`metadata`] | what these two have in common |
//! | [`index`] | all entries of a repository prefix, in apk's order |
//! | [`block`] | an index in compressed pieces that can be exchanged |
//! | [`index_archive`] | `APKINDEX.tar.gz`: writing, signing, reading, verifying |
//! | [`key`], [`key_name`] | RSA keys, and their names |
//! | [`signature`], [`package_signature`] | what they sign: anything, and a package |
//! | [`warning`] | what is in order and yet surprises a package's users |
//! | [`text`] | foreign text and errors, as they are shown to people |
//! | [`value`], [`version`], [`dependency`], [`checksum`] | the checked values that these are made of |
//!
//! A package is three gzip streams in one file, called *sections* here (and *segments* elsewhere):
//! signatures, control, data. Inflated one after the other they are a single tar.
//!
//! The rules come from the manual pages apk-v2(5), apk-package(5) and apk-keys(5), from reading
//! apk-tools, and from trying apk-tools 3.0.8 on files built for the purpose ("measured").
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
pub mod text;
pub mod value;
pub mod version;
pub mod warning;

mod contents;
mod foreign;
mod gzip;
mod key_error;
mod pem;
mod tar;

//! The v3 formats: ADB files, which hold packages and indexes alike.
//!
//! ```text
//! ADB.  schema  ADB block                SIG block…    DATA block…
//!               a tree of values         of the tree   the files of a package
//!               └ SHA-256 = identity                   └ SHA-256 is in the tree
//! ```
//!
//! All of that may be deflated. The tree has a hash of each file, and a signature signs the tree.
//!
//! | module | what it holds |
//! |---|---|
//! | [`container`] | the file as a stream of blocks, inflated |
//! | [`value`] | a strict reader of the tree of values in the ADB block |
//! | [`schema`] | which slot of an object holds what |
//! | [`package_info`] | what a package and its entry in an index have alike |
//! | [`package`] | reading a package as a stream |
//! | [`builder`] | a writer of that tree |
//! | [`index`] | `Packages.adb`: writing, sealing, reading |
//! | [`index_json`] | what OpenWrt's tools have beside it |
//! | [`signature`] | what is in SIG blocks |
//!
//! The rules come from the manual page apk-v3(5), from the source of apk-tools, and from running
//! apk-tools 3.0.8 on files built for the purpose ("measured"). Our readers are stricter than apk,
//! which reads much that it does not expect as absent: a package's dependencies may vanish so.

pub mod builder;
pub mod container;
pub mod index;
pub mod index_json;
pub mod package;
pub mod package_info;
pub mod schema;
pub mod signature;
pub mod value;

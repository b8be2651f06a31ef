//! Tests of the formats from the outside: real files, broken files, properties, signatures.
//!
//! | module | what it tests the crate with |
//! |---|---|
//! | `fixtures` | packages, keys and an index that other tools made |
//! | `acceptance` | odd packages that apk installs |
//! | `adb_packages` | packages of format v3, by other tools and broken ones |
//! | `rejections` | files that are not packages, with the text of each rejection |
//! | `blocks` | the pieces of an index, and what `gzip` makes of them |
//! | `chunks` | the chunks in which a package arrives |
//! | `properties` | arbitrary values and bytes |
//! | `keys` | keys made by `openssl` |
//! | `signatures` | signatures of packages, made by `openssl` |
//! | `adb_index` | the v3 index that we write, those of others, and ones that are refused |
//! | `adb_signatures` | signatures of v3 files |
//! | `publication` | the signed index that we write, and indexes that a client would reject |

#[cfg(test)]
mod acceptance;
#[cfg(test)]
mod adb_index;
#[cfg(test)]
mod adb_packages;
#[cfg(test)]
mod adb_signatures;
#[cfg(test)]
mod blocks;
#[cfg(test)]
mod chunks;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod publication;
#[cfg(test)]
mod rejections;
#[cfg(test)]
mod signatures;
#[cfg(test)]
mod support;

//! `Packages.adb`: an index of format v3, as it is published.
//!
//! It lists packages of both formats: one of v2 by the checksum of its control section, one of v3
//! by the hash of its metadata. Clients need no order in it, but `apk mkndx` finds packages by
//! binary search, so that ours is that of apk: by name, then by version, then by identity
//! (measured).

use std::{cmp::Ordering, io, io::Write as _};

use flate2::{Compression, write::DeflateEncoder};

use super::{
    builder::{Builder, Stored, TooLarge},
    container::{ContainerError, ContainerReader, Piece, Schema},
    package_info::{self, InfoError, Source},
    schema::{dependency, index, package_info as slot},
    signature::{AdbSignature, PayloadDigest},
    value::{Reader, Table, ValueError},
};
use crate::{
    checksum::{Identity, PayloadHash, PullChecksum},
    dependency::{Dependencies, Dependency},
    entry::{EntryError, IndexEntry},
    key::VerifyingKey,
    metadata::Metadata,
    text::Excerpt,
    value::{FieldText, InvalidValue},
};

/// The maximum length of an index's ADB payload in bytes. An index of 30,000 packages has 7 MiB of
/// it. apk reads up to twice as much (measured).
pub const MAX_PAYLOAD: u64 = 128 * 1024 * 1024;

/// The maximum size of all entries together in bytes: of what they are as text, and of what each
/// takes in memory besides. Those of 30,000 packages of Alpine have a quarter of it. Entries may
/// share what they are made of, so that the length of the payload does not bound this.
pub const MAX_ENTRIES: u64 = 128 * 1024 * 1024;

/// How many values of an index are read at most: an index of 30,000 packages has 3 million.
const MAX_VALUES: u64 = 32_000_000;

/// The level of compression: 9 takes three times as long, and saves 0.15 % (measured).
const LEVEL: u32 = 6;

/// How many bytes of a commit an index has: those of one of git.
const COMMIT_LENGTH: usize = 20;

/// Why there is no index of format v3, or bytes are not one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdbIndexError {
    /// It was to be written without a description. If it lists no package either, clients refuse it
    /// (measured), so that one must always be there.
    #[error("an index of format v3 needs a description")]
    NoDescription,
    /// It has too many packages.
    #[error("the index of format v3 is too large")]
    TooLarge(#[from] TooLarge),
    /// The file is not a container of an index.
    #[error("the index of format v3 is damaged, or is none")]
    Container(#[from] ContainerError),
    /// The values in it can't be read.
    #[error("the index of format v3 is malformed")]
    Value(#[from] ValueError),
    /// Its description can't be shown.
    #[error("the description of the index can't be shown")]
    Description(#[from] InvalidValue),
    /// An entry is invalid.
    #[error("entry {position} of the index, `{name}`, is invalid")]
    Entry {
        /// Counts from 1.
        position: usize,
        /// The name that it gives.
        name: Excerpt,
        /// What is wrong with it.
        source: ListedError,
    },
    /// Its entries take more than [`MAX_ENTRIES`] bytes.
    #[error("the entries of the index take more than {MAX_ENTRIES} bytes of memory")]
    Length,
    /// Writing failed. The target is memory, so this does not happen.
    #[error("the index could not be written")]
    Write(#[from] io::Error),
    /// The sealed index does not verify, or does not have the expected entries: a bug.
    #[error("the signed index is not what was to be signed")]
    NotAsWritten,
}

/// What is wrong with a package's entry in an index.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ListedError {
    /// One of its values is invalid.
    #[error(transparent)]
    Info(#[from] InfoError),
    /// Its hash is not a value of bytes, or its size no number.
    #[error("its `hashes` or its `file-size` can't be read")]
    Value(#[from] ValueError),
    /// Its hash is neither that of a v2 package nor that of a v3 package.
    #[error("it has a hash of {length} bytes instead of 20 or 32")]
    Hash {
        /// The length of the hash.
        length: usize,
    },
    /// It is too long for a client's own database.
    #[error(transparent)]
    Length(#[from] EntryError),
}

/// A package that no index of format v3 can list.
#[derive(Clone, Copy, Debug)]
pub struct LeftOut<'a> {
    /// The package.
    pub entry: &'a IndexEntry,
    /// Why.
    pub reason: Unfit,
}

/// Why a package can't be in an index of format v3. apk would write an empty version in its place,
/// or drop all dependencies (measured).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// Its version is outside the grammar of `apk version --check`.
    #[error("its version is not one that format v3 can have")]
    Version,
    /// That of a package on which it depends is.
    #[error("it depends on a version that format v3 can't have")]
    Dependency,
}

/// The entries of an index of format v3, in order.
#[derive(Clone, Debug)]
pub struct AdbIndex<'a> {
    description: &'a str,
    entries: Vec<&'a IndexEntry>,
}

impl<'a> AdbIndex<'a> {
    /// Makes an index of those `entries` that format v3 can have; they may come in any order.
    /// Returns the others as well, so that somebody can be told.
    ///
    /// An entry's architecture must already be that of the directory: clients look for a package of
    /// `noarch` elsewhere (measured). Something that is provided in a version outside the grammar
    /// is not listed; the package is, nevertheless.
    pub fn new(
        description: &'a str,
        entries: impl IntoIterator<Item = &'a IndexEntry>,
    ) -> (Self, Vec<LeftOut<'a>>) {
        let (mut fit, mut left_out) = (Vec::new(), Vec::new());
        for entry in entries {
            match unfit(&entry.metadata) {
                None => fit.push(entry),
                Some(reason) => left_out.push(LeftOut { entry, reason }),
            }
        }
        fit.sort_by(|entry, other| order(entry, other));
        (Self { description, entries: fit }, left_out)
    }

    /// Returns the entries that are listed, in order.
    pub fn entries(&self) -> &[&'a IndexEntry] {
        &self.entries
    }

    /// Writes the ADB payload: what signatures sign. The same entries and description give the same
    /// bytes.
    ///
    /// # Errors
    ///
    /// [`AdbIndexError::NoDescription`], [`AdbIndexError::TooLarge`].
    pub fn payload(&self) -> Result<Vec<u8>, AdbIndexError> {
        if self.description.is_empty() {
            return Err(AdbIndexError::NoDescription);
        }
        let mut builder = Builder::new();
        let entries: Vec<_> = self.entries.iter().map(|entry| write(&mut builder, entry)).collect();
        let packages = builder.array(&entries);
        let description = builder.blob(self.description.as_bytes());
        let mut slots = [Stored::ABSENT; index::PACKAGES];
        set(&mut slots, index::DESCRIPTION, description);
        set(&mut slots, index::PACKAGES, packages);
        let root = builder.object(&slots);
        Ok(builder.finish(root)?)
    }

    /// Puts the signatures to what [`Self::payload`] returned, deflates it, and reads the result as
    /// a client does: all `keys` must have signed it, and it must list these entries.
    ///
    /// # Errors
    ///
    /// [`AdbIndexError::NotAsWritten`], if a check fails; any other, if the result can't be read.
    pub fn seal<'k>(
        &self,
        payload: &[u8],
        signatures: &[AdbSignature],
        keys: impl IntoIterator<Item = &'k VerifyingKey>,
    ) -> Result<Vec<u8>, AdbIndexError> {
        let sealed = deflate(payload, signatures)?;
        let read = ReadIndex::read(&sealed)?;
        let is_signed = keys.into_iter().all(|key| read.is_signed_by(key));
        if is_signed && self.is_listed_by(&read) {
            Ok(sealed)
        } else {
            Err(AdbIndexError::NotAsWritten)
        }
    }

    /// Returns whether a published index has this description, and lists these entries in this
    /// order.
    pub fn is_listed_by(&self, index: &ReadIndex) -> bool {
        let listed = self.entries.iter().map(|entry| listed(entry));
        index.description == self.description && listed.eq(index.entries.iter().cloned())
    }
}

/// Returns why a package can't be in an index.
fn unfit(metadata: &Metadata) -> Option<Unfit> {
    let Metadata { version, depends, replaces, install_if, recommends, .. } = metadata;
    let mut lists = [depends, replaces, install_if, recommends].into_iter();
    if !version.is_canonical() {
        Some(Unfit::Version)
    } else if lists.any(|list| list.iter().any(|it| it.version_outside_grammar().is_some())) {
        Some(Unfit::Dependency)
    } else {
        None
    }
}

fn order(entry: &IndexEntry, other: &IndexEntry) -> Ordering {
    let [(a, a_version), (b, b_version)] =
        [entry, other].map(|entry| (&entry.metadata.name, &entry.metadata.version));
    a.cmp(b)
        .then_with(|| a_version.order(b_version))
        .then_with(|| entry.identity.as_bytes().cmp(other.identity.as_bytes()))
        .then_with(|| a_version.as_str().cmp(b_version.as_str()))
}

/// Returns an entry as an index of format v3 has it: such a list has an order, and lacks what is
/// outside the grammar of versions; and a commit has 40 digits or is absent.
pub fn listed(entry: &IndexEntry) -> IndexEntry {
    let metadata = &entry.metadata;
    let list = |list| {
        let mut listed = Dependencies::default();
        listed.extend(sorted(list));
        listed
    };
    let commit = commit(&metadata.commit).map(hex::encode).unwrap_or_default();
    let metadata = Metadata {
        commit: commit.parse().unwrap_or_default(),
        depends: list(&metadata.depends),
        provides: list(&metadata.provides),
        install_if: list(&metadata.install_if),
        replaces: list(&metadata.replaces),
        recommends: list(&metadata.recommends),
        ..metadata.clone()
    };
    IndexEntry { metadata, ..entry.clone() }
}

/// Returns the dependencies of a list that an index has, in its order, equal ones once.
fn sorted(list: &Dependencies) -> Vec<Dependency<'_>> {
    let mut listed: Vec<_> =
        list.iter().filter(|listed| listed.version_outside_grammar().is_none()).collect();
    listed.sort_by(Dependency::order_in_adb);
    listed.dedup();
    listed
}

/// Returns the bytes of a commit that begins with 40 hexadecimal digits, as that of git does.
fn commit(text: &FieldText) -> Option<[u8; COMMIT_LENGTH]> {
    let mut commit = [0; COMMIT_LENGTH];
    let digits = text.as_str().as_bytes().get(..2 * COMMIT_LENGTH)?;
    hex::decode_to_slice(digits, &mut commit).ok()?;
    Some(commit)
}

fn set(slots: &mut [Stored], slot: usize, value: Stored) {
    if let Some(stored) = slot.checked_sub(1).and_then(|index| slots.get_mut(index)) {
        *stored = value;
    }
}

fn write(builder: &mut Builder, entry: &IndexEntry) -> Stored {
    let metadata = &entry.metadata;
    let mut slots = [Stored::ABSENT; slot::TAGS];
    let texts = [
        (slot::NAME, metadata.name.as_str()),
        (slot::VERSION, metadata.version.as_str()),
        (slot::DESCRIPTION, metadata.description.as_str()),
        (slot::ARCHITECTURE, metadata.architecture.as_str()),
        (slot::LICENSE, metadata.license.as_str()),
        (slot::ORIGIN, metadata.origin.as_str()),
        (slot::MAINTAINER, metadata.maintainer.as_str()),
        (slot::URL, metadata.url.as_str()),
    ];
    for (at, text) in texts {
        set(&mut slots, at, builder.blob(text.as_bytes()));
    }
    set(&mut slots, slot::HASHES, builder.blob(entry.identity.as_bytes()));
    if let Some(commit) = commit(&metadata.commit) {
        set(&mut slots, slot::REPOSITORY_COMMIT, builder.blob(&commit));
    }
    set(&mut slots, slot::INSTALLED_SIZE, builder.int(metadata.installed_size));
    set(&mut slots, slot::FILE_SIZE, builder.int(entry.size));
    let numbers = [
        (slot::BUILD_TIME, metadata.build_time),
        (slot::PROVIDER_PRIORITY, metadata.provider_priority.into()),
        (slot::LAYER, metadata.layer),
    ];
    for (at, number) in numbers.into_iter().filter(|(_, number)| *number != 0) {
        set(&mut slots, at, builder.int(number));
    }
    let lists = [
        (slot::DEPENDS, &metadata.depends),
        (slot::PROVIDES, &metadata.provides),
        (slot::REPLACES, &metadata.replaces),
        (slot::INSTALL_IF, &metadata.install_if),
        (slot::RECOMMENDS, &metadata.recommends),
    ];
    for (at, list) in lists {
        set(&mut slots, at, write_list(builder, list));
    }
    let tags: Vec<_> = metadata.tags.iter().map(|tag| builder.blob(tag.as_bytes())).collect();
    set(&mut slots, slot::TAGS, builder.array(&tags));
    builder.object(&slots)
}

fn write_list(builder: &mut Builder, list: &Dependencies) -> Stored {
    let written: Vec<_> = sorted(list)
        .into_iter()
        .map(|listed| {
            let mut slots = [Stored::ABSENT; dependency::MATCH];
            set(&mut slots, dependency::NAME, builder.blob(listed.name().as_bytes()));
            let version = listed.version().unwrap_or_default();
            set(&mut slots, dependency::VERSION, builder.blob(version.as_bytes()));
            let bits = listed.match_bits();
            let bits = if bits == 0 { Stored::ABSENT } else { builder.int(bits) };
            set(&mut slots, dependency::MATCH, bits);
            builder.object(&slots)
        })
        .collect();
    builder.array(&written)
}

/// Writes the file: `ADBd`, and the deflated stream of blocks.
fn deflate(payload: &[u8], signatures: &[AdbSignature]) -> Result<Vec<u8>, AdbIndexError> {
    let mut deflated = DeflateEncoder::new(b"ADBd".to_vec(), Compression::new(LEVEL));
    deflated.write_all(b"ADB.")?;
    deflated.write_all(&Schema::Index.bytes())?;
    write_block(&mut deflated, BLOCK_ADB, payload)?;
    for signature in signatures {
        write_block(&mut deflated, BLOCK_SIG, &signature.to_block())?;
    }
    Ok(deflated.finish()?)
}

/// The type of a block with the tree of values, in the upper 2 bits of its header.
const BLOCK_ADB: u32 = 0;
/// The type of a block with a signature.
const BLOCK_SIG: u32 = 1 << 30;

/// Writes a block, which must have less than 2^30 bytes: payloads are shorter than that.
fn write_block(file: &mut impl io::Write, kind: u32, payload: &[u8]) -> Result<(), AdbIndexError> {
    const HEADER_LENGTH: usize = 4;
    let length = payload.len() + HEADER_LENGTH;
    let header = u32::try_from(length).ok().filter(|length| length >> 30 == 0).ok_or(TooLarge)?;
    file.write_all(&(kind | header).to_le_bytes())?;
    file.write_all(payload)?;
    let padding = [0; 8];
    Ok(file.write_all(padding.get(..length.next_multiple_of(8) - length).unwrap_or_default())?)
}

/// A published index, parsed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReadIndex {
    /// Its signatures. A client tries all whose key it has (measured).
    pub signatures: Vec<AdbSignature>,
    /// What the signatures sign.
    pub digest: PayloadDigest,
    /// Its description, empty if absent.
    pub description: String,
    /// Its entries, in the order of the index.
    pub entries: Vec<IndexEntry>,
}

impl ReadIndex {
    /// Reads `Packages.adb`, whoever made it. Stricter than apk, which takes what it does not
    /// expect for absent.
    ///
    /// An index says how the URL of a package is made, if not in the usual way. This is ignored.
    ///
    /// # Errors
    ///
    /// [`AdbIndexError`]. Signatures are not verified.
    pub fn read(bytes: &[u8]) -> Result<Self, AdbIndexError> {
        let (mut payload, mut signatures) = (Vec::new(), Vec::new());
        let mut reader = ContainerReader::new(Schema::Index, MAX_PAYLOAD);
        reader.push(bytes, |piece| {
            match piece {
                Piece::Payload(bytes) => payload = bytes,
                Piece::Signature(block) => signatures.extend(AdbSignature::parse(block)),
                // A container of an index has none of it.
                Piece::Data { .. } | Piece::Content(_) => {}
            }
            Ok::<_, ContainerError>(())
        })?;
        reader.finish()?;
        let (description, entries) = read_payload(&payload)?;
        Ok(Self { signatures, digest: PayloadDigest::of(&payload), description, entries })
    }

    /// Returns whether a client that trusts `key` accepts the index: any signature by it suffices
    /// (measured).
    pub fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        self.signatures.iter().any(|signature| signature.is_by(key, Schema::Index, &self.digest))
    }
}

fn read_payload(payload: &[u8]) -> Result<(String, Vec<IndexEntry>), AdbIndexError> {
    let reader = Reader::new(payload, MAX_VALUES)?;
    let root = reader.root().object()?;
    let description: FieldText = root.get(index::DESCRIPTION).text()?.parse()?;
    let mut entries = Vec::new();
    let mut length = 0;
    for (position, package) in root.get(index::PACKAGES).array()?.iter().enumerate() {
        let info = package.object()?;
        let (entry, its_length) = read_entry(info).map_err(|source| {
            let name = info.get(slot::NAME).blob().unwrap_or_default();
            AdbIndexError::Entry { position: position + 1, name: Excerpt::of(name), source }
        })?;
        length += (its_length + size_of::<IndexEntry>()) as u64;
        if length > MAX_ENTRIES {
            return Err(AdbIndexError::Length);
        }
        entries.push(entry);
    }
    Ok((description.into(), entries))
}

/// Reads an entry, and returns its length as text as well.
fn read_entry(info: Table<'_>) -> Result<(IndexEntry, usize), ListedError> {
    let hash = info.get(slot::HASHES).blob()?;
    let size = info.get(slot::FILE_SIZE).int()?.unwrap_or_default();
    let metadata = package_info::read(info, Source::Index)?;
    let entry = IndexEntry { identity: identity(hash)?, size, metadata };
    let length = entry.check_length()?;
    Ok((entry, length))
}

fn identity(hash: &[u8]) -> Result<Identity, ListedError> {
    let control = hash.try_into().map(|sha1| PullChecksum::new(sha1).into());
    let payload = || hash.try_into().map(|sha256| PayloadHash::new(sha256).into());
    control.or_else(|_| payload()).map_err(|_| ListedError::Hash { length: hash.len() })
}

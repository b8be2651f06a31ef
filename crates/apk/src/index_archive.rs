//! `APKINDEX.tar.gz`: an index as it is published.
//!
//! Two gzip streams. The second, the *unsigned index*, is a tar of `DESCRIPTION` and `APKINDEX`;
//! the first holds signatures of the second's bytes, and no end of archive.

use std::{collections::HashSet, io};

use crate::{
    gzip::{self, GzipStream, Level, NotGzip},
    index::{Index, IndexError, parse_entries},
    key::VerifyingKey,
    key_name::KeyName,
    signature::{Signature, SignatureName},
    tar::{self, Bodies, Entry, Scanner, TarError},
};

/// The most bytes that an index may inflate to: ten times Alpine's largest.
pub const MAX_LENGTH: u64 = 128 * 1024 * 1024;

/// Why bytes are not an index that a client accepts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// A gzip stream is damaged or cut off.
    #[error("a gzip stream of the index is damaged or cut off")]
    Gzip,
    /// There are not exactly one signatures stream and one index stream.
    #[error("the index has {found} gzip streams instead of two")]
    Streams {
        /// How many there are.
        found: usize,
    },
    /// The first stream holds something else than signatures, or an end of archive, after which
    /// apk would read nothing more.
    #[error(
        "the first gzip stream of the index is not one of signatures without an end of archive"
    )]
    Signatures,
    /// It inflates to more than [`MAX_LENGTH`].
    #[error("the index inflates to more than {MAX_LENGTH} bytes")]
    Length,
    /// A stream is not a tar that apk reads.
    #[error("the index is not a valid tar")]
    Tar(#[from] TarError),
    /// There is no `APKINDEX`, more than one, or it is not UTF-8.
    #[error("the index has no readable `APKINDEX`")]
    Content,
    /// An entry is invalid.
    #[error("the index has an invalid entry")]
    Index(#[from] IndexError),
    /// Writing failed. The target is memory, so this does not happen.
    #[error("the index could not be written")]
    Write(#[from] io::Error),
}

impl From<NotGzip> for ArchiveError {
    fn from(_: NotGzip) -> Self {
        Self::Gzip
    }
}

/// Writes an unsigned index. The same index and description give the same bytes.
///
/// `description` is shown by `apk policy`; up to 160 bytes of it.
///
/// # Errors
///
/// [`ArchiveError::Write`], which does not happen.
pub fn write_unsigned(description: &str, index: &Index) -> Result<Vec<u8>, ArchiveError> {
    let mut tar = tar::Writer::new();
    tar.file("DESCRIPTION", description.len(), description.as_bytes())?;
    tar.file("APKINDEX", index.length(), index.text())?;
    Ok(gzip::compress(Level::Small, &tar.end()?)?)
}

/// Puts signatures before the unsigned index that they sign, which makes an `APKINDEX.tar.gz`. A
/// client tries the first whose key it trusts, and no other (measured).
///
/// # Errors
///
/// [`ArchiveError::Write`], which does not happen.
pub fn write_signed(
    signatures: &[(SignatureName, Signature)],
    unsigned: &[u8],
) -> Result<Vec<u8>, ArchiveError> {
    let names: Vec<_> = signatures.iter().map(|(name, _)| name.to_string()).collect();
    let bytes = signatures.iter().map(|(_, signature)| &*signature.0);
    let files: Vec<_> = names.iter().map(|name| &**name).zip(bytes).collect();
    let mut archive = gzip::compress(Level::Small, &tar::write_segment(&files)?)?;
    archive.extend_from_slice(unsigned);
    Ok(archive)
}

/// A published index that was read.
#[derive(Debug)]
pub struct IndexArchive<'a> {
    /// The signatures, in the order of a client's search.
    pub signatures: Vec<(SignatureName, Signature)>,
    /// What the signatures sign.
    pub unsigned: &'a [u8],
    /// The content of `DESCRIPTION`, empty if absent.
    pub description: String,
    /// The entries.
    pub index: Index,
}

impl<'a> IndexArchive<'a> {
    /// Reads `APKINDEX.tar.gz` as strictly as the strictest client.
    ///
    /// # Errors
    ///
    /// [`ArchiveError`], for whatever a client would reject, signatures aside.
    pub fn read(bytes: &'a [u8]) -> Result<Self, ArchiveError> {
        let Content { signatures, unsigned, description, text } = Content::read(bytes)?;
        Ok(Self { signatures, unsigned, description, index: text.parse()? })
    }

    /// Returns whether a client that has only `key`, under `name`, accepts the index: it tries the
    /// first signature of that name and no other (measured).
    pub fn is_signed_by(&self, name: &KeyName, key: &VerifyingKey) -> bool {
        is_signed_by(&self.signatures, self.unsigned, name, key)
    }
}

/// Reads an archive that was just written as strictly as the strictest client, and tells whether it
/// has just these entries, and signatures by all of these keys. One entry after the other: it takes
/// little more memory than the text.
///
/// # Errors
///
/// [`ArchiveError`], for whatever a client would reject, signatures aside.
pub fn verify_round_trip<'k>(
    archive: &[u8],
    index: &Index,
    keys: impl IntoIterator<Item = (&'k KeyName, &'k VerifyingKey)>,
) -> Result<bool, ArchiveError> {
    let Content { signatures, unsigned, text, .. } = Content::read(archive)?;
    let mut expected = index.entries().iter();
    for entry in parse_entries(&text) {
        if Some(&entry?) != expected.next() {
            return Ok(false);
        }
    }
    let is_signed = |(name, key)| is_signed_by(&signatures, unsigned, name, key);
    Ok(expected.next().is_none() && keys.into_iter().all(is_signed))
}

fn is_signed_by(
    signatures: &[(SignatureName, Signature)],
    unsigned: &[u8],
    name: &KeyName,
    key: &VerifyingKey,
) -> bool {
    signatures
        .iter()
        .find(|(signature, _)| signature.key_name == *name)
        .is_some_and(|(name, bytes)| key.verifies(name.algorithm, unsigned, bytes))
}

/// What is in an archive, with the entries as text.
struct Content<'a> {
    signatures: Vec<(SignatureName, Signature)>,
    unsigned: &'a [u8],
    description: String,
    text: String,
}

impl<'a> Content<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, ArchiveError> {
        let (signatures, unsigned) = read_stream(bytes)?;
        if unsigned.is_empty() {
            return Err(ArchiveError::Streams { found: 1 });
        }
        let only_signatures =
            !signatures.entries.is_empty() && signatures.entries.iter().all(Entry::is_signature);
        if signatures.zero_blocks > 1 || !only_signatures {
            return Err(ArchiveError::Signatures);
        }
        let (content, rest) = read_stream(unsigned)?;
        if !rest.is_empty() {
            return Err(ArchiveError::Streams { found: 3 });
        }
        let signatures = signatures
            .entries
            .into_iter()
            .filter_map(|entry| {
                Some((SignatureName::parse(&entry.header.path)?, Signature(entry.body)))
            })
            .collect();
        let mut description = String::new();
        let mut text = None;
        for entry in content.entries {
            match entry.header.path.as_slice() {
                _ if !entry.is_file() => return Err(ArchiveError::Content),
                b"DESCRIPTION" => description = utf8(entry.body)?,
                b"APKINDEX" if text.is_none() => text = Some(utf8(entry.body)?),
                _ => return Err(ArchiveError::Content),
            }
        }
        let text = text.ok_or(ArchiveError::Content)?;
        Ok(Self { signatures, unsigned, description, text })
    }
}

fn utf8(body: Vec<u8>) -> Result<String, ArchiveError> {
    String::from_utf8(body).map_err(|_| ArchiveError::Content)
}

/// Returns what an index lists, each as `<name>-<version>`, whoever made it and whether it is
/// signed or not: nothing is asked of an entry but a name and a version. Clients that are told to
/// trust anybody accept it.
///
/// # Errors
///
/// [`ArchiveError`], if there is no text of an index at all.
pub fn listed_stems(bytes: &[u8]) -> Result<HashSet<String>, ArchiveError> {
    let (mut rest, mut found) = (bytes, 0);
    while !rest.is_empty() && found < 2 {
        let (stream, next) = read_stream(rest)?;
        let mut entries = stream.entries.into_iter();
        if let Some(index) = entries.find(|entry| entry.header.path == b"APKINDEX") {
            let text = String::from_utf8_lossy(&index.body);
            return Ok(text.split("\n\n").filter_map(stem).collect());
        }
        (rest, found) = (next, found + 1);
    }
    Err(ArchiveError::Content)
}

/// Returns the name and the version of an entry, whatever else it has.
fn stem(entry: &str) -> Option<String> {
    let value = |letter: &str| entry.lines().find_map(|line| line.strip_prefix(letter));
    Some(format!("{}-{}", value("P:")?, value("V:")?))
}

/// Reads the gzip stream at the beginning of `bytes`, and returns what follows it.
fn read_stream(bytes: &[u8]) -> Result<(tar::Scan, &[u8]), ArchiveError> {
    let mut scanner = Scanner::new(Bodies::Keep, 64);
    let mut length = 0;
    let fed = GzipStream::new().push(bytes, |out| {
        length += out.len() as u64;
        if length > MAX_LENGTH { Err(ArchiveError::Length) } else { Ok(scanner.push(out)?) }
    })?;
    if !fed.ended {
        return Err(ArchiveError::Gzip);
    }
    Ok((scanner.finish()?, bytes.get(fed.consumed..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_lists_is_found_signed_or_not_and_whatever_else_it_says() {
        let text = "C:Q1x\nP:hello\nV:1.0-r0\nnothing of ours\n\nP:nameless\n\nV:2\nP:odd\n\n";
        let index = tar::write_segment(&[("APKINDEX", text.as_bytes())]).unwrap();
        let unsigned = gzip::compress(Level::Small, &index).unwrap();
        let signature = tar::write_segment(&[(".SIGN.RSA.a.rsa.pub", b"x")]).unwrap();
        let signed = [gzip::compress(Level::Small, &signature).unwrap(), unsigned.clone()].concat();
        let expected = ["hello-1.0-r0", "odd-2"].map(str::to_owned).into();
        assert_eq!(listed_stems(&unsigned).unwrap(), expected);
        assert_eq!(listed_stems(&signed).unwrap(), expected);
        assert!(listed_stems(&signed[..signed.len() - 9]).is_err());
        assert!(listed_stems(b"<!DOCTYPE html>").is_err());
    }
}

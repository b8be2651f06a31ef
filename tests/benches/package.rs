//! Packages as large as one likes, with the metadata of real ones.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use alpinist_apk::{checksum::DataHash, dependency::Dependency, metadata::Metadata};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

/// Returns whether a package of today may have this metadata: Alpine 3.16's own has a dependency that may not be.
pub(crate) fn may_be_built(metadata: &Metadata) -> bool {
    let depends = metadata.depends.iter().chain(metadata.install_if.iter());
    depends.map(|depend| depend.to_string()).all(|token| Dependency::parse(&token).is_ok())
}

/// Writes a package with one file into `directory`.
pub(crate) fn write(directory: &Path, metadata: &Metadata, content: &[u8]) {
    let data = compressed(&archive("usr/share/content", content));
    let info = package_info(metadata, &DataHash::new(Sha256::digest(&data).into()));
    let path = directory.join(format!("{}-{}.apk", metadata.name, metadata.version));
    let file = File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut file = BufWriter::new(file);
    let signature = segment(".SIGN.RSA256.builder@example.com-5f3c2a1b.rsa.pub", &[7; 512]);
    for section in [compressed(&signature), compressed(&segment(".PKGINFO", &info)), data] {
        file.write_all(&section).expect("a file can be written");
    }
    file.flush().expect("a file can be written");
}

fn package_info(metadata: &Metadata, data_hash: &DataHash) -> Vec<u8> {
    let Metadata { name, version, architecture, installed_size, .. } = metadata;
    let Metadata { description, url, license, origin, maintainer, .. } = metadata;
    let Metadata { build_time, commit, provider_priority, .. } = metadata;
    let mut info = format!(
        "pkgname = {name}\npkgver = {version}\npkgdesc = {description}\nurl = {url}\n\
         builddate = {build_time}\npackager = {maintainer}\nmaintainer = {maintainer}\n\
         size = {installed_size}\narch = {architecture}\norigin = {origin}\ncommit = {commit}\n\
         license = {license}\nprovider_priority = {provider_priority}\ndatahash = {data_hash}\n"
    );
    let lists = [
        ("depend", &metadata.depends),
        ("provides", &metadata.provides),
        ("install_if", &metadata.install_if),
    ];
    for (key, list) in lists {
        info.extend(list.iter().map(|dependency| format!("{key} = {dependency}\n")));
    }
    info.into_bytes()
}

fn archive(path: &str, content: &[u8]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, path, content).expect("memory takes it");
    tar.into_inner().expect("memory takes it")
}

/// Returns a tar without an end of archive, as all sections but the data have it.
fn segment(path: &str, content: &[u8]) -> Vec<u8> {
    let mut tar = archive(path, content);
    tar.truncate(tar.len() - 1024);
    tar
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

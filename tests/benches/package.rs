//! Packages of any size, with the metadata of real ones.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use alpinist_apk::{dependency::Dependency, metadata::Metadata};
use alpinist_samples::{
    gzip::gzip_at,
    package::data_hash,
    tar::{end_of_archive, file, installed},
};

/// The usual compression level of packages.
const LEVEL: u32 = 6;

/// Returns whether a package may have this metadata: Alpine 3.16's own includes a dependency that
/// is now rejected.
pub(crate) fn may_be_built(metadata: &Metadata) -> bool {
    let depends = metadata.depends.iter().chain(metadata.install_if.iter());
    depends.map(|depend| depend.to_string()).all(|token| Dependency::parse(&token).is_ok())
}

/// Writes a package with one file into `directory`.
pub(crate) fn write(directory: &Path, metadata: &Metadata, content: &[u8]) {
    let data = gzip_at([installed("usr/share/content", content), end_of_archive()].concat(), LEVEL);
    let info = file(".PKGINFO", package_info(metadata, &data_hash(&data)));
    let signature = file(".SIGN.RSA256.builder@example.com-5f3c2a1b.rsa.pub", [7; 512]);
    let path = directory.join(format!("{}-{}.apk", metadata.name, metadata.version));
    let file = File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut file = BufWriter::new(file);
    for section in [gzip_at(signature, LEVEL), gzip_at(info, LEVEL), data] {
        file.write_all(&section).expect("a file can be written");
    }
    file.flush().expect("a file can be written");
}

fn package_info(metadata: &Metadata, data_hash: &str) -> Vec<u8> {
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

//! `.PKGINFO`.

#![no_main]

use alpinist_apk::{checksum::PullChecksum, package_info::PackageInfo};
use alpinist_fuzz::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(info) = PackageInfo::parse(bytes) {
        assert_eq!(PackageInfo::parse(print(&info).as_bytes()).as_ref(), Ok(&info));
        check::entry_with(info.metadata, PullChecksum::new([7; 20]).into(), u64::MAX, true);
    }
});

/// Writes an equivalent `.PKGINFO`.
fn print(PackageInfo { metadata, data_hash }: &PackageInfo) -> String {
    let lists = [
        ("depend", &metadata.depends),
        ("provides", &metadata.provides),
        ("install_if", &metadata.install_if),
        ("replaces", &metadata.replaces),
    ];
    let lists: String = lists
        .iter()
        .flat_map(|(key, list)| {
            list.to_string().split(' ').map(|one| format!("{key} = {one}\n")).collect::<Vec<_>>()
        })
        .collect();
    format!(
        "pkgname = {}\npkgver = {}\narch = {}\nsize = {}\npkgdesc = {}\nurl = {}\nlicense = {}\n\
         origin = {}\nmaintainer = {}\nbuilddate = {}\ncommit = {}\nprovider_priority = {}\n\
         datahash = {data_hash}\n{lists}",
        metadata.name,
        metadata.version,
        metadata.architecture,
        metadata.installed_size,
        metadata.description,
        metadata.url,
        metadata.license,
        metadata.origin,
        metadata.maintainer,
        metadata.build_time,
        metadata.commit,
        metadata.provider_priority,
    )
}

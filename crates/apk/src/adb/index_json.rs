//! `index.json`: what a directory holds, for the tools of OpenWrt.
//!
//! Image builders read it beside `packages.adb`, to know which packages there are without apk. It
//! is version 2 of the format (`scripts/make-index-json.py` of OpenWrt).

use std::collections::{BTreeMap, btree_map::Entry};

use serde_json::{Value, json};

use crate::{entry::IndexEntry, metadata::Metadata, value::Architecture, version::Version};

/// The version of the format.
const VERSION: u8 = 2;

/// What the tag begins with that says which version of its binary interface a package has, and so
/// how its name ends: `libubox20240329` with `openwrt:abiversion=20240329`.
const ABI: &str = "openwrt:abiversion=";

/// Writes `index.json` of the packages in a directory of this architecture, in any order: the
/// greatest version of each name, without the version of its binary interface.
pub fn write<'a>(
    architecture: &Architecture,
    entries: impl IntoIterator<Item = &'a IndexEntry>,
) -> String {
    let mut packages: BTreeMap<&str, &Version> = BTreeMap::new();
    for entry in entries {
        let version = &entry.metadata.version;
        match packages.entry(name(&entry.metadata)) {
            Entry::Vacant(free) => {
                free.insert(version);
            }
            Entry::Occupied(mut listed) => {
                let order = version.order(listed.get());
                if order.then_with(|| version.as_str().cmp(listed.get().as_str())).is_gt() {
                    listed.insert(version);
                }
            }
        }
    }
    let packages: Value = packages
        .into_iter()
        .map(|(name, version)| (name.to_owned(), Value::from(version.as_str())))
        .collect();
    json!({ "version": VERSION, "architecture": architecture.as_str(), "packages": packages })
        .to_string()
}

/// Returns the name of a package without the version of its binary interface.
fn name(metadata: &Metadata) -> &str {
    let name = metadata.name.as_str();
    let abi = metadata.tags.iter().find_map(|tag| tag.strip_prefix(ABI));
    let bare = abi.and_then(|abi| name.strip_suffix(abi));
    bare.filter(|bare| !bare.is_empty()).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, version: &str, tags: &str) -> IndexEntry {
        let text = format!(
            "C:Q1DNWZeWkviN7MJedLpYM8yBvmnGM=\nP:{name}\nV:{version}\nA:x86_64\nS:1\nI:1\n{tags}"
        );
        IndexEntry::from_stored(&text).unwrap()
    }

    #[test]
    fn each_name_has_its_greatest_version_and_no_version_of_an_interface() {
        let abi = |version| format!("g:alpine:x openwrt:abiversion={version}\n");
        let entries = [
            entry("b", "1.10-r0", ""),
            entry("b", "1.9-r0", ""),
            entry("libubox20240329", "2024.03.29-r1", &abi("20240329")),
            entry("libfoo1", "1-r1", &abi("1")),
            entry("libfoo2", "2-r1", &abi("2")),
            entry("other", "3-r0", &abi("9")),
            entry("20", "1-r0", &abi("20")),
            entry("none", "1-r0", &abi("")),
            entry("a", "1-r01", ""),
            entry("a", "1-r1", ""),
        ];
        let expected = json!({
            "version": 2,
            "architecture": "aarch64_cortex-a53",
            "packages": {
                "20": "1-r0",
                "a": "1-r1",
                "b": "1.10-r0",
                "libfoo": "2-r1",
                "libubox": "2024.03.29-r1",
                "none": "1-r0",
                "other": "3-r0",
            },
        });
        let architecture = "aarch64_cortex-a53".parse().unwrap();
        let written = write(&architecture, &entries);
        assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), expected);
        let reversed: Vec<_> = entries.into_iter().rev().collect();
        assert_eq!(write(&architecture, &reversed), written);
    }

    #[test]
    fn a_directory_without_packages_has_an_object_without_members() {
        let written = write(&"x86_64".parse().unwrap(), []);
        assert!(written.contains(r#""packages":{}"#), "{written}");
    }
}

//! `Packages.adb`. The first byte says what the rest is: the file, its payload, its parts, or the
//! entries that it lists, as text.

#![no_main]

use alpinist_apk::{adb::index::ReadIndex, entry::IndexEntry, index::Index};
use alpinist_fuzz::check;
use alpinist_samples::{
    adb_package::{block, stream},
    arbitrary_adb::ArbitraryAdbIndex,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 4 {
        0 => check_file(bytes),
        1 => check_file(&stream(b"indx", &[block(0, bytes)])),
        2 => {
            if let Some(parts) = ArbitraryAdbIndex::read(bytes) {
                check_file(&parts.build());
            }
        }
        _ => check_text(&String::from_utf8_lossy(bytes)),
    }
});

fn check_file(bytes: &[u8]) {
    let Ok(read) = ReadIndex::read(bytes) else { return };
    read.entries.iter().for_each(check::inverse);
    check::index_of_v3(&read.description, &read.entries);
}

fn check_text(text: &str) {
    if let Ok(index) = text.parse::<Index>() {
        check::index_of_v3("3.22/main", index.entries());
    }
    if let Ok(entry) = IndexEntry::from_stored(text) {
        check::index_of_v3("3.22/main", &[entry]);
    }
}

//! Packages of format v3 with mostly correct wrapping: four bytes that determine the chunks, and
//! their parts.

#![no_main]

use alpinist_fuzz::check;
use alpinist_samples::arbitrary_adb::ArbitraryAdbPackage;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((sizes, bytes)) = bytes.split_first_chunk() else { return };
    let Some(parts) = ArbitraryAdbPackage::read(bytes) else { return };
    if let Some(entry) = check::package(&parts.build(), *sizes).and_then(check::entry_of) {
        check::index_of_v3("3.22/main", &[entry]);
    }
});

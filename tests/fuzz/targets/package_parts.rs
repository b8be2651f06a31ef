//! Packages with mostly correct wrapping: four bytes that determine the chunks, and their parts.

#![no_main]

use alpinist_fuzz::check;
use alpinist_samples::arbitrary_package::ArbitraryPackage;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((sizes, bytes)) = bytes.split_first_chunk() else { return };
    if let Some(parts) = ArbitraryPackage::read(bytes) {
        check::package(&parts.build(), *sizes).and_then(check::entry_of);
    }
});

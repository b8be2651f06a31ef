//! Packages as they are: four bytes that determine the chunks, and the file.

#![no_main]

use alpinist_fuzz::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((sizes, bytes)) = bytes.split_first_chunk() {
        check::package(bytes, *sizes).and_then(check::entry_of);
    }
});

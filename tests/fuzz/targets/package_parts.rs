//! Packages whose wrapping is mostly right: four bytes that say in which sizes they arrive, and their parts.

#![no_main]

use alpinist_fuzz::{check, parts::Parts};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((sizes, bytes)) = bytes.split_first_chunk() else { return };
    if let Some(parts) = Parts::read(bytes) {
        check::package(&parts.build(), *sizes).and_then(check::entry_of);
    }
});

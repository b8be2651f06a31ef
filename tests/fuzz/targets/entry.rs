//! Index entries, as in fragments, and whole indexes.

#![no_main]

use alpinist_apk::{entry::IndexEntry, index::Index};
use alpinist_fuzz::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(entry) = text.parse::<IndexEntry>() {
        check::inverse(&entry);
    }
    if let Ok(index) = text.parse::<Index>() {
        assert_eq!(index.to_string().parse().as_ref(), Ok(&index));
        let sorted = Index::new(index.entries().iter().cloned());
        let reversed = Index::new(sorted.entries().iter().rev().cloned());
        let keys =
            |index: &Index| index.entries().iter().map(IndexEntry::file_stem).collect::<Vec<_>>();
        assert_eq!(keys(&sorted), keys(&reversed));
    }
});

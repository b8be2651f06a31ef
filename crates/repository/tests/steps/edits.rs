//! Edits of a snapshot, against one that is made anew from all records.

use std::{collections::BTreeMap, sync::LazyLock};

use alpinist_apk::{block, checksum::Identity, entry::IndexEntry};
use alpinist_repository::{
    port::ETag,
    snapshot::{Edit, Header, Record, Snapshot},
};
use bytes::Bytes;
use proptest::{collection::vec, prelude::*};

/// Names of packages in order. The entry of every fourth ends a block.
static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let ends = |name: &&String| block::ends_block(&format!("{name}-1-r0"));
    let name = |group: u32, suffix: u32| format!("p{group:02}x{suffix:05}");
    let group = |group| {
        let end = (3..100_000).map(|suffix| name(group, suffix)).find(|name| ends(&name));
        (0..3).map(move |suffix| name(group, suffix)).chain(end)
    };
    (0..8).flat_map(group).collect()
});

/// What happens to a package, and to which.
#[derive(Clone, Copy, Debug)]
enum Change {
    Put { package: usize, upload: u8 },
    Remove { package: usize },
    Rank { package: usize, rank: u32 },
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let package = 0..NAMES.len();
    let change = (package, 0..4_u8, 0..3_u32).prop_flat_map(|(package, upload, rank)| {
        prop_oneof![
            3 => Just(Change::Put { package, upload }),
            2 => Just(Change::Remove { package }),
            1 => Just(Change::Rank { package, rank }),
        ]
    });
    vec(change, 0..20)
}

/// A package of format v2 or, with an odd number of its upload, v3.
fn record(package: usize, upload: u8) -> Record {
    let name = &NAMES[package];
    let identity = if upload.is_multiple_of(2) {
        "Q1DNWZeWkviN7MJedLpYM8yBvmnGM=".to_owned()
    } else {
        format!("Q2{}=", "A".repeat(43))
    };
    let text = format!("C:{identity}\nP:{name}\nV:1-r0\nA:x86_64\nS:{upload}\nI:1\nT:\nU:\nL:\n\n");
    let entry = IndexEntry::from_stored(&text).unwrap();
    let etag = |what| ETag(format!("\"{what}{package}-{upload}\""));
    Record { package: etag("p"), fragment: etag("f"), rank: 0, entry }
}

/// Applies changes to a map of records, and returns them as edits.
fn edit(records: &mut BTreeMap<usize, Record>, changes: &[Change]) -> BTreeMap<String, Edit> {
    let mut edits = BTreeMap::new();
    for &change in changes {
        let (package, edit) = match change {
            Change::Put { package, upload } => {
                let record = record(package, upload);
                records.insert(package, record.clone());
                (package, Edit::Put(Box::new(record)))
            }
            Change::Remove { package } => {
                records.remove(&package);
                (package, Edit::Remove)
            }
            Change::Rank { package, rank } => {
                let stem = format!("{}-1-r0", NAMES[package]);
                // An edit replaces another one of the same package.
                let Some(record) = records.get_mut(&package).filter(|_| !edits.contains_key(&stem))
                else {
                    continue;
                };
                record.rank = rank;
                (package, Edit::Rank(rank))
            }
        };
        edits.insert(format!("{}-1-r0", NAMES[package]), edit);
    }
    edits
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn edits_one_after_the_other_give_what_all_records_give_at_once(
        rounds in vec(changes(), 1..6),
    ) {
        let mut records = BTreeMap::new();
        let mut snapshot = Snapshot::default();
        for changes in &rounds {
            let edits = edit(&mut records, changes);
            snapshot = snapshot.apply(edits).unwrap();
            let anew = Snapshot::new(records.values().cloned());
            let is_v3 = |record: &&Record| matches!(record.entry.identity, Identity::Payload(_));
            let (v3, v2): (Vec<_>, Vec<_>) = records.values().partition(is_v3);
            prop_assert_eq!(snapshot.v3_len(), v3.len());
            let read = snapshot.records().unwrap();
            prop_assert_eq!(read.iter().collect::<Vec<_>>(), [v2, v3].concat());
            prop_assert_eq!(snapshot.blocks().collect::<Vec<_>>(), anew.blocks().collect::<Vec<_>>());
            let prefix = "3.22/main/x86_64/".parse().unwrap();
            let digest = snapshot.digest(&prefix);
            prop_assert_eq!(&digest, &anew.digest(&prefix));
            prop_assert_eq!(snapshot.adb_digest(&prefix), anew.adb_digest(&prefix));
            let (packages, v3_packages) = (snapshot.len(), snapshot.v3_len());
            let adb = Some(snapshot.adb_digest(&prefix));
            let header =
                Header { generation: 7, listed: 7, digest, adb, packages, v3_packages, changes: 1 };
            let stored = Bytes::from(snapshot.to_bytes(&header).unwrap());
            let (read, again) = Snapshot::read(&stored).unwrap();
            prop_assert_eq!(read, header);
            prop_assert_eq!(again.records().unwrap(), snapshot.records().unwrap());
        }
    }
}

#[test]
fn every_fourth_package_of_this_test_ends_a_block() {
    let ends: Vec<_> =
        NAMES.iter().map(|name| block::ends_block(&format!("{name}-1-r0"))).collect();
    let number = ends.iter().filter(|ends| **ends).count();
    assert_eq!((ends.len(), number), (32, 8), "{ends:?}");
    assert!(NAMES.is_sorted());
}

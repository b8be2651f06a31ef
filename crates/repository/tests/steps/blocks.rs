//! What may be signed without being parsed: blocks that our key has signed before, and no others.

use std::time::Duration;

use alpinist_apk::{
    block::{self, Block},
    index_archive,
    key::SigningKey,
};
use alpinist_repository::{
    failure::{Failure, FailureKind},
    memory::MemoryStore,
    message::{AggregateRequest, PublishRequest, Staged},
    plus_copy::PlusCopies,
    policy::Policy,
    port::{NewObject, ObjectStore as _, Precondition},
    replacing::Replacing,
    snapshot::{Edit, Header, Record, Snapshot},
    step,
    v3_index::V3Index,
};
use bytes::Bytes;
use rand_core::OsRng;

use crate::common::{PRIVATE_KEY, execution::travelled};
use crate::support::{
    INDEX, KEY_NAME, Keys, PREFIX, aggregate_and_publish, execute, key, listed, package,
    private_key, target,
};

const SNAPSHOT: &str = ".alpinist/published/3.22/main/x86_64/snapshot.json.gz";

/// How many packages make some blocks.
const PACKAGES: usize = 3000;

fn read(store: &MemoryStore) -> (Header, Snapshot) {
    Snapshot::read(&store.content(SNAPSHOT).unwrap()).unwrap()
}

/// The blocks that the published index lists.
fn published(store: &MemoryStore) -> Vec<Block> {
    let index = store.content(INDEX).unwrap();
    let (_, unsigned) = index_archive::split(&index).unwrap();
    index_archive::read_blocks("3.22/main", &index.slice_ref(unsigned)).unwrap()
}

/// A bucket with an index of several blocks. Nobody looks at the content of its packages.
async fn many_packages() -> MemoryStore {
    let store = MemoryStore::default();
    store.upload(&key("m-1-r0"), package("m", "1-r0", "m"));
    execute(&store, &key("m-1-r0")).await.unwrap();
    let records = read(&store).1.records().unwrap();
    for number in 0..PACKAGES {
        let stem = format!("p{number}-1-r0");
        let mut entry = records[0].entry.clone();
        entry.metadata.name = format!("p{number}").parse().unwrap();
        store.upload(&key(&stem), stem.clone());
        let package = store.head(&key(&stem)).await.unwrap().unwrap().etag;
        let fragment = NewObject {
            bytes: entry.to_string().into_bytes(),
            content_type: "text/plain",
            attributes: [("package-etag".to_owned(), package.0)].into(),
        };
        let fragment_key = format!("{PREFIX}{stem}.index");
        store.put(&fragment_key, fragment, Precondition::None).await.unwrap();
    }
    execute(&store, INDEX).await.unwrap();
    store.pass(Duration::from_mins(5));
    store
}

/// Uploads a package, and stages an index with it.
async fn staged(store: &MemoryStore, name: &str) -> PublishRequest {
    let stem = format!("{name}-1-r0");
    store.upload(&key(&stem), package(name, "1-r0", name));
    let extracted = step::extract(store, Policy::default(), target(&key(&stem))).await.unwrap();
    let written =
        step::write_index(store, PlusCopies::Kept, Replacing::Allowed, extracted).await.unwrap();
    travelled(
        &step::aggregate(store, V3Index::Auto, AggregateRequest::from(written)).await.unwrap(),
    )
}

/// Puts a snapshot of records in the place of the staged one.
async fn plant(store: &MemoryStore, request: &mut PublishRequest, snapshot: &Snapshot) {
    let (header, _) = read(store);
    let header = Header { packages: snapshot.len(), ..header };
    store.upload(SNAPSHOT, snapshot.to_bytes(&header).unwrap());
    let snapshot = store.head(SNAPSHOT).await.unwrap().unwrap().etag;
    request.staged = Staged { snapshot, ..request.staged.clone() };
}

async fn publish(store: &MemoryStore, request: PublishRequest) -> Result<(), Failure> {
    step::publish(store, &Keys::good(), &mut OsRng, request).await.map(drop)
}

#[tokio::test]
async fn one_change_makes_one_block_anew_and_the_bytes_are_those_of_an_index_made_at_once() {
    let store = many_packages().await;
    let before = published(&store);
    assert!(before.len() > 3, "{} blocks", before.len());
    store.upload(&key("p5x-1-r0"), package("p5x", "1-r0", ""));
    execute(&store, &key("p5x-1-r0")).await.unwrap();
    let after = published(&store);
    let anew = after.iter().filter(|block| !before.contains(block)).count();
    assert!((1..=2).contains(&anew), "{anew} of {} blocks", after.len());

    let index = store.content(INDEX).unwrap();
    assert_eq!(listed(&store).len(), PACKAGES + 2);
    store.remove(SNAPSHOT);
    store.remove(INDEX);
    execute(&store, INDEX).await.unwrap();
    assert_eq!(store.content(INDEX).unwrap(), index);
}

#[tokio::test]
async fn a_block_that_was_signed_before_is_not_read_again() {
    let store = many_packages().await;
    let request = staged(&store, "n").await;
    let (header, snapshot) = read(&store);
    // What is in it can't be seen: our key has signed it.
    let own = snapshot.blocks().filter(|block| !published(&store).contains(block)).count();
    assert!((1..=2).contains(&own), "{own} blocks are not signed yet");
    assert_eq!(header.packages, PACKAGES + 2);
    publish(&store, request).await.unwrap();
    assert_eq!(listed(&store).len(), PACKAGES + 2);
}

#[tokio::test]
async fn a_planted_block_is_parsed_strictly() {
    let store = many_packages().await;
    for (change, is_rejected) in [
        ((|_: &mut Record| {}) as fn(&mut Record), false),
        (|record| record.entry.metadata.architecture = "aarch64".parse().unwrap(), true),
    ] {
        let store = store.duplicate();
        let mut request = staged(&store, "n").await;
        let mut records = read(&store).1.records().unwrap();
        records.iter_mut().for_each(change);
        plant(&store, &mut request, &Snapshot::new(records)).await;
        let outcome = publish(&store, request.clone()).await;
        let failure = outcome.as_ref().err().map(Failure::kind);
        assert_eq!(failure, is_rejected.then_some(FailureKind::Conflict));
        // The next look makes everything right.
        if is_rejected {
            aggregate_and_publish(&store, &Keys::good(), travelled(&request)).await.unwrap();
        }
        assert_eq!(listed(&store).len(), PACKAGES + 2);
    }
}

#[tokio::test]
async fn blocks_are_believed_in_the_order_in_which_they_were_signed_and_once() {
    let store = many_packages().await;
    let request = staged(&store, "n").await;
    let stored = store.content(SNAPSHOT).unwrap();
    let (_, snapshot) = read(&store);
    let blocks: Vec<_> = snapshot.blocks().cloned().collect();
    let swap = |bytes: &Bytes, a: &Block, b: &Block| {
        // The directory has each block's lengths, checksums, and then those of its rows.
        let row = |block: &Block| {
            let lengths = [u32::try_from(block.deflated().len()).unwrap(), block.length()];
            let begin = lengths.map(u32::to_le_bytes).concat();
            let place = bytes.windows(8).position(|window| window == begin).unwrap();
            place..place + 44
        };
        let (a_row, b_row) = (row(a), row(b));
        let mut swapped = bytes.to_vec();
        swapped[a_row.clone()].copy_from_slice(&bytes[b_row.clone()]);
        swapped[b_row].copy_from_slice(&bytes[a_row]);
        let place = |block: &Block| {
            let whole = block.deflated();
            bytes.windows(whole.len()).position(|window| window == *whole).unwrap()
        };
        let (first, second) = (place(a), place(b));
        let between = first + a.deflated().len()..second;
        let end = second + b.deflated().len();
        let moved =
            [&bytes[second..end], &bytes[between], &bytes[first..first + a.deflated().len()]];
        swapped[first..end].copy_from_slice(&moved.concat());
        swapped
    };
    let planted = swap(&stored, &blocks[1], &blocks[3]);
    store.upload(SNAPSHOT, planted);
    let etag = store.head(SNAPSHOT).await.unwrap().unwrap().etag;
    let staged = Staged { snapshot: etag, ..request.staged.clone() };
    let planted = PublishRequest { staged, ..request };
    assert_eq!(publish(&store, planted.clone()).await.unwrap_err().kind(), FailureKind::Conflict);
    aggregate_and_publish(&store, &Keys::good(), travelled(&planted)).await.unwrap();
    assert_eq!(listed(&store).len(), PACKAGES + 2);
}

/// Publishes a snapshot that nobody would sign, but whose blocks stand in an index that `key` has
/// signed.
async fn publish_from_an_index_of(key: &SigningKey) -> (MemoryStore, Result<(), Failure>) {
    let store = many_packages().await;
    let mut request = staged(&store, "n").await;
    let mut records = read(&store).1.records().unwrap();
    for record in &mut records {
        record.entry.metadata.architecture = "aarch64".parse().unwrap();
    }
    let snapshot = Snapshot::new(records);
    plant(&store, &mut request, &snapshot).await;
    let blocks: Vec<_> = snapshot.blocks().cloned().collect();
    let unsigned = index_archive::write_blocks("3.22/main", &blocks).unwrap();
    let name = KEY_NAME.parse().unwrap();
    let signatures = key.sign_index(&name, &unsigned, &mut OsRng).unwrap();
    store.upload(INDEX, index_archive::write_signed(&signatures, &unsigned).unwrap());
    let replaces = store.head(INDEX).await.unwrap().map(|index| index.etag);
    request.staged = Staged { replaces, ..request.staged };
    let outcome = publish(&store, request).await;
    (store, outcome)
}

#[tokio::test]
async fn an_index_of_another_key_is_not_believed() {
    let stranger = SigningKey::from_pem(&private_key()).unwrap();
    let (_, outcome) = publish_from_an_index_of(&stranger).await;
    assert_eq!(outcome.unwrap_err().kind(), FailureKind::Conflict);

    let own = SigningKey::from_pem(&PRIVATE_KEY).unwrap();
    let (store, outcome) = publish_from_an_index_of(&own).await;
    outcome.unwrap();
    assert_eq!(listed(&store).len(), PACKAGES + 2);
}

#[tokio::test]
async fn an_edit_leaves_what_an_index_made_at_once_would_be() {
    let store = many_packages().await;
    let (_, snapshot) = read(&store);
    let records = snapshot.records().unwrap();
    let remove = |numbers: &[usize]| {
        let stems = numbers.iter().map(|&number| records[number].entry.file_stem());
        stems.map(|stem| (stem, Edit::Remove)).collect()
    };
    let ends: Vec<_> = (0..records.len())
        .filter(|&number| block::ends_block(&records[number].entry.file_stem()))
        .collect();
    let cases = [
        vec![0],
        vec![records.len() - 1],
        ends.clone(),
        vec![ends[0], ends[0] + 1],
        (0..1500).collect(),
    ];
    for removed in cases {
        let edited = snapshot.apply(remove(&removed)).unwrap();
        let kept = records.iter().enumerate().filter(|(number, _)| !removed.contains(number));
        let expected = Snapshot::new(kept.map(|(_, record)| record.clone()));
        let blocks = |snapshot: &Snapshot| snapshot.blocks().cloned().collect::<Vec<_>>();
        assert_eq!(blocks(&edited), blocks(&expected));
        assert!(edited.rows().eq(expected.rows()));
        let back = removed.iter().map(|&number| records[number].clone());
        let back = back.map(|record| (record.entry.file_stem(), Edit::Put(Box::new(record))));
        let again = edited.apply(back.collect()).unwrap();
        assert_eq!(blocks(&again), blocks(&snapshot));
        assert!(again.rows().eq(snapshot.rows()));
    }
}

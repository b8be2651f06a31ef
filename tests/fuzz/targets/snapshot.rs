//! A snapshot and a fragment that somebody planted in the bucket. The first byte says whether the
//! snapshot is already compressed or must be.

#![no_main]

use std::{sync::LazyLock, time::Duration};

use alpinist_apk::{
    index::Index,
    index_archive::{IndexArchive, write_signed, write_unsigned},
    signature::SignatureName,
};
use alpinist_fuzz::check;
use alpinist_repository::{
    location::RepositoryPrefix,
    memory::MemoryStore,
    message::{AggregateRequest, Target, Written},
    snapshot::{Beginning, Snapshot},
    step,
    v3_index::V3Index,
};
use alpinist_samples::{arbitrary_package::ArbitraryPackage, gzip::gzip_at};
use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use futures::executor::block_on;
use libfuzzer_sys::fuzz_target;

/// Longer than a snapshot is assumed to be on its way to the signer.
const LONG_ENOUGH: Duration = Duration::from_mins(1);

/// A package, which is made once.
static PACKAGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let info = b"\0\0\0\0\0\0\0\0pkgname = a\npkgver = 1\narch = x86_64\n";
    ArbitraryPackage::read(info).map(|parts| parts.build()).unwrap_or_default()
});

#[derive(Arbitrary, Debug)]
struct Planted<'a> {
    is_compressed: bool,
    sizes: [u8; 4],
    fragment: Option<&'a [u8]>,
    snapshot: &'a [u8],
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(planted) = Planted::arbitrary_take_rest(Unstructured::new(bytes)) else { return };
    let Planted { is_compressed, sizes, fragment, snapshot } = planted;
    let stored = if is_compressed { snapshot.to_vec() } else { gzip_at(snapshot, 1) };
    if let Ok((header, snapshot)) = Snapshot::read(&stored.clone().into()) {
        let bytes = snapshot.to_bytes(&header).expect("memory takes it");
        assert_eq!(Snapshot::read(&bytes.into()).expect("ours is read"), (header, snapshot));
    }
    for chunk in check::chunks(&stored, sizes) {
        let _beginning = Beginning::read(&Bytes::copy_from_slice(chunk));
    }
    aggregate(stored, fragment);
});

/// Checks that the index is made, whatever is planted.
fn aggregate(snapshot: Vec<u8>, fragment: Option<&[u8]>) {
    let prefix: RepositoryPrefix = "3.22/main/x86_64/".parse().expect("a prefix");
    let store = MemoryStore::default();
    store.upload(&prefix.package_key("a-1"), PACKAGE.clone());
    if let Some(fragment) = fragment {
        store.upload(&prefix.fragment_key("a-1"), fragment.to_vec());
    }
    store.upload(&prefix.snapshot_key(), snapshot);
    store.pass(LONG_ENOUGH);
    let target = Target {
        bucket: "packages".to_owned(),
        key: prefix.index_key(),
        time: None,
        reindex: None,
        withdrawal: false,
    };
    let written = Written {
        target,
        fragment: None,
        kept: None,
        withdrawn: false,
        changed: true,
        rejection: None,
        signed_by: None,
        warnings: Vec::new(),
    };
    let aggregated =
        block_on(step::aggregate(&store, V3Index::Auto, AggregateRequest::from(written)));
    if aggregated.expect("the index is made").staged.is_some() {
        let bytes = store.content(&prefix.snapshot_key()).expect("it is staged");
        let (header, snapshot) = Snapshot::read(&bytes).expect("ours is read");
        assert_eq!((header.digest, header.packages), (snapshot.digest(&prefix), snapshot.len()));
        let entries = snapshot.records().expect("ours is read").into_iter();
        let index = Index::new(entries.map(|record| record.entry));
        let unsigned = write_unsigned(prefix.repository(), &index).expect("memory takes it");
        let name = SignatureName::parse(b".SIGN.RSA.fuzz.rsa.pub");
        let signature = (name.expect("a name"), vec![1; 256].into());
        let signed = write_signed(&[signature], &unsigned).expect("memory takes it");
        assert_eq!(IndexArchive::read(&signed).expect("a client reads it").index, index);
    }
}

//! Inputs of the steps. The first byte selects the step; the rest is JSON.
//!
//! Valid inputs are also passed to the step, with a bucket of one package. The last step, which
//! signs, is left out: it would take almost all of the time.

#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;
use std::sync::LazyLock;

use alpinist_repository::{
    location::{PackageKey, RepositoryPrefix, Subject},
    memory::MemoryStore,
    message::{AggregateRequest, Extracted, Published, Target, Written},
    plus_copy::PlusCopies,
    policy::Policy,
    replacing::Replacing,
    step::{self, ReindexRequest, ReindexResponse},
    v3_index::V3Index,
};
use alpinist_samples::arbitrary_package::ArbitraryPackage;
use futures::executor::block_on;
use libfuzzer_sys::fuzz_target;
use serde::{Serialize, de::DeserializeOwned};

const KEY: &str = "3.22/main/x86_64/g++-1-r0.apk";
/// A package, which is made once.
static PACKAGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let info = b"\0\0\0\0\0\0\0\0pkgname = g++\npkgver = 1-r0\narch = x86_64\n";
    ArbitraryPackage::read(info).map(|parts| parts.build()).unwrap_or_default()
});

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, json)) = bytes.split_first() else { return };
    match kind % 8 {
        0 => read(json, extract),
        1 => read(json, write),
        2 => read(json, aggregate),
        3 => read(json, reindex),
        4 => read(json, |_: Published| ()),
        5 => read(json, |_: ReindexResponse| ()),
        6 => read(json, follow),
        _ => keys(json),
    }
});

/// Reads a request as a function does. Writing must be the inverse of reading.
fn read<T>(json: &[u8], then: impl FnOnce(T))
where
    T: Clone + Debug + DeserializeOwned + PartialEq + Serialize,
{
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(json) else { return };
    let Ok(request) = serde_json::from_value::<T>(value) else { return };
    assert_eq!(passed::<T, T>(&request), request);
    then(request);
}

/// Passes a response on to the next state.
fn passed<T: Serialize, U: DeserializeOwned>(response: &T) -> U {
    let json = serde_json::to_string(response).expect("a message is JSON");
    serde_json::from_str(&json).expect("the next state understands it")
}

fn bucket() -> MemoryStore {
    let store = MemoryStore::default();
    store.upload(KEY, PACKAGE.clone());
    store
}

fn extract(target: Target) {
    if let Ok(subject) = target.key.parse::<Subject>() {
        assert_eq!(subject.to_string(), target.key);
    }
    let extracted = block_on(step::extract(&bucket(), Policy::default(), target));
    let extracted = extracted.expect("a bucket in memory has no failures");
    assert_eq!(passed::<_, Extracted>(&extracted), extracted);
    assert_eq!(passed::<_, Target>(&extracted), extracted.target);
    write(extracted);
}

fn write(extracted: Extracted) {
    let store = bucket();
    if let Ok(written) =
        block_on(step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, extracted))
    {
        assert_eq!(
            passed::<_, AggregateRequest>(&written),
            AggregateRequest::from(written.clone())
        );
        let _may_be_superseded = block_on(step::aggregate(&store, V3Index::Auto, written.into()));
    }
}

fn follow(written: Written) {
    assert_eq!(passed::<_, Target>(&written), written.target);
    aggregate(written.into());
}

fn aggregate(request: AggregateRequest) {
    if let Ok(aggregated) = block_on(step::aggregate(&bucket(), V3Index::Auto, request)) {
        let request = passed::<_, AggregateRequest>(&aggregated);
        assert_eq!((&request.staged, &request.waiting), (&aggregated.staged, &aggregated.waiting));
        assert_eq!(passed::<_, Target>(&aggregated), aggregated.written.target);
    }
}

fn reindex(request: ReindexRequest) {
    if let Ok(response) = block_on(step::reindex(&bucket(), request)) {
        assert_eq!(passed::<_, ReindexResponse>(&response), response);
    }
}

fn keys(text: &[u8]) {
    let Ok(text) = str::from_utf8(text) else { return };
    inverse::<Subject>(text);
    inverse::<PackageKey>(text);
    inverse::<RepositoryPrefix>(text);
}

fn inverse<T: FromStr + Display>(text: &str) {
    if let Ok(key) = text.parse::<T>() {
        assert_eq!(key.to_string(), text);
    }
}

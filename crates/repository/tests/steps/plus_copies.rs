//! Copies of packages whose names have a `+`.

use alpinist_repository::{
    memory::{MemoryStore, Request},
    plus_copy::PlusCopies,
    policy::Policy,
    replacing::Replacing,
    step,
};

use crate::support::{execute, key, listed, package, target};

const NAME: &str = "libstdc++-13-r0";
const COPY: &str = "3.22/main/x86_64/libstdc  -13-r0.apk";

fn upload(store: &MemoryStore, content: &str) -> Vec<u8> {
    let bytes = package("libstdc++", "13-r0", content);
    store.upload(&key(NAME), bytes.clone());
    bytes
}

#[tokio::test]
async fn a_copy_follows_its_package() {
    let store = MemoryStore::default();
    for content in ["first", "second"] {
        let bytes = upload(&store, content);
        execute(&store, &key(NAME)).await.unwrap();
        assert_eq!(store.content(COPY).unwrap(), bytes);
    }
    assert_eq!(listed(&store), [NAME]);
    store.remove(&key(NAME));
    execute(&store, &key(NAME)).await.unwrap();
    assert_eq!(store.content(COPY), None);
}

#[tokio::test]
async fn the_copy_of_a_package_that_is_rejected_now_goes() {
    let store = MemoryStore::default();
    upload(&store, "");
    execute(&store, &key(NAME)).await.unwrap();
    store.upload(&key(NAME), "garbage");
    execute(&store, &key(NAME)).await.unwrap_err();
    assert_eq!(store.content(COPY), None);
}

#[tokio::test]
async fn nothing_follows_from_a_copy() {
    let store = MemoryStore::default();
    upload(&store, "");
    execute(&store, &key(NAME)).await.unwrap();
    let before = store.written();
    execute(&store, COPY).await.unwrap();
    assert_eq!(store.written(), before);
}

#[tokio::test]
async fn a_copy_that_somebody_deletes_or_overwrites_comes_back() {
    let store = MemoryStore::default();
    let bytes = upload(&store, "");
    execute(&store, &key(NAME)).await.unwrap();
    store.remove(COPY);
    execute(&store, COPY).await.unwrap();
    assert_eq!(store.content(COPY).unwrap(), bytes);
    assert_eq!(listed(&store), [NAME]);

    // Somebody else's bytes would be served to clients that request the package.
    store.upload(COPY, "something else");
    execute(&store, COPY).await.unwrap();
    assert_eq!(store.content(COPY).unwrap(), bytes);

    // Our own deletion, together with a rejected package, needs no action.
    store.upload(&key(NAME), "garbage");
    execute(&store, &key(NAME)).await.unwrap_err();
    let before = store.written();
    execute(&store, COPY).await.unwrap();
    assert_eq!(store.written(), before);
}

#[tokio::test]
async fn a_package_with_a_space_that_is_no_copy_is_rejected() {
    let store = MemoryStore::default();
    store.upload(COPY, package("libstdc++", "13-r0", ""));
    execute(&store, COPY).await.unwrap_err();
}

#[tokio::test]
async fn a_package_that_is_replaced_while_it_is_copied_ends_with_a_copy_of_the_new_one() {
    let store = MemoryStore::default();
    upload(&store, "old");
    let mut armed = true;
    store.before_requests(move |store, request| {
        if armed && matches!(request, Request::Copy(_)) {
            armed = false;
            upload(store, "new");
        }
        Ok(())
    });
    execute(&store, &key(NAME)).await.unwrap();
    assert_eq!(store.content(COPY), store.content(&key(NAME)));
}

#[tokio::test]
async fn a_package_that_comes_back_while_its_copy_is_removed_keeps_it() {
    let store = MemoryStore::default();
    let bytes = upload(&store, "");
    execute(&store, &key(NAME)).await.unwrap();
    store.remove(&key(NAME));
    let mut armed = true;
    store.before_requests(move |store, request| {
        if armed && matches!(request, Request::Delete(COPY)) {
            armed = false;
            store.upload(&key(NAME), bytes.clone());
        }
        Ok(())
    });
    execute(&store, &key(NAME)).await.unwrap();
    assert_eq!(store.content(COPY), store.content(&key(NAME)));
    assert_eq!(listed(&store), [NAME]);
}

#[tokio::test]
async fn without_copies_none_is_made_and_a_stale_one_goes() {
    let store = MemoryStore::default();
    upload(&store, "old");
    execute(&store, &key(NAME)).await.unwrap();
    upload(&store, "new");
    for _ in 0..2 {
        let extracted = step::extract(&store, Policy::default(), target(&key(NAME))).await.unwrap();
        step::write_index(&store, PlusCopies::None, Replacing::Allowed, extracted).await.unwrap();
        assert_eq!(store.content(COPY), None);
    }
}

//! What consecutive executions leave behind, and what they cost.

use alpinist_repository::memory::MemoryStore;

use crate::support::{
    INDEX, KEY_NAME, PREFIX, checksum, execute, key, listed, package, package_of, publish,
};

#[tokio::test]
async fn the_first_upload_makes_an_index_and_publishes_the_key() {
    let store = MemoryStore::default();
    publish(&store, "g++", "1.0~rc1-r0", "a").await;
    assert_eq!(listed(&store), ["g++-1.0~rc1-r0"]);
    assert!(store.content(KEY_NAME).unwrap().starts_with(b"-----BEGIN PUBLIC KEY-----"));
    let fragment = store.content(&format!("{PREFIX}g++-1.0~rc1-r0.index")).unwrap();
    assert!(fragment.starts_with(b"C:Q1") && fragment.ends_with(b"\n\n"));
}

#[tokio::test]
async fn packages_are_added_replaced_and_deleted() {
    let store = MemoryStore::default();
    for stem in ["b-1-r0", "a-1-r0"] {
        let name = stem.split('-').next().unwrap();
        store.upload(&key(stem), package(name, "1-r0", "first"));
        execute(&store, &key(stem)).await.unwrap();
    }
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0"]);

    let before = checksum(&store, "a-1-r0");
    publish(&store, "a", "1-r0", "second").await;
    assert_ne!(checksum(&store, "a-1-r0"), before);

    store.remove(&key("a-1-r0"));
    execute(&store, &key("a-1-r0")).await.unwrap();
    assert_eq!(listed(&store), ["b-1-r0"]);
    assert_eq!(store.content(&format!("{PREFIX}a-1-r0.index")), None);

    store.remove(&key("b-1-r0"));
    execute(&store, &key("b-1-r0")).await.unwrap();
    assert_eq!(listed(&store), <[&str; 0]>::default());
}

#[tokio::test]
async fn a_package_for_all_architectures_is_listed_under_that_of_its_directory() {
    let store = MemoryStore::default();
    store.upload(&key("a-1-r0"), package_of("a", "1-r0", "noarch", ""));
    execute(&store, &key("a-1-r0")).await.unwrap();
    let fragment = store.content(&format!("{PREFIX}a-1-r0.index")).unwrap();
    assert!(String::from_utf8_lossy(&fragment).contains("\nA:x86_64\n"));
}

#[tokio::test]
async fn the_same_event_again_writes_nothing() {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "a").await;
    let before = store.written();
    execute(&store, &key("a-1-r0")).await.unwrap();
    execute(&store, &key("never-there-1-r0")).await.unwrap();
    assert_eq!(store.written(), before);
}

#[tokio::test]
async fn the_same_packages_give_the_same_bytes_in_whatever_order_they_came() {
    let mut indexes = Vec::new();
    for names in [["a", "b", "c"], ["c", "a", "b"]] {
        let store = MemoryStore::default();
        for name in names {
            let key = key(&format!("{name}-1-r0"));
            store.upload(&key, package(name, "1-r0", name));
            execute(&store, &key).await.unwrap();
        }
        indexes.push(store.content(INDEX).unwrap());
    }
    assert_eq!(indexes[0], indexes[1]);
}

#[tokio::test]
async fn one_upload_into_many_packages_reads_no_fragment() {
    let store = MemoryStore::default();
    let names: Vec<_> = (0..50).map(|number| format!("p{number}")).collect();
    for name in &names {
        let key = key(&format!("{name}-1-r0"));
        store.upload(&key, package(name, "1-r0", name));
        execute(&store, &key).await.unwrap();
    }
    let before = store.requests();
    publish(&store, "new", "1-r0", "").await;
    assert_eq!(listed(&store).len(), 51);
    assert_eq!(store.requests() - before, 13, "more would follow the size of the repository");
}

#[tokio::test]
async fn whatever_is_lost_but_the_packages_is_made_again() {
    let store = MemoryStore::default();
    for name in ["a", "b"] {
        store.upload(&key(&format!("{name}-1-r0")), package(name, "1-r0", name));
        execute(&store, &key(&format!("{name}-1-r0"))).await.unwrap();
    }
    let index = store.content(INDEX).unwrap();
    for lost in store.keys().iter().filter(|key| !key.ends_with(".apk")) {
        store.remove(lost);
    }
    for name in ["a", "b"] {
        execute(&store, &key(&format!("{name}-1-r0"))).await.unwrap();
    }
    assert_eq!(store.content(INDEX).unwrap(), index);
}

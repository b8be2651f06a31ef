//! The page, and the list that it reads.

use alpinist_repository::{
    failure::FailureKind,
    memory::{MemoryStore, Request},
    page::{self, MARK, PAGE, PageError, REPOSITORIES, Repositories},
    v3_index::V3Index,
};

use crate::support::{
    INDEX, KEY_NAME, Keys, Second, execute, execute_where, execute_with, key, package, private_key,
    publish, target,
};

const DIRECTORY: &str = "3.22/main/x86_64";

fn list(directories: &[&str], keys: &[&str]) -> Repositories {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Repositories { directories: owned(directories), keys: owned(keys) }
}

fn stored(store: &MemoryStore) -> Option<Repositories> {
    store.content(REPOSITORIES).map(|list| serde_json::from_slice(&list).unwrap())
}

#[tokio::test]
async fn without_a_page_there_is_no_list() {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "").await;
    assert_eq!((stored(&store), store.content(PAGE)), (None, None));
}

#[tokio::test]
async fn a_page_knows_what_was_there_and_what_comes() {
    let store = MemoryStore::default();
    store.upload("v3.21/x86_64/APKINDEX.tar.gz", "somebody else's");
    store.upload("ops.pem", "a key by its name");
    store.upload("README.md", "");
    let put = page::put(&store, MARK).await.unwrap();
    assert_eq!(put, list(&["v3.21/x86_64"], &["ops.pem"]));
    assert_eq!(stored(&store), Some(put.clone()));
    assert_eq!(store.content(PAGE).unwrap(), MARK);

    publish(&store, "a", "1-r0", "").await;
    let known = list(&[DIRECTORY, "v3.21/x86_64"], &[KEY_NAME, "ops.pem"]);
    assert_eq!(stored(&store), Some(known.clone()));
    assert_eq!(page::put(&store, MARK).await.unwrap(), known, "the same again");

    store.remove("v3.21/x86_64/APKINDEX.tar.gz");
    assert_eq!(page::put(&store, MARK).await.unwrap(), list(&[DIRECTORY], &[KEY_NAME, "ops.pem"]));
    assert!(page::remove(&store).await.unwrap());
    assert_eq!((stored(&store), store.content(PAGE)), (None, None));
    assert!(!page::remove(&store).await.unwrap());
}

#[tokio::test]
async fn an_index_of_format_v3_alone_and_one_that_was_adopted_are_known() {
    let store = MemoryStore::default();
    page::put(&store, MARK).await.unwrap();
    execute_where(&store, V3Index::Always, target(INDEX)).await.unwrap();
    assert_eq!(stored(&store), Some(list(&[], &[])), "nothing is published");
    store.upload(&key("a-1-r0"), package("a", "1-r0", ""));
    store.upload(INDEX, "somebody else's");
    execute_where(&store, V3Index::Always, target(&key("a-1-r0"))).await.unwrap();
    execute_where(&store, V3Index::Always, target(INDEX)).await.unwrap();
    assert_eq!(stored(&store), Some(list(&[DIRECTORY], &[KEY_NAME])));
}

#[tokio::test]
async fn a_new_key_is_known_with_the_first_index_that_it_signs() {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "").await;
    page::put(&store, MARK).await.unwrap();
    let name = "new@example.com-5f3c2a1c.rsa.pub";
    let second = Second { name: name.to_owned(), private_key: private_key(), remote: None };
    store.upload(&key("a-1-r0"), package("a", "1-r0", "again"));
    let keys = Keys { second: Some(second), ..Keys::good() };
    execute_with(&store, &keys, &key("a-1-r0")).await.unwrap();
    assert_eq!(stored(&store), Some(list(&[DIRECTORY], &[name, KEY_NAME])));
}

#[tokio::test]
async fn whoever_finds_the_list_changed_tries_again() {
    let store = MemoryStore::default();
    page::put(&store, MARK).await.unwrap();
    let mut tries = 0;
    store.before_requests(move |store, request| {
        if request == Request::Put(REPOSITORIES) && tries < 3 {
            tries += 1;
            let mut others = stored(store).unwrap();
            others.directories.insert(format!("other/{}/x86_64", others.directories.len()));
            store.upload(REPOSITORIES, serde_json::to_vec(&others).unwrap());
        }
        Ok(())
    });
    publish(&store, "a", "1-r0", "").await;
    let others = ["other/0/x86_64", "other/1/x86_64", "other/2/x86_64"];
    assert_eq!(stored(&store), Some(list(&[&[DIRECTORY], &others[..]].concat(), &[KEY_NAME])));

    let mut tries = 0;
    store.before_requests(move |store, request| {
        if request == Request::Put(REPOSITORIES) {
            tries += 1;
            let others = list(&[&format!("other/{tries}")], &[]);
            store.upload(REPOSITORIES, serde_json::to_vec(&others).unwrap());
        }
        Ok(())
    });
    let error = page::put(&store, MARK).await.unwrap_err();
    assert!(
        matches!(&error, PageError::Failure(failure) if failure.kind() == FailureKind::Conflict)
    );
}

#[tokio::test]
async fn what_somebody_else_put_there_stays_and_stops_no_index() {
    for foreign in ["<title>Mine</title>".to_owned(), "x".repeat((1 << 20) + 1)] {
        let store = MemoryStore::default();
        store.upload(PAGE, foreign.clone());
        let error = page::put(&store, MARK).await.unwrap_err();
        assert_eq!(error.to_string(), "index.html is not of Alpinist, and would be lost");
        page::remove(&store).await.unwrap_err();
        store.remove(PAGE);

        store.upload(REPOSITORIES, foreign.clone());
        let error = page::put(&store, MARK).await.unwrap_err();
        assert_eq!(error.to_string(), "repositories.json is not of Alpinist, and would be lost");
        page::remove(&store).await.unwrap_err();
        store.upload(&key("a-1-r0"), package("a", "1-r0", ""));
        execute(&store, &key("a-1-r0")).await.unwrap();
        assert!(store.content(INDEX).is_some());
        assert_eq!(store.content(REPOSITORIES).unwrap(), foreign);
    }
}

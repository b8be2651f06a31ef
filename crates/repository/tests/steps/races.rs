//! Executions that meet, and executions that are late.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
    time::Duration,
};

use alpinist_repository::{
    failure::FailureKind,
    memory::{MemoryStore, Request},
    message::{AggregateRequest, Aggregated, Extracted, Found, PublishRequest},
    plus_copy::PlusCopies,
    policy::Policy,
    port::StoreError,
    replacing::Replacing,
    step,
    v3_index::V3Index,
};
use futures::FutureExt as _;
use rand_core::OsRng;
use rstest::rstest;

use crate::common::execution::travelled;
use crate::support::{
    INDEX, Keys, PREFIX, aggregate_and_publish, checksum, execute, key, listed, package, publish,
    signed_package, target,
};

fn now<T, E: Debug>(step: impl Future<Output = Result<T, E>>) -> T {
    step.now_or_never().expect("memory does not wait").unwrap()
}

/// Runs another execution to its end, in the middle of one of our requests.
fn rival(store: &MemoryStore, key: &str) {
    now(execute(store, key));
}

#[tokio::test]
async fn a_lost_race_goes_back_to_aggregation_and_loses_nobody() {
    let store = MemoryStore::default();
    store.upload(&key("a-1-r0"), package("a", "1-r0", "a"));
    store.upload(&key("b-1-r0"), package("b", "1-r0", "b"));
    let extracted = step::extract(&store, Policy::default(), target(&key("a-1-r0"))).await.unwrap();
    let written =
        step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, extracted).await.unwrap();
    let aggregated = step::aggregate(&store, V3Index::Auto, written.into()).await.unwrap();
    rival(&store, &key("b-1-r0"));
    let keys = Keys::good();
    let failure =
        step::publish(&store, &keys, &mut OsRng, travelled(&aggregated)).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Conflict);
    aggregate_and_publish(&store, &keys, travelled(&aggregated)).await.unwrap();
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0"]);
}

#[tokio::test]
async fn a_change_that_a_rival_published_is_covered() {
    let store = MemoryStore::default();
    store.upload(&key("a-1-r0"), package("a", "1-r0", "a"));
    let extracted = step::extract(&store, Policy::default(), target(&key("a-1-r0"))).await.unwrap();
    let written =
        step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, extracted).await.unwrap();
    store.upload(&key("b-1-r0"), package("b", "1-r0", "b"));
    rival(&store, &key("b-1-r0"));
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0"]);
    store.before_requests(|_, request| {
        assert!(matches!(request, Request::Head(_) | Request::Get(_)), "{request:?}");
        Ok(())
    });
    assert_eq!(step::aggregate(&store, V3Index::Auto, written.into()).await.unwrap().staged, None);
}

#[tokio::test]
async fn the_first_index_does_not_cover_a_rebuild_that_began_before_it() {
    let store = MemoryStore::default();
    store.pass(Duration::from_hours(1));
    store.upload(&key("a-1-r0"), package("a", "1-r0", "a"));
    let rebuild = Arc::new(Mutex::new(None));
    let begun = rebuild.clone();
    store.before_requests(move |store, request| {
        if matches!(request, Request::Put(key) if key.ends_with("snapshot.json.gz")) {
            // The bucket was already listed, and the event of b is lost.
            store.upload(&key("b-1-r0"), package("b", "1-r0", "b"));
            let extracted = now(step::extract(store, Policy::default(), target(&key("b-1-r0"))));
            now(step::write_index(store, PlusCopies::Kept, Replacing::Allowed, extracted));
            let index = Extracted { target: target(INDEX), found: Found::Nothing };
            let written =
                now(step::write_index(store, PlusCopies::Kept, Replacing::Allowed, index));
            *begun.lock().unwrap() =
                Some(now(step::aggregate(store, V3Index::Auto, written.into())));
        }
        Ok(())
    });
    execute(&store, &key("a-1-r0")).await.unwrap();
    store.before_requests(|_, _| Ok(()));
    let rebuild: Aggregated = rebuild.lock().unwrap().take().unwrap();
    assert!(rebuild.waiting.is_some());
    aggregate_and_publish(&store, &Keys::good(), travelled(&rebuild)).await.unwrap();
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0"]);
}

#[tokio::test]
async fn a_replaced_package_is_not_covered_by_an_index_that_knows_its_name() {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "old").await;
    let before = checksum(&store, "a-1-r0");
    publish(&store, "a", "1-r0", "new").await;
    assert_ne!(checksum(&store, "a-1-r0"), before);
}

#[tokio::test]
async fn a_late_execution_does_not_overwrite_a_newer_fragment() {
    let store = MemoryStore::default();
    store.upload(&key("a-1-r0"), package("a", "1-r0", "old"));
    let late = step::extract(&store, Policy::default(), target(&key("a-1-r0"))).await.unwrap();
    store.upload(&key("a-1-r0"), package("a", "1-r0", "new"));
    rival(&store, &key("a-1-r0"));
    let fragment = store.content(&format!("{PREFIX}a-1-r0.index"));
    let failure =
        step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, late).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Superseded);
    assert_eq!(store.content(&format!("{PREFIX}a-1-r0.index")), fragment);
}

/// Replaces a package, and runs its execution, just before our first request of a kind.
async fn replaced_before(is_moment: fn(Request<'_>) -> bool) {
    let store = MemoryStore::default();
    store.upload(&key("a-1-r0"), package("a", "1-r0", "old"));
    once(&store, is_moment, |store| {
        store.upload(&key("a-1-r0"), package("a", "1-r0", "new"));
        rival(store, &key("a-1-r0"));
    });
    execute(&store, &key("a-1-r0")).await.unwrap();
    let replaced = MemoryStore::default();
    replaced.upload(&key("a-1-r0"), package("a", "1-r0", "new"));
    execute(&replaced, &key("a-1-r0")).await.unwrap();
    assert_eq!(store.content(INDEX), replaced.content(INDEX));
}

#[tokio::test]
async fn a_package_that_is_replaced_at_any_moment_ends_as_its_newest_version() {
    replaced_before(|request| matches!(request, Request::Get(key) if key.ends_with(".apk"))).await;
    replaced_before(|request| matches!(request, Request::Head(key) if key.ends_with(".apk"))).await;
    replaced_before(|request| matches!(request, Request::Put(key) if key.ends_with(".index")))
        .await;
    replaced_before(|request| matches!(request, Request::List { .. })).await;
    replaced_before(|request| matches!(request, Request::Put(key) if key.contains("/claims/")))
        .await;
    replaced_before(|request| matches!(request, Request::Put(key) if key.contains("/published/")))
        .await;
    replaced_before(|request| matches!(request, Request::Put(INDEX))).await;
}

#[tokio::test]
async fn a_package_that_comes_back_while_its_fragment_is_removed_keeps_its_entry() {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "a").await;
    store.remove(&key("a-1-r0"));
    let mut armed = true;
    store.before_requests(move |store, request| {
        if armed && matches!(request, Request::Delete(_)) {
            armed = false;
            store.upload(&key("a-1-r0"), package("a", "1-r0", "a"));
            rival(store, &key("a-1-r0"));
        }
        Ok(())
    });
    execute(&store, &key("a-1-r0")).await.unwrap();
    assert_eq!(listed(&store), ["a-1-r0"]);
}

#[tokio::test]
async fn a_package_that_is_deleted_while_it_is_published_does_not_stay_listed() {
    let store = MemoryStore::default();
    store.upload(&key("a-1-r0"), package("a", "1-r0", "a"));
    let mut armed = true;
    store.before_requests(move |store, request| {
        if armed && matches!(request, Request::Put(INDEX)) {
            armed = false;
            store.remove(&key("a-1-r0"));
            rival(store, &key("a-1-r0"));
        }
        Ok(())
    });
    execute(&store, &key("a-1-r0")).await.unwrap();
    assert_eq!(listed(&store), <[&str; 0]>::default());
}

/// Arms `store` to do something once, before the first matching request.
fn once(
    store: &MemoryStore,
    is_moment: fn(Request<'_>) -> bool,
    mut act: impl FnMut(&MemoryStore) + Send + 'static,
) {
    let mut armed = true;
    store.before_requests(move |store, request| {
        if armed && is_moment(request) {
            armed = false;
            act(store);
        }
        Ok(())
    });
}

#[tokio::test]
async fn a_fragment_that_a_rival_wrote_meanwhile_is_not_overwritten() {
    let store = MemoryStore::default();
    store.upload(&key("a-1-r0"), package("a", "1-r0", "old"));
    let late = step::extract(&store, Policy::default(), target(&key("a-1-r0"))).await.unwrap();
    once(
        &store,
        |request| matches!(request, Request::Put(_)),
        |store| {
            store.upload(&key("a-1-r0"), package("a", "1-r0", "new"));
            rival(store, &key("a-1-r0"));
        },
    );
    let failure =
        step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, late).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Superseded);
    let fragment = store.content(&format!("{PREFIX}a-1-r0.index")).unwrap();
    let fragment = String::from_utf8(fragment.to_vec()).unwrap();
    assert!(fragment.contains(&checksum(&store, "a-1-r0")), "{fragment}");
}

#[tokio::test]
async fn a_fragment_of_a_package_that_came_back_is_noticed_when_removed() {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "a").await;
    store.remove(&key("a-1-r0"));
    let gone = step::extract(&store, Policy::default(), target(&key("a-1-r0"))).await.unwrap();
    once(
        &store,
        |request| matches!(request, Request::Delete(_)),
        |store| {
            store.upload(&key("a-1-r0"), package("a", "1-r0", "a"));
        },
    );
    let failure =
        step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, gone).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Superseded);
}

#[tokio::test]
async fn a_late_removal_leaves_the_fragment_of_a_package_that_is_there() {
    let store = MemoryStore::default();
    let gone = step::extract(&store, Policy::default(), target(&key("a-1-r0"))).await.unwrap();
    store.upload(&key("a-1-r0"), package("a", "1-r0", "a"));
    rival(&store, &key("a-1-r0"));
    step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, gone).await.unwrap();
    assert!(store.content(&format!("{PREFIX}a-1-r0.index")).is_some());
}

#[tokio::test]
async fn aggregation_notices_that_the_package_is_another_one() {
    let store = MemoryStore::default();
    store.upload(&key("a-1-r0"), package("a", "1-r0", "old"));
    let extracted = step::extract(&store, Policy::default(), target(&key("a-1-r0"))).await.unwrap();
    let written =
        step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, extracted).await.unwrap();
    store.upload(&key("a-1-r0"), package("a", "1-r0", "new"));
    let failure = step::aggregate(&store, V3Index::Auto, written.into()).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Superseded);

    let gone = step::extract(&store, Policy::default(), target(&key("b-1-r0"))).await.unwrap();
    let written =
        step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, gone).await.unwrap();
    execute(&store, &key("a-1-r0")).await.unwrap();
    store.upload(&key("b-1-r0"), package("b", "1-r0", "b"));
    store.upload(INDEX, "so that it is not covered");
    store.pass(Duration::from_mins(1));
    let failure = step::aggregate(&store, V3Index::Auto, written.into()).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Superseded);
}

#[tokio::test]
async fn a_replaced_package_is_not_listed_with_the_fragment_of_the_old_one() {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "old").await;
    store.upload(&key("a-1-r0"), package("a", "1-r0", "new"));
    publish(&store, "b", "1-r0", "b").await;
    assert_eq!(listed(&store), ["b-1-r0"]);
}

/// Runs an upload until its index is staged, and returns the request for `publish`.
async fn staged(store: &MemoryStore, stem: &str) -> PublishRequest {
    let extracted = step::extract(store, Policy::default(), target(&key(stem))).await.unwrap();
    let mut request = AggregateRequest::from(
        step::write_index(store, PlusCopies::Kept, Replacing::Allowed, extracted).await.unwrap(),
    );
    for _ in 0..10 {
        let aggregated = step::aggregate(store, V3Index::Auto, request).await.unwrap();
        if aggregated.staged.is_some() {
            return travelled(&aggregated);
        }
        assert!(aggregated.waiting.is_some());
        request = travelled(&aggregated);
        store.pass(Duration::from_secs(30));
    }
    panic!("an execution waits for ever");
}

async fn assert_conflict(store: &MemoryStore, late: PublishRequest) {
    let index = store.content(INDEX);
    let failure = step::publish(store, &Keys::good(), &mut OsRng, late).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Conflict);
    assert_eq!(store.content(INDEX), index);
}

#[tokio::test]
async fn what_came_and_went_is_not_published_by_who_saw_it() {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "a").await;
    store.upload(&key("gone-1-r0"), package("gone", "1-r0", ""));
    let own = staged(&store, "gone-1-r0").await;
    store.upload(&key("b-1-r0"), package("b", "1-r0", "b"));
    let other = staged(&store, "b-1-r0").await;
    store.remove(&key("gone-1-r0"));
    store.remove(&key("b-1-r0"));
    execute(&store, &key("gone-1-r0")).await.unwrap();
    execute(&store, &key("b-1-r0")).await.unwrap();
    assert_conflict(&store, own).await;
    assert_conflict(&store, other).await;
}

#[tokio::test]
async fn whoever_overtakes_a_publisher_that_dies_fixes_what_it_published() {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "a").await;
    let published = store.content(INDEX);
    store.upload(&key("b-1-r0"), package("b", "1-r0", "b"));
    let late = staged(&store, "b-1-r0").await;
    store.remove(&key("b-1-r0"));
    store.pass(Duration::from_mins(1));
    let gone = now(step::extract(&store, Policy::default(), target(&key("b-1-r0"))));
    let written = now(step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, gone));
    let overtaking = Arc::new(Mutex::new(None));
    let slot = overtaking.clone();
    store.before_requests(move |store, request| {
        if matches!(request, Request::Put(INDEX)) {
            *slot.lock().unwrap() =
                Some(now(step::aggregate(store, V3Index::Auto, written.clone().into())));
        }
        Ok(())
    });
    let keys = Keys::good();
    let death = step::publish(&store, &keys, &mut OsRng, late).await.unwrap_err();
    assert_eq!(death.kind(), FailureKind::Conflict);
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0"], "nobody could stop it");

    store.before_requests(|_, _| Ok(()));
    let overtaking: Aggregated = overtaking.lock().unwrap().take().unwrap();
    assert!(overtaking.waiting.as_ref().is_some_and(|waiting| waiting.overtook));
    store.pass(Duration::from_secs(150));
    aggregate_and_publish(&store, &keys, travelled(&overtaking)).await.unwrap();
    assert_eq!(store.content(INDEX), published);
}

#[tokio::test]
async fn an_index_that_became_what_it_was_stops_who_saw_something_between() {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "a").await;
    let before = store.content(INDEX);
    store.upload(&key("b-1-r0"), package("b", "1-r0", "b"));
    let late = staged(&store, "b-1-r0").await;
    execute(&store, &key("b-1-r0")).await.unwrap();
    store.remove(&key("b-1-r0"));
    execute(&store, &key("b-1-r0")).await.unwrap();
    assert_eq!(store.content(INDEX), before, "the same packages give the same bytes");
    assert_conflict(&store, late).await;
}

#[tokio::test]
async fn a_package_that_is_signed_anew_is_not_dropped_by_who_saw_its_old_fragment() {
    let store = MemoryStore::default();
    store.upload(&key("a-1-r0"), signed_package("a", "1-r0", "one"));
    execute(&store, &key("a-1-r0")).await.unwrap();
    let index = store.content(INDEX);
    store.upload(&key("a-1-r0"), signed_package("a", "1-r0", "two"));
    store.upload(&key("b-1-r0"), package("b", "1-r0", "b"));
    let late = staged(&store, "b-1-r0").await;
    store.remove(&key("b-1-r0"));
    execute(&store, &key("a-1-r0")).await.unwrap();
    assert_eq!(store.content(INDEX), index, "an entry says nothing of the signature");
    assert_conflict(&store, late).await;
}

#[tokio::test]
async fn a_crash_while_the_index_is_published_is_fixed_by_the_next_attempt() {
    let store = MemoryStore::default();
    store.upload(&key("a-1-r0"), package("a", "1-r0", "a"));
    let aggregated = staged(&store, "a-1-r0").await;
    store.before_requests(|_, request| match request {
        Request::Put(INDEX) => {
            Err(StoreError::Unavailable { key: INDEX.to_owned(), source: "crash".into() })
        }
        _ => Ok(()),
    });
    let keys = Keys::good();
    let crash = step::publish(&store, &keys, &mut OsRng, travelled(&aggregated)).await.unwrap_err();
    assert_eq!(crash.kind(), FailureKind::Unavailable);
    store.before_requests(|_, _| Ok(()));
    step::publish(&store, &keys, &mut OsRng, travelled(&aggregated)).await.unwrap();
    assert_eq!(listed(&store), ["a-1-r0"]);
}

#[tokio::test]
async fn an_index_that_a_rival_published_just_before_ours_is_not_overwritten() {
    let store = MemoryStore::default();
    store.upload(&key("a-1-r0"), package("a", "1-r0", "a"));
    let late = staged(&store, "a-1-r0").await;
    once(
        &store,
        |request| matches!(request, Request::Put(INDEX)),
        |store| {
            store.upload(&key("b-1-r0"), package("b", "1-r0", "b"));
            rival(store, &key("b-1-r0"));
        },
    );
    let failure = step::publish(&store, &Keys::good(), &mut OsRng, late).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Conflict);
    assert_eq!(listed(&store), ["a-1-r0", "b-1-r0"]);
}

#[tokio::test]
async fn a_deletion_that_finds_nothing_to_publish_looks_again_if_somebody_publishes_meanwhile() {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "a").await;
    store.upload(&key("gone-1-r0"), package("gone", "1-r0", ""));
    let late = staged(&store, "gone-1-r0").await;
    store.remove(&key("gone-1-r0"));
    let is_fence =
        |request: Request<'_>| matches!(request, Request::Put(key) if key.contains("/published/"));
    once(&store, is_fence, move |store| {
        let publication = step::publish(store, &Keys::good(), &mut OsRng, late.clone())
            .now_or_never()
            .expect("memory does not wait");
        publication.unwrap();
    });
    execute(&store, &key("gone-1-r0")).await.unwrap();
    assert_eq!(listed(&store), ["a-1-r0"]);
}

#[tokio::test]
async fn a_snapshot_that_is_replaced_while_it_is_read_is_looked_at_again() {
    let store = MemoryStore::default();
    store.upload(&key("a-1-r0"), package("a", "1-r0", ""));
    let extracted = step::extract(&store, Policy::default(), target(&key("a-1-r0"))).await.unwrap();
    let written =
        step::write_index(&store, PlusCopies::Kept, Replacing::Allowed, extracted).await.unwrap();
    // What a reader gets whose connection broke.
    store.before_requests(|_, request| match request {
        Request::Get(key) if key.ends_with("snapshot.json.gz") => {
            Err(StoreError::Conflict { key: key.to_owned() })
        }
        _ => Ok(()),
    });
    let failure = step::aggregate(&store, V3Index::Auto, written.into()).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Unavailable);
}

#[rstest]
#[case::carried_out(true)]
#[case::not_carried_out(false)]
#[tokio::test]
async fn who_may_have_written_the_snapshot_keeps_the_lease(#[case] is_carried_out: bool) {
    let store = MemoryStore::default();
    publish(&store, "a", "1-r0", "a").await;
    let leases = |store: &MemoryStore| {
        store.keys().into_iter().filter(|key| key.contains("/claims/")).collect::<Vec<_>>()
    };
    let before = leases(&store);
    store.pass(Duration::from_mins(1));
    store.before_requests(move |store, request| match request {
        Request::Put(key) if key.ends_with("snapshot.json.gz") => {
            if is_carried_out {
                store.upload(key, b"ours".to_vec());
            }
            Err(StoreError::Unavailable {
                key: key.to_owned(),
                source: "the answer is lost".into(),
            })
        }
        _ => Ok(()),
    });
    store.upload(&key("b-1-r0"), package("b", "1-r0", "b"));
    assert!(execute(&store, &key("b-1-r0")).await.unwrap_err().is(FailureKind::Unavailable));
    assert_eq!(leases(&store).len() - before.len(), usize::from(is_carried_out));
}

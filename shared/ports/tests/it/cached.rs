//! Tests the cached copies of drops: fresh copies, stale copies, and one read at a time.

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use domain::drops::Drop;
use domain::ids::DropId;
use domain::limits::{CACHE_MS, REFRESH_JITTER_MS, REFRESH_WAIT_MS, STALE_MS};
use memory::{Fault, MemoryStore, Op, TestRuntime, fixtures};
use ports::StoreError;
use ports::cached::CachedDrops;
use ports::drops::ReadDrop;
use ports::runtime::Clock;

fn id() -> DropId {
    "d".parse().unwrap()
}

fn scene(seed: u64) -> (MemoryStore, TestRuntime, CachedDrops<MemoryStore, TestRuntime>) {
    let (store, runtime) = (MemoryStore::new(), TestRuntime::new(seed));
    fixtures::open_drop(&store, &runtime, "d", &[("TEE", 60)], 1);
    let cached = CachedDrops::new(store.clone(), runtime.clone());
    (store, runtime, cached)
}

#[tokio::test(flavor = "current_thread")]
async fn a_copy_is_fresh_then_stale_then_of_no_use() {
    for fault in [Fault::Busy, Fault::UnknownBefore, Fault::Broken] {
        let (store, runtime, cached) = scene(1);
        assert!(!cached.get(&id()).await.unwrap().unwrap().is_stale);
        let read_at = runtime.now();
        store.set_plan(move |op, _| (op == Op::Drop).then_some(fault));
        let calls = store.calls(Op::Drop);
        for ms in 0..STALE_MS {
            runtime.set(read_at.plus_millis(ms));
            let known = cached.get(&id()).await.unwrap().unwrap();
            assert_eq!(known.is_stale, ms >= CACHE_MS, "after {ms} ms");
        }
        let tried = store.calls(Op::Drop) - calls;
        let most = STALE_MS / (CACHE_MS - REFRESH_JITTER_MS);
        assert!(
            (9..=most.unsigned_abs()).contains(&tried),
            "{tried} reads that the table refused"
        );
        runtime.set(read_at.plus_millis(STALE_MS));
        assert_eq!(cached.get(&id()).await.unwrap_err(), fault.error());
        store.clear_plan();
        assert!(!cached.get(&id()).await.unwrap().unwrap().is_stale);
        runtime.set(read_at);
        assert!(
            !cached.get(&id()).await.unwrap().unwrap().is_stale,
            "the clock jumped back"
        );
        assert_eq!(
            store.calls(Op::Drop) - calls - tried,
            if fault == Fault::Broken { 3 } else { 7 }
        );
    }
}

/// A process sees a change at the latest when its copy is no longer fresh. Processes that read at the same
/// time do not read again at the same time.
#[tokio::test(flavor = "current_thread")]
async fn processes_read_again_within_a_second_and_not_together() {
    let mut moments = std::collections::BTreeSet::new();
    for seed in 0..64 {
        let (store, runtime, cached) = scene(seed);
        cached.get(&id()).await.unwrap();
        let (read_at, calls) = (runtime.now(), store.calls(Op::Drop));
        let mut ms = 0;
        while store.calls(Op::Drop) == calls {
            ms += 1;
            runtime.set(read_at.plus_millis(ms));
            cached.get(&id()).await.unwrap();
        }
        assert!(ms <= CACHE_MS, "{ms}");
        assert!(ms >= CACHE_MS - REFRESH_JITTER_MS, "{ms}");
        moments.insert(ms);
    }
    assert!(moments.len() > 32, "{moments:?}");
}

/// A table that answers late, or never.
#[derive(Clone)]
struct Slow {
    store: MemoryStore,
    begun: Arc<AtomicU64>,
    answers: bool,
}

impl ReadDrop for Slow {
    async fn drop(&self, id: &DropId) -> Result<Option<Drop>, StoreError> {
        self.store.drop(id).await
    }

    async fn copy(&self, id: &DropId, copy: u8) -> Result<Option<Drop>, StoreError> {
        let nth = self.begun.fetch_add(1, Ordering::SeqCst);
        if nth > 0 && !self.answers {
            pending::<()>().await;
        }
        self.store.copy(id, copy).await
    }
}

fn slow(answers: bool) -> (TestRuntime, Slow, CachedDrops<Slow, TestRuntime>) {
    let (store, runtime, _) = scene(1);
    let slow = Slow {
        store,
        begun: Arc::default(),
        answers,
    };
    (runtime.clone(), slow.clone(), CachedDrops::new(slow, runtime))
}

#[tokio::test(flavor = "current_thread")]
async fn a_silent_table_is_not_waited_for() {
    let (runtime, _, cached) = slow(false);
    cached.get(&id()).await.unwrap();
    runtime.advance(CACHE_MS);
    let before = runtime.now();
    assert!(cached.get(&id()).await.unwrap().unwrap().is_stale);
    assert_eq!(runtime.now().millis_since(before), REFRESH_WAIT_MS);
    assert!(cached.get(&id()).await.unwrap().unwrap().is_stale);
    assert_eq!(
        runtime.now().millis_since(before),
        REFRESH_WAIT_MS,
        "the next read is a second away"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn one_request_reads_and_the_others_go_on() {
    let (runtime, slow, cached) = slow(true);
    cached.get(&id()).await.unwrap();
    runtime.advance(CACHE_MS);
    {
        let id = id();
        let mut reader = pin!(cached.get(&id));
        poll_fn(|context| {
            assert!(
                reader.as_mut().poll(context).is_pending(),
                "the table yields once"
            );
            Poll::Ready(())
        })
        .await;
        assert_eq!(slow.begun.load(Ordering::SeqCst), 2);
        for _ in 0..3 {
            assert!(cached.get(&id).await.unwrap().unwrap().is_stale);
        }
        assert_eq!(slow.begun.load(Ordering::SeqCst), 2);
        // The reader is dropped here during its read, so another reader may read.
    }
    runtime.advance(CACHE_MS);
    assert!(!cached.get(&id()).await.unwrap().unwrap().is_stale);
    assert_eq!(slow.begun.load(Ordering::SeqCst), 3);
}

/// An eventually consistent read that returns an older document must not replace the newer one.
#[tokio::test(flavor = "current_thread")]
async fn an_older_document_does_not_replace_a_newer_one() {
    let (store, runtime, cached) = scene(1);
    let older = store.drop(&id()).await.unwrap().unwrap();
    let newer = older.set_paused(true).unwrap();
    store.put_drop(&newer);
    cached.get(&id()).await.unwrap();
    store.put_drop(&older);
    for _ in 0..3 {
        runtime.advance(CACHE_MS);
        let known = cached.get(&id()).await.unwrap().unwrap();
        assert_eq!(known.drop.version, newer.version);
    }
    store.put_drop(&newer);
    runtime.advance(CACHE_MS);
    assert!(!cached.get(&id()).await.unwrap().unwrap().is_stale);
}

#[tokio::test(flavor = "current_thread")]
async fn a_draft_and_an_unknown_id_have_no_copies() {
    let (store, _, cached) = scene(1);
    let draft = Drop {
        state: domain::drops::DropState::Draft,
        ..store.drop(&id()).await.unwrap().unwrap()
    };
    store.put_drop(&draft);
    assert_eq!(*cached.get(&id()).await.unwrap().unwrap().drop, draft);
    assert!(cached.get(&"none".parse().unwrap()).await.unwrap().is_none());
    let calls = store.calls(Op::Drop);
    assert!(cached.get(&"none".parse().unwrap()).await.unwrap().is_none());
    assert_eq!(store.calls(Op::Drop), calls, "that there is none is remembered");
}

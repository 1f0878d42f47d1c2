//! Tests the faults, the audit and the clock, on which other crates' tests rely.

use contracts::fixtures::{NOW, held, key, placing, shopper};
use domain::order::EndReason;
use domain::shard::Shard;
use memory::{Fault, MemoryStore, Op, TestRuntime};
use ports::orders::{AdvanceOrder, PlaceOrder};
use ports::runtime::{Clock, Random};
use ports::stock::{AllocateStock, ClaimStock};
use ports::{Conditional, StoreError};

async fn claim(store: &MemoryStore, name: &str) -> Result<Conditional<Option<Shard>>, StoreError> {
    store.claim(&key(0), &shopper(name), &held(name, "k", 1)).await
}

async fn free(store: &MemoryStore) -> u32 {
    store.shard(&key(0)).unwrap().free
}

#[tokio::test]
async fn a_fault_does_what_it_says() {
    let store = MemoryStore::new();
    store.put_shard(&key(0), Shard::allocated(9));
    for (fault, error, taken) in [
        (Fault::Busy, StoreError::Busy, 0),
        (Fault::UnknownBefore, StoreError::Unknown, 0),
        (Fault::UnknownAfter, StoreError::Unknown, 1),
    ] {
        let before = free(&store).await;
        let name = format!("s{before}{taken}");
        store.fail_next(Op::Claim, fault);
        assert_eq!(claim(&store, &name).await, Err(error), "{fault:?}");
        assert_eq!(free(&store).await, before - taken, "{fault:?}");
        let again = claim(&store, &name).await.unwrap();
        assert_eq!(again.is_done(), taken == 0, "the next call is not disturbed");
    }
    store.fail_next(Op::Claim, Fault::Broken);
    assert!(matches!(claim(&store, "zoe").await, Err(StoreError::Broken(_))));
}

#[tokio::test]
async fn faults_queue_up_for_their_own_calls() {
    let store = MemoryStore::new();
    store.put_shard(&key(0), Shard::allocated(9));
    store.fail_nth(Op::Claim, 3, Fault::Busy);
    store.fail_next(Op::Claim, Fault::UnknownBefore);
    store.fail_next(Op::Claim, Fault::Busy);
    store.fail_next(Op::Allocate, Fault::Busy);
    let mut outcomes = Vec::new();
    for n in 0..5 {
        outcomes.push(
            claim(&store, &format!("s{n}"))
                .await
                .map(|outcome| outcome.is_done()),
        );
    }
    let (unknown, busy) = (Err(StoreError::Unknown), Err(StoreError::Busy));
    assert_eq!(
        outcomes,
        [unknown, busy.clone(), busy.clone(), Ok(true), Ok(true)]
    );
    assert_eq!(store.calls(Op::Claim), 5);
    assert_eq!(store.calls(Op::Allocate), 0);
    assert_eq!(store.allocate(&key(1), 1).await, Err(StoreError::Busy));
}

#[tokio::test]
async fn a_plan_decides_over_every_call() {
    let store = MemoryStore::new();
    store.put_shard(&key(0), Shard::allocated(9));
    store.set_plan(|op, number| (op == Op::Claim && number % 2 == 0).then_some(Fault::Busy));
    let mut done = Vec::new();
    for n in 0..4 {
        done.push(claim(&store, &format!("s{n}")).await.is_ok());
    }
    assert_eq!(done, [true, false, true, false]);
    store.clear_plan();
    for n in 4..6 {
        assert!(claim(&store, &format!("s{n}")).await.is_ok());
    }
}

#[tokio::test]
async fn a_sound_store_passes_its_audit_at_every_step() {
    let store = MemoryStore::new();
    store.audit().unwrap();
    store.put_shard(&key(0), Shard::allocated(9));
    let (sold, undone) = (placing("ada", "k", 2, 3), placing("bob", "k", 3, 3));
    for placing in [&sold, &undone] {
        let claimed = store.claim(&key(0), &placing.order.shopper, &placing.hold).await;
        assert!(claimed.unwrap().is_done());
        store.audit().unwrap();
        assert!(store.place(placing).await.unwrap().is_done());
        store.audit().unwrap();
    }
    let settle = sold.order.settle(NOW).unwrap();
    let undo = undone.order.undo(EndReason::ByShopper, NOW).unwrap();
    for step in [&settle, &undo] {
        assert!(store.advance(step).await.unwrap().is_done());
        store.audit().unwrap();
    }
    let refund = settle.order.refund(NOW).unwrap();
    assert!(store.advance(&refund).await.unwrap().is_done());
    store.audit().unwrap();
    let versions: Vec<(bool, u32)> = store
        .take_changes()
        .iter()
        .map(|change| (change.before.is_none(), change.after.version))
        .collect();
    assert_eq!(
        versions,
        [(true, 1), (true, 1), (false, 2), (false, 2), (false, 3)]
    );
    assert!(store.changes().is_empty());
}

#[tokio::test]
async fn an_audit_names_what_does_not_add_up() {
    let store = MemoryStore::new();
    store.put_shard(&key(0), Shard::allocated(9));
    let placing = placing("ada", "k", 2, 3);
    assert!(
        store
            .claim(&key(0), &shopper("ada"), &placing.hold)
            .await
            .unwrap()
            .is_done()
    );
    assert!(store.place(&placing).await.unwrap().is_done());
    let sound = store.shard(&key(0)).unwrap();
    let spoilt = |change: &dyn Fn(&mut Shard)| {
        let mut shard = sound.clone();
        change(&mut shard);
        store.put_shard(&key(0), shard);
        store.audit().unwrap_err().join("\n")
    };
    assert!(spoilt(&|shard| shard.free += 1).contains("does not add up"));
    let sold_too_much = spoilt(&|shard| {
        shard.free -= 1;
        shard.sold += 1;
    });
    assert!(
        sold_too_much.contains("has sold 1 units, its paid orders 0"),
        "{sold_too_much}"
    );
    let lost = spoilt(&|shard| {
        shard.claims.clear();
        shard.free += 2;
    });
    assert!(lost.contains("has no claim in autumn#TEE-M#0"), "{lost}");
    let orphan = spoilt(&|shard| {
        let ordered = shard.claims[&shopper("ada")].clone();
        shard.free -= ordered.units;
        shard.claims.insert(shopper("eve"), ordered);
    });
    assert!(
        orphan.contains("an ordered claim of eve without an open order"),
        "{orphan}"
    );
    store.put_shard(&key(0), sound);
    store.audit().unwrap();
}

#[tokio::test]
async fn time_passes_only_when_told_and_chance_repeats() {
    let (runtime, twin) = (TestRuntime::new(7), TestRuntime::new(7));
    let first: Vec<u64> = (0..4).map(|_| runtime.random()).collect();
    assert_eq!(first, (0..4).map(|_| twin.random()).collect::<Vec<_>>());
    assert_ne!(first[0], TestRuntime::new(8).random());
    let start = runtime.now();
    assert_eq!(start, runtime.now());
    runtime.clone().sleep(250).await;
    assert_eq!(runtime.now().millis_since(start), 250);
    assert_eq!(runtime.slept_ms(), 250);
    runtime.advance(-1000);
    assert_eq!(runtime.now().millis_since(start), -750);
    runtime.set(start);
    runtime.advance_seconds(2);
    assert_eq!(runtime.now(), start.plus_seconds(2));
}

//! Tests the sweeper on a database and queues in memory, with faults at each of its calls.
#![cfg(test)]

use std::collections::BTreeSet;

use contracts::fixtures::{key, placing_in, shopper};
use domain::ids::OrderId;
use domain::limits::{ACTION_POLL_MS, OPEN_BUCKETS, REDRIVE_MS};
use domain::order::{EndReason, Order};
use domain::time::Timestamp;
use events::EventType;
use memory::{Fault, MemoryQueues, MemoryStore, Op, SendFault, TestRuntime};
use ports::messages::Destination::{Ledger, Payments};
use ports::orders::{AdvanceOrder as _, PlaceOrder as _, ReadOrder as _};
use ports::runtime::Clock as _;
use ports::stock::{AllocateStock as _, ClaimStock as _};
use proptest::prelude::*;
use sweep_orders::{PERIOD_MS, Sweeper, Swept};

struct Bench {
    store: MemoryStore,
    queues: MemoryQueues,
    runtime: TestRuntime,
}

impl Bench {
    /// Prepares one order for each of `count` shoppers, placed at `TestRuntime::START`.
    async fn with_orders(count: usize) -> (Self, Vec<Order>) {
        let bench = Self {
            store: MemoryStore::new(),
            queues: MemoryQueues::new(),
            runtime: TestRuntime::default(),
        };
        let mut orders = Vec::new();
        for n in 0..count {
            // A shard has 20 units, so each 20 orders need another shard.
            let index = u16::try_from(n / 20).unwrap();
            if n % 20 == 0 {
                assert!(bench.store.allocate(&key(index), 20).await.unwrap().is_done());
            }
            let name = format!("s{n}");
            let placing = placing_in(index, &name, "k", 1, 1, TestRuntime::START);
            let claimed = bench
                .store
                .claim(&key(index), &shopper(&name), &placing.hold)
                .await;
            assert!(claimed.unwrap().is_done());
            assert!(bench.store.place(&placing).await.unwrap().is_done());
            orders.push(placing.order);
        }
        (bench, orders)
    }

    fn sweeper(&self) -> Sweeper<MemoryStore, MemoryQueues, TestRuntime> {
        Sweeper::new(self.store.clone(), self.queues.clone(), self.runtime.clone())
    }

    /// Runs the sweeper for one pass.
    async fn sweep(&self) -> Swept {
        self.sweeper().run(self.runtime.now()).await
    }

    fn due(&self) {
        self.runtime.set(TestRuntime::START.plus_millis(REDRIVE_MS));
    }

    async fn order(&self, id: &OrderId) -> Order {
        self.store.order(id).await.unwrap().unwrap()
    }

    /// Returns the order and the version in each sent reminder.
    fn reminders(&self) -> Vec<(OrderId, u32)> {
        assert!(self.queues.sent_to(Ledger).is_empty());
        let sent = self.queues.sent_to(Payments);
        assert!(sent.iter().all(|event| event.kind == EventType::Due));
        sent.into_iter()
            .map(|event| (event.data.order_id, event.data.version))
            .collect()
    }
}

#[tokio::test]
async fn an_order_is_reminded_of_when_its_time_has_come_and_not_before() {
    let (bench, orders) = Bench::with_orders(1).await;
    bench.runtime.set(TestRuntime::START.plus_millis(REDRIVE_MS - 1));
    assert_eq!(bench.sweep().await.found, 0);
    bench.due();
    let swept = bench.sweep().await;
    assert_eq!(swept.passes, 1);
    assert_eq!(swept.found, 1);
    assert_eq!(swept.reminded, 1);
    let now = bench.runtime.now();
    let order = bench.order(&orders[0].id).await;
    assert_eq!(order.version, 1);
    assert_eq!(order.due_at, now.plus_millis(REDRIVE_MS));
    assert_eq!(
        bench.reminders(),
        [(order.id.clone(), 1)],
        "with the order as it now is"
    );
    assert_eq!(bench.sweep().await.found, 0, "not again before its next time");
    bench.runtime.advance(REDRIVE_MS);
    assert_eq!(bench.sweep().await.reminded, 1);
}

#[tokio::test]
async fn an_order_that_waits_for_its_shopper_is_looked_at_more_often() {
    let (bench, orders) = Bench::with_orders(1).await;
    let paying = orders[0]
        .with_payment("pi_1".parse().unwrap(), TestRuntime::START)
        .unwrap();
    let acting = paying
        .order
        .require_action("https://bank.example".to_owned(), TestRuntime::START)
        .unwrap();
    for step in [paying, acting] {
        assert!(bench.store.advance(&step).await.unwrap().is_done());
    }
    bench.runtime.advance(ACTION_POLL_MS);
    assert_eq!(bench.sweep().await.reminded, 1);
}

#[tokio::test]
async fn all_buckets_are_swept() {
    let (bench, orders) = Bench::with_orders(4_000).await;
    let buckets: BTreeSet<_> = orders.iter().map(|order| order.open_bucket().unwrap()).collect();
    assert_eq!(buckets, (0..OPEN_BUCKETS).collect());
    bench.due();
    let swept = bench.sweep().await;
    assert_eq!(swept.found, 4_000);
    assert_eq!(swept.reminded, 4_000);
    assert_eq!(swept.failed, 0);
    let reminded: BTreeSet<_> = bench.reminders().into_iter().map(|(id, _)| id).collect();
    assert_eq!(reminded, orders.iter().map(|order| order.id.clone()).collect());
}

#[tokio::test]
async fn a_closed_order_is_left_alone() {
    let (bench, orders) = Bench::with_orders(2).await;
    let undone = orders[0].undo(EndReason::ByShopper, TestRuntime::START).unwrap();
    assert!(bench.store.advance(&undone).await.unwrap().is_done());
    bench.due();
    assert_eq!(bench.sweep().await.found, 1);
    assert_eq!(bench.reminders().len(), 1);
    assert_eq!(bench.order(&orders[0].id).await, undone.order);
}

#[tokio::test]
async fn a_run_makes_passes_until_its_time_is_up() {
    let (bench, _) = Bench::with_orders(1).await;
    let began = bench.runtime.now();
    let swept = bench.sweeper().run(began.plus_millis(50_000)).await;
    assert_eq!(swept.passes, 50_000_u64.div_ceil(PERIOD_MS.unsigned_abs()));
    let ran = bench.runtime.now().millis_since(began);
    assert!((50_000 - PERIOD_MS..50_000).contains(&ran), "{ran}");
    // The order is due after 15 seconds, after about 32, and only then after about 64: the time doubles.
    assert_eq!(swept.reminded, 2);
}

#[tokio::test]
async fn a_run_whose_time_is_up_still_makes_one_pass() {
    let (bench, _) = Bench::with_orders(1).await;
    bench.due();
    let swept = bench.sweeper().run(TestRuntime::START).await;
    assert_eq!(swept.passes, 1);
    assert_eq!(bench.runtime.slept_ms(), 0);
}

#[tokio::test]
async fn several_sweepers_at_once_remind_once() {
    let (bench, _) = Bench::with_orders(40).await;
    bench.due();
    let sweeper = bench.sweeper();
    let now = bench.runtime.now();
    let all = tokio::join!(
        sweeper.run(now),
        sweeper.run(now),
        sweeper.run(now),
        sweeper.run(now)
    );
    let reminded = all.0.reminded + all.1.reminded + all.2.reminded + all.3.reminded;
    assert_eq!(reminded, 40);
    assert_eq!(bench.reminders().len(), 40);
    let failed = all.0.failed + all.1.failed + all.2.failed + all.3.failed;
    assert_eq!(failed, 0, "a conflict is no failure");
}

#[tokio::test]
async fn a_fault_that_passes_is_not_noticed() {
    for op in [Op::DueOrders, Op::Order, Op::PutOff] {
        for fault in [Fault::Busy, Fault::UnknownBefore, Fault::UnknownAfter] {
            let (bench, _) = Bench::with_orders(1).await;
            bench.due();
            bench.store.fail_next(op, fault);
            let swept = bench.sweep().await;
            assert_eq!(swept.reminded, 1, "{op:?} {fault:?}");
            assert_eq!(swept.failed, 0, "{op:?} {fault:?}");
            assert_eq!(bench.reminders()[0].1, 1, "{op:?} {fault:?}");
        }
    }
}

#[tokio::test]
async fn an_order_that_cannot_be_read_or_written_holds_no_other_up() {
    for op in [Op::Order, Op::PutOff] {
        let (bench, _) = Bench::with_orders(30).await;
        bench.due();
        bench.store.fail_nth(op, 7, Fault::Broken);
        let swept = bench.sweep().await;
        assert_eq!(swept.found, 30, "{op:?}");
        assert_eq!(swept.reminded, 29, "{op:?}");
        assert_eq!(swept.failed, 1, "{op:?}");
        assert_eq!(bench.sweep().await.reminded, 1, "the next pass finds it, {op:?}");
    }
}

#[tokio::test]
async fn a_bucket_that_cannot_be_read_holds_no_other_up() {
    // There are so many orders that no bucket is empty.
    let (bench, orders) = Bench::with_orders(4_000).await;
    bench.due();
    bench.store.fail_nth(Op::DueOrders, 5, Fault::Broken);
    let swept = bench.sweep().await;
    assert_eq!(swept.failed, 1);
    assert!((3_950..4_000).contains(&swept.reminded), "{swept:?}");
    let rest = bench.sweep().await;
    assert_eq!(swept.reminded + rest.reminded, orders.len() as u64);
}

#[tokio::test]
async fn a_database_that_is_away_fails_nothing_for_good() {
    let (bench, _) = Bench::with_orders(3).await;
    bench.due();
    bench.store.set_plan(|_, _| Some(Fault::Busy));
    let swept = bench.sweep().await;
    assert_eq!(swept.found, 0);
    assert_eq!(swept.reminded, 0);
    assert!(swept.failed > 0, "it is told");
    let overrun = bench
        .runtime
        .now()
        .millis_since(TestRuntime::START.plus_millis(REDRIVE_MS));
    assert!(
        overrun < sweep_orders::schedule::RESERVE_MS,
        "and given up in time: {overrun} ms"
    );
    bench.store.clear_plan();
    assert_eq!(bench.sweep().await.reminded, 3);
}

#[tokio::test]
async fn a_reminder_that_is_not_accepted_is_sent_again_and_else_comes_due_again() {
    let (bench, _) = Bench::with_orders(1).await;
    bench.due();
    bench.queues.fail_next_event(Some(SendFault::Lost));
    bench.queues.fail_next_event(Some(SendFault::Unconfirmed));
    let swept = bench.sweep().await;
    assert_eq!(swept.reminded, 1);
    assert_eq!(swept.unsent, 0);
    assert_eq!(bench.reminders().len(), 2, "the unconfirmed one had arrived");

    bench.runtime.advance(REDRIVE_MS);
    for _ in 0..5 {
        bench.queues.fail_next_event(Some(SendFault::Lost));
    }
    let swept = bench.sweep().await;
    assert_eq!(swept.reminded, 0);
    assert_eq!(swept.unsent, 1);
    bench.runtime.advance(2 * REDRIVE_MS);
    assert_eq!(bench.sweep().await.reminded, 1);
}

proptest! {
    /// Under all faults: no pass fails, no stock changes, and after the faults every open order gets a
    /// reminder.
    #[test]
    fn every_open_order_is_reminded_of_in_the_end(
        seed in any::<u64>(),
        faults in proptest::collection::vec(proptest::option::weighted(0.4, 0usize..4), 0..120),
        sends in proptest::collection::vec(proptest::option::weighted(0.4, any::<bool>()), 0..60),
        closed in proptest::collection::btree_set(0usize..24, 0..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (bench, orders) = Bench::with_orders(24).await;
            let bench = Bench { runtime: TestRuntime::new(seed), ..bench };
            for n in &closed {
                let undone = orders[*n].undo(EndReason::ByShopper, TestRuntime::START).unwrap();
                bench.store.advance(&undone).await.unwrap();
            }
            bench.due();
            let mut faults = faults.into_iter();
            bench.store.set_plan(move |_, _| {
                let kinds = [Fault::Busy, Fault::UnknownBefore, Fault::UnknownAfter, Fault::Broken];
                faults.next().flatten().map(|n| kinds[n])
            });
            for lost in sends {
                bench.queues.fail_next_event(lost.map(|l| if l { SendFault::Lost } else { SendFault::Unconfirmed }));
            }
            let until = |seconds| bench.runtime.now().plus_seconds(seconds);
            bench.sweeper().run(until(60)).await;
            bench.store.clear_plan();
            // An order whose reminder was lost becomes due again.
            bench.sweeper().run(until(180)).await;
            let reminded: BTreeSet<_> = bench.reminders().into_iter().map(|(id, _)| id).collect();
            for (n, order) in orders.iter().enumerate() {
                prop_assert_eq!(reminded.contains(&order.id), !closed.contains(&n));
                let now = bench.order(&order.id).await;
                prop_assert_eq!(now.status.is_open(), !closed.contains(&n));
                prop_assert!(now.due_at > Timestamp::from_millis(0) && now.claim == order.claim);
            }
            Ok(())
        })?;
    }
}

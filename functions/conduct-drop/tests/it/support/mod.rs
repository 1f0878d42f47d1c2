//! Prepares a drop on a store in memory, makes the changes of shoppers and operators, and starts conductors.
#![allow(dead_code, unreachable_pub)]

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use conduct_drop::{Conductor, Settings};
use domain::claim::{Claim, ClaimState};
use domain::drops::Drop;
use domain::ids::{DropId, Nonce, OrderId, ReservationId, ShardKey, ShopperId};
use domain::money::Money;
use domain::order::{EndReason, Fingerprint, Order, OrderStatus, Placement};
use domain::status::DropStatus;
use memory::{MemoryStore, TestRuntime, fixtures};
use ports::drops::{FreeCounts, ReadCounts as _, ReadDrop as _, ReadStatus as _, StoreDrop as _};
use ports::orders::{AdvanceOrder as _, PlaceOrder as _, Placing};
use ports::runtime::Clock as _;
use ports::stock::ClaimStock as _;

pub type OnMemory = Conductor<MemoryStore, MemoryStore, MemoryStore, MemoryStore, TestRuntime>;

pub struct Scene {
    pub store: MemoryStore,
    pub runtime: TestRuntime,
}

pub fn id() -> DropId {
    "d".parse().unwrap()
}

pub fn shard(sku: &str, index: u16) -> ShardKey {
    ShardKey {
        drop: id(),
        sku: sku.parse().unwrap(),
        index,
    }
}

pub fn shopper(name: &str) -> ShopperId {
    name.parse().unwrap()
}

impl Scene {
    /// Opens a drop that began a minute ago and lasts an hour more: 30 units of A in two shards, 5 of B in one; limit 2
    /// per shopper.
    pub fn new() -> Self {
        Self::with(&[("A", 30), ("B", 5)])
    }

    pub fn with(skus: &[(&str, u32)]) -> Self {
        let (store, runtime) = (MemoryStore::new(), TestRuntime::new(5));
        fixtures::open_drop(&store, &runtime, "d", skus, 2);
        Self { store, runtime }
    }

    /// Starts a new process of the function, without any state of earlier runs.
    pub fn process(&self) -> OnMemory {
        let store = || self.store.clone();
        Conductor::new(
            store(),
            store(),
            store(),
            store(),
            self.runtime.clone(),
            Settings::default(),
        )
    }

    /// Makes a complete round in a new run: reads the calendar, and makes a step for each drop that is on.
    pub async fn conduct(&self, holder: &str) {
        let process = self.process();
        let mut run = process.begin(holder);
        run.look().await;
        run.round().await;
    }

    /// Takes a hold; returns whether units were available.
    pub async fn hold(&self, sku: &str, index: u16, who: &str, units: u32) -> bool {
        self.hold_for(sku, index, who, units, fixtures::HOLD_SECONDS)
            .await
    }

    pub async fn hold_for(&self, sku: &str, index: u16, who: &str, units: u32, seconds: u32) -> bool {
        let key = format!("{sku}{index}{}", self.runtime.now().as_millis());
        let nonce = Nonce::of_request(
            &id(),
            &sku.parse().unwrap(),
            &shopper(who),
            &key,
            TestRuntime::START,
        );
        let claim = Claim::held(units, self.runtime.now().plus_seconds(seconds), nonce);
        let key = shard(sku, index);
        self.store
            .claim(&key, &shopper(who), &claim)
            .await
            .unwrap()
            .is_done()
    }

    pub fn claim(&self, sku: &str, index: u16, who: &str) -> Option<Claim> {
        let shard = self.store.shard(&shard(sku, index))?;
        shard.claims.get(&shopper(who)).cloned()
    }

    /// Checks a hold out; returns the order if it was placed.
    pub async fn order(&self, sku: &str, index: u16, who: &str) -> Option<Order> {
        let now = self.runtime.now();
        let hold = self.claim(sku, index, who)?;
        let claim = hold
            .ordered(now, now.plus_seconds(fixtures::PAYMENT_SECONDS))
            .ok()?;
        if hold.state == ClaimState::Ordered {
            return None;
        }
        let placement = Placement {
            reservation: ReservationId {
                shard: shard(sku, index),
                nonce: hold.nonce.clone(),
            },
            shopper: shopper(who),
            amount: Money {
                amount_minor: 4900 * i64::from(claim.units),
                currency: "EUR".parse().unwrap(),
            },
            claim,
            payment_method: "pm_card".to_owned(),
            fingerprint: Fingerprint::of_request(b"k", b"f"),
            terms: contracts::fixtures::TERMS,
        };
        let order = Order::place(placement, now);
        let placing = Placing {
            order: order.clone(),
            hold,
            per_shopper_limit: 2,
            address: "{}".to_owned(),
        };
        self.store
            .place(&placing)
            .await
            .unwrap()
            .is_done()
            .then_some(order)
    }

    pub fn order_as_it_is(&self, id: &OrderId) -> Order {
        self.store.orders()[id].clone()
    }

    /// Starts the order's payment. A cancellation of the order then needs the gateway's confirmation first.
    pub async fn start_payment(&self, id: &OrderId) {
        let order = self.order_as_it_is(id);
        let step = order
            .with_payment("pi_1".parse().unwrap(), self.runtime.now())
            .unwrap();
        assert!(self.store.advance(&step).await.unwrap().is_done());
    }

    pub async fn settle(&self, id: &OrderId) {
        let step = self.order_as_it_is(id).settle(self.runtime.now()).unwrap();
        assert!(self.store.advance(&step).await.unwrap().is_done());
    }

    pub async fn decline(&self, id: &OrderId) {
        let order = self.order_as_it_is(id);
        let step = order
            .undo(EndReason::PaymentDeclined, self.runtime.now())
            .unwrap();
        assert!(self.store.advance(&step).await.unwrap().is_done());
    }

    /// Ends an order whose end was requested, as its worker does once the gateway reports that no money has moved.
    pub async fn end_if_asked(&self, id: &OrderId) {
        let order = self.order_as_it_is(id);
        if let Some(reason) = order.cancel_requested.filter(|_| order.status.is_open()) {
            let step = order.undo(reason, self.runtime.now()).unwrap();
            assert!(self.store.advance(&step).await.unwrap().is_done());
        }
    }

    pub async fn drop(&self) -> Drop {
        self.store.drop(&id()).await.unwrap().unwrap()
    }

    /// Stores the next version of the drop.
    pub async fn change(&self, change: impl Fn(&Drop) -> Drop) -> Drop {
        let next = change(&self.drop().await);
        assert!(self.store.store(&next).await.unwrap().is_done());
        next
    }

    pub async fn status(&self) -> Option<DropStatus> {
        self.store.status(&id(), 3).await.unwrap()
    }

    pub async fn counts(&self, sku: &str) -> Option<FreeCounts> {
        self.store.counts(&id(), &sku.parse().unwrap(), 3).await.unwrap()
    }

    /// The free units of each SKU in the status.
    pub async fn told_free(&self) -> Vec<u32> {
        self.status()
            .await
            .unwrap()
            .skus
            .iter()
            .map(|counts| counts.free)
            .collect()
    }

    /// The number of held units in all shards.
    pub fn held(&self) -> u32 {
        let shards = self.store.shards();
        let claims = shards.values().flat_map(|shard| shard.claims.values());
        claims
            .filter(|claim| claim.state == ClaimState::Held)
            .map(|claim| claim.units)
            .sum()
    }

    pub fn open_orders(&self) -> usize {
        let orders = self.store.orders();
        orders.values().filter(|order| order.status.is_open()).count()
    }

    pub fn orders_that_are(&self, status: OrderStatus) -> usize {
        let orders = self.store.orders();
        orders.values().filter(|order| order.status == status).count()
    }
}

/// Polls `work` this many times and then drops it, as the death of its process would; `None` if it was not finished.
/// Each call of a memory port needs one more poll.
pub async fn killed_after<F: Future>(polls: usize, work: F) -> Option<F::Output> {
    let mut work = pin!(work);
    let mut left = polls;
    poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}

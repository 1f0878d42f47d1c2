//! Tests a slow read of the stock, which changes during the read.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use domain::claim::Claim;
use domain::ids::{DropId, ShardKey, ShopperId};
use domain::search::{Refused, Request};
use domain::shard::Shard;
use domain::status::Availability;
use memory::{MemoryStore, TestRuntime, fixtures};
use ports::cached::CachedDrops;
use ports::drops::{FreeCounts, WriteStatus};
use ports::runtime::Clock;
use ports::stock::{ClaimStock, Peek, PeekStock};
use ports::{Conditional, StoreError};
use reserve::create::Create;
use reserve::shard_cache::ShardCache;
use tokens::Scope;

/// A stock whose first read returns an outdated state without free units.
struct SlowLook {
    store: MemoryStore,
    looks: AtomicU32,
}

impl PeekStock for &SlowLook {
    async fn peek(&self, drop: &DropId, shopper: &ShopperId, keys: &[ShardKey]) -> Result<Peek, StoreError> {
        let mut peek = self.store.peek(drop, shopper, keys).await?;
        if self.looks.fetch_add(1, Ordering::Relaxed) == 0 {
            peek.shards.iter_mut().for_each(|(_, shard)| shard.free = 0);
        }
        Ok(peek)
    }
}

impl ClaimStock for &SlowLook {
    async fn claim(
        &self,
        key: &ShardKey,
        shopper: &ShopperId,
        claim: &Claim,
    ) -> Result<Conditional<Option<Shard>>, StoreError> {
        self.store.claim(key, shopper, claim).await
    }

    async fn take_over(
        &self,
        key: &ShardKey,
        shopper: &ShopperId,
        claim: &Claim,
        victim: &ShopperId,
        seen: &Claim,
    ) -> Result<Conditional<Option<Shard>>, StoreError> {
        self.store.take_over(key, shopper, claim, victim, seen).await
    }

    async fn remember(&self, key: &ShardKey, shopper: &ShopperId) -> Result<(), StoreError> {
        self.store.remember(key, shopper).await
    }
}

/// Requests the one unit of a drop, which was counted `counted_ms` after the request arrived.
async fn ask(counted_ms: i64) -> (bool, u32) {
    let (store, runtime) = (MemoryStore::new(), TestRuntime::new(7));
    fixtures::open_drop(&store, &runtime, "d", &[("TEE", 1)], 1);
    let (drop, sku): (DropId, _) = ("d".parse().unwrap(), fixtures::sku("TEE"));
    let counts = FreeCounts {
        as_of: runtime.now().plus_millis(counted_ms),
        fencing: 1,
        free: vec![1],
    };
    store.write_counts(&drop, &sku, &counts, 4).await.unwrap();
    let stock = SlowLook {
        store: store.clone(),
        looks: AtomicU32::new(0),
    };
    let create = Create {
        drops: Arc::new(CachedDrops::new(store.clone(), runtime.clone())),
        stock: &stock,
        status: store,
        shard_cache: ShardCache::default(),
        looks: Mutex::default(),
        replica: 0,
        runtime,
    };
    let request = Request {
        drop,
        sku,
        units: 1,
        shopper: "ada".parse().unwrap(),
        idempotency_key: "k".to_owned(),
        is_repeat: false,
    };
    let outcome = create.create(&request, Scope::Any).await;
    if let Err(refused) = &outcome {
        assert_eq!(*refused, Refused::SoldOut(Availability::AllHeld).into());
    }
    (outcome.is_ok(), stock.looks.load(Ordering::Relaxed))
}

#[tokio::test(flavor = "current_thread")]
async fn counts_newer_than_the_request_are_worth_another_look() {
    assert_eq!(ask(1).await, (true, 2));
}

#[tokio::test(flavor = "current_thread")]
async fn older_counts_are_not() {
    assert_eq!(ask(-1).await, (false, 1));
}

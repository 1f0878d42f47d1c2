//! Gives tests access to the store beside the ports: to prepare the state of a test, and to check it afterwards.

use std::collections::BTreeMap;

use capacity::readiness::Readiness;
use domain::claim::ClaimState;
use domain::drops::{Drop, DropState};
use domain::ids::{DropId, OrderId, ShardKey, ShopperId, SkuId};
use domain::order::{Order, OrderStatus};
use domain::shard::Shard;
use domain::status::DropStatus;
use ports::drops::FreeCounts;

use crate::store::{MemoryStore, OrderChange, State, StoredDrop};

impl MemoryStore {
    /// Stores the readiness of a drop, whatever was stored before.
    pub fn put_readiness(&self, readiness: &Readiness) {
        let drop = readiness.drop.clone();
        self.state().readiness.insert(drop, readiness.clone());
    }

    /// Stores a drop whatever its version, and a new shard for every allocation without a shard.
    pub fn put_drop(&self, drop: &Drop) {
        let mut state = self.state();
        for (key, units) in drop.allocations() {
            state.shards.entry(key).or_insert_with(|| Shard::allocated(units));
        }
        let (drop, on_calendar) = (drop.clone(), drop.state == DropState::Scheduled);
        let stored = StoredDrop { drop, on_calendar };
        state.drops.insert(stored.drop.id.clone(), stored);
    }

    /// Stores a shard, whatever was stored before.
    pub fn put_shard(&self, key: &ShardKey, shard: Shard) {
        self.state().shards.insert(key.clone(), shard);
    }

    #[must_use]
    pub fn shards(&self) -> BTreeMap<ShardKey, Shard> {
        self.state().shards.clone()
    }

    #[must_use]
    pub fn shard(&self, key: &ShardKey) -> Option<Shard> {
        self.state().shards.get(key).cloned()
    }

    #[must_use]
    pub fn orders(&self) -> BTreeMap<OrderId, Order> {
        self.state().orders.clone()
    }

    /// Units in open and paid orders, by drop and shopper.
    #[must_use]
    pub fn purchases(&self) -> BTreeMap<(DropId, ShopperId), u32> {
        self.state().purchases.clone()
    }

    #[must_use]
    pub fn drops(&self) -> BTreeMap<DropId, Drop> {
        let state = self.state();
        let drops = state.drops.values().map(|stored| &stored.drop);
        drops.map(|drop| (drop.id.clone(), drop.clone())).collect()
    }

    /// Every shipping address, by order.
    #[must_use]
    pub fn addresses(&self) -> BTreeMap<OrderId, String> {
        self.state().addresses.clone()
    }

    /// Every change of an order that was not taken yet, in sequence, as the table's stream contains the changes.
    #[must_use]
    pub fn changes(&self) -> Vec<OrderChange> {
        self.state().changes.clone()
    }

    /// Removes and returns the changes that were not yet taken, as a relay does that handles all changes.
    pub fn take_changes(&self) -> Vec<OrderChange> {
        std::mem::take(&mut self.state().changes)
    }

    /// A copy of all current tables without planned faults, for tests of stale reads.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        Self::with(self.state().clone())
    }

    /// Calls a function with one shard, if it exists, without copying it.
    pub fn look_at_shard(&self, key: &ShardKey, look: impl FnOnce(&Shard)) {
        if let Some(shard) = self.state().shards.get(key) {
            look(shard);
        }
    }

    /// Calls a function with every shard, without copying them.
    pub fn look_at_shards(&self, mut look: impl FnMut(&ShardKey, &Shard)) {
        for (key, shard) in &self.state().shards {
            look(key, shard);
        }
    }

    /// The number of a shopper's claims in a drop.
    #[must_use]
    pub fn claims_of(&self, drop: &DropId, shopper: &ShopperId) -> usize {
        let state = self.state();
        let shards = state.shards_of(drop).map(|(_, shard)| shard);
        shards.filter(|shard| shard.claims.contains_key(shopper)).count()
    }

    /// The units allocated to a SKU's shards, and the number of sold units.
    #[must_use]
    pub fn allocated_and_sold(&self, drop: &DropId, sku: &SkuId) -> (u32, u32) {
        let state = self.state();
        let shards = state.shards_of(drop).filter(|(key, _)| key.sku == *sku);
        shards.fold((0, 0), |(allocated, sold), (_, shard)| {
            (allocated + shard.allocated, sold + shard.sold)
        })
    }

    /// The units in a shopper's purchase counter.
    #[must_use]
    pub fn purchased(&self, drop: &DropId, shopper: &ShopperId) -> u32 {
        let key = (drop.clone(), shopper.clone());
        self.state().purchases.get(&key).copied().unwrap_or(0)
    }

    /// Sets a shopper's purchase counter to `units`.
    pub fn put_purchased(&self, drop: &DropId, shopper: &ShopperId, units: u32) {
        let key = (drop.clone(), shopper.clone());
        self.state().purchases.insert(key, units);
    }

    /// Stores a status, whatever the lease under which the former status was written.
    pub fn put_status(&self, status: &DropStatus) {
        self.state().statuses.insert(status.drop.clone(), status.clone());
    }

    /// Stores counts, whatever the lease under which the former counts were written.
    pub fn put_counts(&self, drop: &DropId, sku: &SkuId, counts: &FreeCounts) {
        let key = (drop.clone(), sku.clone());
        self.state().counts.insert(key, counts.clone());
    }

    /// The state of the stored drop; `None` if the store does not have the drop.
    #[must_use]
    pub fn drop_state(&self, drop: &DropId) -> Option<DropState> {
        self.state().drops.get(drop).map(|stored| stored.drop.state)
    }

    /// The units that a drop's document plans, by SKU.
    #[must_use]
    pub fn planned_units(&self, drop: &DropId) -> BTreeMap<SkuId, u32> {
        let state = self.state();
        let stored = state.drops.get(drop).into_iter();
        let skus = stored.flat_map(|stored| &stored.drop.skus);
        skus.map(|sku| (sku.sku.clone(), sku.plan.units())).collect()
    }

    /// Whether the drop's shards have no claim, and no order in the store is open.
    #[must_use]
    pub fn is_settled(&self, drop: &DropId) -> bool {
        let state = self.state();
        let claimed = state.shards_of(drop).any(|(_, shard)| !shard.claims.is_empty());
        let open = state.orders.values().any(|order| order.status.is_open());
        !claimed && !open
    }

    /// Whether the tables are consistent: the units of each shard, open orders and their claims, sold units and paid
    /// orders, purchase counters and orders, an address for each order.
    ///
    /// # Errors
    /// Every inconsistency, in one line each.
    pub fn audit(&self) -> Result<(), Vec<String>> {
        let state = self.state();
        let mut wrong = Vec::new();
        audit_shards(&state, &mut wrong);
        audit_orders(&state, &mut wrong);
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

impl State {
    fn shards_of(&self, drop: &DropId) -> impl Iterator<Item = (&ShardKey, &Shard)> {
        self.shards.iter().filter(move |(key, _)| key.drop == *drop)
    }
}

fn is_sale(order: &Order) -> bool {
    matches!(order.status, OrderStatus::Paid | OrderStatus::Refunded)
}

fn audit_shards(state: &State, wrong: &mut Vec<String>) {
    for (key, shard) in &state.shards {
        if !shard.adds_up() {
            wrong.push(format!("{key} does not add up: {shard:?}"));
        }
        let orders = || state.orders.values().filter(|o| o.reservation.shard == *key);
        let sold: u32 = orders().filter(|o| is_sale(o)).map(|o| o.units).sum();
        if sold != shard.sold {
            let counted = shard.sold;
            wrong.push(format!("{key} has sold {counted} units, its paid orders {sold}"));
        }
        for (shopper, claim) in &shard.claims {
            let is_open = |o: &Order| o.status.is_open() && o.shopper == *shopper && o.claim == *claim;
            if claim.state == ClaimState::Ordered && !orders().any(is_open) {
                wrong.push(format!(
                    "{key} has an ordered claim of {shopper} without an open order"
                ));
            }
        }
    }
}

fn audit_orders(state: &State, wrong: &mut Vec<String>) {
    let mut purchases: BTreeMap<(DropId, ShopperId), u32> = BTreeMap::new();
    for (id, order) in &state.orders {
        let shard = &order.reservation.shard;
        if order.status.is_open() || is_sale(order) {
            let whose = (shard.drop.clone(), order.shopper.clone());
            *purchases.entry(whose).or_default() += order.units;
        }
        let claims = state.shards.get(shard).map(|shard| &shard.claims);
        let claim = claims.and_then(|claims| claims.get(&order.shopper));
        if order.status.is_open() && claim != Some(&order.claim) {
            wrong.push(format!("open order {id} has no claim in {shard}"));
        }
        if !state.addresses.contains_key(id) {
            wrong.push(format!("order {id} has no address"));
        }
    }
    for (whose, counted) in &state.purchases {
        let ordered = purchases.remove(whose).unwrap_or(0);
        if ordered != *counted {
            let (drop, shopper) = whose;
            wrong.push(format!(
                "{shopper} of {drop} counts {counted} units, the orders {ordered}"
            ));
        }
    }
    for ((drop, shopper), ordered) in purchases {
        wrong.push(format!("{shopper} of {drop} has no counter for {ordered} units"));
    }
}

//! Keeps the database in memory. One lock makes every call one atomic step, like a conditional write or a transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::MutexGuard;

use capacity::readiness::Readiness;
use domain::drops::Drop;
use domain::ids::{DropId, OrderId, ShardKey, ShopperId, SkuId};
use domain::lapse::Lapses;
use domain::order::Order;
use domain::shard::Shard;
use domain::status::DropStatus;
use ports::StoreError;
use ports::drops::{FreeCounts, Lease};
use ports::issuers::{IssuerList, IssuersDocument};
use ports::payment::CardFingerprint;

use crate::faults::{Fault, Faults, Op};
use crate::shared::Shared;
use crate::yielding::yield_now;

/// An order's change, as in the table's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderChange {
    /// The order before the change; `None` for a new order.
    pub before: Option<Order>,
    pub after: Order,
}

/// A stored drop, and whether it is on the calendar. A drop stays on the calendar in all later states.
#[derive(Debug, Clone)]
pub(crate) struct StoredDrop {
    pub(crate) drop: Drop,
    pub(crate) on_calendar: bool,
}

/// The contents of all tables of the database.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) shards: BTreeMap<ShardKey, Shard>,
    pub(crate) purchases: BTreeMap<(DropId, ShopperId), u32>,
    pub(crate) lapses: BTreeMap<(DropId, ShopperId), Lapses>,
    /// The index of each shopper's last shard outside the own two, by SKU.
    pub(crate) remembered: BTreeMap<((DropId, ShopperId), SkuId), u16>,
    /// The number of declined cards of each shopper in a drop, in orders that ended unpaid.
    pub(crate) declined: BTreeMap<(DropId, ShopperId), u32>,
    /// The orders in which a card was declined, by drop and card.
    pub(crate) declined_cards: BTreeMap<(DropId, CardFingerprint), BTreeSet<OrderId>>,
    pub(crate) orders: BTreeMap<OrderId, Order>,
    /// The end of the last call slot that was taken at the gateway, in microseconds since 1970, by line.
    pub(crate) lines: BTreeMap<u8, i64>,
    pub(crate) addresses: BTreeMap<OrderId, String>,
    /// The news that were sent by mail, by order.
    pub(crate) sent: BTreeMap<OrderId, BTreeSet<String>>,
    pub(crate) changes: Vec<OrderChange>,
    pub(crate) drops: BTreeMap<DropId, StoredDrop>,
    pub(crate) statuses: BTreeMap<DropId, DropStatus>,
    /// The number of copies in which the status and the counts of a drop were last written.
    pub(crate) copies: BTreeMap<DropId, u8>,
    pub(crate) counts: BTreeMap<(DropId, SkuId), FreeCounts>,
    pub(crate) leases: BTreeMap<DropId, Lease>,
    pub(crate) readiness: BTreeMap<DropId, Readiness>,
    pub(crate) issuers: BTreeMap<IssuerList, IssuersDocument>,
}

/// Every database port, in memory. Clones share the state.
///
/// Each call first lets other tasks run, then happens in one step under the lock, or fails as planned
/// ([`MemoryStore::fail_next`], [`MemoryStore::fail_nth`], [`MemoryStore::set_plan`]).
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    state: Shared<State>,
    faults: Shared<Faults<Op, Fault>>,
}

impl MemoryStore {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A database with these tables.
    pub(crate) fn with(state: State) -> Self {
        Self {
            state: Shared::new(state),
            faults: Shared::default(),
        }
    }

    /// Makes the next call of `op` fail. If a fault is queued for this call already, the call after it fails, too.
    pub fn fail_next(&self, op: Op, fault: Fault) {
        self.fail_nth(op, 1, fault);
    }

    /// Makes the `nth` call of `op` from now on fail; 1 is the next.
    pub fn fail_nth(&self, op: Op, nth: u64, fault: Fault) {
        self.faults.lock().queue(op, nth, fault);
    }

    /// `plan` decides about every call without a queued fault, by its method and its number among that method's
    /// calls, from 1.
    pub fn set_plan(&self, plan: impl FnMut(Op, u64) -> Option<Fault> + Send + 'static) {
        self.faults.lock().set_plan(plan);
    }

    /// Removes the plan and keeps the queued faults.
    pub fn clear_plan(&self) {
        self.faults.lock().clear_plan();
    }

    /// The number of calls of `op`, including failures.
    #[must_use]
    pub fn calls(&self, op: Op) -> u64 {
        self.faults.lock().calls(op)
    }

    /// One call of a port: other tasks run first; then the fault or the effect happens in one step.
    pub(crate) async fn call<T>(
        &self,
        op: Op,
        act: impl FnOnce(&mut State) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        yield_now().await;
        let fault = self.faults.lock().next(op);
        match fault {
            None => act(&mut self.state()),
            Some(fault) => {
                if fault.takes_effect() {
                    // The effect remains; the answer is lost.
                    act(&mut self.state()).ok();
                }
                Err(fault.error())
            }
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

//! Keeps a ledger in memory that tests can read.

use std::collections::{BTreeMap, VecDeque};

use domain::ids::OrderId;
use events::OrderEvent;
use ports::ledger::{LedgerError, ProjectOrders, Projected};

use crate::shared::Shared;
use crate::yielding::yield_now;

#[derive(Debug, Default)]
struct Rows {
    history: BTreeMap<OrderId, BTreeMap<u32, OrderEvent>>,
    faults: VecDeque<Option<LedgerError>>,
}

/// The ledger, in memory. Clones share its rows.
#[derive(Debug, Clone, Default)]
pub struct MemoryLedger {
    rows: Shared<Rows>,
}

impl MemoryLedger {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The latest version of an order.
    #[must_use]
    pub fn latest(&self, id: &OrderId) -> Option<OrderEvent> {
        let rows = self.rows.lock();
        rows.history.get(id)?.values().next_back().cloned()
    }

    /// Every version of an order, oldest first.
    #[must_use]
    pub fn history(&self, id: &OrderId) -> Vec<OrderEvent> {
        let rows = self.rows.lock();
        rows.history
            .get(id)
            .map_or_else(Vec::new, |versions| versions.values().cloned().collect())
    }

    /// The ids of all orders in the ledger.
    #[must_use]
    pub fn orders(&self) -> Vec<OrderId> {
        self.rows.lock().history.keys().cloned().collect()
    }

    /// Queues the outcome of the next event that has no queued outcome: with an error, the event fails and is not
    /// written; with `None`, it is written.
    pub fn fail_next(&self, error: Option<LedgerError>) {
        self.rows.lock().faults.push_back(error);
    }
}

impl ProjectOrders for MemoryLedger {
    async fn project(&self, events: &[OrderEvent]) -> Vec<Result<Projected, LedgerError>> {
        yield_now().await;
        let mut rows = self.rows.lock();
        events
            .iter()
            .map(|event| {
                if let Some(error) = rows.faults.pop_front().flatten() {
                    return Err(error);
                }
                let versions = rows.history.entry(event.data.order_id.clone()).or_default();
                let latest = versions.keys().next_back().copied();
                let version = event.data.version;
                if versions.contains_key(&version) {
                    return Ok(Projected::Known);
                }
                versions.insert(version, event.clone());
                Ok(if latest.is_some_and(|latest| latest > version) {
                    Projected::Late
                } else {
                    Projected::Latest
                })
            })
            .collect()
    }
}

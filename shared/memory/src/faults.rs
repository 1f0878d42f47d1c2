//! Faults on purpose: which call of which port fails, and how.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use ports::StoreError;

/// A method of a database port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// `PeekStock::peek`
    Peek,
    /// `ClaimStock::claim`
    Claim,
    /// `ClaimStock::take_over`
    TakeOver,
    /// `GiveBackStock::give_back`
    GiveBack,
    /// `ReadClaim::read_claim`
    ReadClaim,
    /// `SurveyStock::survey`
    Survey,
    /// `AllocateStock::allocate`
    Allocate,
    /// `PlaceOrder::place`
    Place,
    /// `ReadOrder::order`
    Order,
    /// `ListOrders::orders_of`
    OrdersOf,
    /// `FindDueOrders::due_orders`
    DueOrders,
    /// `AdvanceOrder::advance`
    Advance,
    /// `ReadDrop::drop`
    Drop,
    /// `ListDrops::published`
    Published,
    /// `StoreDrop::store`
    Store,
    /// `ReadStatus::status`
    Status,
    /// `ReadCounts::counts`
    Counts,
    /// `WriteStatus::write_counts`
    WriteCounts,
    /// `WriteStatus::write_status`
    WriteStatus,
    /// `HoldLease::acquire`
    Acquire,
    /// `ReadReadiness::readiness`
    Readiness,
}

/// How a call fails. There is no fault that answers *busy* after writing: that would be a lie no database tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nothing is done, and the caller learns it: [`StoreError::Busy`].
    Busy,
    /// Nothing is done, and the caller cannot tell: [`StoreError::Unknown`].
    UnknownBefore,
    /// It is done, and the caller cannot tell: [`StoreError::Unknown`].
    UnknownAfter,
    /// Nothing is done, and repeating is no use: [`StoreError::Broken`].
    Broken,
}

impl Fault {
    /// What the caller gets to see.
    #[must_use]
    pub fn error(self) -> StoreError {
        match self {
            Self::Busy => StoreError::Busy,
            Self::UnknownBefore | Self::UnknownAfter => StoreError::Unknown,
            Self::Broken => StoreError::Broken("a fault on purpose".to_owned()),
        }
    }

    /// Whether the call takes effect although it fails.
    #[must_use]
    pub fn takes_effect(self) -> bool {
        self == Self::UnknownAfter
    }
}

/// Decides over every call: which method, and the how manieth call of that method it is, from 1.
pub(crate) type Plan = Box<dyn FnMut(Op, u64) -> Option<Fault> + Send>;

/// The faults to come and the calls so far.
#[derive(Default)]
pub(crate) struct Faults {
    calls: BTreeMap<Op, u64>,
    queued: BTreeMap<Op, VecDeque<(u64, Fault)>>,
    plan: Option<Plan>,
}

impl Faults {
    /// Counts a call, and says whether it fails. What was queued for this very call goes before the plan.
    pub(crate) fn next(&mut self, op: Op) -> Option<Fault> {
        let calls = self.calls.entry(op).or_default();
        *calls += 1;
        let number = *calls;
        if let Some(queue) = self.queued.get_mut(&op)
            && let Some(at) = queue.iter().position(|(n, _)| *n == number)
        {
            return queue.remove(at).map(|(_, fault)| fault);
        }
        self.plan.as_mut().and_then(|plan| plan(op, number))
    }

    /// Lets the `nth` call of `op` from now on (1 is the next) fail. Asked twice for the same call, the later ones move
    /// back by one, so that several faults in a row are several calls.
    pub(crate) fn queue(&mut self, op: Op, nth: u64, fault: Fault) {
        let mut number = self.calls(op) + nth.max(1);
        let queue = self.queued.entry(op).or_default();
        while queue.iter().any(|(n, _)| *n == number) {
            number += 1;
        }
        queue.push_back((number, fault));
    }

    pub(crate) fn set_plan(&mut self, plan: Option<Plan>) {
        self.plan = plan;
    }

    pub(crate) fn calls(&self, op: Op) -> u64 {
        self.calls.get(&op).copied().unwrap_or(0)
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults")
            .field("calls", &self.calls)
            .field("queued", &self.queued)
            .field("planned", &self.plan.is_some())
            .finish()
    }
}

//! Plans injected faults: which call of which port fails, and how.

use std::collections::BTreeMap;
use std::fmt;

use ports::StoreError;

/// A method of a database port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// The method `PeekStock::peek`.
    Peek,
    /// The method `ClaimStock::claim`.
    Claim,
    /// The method `ClaimStock::take_over`.
    TakeOver,
    /// The method `ClaimStock::remember`.
    Remember,
    /// The method `GiveBackStock::give_back`.
    GiveBack,
    /// The method `CountLapse::count_lapse`.
    CountLapse,
    /// The method `ReadClaim::read_claim`.
    ReadClaim,
    /// The method `SurveyStock::survey`.
    Survey,
    /// The method `AllocateStock::allocate`.
    Allocate,
    /// The method `PlaceOrder::place`.
    Place,
    /// The method `ReadOrder::order`.
    Order,
    /// The method `ListOrders::orders_of`.
    OrdersOf,
    /// The method `FindDueOrders::due_orders`.
    DueOrders,
    /// The method `ListOpenOrders::open_orders`.
    OpenOrders,
    /// The method `PutOff::put_off`.
    PutOff,
    /// The method `AdvanceOrder::advance`.
    Advance,
    /// The method `TakeCalls::take_calls`.
    TakeCalls,
    /// The method `NoteDecline::note_decline`.
    NoteDecline,
    /// The method `KeepContact::contact`.
    Contact,
    /// The method `KeepContact::note_sent`.
    NoteSent,
    /// The methods `ReadDrop::drop` and `ReadDrop::copy`.
    Drop,
    /// The method `ListDrops::published`.
    Published,
    /// The method `StoreDrop::store`.
    Store,
    /// The method `ReadStatus::status`.
    Status,
    /// The method `ReadCounts::counts`.
    Counts,
    /// The method `WriteStatus::write_counts`.
    WriteCounts,
    /// The method `WriteStatus::write_status`.
    WriteStatus,
    /// The method `HoldLease::acquire`.
    Acquire,
    /// The method `ReadReadiness::readiness`.
    Readiness,
    /// The method `ReadIssuers::issuers`.
    Issuers,
    /// The method `StoreIssuers::store_issuers`.
    StoreIssuers,
}

/// How a call fails. No fault answers *busy* after a write, since no database does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nothing is done, and the caller gets [`StoreError::Busy`].
    Busy,
    /// Nothing is done, and the caller gets [`StoreError::Unknown`].
    UnknownBefore,
    /// The call is done, and the caller gets [`StoreError::Unknown`].
    UnknownAfter,
    /// Nothing is done, and a repeat fails again: [`StoreError::Broken`].
    Broken,
}

impl Fault {
    /// The error that the caller of the port gets for this fault.
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

/// Decides about every call, by its method and its number among the calls of that method, from 1.
type Plan<O, F> = Box<dyn FnMut(O, u64) -> Option<F> + Send>;

/// The planned faults of a port's methods, and the number of calls of each method so far.
pub(crate) struct Faults<O, F> {
    calls: BTreeMap<O, u64>,
    queued: BTreeMap<(O, u64), F>,
    plan: Option<Plan<O, F>>,
}

impl<O, F> Default for Faults<O, F> {
    fn default() -> Self {
        Self {
            calls: BTreeMap::new(),
            queued: BTreeMap::new(),
            plan: None,
        }
    }
}

impl<O: Copy + Ord, F> Faults<O, F> {
    /// Counts a call, and returns its fault. A fault queued for this call precedes the plan.
    pub(crate) fn next(&mut self, op: O) -> Option<F> {
        let calls = self.calls.entry(op).or_default();
        *calls += 1;
        let number = *calls;
        let queued = self.queued.remove(&(op, number));
        queued.or_else(|| self.plan.as_mut().and_then(|plan| plan(op, number)))
    }

    /// Makes the `nth` call of `op` from now on (1 is the next) fail. If this call has a queued fault already, the new
    /// fault is queued for the next call without a fault, so that each fault has its own call.
    pub(crate) fn queue(&mut self, op: O, nth: u64, fault: F) {
        let mut number = self.calls(op) + nth.max(1);
        while self.queued.contains_key(&(op, number)) {
            number += 1;
        }
        self.queued.insert((op, number), fault);
    }

    /// `plan` decides about every call without a queued fault.
    pub(crate) fn set_plan(&mut self, plan: impl FnMut(O, u64) -> Option<F> + Send + 'static) {
        self.plan = Some(Box::new(plan));
    }

    /// Removes the plan and keeps the queued faults.
    pub(crate) fn clear_plan(&mut self) {
        self.plan = None;
    }

    /// Removes the plan and the queued faults.
    pub(crate) fn clear(&mut self) {
        self.plan = None;
        self.queued.clear();
    }

    /// The number of calls of `op`, including failures.
    pub(crate) fn calls(&self, op: O) -> u64 {
        self.calls.get(&op).copied().unwrap_or(0)
    }
}

impl<O: fmt::Debug, F: fmt::Debug> fmt::Debug for Faults<O, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults")
            .field("calls", &self.calls)
            .field("queued", &self.queued)
            .finish_non_exhaustive()
    }
}

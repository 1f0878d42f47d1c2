//! Adds deliberate bugs, to show that the replay finds bugs. Each is added around the product's code and not
//! inside it, and must be found within a stated number of seeds.

use clap::ValueEnum;
use domain::claim::Claim;
use domain::ids::{Nonce, ShardKey, ShopperId};
use domain::order::Order;
use domain::shard::Shard;
use domain::status::DropStatus;
use domain::survey::SeenClaim;
use memory::MemoryStore;
use ports::payment::{Code, PaymentId, PaymentState};
use ports::{Conditional, StoreError};

/// A deliberate bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Sabotage {
    /// A claim is written without its condition.
    SkipCondition,
    /// A claim whose outcome is unknown is repeated under a new nonce.
    NewNonceOnRetry,
    /// A release that finds nothing to release returns units nevertheless.
    ReleaseTwice,
    /// Checkout answers before its transaction is done.
    AcknowledgeBeforeWriting,
    /// A payment that timed out is treated as declined.
    MoveOnAfterUnknownPayment,
    /// Undoing an order does not change the purchase counter.
    ForgetCounterOnDecline,
    /// The conductor returns holds as soon as they have expired by its own clock.
    GiveBackWithoutSkew,
    /// The relay loses a record for the ledger's queue and reports it as sent.
    RelayDropsRecord,
    /// An order is undone without a cancellation at the gateway.
    UndoBeforeCancel,
    /// A conductor writes its status without holding the lease.
    ConductorWithoutFencing,
    /// A payment is confirmed before its id is stored.
    ConfirmBeforeStoring,
    /// Checkout does not check the limit per shopper.
    ForgetTheLimit,
    /// Units that are held or ordered are reported as sold.
    CallHeldGone,
    /// A queue's messages are deleted although some were not processed.
    AcknowledgeFailedMessages,
    /// The sweeper does nothing.
    NobodySweeps,
    /// The conductor does nothing.
    NobodyConducts,
    /// The conductor returns holds as if each shopper were allowed one unit.
    ReturnAllowedHolds,
    /// No payment is confirmed, and an order that has waited too long for the gateway ends although no person
    /// requested it.
    CancelAtTheDeadline,
    /// Every second payment is treated as declined without having been confirmed.
    DeclineEverySecondCard,
    /// A look-up that reports an older try's decline is treated as the current try's result.
    CountOlderDeclines,
    /// A declined payment is treated as a cancelled one, although a later try may be in progress.
    TakeDeclineForFinal,
    /// The record of mails sent to a shopper is not stored.
    ForgetWhoWasTold,
    /// The gateway's webhooks are accepted without a signature check.
    TakeAnyWebhook,
    /// No mail is sent, and the messages count as done.
    NobodyTells,
    /// A process treats its first copy of the drop as fresh forever.
    StaleSaysGone,
}

impl Sabotage {
    /// The number of seeds, counted from seed 1, within which the bug must be found.
    #[must_use]
    pub const fn within_seeds(self) -> u64 {
        match self {
            Self::SkipCondition
            | Self::ForgetCounterOnDecline
            | Self::RelayDropsRecord
            | Self::CallHeldGone
            | Self::NobodySweeps
            | Self::NobodyConducts
            | Self::DeclineEverySecondCard
            | Self::ForgetWhoWasTold
            | Self::TakeAnyWebhook
            | Self::NobodyTells => 100,
            _ => 1_000,
        }
    }

    /// The bug's name on the command line.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// The claim with a nonce that belongs to no request.
pub(crate) fn with_new_nonce(claim: &Claim, key: &ShardKey, shopper: &ShopperId) -> Claim {
    let request = format!("again {}", claim.nonce);
    Claim {
        nonce: Nonce::of_request(&key.drop, &key.sku, shopper, &request, claim.deadline),
        ..claim.clone()
    }
}

/// The answer that the sabotaged gateway reports for the confirm of a payment that it never received.
pub(crate) fn instead_of_confirming(sabotage: Option<Sabotage>, id: &PaymentId) -> Option<PaymentState> {
    let second = id.as_str().bytes().last().is_some_and(|last| last % 2 == 0);
    match sabotage? {
        Sabotage::CancelAtTheDeadline => Some(PaymentState::Processing),
        Sabotage::DeclineEverySecondCard if second => Some(declined("do_not_honor")),
        _ => None,
    }
}

/// The state of a payment that was declined for `reason`.
pub(crate) fn declined(reason: &str) -> PaymentState {
    PaymentState::Declined {
        reason: Code::or_unnamed(reason),
        method: None,
        charge: None,
        card: None,
    }
}

/// The order as a worker sees it that treats any decline as the current try's.
pub(crate) fn with_any_decline_counting(mut order: Order) -> Order {
    if let Some(current) = order.tries.last_mut() {
        current.answered = true;
    }
    order
}

pub(crate) fn claim_without_condition(
    memory: &MemoryStore,
    key: &ShardKey,
    shopper: &ShopperId,
    claim: &Claim,
) -> Result<Conditional<Option<Shard>>, StoreError> {
    let Some(mut shard) = memory.shard(key) else {
        return Ok(Conditional::Refused(None));
    };
    shard.free = shard.free.saturating_sub(claim.units);
    shard.claims.insert(shopper.clone(), claim.clone());
    memory.put_shard(key, shard);
    Ok(Conditional::Done)
}

/// Returns units without a condition.
pub(crate) fn give_back_again(memory: &MemoryStore, seen: &SeenClaim) {
    if let Some(mut shard) = memory.shard(&seen.shard) {
        shard.free += seen.claim.units;
        memory.put_shard(&seen.shard, shard);
    }
}

/// Keeps an undone order's units in the counter.
pub(crate) fn count_again(memory: &MemoryStore, order: &Order) {
    let drop = &order.reservation.shard.drop;
    let units = memory.purchased(drop, &order.shopper) + order.units;
    memory.put_purchased(drop, &order.shopper, units);
}

/// Reports all held and ordered units as sold.
pub(crate) fn count_held_as_sold(status: &mut DropStatus) {
    for counts in &mut status.skus {
        counts.sold += counts.held + counts.ordered;
        counts.held = 0;
        counts.ordered = 0;
    }
}

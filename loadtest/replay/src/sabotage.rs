//! Bugs on purpose, to prove the prover. Each is put in around the product, never into it, and each must be found within
//! a stated number of seeds.

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

/// A bug on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Sabotage {
    /// A claim is written without its condition.
    SkipCondition,
    /// A claim whose outcome is unknown is repeated under a new nonce.
    NewNonceOnRetry,
    /// A release that finds nothing to release gives units back all the same.
    ReleaseTwice,
    /// Checkout answers before its transaction is in.
    AcknowledgeBeforeWriting,
    /// A payment that timed out is taken for declined.
    MoveOnAfterUnknownPayment,
    /// Undoing an order leaves the purchase counter as it is.
    ForgetCounterOnDecline,
    /// The conductor returns holds as soon as they have expired on its own clock.
    GiveBackWithoutSkew,
    /// The relay loses a record for the ledger's queue and says that it is sent.
    RelayDropsRecord,
    /// An order is undone without asking the gateway to cancel first.
    UndoBeforeCancel,
    /// A conductor writes its status whoever holds the lease.
    ConductorWithoutFencing,
    /// A payment is confirmed before its id is stored.
    ConfirmBeforeStoring,
    /// Checkout does not look at the limit per shopper.
    ForgetTheLimit,
    /// Units that are held or ordered are reported as sold.
    CallHeldGone,
    /// A queue's messages are deleted though some could not be processed.
    AcknowledgeFailedMessages,
    /// The sweeper does nothing.
    NobodySweeps,
    /// The conductor does nothing.
    NobodyConducts,
    /// The conductor returns holds as if each shopper were allowed one unit.
    ReturnAllowedHolds,
    /// No payment is confirmed, and an order that has waited for the gateway for too long ends by nobody's act.
    CancelAtTheDeadline,
    /// Every second payment is taken for declined without having been confirmed.
    DeclineEverySecondCard,
    /// A look-up that tells of an older try's decline is taken for the current try's.
    CountOlderDeclines,
    /// A declined payment is taken for a cancelled one, though a later try may be in flight.
    TakeDeclineForFinal,
    /// What a shopper was told by mail is not kept.
    ForgetWhoWasTold,
    /// The gateway's webhooks are taken without a look at their signature.
    TakeAnyWebhook,
    /// No mail is sent, and its messages count as done.
    NobodyTells,
    /// A process takes its first copy of the drop for fresh for good.
    StaleSaysGone,
}

/// A bug, and how many seeds it may take to find it.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// The bug.
    pub sabotage: Sabotage,
    /// Found within so many seeds, counted from 1.
    pub within_seeds: u64,
}

impl Sabotage {
    /// Every bug, and within how many seeds each must be found.
    pub const ALL: [Expected; 25] = {
        const fn within(sabotage: Sabotage, within_seeds: u64) -> Expected {
            Expected {
                sabotage,
                within_seeds,
            }
        }
        [
            within(Self::SkipCondition, 100),
            within(Self::NewNonceOnRetry, 1_000),
            within(Self::ReleaseTwice, 1_000),
            within(Self::AcknowledgeBeforeWriting, 1_000),
            within(Self::MoveOnAfterUnknownPayment, 1_000),
            within(Self::ForgetCounterOnDecline, 100),
            within(Self::GiveBackWithoutSkew, 1_000),
            within(Self::RelayDropsRecord, 100),
            within(Self::UndoBeforeCancel, 1_000),
            within(Self::ConductorWithoutFencing, 1_000),
            within(Self::ConfirmBeforeStoring, 1_000),
            within(Self::ForgetTheLimit, 1_000),
            within(Self::CallHeldGone, 100),
            within(Self::AcknowledgeFailedMessages, 1_000),
            within(Self::NobodySweeps, 100),
            within(Self::NobodyConducts, 100),
            within(Self::ReturnAllowedHolds, 1_000),
            within(Self::CancelAtTheDeadline, 1_000),
            within(Self::DeclineEverySecondCard, 100),
            within(Self::CountOlderDeclines, 1_000),
            within(Self::TakeDeclineForFinal, 1_000),
            within(Self::ForgetWhoWasTold, 100),
            within(Self::TakeAnyWebhook, 100),
            within(Self::NobodyTells, 100),
            within(Self::StaleSaysGone, 1_000),
        ]
    };

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// The same claim under a nonce of no request.
pub(crate) fn with_new_nonce(claim: &Claim, key: &ShardKey, shopper: &ShopperId) -> Claim {
    Claim {
        nonce: Nonce::of_request(
            &key.drop,
            &key.sku,
            shopper,
            &format!("again {}", claim.nonce),
            claim.deadline,
        ),
        ..claim.clone()
    }
}

/// What the gateway is said to have answered to the confirm of a payment that it never got.
pub(crate) fn instead_of_confirming(sabotage: Option<Sabotage>, id: &PaymentId) -> Option<PaymentState> {
    let second = id.as_str().bytes().last().is_some_and(|last| last % 2 == 0);
    match sabotage? {
        Sabotage::CancelAtTheDeadline => Some(PaymentState::Processing),
        Sabotage::DeclineEverySecondCard if second => Some(PaymentState::Declined {
            reason: Code::or_unnamed("do_not_honor"),
            method: None,
            charge: None,
            card: None,
        }),
        _ => None,
    }
}

/// The order as a worker sees it that takes any decline for the current try's.
pub(crate) fn with_any_decline_counting(order: Order) -> Order {
    let mut order = order;
    if let Some(current) = order.tries.last_mut() {
        current.answered = true;
    }
    order
}

/// Claims whatever is there.
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

/// Gives units back without looking.
pub(crate) fn give_back_again(memory: &MemoryStore, seen: &SeenClaim) {
    if let Some(mut shard) = memory.shard(&seen.shard) {
        shard.free += seen.claim.units;
        memory.put_shard(&seen.shard, shard);
    }
}

/// Counts an undone order's units on.
pub(crate) fn count_again(memory: &MemoryStore, order: &Order) {
    let drop = &order.reservation.shard.drop;
    let units = memory.purchased(drop, &order.shopper) + order.units;
    memory.put_purchased(drop, &order.shopper, units);
}

/// Says of everything that is taken that it is sold.
pub(crate) fn count_held_as_sold(status: &mut DropStatus) {
    for counts in &mut status.skus {
        counts.sold += counts.held + counts.ordered;
        counts.held = 0;
        counts.ordered = 0;
    }
}

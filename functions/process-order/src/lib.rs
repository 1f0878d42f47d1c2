//! Drive a payment: queue to gateway to order.
//!
//! **Problem.** An order that was accepted must end paid, declined or cancelled, with at most one charge, whatever dies or
//! falls silent on the way, and although every message may come twice, late and out of turn.
//!
//! **Model.** A message only says *look at this order*: [`drive`] reads the order, asks the gateway where the payment
//! stands, and takes the one next step that follows from the two. Nothing is remembered between messages, and nothing in a
//! message is believed but the order's id. So a repeat, a stale event and the sweeper's reminder are all the same thing.
//!
//! **Walk-through.** [`batch`] takes a batch of SQS records and answers which failed. A new order gets a payment at the
//! gateway, unconfirmed; its id is stored with the order; then the payment is confirmed, and what came of it is stored
//! together with what it does to the stock. The order of these three is what keeps money and orders together:
//!
//! - Only a payment whose id is stored is ever confirmed, so an order without one can be cancelled without asking.
//! - Each confirm is a *try* that is stored with the order first. A decline counts only if it is about the current try
//!   ([`domain::order::Order::is_of_current_try`]); then the shopper may bring another card.
//! - An order with a payment is undone only when the gateway says that the payment is cancelled. That the order is to end, and why, is
//!   stored before the gateway is asked; if the money was taken first, the order is paid.
//! - A key that the gateway does not take says nothing about a payment: the call is repeated with the key as it is stored by
//!   then, and if that is refused too, the order waits as in an outage.
//! - All workers share the gateway's rate ([`Pace`]). A message waits for its order's turn. Where the turn comes too late, the message is done
//!   with, and the sweeper reminds of the order. Neither that nor a 429 is a failure.
//! - A key under which the gateway stored a failure is replaced by the next one, which is stored first; for a confirm only when a look-up
//!   shows that nothing was taken.
//! - A lost answer is not a failure: the payment is looked up. If that does not tell either, or the gateway is away, the message is done with and
//!   the order waits for the sweeper's next reminder: an outage leaves no dead letters. Only the operator ends an order that waits for the gateway.
//!
//! | order | gateway | step |
//! |---|---|---|
//! | ended | | none |
//! | no payment | | create, store the id, confirm |
//! | no payment, and no card allowed | | undo as declined, without asking the gateway |
//! | payment, to end | | cancel; then as the gateway answers. One that it does not know ends if the operator stated that |
//! | another card awaited | | nothing; store that it is to end once the shopper's time is over |
//! | payment | succeeded | settle |
//! | payment | cancelled | undo |
//! | payment | unconfirmed, or declined for an older try | confirm by the current try |
//! | payment | declined, may pass | store a try with the same card, confirm |
//! | payment | declined | store that another card is awaited, or that the order is to end |
//! | payment | action required | store where the shopper must go; that it is to end once their time is over |
//! | payment | processing | wait for the sweeper |
//! | any | silent | wait for the sweeper; an alarm once the wait for the gateway is over |
//!
//! **What it does not do.** Refunds, and finding orders whose messages were lost: that is the sweeper's.
#![forbid(unsafe_code)]

pub mod batch;
mod calls;
pub mod drive;

pub use calls::Pace;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use domain::limits::{
    FunctionLimits, PAYMENTS_BATCH, PROCESS_ORDER_TIMEOUT_SECONDS, Trigger, payment_workers,
};
use ports::calls::TakeCalls;
use ports::edge::Edge;
use ports::invocation::{Handle, Invocation};
use ports::orders::{AdvanceOrder, NoteDecline, ReadOrder};
use ports::payment::PaymentGateway;
use startup::batch::WholeBatchFailed;

use crate::drive::Driver;

/// The gateway's rate unless the template's parameter says otherwise, in calls a second: Stripe's for test traffic; for live traffic it is 100
/// (<https://docs.stripe.com/rate-limits>).
pub const DEFAULT_CALLS_PER_SECOND: u32 = 25;

/// How many workers there are when no drop wants more. `prescale` raises it for a drop, to no more than the gateway's rate lets work.
pub const WORKERS: u32 = payment_workers(DEFAULT_CALLS_PER_SECOND);

/// What the platform gives the function.
pub const LIMITS: FunctionLimits = FunctionLimits::new(
    PROCESS_ORDER_TIMEOUT_SECONDS,
    Trigger::Queue {
        batch_size: PAYMENTS_BATCH,
        max_concurrency: WORKERS,
        max_receives: 8,
    },
);

impl<O, G, E> Handle for Driver<O, G, E>
where
    O: ReadOrder + AdvanceOrder + TakeCalls + NoteDecline + 'static,
    G: PaymentGateway + 'static,
    E: Edge,
{
    type Event = SqsEvent;
    type Answer = SqsBatchResponse;
    type Error = WholeBatchFailed;

    async fn handle(&self, event: SqsEvent, _: &Invocation) -> Result<SqsBatchResponse, WholeBatchFailed> {
        batch::handle(self, event).await
    }
}

//! Advances payments: reads messages from a queue, calls the gateway, and stores the results with the orders.
//!
//! **Problem.** An order that was accepted must end paid, declined or cancelled, with at most one charge,
//! even if a process dies or a service does not answer, and although messages may arrive twice, late and out
//! of order.
//!
//! **Model.** A message only names an order to check: [`advance_payment`] reads the order, requests the payment's state
//! from the gateway, and takes the one next step that follows from the two. No state is kept between messages,
//! and of a message only the order's id is used. So a repeat, a stale event and the sweeper's reminder have
//! the same effect.
//!
//! **Walk-through.** [`batch`] takes a batch of SQS records and returns the ids of the failed messages. A new
//! order gets a payment at the gateway, unconfirmed; its id is stored with the order; then the payment is
//! confirmed, and its result is stored in one transaction with the change of the stock. This sequence keeps
//! charges and orders consistent:
//!
//! - Only a payment whose id is stored is ever confirmed, so an order without one can be cancelled without a
//!   call to the gateway.
//! - Each confirm is a *try* that is stored with the order first. A decline counts only if it is about the
//!   current try ([`domain::order::Order::is_of_current_try`]); then the shopper may bring another card.
//! - An order with a payment is undone only when the gateway says that the payment is cancelled. The
//!   request to end the order is stored, with its reason, before the gateway is called. If the money was taken
//!   first, the order is paid.
//! - A refused API key gives no information about the payment. The call is repeated with the API key that the
//!   secret holds at that time. If that key is refused too, the order waits as in an outage.
//! - All workers share the gateway's rate ([`Pace`]). A message waits for its order's call slots. If the slots begin
//!   too late, the message is deleted, and the sweeper sends a reminder. Neither this wait nor a 429 is a failure.
//! - An idempotency key under which the gateway stored a failure is replaced by the next one, which is stored
//!   first; for a confirm only when a look-up shows that nothing was taken.
//! - A lost answer is not a failure: the payment is looked up. If the look-up does not give the result
//!   either, or the gateway is unavailable, the message is deleted and the order waits for the sweeper's next
//!   reminder. So an outage causes no dead letters. Only the operator ends an order that waits for the
//!   gateway.
//!
//! | order | gateway | step |
//! |---|---|---|
//! | ended | | none |
//! | no payment | | create, store the id, confirm |
//! | no payment, and no card allowed | | undo as declined, without a call to the gateway |
//! | payment, to end | | cancel; then follow the gateway's answer |
//! | payment, to end, and the operator has stated that the gateway lacks it | not found | end the order |
//! | another card awaited | | nothing; after the shopper's time, store that the order is to end |
//! | payment | succeeded | settle |
//! | payment | cancelled | undo |
//! | payment | unconfirmed, or declined for an older try | confirm with the current try |
//! | payment | declined for a temporary reason | once: store a try with the same card, confirm |
//! | payment | declined | store that another card is awaited, or that the order is to end |
//! | payment | action required | store the bank's URL; after the shopper's time, store that the order is to end |
//! | payment | processing | wait for the sweeper |
//! | any | no answer | wait for the sweeper; an alarm once the wait for the gateway is over |
//!
//! **What it does not do.** It makes no refunds, and it does not find orders whose messages were lost: `sweep-orders`
//! does.
#![forbid(unsafe_code)]

pub mod advance_payment;
pub mod batch;
mod calls;

pub use calls::Pace;

use domain::limits::{
    FunctionLimits, PAYMENTS_BATCH, PROCESS_ORDER_TIMEOUT_SECONDS, Trigger, payment_workers,
};

/// The gateway's rate without the template's parameter, in calls a second. It is Stripe's rate for test
/// traffic; the rate for live traffic is 100 (<https://docs.stripe.com/rate-limits>).
pub const DEFAULT_CALLS_PER_SECOND: u32 = 25;

/// The number of workers when no drop needs more. `prescale` raises it for a drop, at most to the number that
/// the gateway's rate can serve.
pub const WORKERS: u32 = payment_workers(DEFAULT_CALLS_PER_SECOND);

/// The function's limits on Lambda, and its trigger. A test compares them with the template.
pub const LIMITS: FunctionLimits = FunctionLimits::new(
    PROCESS_ORDER_TIMEOUT_SECONDS,
    Trigger::Queue {
        batch_size: PAYMENTS_BATCH,
        window_seconds: 0,
        max_concurrency: WORKERS,
        max_receives: 8,
    },
);

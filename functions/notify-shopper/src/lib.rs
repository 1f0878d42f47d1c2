//! Tells shoppers by mail how their orders stand: confirmed, act now, another card, declined, cancelled. Each thing once.
//!
//! **Problem.** Whoever closed the page learns nothing. A mail that came twice, or that says *act now* when the time is over, is worse
//! than none; and the address that it goes to may stand in no event, queue or log.
//!
//! **Model.** The outbox sends the events that are news to a queue of their own. A message names the order and what happened to it.
//! The address is read here, from the item beside the order that is not streamed. The same item keeps what was told, so a
//! message that comes again sends nothing.
//!
//! **Once.** The mark is written after the mail service took the mail. A process that dies between the two, a lost answer, or a message
//! that two processes hold at the same time sends the mail once more. The other way round, a mark before the mail, the same accidents
//! would leave a shopper without news of money: twice at worst is better than not at all.
//!
//! | message | what happens |
//! |---|---|
//! | no news, or told before | done. Each page of a bank and each declined card is told of once |
//! | act now or another card, and the order no longer waits for its shopper, or the time is over | done; nothing is sent |
//! | the address is none that mail can be sent to | done, with a warning |
//! | no sender is configured (`MAIL_FROM` is empty) | done; nothing is sent |
//! | the service takes no more for the moment | repeated within the invocation's time, then it comes again |
//! | the service refuses, or does not answer | it comes again; after [`LIMITS`]' receives it is a dead letter |
//!
//! **What it does not do.** It sends plain text in one language, and nothing about a drop before an order. It hears of no bounce.
#![forbid(unsafe_code)]

mod text;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use domain::limits::{FunctionLimits, Trigger};
use domain::order::{Order, OrderStatus};
use domain::time::Timestamp;
use events::{News, OrderEvent};
use ports::StoreError;
use ports::edge::Edge;
use ports::invocation::{Handle, Invocation};
use ports::mail::{KeepContact, Mail, MailAddress, MailError, SendMail};
use ports::orders::ReadOrder;
use ports::retry::{IN_WORKER, Policy, retry};
use serde::Deserialize;
use startup::batch::{WholeBatchFailed, work};
use startup::spans::of_event;
use tracing::Instrument as _;

/// What the platform gives the function. Two processes send some tens of mails a second, which is what SES allows an account at
/// first; what it throttles comes again.
pub const LIMITS: FunctionLimits = FunctionLimits::new(
    15,
    Trigger::Queue {
        batch_size: 10,
        max_concurrency: 2,
        max_receives: 20,
    },
);

/// Repeats of one mail that the service did not take.
const SENDING: Policy = Policy::new(4, 200, 1_600);
/// What one message may still take, in milliseconds, once it was begun or its last try was: a read, a mail and a mark at worst. None is
/// begun later than that before the end of the invocation.
const MESSAGE_MS: i64 = 9_000;

const _: () = assert!(
    MESSAGE_MS + 2_000 < LIMITS.timeout_ms(),
    "an invocation begins at least some of its messages"
);

/// After how many mails about one order no further one asks for an act of the shopper: a gateway that names page after page floods nobody.
const MOST_TOLD: usize = 10;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// The mail was sent.
    Now,
    /// It was sent before.
    Before,
    /// There is nothing to say, or nothing any more.
    Nothing,
    /// The order's address is none that mail can be sent to.
    NoAddress,
    /// No sender is configured.
    SwitchedOff,
}

/// Why a message must come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTold {
    /// The database did not answer, or holds something that cannot be read.
    #[error("the database did not answer, or holds no readable item")]
    Store,
    /// The mail service did not take the mail, as far as anyone knows.
    #[error(transparent)]
    Mail(#[from] MailError),
}

impl From<StoreError> for NotTold {
    // The adapter has logged it.
    fn from(_: StoreError) -> Self {
        Self::Store
    }
}

/// The part of a stored address that matters here.
#[derive(Deserialize)]
struct Address {
    email: String,
}

/// The function over its ports.
#[derive(Debug, Clone)]
pub struct Notifier<O, M, E> {
    orders: O,
    mail: Option<M>,
    orders_url: String,
    edge: E,
}

impl<O: KeepContact + ReadOrder, M: SendMail, E: Edge> Notifier<O, M, E> {
    /// The function over its ports; without `mail` it sends none. A shopper follows an order at `orders_url`, a slash and the
    /// order's id.
    pub const fn new(orders: O, mail: Option<M>, orders_url: String, edge: E) -> Self {
        Self {
            orders,
            mail,
            orders_url,
            edge,
        }
    }

    /// Tells the shopper what an event says, if that is news. Nothing new is tried later than `until`.
    ///
    /// # Errors
    /// [`NotTold`]: the message must come again.
    pub async fn tell(&self, event: &OrderEvent, until: Timestamp) -> Result<Told, NotTold> {
        let Some(news) = event.kind.news() else {
            return Ok(Told::Nothing);
        };
        let Some(mail) = &self.mail else {
            return Ok(Told::SwitchedOff);
        };
        let order = &event.data.order_id;
        let patience = IN_WORKER.until(until);
        let contact = retry(&self.edge, patience, || self.orders.contact(order)).await?;
        let contact = contact.ok_or(NotTold::Store)?;
        let told_before = |mark: &str| contact.told.iter().any(|told| told == mark);
        if told_before(news.as_str()) {
            return Ok(Told::Before);
        }
        let address: Address = serde_json::from_str(&contact.address).map_err(|_| NotTold::Store)?;
        let Ok(to) = address.email.parse::<MailAddress>() else {
            return Ok(Told::NoAddress);
        };
        let waiting = match news {
            News::ActNow => Some(OrderStatus::ActionRequired),
            News::CardDeclined => Some(OrderStatus::PaymentFailed),
            News::Confirmed | News::Declined | News::Cancelled => None,
        };
        let mut mark = news.as_str().to_owned();
        let deadline = if let Some(status) = waiting {
            let found = retry(&self.edge, patience, || self.orders.order(order)).await?;
            let now = self.edge.now();
            let waits = |order: &Order| {
                order.status == status && order.cancel_requested.is_none() && order.payment_deadline > now
            };
            let Some(found) = found.filter(waits) else {
                return Ok(Told::Nothing);
            };
            // Each page of a bank and each declined card is news of its own.
            let what = found.page().unwrap_or_else(|| found.declines().to_string());
            mark = format!("{mark}:{what}");
            if told_before(&mark) {
                return Ok(Told::Before);
            }
            if contact.told.len() >= MOST_TOLD {
                tracing::warn!("no mail is sent: the shopper was told as often as one order may cause");
                return Ok(Told::Nothing);
            }
            Some(found.payment_deadline)
        } else {
            None
        };
        let (subject, text) = text::of(news, &event.data, &self.orders_url, deadline, self.edge.now());
        let letter = Mail { to, subject, text };
        retry(&self.edge, SENDING.until(until), || mail.send(&letter)).await?;
        tracing::info!(news = news.as_str(), "mail sent");
        retry(&self.edge, IN_WORKER, || self.orders.note_told(order, &mark)).await?;
        Ok(Told::Now)
    }

    /// Whether the message is done with.
    async fn one(&self, event: &OrderEvent, until: Timestamp) -> bool {
        if self.edge.now() >= until {
            // Its visibility time brings it again.
            return false;
        }
        match self.tell(event, until).await {
            Ok(Told::NoAddress) => {
                tracing::warn!("no mail is sent: the order's address is none that mail can be sent to");
                true
            }
            Ok(told) => {
                tracing::info!(event = event.kind.as_str(), ?told, "news handled");
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the shopper was not told; the message comes again");
                false
            }
        }
    }
}

impl<O, M, E> Handle for Notifier<O, M, E>
where
    O: KeepContact + ReadOrder + 'static,
    M: SendMail + 'static,
    E: Edge,
{
    type Event = SqsEvent;
    type Answer = SqsBatchResponse;
    type Error = WholeBatchFailed;

    /// One mail after the other: the service counts them by the second.
    async fn handle(
        &self,
        event: SqsEvent,
        invocation: &Invocation,
    ) -> Result<SqsBatchResponse, WholeBatchFailed> {
        let until = invocation.deadline.plus_millis(-MESSAGE_MS);
        work(&event, OrderEvent::decode, of_event, |messages| async move {
            let mut done = Vec::with_capacity(messages.len());
            for message in messages {
                let told = self.one(&message.content, until).instrument(message.span);
                done.push(told.await);
            }
            done
        })
        .await
    }
}

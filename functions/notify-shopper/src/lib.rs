//! Sends shoppers mails about their orders: confirmed, act now, another card, declined, cancelled. Each of these is
//! sent once.
//!
//! **Problem.** A shopper who closed the page gets no news. A mail that arrives twice, or that says *act now*
//! after the time limit, does more harm than no mail. The address may be in no event, queue or log.
//!
//! **Model.** The outbox sends events that are news to a separate queue. A message names the order and its
//! change. This function reads the address from an item beside the order that is not streamed. The same item
//! records the sent mails, so a redelivered message sends nothing.
//!
//! **Once.** The record is written after the mail service has accepted the mail. If a process dies between
//! the two, an answer is lost, or two processes have the same message, the mail is sent twice. If the record
//! were written first, the same failures would leave a shopper without news about money, which is worse than
//! two mails.
//!
//! | message | what happens |
//! |---|---|
//! | no news, or sent before | done. Each page of a bank and each declined card causes one mail |
//! | act now or another card, but the order no longer waits or the time is over | done; nothing is sent |
//! | mail cannot be sent to the address | done, with a warning |
//! | no sender is configured (`MAIL_FROM` is empty) | done; nothing is sent |
//! | the service is throttling | repeated within the invocation's time, then redelivered |
//! | the service refuses, or does not answer | redelivered; a dead letter after the receives in [`LIMITS`] |
//!
//! **What it does not do.** It sends plain text in one language, and nothing about a drop before an order. It
//! does not process bounces.
#![forbid(unsafe_code)]

mod text;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use domain::limits::{FunctionLimits, Trigger};
use domain::order::{Order, OrderStatus};
use domain::time::Timestamp;
use events::{News, OrderEvent};
use ports::StoreError;
use ports::invocation::{Handle, Invocation};
use ports::mail::{KeepContact, Mail, MailAddress, MailError, SendMail};
use ports::orders::ReadOrder;
use ports::retry::{IN_WORKER, Policy, retry};
use ports::runtime::Runtime;
use serde::Deserialize;
use startup::batch::{WholeBatchFailed, work};
use startup::spans::of_event;
use tracing::Instrument as _;

/// The function's limits on Lambda, and its trigger. Two processes send some tens of mails a second, which is
/// the first quota of an SES account. Throttled mails are sent again.
pub const LIMITS: FunctionLimits = FunctionLimits::new(
    15,
    Trigger::Queue {
        batch_size: 10,
        window_seconds: 0,
        max_concurrency: 2,
        max_receives: 20,
    },
);

/// Repeats of one mail that the service did not accept.
const SENDING: Policy = Policy::new(4, 200, 1_600);
/// The longest remaining time of a message after its start or its last try, in milliseconds: a read, a mail
/// and a record. No message and no try begins later than this before the end of the invocation.
const MESSAGE_MS: i64 = 9_000;

const _: () = assert!(
    MESSAGE_MS + 2_000 < LIMITS.timeout_ms(),
    "an invocation begins at least some of its messages"
);

/// The number of mails about one order after which no further mail asks the shopper to act. It limits the
/// mails when a gateway sends a shopper to page after page.
const MOST_MAILS: usize = 10;

/// The result of handling a message: whether its mail was sent, or why no mail was sent. In each case the message is
/// deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notified {
    /// The mail was sent.
    Now,
    /// The mail was sent before.
    Before,
    /// There is no news, or the news is outdated.
    Nothing,
    /// Mail cannot be sent to the order's address.
    NoAddress,
    /// No sender is configured.
    SwitchedOff,
}

/// Why a message must be redelivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotNotified {
    /// The database did not answer, or an item cannot be read.
    #[error("the database did not answer, or holds no readable item")]
    Store,
    /// The mail service did not accept the mail, or the outcome is unknown.
    #[error(transparent)]
    Mail(#[from] MailError),
}

impl From<StoreError> for NotNotified {
    // The adapter has logged the error.
    fn from(_: StoreError) -> Self {
        Self::Store
    }
}

/// The used part of a stored address.
#[derive(Deserialize)]
struct Address {
    email: String,
}

/// Sends shoppers the mails for their orders' events.
#[derive(Debug, Clone)]
pub struct Notifier<O, M, R> {
    orders: O,
    mail: Option<M>,
    orders_url: String,
    runtime: R,
}

impl<O: KeepContact + ReadOrder, M: SendMail, R: Runtime> Notifier<O, M, R> {
    /// A notifier that uses these ports; without `mail` it sends no mail. A shopper can follow an order at
    /// `orders_url`, a slash and the order's id.
    pub const fn new(orders: O, mail: Option<M>, orders_url: String, runtime: R) -> Self {
        Self {
            orders,
            mail,
            orders_url,
            runtime,
        }
    }

    /// Sends the shopper the mail for an event, if the event is news. No new try begins later than `until`.
    ///
    /// # Errors
    ///
    /// [`NotNotified`]: the message must be redelivered.
    pub async fn notify(&self, event: &OrderEvent, until: Timestamp) -> Result<Notified, NotNotified> {
        let Some(news) = event.kind.news() else {
            return Ok(Notified::Nothing);
        };
        let Some(mail) = &self.mail else {
            return Ok(Notified::SwitchedOff);
        };
        let order = &event.data.order_id;
        let patience = IN_WORKER.until(until);
        let contact = retry(&self.runtime, patience, || self.orders.contact(order)).await?;
        let contact = contact.ok_or(NotNotified::Store)?;
        let sent_before = |mark: &str| contact.sent.iter().any(|sent| sent == mark);
        if sent_before(news.as_str()) {
            return Ok(Notified::Before);
        }
        let address: Address = serde_json::from_str(&contact.address).map_err(|_| NotNotified::Store)?;
        let Ok(to) = address.email.parse::<MailAddress>() else {
            return Ok(Notified::NoAddress);
        };
        let waiting = match news {
            News::ActNow => Some(OrderStatus::ActionRequired),
            News::CardDeclined => Some(OrderStatus::PaymentFailed),
            News::Confirmed | News::Declined | News::Cancelled => None,
        };
        let mut mark = news.as_str().to_owned();
        let deadline = if let Some(status) = waiting {
            let found = retry(&self.runtime, patience, || self.orders.order(order)).await?;
            let now = self.runtime.now();
            let waits = |order: &Order| {
                order.status == status && order.cancel_requested.is_none() && order.payment_deadline > now
            };
            let Some(found) = found.filter(waits) else {
                return Ok(Notified::Nothing);
            };
            // Each page of a bank and each declined card is separate news.
            let what = found.page().unwrap_or_else(|| found.declines().to_string());
            mark = format!("{mark}:{what}");
            if sent_before(&mark) {
                return Ok(Notified::Before);
            }
            if contact.sent.len() >= MOST_MAILS {
                tracing::warn!("no mail is sent: the limit of mails for one order is reached");
                return Ok(Notified::Nothing);
            }
            Some(found.payment_deadline)
        } else {
            None
        };
        let (subject, text) = text::of(news, &event.data, &self.orders_url, deadline, self.runtime.now());
        let letter = Mail { to, subject, text };
        retry(&self.runtime, SENDING.until(until), || mail.send(&letter)).await?;
        tracing::info!(news = news.as_str(), "the mail service accepted the mail");
        retry(&self.runtime, IN_WORKER, || self.orders.note_sent(order, &mark)).await?;
        Ok(Notified::Now)
    }

    /// Handles one message. Returns whether the message can be deleted.
    async fn one(&self, event: &OrderEvent, until: Timestamp) -> bool {
        if self.runtime.now() >= until {
            // No time is left for a mail, so the message is redelivered after its visibility timeout.
            return false;
        }
        match self.notify(event, until).await {
            Ok(Notified::NoAddress) => {
                tracing::warn!("no mail is sent: the order's e-mail address is not usable");
                true
            }
            Ok(notified) => {
                tracing::info!(event = event.kind.as_str(), ?notified, "order event handled");
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the mail was not sent, or not recorded as sent; the queue redelivers the message");
                false
            }
        }
    }
}

impl<O, M, R> Handle for Notifier<O, M, R>
where
    O: KeepContact + ReadOrder + 'static,
    M: SendMail + 'static,
    R: Runtime,
{
    type Event = SqsEvent;
    type Answer = SqsBatchResponse;
    type Error = WholeBatchFailed;

    /// Sends one mail after the other, since the service limits the mails in each second.
    async fn handle(&self, event: SqsEvent, invocation: &Invocation) -> Result<Self::Answer, Self::Error> {
        let until = invocation.deadline.plus_millis(-MESSAGE_MS);
        work(&event, OrderEvent::decode, of_event, |messages| async move {
            let mut done = Vec::with_capacity(messages.len());
            for message in messages {
                let notified = self.one(&message.content, until).instrument(message.span);
                done.push(notified.await);
            }
            done
        })
        .await
    }
}

//! Keeps the gateway's book: intents, refunds and the log, which are changed together under one lock.
//!
//! Every change appends its log lines first. When a line cannot be written, the change does not happen and the caller
//! gets a 500.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::Clock;
use crate::error::{self, Reply};
use crate::ids::Ids;
use crate::intent::{Failure, Intent, Refund, Status};
use crate::log::{Event, Line, Log};
use crate::methods::{self, Behaviour};
use crate::request::Operation;
use crate::webhooks::{Announcer, Webhooks};

/// The largest number of confirms of one intent. Stripe has such a limit and does not publish the number
/// (<https://docs.stripe.com/api/payment_intents/confirm>). It equals this project's largest number of tries.
const MOST_CONFIRMS: u32 = 4;

/// The result of the customer's visit to the bank's page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The customer has authenticated.
    Complete,
    /// The customer has refused.
    Fail,
}

/// The intents and refunds of the gateway, with the log and the webhooks that report each change.
pub struct Book {
    intents: HashMap<String, Intent>,
    refunds: HashMap<String, Refund>,
    ids: Ids,
    log: Log,
    clock: Clock,
    base_url: String,
    announcer: Announcer,
}

impl Book {
    /// An empty book that writes to `log` and announces changes to `webhooks`.
    #[must_use]
    pub fn new(seed: u64, log: Log, clock: Clock, base_url: String, webhooks: Arc<Webhooks>) -> Self {
        let announcer = Announcer::new(webhooks, seed, Arc::clone(&clock));
        Self {
            intents: HashMap::new(),
            refunds: HashMap::new(),
            ids: Ids::new(seed),
            log,
            clock,
            base_url,
            announcer,
        }
    }

    #[must_use]
    pub fn log_path(&self) -> std::path::PathBuf {
        self.log.path().to_owned()
    }

    /// The intent with this id; `None` if there is none.
    #[must_use]
    pub fn intent(&self, id: &str) -> Option<&Intent> {
        self.intents.get(id)
    }

    /// `GET /v1/payment_intents/{id}`.
    #[must_use]
    pub fn show_intent(&self, id: &str) -> Reply {
        self.intents.get(id).map_or_else(
            || error::missing("payment_intent"),
            |intent| Reply::ok(intent.json(&self.base_url)),
        )
    }

    /// `GET /v1/refunds/{id}`.
    #[must_use]
    pub fn show_refund(&self, id: &str) -> Reply {
        self.refunds
            .get(id)
            .map_or_else(|| error::missing("refund"), |refund| Reply::ok(refund.json()))
    }

    /// Counts a confirm that begins. Returns its number from 0, its order (without an order, its intent), and
    /// the behaviour of its payment method. `None` for an unknown intent.
    pub fn begin_confirm(
        &mut self,
        id: &str,
        method: Option<&str>,
    ) -> Option<(u64, String, Option<Behaviour>)> {
        let intent = self.intents.get_mut(id)?;
        let attempt = intent.attempts;
        intent.attempts += 1;
        let token = method.or(intent.payment_method.as_deref());
        let subject = if intent.order_id().is_empty() {
            intent.id.clone()
        } else {
            intent.order_id().to_owned()
        };
        Some((attempt, subject, token.and_then(methods::behaviour)))
    }

    /// Executes a POST request.
    pub fn execute(&mut self, operation: Operation) -> Reply {
        let done = match operation {
            Operation::Create {
                amount,
                currency,
                payment_method,
                metadata,
            } => self.create(amount, currency, payment_method, metadata),
            Operation::Confirm {
                intent,
                payment_method,
                return_url,
            } => self.confirm(&intent, payment_method, return_url),
            Operation::Cancel { intent } => self.cancel(&intent),
            Operation::Refund { intent, amount } => self.refund(&intent, amount),
        };
        done.unwrap_or_else(|failed| log_failed(&failed))
    }

    /// Ends the customer's visit to the bank's page.
    pub fn authenticate(&mut self, id: &str, outcome: Outcome) -> Reply {
        let Some(mut intent) = self.intents.get(id).cloned() else {
            return error::missing("payment_intent");
        };
        if intent.status != Status::RequiresAction {
            return self.unexpected(&intent, "This payment does not wait for the customer.");
        }
        let done = match outcome {
            Outcome::Complete => self.charge(&mut intent),
            Outcome::Fail => self.fail(&mut intent, Failure::not_authenticated()),
        };
        match done {
            Ok(()) => Reply::ok(self.keep(intent)),
            Err(failed) => log_failed(&failed),
        }
    }

    fn create(
        &mut self,
        amount: u64,
        currency: String,
        payment_method: Option<String>,
        metadata: Map<String, Value>,
    ) -> io::Result<Reply> {
        let status = if payment_method.is_some() {
            Status::RequiresConfirmation
        } else {
            Status::RequiresPaymentMethod
        };
        let intent = Intent {
            id: self.ids.next("pi"),
            amount,
            currency,
            status,
            metadata,
            payment_method,
            return_url: None,
            failure: None,
            charge: None,
            refunded: 0,
            attempts: 0,
            confirms: 0,
            created_ms: (self.clock)(),
        };
        self.note(Event::Created, &intent, None)?;
        Ok(Reply::ok(self.keep(intent)))
    }

    fn confirm(
        &mut self,
        id: &str,
        payment_method: Option<String>,
        return_url: Option<String>,
    ) -> io::Result<Reply> {
        let Some(mut intent) = self.intents.get(id).cloned() else {
            return Ok(error::missing("payment_intent"));
        };
        if !intent.status.is_open() {
            return Ok(self.unexpected(&intent, "This PaymentIntent can no longer be confirmed."));
        }
        let Some(token) = payment_method.or_else(|| intent.payment_method.clone()) else {
            return Ok(self.unexpected(&intent, "This PaymentIntent is missing a payment method."));
        };
        let Some(behaviour) = methods::behaviour(&token) else {
            return Ok(error::missing("PaymentMethod"));
        };
        intent.confirms += 1;
        if intent.confirms > MOST_CONFIRMS {
            // "After this limit is reached, any further calls to this endpoint will transition the PaymentIntent to the
            // canceled state."
            self.note(Event::Cancelled, &intent, None)?;
            intent.status = Status::Canceled;
            let shown = self.keep(intent);
            let message = "This PaymentIntent was confirmed too often.";
            return Ok(error::state("payment_intent_unexpected_state", message, &shown));
        }
        intent.payment_method = Some(token);
        intent.return_url = return_url.or(intent.return_url);
        intent.failure = None;
        self.note(Event::Confirmed, &intent, None)?;
        match behaviour {
            Behaviour::Decline(code) => {
                let failure = Failure {
                    charge: Some(self.ids.next("ch")),
                    ..Failure::declined(code)
                };
                self.fail(&mut intent, failure)?;
                let shown = self.keep(intent);
                Ok(error::declined(
                    "card_declined",
                    code,
                    "Your card was declined.",
                    &shown,
                ))
            }
            Behaviour::Authenticate => {
                self.note(Event::ActionRequired, &intent, None)?;
                intent.status = Status::RequiresAction;
                Ok(Reply::ok(self.keep(intent)))
            }
            Behaviour::Succeed
            | Behaviour::Slow
            | Behaviour::LostBeforeCharge
            | Behaviour::LostAfterCharge => {
                self.charge(&mut intent)?;
                Ok(Reply::ok(self.keep(intent)))
            }
        }
    }

    fn cancel(&mut self, id: &str) -> io::Result<Reply> {
        let Some(mut intent) = self.intents.get(id).cloned() else {
            return Ok(error::missing("payment_intent"));
        };
        if !intent.status.is_open() {
            return Ok(self.unexpected(&intent, "This PaymentIntent can no longer be canceled."));
        }
        self.note(Event::Cancelled, &intent, None)?;
        intent.status = Status::Canceled;
        Ok(Reply::ok(self.keep(intent)))
    }

    fn refund(&mut self, id: &str, amount: Option<u64>) -> io::Result<Reply> {
        let Some(mut intent) = self.intents.get(id).cloned() else {
            return Ok(error::missing("payment_intent"));
        };
        let Some(charge) = intent.charge.clone() else {
            return Ok(self.unexpected(&intent, "This PaymentIntent has no successful charge to refund."));
        };
        let left = intent.amount - intent.refunded;
        let amount = amount.unwrap_or(left);
        if left == 0 {
            let shown = intent.json(&self.base_url);
            return Ok(error::state(
                "charge_already_refunded",
                "The charge has been refunded.",
                &shown,
            ));
        }
        if amount > left {
            let shown = intent.json(&self.base_url);
            return Ok(error::state(
                "amount_too_large",
                "Refund amount is greater than what is left.",
                &shown,
            ));
        }
        let refund = Refund {
            id: self.ids.next("re"),
            intent: intent.id.clone(),
            charge,
            amount,
            currency: intent.currency.clone(),
            created_ms: (self.clock)(),
        };
        self.note(Event::Refunded, &intent, Some(&refund))?;
        intent.refunded += amount;
        self.keep(intent);
        let shown = refund.json();
        self.refunds.insert(refund.id.clone(), refund);
        Ok(Reply::ok(shown))
    }

    fn charge(&mut self, intent: &mut Intent) -> io::Result<()> {
        self.note(Event::Charged, intent, None)?;
        intent.charge = Some(self.ids.next("ch"));
        intent.status = Status::Succeeded;
        intent.failure = None;
        Ok(())
    }

    fn fail(&mut self, intent: &mut Intent, failure: Failure) -> io::Result<()> {
        intent.failure = Some(Failure {
            payment_method: intent.payment_method.clone(),
            fingerprint: intent
                .payment_method
                .as_ref()
                .map(|token| methods::fingerprint(token, &intent.id)),
            ..failure
        });
        self.note(Event::Declined, intent, None)?;
        intent.status = Status::RequiresPaymentMethod;
        // As at Stripe, a failed method is detached, and another must be attached.
        intent.payment_method = None;
        Ok(())
    }

    fn keep(&mut self, intent: Intent) -> Value {
        let shown = intent.json(&self.base_url);
        self.announcer.announce(&shown);
        self.intents.insert(intent.id.clone(), intent);
        shown
    }

    fn unexpected(&self, intent: &Intent, message: &str) -> Reply {
        error::state(
            "payment_intent_unexpected_state",
            message,
            &intent.json(&self.base_url),
        )
    }

    fn note(&mut self, event: Event, intent: &Intent, refund: Option<&Refund>) -> io::Result<()> {
        self.log.append(Line {
            seq: 0,
            at_ms: (self.clock)(),
            event,
            intent: intent.id.clone(),
            order_id: intent.order_id().to_owned(),
            amount: refund.map_or(intent.amount, |refund| refund.amount),
            currency: intent.currency.clone(),
            refund: refund.map(|refund| refund.id.clone()),
            reason: match event {
                Event::Declined => intent.failure.as_ref().map(|failure| failure.reason().to_owned()),
                _ => None,
            },
        })?;
        self.announcer.note(event);
        Ok(())
    }
}

fn log_failed(failed: &io::Error) -> Reply {
    tracing::error!(error = %failed, "the gateway's log could not be written; the change is not made, and the caller gets status 500");
    error::internal("The sandbox could not write its log.")
}

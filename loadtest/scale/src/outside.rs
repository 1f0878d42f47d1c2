//! Models the other services: the payment gateway and the mail service, each with its rate, and the ledger with its
//! rows a second.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use domain::money::Money;
use events::OrderEvent;
use memory::{GatewayFault, MemoryGateway, MemoryLedger};
use ports::ledger::{LedgerError, ProjectOrders, Projected};
use ports::mail::{Mail, MailError, SendMail};
use ports::payment::{
    GatewayError, IdempotencyKey, NewPayment, Payment, PaymentGateway, PaymentId, PaymentMethod, Refund,
};

use crate::lock;
use crate::process::Process;
use crate::world::Bucket;

/// The number of ledger rows that one event writes: one of the history, and the order's own row.
const ROWS_OF_EVENT: f64 = 2.0;

/// The time that the gateway's client waits for an answer, in µs (`shared/stripe/src/config.rs`).
const ANSWER_TIMEOUT_US: i64 = 5_000_000;
/// Cards whose first confirmation gets no answer, as at the sandbox gateway (`loadtest::behaviour`), and
/// whether the confirmation takes effect.
const LOST: [(&str, GatewayFault); 2] = [
    ("pm_sandbox_timeout_before_charge", GatewayFault::UnknownBefore),
    ("pm_sandbox_timeout_after_charge", GatewayFault::UnknownAfter),
];

/// A service's rate, the number of all calls, the number of refused calls, and the payments of which an answer was
/// lost.
#[derive(Debug)]
pub struct Rate(Mutex<(Bucket, u64, u64)>, Mutex<BTreeSet<String>>);

impl Rate {
    /// A rate of this many calls a second. Unused calls are saved for one second at most.
    #[must_use]
    pub const fn new(calls_per_second: u32) -> Self {
        let rate = calls_per_second as f64;
        let lost = Mutex::new(BTreeSet::new());
        Self(Mutex::new((Bucket::full(rate, rate), 0, 0)), lost)
    }

    /// How the confirmation of a payment is lost; `None` if it is not lost. Only the first confirmation of a
    /// payment with such a card is lost.
    fn loses(&self, id: &PaymentId, method: &PaymentMethod) -> Option<GatewayFault> {
        let (_, fault) = LOST.iter().find(|(card, _)| *card == method.as_str())?;
        lock(&self.1).insert(id.to_string()).then_some(*fault)
    }

    /// Makes a call of `process`, whose time is drawn between the two limits, in µs. Returns whether the rate admits
    /// the call.
    async fn admits(&self, process: &Process, us: [i64; 2]) -> bool {
        process.goes_on().await;
        let admitted = self.take(process.world.timeline.now_us());
        process.world.takes(us).await;
        admitted
    }

    fn take(&self, now_us: i64) -> bool {
        let mut state = lock(&self.0);
        let taken = state.0.take(now_us);
        state.1 += 1;
        state.2 += u64::from(!taken);
        taken
    }

    /// The number of all calls, and the number of refused calls.
    #[must_use]
    pub fn calls(&self) -> (u64, u64) {
        let (_, all, refused) = *lock(&self.0);
        (all, refused)
    }
}

/// The gateway port of one environment.
#[derive(Clone)]
pub struct Gateway {
    pub process: Arc<Process>,
    pub memory: MemoryGateway,
    pub rate: Arc<Rate>,
}

impl Gateway {
    async fn call<T>(&self, act: impl Future<Output = Result<T, GatewayError>>) -> Result<T, GatewayError> {
        let us = self.process.world.settings.times.gateway_us;
        match self.rate.admits(&self.process, us).await {
            true => act.await,
            false => Err(GatewayFault::Throttled.error()),
        }
    }
}

impl PaymentGateway for Gateway {
    async fn create(&self, payment: &NewPayment, key: &IdempotencyKey) -> Result<Payment, GatewayError> {
        self.call(self.memory.create(payment, key)).await
    }

    async fn confirm(
        &self,
        id: &PaymentId,
        method: &PaymentMethod,
        return_url: &str,
        key: &IdempotencyKey,
    ) -> Result<Payment, GatewayError> {
        let confirmed = self.memory.confirm(id, method, return_url, key);
        let Some(fault) = self.rate.loses(id, method) else {
            return self.call(confirmed).await;
        };
        if fault == GatewayFault::UnknownAfter {
            self.call(confirmed).await?;
        }
        self.process.world.timeline.sleep(ANSWER_TIMEOUT_US).await;
        Err(fault.error())
    }

    async fn find(&self, id: &PaymentId) -> Result<Option<Payment>, GatewayError> {
        self.call(self.memory.find(id)).await
    }

    async fn cancel(&self, id: &PaymentId) -> Result<Payment, GatewayError> {
        self.call(self.memory.cancel(id)).await
    }

    async fn refund(
        &self,
        id: &PaymentId,
        amount: Money,
        key: &IdempotencyKey,
    ) -> Result<Refund, GatewayError> {
        self.call(self.memory.refund(id, amount, key)).await
    }
}

/// The mail port of one environment. An accepted mail is delivered.
#[derive(Clone)]
pub struct Mailbox {
    pub process: Arc<Process>,
    pub rate: Arc<Rate>,
}

impl SendMail for Mailbox {
    async fn send(&self, _: &Mail) -> Result<(), MailError> {
        let us = self.process.world.settings.times.mail_us;
        match self.rate.admits(&self.process, us).await {
            true => Ok(()),
            false => Err(MailError::Busy),
        }
    }
}

/// The ledger port of one environment. Batches wait for their rows in the order of arrival.
#[derive(Clone)]
pub struct Ledger {
    pub process: Arc<Process>,
    pub memory: MemoryLedger,
    /// The time at which all earlier rows are written, in µs.
    pub free_us: Arc<Mutex<i64>>,
}

impl ProjectOrders for Ledger {
    async fn project(&self, events: &[OrderEvent]) -> Vec<Result<Projected, LedgerError>> {
        let world = &self.process.world;
        self.process.goes_on().await;
        let count = f64::from(u32::try_from(events.len()).unwrap_or(u32::MAX));
        let seconds = count * ROWS_OF_EVENT / world.settings.capacity.ledger_rows_per_second;
        #[allow(clippy::cast_possible_truncation, reason = "seconds in µs")]
        let takes_us = (seconds * 1e6) as i64;
        let done_us = {
            let mut free_us = lock(&self.free_us);
            *free_us = (*free_us).max(world.timeline.now_us()) + takes_us;
            *free_us
        };
        world.timeline.sleep_until(done_us).await;
        world.takes(world.settings.times.ledger_us).await;
        self.memory.project(events).await
    }
}

//! Models the other services: the payment gateway and the mail service, each with its rate, and the ledger with its
//! rows a second.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use domain::money::Money;
use events::OrderEvent;
use memory::{GatewayFault, MemoryGateway, MemoryLedger};
use ports::ledger::{LedgerError, ProjectOrders, Projected};
use ports::mail::{Mail, MailError, SendMail};
use ports::payment::{
    GatewayError, IdempotencyKey, NewPayment, Payment, PaymentGateway, PaymentId, PaymentMethod, Refund,
};

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
        let mut lost = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        lost.insert(id.to_string()).then_some(*fault)
    }

    fn take(&self, now_us: i64) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = state.0.take(now_us);
        state.1 += 1;
        state.2 += u64::from(!taken);
        taken
    }

    /// The number of all calls, and the number of refused calls.
    #[must_use]
    pub fn calls(&self) -> (u64, u64) {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (state.1, state.2)
    }
}

/// The gateway port of one environment.
#[derive(Clone)]
pub struct Gateway {
    process: Arc<Process>,
    memory: MemoryGateway,
    rate: Arc<Rate>,
}

impl Gateway {
    /// The gateway port of `process`.
    #[must_use]
    pub fn new(process: &Arc<Process>, memory: &MemoryGateway, rate: &Arc<Rate>) -> Self {
        Self {
            process: Arc::clone(process),
            memory: memory.clone(),
            rate: Arc::clone(rate),
        }
    }

    async fn call<T>(&self, act: impl Future<Output = Result<T, GatewayError>>) -> Result<T, GatewayError> {
        let world = &self.process.world;
        self.process.goes_on().await;
        let admitted = self.rate.take(world.timeline.now_us());
        world.takes(world.settings.times.gateway_us).await;
        if !admitted {
            return Err(GatewayFault::Throttled.error());
        }
        act.await
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
    process: Arc<Process>,
    rate: Arc<Rate>,
}

impl Mailbox {
    /// The mail port of `process`.
    #[must_use]
    pub fn new(process: &Arc<Process>, rate: &Arc<Rate>) -> Self {
        Self {
            process: Arc::clone(process),
            rate: Arc::clone(rate),
        }
    }
}

impl SendMail for Mailbox {
    async fn send(&self, _: &Mail) -> Result<(), MailError> {
        let world = &self.process.world;
        self.process.goes_on().await;
        let admitted = self.rate.take(world.timeline.now_us());
        world.takes(world.settings.times.mail_us).await;
        match admitted {
            true => Ok(()),
            false => Err(MailError::Busy),
        }
    }
}

/// The ledger port of one environment. Batches wait for their rows in the order of arrival.
#[derive(Clone)]
pub struct Ledger {
    process: Arc<Process>,
    memory: MemoryLedger,
    free_us: Arc<Mutex<i64>>,
}

impl Ledger {
    /// The ledger port of `process`. `free_us` is the time at which all earlier rows are written.
    #[must_use]
    pub fn new(process: &Arc<Process>, memory: &MemoryLedger, free_us: &Arc<Mutex<i64>>) -> Self {
        Self {
            process: Arc::clone(process),
            memory: memory.clone(),
            free_us: Arc::clone(free_us),
        }
    }
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
            let mut free_us = self.free_us.lock().unwrap_or_else(PoisonError::into_inner);
            *free_us = (*free_us).max(world.timeline.now_us()) + takes_us;
            *free_us
        };
        world.timeline.sleep_until(done_us).await;
        world.takes(world.settings.times.ledger_us).await;
        self.memory.project(events).await
    }
}

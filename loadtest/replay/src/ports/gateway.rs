//! Implements the port of the payment gateway: every call takes virtual time, and faults can hit it.

use std::future::Future;
use std::sync::Arc;

use domain::money::Money;
use memory::{GatewayFault, GatewayOp, MemoryGateway};
use ports::payment::{
    Code, GatewayError, IdempotencyKey, NewPayment, Payment, PaymentGateway, PaymentId, PaymentMethod,
    PaymentState, Refund,
};

use crate::bank::{SLOW_PAYS, finish};
use crate::chance::{key_of, keyed};
use crate::faults::{Fault, Place, Stroke};
use crate::process::Process;
use crate::sabotage::{self, Sabotage};

/// The time limit for an answer that does not arrive, in milliseconds.
const ANSWER_MS: i64 = 5_000;

/// The gateway port of one process.
#[derive(Clone)]
pub struct Gateway {
    process: Arc<Process>,
    memory: MemoryGateway,
}

impl Gateway {
    /// The gateway port of `process`.
    #[must_use]
    pub fn new(process: &Arc<Process>, memory: &MemoryGateway) -> Self {
        Self {
            process: Arc::clone(process),
            memory: memory.clone(),
        }
    }

    async fn call<T, F>(
        &self,
        name: &'static str,
        of: &str,
        told: impl Fn(&T) -> String + Send,
        act: F,
    ) -> Result<T, GatewayError>
    where
        T: Send,
        F: Future<Output = Result<T, GatewayError>> + Send,
    {
        let world = &self.process.world;
        let arrival = self.process.arrive(Place::Gateway);
        world.sleep(arrival.before_ms).await;
        let fault = match arrival.stroke {
            _ if world.is_away(Fault::GatewayOutage) => {
                let drawn = keyed(world.seed, key_of(of), world.now_ms().unsigned_abs());
                Some(match drawn % 3 {
                    0 => GatewayFault::NotSent,
                    1 => GatewayFault::UnavailableBefore,
                    _ => GatewayFault::UnknownBefore,
                })
            }
            Some(Stroke::NotSent) => Some(GatewayFault::NotSent),
            Some(Stroke::Throttled) => Some(GatewayFault::Throttled),
            Some(Stroke::UnknownBefore) => Some(GatewayFault::UnknownBefore),
            Some(Stroke::UnknownAfter) => Some(GatewayFault::UnknownAfter),
            Some(Stroke::UnavailableBefore) => Some(GatewayFault::UnavailableBefore),
            Some(Stroke::UnavailableAfter) => Some(GatewayFault::UnavailableAfter),
            // Calls without a key cannot have a stored failure.
            Some(Stroke::StoredBefore | Stroke::StoredAfter) if keyed_op(name).is_none() => {
                Some(GatewayFault::UnavailableBefore)
            }
            Some(Stroke::StoredBefore) => Some(GatewayFault::StoredBefore),
            Some(Stroke::StoredAfter) => Some(GatewayFault::StoredAfter),
            Some(Stroke::DiesBefore) => {
                self.process.die().await;
                None
            }
            _ => None,
        };
        let answer = match fault {
            None => act.await,
            Some(fault @ (GatewayFault::StoredBefore | GatewayFault::StoredAfter)) => {
                world.gateway_fails();
                world.note("a failure was stored");
                if let Some(op) = keyed_op(name) {
                    self.memory.fail_next(op, fault);
                }
                act.await
            }
            Some(fault) => {
                world.gateway_fails();
                if fault.takes_effect() {
                    let lost = act.await;
                    self.process.tell(|| {
                        let lost = lost.as_ref().map_or_else(ToString::to_string, &told);
                        format!("gateway {name} {of} -> {lost}, which nobody learns")
                    });
                }
                if matches!(fault, GatewayFault::UnknownBefore | GatewayFault::UnknownAfter) {
                    world.sleep(ANSWER_MS).await;
                }
                Err(fault.error())
            }
        };
        if arrival.stroke == Some(Stroke::DiesAfter) {
            self.process.die().await;
        }
        self.process.tell(|| {
            let answer = match &answer {
                Ok(answer) => told(answer),
                Err(error) => format!("ERROR {error}"),
            };
            format!("gateway {name} {of} -> {answer}")
        });
        world.sleep(arrival.after_ms).await;
        answer
    }
}

/// The call's name at the gateway in memory, if the call has an idempotency key.
fn keyed_op(name: &str) -> Option<GatewayOp> {
    match name {
        "create" => Some(GatewayOp::Create),
        "confirm" => Some(GatewayOp::Confirm),
        _ => None,
    }
}

/// The longest delay of a slow bank, in milliseconds.
const BANK_MS: u64 = 20_000;

impl Gateway {
    /// The payment as an adapter with the sabotage `TakeDeclineForFinal` reports it: a declined payment as
    /// cancelled. `None` without this sabotage or without a decline.
    async fn declined_for_good(&self, id: &PaymentId) -> Option<Payment> {
        if !self.process.world.is_sabotaged(Sabotage::TakeDeclineForFinal) {
            return None;
        }
        let payment = self.memory.find(id).await.ok()??;
        matches!(payment.state, PaymentState::Declined { .. }).then_some(Payment {
            state: PaymentState::Cancelled,
            ..payment
        })
    }

    fn bank_takes_its_time(&self, id: &PaymentId, pays: bool) {
        let (world, memory, id) = (self.process.world.clone(), self.memory.clone(), id.clone());
        let drawn = keyed(world.seed ^ 0xba4c, key_of(id.as_str()), 0) % BANK_MS;
        world.clone().spawn(None, async move {
            world.sleep(i64::try_from(drawn).unwrap_or(0)).await;
            finish(&world, &memory, &id, pays);
        });
    }
}

fn payment_told(payment: &Payment) -> String {
    format!("{} {:?}", payment.id, payment.state)
}

impl PaymentGateway for Gateway {
    async fn create(&self, payment: &NewPayment, key: &IdempotencyKey) -> Result<Payment, GatewayError> {
        let of = super::tell::short(&payment.order);
        self.call("create", of, payment_told, self.memory.create(payment, key))
            .await
    }

    async fn confirm(
        &self,
        id: &PaymentId,
        method: &PaymentMethod,
        return_url: &str,
        key: &IdempotencyKey,
    ) -> Result<Payment, GatewayError> {
        if let Some(state) = sabotage::instead_of_confirming(self.process.world.sabotage, id)
            && let Ok(Some(payment)) = self.memory.find(id).await
        {
            return Ok(Payment { state, ..payment });
        }
        let act = async {
            let answer = self.memory.confirm(id, method, return_url, key).await;
            let payment = match &answer {
                Ok(payment) => Some(payment.clone()),
                // The call may have been carried out nevertheless.
                Err(_) => self.memory.find(id).await.ok().flatten(),
            };
            if payment.is_some_and(|payment| payment.state == PaymentState::Processing) {
                self.bank_takes_its_time(id, method.as_str() == SLOW_PAYS);
            }
            answer
        };
        let answer = self.call("confirm", id.as_str(), payment_told, act).await;
        let unknown = matches!(answer, Err(GatewayError::Unknown | GatewayError::Unavailable));
        if unknown
            && self
                .process
                .world
                .is_sabotaged(Sabotage::MoveOnAfterUnknownPayment)
        {
            // The sabotage reports a payment with an unknown outcome as declined.
            if let Ok(Some(payment)) = self.memory.find(id).await {
                return Ok(Payment {
                    state: PaymentState::Declined {
                        reason: Code::or_unnamed("timeout"),
                        method: None,
                        charge: None,
                        card: None,
                    },
                    ..payment
                });
            }
        }
        answer
    }

    async fn find(&self, id: &PaymentId) -> Result<Option<Payment>, GatewayError> {
        if let Some(payment) = self.declined_for_good(id).await {
            return Ok(Some(payment));
        }
        let told = |found: &Option<Payment>| found.as_ref().map_or_else(|| "none".to_owned(), payment_told);
        self.call("find", id.as_str(), told, self.memory.find(id)).await
    }

    async fn cancel(&self, id: &PaymentId) -> Result<Payment, GatewayError> {
        if self.process.world.is_sabotaged(Sabotage::UndoBeforeCancel)
            && let Ok(Some(payment)) = self.memory.find(id).await
        {
            // The sabotage reports a cancellation that the gateway has not made.
            return Ok(Payment {
                state: PaymentState::Cancelled,
                ..payment
            });
        }
        if let Some(payment) = self.declined_for_good(id).await {
            return Ok(payment);
        }
        let answer = self
            .call("cancel", id.as_str(), payment_told, self.memory.cancel(id))
            .await;
        if let Ok(payment) = &answer
            && matches!(payment.state, PaymentState::Succeeded { .. })
        {
            self.process
                .world
                .note("the gateway was paid before it was asked to cancel");
        }
        answer
    }

    async fn refund(
        &self,
        id: &PaymentId,
        amount: Money,
        key: &IdempotencyKey,
    ) -> Result<Refund, GatewayError> {
        let told = |refund: &Refund| refund.id.to_string();
        self.call("refund", id.as_str(), told, self.memory.refund(id, amount, key))
            .await
    }
}

//! Implements the port of the payment gateway: every call takes virtual time, and faults can hit it.

use std::future::Future;

use domain::money::Money;
use memory::{GatewayFault, GatewayOp};
use ports::payment::{
    GatewayError, IdempotencyKey, NewPayment, Payment, PaymentGateway, PaymentId, PaymentMethod,
    PaymentState, Refund,
};

use crate::bank::{SLOW_PAYS, finish};
use crate::chance::{key_of, keyed};
use crate::faults::{Fault, Place, Stroke};
use crate::ports::Ports;
use crate::ports::tell::Tell;
use crate::sabotage::{self, Sabotage};
use crate::stream::short;

/// The time limit for an answer that does not arrive, in milliseconds.
const ANSWER_MS: i64 = 5_000;
/// The longest delay of a slow bank, in milliseconds.
const BANK_MS: u64 = 20_000;

impl Ports {
    async fn call<T: Tell + Send>(
        &self,
        name: &'static str,
        of: &str,
        act: impl Future<Output = Result<T, GatewayError>> + Send,
    ) -> Result<T, GatewayError> {
        let world = self.world();
        let (stroke, after_ms) = self.process.arrive(Place::Gateway).await;
        let fault = match stroke {
            _ if world.is_away(Fault::GatewayOutage) => {
                let drawn = keyed(world.plan.seed, key_of(of), world.now_ms().unsigned_abs());
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
                    self.services.gateway.fail_next(op, fault);
                }
                act.await
            }
            Some(fault) => {
                world.gateway_fails();
                if fault.takes_effect() {
                    let lost = act.await;
                    self.process.tell(|| {
                        let lost = lost.as_ref().map_or_else(ToString::to_string, Tell::tell);
                        format!("gateway {name} {of} -> {lost}, which nobody learns")
                    });
                }
                if matches!(fault, GatewayFault::UnknownBefore | GatewayFault::UnknownAfter) {
                    world.sleep(ANSWER_MS).await;
                }
                Err(fault.error())
            }
        };
        if stroke == Some(Stroke::DiesAfter) {
            self.process.die().await;
        }
        self.process
            .tell(|| format!("gateway {name} {of} -> {}", answer.tell()));
        world.sleep(after_ms).await;
        answer
    }

    /// The payment as an adapter with the sabotage `TakeDeclineForFinal` reports it: a declined payment as
    /// cancelled. `None` without this sabotage or without a decline.
    async fn declined_for_good(&self, id: &PaymentId) -> Option<Payment> {
        if !self.world().is_sabotaged(Sabotage::TakeDeclineForFinal) {
            return None;
        }
        let payment = self.services.gateway.find(id).await.ok()??;
        matches!(payment.state, PaymentState::Declined { .. }).then_some(Payment {
            state: PaymentState::Cancelled,
            ..payment
        })
    }

    fn bank_takes_its_time(&self, id: &PaymentId, pays: bool) {
        let (services, id) = (self.services.clone(), id.clone());
        let ms = self.world().drawn_ms(0xba4c, key_of(id.as_str()), 0, BANK_MS);
        self.world().spawn(None, async move {
            services.world.sleep(ms).await;
            finish(&services.world, &services.gateway, &id, pays);
        });
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

impl Tell for Payment {
    fn tell(&self) -> String {
        format!("{} {:?}", self.id, self.state)
    }
}

impl Tell for Refund {
    fn tell(&self) -> String {
        self.id.to_string()
    }
}

impl PaymentGateway for Ports {
    async fn create(&self, payment: &NewPayment, key: &IdempotencyKey) -> Result<Payment, GatewayError> {
        let act = self.services.gateway.create(payment, key);
        self.call("create", short(&payment.order), act).await
    }

    async fn confirm(
        &self,
        id: &PaymentId,
        method: &PaymentMethod,
        return_url: &str,
        key: &IdempotencyKey,
    ) -> Result<Payment, GatewayError> {
        let (world, gateway) = (self.world(), &self.services.gateway);
        if let Some(state) = sabotage::instead_of_confirming(world.sabotage, id)
            && let Ok(Some(payment)) = gateway.find(id).await
        {
            return Ok(Payment { state, ..payment });
        }
        let act = async {
            let answer = gateway.confirm(id, method, return_url, key).await;
            let payment = match &answer {
                Ok(payment) => Some(payment.clone()),
                // The call may have been carried out nevertheless.
                Err(_) => gateway.find(id).await.ok().flatten(),
            };
            if payment.is_some_and(|payment| payment.state == PaymentState::Processing) {
                self.bank_takes_its_time(id, method.as_str() == SLOW_PAYS);
            }
            answer
        };
        let answer = self.call("confirm", id.as_str(), act).await;
        // The sabotage reports a payment with an unknown outcome as declined.
        if matches!(answer, Err(GatewayError::Unknown | GatewayError::Unavailable))
            && world.is_sabotaged(Sabotage::MoveOnAfterUnknownPayment)
            && let Ok(Some(payment)) = gateway.find(id).await
        {
            let state = sabotage::declined("timeout");
            return Ok(Payment { state, ..payment });
        }
        answer
    }

    async fn find(&self, id: &PaymentId) -> Result<Option<Payment>, GatewayError> {
        if let Some(payment) = self.declined_for_good(id).await {
            return Ok(Some(payment));
        }
        self.call("find", id.as_str(), self.services.gateway.find(id))
            .await
    }

    async fn cancel(&self, id: &PaymentId) -> Result<Payment, GatewayError> {
        let gateway = &self.services.gateway;
        if self.world().is_sabotaged(Sabotage::UndoBeforeCancel)
            && let Ok(Some(payment)) = gateway.find(id).await
        {
            // The sabotage reports a cancellation that the gateway has not made.
            let state = PaymentState::Cancelled;
            return Ok(Payment { state, ..payment });
        }
        if let Some(payment) = self.declined_for_good(id).await {
            return Ok(payment);
        }
        let answer = self.call("cancel", id.as_str(), gateway.cancel(id)).await;
        if let Ok(payment) = &answer
            && matches!(payment.state, PaymentState::Succeeded { .. })
        {
            self.world()
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
        let act = self.services.gateway.refund(id, amount, key);
        self.call("refund", id.as_str(), act).await
    }
}

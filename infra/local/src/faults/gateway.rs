//! Injects faults of the payment gateway: the gateway is unavailable for seconds at a time, does not answer after a
//! charge, or sends webhooks late, twice or not at all.

use std::sync::Arc;
use std::time::Duration;

use sandbox_gateway::faults::{Faults as GatewayFaults, Switch};
use sandbox_gateway::webhooks::WebhookFaults;

use super::Faults;
use super::chance::Chance;
use stack_api::faults::{Fault, FaultPlan};

/// Share of confirms that are carried out without an answer. With 1.0, no caller learns of its charge from the answer.
pub const LOST_AFTER_CHARGE: f64 = 1.0;
/// The length of an outage from the first refused request, in milliseconds: from, to.
pub const OUTAGE_MS: (u64, u64) = (1_500, 4_000);
/// The time between two outages, in milliseconds: from, to.
pub const BETWEEN_MS: (u64, u64) = (6_000, 12_000);

/// The time from the first call of the gateway to the start of its one long outage, in milliseconds. The outage must
/// begin during the sale.
pub const BEFORE_LONG_OUTAGE_MS: u64 = 3_000;

/// The gateway's faults at the start of the run.
pub(super) fn of(plan: &FaultPlan, seed: u64) -> GatewayFaults {
    GatewayFaults {
        outage: plan.has(Fault::GatewayOutage) && plan.gateway_outage_seconds.is_none(),
        timeout_after_charge: if plan.has(Fault::GatewayTimeoutAfterCharge) {
            LOST_AFTER_CHARGE
        } else {
            0.0
        },
        seed,
        ..GatewayFaults::default()
    }
}

/// The shares of webhooks that are lost, sent twice, and sent late.
pub const WEBHOOKS_LOST_TWICE_LATE: (f64, f64, f64) = (0.3, 0.3, 0.5);
/// The delay of a late webhook, in milliseconds.
pub const WEBHOOK_LATE_MS: u64 = 5_000;

/// The faults of webhooks at the start of the run.
pub(super) fn of_webhooks(plan: &FaultPlan, seed: u64) -> WebhookFaults {
    if !plan.has(Fault::WebhookDisorder) {
        return WebhookFaults::default();
    }
    let (lost, twice, late) = WEBHOOKS_LOST_TWICE_LATE;
    WebhookFaults {
        lost,
        twice,
        late,
        late_ms: WEBHOOK_LATE_MS,
        seed,
    }
}

/// Starts and ends outages until the faults end. The length of a repeated outage counts from the first request that it
/// refuses, so that every such outage affects a request.
pub(super) async fn come_and_go(faults: Arc<Faults>, switch: Arc<Switch>) {
    let Some(chance) = Chance::of(&faults.plan, faults.seed, Fault::GatewayOutage, 0) else {
        return;
    };
    let outage = |outage| switch.change(|faults| faults.outage = outage);
    let phases = async {
        if let Some(seconds) = faults.plan.gateway_outage_seconds {
            switch.call().await;
            tokio::time::sleep(Duration::from_millis(BEFORE_LONG_OUTAGE_MS)).await;
            outage(true);
            tokio::time::sleep(Duration::from_secs(u64::from(seconds))).await;
            outage(false);
            return;
        }
        loop {
            outage(true);
            switch.refusal().await;
            tokio::time::sleep(chance.pause(OUTAGE_MS)).await;
            outage(false);
            tokio::time::sleep(chance.pause(BETWEEN_MS)).await;
        }
    };
    tokio::select! {
        () = phases => {}
        () = faults.over() => {}
    }
}

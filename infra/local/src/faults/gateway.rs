//! The payment gateway is unavailable for seconds at a time, or does not answer after a charge.

use std::sync::Arc;
use std::time::Duration;

use sandbox_gateway::faults::{Faults as GatewayFaults, Switch};

use super::Faults;
use super::chance::Chance;
use stack_api::faults::{Fault, FaultPlan};

/// Share of confirms that are carried out without an answer: every payment is charged and the caller never learns it.
pub const LOST_AFTER_CHARGE: f64 = 1.0;
/// The length of an outage from the first refused request, in milliseconds: from, to.
pub const OUTAGE_MS: (u64, u64) = (1_500, 4_000);
/// The time between two outages, in milliseconds: from, to.
pub const BETWEEN_MS: (u64, u64) = (6_000, 12_000);

/// From the gateway's first call to its one long outage, in milliseconds: in the middle of a sale.
pub const BEFORE_LONG_OUTAGE_MS: u64 = 3_000;

/// What goes wrong at the gateway from the start.
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

/// Starts and ends outages until the faults end. An outage begins with the first request that it refuses, so that every
/// outage is noticed.
pub(super) async fn come_and_go(faults: Arc<Faults>, switch: Arc<Switch>) {
    if !faults.plan.has(Fault::GatewayOutage) {
        return;
    }
    let chance = Chance::new(faults.seed, Fault::GatewayOutage, 0);
    let outage = |outage| switch.change(|faults| faults.outage = outage);
    let pause = |(from, to)| Duration::from_millis(chance.between(from, to));
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
            tokio::time::sleep(pause(OUTAGE_MS)).await;
            outage(false);
            tokio::time::sleep(pause(BETWEEN_MS)).await;
        }
    };
    tokio::select! {
        () = phases => {}
        () = faults.over() => {}
    }
}

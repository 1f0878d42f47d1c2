//! Makes the gateway's webhooks, signed as Stripe signs them, with delays by the plan.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Body;
use domain::ids::OrderId;
use domain::time::Timestamp;
use http::{Method, Request};
use memory::{MemoryGateway, PaymentChange};
use sandbox_gateway::webhooks::signature;
use serde_json::json;
use stripe::webhook::{GATEWAY, SIGNATURE_HEADER};
use tokio::sync::Notify;

use crate::lock::lock;
use crate::plan::WebhookPlan;
use crate::world::World;

/// The secret that the gateway and the function share.
pub const SECRET: &str = "whsec_replay";
/// The longest delay of a prompt webhook, in milliseconds. The answer to this system's own call may take
/// longer.
const PROMPT_MS: u64 = 300;
/// The longest delay of a late webhook, in milliseconds.
const LATE_MS: u64 = 40_000;

/// The changes that no webhook has announced yet.
#[derive(Default)]
pub struct Hooks {
    changes: Mutex<VecDeque<(OrderId, PaymentChange)>>,
    pub(crate) more: Notify,
}

impl Hooks {
    /// Collects every change at `gateway` from now on.
    pub(crate) fn of(gateway: &MemoryGateway) -> Arc<Self> {
        let hooks = Arc::new(Self::default());
        let heard = Arc::clone(&hooks);
        gateway.announce_to(move |order, change| {
            heard.changes().push_back((order.clone(), change));
            heard.more.notify_one();
        });
        hooks
    }

    pub(crate) fn changes(&self) -> MutexGuard<'_, VecDeque<(OrderId, PaymentChange)>> {
        lock(&self.changes)
    }
}

/// The `nth` webhook of a gateway, about `change`, signed with `secret`.
#[must_use]
pub fn request(
    nth: u64,
    order: &OrderId,
    change: PaymentChange,
    now: Timestamp,
    secret: &str,
) -> Option<Request<Body>> {
    let kind = match change {
        PaymentChange::Charged => "payment_intent.succeeded",
        PaymentChange::Declined => "payment_intent.payment_failed",
        PaymentChange::ActionRequired => "payment_intent.requires_action",
        PaymentChange::Cancelled => "payment_intent.canceled",
    };
    let body = json!({
        "id": format!("evt_{nth}"),
        "type": kind,
        "data": {"object": {"metadata": {"order_id": order.as_str()}}},
    })
    .to_string();
    let seconds = now.as_millis().unsigned_abs() / 1_000;
    Request::builder()
        .method(Method::POST)
        .uri(format!("/payments/{GATEWAY}/webhook"))
        .header(SIGNATURE_HEADER, signature(secret, seconds, body.as_bytes()))
        .body(Body::from(body))
        .ok()
}

#[derive(Clone)]
pub(crate) struct Event {
    pub(crate) nth: u64,
    pub(crate) order: OrderId,
    pub(crate) change: PaymentChange,
}

impl Event {
    /// The delay of each copy of the webhook, in milliseconds; empty for a lost webhook.
    pub(crate) fn delays(&self, world: &World) -> Vec<i64> {
        let drawn = |purpose: u64, below: u64| world.drawn_ms(0x3eb, self.nth, purpose, below);
        let (prompt, late) = (|| drawn(1, PROMPT_MS), || drawn(3, LATE_MS));
        match world.plan.system.webhooks {
            WebhookPlan::Never => Vec::new(),
            WebhookPlan::Prompt => vec![prompt()],
            WebhookPlan::Unreliable => match drawn(2, 10) {
                0..=2 => Vec::new(),
                3..=5 => vec![prompt(), late()],
                6..=7 => vec![late()],
                _ => vec![prompt()],
            },
        }
    }
}

//! The gateway's webhooks, signed as Stripe signs them and delivered to `receive-webhook` as reliably as the
//! plan says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use domain::ids::OrderId;
use domain::time::Timestamp;
use http::{Method, Request};
use loadtest::audit::Promise;
use memory::{MemoryGateway, PaymentChange};
use sandbox_gateway::webhooks::signature;
use serde_json::json;
use stripe::webhook::{GATEWAY, SIGNATURE_HEADER};
use tokio::sync::Notify;

use crate::chance::keyed;
use crate::faults::Fault;
use crate::fleet::{Fleet, Invoked};
use crate::plan::WebhookPlan;
use crate::process::Function;
use crate::sabotage::Sabotage;
use crate::world::World;

/// The secret that the gateway and the function share.
pub const SECRET: &str = "whsec_replay";
/// The secret of a forger.
const WRONG_SECRET: &str = "whsec_guessed";
/// The largest number of sends of one event.
const MOST_TRIES: u32 = 6;
/// The pause after the first try, in milliseconds; it doubles with each.
const PAUSE_MS: i64 = 500;
/// The longest delay of a prompt webhook, in milliseconds. The answer to this system's own call may take
/// longer.
const PROMPT_MS: u64 = 300;
/// The longest delay of a late webhook, in milliseconds.
const LATE_MS: u64 = 40_000;

/// Changes that the gateway has to announce.
#[derive(Default)]
pub struct Hooks {
    changes: Mutex<VecDeque<(OrderId, PaymentChange)>>,
    more: Notify,
}

impl Hooks {
    /// Receives every change at `gateway`.
    pub(crate) fn of(gateway: &MemoryGateway) -> Arc<Self> {
        let hooks = Arc::new(Self::default());
        let heard = Arc::clone(&hooks);
        gateway.announce_to(move |order, change| {
            heard.changes().push_back((order.clone(), change));
            heard.more.notify_one();
        });
        hooks
    }

    fn changes(&self) -> MutexGuard<'_, VecDeque<(OrderId, PaymentChange)>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Announces changes, endlessly.
    pub(crate) fn start(self: &Arc<Self>, world: &Arc<World>, fleet: &Arc<Fleet>, plan: WebhookPlan) {
        let (hooks, world, fleet) = (Arc::clone(self), Arc::clone(world), Arc::clone(fleet));
        world.clone().spawn(None, async move {
            for nth in 1.. {
                let (order, change) = loop {
                    let next = hooks.changes().pop_front();
                    match next {
                        Some(next) => break next,
                        None => hooks.more.notified().await,
                    }
                };
                let event = Event { nth, order, change };
                if plan == WebhookPlan::Unreliable {
                    world.count(Fault::WebhookDisorder);
                }
                for delay_ms in event.delays(world.seed, plan) {
                    let (world, fleet, event) = (Arc::clone(&world), Arc::clone(&fleet), event.clone());
                    world.begin();
                    world.clone().spawn(None, async move {
                        world.sleep(delay_ms).await;
                        event.deliver(&world, &fleet, plan).await;
                        world.done();
                    });
                }
            }
        });
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
struct Event {
    nth: u64,
    order: OrderId,
    change: PaymentChange,
}

impl Event {
    /// The delay of each copy of the webhook; empty for a lost one.
    fn delays(&self, seed: u64, plan: WebhookPlan) -> Vec<i64> {
        let drawn = |purpose: u64, below: u64| keyed(seed ^ 0x3eb, self.nth, purpose) % below.max(1);
        let ms = |purpose: u64, longest: u64| i64::try_from(drawn(purpose, longest)).unwrap_or(0);
        match plan {
            WebhookPlan::Never => Vec::new(),
            WebhookPlan::Prompt => vec![ms(1, PROMPT_MS)],
            WebhookPlan::Unreliable => match drawn(2, 10) {
                0..=2 => Vec::new(),
                3..=5 => vec![ms(1, PROMPT_MS), ms(3, LATE_MS)],
                6..=7 => vec![ms(3, LATE_MS)],
                _ => vec![ms(1, PROMPT_MS)],
            },
        }
    }

    fn request(&self, world: &World, secret: &str) -> Option<Request<Body>> {
        request(self.nth, &self.order, self.change, world.now(), secret)
    }

    /// Sends the webhook until it is answered 200, a few times at most. Where webhooks are unreliable, a
    /// forger first sends the same content without the secret.
    async fn deliver(&self, world: &Arc<World>, fleet: &Arc<Fleet>, plan: WebhookPlan) {
        let label = format!("webhook:{}:{}", super::ports::short(&self.order), self.nth);
        if plan == WebhookPlan::Unreliable {
            // The sabotage signs forged webhooks with the valid secret, as if signatures were not checked.
            let any = world.is_sabotaged(Sabotage::TakeAnyWebhook);
            let secret = if any { SECRET } else { WRONG_SECRET };
            let answered = self.send(world, fleet, format!("{label}:forged"), secret).await;
            match answered {
                None | Some(500..600) => {}
                Some(401) => world.note("a forged webhook was refused"),
                Some(status) => world.broken(
                    Promise::UnexpectedAnswers,
                    format!("a forged webhook was answered {status}"),
                ),
            }
        }
        let mut pause_ms = PAUSE_MS;
        for attempt in 1..=MOST_TRIES {
            match self
                .send(world, fleet, format!("{label}:{attempt}"), SECRET)
                .await
            {
                Some(200) => return world.note("a webhook arrived"),
                None | Some(500..600) => {
                    world.sleep(pause_ms).await;
                    pause_ms *= 2;
                }
                Some(status) => {
                    world.broken(
                        Promise::UnexpectedAnswers,
                        format!("a webhook was answered {status}"),
                    );
                    return;
                }
            }
        }
    }

    async fn send(&self, world: &Arc<World>, fleet: &Arc<Fleet>, label: String, secret: &str) -> Option<u16> {
        let request = self.request(world, secret)?;
        match fleet.request(Function::ReceiveWebhook, label, request).await {
            Invoked::Answered(answer) => Some(answer.status),
            Invoked::Failed => None,
        }
    }
}

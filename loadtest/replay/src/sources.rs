//! Runs the event sources, which pass the queues' messages, the stream's records and the gateway's webhooks to the
//! functions, endlessly.

use std::sync::Arc;

use aws_lambda_events::sqs::SqsEvent;
use loadtest::audit::Promise;
use ports::messages::Destination;

use crate::chance::key_of;
use crate::faults::{Fault, Stroke};
use crate::fleet::{Fleet, Invoked};
use crate::function::Function;
use crate::plan::WebhookPlan;
use crate::queue::{self, Message, batch_json, name};
use crate::sabotage::Sabotage;
use crate::stream::{Lane, short};
use crate::webhooks::{self, Event, SECRET};

/// The secret with which a forger signs webhooks.
const WRONG_SECRET: &str = "whsec_guessed";
/// The largest number of sends of one webhook.
const MOST_TRIES: u32 = 6;
/// The pause after the first try of a webhook, in milliseconds; each further pause is twice as long.
const PAUSE_MS: i64 = 500;
/// The longest pause before a failed batch is tried again, in milliseconds.
const RETRY_MS: u64 = 2_000;
/// The longest delay of a record before the relay receives it, in milliseconds.
const LAG_MS: u64 = 150;

/// Starts all event sources.
pub fn start(fleet: &Arc<Fleet>) {
    for lane in &fleet.services.stream.lanes {
        let relayed = relay_lane(Arc::clone(fleet), Arc::clone(lane));
        fleet.world.spawn(None, relayed);
    }
    for of in queue::ALL {
        fleet.world.spawn(None, poll(of, Arc::clone(fleet)));
    }
    fleet.world.spawn(None, announce(Arc::clone(fleet)));
}

/// Polls a queue endlessly, and starts a delivery for each batch.
async fn poll(of: Destination, fleet: Arc<Fleet>) {
    let (world, queues) = (&fleet.world, &fleet.services.deliveries);
    loop {
        if queues.queue(of).in_hand >= u64::from(world.plan.system.workers.max(1)) {
            queues.more(of).notified().await;
            continue;
        }
        match queues.receive(world, of) {
            Ok(messages) => {
                queues.queue(of).in_hand += 1;
                world.begin();
                let fleet = Arc::clone(&fleet);
                world.spawn(None, async move {
                    deliver(of, &fleet, messages).await;
                    let queues = &fleet.services.deliveries;
                    queues.queue(of).in_hand -= 1;
                    fleet.world.done();
                    queues.more(of).notify_one();
                });
            }
            Err(next_ms) => {
                let notified = queues.more(of).notified();
                match next_ms {
                    None => notified.await,
                    Some(at_ms) => {
                        let sleep = world.sleep(at_ms - world.now_ms());
                        futures_util::future::select(std::pin::pin!(notified), sleep).await;
                    }
                }
                // A poll takes up to 40 ms, in which more messages may arrive.
                let now_ms = world.now_ms().unsigned_abs();
                world.sleep(world.drawn_ms(0x9011, now_ms, 0, 40)).await;
            }
        }
    }
}

/// Passes a batch to the function and deletes the handled messages.
async fn deliver(of: Destination, fleet: &Arc<Fleet>, messages: Vec<Message>) {
    let world = &fleet.world;
    let Some(first) = messages.first() else {
        return;
    };
    let label = format!("{}:{}", first.id, first.receives);
    let records = messages
        .iter()
        .map(|message| (message.id.as_str(), message.receives, message.body.as_str()));
    let Ok(event) = serde_json::from_value::<SqsEvent>(batch_json(name(of), records)) else {
        return world.broken(Promise::Inconsistencies, "a queue's event is none");
    };
    let forgets = world.is_sabotaged(Sabotage::AcknowledgeFailedMessages);
    let failed = match fleet.consume(of, label, event).await {
        Invoked::Answered(response) => response.batch_item_failures,
        Invoked::Failed if forgets => Vec::new(),
        Invoked::Failed => return,
    };
    if !failed.is_empty() {
        world.note("a message was not done with");
    }
    let has_failed = |message: &Message| failed.iter().any(|failure| failure.item_identifier == message.id);
    fleet.services.deliveries.queue(of).messages.retain(|message| {
        let delivered = messages.iter().any(|delivered| delivered.id == message.id);
        !delivered || (!forgets && has_failed(message))
    });
}

/// Relays one lane endlessly. After the relay's answer, the next batch begins at the first failed record.
async fn relay_lane(fleet: Arc<Fleet>, lane: Arc<Lane>) {
    let world = &fleet.world;
    let most = u64::from(world.plan.system.stream_batch.max(1));
    let mut tries = 0_u64;
    let mut bound = most;
    loop {
        let Some((label, first, batch)) = lane.next_batch(bound, tries) else {
            lane.more.notified().await;
            let now_ms = world.now_ms().unsigned_abs();
            world.sleep(world.drawn_ms(0x57e4, now_ms, 0, LAG_MS)).await;
            continue;
        };
        let size = batch.records.len() as u64;
        tries += 1;
        match fleet.relay(label.clone(), batch).await {
            Invoked::Answered(report) => {
                let done = lane.handled(&report, first, size);
                let again = world.strikes(Fault::StreamRepeats, &label, tries, |_| Stroke::Again);
                if again.is_some() {
                    continue;
                }
                let mut records = lane.records();
                for _ in 0..done {
                    records.pop_front();
                }
                drop(records);
                if done > 0 {
                    tries = 0;
                    bound = most;
                }
                if done < size {
                    world.note("a batch of the stream was taken up where it failed");
                }
            }
            // The event source halves a batch that failed as a whole.
            Invoked::Failed => {
                bound = (size / 2).max(1);
                let drawn = world.drawn_ms(0x4e74, key_of(&label), tries, RETRY_MS);
                world.sleep(100 + drawn).await;
            }
        }
    }
}

/// Sends webhooks about the gateway's changes, endlessly.
async fn announce(fleet: Arc<Fleet>) {
    let (world, hooks) = (&fleet.world, &fleet.hooks);
    for nth in 1.. {
        let (order, change) = loop {
            let next = hooks.changes().pop_front();
            match next {
                Some(next) => break next,
                None => hooks.more.notified().await,
            }
        };
        let event = Event { nth, order, change };
        if world.plan.system.webhooks == WebhookPlan::Unreliable {
            world.count(Fault::WebhookDisorder);
        }
        for delay_ms in event.delays(world) {
            let (fleet, event) = (Arc::clone(&fleet), event.clone());
            world.begin();
            world.spawn(None, async move {
                fleet.world.sleep(delay_ms).await;
                send_webhook(&event, &fleet).await;
                fleet.world.done();
            });
        }
    }
}

/// Sends the webhook until it is answered 200, at most [`MOST_TRIES`] times. If webhooks are unreliable, a forger
/// first sends the same content, signed with a wrong secret.
async fn send_webhook(event: &Event, fleet: &Arc<Fleet>) {
    let world = &fleet.world;
    let surprised = |what: &str, status: u16| {
        world.broken(
            Promise::UnexpectedAnswers,
            format!("{what} was answered {status}"),
        );
    };
    let label = format!("webhook:{}:{}", short(&event.order), event.nth);
    if world.plan.system.webhooks == WebhookPlan::Unreliable {
        // The sabotage signs forged webhooks with the valid secret, as if signatures were not checked.
        let any = world.is_sabotaged(Sabotage::TakeAnyWebhook);
        let secret = if any { SECRET } else { WRONG_SECRET };
        match post_webhook(event, fleet, format!("{label}:forged"), secret).await {
            None | Some(500..600) => {}
            Some(401) => world.note("a forged webhook was refused"),
            Some(status) => surprised("a forged webhook", status),
        }
    }
    let mut pause_ms = PAUSE_MS;
    for attempt in 1..=MOST_TRIES {
        match post_webhook(event, fleet, format!("{label}:{attempt}"), SECRET).await {
            Some(200) => return world.note("a webhook arrived"),
            None | Some(500..600) => {
                world.sleep(pause_ms).await;
                pause_ms *= 2;
            }
            Some(status) => return surprised("a webhook", status),
        }
    }
}

/// Sends the webhook once. Returns the status of the answer; `None` if the function failed.
async fn post_webhook(event: &Event, fleet: &Arc<Fleet>, label: String, secret: &str) -> Option<u16> {
    let now = fleet.world.now();
    let request = webhooks::request(event.nth, &event.order, event.change, now, secret)?;
    match fleet.request(Function::ReceiveWebhook, label, request).await {
        Invoked::Answered(answer) => Some(answer.status),
        Invoked::Failed => None,
    }
}

//! Runs the event sources, which pass the queues' messages, the stream's records and the gateway's webhooks to the
//! functions, endlessly.

use std::sync::Arc;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use loadtest::audit::Promise;
use ports::messages::Destination;

use crate::chance::{key_of, keyed};
use crate::faults::{Fault, Stroke};
use crate::fleet::{Fleet, Invoked};
use crate::function::Function;
use crate::plan::{SystemPlan, WebhookPlan};
use crate::ports::short;
use crate::queue::{self, Message, batch_json, name};
use crate::sabotage::Sabotage;
use crate::stream::Lane;
use crate::webhooks::{Event, SECRET};
use crate::world::World;

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
pub fn start(world: &Arc<World>, fleet: &Arc<Fleet>, system: &SystemPlan) {
    for lane in fleet.stream.lanes() {
        let lane = Arc::clone(lane);
        let relayed = relay_lane(Arc::clone(world), Arc::clone(fleet), lane, fleet.stream.batch());
        world.spawn(None, relayed);
    }
    for of in queue::ALL {
        let polled = poll(of, Arc::clone(world), Arc::clone(fleet), system.clone());
        world.spawn(None, polled);
    }
    let announced = announce(Arc::clone(world), Arc::clone(fleet), system.webhooks);
    world.spawn(None, announced);
}

/// Polls a queue endlessly, and starts a delivery for each batch.
async fn poll(of: Destination, world: Arc<World>, fleet: Arc<Fleet>, system: SystemPlan) {
    let queues = Arc::clone(&fleet.deliveries);
    loop {
        if queues.queue(of).in_hand >= u64::from(system.workers.max(1)) {
            queues.more(of).notified().await;
            continue;
        }
        match queues.receive(&world, of, &system) {
            Ok(messages) => {
                queues.queue(of).in_hand += 1;
                world.begin();
                let (queues, world, fleet) = (Arc::clone(&queues), Arc::clone(&world), Arc::clone(&fleet));
                world.clone().spawn(None, async move {
                    deliver(of, &world, &fleet, messages).await;
                    queues.queue(of).in_hand -= 1;
                    world.done();
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
                let drawn = keyed(world.seed ^ 0x9011, world.now_ms().unsigned_abs(), 0) % 40;
                world.sleep(i64::try_from(drawn).unwrap_or(0)).await;
            }
        }
    }
}

/// Passes a batch to the function and deletes the handled messages.
async fn deliver(of: Destination, world: &World, fleet: &Arc<Fleet>, messages: Vec<Message>) {
    let Some(first) = messages.first() else {
        return;
    };
    let label = format!("{}:{}", first.id, first.receives);
    let records = messages
        .iter()
        .map(|message| (message.id.as_str(), message.receives, message.body.as_str()));
    let Ok(event) = serde_json::from_value::<SqsEvent>(batch_json(name(of), records)) else {
        world.broken(Promise::Inconsistencies, "a queue's event is none");
        return;
    };
    let invoked = match of {
        Destination::Payments => fleet.process(label, event).await,
        Destination::Ledger => fleet.project(label, event).await,
        Destination::Mail if world.is_sabotaged(Sabotage::NobodyTells) => {
            Invoked::Answered(SqsBatchResponse::default())
        }
        Destination::Mail => fleet.notify(label, event).await,
    };
    let failed: Vec<String> = match invoked {
        Invoked::Answered(SqsBatchResponse {
            batch_item_failures, ..
        }) => batch_item_failures
            .into_iter()
            .map(|failure| failure.item_identifier)
            .collect(),
        Invoked::Failed => {
            if !world.is_sabotaged(Sabotage::AcknowledgeFailedMessages) {
                return;
            }
            Vec::new()
        }
    };
    if !failed.is_empty() {
        world.note("a message was not done with");
    }
    let keep = !world.is_sabotaged(Sabotage::AcknowledgeFailedMessages);
    fleet.deliveries.queue(of).messages.retain(|message| {
        let delivered = messages.iter().any(|delivered| delivered.id == message.id);
        !delivered || (keep && failed.contains(&message.id))
    });
}

/// Relays one lane endlessly. After the relay's answer, the next batch begins at the first failed record.
async fn relay_lane(world: Arc<World>, fleet: Arc<Fleet>, lane: Arc<Lane>, most: u64) {
    let mut tries = 0_u64;
    let mut bound = most;
    loop {
        let Some((label, first, batch)) = lane.next_batch(bound, tries) else {
            lane.more.notified().await;
            let drawn = keyed(world.seed ^ 0x57e4, world.now_ms().unsigned_abs(), 0);
            world.sleep(i64::try_from(drawn % LAG_MS).unwrap_or(0)).await;
            continue;
        };
        let size = batch.records.len() as u64;
        tries += 1;
        match fleet.relay(label.clone(), batch).await {
            Invoked::Answered(report) => {
                let done = lane.handled(&report, first, size);
                let again = world.strikes(Fault::StreamRepeats, &label, tries, |_| Some(Stroke::Again));
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
                let drawn = keyed(world.seed ^ 0x4e74, key_of(&label), tries);
                world
                    .sleep(i64::try_from(100 + drawn % RETRY_MS).unwrap_or(0))
                    .await;
            }
        }
    }
}

/// Sends webhooks about the gateway's changes, endlessly.
async fn announce(world: Arc<World>, fleet: Arc<Fleet>, plan: WebhookPlan) {
    let hooks = Arc::clone(&fleet.hooks);
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
                send_webhook(&event, &world, &fleet, plan).await;
                world.done();
            });
        }
    }
}

/// Sends the webhook until it is answered 200, at most [`MOST_TRIES`] times. If webhooks are unreliable, a forger
/// first sends the same content, signed with a wrong secret.
async fn send_webhook(event: &Event, world: &Arc<World>, fleet: &Arc<Fleet>, plan: WebhookPlan) {
    let label = format!("webhook:{}:{}", short(&event.order), event.nth);
    if plan == WebhookPlan::Unreliable {
        // The sabotage signs forged webhooks with the valid secret, as if signatures were not checked.
        let any = world.is_sabotaged(Sabotage::TakeAnyWebhook);
        let secret = if any { SECRET } else { WRONG_SECRET };
        let answered = post_webhook(event, world, fleet, format!("{label}:forged"), secret).await;
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
        match post_webhook(event, world, fleet, format!("{label}:{attempt}"), SECRET).await {
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

/// Sends the webhook once. Returns the status of the answer; `None` if the function failed.
async fn post_webhook(
    event: &Event,
    world: &World,
    fleet: &Arc<Fleet>,
    label: String,
    secret: &str,
) -> Option<u16> {
    let request = event.request(world, secret)?;
    match fleet.request(Function::ReceiveWebhook, label, request).await {
        Invoked::Answered(answer) => Some(answer.status),
        Invoked::Failed => None,
    }
}

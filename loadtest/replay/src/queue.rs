//! Models standard queues: delivery at least once, in no order, and again after the visibility timeout unless
//! a message is deleted.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use domain::limits::Trigger;
use events::{OrderEvent, PaymentHint};
use loadtest::audit::Promise;
use ports::messages::{Destination, HINT_DELAY_SECONDS};
use serde_json::json;
use tokio::sync::Notify;

use crate::chance::{key_of, keyed};
use crate::faults::{Fault, Stroke};
use crate::function::Function;
use crate::lock::lock;
use crate::world::World;

/// All queues of order events.
pub const ALL: [Destination; 3] = [Destination::Payments, Destination::Ledger, Destination::Mail];

/// The number of receives before a message becomes a dead letter, by the template.
fn max_receives(of: Destination) -> u32 {
    match consumer(of).limits().trigger {
        Trigger::Queue { max_receives, .. } => max_receives,
        _ => 0,
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) body: String,
    pub(crate) receives: u32,
    visible_ms: i64,
}

#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) messages: Vec<Message>,
    dead: Vec<Message>,
    /// Whether the operator has moved dead letters back.
    redriven: bool,
    /// The number of sends of each event, so that every copy has its own name.
    sent: BTreeMap<String, u64>,
    /// The number of batches that functions process now.
    pub(crate) in_hand: u64,
}

/// The receiving side of the queues: their messages, and notifications for the event sources.
#[derive(Default)]
pub struct Deliveries {
    payments: (Mutex<Queue>, Notify),
    ledger: (Mutex<Queue>, Notify),
    mail: (Mutex<Queue>, Notify),
}

#[must_use]
pub const fn name(of: Destination) -> &'static str {
    match of {
        Destination::Payments => "payments",
        Destination::Ledger => "ledger",
        Destination::Mail => "mail",
    }
}

/// The function that handles a queue's messages.
#[must_use]
pub const fn consumer(of: Destination) -> Function {
    match of {
        Destination::Payments => Function::ProcessOrder,
        Destination::Ledger => Function::ProjectLedger,
        Destination::Mail => Function::NotifyShopper,
    }
}

impl Deliveries {
    const fn of(&self, of: Destination) -> &(Mutex<Queue>, Notify) {
        match of {
            Destination::Payments => &self.payments,
            Destination::Ledger => &self.ledger,
            Destination::Mail => &self.mail,
        }
    }

    pub(crate) fn queue(&self, of: Destination) -> MutexGuard<'_, Queue> {
        lock(&self.of(of).0)
    }

    /// Notifies the event source of a new message or of a finished batch.
    pub(crate) const fn more(&self, of: Destination) -> &Notify {
        &self.of(of).1
    }

    /// Adds a message with an event that the queue accepted.
    pub fn accept(&self, world: &World, to: Destination, event: &OrderEvent) {
        self.take(world, to, event.id(), event.encode().ok(), 0);
    }

    /// Adds a message with a hint that the queue accepted.
    pub fn accept_hint(&self, world: &World, hint: &PaymentHint) {
        let body = hint.encode().ok();
        let delay_ms = 1_000 * i64::from(HINT_DELAY_SECONDS);
        self.take(world, Destination::Payments, hint.event.clone(), body, delay_ms);
    }

    /// Adds a message that becomes visible after `out_of_sight_ms`.
    fn take(&self, world: &World, to: Destination, id: String, body: Option<String>, out_of_sight_ms: i64) {
        // The sender encoded the accepted message, so encoding cannot fail here.
        let Some(body) = body else {
            return world.broken(Promise::Inconsistencies, format!("{id} cannot be encoded"));
        };
        let mut queue = self.queue(to);
        let label = format!("{}:{id}", name(to));
        let sent = queue.sent.entry(id).or_default();
        *sent += 1;
        let nth = *sent;
        let lag = |chance: u64| Stroke::Delayed(u32::try_from(200 + chance % 8_000).unwrap_or(0));
        let delay_ms = match world.strikes(Fault::QueueReorder, &label, nth, lag) {
            Some(Stroke::Delayed(ms)) => i64::from(ms),
            _ => 0,
        };
        let again = format!("{label}:twice");
        let twice = world.strikes(Fault::QueueDuplicates, &again, nth, |_| Stroke::Again);
        let mut add = |copy: &str, delay_ms: i64| {
            queue.messages.push(Message {
                id: format!("{label}#{nth}{copy}"),
                body: body.clone(),
                receives: 0,
                visible_ms: world.now_ms() + out_of_sight_ms + delay_ms,
            });
        };
        add("", delay_ms);
        if twice.is_some() {
            add("b", world.drawn_ms(0x7421, key_of(&label), nth, 6_000));
        }
        drop(queue);
        self.more(to).notify_one();
    }

    /// Whether every message was deleted or became a dead letter.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        ALL.into_iter().all(|of| self.queue(of).messages.is_empty())
    }

    /// Dead letters, by queue.
    #[must_use]
    pub fn dead(&self) -> [(&'static str, u64); 3] {
        ALL.map(|of| (name(of), self.queue(of).dead.len() as u64))
    }

    /// Remaining messages, by queue.
    #[must_use]
    pub fn left(&self) -> [(&'static str, u64); 3] {
        ALL.map(|of| (name(of), self.queue(of).messages.len() as u64))
    }

    /// Moves dead letters back to their queue, as an operator does after the cause is repaired; returns their
    /// number.
    pub fn redrive(&self, world: &World) -> usize {
        let mut moved = 0;
        for of in ALL {
            let mut queue = self.queue(of);
            let dead = std::mem::take(&mut queue.dead);
            moved += dead.len();
            queue.redriven = true;
            queue.messages.extend(dead.into_iter().map(|message| Message {
                receives: 0,
                visible_ms: world.now_ms(),
                ..message
            }));
            drop(queue);
            self.more(of).notify_one();
        }
        moved
    }

    /// Receives one batch of visible messages in random order, or returns the time at which the next message
    /// becomes visible, in milliseconds since the beginning.
    pub(crate) fn receive(&self, world: &World, of: Destination) -> Result<Vec<Message>, Option<i64>> {
        let now_ms = world.now_ms();
        let system = &world.plan.system;
        let mut queue = self.queue(of);
        // A message that an operator moved back is received as often as the template allows.
        let limit = system.max_receives.filter(|_| !queue.redriven);
        let limit = limit.unwrap_or_else(|| max_receives(of));
        let is_dead = |message: &mut Message| message.receives >= limit && message.visible_ms <= now_ms;
        let dead: Vec<Message> = queue.messages.extract_if(.., is_dead).collect();
        for message in &dead {
            world.tell(|| format!("{} is put aside", message.id));
        }
        queue.dead.extend(dead);
        let mut visible: Vec<&mut Message> = queue
            .messages
            .iter_mut()
            .filter(|message| message.visible_ms <= now_ms)
            .collect();
        if visible.is_empty() {
            return Err(queue.messages.iter().map(|message| message.visible_ms).min());
        }
        visible.sort_by_cached_key(|message| {
            keyed(
                world.plan.seed ^ 0x0de4,
                key_of(&message.id),
                message.receives.into(),
            )
        });
        let most = usize::from(system.queue_batch.max(1));
        let received = visible.into_iter().take(most).map(|message| {
            message.receives += 1;
            message.visible_ms = now_ms + i64::from(system.visibility_ms);
            if message.receives > 1 {
                world.note("a message appeared again");
            }
            message.clone()
        });
        Ok(received.collect())
    }
}

/// A batch of a queue in Lambda's format: the id, the receive count and the body of each message.
pub fn batch_json<'a>(
    queue: &str,
    messages: impl Iterator<Item = (&'a str, u32, &'a str)>,
) -> serde_json::Value {
    let records = messages.map(|(id, receives, body)| {
        json!({
            "messageId": id,
            "receiptHandle": format!("{id}/{receives}"),
            "body": body,
            "attributes": {"ApproximateReceiveCount": receives.to_string()},
            "messageAttributes": {},
            "eventSource": "aws:sqs",
            "eventSourceARN": format!("arn:aws:sqs:eu-central-1:000000000000:{queue}"),
            "awsRegion": "eu-central-1",
        })
    });
    json!({ "Records": records.collect::<Vec<_>>() })
}

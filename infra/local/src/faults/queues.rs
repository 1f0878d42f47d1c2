//! Injects faults of standard queues between SQS and a function: duplicates and reordering.
//!
//! Both are injected after the receive. A copy keeps the message's id and receipt, as SQS's own duplicates do, and is
//! delivered shortly afterwards. A held message is delivered later from memory, within its visibility timeout.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::chance::Chance;
use super::tables::Strike;
use crate::lock;
use crate::wire::Message;
use stack_api::faults::{Fault, FaultPlan};

/// Share of messages that are delivered twice.
pub const DUPLICATED: f64 = 0.2;
/// The longest delay of a copy, in milliseconds.
pub const COPY_WITHIN_MS: u64 = 3_000;
/// Share of messages that are held back.
pub const HELD_BACK: f64 = 0.3;
/// The longest time that a message is held back, in milliseconds.
pub const HELD_WITHIN_MS: u64 = 4_000;
/// How long a receive waits while messages are held back.
pub const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Kept {
    due: Instant,
    message: Message,
}

#[derive(Debug)]
pub struct Queues {
    duplicates: Option<Chance>,
    reorder: Option<Chance>,
    kept: Mutex<HashMap<String, Vec<Kept>>>,
}

impl Queues {
    pub(super) fn new(plan: &FaultPlan, seed: u64) -> Self {
        Self {
            duplicates: Chance::of(plan, seed, Fault::QueueDuplicates, 0),
            reorder: Chance::of(plan, seed, Fault::QueueReorder, 0),
            kept: Mutex::default(),
        }
    }

    /// Whether messages of a queue are held back.
    #[must_use]
    pub fn keeps(&self, queue: &str) -> bool {
        let kept = lock(&self.kept);
        kept.get(queue).is_some_and(|kept| !kept.is_empty())
    }

    /// The messages to deliver now, at most `most`: received messages, and held messages that are due. When the faults
    /// have ended (`on` is false), held messages are delivered whether due or not.
    pub(super) fn pass(
        &self,
        queue: &str,
        received: Vec<Message>,
        most: usize,
        now: Instant,
        on: bool,
    ) -> (Vec<Message>, Vec<Strike>) {
        if self.duplicates.is_none() && self.reorder.is_none() {
            return (received, Vec::new());
        }
        let mut strikes = Vec::new();
        let mut kept = lock(&self.kept);
        let kept = kept.entry(queue.to_owned()).or_default();
        for message in received {
            if on
                && let Some(chance) = &self.duplicates
                && chance.strikes(DUPLICATED, 0)
            {
                let due = now + chance.pause((0, COPY_WITHIN_MS));
                let message = message.clone();
                kept.push(Kept { due, message });
                strikes.push((Fault::QueueDuplicates, "copy", 1));
            }
            let mut due = now;
            if on
                && let Some(chance) = &self.reorder
                && chance.strikes(HELD_BACK, 0)
            {
                due += chance.pause((1, HELD_WITHIN_MS));
                strikes.push((Fault::QueueReorder, "held back", 1));
            }
            kept.push(Kept { due, message });
        }
        let mut due: Vec<Message> = Vec::new();
        let mut later = Vec::new();
        for one in kept.drain(..) {
            // SQS never returns the same message twice in one batch, so a copy waits for the next batch.
            let twice = due.iter().any(|other| other.message_id == one.message.message_id);
            if due.len() < most && !twice && (!on || one.due <= now) {
                due.push(one.message);
            } else {
                later.push(one);
            }
        }
        *kept = later;
        if on && let Some(chance) = &self.reorder {
            chance.shuffle(&mut due);
        }
        (due, strikes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn message(id: usize) -> Message {
        Message {
            message_id: id.to_string(),
            receipt_handle: format!("receipt-{id}"),
            body: String::new(),
            md5_of_body: String::new(),
            attributes: BTreeMap::new(),
            message_attributes: BTreeMap::new(),
        }
    }

    fn ids(messages: &[Message]) -> Vec<usize> {
        messages.iter().map(|m| m.message_id.parse().unwrap()).collect()
    }

    /// The ids of all deliveries, and the number of injected faults, when ten messages arrive in each of ten rounds,
    /// followed by rounds without new messages.
    fn delivered(faults: &str) -> (Vec<usize>, usize) {
        let queues = Queues::new(&faults.parse().unwrap(), 5);
        let began = Instant::now();
        let (mut all, mut strikes) = (Vec::new(), 0);
        for round in 0..40 {
            let received = match round {
                0..10 => (round * 10..round * 10 + 10).map(message).collect(),
                _ => Vec::new(),
            };
            let now = began + Duration::from_secs(round as u64);
            let (due, struck) = queues.pass("q", received, 10, now, true);
            assert!(due.len() <= 10);
            all.extend(ids(&due));
            strikes += struck.len();
        }
        assert!(!queues.keeps("q"));
        (all, strikes)
    }

    #[test]
    fn without_faults_messages_pass() {
        assert_eq!(delivered("throttle"), ((0..100).collect(), 0));
    }

    #[test]
    fn copies_come_beside_their_messages() {
        let (mut all, strikes) = delivered("queue-duplicates");
        assert_eq!(all.len(), 100 + strikes);
        assert!((10..=35).contains(&strikes), "{strikes}");
        all.sort_unstable();
        all.dedup();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn reordering_loses_nothing() {
        let (mut all, strikes) = delivered("queue-reorder");
        assert!(strikes >= 15);
        assert_ne!(all, (0..100).collect::<Vec<_>>());
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn when_the_faults_are_over_what_is_kept_is_delivered() {
        let queues = Queues::new(&"queue-reorder".parse().unwrap(), 5);
        let now = Instant::now();
        let (first, _) = queues.pass("q", (0..10).map(message).collect(), 10, now, true);
        assert!(first.len() < 10 && queues.keeps("q"));
        let (rest, _) = queues.pass("q", Vec::new(), 10, now, false);
        assert_eq!(first.len() + rest.len(), 10);
    }
}

//! Simulates queues that record the sent messages.

use std::collections::VecDeque;

use events::{OrderEvent, PaymentHint};
use ports::messages::{Destination, ParkRecord, SendError, SendEvents, SendHint};

use crate::shared::Shared;
use crate::yielding::yield_now;

/// The outcome of a message that is not reported as accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SendFault {
    /// The message is lost.
    Lost,
    /// The message is in the queue; the outcome is unknown to the sender.
    Unconfirmed,
}

#[derive(Debug, Default)]
struct Sent {
    events: Vec<(Destination, OrderEvent)>,
    hints: Vec<PaymentHint>,
    parked: Vec<String>,
    event_faults: VecDeque<Option<SendFault>>,
    park_faults: VecDeque<SendFault>,
}

/// The queues, in memory. Clones share their messages.
#[derive(Debug, Clone, Default)]
pub struct MemoryQueues {
    sent: Shared<Sent>,
}

impl MemoryQueues {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Every event accepted, in order.
    #[must_use]
    pub fn sent(&self) -> Vec<(Destination, OrderEvent)> {
        self.sent.lock().events.clone()
    }

    /// Every event that the queue `to` accepted, in order.
    #[must_use]
    pub fn sent_to(&self, to: Destination) -> Vec<OrderEvent> {
        let sent = self.sent.lock();
        let there = sent.events.iter().filter(|(destination, _)| *destination == to);
        there.map(|(_, event)| event.clone()).collect()
    }

    /// Removes and returns every event in the queue `to`, as a consumer does that handles all events.
    pub fn drain(&self, to: Destination) -> Vec<OrderEvent> {
        let mut sent = self.sent.lock();
        let (there, rest) = std::mem::take(&mut sent.events)
            .into_iter()
            .partition(|(destination, _)| *destination == to);
        sent.events = rest;
        there.into_iter().map(|(_, event)| event).collect()
    }

    /// Every hint accepted, in order.
    #[must_use]
    pub fn hints(&self) -> Vec<PaymentHint> {
        self.sent.lock().hints.clone()
    }

    /// Every raw record parked, in order.
    #[must_use]
    pub fn parked(&self) -> Vec<String> {
        self.sent.lock().parked.clone()
    }

    /// Queues the outcome of the next event or hint that has no queued outcome: a failure, or success with `None`.
    pub fn fail_next_event(&self, fault: Option<SendFault>) {
        self.sent.lock().event_faults.push_back(fault);
    }

    /// Queues a failure for the next parked record that has no queued failure.
    pub fn fail_next_park(&self, fault: SendFault) {
        self.sent.lock().park_faults.push_back(fault);
    }
}

/// Keeps a message unless the fault loses it, and returns the answer to the sender.
fn answer(fault: Option<SendFault>, keep: impl FnOnce()) -> Result<(), SendError> {
    if fault != Some(SendFault::Lost) {
        keep();
    }
    fault.map_or(Ok(()), |_| Err(SendError("a fault on purpose".to_owned())))
}

impl SendEvents for MemoryQueues {
    async fn send(&self, to: Destination, events: &[OrderEvent]) -> Vec<Result<(), SendError>> {
        yield_now().await;
        let mut sent = self.sent.lock();
        events
            .iter()
            .map(|event| {
                let fault = sent.event_faults.pop_front().flatten();
                answer(fault, || sent.events.push((to, event.clone())))
            })
            .collect()
    }
}

impl SendHint for MemoryQueues {
    async fn hint(&self, hint: &PaymentHint) -> Result<(), SendError> {
        yield_now().await;
        let mut sent = self.sent.lock();
        let fault = sent.event_faults.pop_front().flatten();
        answer(fault, || sent.hints.push(hint.clone()))
    }
}

impl ParkRecord for MemoryQueues {
    async fn park(&self, raw: &str) -> Result<(), SendError> {
        yield_now().await;
        let mut sent = self.sent.lock();
        let fault = sent.park_faults.pop_front();
        answer(fault, || sent.parked.push(raw.to_owned()))
    }
}

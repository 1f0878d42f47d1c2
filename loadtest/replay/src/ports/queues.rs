//! Implements the sending side of the queues.

use std::sync::Arc;

use events::{OrderEvent, PaymentHint};
use memory::MemoryQueues;
use ports::messages::{Destination, ParkRecord, SendError, SendEvents, SendHint};

use crate::chance::keyed;
use crate::faults::{Fault, Place, Stroke};
use crate::function::Function;
use crate::ports::ledger::told;
use crate::process::Process;
use crate::queue::Deliveries;
use crate::sabotage::Sabotage;

/// The queue port of one process.
#[derive(Clone)]
pub struct Queues {
    process: Arc<Process>,
    memory: MemoryQueues,
    deliveries: Arc<Deliveries>,
}

impl Queues {
    /// The queue port of `process`; accepted messages go to `deliveries`.
    #[must_use]
    pub fn new(process: &Arc<Process>, memory: &MemoryQueues, deliveries: &Arc<Deliveries>) -> Self {
        Self {
            process: Arc::clone(process),
            memory: memory.clone(),
            deliveries: Arc::clone(deliveries),
        }
    }
}

fn refused() -> SendError {
    SendError("a fault on purpose".to_owned())
}

impl SendEvents for Queues {
    async fn send(&self, to: Destination, events: &[OrderEvent]) -> Vec<Result<(), SendError>> {
        let world = &self.process.world;
        let arrival = self.process.arrive(Place::Send);
        world.sleep(arrival.before_ms).await;
        if arrival.stroke == Some(Stroke::DiesBefore) {
            self.process.die().await;
        }
        if world.is_away(Fault::QueueRefusals) {
            self.process.tell(|| format!("the queue {to:?} is away"));
            return events.iter().map(|_| Err(refused())).collect();
        }
        // A stroke hits a random part of a batch, and at least the first message.
        let hit = keyed(
            world.seed ^ 0x5e4d,
            self.process.id,
            world.now_ms().unsigned_abs(),
        );
        let is_hit = |n: usize| n == 0 || hit >> (n % 60) & 1 == 1;
        let lost = |n: usize| arrival.stroke == Some(Stroke::UnknownBefore) && is_hit(n);
        let unconfirmed = |n: usize| arrival.stroke == Some(Stroke::UnknownAfter) && is_hit(n);
        let dropped = |event: &OrderEvent| {
            world.is_sabotaged(Sabotage::RelayDropsRecord)
                && to == Destination::Ledger
                && self.process.function == Function::RelayEvents
                && crate::chance::key_of(&event.id()).is_multiple_of(5)
        };
        let accepted: Vec<OrderEvent> = events
            .iter()
            .enumerate()
            .filter(|(n, event)| !lost(*n) && !dropped(event))
            .map(|(_, event)| event.clone())
            .collect();
        self.memory.send(to, &accepted).await;
        for event in self.memory.drain(to) {
            self.deliveries.accept(world, to, &event);
        }
        self.process.tell(|| {
            let ids: Vec<String> = accepted.iter().map(told).collect();
            format!("send {to:?} [{}] of {}", ids.join(", "), events.len())
        });
        if arrival.stroke == Some(Stroke::DiesAfter) {
            self.process.die().await;
        }
        world.sleep(arrival.after_ms).await;
        (0..events.len())
            .map(|n| {
                if lost(n) || unconfirmed(n) {
                    Err(refused())
                } else {
                    Ok(())
                }
            })
            .collect()
    }
}

impl SendHint for Queues {
    async fn hint(&self, hint: &PaymentHint) -> Result<(), SendError> {
        let process = &self.process;
        let taken = process.hand_over(Some(Fault::QueueRefusals), || {
            self.deliveries.accept_hint(&process.world, hint);
            process.tell(|| format!("hint {}", hint.event));
        });
        if taken.await { Ok(()) } else { Err(refused()) }
    }
}

impl ParkRecord for Queues {
    async fn park(&self, raw: &str) -> Result<(), SendError> {
        // No part of the replay makes an unreadable record, so the audit counts a parked record as a dead
        // letter.
        self.memory.park(raw).await
    }
}

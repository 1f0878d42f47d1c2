//! Implements the sending side of the queues.

use events::{OrderEvent, PaymentHint};
use ports::messages::{Destination, ParkRecord, SendError, SendEvents, SendHint};

use crate::chance::{key_of, keyed};
use crate::faults::{Fault, Place, Stroke};
use crate::function::Function;
use crate::ports::Ports;
use crate::ports::ledger::told;
use crate::sabotage::Sabotage;

fn refused() -> SendError {
    SendError("a fault on purpose".to_owned())
}

impl SendEvents for Ports {
    async fn send(&self, to: Destination, events: &[OrderEvent]) -> Vec<Result<(), SendError>> {
        let world = self.world();
        let queues = &self.services.queues;
        let (stroke, after_ms) = self.process.arrive(Place::Send).await;
        if stroke == Some(Stroke::DiesBefore) {
            self.process.die().await;
        }
        if world.is_away(Fault::QueueRefusals) {
            self.process.tell(|| format!("the queue {to:?} is away"));
            return events.iter().map(|_| Err(refused())).collect();
        }
        // A stroke hits a random part of a batch, and at least the first message.
        let now_ms = world.now_ms().unsigned_abs();
        let hit = keyed(world.plan.seed ^ 0x5e4d, self.process.id, now_ms);
        let is_hit = |n: usize| n == 0 || hit >> (n % 60) & 1 == 1;
        let lost = |n: usize| stroke == Some(Stroke::UnknownBefore) && is_hit(n);
        let unconfirmed = |n: usize| stroke == Some(Stroke::UnknownAfter) && is_hit(n);
        let dropped = |event: &OrderEvent| {
            world.is_sabotaged(Sabotage::RelayDropsRecord)
                && to == Destination::Ledger
                && self.process.function == Function::RelayEvents
                && key_of(&event.id()).is_multiple_of(5)
        };
        let accepted: Vec<OrderEvent> = events
            .iter()
            .enumerate()
            .filter(|(n, event)| !lost(*n) && !dropped(event))
            .map(|(_, event)| event.clone())
            .collect();
        queues.send(to, &accepted).await;
        for event in queues.drain(to) {
            self.services.deliveries.accept(world, to, &event);
        }
        self.process.tell(|| {
            let ids: Vec<String> = accepted.iter().map(told).collect();
            format!("send {to:?} [{}] of {}", ids.join(", "), events.len())
        });
        if stroke == Some(Stroke::DiesAfter) {
            self.process.die().await;
        }
        world.sleep(after_ms).await;
        let confirmed = |n: usize| !lost(n) && !unconfirmed(n);
        (0..events.len())
            .map(|n| confirmed(n).then_some(()).ok_or_else(refused))
            .collect()
    }
}

impl SendHint for Ports {
    async fn hint(&self, hint: &PaymentHint) -> Result<(), SendError> {
        let process = &self.process;
        let taken = process.hand_over(Some(Fault::QueueRefusals), || {
            self.services.deliveries.accept_hint(&process.world, hint);
            process.tell(|| format!("hint {}", hint.event));
        });
        taken.await.then_some(()).ok_or_else(refused)
    }
}

impl ParkRecord for Ports {
    async fn park(&self, raw: &str) -> Result<(), SendError> {
        // No part of the replay makes an unreadable record, so the audit counts a parked record as a dead
        // letter.
        self.services.queues.park(raw).await
    }
}

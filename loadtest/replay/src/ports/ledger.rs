//! Implements the port of the ledger: every call takes virtual time, and faults can hit it.

use events::OrderEvent;
use ports::ledger::{LedgerError, ProjectOrders, Projected};

use crate::faults::{Fault, Place, Stroke};
use crate::ports::Ports;
use crate::stream::short;

fn away() -> LedgerError {
    LedgerError::Unavailable("a fault on purpose".to_owned())
}

impl ProjectOrders for Ports {
    async fn project(&self, events: &[OrderEvent]) -> Vec<Result<Projected, LedgerError>> {
        let world = self.world();
        let (stroke, after_ms) = self.process.arrive(Place::Ledger).await;
        let refused = || events.iter().map(|_| Err(away())).collect::<Vec<_>>();
        if world.is_away(Fault::PostgresRestart) || world.is_away(Fault::PostgresOutage) {
            self.process.tell(|| "the ledger is away".to_owned());
            return refused();
        }
        let answers = match stroke {
            Some(Stroke::DiesBefore) => {
                self.process.die().await;
                refused()
            }
            Some(Stroke::UnknownBefore) => refused(),
            stroke => {
                let answers = self.services.ledger.project(events).await;
                for answer in &answers {
                    match answer {
                        Ok(Projected::Known) => world.note("the ledger knew the version"),
                        Ok(Projected::Late) => world.note("an older version came after a newer one"),
                        _ => {}
                    }
                }
                if stroke == Some(Stroke::DiesAfter) {
                    self.process.die().await;
                }
                if stroke == Some(Stroke::UnknownAfter) {
                    refused()
                } else {
                    answers
                }
            }
        };
        self.process.tell(|| {
            let ids: Vec<String> = events.iter().map(told).collect();
            let done = answers.iter().filter(|answer| answer.is_ok()).count();
            format!("project [{}] -> {done} written", ids.join(", "))
        });
        world.sleep(after_ms).await;
        answers
    }
}

/// Describes an event in the history.
pub(crate) fn told(event: &OrderEvent) -> String {
    let (id, version) = (short(&event.data.order_id), event.data.version);
    format!("{id}:{version} {:?}", event.kind)
}

//! Implements the port of the ledger: every call takes virtual time, and faults can hit it.

use std::sync::Arc;

use events::OrderEvent;
use memory::MemoryLedger;
use ports::ledger::{LedgerError, ProjectOrders, Projected};

use crate::faults::{Fault, Place, Stroke};
use crate::process::Process;

/// The ledger port of one process.
#[derive(Clone)]
pub struct Ledger {
    process: Arc<Process>,
    memory: MemoryLedger,
}

impl Ledger {
    /// The ledger port of `process`.
    #[must_use]
    pub fn new(process: &Arc<Process>, memory: &MemoryLedger) -> Self {
        Self {
            process: Arc::clone(process),
            memory: memory.clone(),
        }
    }
}

fn away() -> LedgerError {
    LedgerError::Unavailable("a fault on purpose".to_owned())
}

impl ProjectOrders for Ledger {
    async fn project(&self, events: &[OrderEvent]) -> Vec<Result<Projected, LedgerError>> {
        let world = &self.process.world;
        let arrival = self.process.arrive(Place::Ledger);
        world.sleep(arrival.before_ms).await;
        let refused = || events.iter().map(|_| Err(away())).collect::<Vec<_>>();
        if world.is_away(Fault::PostgresRestart) || world.is_away(Fault::PostgresOutage) {
            self.process.tell(|| "the ledger is away".to_owned());
            return refused();
        }
        let answers = match arrival.stroke {
            Some(Stroke::DiesBefore) => {
                self.process.die().await;
                refused()
            }
            Some(Stroke::UnknownBefore) => refused(),
            stroke => {
                let answers = self.memory.project(events).await;
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
        world.sleep(arrival.after_ms).await;
        answers
    }
}

/// Describes an event in the history.
pub(crate) fn told(event: &OrderEvent) -> String {
    let id = &event.data.order_id;
    format!(
        "{}:{} {:?}",
        super::tell::short(id),
        event.data.version,
        event.kind
    )
}

//! Verifies that the capacity exists. A requested value does not count.

use capacity::readiness::{Measured, PartKind, Readiness, readiness};
use capacity::reconcile::Decision;
use domain::time::Timestamp;
use ports::runtime::Runtime;

use crate::{Account, Drops, Prescaler, Read, RunStore};

/// The period over which spill-over is counted, in ms.
const SPILL_OVER_MS: i64 = 60_000;

impl<A: Account, S: RunStore, D: Drops, R: Runtime> Prescaler<A, S, D, R> {
    /// The readiness of each drop whose time runs.
    pub(crate) async fn readiness_of_all(
        &self,
        read: &Read,
        decision: &Decision,
        now: Timestamp,
    ) -> Vec<Readiness> {
        if decision.wanted.drops.is_empty() {
            return Vec::new();
        }
        let mut measured = self.measure(read, decision, now).await;
        let all = |measured: &Measured| -> Vec<Readiness> {
            let one = |wanted: &capacity::wanted::WantedDrop| {
                let drop = read.docs.drop(&wanted.drop)?;
                let (docs, quotas) = (&read.docs, &read.quotas);
                Some(readiness(docs, quotas, drop, wanted, &read.seen, measured, now))
            };
            decision.wanted.drops.iter().filter_map(one).collect()
        };
        let first = all(&measured);
        // Trial invocations wait until a drop's other parts are ready. Before, they would only show cold functions.
        if first.iter().any(|readiness| readiness.ready) {
            for name in decision.wanted.capacity.functions.keys() {
                let answered = self.account.answers(name).await;
                if let Err(error) = &answered {
                    tracing::warn!(function = name, %error, "the trial invocation could not be made, so the function counts as not ready");
                }
                let answered = answered.unwrap_or(false);
                measured.answered.insert(name.clone(), answered);
            }
        }
        let all = all(&measured);
        for readiness in &all {
            let waits: Vec<(PartKind, &str)> = (readiness.parts.iter())
                .filter(|part| !part.ready)
                .map(|part| (part.kind, part.name.as_str()))
                .collect();
            tracing::info!(
                drop = readiness.drop.as_str(),
                ready = readiness.ready,
                on_course = readiness.on_course,
                ?waits,
                "the drop's readiness was computed; `waits` names the parts that are not ready"
            );
        }
        all
    }

    /// A database size that cannot be measured counts as not ready; spill-over that cannot be measured counts as zero.
    async fn measure(&self, read: &Read, decision: &Decision, now: Timestamp) -> Measured {
        let mut measured = Measured::default();
        match self.account.reached_acu(now).await {
            Ok(acu) => measured.reached_acu = acu,
            Err(error) => {
                tracing::warn!(%error, "the database's size cannot be measured, so it counts as not ready")
            }
        }
        let since = now.plus_millis(-SPILL_OVER_MS);
        for (name, there) in &read.seen.observed.functions {
            if there.asked.provisioned == 0 || !decision.wanted.capacity.functions.contains_key(name) {
                continue;
            }
            match self.account.spill_over(name, since, now).await {
                Ok(invocations) => drop(measured.spill_over.insert(name.clone(), invocations)),
                Err(error) => {
                    tracing::warn!(function = name, %error, "spill-over cannot be measured, so it counts as zero")
                }
            }
        }
        measured
    }
}

//! Reports the progress of runs as log lines and metrics.
//!
//! A conductor that is stuck causes no errors. So its runs report what they *did* as metrics, and an alarm compares the
//! number of active drops with the number of steps.

use domain::time::Timestamp;
use serde::Serialize;
use serde_json::Value;
use startup::metrics::{COUNT, line};

use crate::step::StepOutcome;

/// The numbers of steps, holds, orders and statuses of a run since its last report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Drops that are on.
    pub drops: u64,
    /// Steps made under the lease.
    pub steps: u64,
    /// Checks of a lease that another run held.
    pub standby: u64,
    pub failed_steps: u64,
    pub shards: u64,
    pub returned_holds: u64,
    /// Orders of cancelled drops whose end was requested.
    pub ended_orders: u64,
    pub statuses: u64,
}

fn many(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

impl Progress {
    pub fn count(&mut self, stepped: &StepOutcome) {
        match stepped {
            StepOutcome::Standby => self.standby += 1,
            StepOutcome::Conducted(report) | StepOutcome::Over(report) => {
                self.steps += 1;
                self.shards += many(report.shards);
                self.returned_holds += many(report.returned.done());
                self.ended_orders += many(report.asked.asked);
                self.statuses += u64::from(report.written);
            }
        }
    }

    /// Adds the steps, shards, holds, orders and statuses of a later part of the run. `drops` is not a sum: it becomes
    /// the later part's number.
    pub fn add(&mut self, other: &Self) {
        self.drops = other.drops;
        self.steps += other.steps;
        self.standby += other.standby;
        self.failed_steps += other.failed_steps;
        self.shards += other.shards;
        self.returned_holds += other.returned_holds;
        self.ended_orders += other.ended_orders;
        self.statuses += other.statuses;
    }

    /// The CloudWatch metrics line, with the deployment stage as dimension.
    #[must_use]
    pub fn metrics(&self, stage: &str, now: Timestamp) -> Value {
        let count = |name: &'static str, number: u64| (name, COUNT, Value::from(number));
        let metrics = [
            count("ConductedDrops", self.drops),
            count("ConductorSteps", self.steps),
            count("ConductorFailedSteps", self.failed_steps),
            count("ReturnedHolds", self.returned_holds),
            count("EndedOrders", self.ended_orders),
        ];
        let others = [
            ("standby", self.standby),
            ("shards", self.shards),
            ("statuses", self.statuses),
        ];
        line("the conductor's progress", stage, now, &metrics, &others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_told() {
        let progress = Progress {
            drops: 2,
            steps: 20,
            failed_steps: 1,
            returned_holds: 7,
            statuses: 3,
            ..Progress::default()
        };
        let line = progress.metrics("dev", Timestamp::from_millis(1_800_000_000_000));
        let number = |name: &str| line[name].as_u64();
        let names = [
            "ConductedDrops",
            "ConductorSteps",
            "ConductorFailedSteps",
            "ReturnedHolds",
            "EndedOrders",
            "statuses",
        ];
        assert_eq!(names.map(number), [2, 20, 1, 7, 0, 3].map(Some));
    }
}

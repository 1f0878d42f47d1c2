//! Defines the measured load of one drop, as a local run or an exporter of production metrics writes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use domain::drops::FieldError;
use domain::ids::DropId;

use super::mistakes::Mistakes;
use super::phase::{ByPhase, Phase};
use super::profile::MOST_MS;

/// The measurements of one function. A value that the source cannot measure is `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionMeasured {
    /// The function's name in the profile.
    pub function: String,
    /// The number of invocations in each phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invocations: Option<ByPhase<u64>>,
    /// The 95th percentile of the duration of a warm invocation over all routes, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_ms: Option<f64>,
    /// The mean duration of a warm invocation, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_ms: Option<f64>,
}

/// The units that one table used in the drop. A value that the source cannot measure is `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableMeasured {
    /// The table's name in the profile.
    pub table: String,
    /// The number of write units, including those of refused writes and of indexes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_units: Option<f64>,
    /// The number of read units of all readers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_units: Option<f64>,
    /// The number of read units by function, for all functions that read the table; `None` if the source
    /// cannot separate them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_units_by_function: Option<BTreeMap<String, f64>>,
}

/// The messages that one queue delivered in the drop. A value that the source cannot measure is `None`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueMeasured {
    /// The event source's name in the profile.
    pub source: String,
    /// The number of messages delivered to the function. A redelivered message counts again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<u64>,
    /// The 95th percentile of the time to handle one message, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handling_p95_ms: Option<f64>,
}

/// The measured load of one drop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// The origin of the numbers: the run or export, its time, and what the source could not measure.
    pub source: String,
    /// The drop that was measured.
    pub drop: DropId,
    /// The number of shoppers. If shoppers were not counted, this is the expected number, and the weights
    /// then count requests for each expected shopper.
    pub shoppers: u32,
    /// The number of units on sale.
    pub units: u32,
    /// The number of units sold; `None` if they were not counted, and then the units on sale are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sold: Option<u32>,
    /// The length of each phase, in seconds.
    pub seconds: ByPhase<f64>,
    /// The measurements of each function.
    #[serde(rename = "function", default)]
    pub functions: Vec<FunctionMeasured>,
    /// The measurements of each table.
    #[serde(rename = "table", default)]
    pub tables: Vec<TableMeasured>,
    /// The measurements of each queue.
    #[serde(rename = "queue", default)]
    pub queues: Vec<QueueMeasured>,
    /// The number of rows written to the ledger; `None` if they were not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger_rows: Option<u64>,
}

/// The longest phase that is accepted, in seconds: 31 days.
const MOST_SECONDS: f64 = 2_678_400.0;
/// The largest count that is plausible for one drop.
const MOST_COUNT: f64 = 1e12;

impl Measured {
    /// All mistakes in the numbers. The numbers can be used if the list is empty.
    #[must_use]
    pub fn mistakes(&self) -> Vec<FieldError> {
        let mut m = Mistakes::default();
        let is_named = !self.source.trim().is_empty();
        m.check(is_named, "source", "says where the numbers come from");
        let shoppers = 1..=100_000_000;
        m.check(shoppers.contains(&self.shoppers), "shoppers", "1 to 100000000");
        m.check((1..=10_000_000).contains(&self.units), "units", "1 to 10000000");
        let is_possible = self.sold.is_none_or(|sold| sold <= self.units);
        m.check(is_possible, "sold", "not above units");
        for phase in Phase::ALL {
            let seconds = *self.seconds.of(phase);
            m.within(seconds, 0.0, MOST_SECONDS, format!("seconds.{phase}"));
        }
        m.check(self.seconds.opening > 0.0, "seconds.opening", "above 0");
        // A value that was not measured counts as 0, which is within every range.
        let functions = &self.functions;
        m.list("function", functions, ("function", |f| &f.function), |m, f| {
            m.within(f.p95_ms.unwrap_or(0.0), 0.0, MOST_MS, "p95_ms");
            m.within(f.mean_ms.unwrap_or(0.0), 0.0, MOST_MS, "mean_ms");
            let invocations = f.invocations.unwrap_or(ByPhase::each(|_| 0));
            for phase in Phase::ALL {
                let count = float(*invocations.of(phase));
                m.within(count, 0.0, MOST_COUNT, format!("invocations.{phase}"));
            }
        });
        m.list("table", &self.tables, ("table", |t| &t.table), |m, table| {
            m.within(table.write_units.unwrap_or(0.0), 0.0, MOST_COUNT, "write_units");
            m.within(table.read_units.unwrap_or(0.0), 0.0, MOST_COUNT, "read_units");
            for (function, units) in table.read_units_by_function.iter().flatten() {
                let at = format!("read_units_by_function.{function}");
                m.within(*units, 0.0, MOST_COUNT, at);
            }
        });
        m.list("queue", &self.queues, ("source", |q| &q.source), |m, queue| {
            m.within(queue.messages.map_or(0.0, float), 0.0, MOST_COUNT, "messages");
            let handling_ms = queue.handling_p95_ms.unwrap_or(0.0);
            m.within(handling_ms, 0.0, MOST_MS, "handling_p95_ms");
        });
        let rows = self.ledger_rows.map_or(0.0, float);
        m.check(rows <= MOST_COUNT, "ledger_rows", format!("at most {MOST_COUNT}"));
        m.found()
    }

    /// The measurements of one function; `None` if the drop has none of it.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<&FunctionMeasured> {
        self.functions.iter().find(|f| f.function == name)
    }

    /// The measurements of one table; `None` if the drop has none of it.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&TableMeasured> {
        self.tables.iter().find(|t| t.table == name)
    }

    /// The measurements of one queue; `None` if the drop has none of it.
    #[must_use]
    pub fn queue(&self, name: &str) -> Option<&QueueMeasured> {
        self.queues.iter().find(|q| q.source == name)
    }
}

impl FunctionMeasured {
    /// The number of invocations over the whole drop; `None` if they were not counted.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        let invocations = self.invocations?.all().into_iter();
        Some(invocations.fold(0, u64::saturating_add))
    }
}

/// The conversion loses no precision, since counts of one drop stay far below 2^53.
#[allow(clippy::cast_precision_loss, reason = "counts of a drop")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

/// The 95th percentile of durations, in ms; `None` if there are none. Each entry has a duration in µs and its
/// count; the shortest duration comes first.
#[must_use]
pub fn percentile_95(counts: &[(u64, u64)]) -> Option<f64> {
    let whole: u64 = counts.iter().map(|(_, count)| count).sum();
    let enough = whole.saturating_mul(95).div_ceil(100);
    let mut so_far = 0;
    let reached = counts.iter().filter(|(_, count)| *count > 0).find(|(_, count)| {
        so_far += count;
        so_far >= enough
    });
    reached.map(|(us, _)| float(*us) / 1000.0)
}

/// The 95th percentile of the time for one message of a queue, in ms: the percentile of an invocation,
/// divided by the mean number of messages of an invocation. `None` without messages.
#[must_use]
pub fn handling_p95_ms(p95_ms: f64, invocations: u64, messages: u64) -> Option<f64> {
    (messages > 0).then(|| p95_ms * float(invocations.min(messages)) / float(messages))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_is_the_time_that_enough_stay_within() {
        assert_eq!(percentile_95(&[]), None);
        assert_eq!(percentile_95(&[(1_000, 0)]), None);
        assert_eq!(percentile_95(&[(1_000, 1)]), Some(1.0));
        assert_eq!(percentile_95(&[(1_000, 95), (2_000, 5)]), Some(1.0));
        assert_eq!(percentile_95(&[(1_000, 94), (2_000, 0), (3_000, 6)]), Some(3.0));
    }

    #[test]
    fn a_message_takes_its_part_of_an_invocation() {
        assert_eq!(handling_p95_ms(250.0, 12, 48), Some(62.5));
        // Invocations without messages must not raise the time for each message.
        assert_eq!(handling_p95_ms(250.0, 12, 6), Some(250.0));
        assert_eq!(handling_p95_ms(250.0, 12, 0), None);
    }
}

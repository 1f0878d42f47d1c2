//! Records the load that a drop caused in each phase, and writes it to `measured.json`, from which profiles are
//! made.
//!
//! The stack's meter only counts up, so a task reads it at the ends of the phases: when the drop is published, at
//! the opening, at the end of the surge, when the last visit has ended, and after the drain.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use api::moment::Moment;
use capacity::measured::{FunctionMeasured, Measured, QueueMeasured, TableMeasured};
use capacity::measured::{handling_p95_ms, percentile_95};
use capacity::profile::ByPhase;
use domain::time::Timestamp;
use stack_api::{FunctionUse, Meter, RunTimes, StackFile, TableUse};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::collect::of_ledger;
use crate::facts::DropFacts;
use crate::files::write;
use crate::usage::{float, meter};
use crate::world::Opening;

#[derive(Debug, Clone)]
struct Mark {
    at: Instant,
    meter: Meter,
}

async fn mark(stack: &StackFile) -> anyhow::Result<Mark> {
    Ok(Mark {
        at: Instant::now(),
        meter: meter(stack).await?,
    })
}

/// Reads the meter at the ends of the phases, from the drop's publication until the last visit ends.
#[derive(Debug)]
pub struct Watch {
    stack: StackFile,
    marks: JoinHandle<anyhow::Result<[Mark; 3]>>,
    left: oneshot::Sender<()>,
}

impl Watch {
    /// Starts to read the meter. The surge lasts `surge_seconds` from the opening.
    #[must_use]
    pub fn begin(stack: &StackFile, opening: Opening, surge_seconds: f64) -> Self {
        let (left, everyone_left) = oneshot::channel();
        let surge = Duration::try_from_secs_f64(surge_seconds).unwrap_or_default();
        let ends = [opening.instant, opening.instant + surge];
        Self {
            marks: tokio::spawn(watch(stack.clone(), ends, everyone_left)),
            stack: stack.clone(),
            left,
        }
    }

    /// Marks that all visits have ended. A phase still in progress ends now.
    ///
    /// # Errors
    /// When a read of the meter failed.
    pub async fn left(self) -> anyhow::Result<Left> {
        let _ = self.left.send(());
        let [published, opened, surged] = self.marks.await.context("watching the phases")??;
        let marks = [published, opened, surged, mark(&self.stack).await?];
        let stack = self.stack;
        Ok(Left { stack, marks })
    }
}

async fn watch(
    stack: StackFile,
    [opening, surge_end]: [Instant; 2],
    mut everyone_left: oneshot::Receiver<()>,
) -> anyhow::Result<[Mark; 3]> {
    let published = mark(&stack).await?;
    let over = timeout_at(opening, &mut everyone_left).await.is_ok();
    let opened = mark(&stack).await?;
    if !over {
        // The result does not matter: the surge ends at its time or with the last visit.
        let _ = timeout_at(surge_end, everyone_left).await;
    }
    Ok([published, opened, mark(&stack).await?])
}

/// The readings of the meter up to the end of the last visit.
#[derive(Debug)]
pub struct Left {
    stack: StackFile,
    marks: [Mark; 4],
}

impl Left {
    /// Reads the meter at the end of the drain, and counts the rows of the ledger.
    ///
    /// # Errors
    /// When the meter or the ledger could not be read.
    pub async fn drained(self, drop: &DropFacts) -> anyhow::Result<Demand> {
        let [published, opened, surged, left] = self.marks;
        let marks = [published, opened, surged, left, mark(&self.stack).await?];
        let ledger_rows = ledger_rows(&self.stack, &drop.drop_id).await?;
        Ok(Demand { marks, ledger_rows })
    }
}

/// The readings of the meter over the whole drop, and the number of ledger rows that the drop wrote.
#[derive(Debug)]
pub struct Demand {
    marks: [Mark; 5],
    ledger_rows: u64,
}

/// The description of a run in `measured.json`: the drop, and the numbers of shoppers and sold units.
#[derive(Debug, Clone)]
pub struct Crowd<'a> {
    /// A description of the run: the drop file, the seed, the machine.
    pub run: String,
    pub drop: &'a DropFacts,
    pub shoppers: u32,
    pub sold: u64,
}

impl Demand {
    /// The content of `measured.json`. Functions have the name of their binary, tables and queues their name in the
    /// template.
    ///
    /// # Errors
    /// When a number is out of the document's range.
    pub fn measured(&self, crowd: &Crowd<'_>) -> anyhow::Result<Measured> {
        let day = serde_json::to_value(Moment(Timestamp::from_millis(crowd.drop.starts_at_ms)))?;
        let day = day.as_str().unwrap_or_default();
        let units: u32 = crowd.drop.skus.iter().map(|sku| sku.units).sum();
        let measured = Measured {
            source: format!("{}, opened {day}", crowd.run),
            drop: crowd.drop.drop_id.parse()?,
            shoppers: crowd.shoppers,
            units,
            sold: Some(u32::try_from(crowd.sold)?),
            seconds: self.seconds(),
            functions: self.functions(),
            tables: self.tables(),
            queues: self.queues(),
            ledger_rows: Some(self.ledger_rows),
        };
        let mistakes = measured.mistakes().into_iter();
        let mistakes = mistakes.map(|mistake| format!("{}: {}", mistake.field, mistake.message));
        let mistakes: Vec<String> = mistakes.collect();
        anyhow::ensure!(mistakes.is_empty(), "what was measured: {}", mistakes.join("; "));
        Ok(measured)
    }

    /// Writes the document into the run's folder.
    ///
    /// # Errors
    /// When the document cannot be written, and those of [`Demand::measured`].
    pub fn write(&self, folder: &Path, crowd: &Crowd<'_>) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(&self.measured(crowd)?)?;
        write(&folder.join("measured.json"), text)
    }

    fn phases<T>(&self, of: impl Fn(&Mark, &Mark) -> T) -> ByPhase<T> {
        let [published, opened, surged, left, drained] = &self.marks;
        ByPhase {
            before: of(published, opened),
            opening: of(opened, surged),
            sale: of(surged, left),
            tail: of(left, drained),
        }
    }

    fn seconds(&self) -> ByPhase<f64> {
        self.phases(|from, to| to.at.duration_since(from.at).as_secs_f64())
    }

    /// The first and the last reading of the meter, which span the whole drop.
    fn whole(&self) -> (&Meter, &Meter) {
        let [first, .., last] = &self.marks;
        (&first.meter, &last.meter)
    }

    fn functions(&self) -> Vec<FunctionMeasured> {
        let (first, last) = self.whole();
        let mut names: Vec<&str> = last.functions.iter().map(|f| f.function.as_str()).collect();
        names.dedup();
        let measured = |name: &str| {
            let count = |meter: &Meter| sum(meter, |f| (f.function == name).then_some(f.invocations));
            let invocations = self.phases(|from, to| count(&to.meter).saturating_sub(count(&from.meter)));
            let ms = |meter: &Meter| -> f64 {
                let mine = meter.functions.iter().filter(|f| f.function == name);
                mine.map(|f| f.duration_ms).sum()
            };
            let whole = count(last).saturating_sub(count(first));
            FunctionMeasured {
                function: name.to_owned(),
                invocations: Some(invocations),
                p95_ms: percentile_95(&between(first, last, name)),
                mean_ms: (whole > 0).then(|| (ms(last) - ms(first)) / float(whole)),
            }
        };
        names.into_iter().map(measured).collect()
    }

    fn tables(&self) -> Vec<TableMeasured> {
        let (first, last) = self.whole();
        // Only usage by functions counts, also by invocations that had ended; reads of the audit and the sampler do
        // not.
        let used = |table: &str, of: fn(&TableUse) -> f64| -> f64 {
            let sum = |meter: &Meter| -> f64 {
                let by_functions = meter.functions.iter().filter_map(|f| f.tables.get(table));
                let stray = meter.unattributed.get(table);
                by_functions.chain(stray).map(of).sum()
            };
            sum(last) - sum(first)
        };
        let mut names: Vec<&str> = (last.functions.iter())
            .flat_map(|f| f.tables.keys())
            .chain(last.unattributed.keys())
            .map(String::as_str)
            .collect();
        names.sort_unstable();
        names.dedup();
        let measured = |name: &str| {
            let mut by_function: BTreeMap<String, f64> = BTreeMap::new();
            for (meter, sign) in [(last, 1.0), (first, -1.0)] {
                for function in &meter.functions {
                    let read = function.tables.get(name).map_or(0.0, |used| used.rcu);
                    *by_function.entry(function.function.clone()).or_default() += sign * read;
                }
            }
            by_function.retain(|_, units| *units > 0.0);
            TableMeasured {
                table: in_template(name, "Table"),
                write_units: Some(used(name, |t| t.wcu)),
                read_units: Some(used(name, |t| t.rcu)),
                read_units_by_function: Some(by_function),
            }
        };
        names.into_iter().map(measured).collect()
    }

    fn queues(&self) -> Vec<QueueMeasured> {
        let (first, last) = self.whole();
        let measured = |(name, count): (&String, &u64)| {
            let messages = count.saturating_sub(first.messages.get(name).copied().unwrap_or(0));
            let route = format!("sqs:{name}");
            let handling = (last.functions.iter().find(|f| f.route == route)).and_then(|reader| {
                let runs = |meter: &Meter| sum(meter, |f| (f.route == route).then_some(f.invocations));
                let invocations = runs(last).saturating_sub(runs(first));
                let p95_ms = percentile_95(&between(first, last, &reader.function))?;
                handling_p95_ms(p95_ms, invocations, messages)
            });
            QueueMeasured {
                source: in_template(name, "Queue"),
                messages: Some(messages),
                handling_p95_ms: handling,
            }
        };
        last.messages.iter().map(measured).collect()
    }
}

fn sum(meter: &Meter, of: impl Fn(&FunctionUse) -> Option<u64>) -> u64 {
    meter.functions.iter().filter_map(of).sum()
}

/// The run times of a function between two readings of the meter, shortest first: the time in µs, and the number of
/// runs that took it.
fn between(first: &Meter, last: &Meter, function: &str) -> Vec<(u64, u64)> {
    let empty = RunTimes::default();
    let past: BTreeMap<u64, u64> = (first.run_times.get(function).unwrap_or(&empty).counts.iter())
        .copied()
        .collect();
    let all = &last.run_times.get(function).unwrap_or(&empty).counts;
    all.iter()
        .map(|(us, count)| (*us, count.saturating_sub(past.get(us).copied().unwrap_or(0))))
        .collect()
}

/// Converts `payments-dlq` to the template's `PaymentsDlqQueue`.
fn in_template(name: &str, kind: &str) -> String {
    let capital = |word: &str| {
        let (first, rest) = word.split_at_checked(1).unwrap_or_default();
        first.to_ascii_uppercase() + rest
    };
    name.split('-').map(capital).collect::<String>() + kind
}

/// Counts the ledger's row writes of a drop. Each version of an order makes one history row and one write to the
/// order's row. Each capture or refund makes one more row.
async fn ledger_rows(stack: &StackFile, drop_id: &str) -> anyhow::Result<u64> {
    const QUERY: &str = "SELECT 2 * (SELECT count(*) FROM ledger_order_versions JOIN ledger_orders USING (order_id) \
                         WHERE drop_id::text = $1) \
                         + (SELECT count(*) FROM ledger_entries JOIN ledger_orders USING (order_id) \
                         WHERE drop_id::text = $1)";
    let rows = of_ledger(stack, QUERY, drop_id).await?;
    let rows: i64 = rows.first().context("counting the ledger's rows")?.try_get(0)?;
    Ok(u64::try_from(rows)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(
        function: &str,
        route: &str,
        invocations: u64,
        duration_ms: f64,
        wcu: f64,
        rcu: f64,
    ) -> FunctionUse {
        FunctionUse {
            function: function.to_owned(),
            route: route.to_owned(),
            status: 200,
            invocations,
            duration_ms,
            tables: BTreeMap::from([(
                "stock".to_owned(),
                TableUse {
                    wcu,
                    rcu,
                    ..TableUse::default()
                },
            )]),
        }
    }

    fn meter(functions: Vec<FunctionUse>, times: &[(&str, &[(u64, u64)])], payments: u64) -> Meter {
        let run_times = times.iter().map(|(function, counts)| {
            let counts = counts.to_vec();
            ((*function).to_owned(), RunTimes { p95_ms: 0.0, counts })
        });
        Meter {
            functions,
            run_times: run_times.collect(),
            messages: BTreeMap::from([("payments".to_owned(), payments)]),
            unattributed: BTreeMap::from([(
                "stock".to_owned(),
                TableUse {
                    wcu: float(payments),
                    ..TableUse::default()
                },
            )]),
            ..Meter::default()
        }
    }

    /// Ten requests are made before the opening, 60 in the surge and 30 in the sale; twelve batches of payments
    /// follow in the tail.
    fn demand() -> Demand {
        let began = Instant::now();
        let at = |seconds: u64, meter: Meter| Mark {
            at: began + Duration::from_secs(seconds),
            meter,
        };
        let reserve = |invocations, wcu| {
            used(
                "reserve",
                "POST /r",
                invocations,
                float(invocations) * 4.0,
                wcu,
                wcu,
            )
        };
        let past: &[(u64, u64)] = &[(1_000, 500), (900_000, 5)];
        let marks = [
            at(0, meter(vec![reserve(505, 7.0)], &[("reserve", past)], 3)),
            at(10, meter(vec![reserve(515, 7.0)], &[], 3)),
            at(35, meter(vec![reserve(575, 50.0)], &[], 3)),
            at(95, meter(vec![reserve(605, 57.0)], &[], 3)),
            at(
                120,
                meter(
                    vec![
                        reserve(605, 57.0),
                        used("process-order", "schedule", 1, 1.0, 0.0, 0.0),
                        used("process-order", "sqs:payments", 12, 1_200.0, 20.0, 0.0),
                    ],
                    &[
                        ("reserve", &[(1_000, 590), (8_000, 9), (64_000, 1), (900_000, 5)]),
                        ("process-order", &[(100_000, 11), (250_000, 2)]),
                    ],
                    51,
                ),
            ),
        ];
        Demand {
            marks,
            ledger_rows: 77,
        }
    }

    fn drop_facts() -> DropFacts {
        DropFacts {
            drop_id: "default-abc".to_owned(),
            published_at_ms: 1_899_999_990_000,
            starts_at_ms: 1_900_000_000_000,
            ends_at_ms: 1_900_000_085_000,
            hold_seconds: 15,
            payment_seconds: 20,
            per_shopper_limit: 1,
            skus: vec![crate::facts::SkuFacts {
                sku: "A".to_owned(),
                units: 20,
            }],
        }
    }

    #[test]
    fn a_run_is_told_by_phase_and_without_what_was_before() {
        let drop = drop_facts();
        let crowd = Crowd {
            run: "local run".to_owned(),
            drop: &drop,
            shoppers: 50,
            sold: 16,
        };
        let measured = demand().measured(&crowd).unwrap();
        assert_eq!(measured.source, "local run, opened 2030-03-17T17:46:40.000Z");
        assert_eq!(measured.seconds.all(), [10.0, 25.0, 60.0, 25.0]);
        let reserve = measured.function("reserve").unwrap();
        assert_eq!(reserve.invocations.unwrap().all(), [10, 60, 30, 0]);
        // Of the 100 requests of this drop, 90 take 1 ms and 9 take 8 ms.
        assert_eq!(reserve.p95_ms, Some(8.0));
        assert_eq!(reserve.mean_ms, Some(4.0));
        assert_eq!(
            measured
                .function("process-order")
                .unwrap()
                .invocations
                .unwrap()
                .all(),
            [0, 0, 0, 13]
        );
        let stock = measured.table("StockTable").unwrap();
        // The units are 50 of `reserve`, 20 of `process-order`, and 48 of invocations that had ended.
        assert_eq!(stock.write_units, Some(118.0));
        assert_eq!(stock.read_units, Some(50.0));
        let reads = BTreeMap::from([("reserve".to_owned(), 50.0)]);
        assert_eq!(stock.read_units_by_function, Some(reads));
        let payments = measured.queue("PaymentsQueue").unwrap();
        // The 48 messages come in twelve batches of four. The 95th percentile of a run is 250 ms, that of a message
        // a quarter.
        assert_eq!(payments.messages, Some(48));
        assert_eq!(payments.handling_p95_ms, Some(62.5));
        assert_eq!(measured.units, 20);
        assert_eq!(measured.sold, Some(16));
        assert_eq!(measured.ledger_rows, Some(77));
    }

    #[test]
    fn names_are_those_of_the_template() {
        assert_eq!(in_template("stock", "Table"), "StockTable");
        assert_eq!(in_template("relay-parked", "Queue"), "RelayParkedQueue");
    }
}

//! Reads the load of a drop from CloudWatch, minute by minute.
//!
//! A minute belongs to the phase in which it begins. The 95th percentile of a function is the value of the function's
//! busiest minute, for which capacity is planned; percentiles of several minutes cannot be averaged.

use std::collections::BTreeMap;

use capacity::baseline::Baseline;
use capacity::calendar::CalendarDrop;
use capacity::measured::{FunctionMeasured, Measured, QueueMeasured, TableMeasured, handling_p95_ms};
use capacity::phase::Phase;
use capacity::profile::ByPhase;
use domain::time::Timestamp;
use ports::orders::FindDueOrders;
use ports::prescale::{ControlError, MeasureDemand};

use crate::measure::{Question, whole};
use crate::{AwsAccount, at_once};

/// Metric values by the beginning of their minute, in seconds since 1970.
type Minutes = BTreeMap<i64, f64>;

impl<O: FindDueOrders> MeasureDemand for AwsAccount<O> {
    async fn demand(
        &self,
        baseline: &Baseline,
        drop: &CalendarDrop,
    ) -> Result<Option<Measured>, ControlError> {
        let functions = baseline.functions.iter();
        let functions = functions.map(|f| self.function_demand(&f.function, drop));
        let mut functions = at_once(functions).await?;
        let tables = baseline.tables.iter().map(|t| self.table_demand(&t.table, drop));
        let mut tables = at_once(tables).await?;
        let queues = baseline.queues.iter().map(|q| {
            let reader = functions.iter().find(|f| f.function == q.function);
            self.queue_demand(&q.source, reader.cloned(), drop)
        });
        let mut queues = at_once(queues).await?;
        functions.sort_by(|a, b| a.function.cmp(&b.function));
        tables.sort_by(|a, b| a.table.cmp(&b.table));
        queues.sort_by(|a, b| a.source.cmp(&b.source));
        let told = functions.iter().any(|f| f.invocations.is_some())
            || tables.iter().any(|t| t.write_units.or(t.read_units).is_some())
            || queues.iter().any(|q| q.messages.is_some());
        let stretches = drop.stretches();
        Ok(told.then(|| Measured {
            source: format!(
                "CloudWatch of drop {} (ms {} to {}); shoppers as expected, units as on sale",
                drop.id,
                drop.gathers_at().as_millis(),
                drop.drains_by().as_millis()
            ),
            drop: drop.id.clone(),
            shoppers: drop.shoppers,
            units: drop.units,
            sold: None,
            seconds: ByPhase::each(|phase| f64::from(stretches.of(phase).seconds)),
            functions,
            tables,
            queues,
            ledger_rows: None,
        }))
    }
}

impl<O> AwsAccount<O> {
    async fn function_demand(
        &self,
        function: &str,
        drop: &CalendarDrop,
    ) -> Result<FunctionMeasured, ControlError> {
        let name = &self.function(function)?.name;
        let resource = format!("{name}:{}", self.names.alias);
        let dimensions = [("FunctionName", name.as_str()), ("Resource", resource.as_str())];
        let ask = async |metric, statistic| {
            let minutes = self.minutes("AWS/Lambda", metric, &dimensions, statistic, drop);
            minutes.await
        };
        let invocations = ask("Invocations", "Sum").await?;
        if invocations.is_empty() {
            return Ok(FunctionMeasured {
                function: function.to_owned(),
                ..FunctionMeasured::default()
            });
        }
        let p95 = ask("Duration", "p95").await?;
        let mean = ask("Duration", "Average").await?;
        Ok(FunctionMeasured {
            function: function.to_owned(),
            p95_ms: of_busiest(&invocations, &p95),
            mean_ms: weighted(&invocations, &mean),
            invocations: Some(by_phase(&invocations, drop)),
        })
    }

    async fn table_demand(&self, table: &str, drop: &CalendarDrop) -> Result<TableMeasured, ControlError> {
        // A table without a name in the account has no metrics.
        let Some(name) = self.names.tables.get(table) else {
            return Ok(TableMeasured {
                table: table.to_owned(),
                ..TableMeasured::default()
            });
        };
        let dimensions = [("TableName", name.as_str())];
        let ask = async |metric| -> Result<Option<f64>, ControlError> {
            let minutes = self.minutes("AWS/DynamoDB", metric, &dimensions, "Sum", drop);
            Ok(sum(&minutes.await?))
        };
        Ok(TableMeasured {
            table: table.to_owned(),
            write_units: ask("ConsumedWriteCapacityUnits").await?,
            read_units: ask("ConsumedReadCapacityUnits").await?,
            read_units_by_function: None,
        })
    }

    async fn queue_demand(
        &self,
        source: &str,
        reader: Option<FunctionMeasured>,
        drop: &CalendarDrop,
    ) -> Result<QueueMeasured, ControlError> {
        let named = self.names.sources.get(source);
        let url = named.map(|named| named.queue_url.as_str());
        let name = url.and_then(|url| url.rsplit('/').next()).unwrap_or_default();
        let minutes = if name.is_empty() {
            Minutes::new()
        } else {
            let dimensions = [("QueueName", name)];
            let metric = "NumberOfMessagesReceived";
            self.minutes("AWS/SQS", metric, &dimensions, "Sum", drop).await?
        };
        let messages = sum(&minutes).map(whole);
        let handling = messages.and_then(|messages| {
            let reader = reader?;
            handling_p95_ms(reader.p95_ms?, reader.total()?, messages)
        });
        Ok(QueueMeasured {
            source: source.to_owned(),
            messages,
            handling_p95_ms: handling,
        })
    }

    /// The values of a metric from a drop's first arrivals until its end of draining.
    async fn minutes(
        &self,
        namespace: &str,
        metric: &str,
        dimensions: &[(&str, &str)],
        statistic: &str,
        drop: &CalendarDrop,
    ) -> Result<Minutes, ControlError> {
        let question = Question {
            namespace,
            metric,
            dimensions,
            statistic,
        };
        let (since, until) = (drop.gathers_at(), drop.drains_by());
        let figures = self.figures(&question, since, until).await?.into_iter();
        // NaN, an infinite value and a negative value count as missing.
        let is_valid = |(_, figure): &(i64, f64)| figure.is_finite() && *figure >= 0.0;
        Ok(figures.filter(is_valid).collect())
    }
}

/// The sum of the values in each phase of the drop.
fn by_phase(minutes: &Minutes, drop: &CalendarDrop) -> ByPhase<u64> {
    let mut sum = ByPhase::each(|_| 0.0);
    for (second, count) in minutes {
        let at = Timestamp::from_millis(second.saturating_mul(1_000));
        *sum.of_mut(phase_at(drop, at)) += count;
    }
    ByPhase::each(|phase| whole(*sum.of(phase)))
}

fn phase_at(drop: &CalendarDrop, at: Timestamp) -> Phase {
    if at < drop.starts_at {
        Phase::Before
    } else if at < drop.rush_ends_at() {
        Phase::Opening
    } else if at < drop.ends_at {
        Phase::Sale
    } else {
        Phase::Tail
    }
}

fn sum(minutes: &Minutes) -> Option<f64> {
    (!minutes.is_empty()).then(|| minutes.values().sum())
}

/// The value of the minute with the most invocations, among the minutes with a value.
fn of_busiest(invocations: &Minutes, figures: &Minutes) -> Option<f64> {
    let count = |second: &i64| invocations.get(second).copied().unwrap_or(0.0);
    let minutes = figures.iter();
    let busiest = minutes.max_by(|(a, _), (b, _)| count(a).total_cmp(&count(b)));
    busiest.map(|(_, figure)| *figure)
}

/// The mean over all invocations, from the means of single minutes.
fn weighted(invocations: &Minutes, means: &Minutes) -> Option<f64> {
    let means = means.iter();
    let counted = means.filter_map(|(second, mean)| Some((invocations.get(second)?, mean)));
    let (count, time) = counted.fold((0.0, 0.0), |(n, t), (count, mean)| (n + count, t + count * mean));
    (count > 0.0).then(|| time / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_minute_tells_the_percentile_and_all_of_them_the_mean() {
        let invocations = Minutes::from([(0, 10.0), (60, 90.0), (120, 50.0)]);
        let figures = Minutes::from([(0, 100.0), (60, 20.0), (180, 1.0)]);
        assert_eq!(of_busiest(&invocations, &figures), Some(20.0));
        assert_eq!(weighted(&invocations, &figures), Some(28.0));
        let none = Minutes::new();
        assert_eq!(of_busiest(&invocations, &none), None);
        assert_eq!(weighted(&invocations, &none), None);
        assert_eq!(sum(&none), None);
        assert_eq!(sum(&invocations), Some(150.0));
    }
}

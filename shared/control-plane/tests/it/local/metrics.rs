//! Tests reads of metrics from CloudWatch.

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum};
use contracts::account::{ControlPlanes, account_fixtures};
use contracts::fixtures::NOW;
use domain::time::Timestamp;
use ports::prescale::{Measure, MeasureDemand};

use crate::local::account::Local;

impl Local {
    async fn measured(&self, namespace: &str, metric: &str, of: &[(&str, &str)], at: Timestamp, value: f64) {
        let mut datum = MetricDatum::builder().metric_name(metric).value(value);
        datum = datum.timestamp(DateTime::from_millis(at.as_millis()));
        for (name, value) in of {
            datum = datum.dimensions(Dimension::builder().name(*name).value(*value).build());
        }
        let put = self.past.cloudwatch.put_metric_data().namespace(namespace);
        put.metric_data(datum.build()).send().await.unwrap();
    }

    /// Records that the writer instance ran with this many ACU at `at`.
    pub(crate) async fn acu(&self, at: Timestamp, value: f64) {
        let writer = format!("{}-one", self.names.cluster);
        let of = [("DBInstanceIdentifier", writer.as_str())];
        self.measured("AWS/RDS", "ServerlessDatabaseCapacity", &of, at, value)
            .await;
    }

    async fn spilled(&self, alias: &str, at: Timestamp, value: f64) {
        let name = self.names.functions[account_fixtures::API].name.as_str();
        let resource = format!("{name}:{alias}");
        let of = [("FunctionName", name), ("Resource", resource.as_str())];
        let metric = "ProvisionedConcurrencySpilloverInvocations";
        self.measured("AWS/Lambda", metric, &of, at, value).await;
    }
}

#[tokio::test]
async fn the_newest_of_the_last_five_minutes_is_what_was_reached() {
    let local = Local::serverless().await;
    let reached = async |now| local.account.reached_acu(now).await;
    assert_eq!(reached(NOW).await, Ok(None));
    local.acu(NOW.plus_seconds(1), 4.0).await;
    local.acu(NOW.plus_seconds(121), 8.5).await;
    // The smallest value of a minute counts.
    local.acu(NOW.plus_seconds(122), 16.0).await;
    assert_eq!(reached(NOW.plus_seconds(60)).await, Ok(Some(4.0)));
    assert_eq!(reached(NOW.plus_seconds(180)).await, Ok(Some(8.5)));
    assert_eq!(reached(NOW.plus_seconds(400)).await, Ok(Some(8.5)));
    assert_eq!(reached(NOW.plus_seconds(900)).await, Ok(None));
}

#[tokio::test]
async fn what_spilled_over_is_the_live_alias_and_summed_up() {
    let local = Local::serverless().await;
    let spilled = async |from, to| {
        let (from, to) = (NOW.plus_seconds(from), NOW.plus_seconds(to));
        local.account.spill_over(account_fixtures::API, from, to).await
    };
    assert_eq!(spilled(0, 60).await, Ok(0));
    for (second, value) in [(0, 3.0), (30, 4.0), (70, 5.0), (130, 100.0)] {
        local.spilled("live", NOW.plus_seconds(second), value).await;
    }
    local.spilled("old", NOW.plus_seconds(10), 50.0).await;
    assert_eq!(spilled(0, 60).await, Ok(7));
    assert_eq!(spilled(0, 120).await, Ok(12));
    assert_eq!(spilled(60, 120).await, Ok(5));
    assert!(local.account.spill_over("nobody", NOW, NOW).await.is_err());
}

#[tokio::test]
async fn a_drops_demand_is_counted_by_phase_and_by_the_live_alias() {
    let local = Local::serverless().await;
    let drop = account_fixtures::drop_on("autumn");
    let name = local.names.functions[account_fixtures::API].name.clone();
    let put = async |alias: &str, metric: &str, second: i64, value: f64| {
        let resource = format!("{name}:{alias}");
        let of = [("FunctionName", name.as_str()), ("Resource", resource.as_str())];
        let at = NOW.plus_millis(second * 1_000);
        local.measured("AWS/Lambda", metric, &of, at, value).await;
    };
    // The drop opens at 3,600 s. Arrivals begin ten minutes before, the surge lasts a minute, the drop ends at 7,200 s,
    // and draining takes two minutes more.
    for (second, count) in [
        (2_900, 1e6),
        (3_000, 30.0),
        (3_500, 10.0),
        (3_600, 400.0),
        (3_660, 50.0),
        (7_260, 5.0),
        (7_400, 1e6),
    ] {
        put("live", "Invocations", second, count).await;
    }
    put("old", "Invocations", 3_600, 1e6).await;
    for (second, ms) in [(3_000, 900.0), (3_600, 20.0), (3_610, 40.0)] {
        put("live", "Duration", second, ms).await;
    }
    let table = local.names.tables[account_fixtures::TABLE].clone();
    let of = [("TableName", table.as_str())];
    for (second, units) in [(3_600, 100.0), (3_700, 20.5)] {
        let at = NOW.plus_seconds(second);
        local
            .measured("AWS/DynamoDB", "ConsumedWriteCapacityUnits", &of, at, units)
            .await;
    }
    let docs = local.documents();
    let measured = local
        .account
        .demand(&docs.baseline, &drop)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(measured.mistakes(), vec![]);
    assert_eq!(measured.shoppers, 10_000);
    assert_eq!(measured.units, 500);
    assert_eq!(measured.sold, None);
    assert_eq!(measured.seconds.all(), [600.0, 60.0, 3_540.0, 120.0]);
    let function = measured.function(account_fixtures::API).unwrap();
    assert_eq!(function.invocations.unwrap().all(), [40, 400, 50, 5]);
    // The 95th percentile is the value of the busiest minute, not of the slowest minute.
    let p95 = function.p95_ms.unwrap();
    assert!((20.0..=40.0).contains(&p95), "{p95}");
    // The mean is over 30 invocations of 900 ms and 400 invocations of 30 ms.
    assert!((function.mean_ms.unwrap() - 39_000.0 / 430.0).abs() < 1e-6);
    let used = measured.table(account_fixtures::TABLE).unwrap();
    assert_eq!(used.write_units, Some(120.5));
    assert_eq!(used.read_units, None);
    assert_eq!(
        measured.function(account_fixtures::WORKER).unwrap().invocations,
        None
    );
}

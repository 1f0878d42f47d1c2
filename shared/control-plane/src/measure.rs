//! Reads metrics from CloudWatch.

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricStat, StatusCode};
use domain::time::Timestamp;
use ports::orders::FindDueOrders;
use ports::prescale::{ControlError, Measure};

use crate::database::writer;
use crate::error::{Answered as _, broken};
use crate::{AwsAccount, paging};

const OPERATION: &str = "GetMetricData";
/// The period of one metric value, in seconds.
const PERIOD_SECONDS: i32 = 60;
/// The largest age at which a metric value still shows the cluster's current capacity, in ms.
const RECENT_MS: i64 = 300_000;

/// A metric of a resource, and the statistic that makes one value of each minute.
pub(crate) struct Question<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) metric: &'a str,
    pub(crate) dimensions: &'a [(&'a str, &'a str)],
    pub(crate) statistic: &'a str,
}

impl<O: FindDueOrders> Measure for AwsAccount<O> {
    /// The capacity of the writer instance: the cluster's own metric is an average over its instances (Aurora's guide,
    /// "Amazon CloudWatch metrics for Aurora Serverless v2").
    async fn reached_acu(&self, now: Timestamp) -> Result<Option<f64>, ControlError> {
        let cluster = self.cluster(&self.clients.rds.reads).await?;
        let writer = writer(&cluster).ok_or_else(|| broken("DescribeDBClusters", "no instance writes"))?;
        let question = Question {
            namespace: "AWS/RDS",
            metric: "ServerlessDatabaseCapacity",
            dimensions: &[("DBInstanceIdentifier", writer)],
            statistic: "Minimum",
        };
        let figures = self.figures(&question, now.plus_millis(-RECENT_MS), now).await?;
        let newest = figures.into_iter().max_by_key(|(at, _)| *at);
        Ok(newest.map(|(_, acu)| acu))
    }

    /// The metric has whole minutes: the minute that contains `since` counts in full.
    async fn spill_over(
        &self,
        function: &str,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<u64, ControlError> {
        let name = &self.function(function)?.name;
        let resource = format!("{name}:{}", self.names.alias);
        let question = Question {
            namespace: "AWS/Lambda",
            metric: "ProvisionedConcurrencySpilloverInvocations",
            dimensions: &[("FunctionName", name), ("Resource", &resource)],
            statistic: "Sum",
        };
        let figures = self.figures(&question, since, until).await?;
        let whole = figures.into_iter().map(|(_, figure)| whole(figure));
        Ok(whole.fold(0, u64::saturating_add))
    }
}

/// A count that CloudWatch keeps as a floating-point number.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(crate) fn whole(figure: f64) -> u64 {
    // The cast saturates: negative numbers and NaN become 0.
    figure.round() as u64
}

impl<O> AwsAccount<O> {
    /// The value of each minute that has a value, with the minute's beginning in seconds since 1970.
    pub(crate) async fn figures(
        &self,
        question: &Question<'_>,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<(i64, f64)>, ControlError> {
        let query = query(question).ok_or_else(|| broken(OPERATION, "no request could be built"))?;
        paging::all(OPERATION, |token| async {
            let page = self.clients.cloudwatch.get_metric_data();
            let page = page.metric_data_queries(query.clone());
            let page = page.start_time(DateTime::from_millis(since.as_millis()));
            let page = page.end_time(DateTime::from_millis(until.as_millis()));
            let page = page.set_next_token(token).send().await.answered(OPERATION)?;
            let mut figures = Vec::new();
            for result in page.metric_data_results() {
                match result.status_code() {
                    // CloudWatch had an internal error, so a retry may succeed.
                    Some(StatusCode::InternalError) => return Err(ControlError::Busy),
                    Some(StatusCode::Forbidden) => return Err(broken(OPERATION, "Forbidden")),
                    _ => {
                        let at = result.timestamps().iter().map(DateTime::secs);
                        figures.extend(at.zip(result.values().iter().copied()));
                    }
                }
            }
            Ok((figures, page.next_token))
        })
        .await
    }
}

fn query(question: &Question<'_>) -> Option<MetricDataQuery> {
    let mut metric = Metric::builder()
        .namespace(question.namespace)
        .metric_name(question.metric);
    for (name, value) in question.dimensions {
        metric = metric.dimensions(Dimension::builder().name(*name).value(*value).build());
    }
    let stat = MetricStat::builder()
        .metric(metric.build())
        .period(PERIOD_SECONDS)
        .stat(question.statistic);
    let query = MetricDataQuery::builder().id("figure").metric_stat(stat.build());
    Some(query.build())
}

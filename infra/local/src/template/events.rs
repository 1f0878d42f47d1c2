//! Converts a function's events in the template: routes, queues, streams and schedules.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{Function, OnFailure, QueueSource, Route, Schedule, StreamSource};

/// The last segment of an ARN: the name of a queue, or of a stream's table.
pub(super) fn name_in_arn(arn: &str) -> Option<&str> {
    match arn.split_once(":table/") {
        Some((_, path)) => path.split('/').next(),
        None => arn.rsplit(':').next(),
    }
}

#[derive(Deserialize)]
#[serde(tag = "Type", content = "Properties")]
pub(super) enum Event {
    HttpApi(HttpEvent),
    #[serde(rename = "SQS")]
    Sqs(SqsEvent),
    DynamoDB(StreamEvent),
    Schedule(ScheduleEvent),
    ScheduleV2(ScheduleEvent),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HttpEvent {
    method: Option<String>,
    path: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SqsEvent {
    queue: String,
    batch_size: Option<usize>,
    maximum_batching_window_in_seconds: Option<u64>,
    #[serde(default)]
    function_response_types: Vec<String>,
    scaling_config: Option<Scaling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Scaling {
    maximum_concurrency: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StreamEvent {
    stream: String,
    starting_position: String,
    batch_size: Option<usize>,
    maximum_batching_window_in_seconds: Option<u64>,
    parallelization_factor: Option<usize>,
    #[serde(default)]
    bisect_batch_on_function_error: bool,
    maximum_retry_attempts: Option<i64>,
    maximum_record_age_in_seconds: Option<i64>,
    #[serde(default)]
    function_response_types: Vec<String>,
    destination_config: Option<Destinations>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Destinations {
    on_failure: Destination,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Destination {
    r#type: String,
    destination: String,
}

impl Destination {
    fn read(&self) -> Result<OnFailure> {
        let name = || name_in_arn(&self.destination).unwrap_or_default().to_owned();
        Ok(match self.r#type.as_str() {
            "SQS" => OnFailure::Queue(name()),
            "S3" => OnFailure::Bucket(name()),
            other => bail!("the local stack supports no destination of type {other}"),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ScheduleEvent {
    #[serde(alias = "Schedule")]
    schedule_expression: String,
    input: Option<String>,
}

impl Event {
    /// Adds the event to the function. `id` is the value of references to the event's source mapping.
    pub(super) fn add_to(self, function: &mut Function, id: String) -> Result<()> {
        let partial = |types: &[String]| types.iter().any(|t| t == "ReportBatchItemFailures");
        match self {
            Self::HttpApi(event) => function.routes.push(match (event.method, event.path) {
                (None, None) => Route::Default,
                (Some(mut method), Some(path)) => {
                    method.make_ascii_uppercase();
                    Route::Path { method, path }
                }
                _ => bail!("a route has a method and a path, or neither"),
            }),
            Self::Sqs(event) => function.queues.push(QueueSource {
                id,
                queue: name_in_arn(&event.queue).unwrap_or_default().to_owned(),
                batch_size: event.batch_size.unwrap_or(10).clamp(1, 10),
                window: Duration::from_secs(event.maximum_batching_window_in_seconds.unwrap_or(0)),
                max_concurrency: event.scaling_config.map_or(1_000, |s| s.maximum_concurrency),
                partial: partial(&event.function_response_types),
            }),
            Self::DynamoDB(event) => {
                if event.starting_position != "TRIM_HORIZON" {
                    bail!("the local stack reads streams from TRIM_HORIZON only");
                }
                let max_age = event.maximum_record_age_in_seconds;
                let max_age = max_age.and_then(|seconds| seconds.try_into().ok());
                let on_failure = event.destination_config.map(|config| config.on_failure.read());
                function.streams.push(StreamSource {
                    table: name_in_arn(&event.stream).unwrap_or_default().to_owned(),
                    batch_size: event.batch_size.unwrap_or(100),
                    window: Duration::from_secs(event.maximum_batching_window_in_seconds.unwrap_or(0)),
                    parallelization: event.parallelization_factor.unwrap_or(1),
                    bisect: event.bisect_batch_on_function_error,
                    // Lambda uses -1 for no limit, and as the default.
                    max_retries: event.maximum_retry_attempts.and_then(|n| n.try_into().ok()),
                    max_age: max_age.map(Duration::from_secs),
                    partial: partial(&event.function_response_types),
                    on_failure: on_failure.transpose()?,
                });
            }
            Self::Schedule(event) | Self::ScheduleV2(event) => function.schedules.push(Schedule {
                every: rate(&event.schedule_expression)?,
                input: event.input,
            }),
        }
        Ok(())
    }
}

/// Parses `rate(1 minute)`, `rate(5 minutes)`, `rate(1 hour)`.
fn rate(text: &str) -> Result<Duration> {
    let parsed = text
        .strip_prefix("rate(")
        .and_then(|t| t.strip_suffix(')'))
        .and_then(|t| t.split_once(' '));
    let (count, unit) =
        parsed.with_context(|| format!("the local stack knows rate(…) schedules, not {text}"))?;
    let count: u64 = count.parse().with_context(|| text.to_owned())?;
    let seconds = match unit.trim_end_matches('s') {
        "minute" => 60,
        "hour" => 3_600,
        "day" => 86_400,
        _ => bail!("{text}: minutes, hours or days"),
    };
    Ok(Duration::from_secs(count * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_arns() {
        assert_eq!(name_in_arn("arn:aws:sqs:r:0:payments"), Some("payments"));
        assert_eq!(
            name_in_arn("arn:aws:dynamodb:r:0:table/orders/stream/local"),
            Some("orders")
        );
    }

    #[test]
    fn rates_are_read_and_crons_refused() {
        assert_eq!(rate("rate(1 minute)").unwrap(), Duration::from_secs(60));
        assert_eq!(rate("rate(2 hours)").unwrap(), Duration::from_secs(7_200));
        assert!(rate("cron(0 12 * * ? *)").is_err());
    }
}

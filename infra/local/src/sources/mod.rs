//! Runs the event sources: the queues, streams and schedules that invoke functions.

mod batch;
mod queue;
mod schedule;
mod stream;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::task::JoinSet;

use crate::dynamodb::Dynamo;
use crate::runtime::Functions;
use crate::sqs::Sqs;
use crate::template::Model;
pub use stream::Stream;

/// The parts of the stack and the settings that every event source needs.
#[derive(Clone)]
pub struct Context {
    pub functions: Arc<Functions>,
    pub dynamo: Dynamo,
    pub sqs: Sqs,
    /// The largest number of concurrent invocations of one source. The template may allow more.
    pub concurrency: usize,
    /// The folder that contains one folder for each bucket.
    pub buckets: PathBuf,
    /// Whether control planes exist. Without control planes, the schedules of functions that need them do not run.
    pub control_planes: bool,
}

pub struct Sources {
    /// The readers of the streams. Their backlog shows whether work is left.
    pub streams: Vec<Arc<Stream>>,
    _tasks: JoinSet<()>,
}

/// Starts every event source of the model.
#[must_use]
pub fn start(model: &Model, context: &Context) -> Sources {
    let mut tasks = JoinSet::new();
    let mut streams = Vec::new();
    for function in model.functions.values() {
        let name = &function.name;
        for source in &function.queues {
            tasks.spawn(queue::poll(name.clone(), source.clone(), context.clone()));
        }
        for source in &function.streams {
            let stream = Arc::new(Stream::new(name.clone(), source.clone(), context.clone()));
            streams.push(Arc::clone(&stream));
            tasks.spawn(stream.poll());
        }
        if function.needs_control_planes() && !context.control_planes {
            continue;
        }
        for schedule in &function.schedules {
            let (schedule, retries) = (schedule.clone(), function.async_retries);
            tasks.spawn(schedule::run(name.clone(), schedule, retries, context.clone()));
        }
    }
    Sources {
        streams,
        _tasks: tasks,
    }
}

/// A function's report about a batch: Lambda's `ReportBatchItemFailures`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BatchReport {
    batch_item_failures: Option<Vec<ItemFailure>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ItemFailure {
    item_identifier: Option<String>,
}

impl BatchReport {
    /// The ids of the failed items. `None` when the report is invalid (no JSON, or an item without an id), which makes
    /// the whole batch fail.
    fn failed(answer: &[u8]) -> Option<Vec<String>> {
        if answer.is_empty() || answer == b"null" {
            return Some(Vec::new());
        }
        let report: Self = serde_json::from_slice(answer).ok()?;
        let items = report.batch_item_failures.unwrap_or_default().into_iter();
        let ids = items.map(|item| item.item_identifier.filter(|id| !id.is_empty()));
        ids.collect()
    }
}

/// The pause before try `attempt` + 1: 0.1 s, doubled each time, 10 s at most.
fn backoff(attempt: u32) -> Duration {
    Duration::from_millis(100) * 2_u32.pow(attempt.min(7)).min(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_what_failed() {
        assert_eq!(BatchReport::failed(b""), Some(vec![]));
        assert_eq!(BatchReport::failed(b"null"), Some(vec![]));
        assert_eq!(
            BatchReport::failed(br#"{"batchItemFailures":null}"#),
            Some(vec![])
        );
        let one = br#"{"batchItemFailures":[{"itemIdentifier":"a"}]}"#;
        assert_eq!(BatchReport::failed(one), Some(vec!["a".to_owned()]));
    }

    #[test]
    fn a_report_that_makes_no_sense_fails_the_batch() {
        for report in [
            &b"oops"[..],
            br#"{"batchItemFailures":[{}]}"#,
            br#"{"batchItemFailures":[{"itemIdentifier":""}]}"#,
        ] {
            assert_eq!(BatchReport::failed(report), None);
        }
    }

    #[test]
    fn pauses_grow_to_ten_seconds() {
        assert_eq!(backoff(0), Duration::from_millis(100));
        assert_eq!(backoff(3), Duration::from_millis(800));
        assert_eq!(backoff(1_000), Duration::from_secs(10));
    }
}

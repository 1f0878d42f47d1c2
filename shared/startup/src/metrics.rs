//! Makes log lines with metrics in CloudWatch's embedded metric format. CloudWatch extracts the metrics without an API
//! call.

use domain::time::Timestamp;
use serde_json::{Map, Value, json};

/// The namespace of all metrics.
pub const NAMESPACE: &str = "Stampede";
/// The only dimension of all metrics: the deployment stage.
const STAGE: &str = "Stage";
pub const COUNT: &str = "Count";

/// A log line with the text `message`, the `metrics` (name, unit and value of each), and `others`, fields that are not
/// metrics. The deployment `stage` is the only dimension, so that several stages in one account stay separate.
#[must_use]
pub fn line(
    message: &str,
    stage: &str,
    at: Timestamp,
    metrics: &[(&str, &str, Value)],
    others: &[(&str, u64)],
) -> Value {
    let declared = metrics
        .iter()
        .map(|(name, unit, _)| json!({"Name": name, "Unit": unit}));
    let about = json!({
        "Timestamp": at.as_millis(),
        "CloudWatchMetrics": [{
            "Namespace": NAMESPACE,
            "Dimensions": [[STAGE]],
            "Metrics": declared.collect::<Vec<_>>(),
        }],
    });
    let mut line = Map::from_iter([
        ("_aws".to_owned(), about),
        ("message".to_owned(), message.into()),
        (STAGE.to_owned(), stage.into()),
    ]);
    for (name, _, number) in metrics {
        line.insert((*name).to_owned(), number.clone());
    }
    for (name, number) in others {
        line.insert((*name).to_owned(), json!(number));
    }
    Value::Object(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_declared_metric_has_its_number_and_nothing_else_is_declared() {
        let metrics = [("Steps", COUNT, json!(3)), ("Error", "None", json!(0.5))];
        let at = Timestamp::from_millis(1_800_000_000_000);
        let line = line("progress", "dev", at, &metrics, &[("shards", 7)]);
        let expected = json!({
            "_aws": {
                "Timestamp": 1_800_000_000_000_i64,
                "CloudWatchMetrics": [{
                    "Namespace": "Stampede",
                    "Dimensions": [["Stage"]],
                    "Metrics": [{"Name": "Steps", "Unit": "Count"}, {"Name": "Error", "Unit": "None"}],
                }],
            },
            "message": "progress",
            "Stage": "dev",
            "Steps": 3,
            "Error": 0.5,
            "shards": 7,
        });
        assert_eq!(line, expected);
    }
}

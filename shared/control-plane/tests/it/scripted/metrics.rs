//! Tests reads of metrics when CloudWatch's answers are faulty.

use contracts::account::account_fixtures::API;
use contracts::fixtures::NOW;
use ports::prescale::{ControlError, Measure};

use crate::scripted::account::{account, scripted};
use crate::scripted::answers::{cloudwatch_error, figures};
use crate::scripted::server::Answer;

const KEY: &str = "GetMetricData";

async fn reached(answers: Vec<Answer>) -> Result<Option<f64>, ControlError> {
    let server = scripted(vec![(KEY, answers)]).await;
    account(&server).reached_acu(NOW).await
}

async fn spilled(answers: Vec<Answer>) -> Result<u64, ControlError> {
    let server = scripted(vec![(KEY, answers)]).await;
    account(&server).spill_over(API, NOW, NOW.plus_seconds(60)).await
}

#[tokio::test]
async fn no_figure_is_none_and_pages_are_put_together() {
    assert_eq!(reached(vec![figures(&[], "Complete", None)]).await, Ok(None));
    let pages = || {
        vec![
            figures(&[(120, 4.0), (180, 8.5)], "PartialData", Some("next")),
            figures(&[(60, 2.0)], "Complete", None),
        ]
    };
    assert_eq!(reached(pages()).await, Ok(Some(8.5)));
    assert_eq!(spilled(pages()).await, Ok(15));
    assert_eq!(spilled(vec![figures(&[], "Complete", None)]).await, Ok(0));
}

#[tokio::test]
async fn what_cannot_be_measured_is_not_called_measured() {
    for (answer, expected) in [
        (figures(&[], "InternalError", None), ControlError::Busy),
        (cloudwatch_error(400, "Throttling"), ControlError::Busy),
        (
            cloudwatch_error(500, "InternalServiceFault"),
            ControlError::Unknown,
        ),
        (Answer::Silence, ControlError::Unknown),
        (Answer::Close, ControlError::Unknown),
    ] {
        assert_eq!(
            reached(vec![answer.clone()]).await,
            Err(expected.clone()),
            "{answer:?}"
        );
        assert_eq!(spilled(vec![answer]).await, Err(expected));
    }
    for answer in [
        figures(&[], "Forbidden", None),
        cloudwatch_error(403, "AccessDenied"),
    ] {
        let outcome = reached(vec![answer]).await;
        assert!(matches!(outcome, Err(ControlError::Broken(_))), "{outcome:?}");
    }
}

//! Tests the profile and the demand of a drop when Parameter Store or CloudWatch give faulty answers.

use capacity::profile::CapacityProfile;
use contracts::account::account_fixtures;
use ports::Conditional;
use ports::prescale::{ControlError, MeasureDemand, WriteProfile};
use serde_json::json;

use crate::scripted::account::{account, scripted};
use crate::scripted::answers::{figures, json_error, ok};
use crate::scripted::server::{Answer, ScriptedServer};

const PUT: &str = "PutParameter";

fn profile() -> CapacityProfile {
    account_fixtures::serverless().profile
}

fn stored(version: u64) -> Answer {
    let text = serde_json::to_string(&profile()).unwrap();
    ok(json!({"Parameter": {"Name": "/stampede/prescale/profile", "Value": text, "Version": version}}))
}

async fn write(put: Answer) -> (Result<Conditional<()>, ControlError>, ScriptedServer) {
    let server = scripted(vec![(PUT, vec![put]), ("GetParameter", vec![stored(7)])]).await;
    (account(&server).write_profile(&profile(), 7).await, server)
}

#[tokio::test]
async fn a_version_that_is_not_the_current_one_writes_nothing() {
    let server = scripted(vec![("GetParameter", vec![stored(8)])]).await;
    let account = account(&server);
    assert_eq!(account.profile().await, Ok(Ok((profile(), 8))));
    assert_eq!(
        account.write_profile(&profile(), 7).await,
        Ok(Conditional::Refused(()))
    );
    assert_eq!(server.requests(PUT).len(), 0);
}

#[tokio::test]
async fn a_change_is_sent_once_whatever_is_answered() {
    for (answer, expected) in [
        (ok(json!({"Version": 8})), Ok(Conditional::Done)),
        // Another writer wrote between the read and the write. The write counts as done, and a log line reports the
        // overwriting.
        (ok(json!({"Version": 9})), Ok(Conditional::Done)),
        (json_error(400, "ThrottlingException"), Err(ControlError::Busy)),
        (json_error(500, "InternalServerError"), Err(ControlError::Unknown)),
        (Answer::Silence, Err(ControlError::Unknown)),
        (Answer::Close, Err(ControlError::Unknown)),
    ] {
        let (outcome, server) = write(answer.clone()).await;
        assert_eq!(outcome, expected, "{answer:?}");
        assert_eq!(server.requests(PUT).len(), 1, "{answer:?}");
    }
    let (outcome, _) = write(json_error(400, "AccessDeniedException")).await;
    assert!(matches!(outcome, Err(ControlError::Broken(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_profile_that_cannot_be_read_is_told_with_its_mistakes() {
    let odd = ok(json!({"Parameter": {"Value": "{\"source\":1}", "Version": 3}}));
    let server = scripted(vec![("GetParameter", vec![odd])]).await;
    let mistakes = account(&server).profile().await.unwrap().unwrap_err();
    assert!(
        mistakes.iter().any(|m| m.field == "profile.source"),
        "{mistakes:?}"
    );
}

#[tokio::test]
async fn silent_metrics_are_no_demand_and_broken_ones_an_error() {
    let docs = account_fixtures::serverless();
    let demand = async |answer: Answer| {
        let server = scripted(vec![("GetMetricData", vec![answer])]).await;
        account(&server).demand(&docs.baseline, &docs.calendar[0]).await
    };
    assert_eq!(demand(figures(&[], "Complete", None)).await, Ok(None));
    assert_eq!(
        demand(figures(&[], "InternalError", None)).await,
        Err(ControlError::Busy)
    );
    assert_eq!(demand(Answer::Silence).await, Err(ControlError::Unknown));
    let forbidden = demand(figures(&[], "Forbidden", None)).await;
    assert!(matches!(forbidden, Err(ControlError::Broken(_))), "{forbidden:?}");
}

//! Tests every change under every fault: the reported outcome, and that the change is sent once.

use capacity::steps::Step;
use contracts::account::account_fixtures;
use ports::prescale::{Carried, CarryOut, ControlError};
use serde_json::{Value, json};

use crate::scripted::account::{account, every_step, scripted};
use crate::scripted::answers::{
    cluster_xml, json_error, lambda_error, lambda_refusal, ok, provisioned, rds, rds_error, source,
};
use crate::scripted::server::Answer;

/// The fault in the format of the operation's service.
fn fault(operation: &str, lambda: (u16, &str), rds: (u16, &str), dynamodb: (u16, &str)) -> Answer {
    if operation.contains('/') {
        lambda_error(lambda.0, lambda.1)
    } else if operation == "UpdateTable" {
        json_error(dynamodb.0, dynamodb.1)
    } else {
        rds_error(rds.0, rds.1)
    }
}

/// Carries out every step against an answer made for its operation. Each step must end as `expected` after one request.
async fn each(answer: impl Fn(&str) -> Answer, expected: &ControlError) {
    for (operation, step) in every_step() {
        let server = scripted(vec![(operation, vec![answer(operation)])]).await;
        let outcome = account(&server).carry_out(&step).await;
        assert_eq!(outcome.as_ref(), Err(expected), "{operation}");
        assert_eq!(server.requests(operation).len(), 1, "{operation} is sent once");
    }
}

#[tokio::test]
async fn what_is_throttled_is_busy() {
    let throttled = |operation: &str| {
        fault(
            operation,
            (429, "TooManyRequestsException"),
            (400, "Throttling"),
            (400, "ThrottlingException"),
        )
    };
    each(throttled, &ControlError::Busy).await;
}

#[tokio::test]
async fn another_change_of_the_same_thing_is_in_progress() {
    for rds in ["InvalidDBClusterStateFault", "InvalidDBInstanceState"] {
        let conflict = |operation: &str| {
            fault(
                operation,
                (409, "ResourceConflictException"),
                (400, rds),
                (400, "ResourceInUseException"),
            )
        };
        each(conflict, &ControlError::InProgress).await;
    }
    let updating = |operation: &str| {
        let in_use = (400, "ResourceInUseException");
        fault(operation, in_use, (400, "InvalidDBClusterStateFault"), in_use)
    };
    each(updating, &ControlError::InProgress).await;
}

#[tokio::test]
async fn what_may_have_been_done_is_unknown() {
    each(|_| Answer::Silence, &ControlError::Unknown).await;
    each(|_| Answer::Close, &ControlError::Unknown).await;
    let failed = |operation: &str| {
        fault(
            operation,
            (500, "ServiceException"),
            (500, "InternalFailure"),
            (500, "InternalServerError"),
        )
    };
    each(failed, &ControlError::Unknown).await;
}

#[tokio::test]
async fn what_is_not_allowed_is_broken_and_quotes_nothing() {
    for (operation, step) in every_step() {
        let denied = fault(
            operation,
            (403, "AccessDeniedException"),
            (403, "AccessDenied"),
            (400, "AccessDeniedException"),
        );
        let server = scripted(vec![(operation, vec![denied])]).await;
        let outcome = account(&server).carry_out(&step).await;
        let Err(ControlError::Broken(text)) = outcome else {
            panic!("{operation}: {outcome:?}");
        };
        assert!(text.contains("AccessDenied") && !text.contains("about"), "{text}");
    }
}

#[tokio::test]
async fn what_was_never_sent_is_busy() {
    for (operation, step) in every_step() {
        let mut server = scripted(vec![]).await;
        server.stop().await;
        let outcome = account(&server).carry_out(&step).await;
        assert_eq!(outcome, Err(ControlError::Busy), "{operation}");
    }
}

/// An accepted change is started and not complete.
#[tokio::test]
async fn what_takes_its_time_is_begun() {
    for (operation, step) in every_step() {
        let answer = match (&step, operation) {
            (Step::Provision { to, .. }, _) if *to > 0 => provisioned(50, 0, "IN_PROGRESS"),
            (Step::ChangeClass { .. }, _) => rds(
                operation,
                &format!(
                    "<DBInstance>{}</DBInstance>",
                    crate::scripted::answers::instance_xml(
                        "two",
                        "db.r6g.large",
                        "modifying",
                        Some("db.r6g.xlarge")
                    ),
                ),
            ),
            (Step::SetMinimumAcu { .. } | Step::FailOver { .. }, _) => {
                rds(operation, "<DBCluster></DBCluster>")
            }
            (Step::Poll { .. }, _) => source("Updating", json!({})),
            (Step::Warm { .. }, _) => ok(json!({"TableDescription": {"TableStatus": "UPDATING"}})),
            _ => continue,
        };
        let server = scripted(vec![(operation, vec![answer])]).await;
        let carried = account(&server).carry_out(&step).await;
        assert_eq!(carried, Ok(Carried::Started), "{operation}");
    }
}

/// An instance may still report `available` for a moment after the change was accepted, before it has changed.
#[tokio::test]
async fn a_class_that_is_pending_is_not_there() {
    for (class, status, pending, expected) in [
        (
            "db.r6g.large",
            "available",
            Some("db.r6g.xlarge"),
            Carried::Started,
        ),
        ("db.r6g.large", "available", None, Carried::Started),
        ("db.r6g.xlarge", "modifying", None, Carried::Started),
        ("db.r6g.xlarge", "available", None, Carried::Done),
    ] {
        let instance = crate::scripted::answers::instance_xml("two", class, status, pending);
        let answer = rds(
            "ModifyDBInstance",
            &format!("<DBInstance>{instance}</DBInstance>"),
        );
        let server = scripted(vec![("ModifyDBInstance", vec![answer])]).await;
        let (_, step) = every_step().remove(5);
        assert_eq!(
            account(&server).carry_out(&step).await,
            Ok(expected),
            "{class} {status}"
        );
        let sent = &server.requests("ModifyDBInstance")[0].body;
        assert!(sent.contains("ApplyImmediately=true"), "{sent}");
        assert!(sent.contains("DBInstanceClass=db.r6g.xlarge"), "{sent}");
    }
}

#[tokio::test]
async fn pollers_are_set_and_the_other_kind_is_left_alone() {
    let operation = "PUT /2015-03-31/event-source-mappings/mapping";
    for (n, expected) in [
        (8, json!({"ScalingConfig": {"MaximumConcurrency": 20}})),
        (
            9,
            json!({"ProvisionedPollerConfig": {"MinimumPollers": 5, "MaximumPollers": 30}}),
        ),
    ] {
        let server = scripted(vec![(operation, vec![source("Enabled", json!({}))])]).await;
        let (_, step) = every_step().remove(n);
        assert_eq!(account(&server).carry_out(&step).await, Ok(Carried::Done));
        let sent: Value = serde_json::from_str(&server.requests(operation)[0].body).unwrap();
        assert_eq!(sent, expected);
    }
}

#[tokio::test]
async fn what_is_taken_away_may_be_gone_already() {
    let operation = "DELETE /2019-09-30/functions/stack-get-drop/provisioned-concurrency";
    let server = scripted(vec![(
        operation,
        vec![crate::scripted::answers::nothing_provisioned()],
    )])
    .await;
    let (_, step) = every_step().remove(3);
    assert_eq!(account(&server).carry_out(&step).await, Ok(Carried::AlreadySo));
    assert!(server.requests(operation)[0].operation.contains("Qualifier=live"));
}

/// While a warm-up is in progress, the adapter sends no change; the next run reads the table again.
#[tokio::test]
async fn a_table_that_is_being_changed_is_left_alone() {
    let updating = crate::scripted::answers::table("UPDATING", "UPDATING", "ACTIVE", "ACTIVE");
    let server = scripted(vec![("DescribeTable", vec![updating])]).await;
    let (_, step) = every_step().remove(7);
    assert_eq!(
        account(&server).carry_out(&step).await,
        Err(ControlError::InProgress)
    );
    assert_eq!(server.requests("UpdateTable").len(), 0);
}

#[tokio::test]
async fn a_table_and_its_index_are_warmed_by_one_request() {
    let updating = ok(json!({"TableDescription": {"TableStatus": "UPDATING"}}));
    let server = scripted(vec![("UpdateTable", vec![updating])]).await;
    let (_, step) = every_step().remove(7);
    assert_eq!(account(&server).carry_out(&step).await, Ok(Carried::Started));
    let sent: Value = serde_json::from_str(&server.requests("UpdateTable")[0].body).unwrap();
    assert_eq!(
        sent,
        json!({
            "TableName": "stack-orders",
            "WarmThroughput": {"ReadUnitsPerSecond": 12_000, "WriteUnitsPerSecond": 6_000},
            "GlobalSecondaryIndexUpdates": [{"Update": {
                "IndexName": "open",
                "WarmThroughput": {"ReadUnitsPerSecond": 9_000, "WriteUnitsPerSecond": 6_000},
            }}],
        })
    );
}

/// Lambda's error while an alias routes by weights, as it does briefly in every deployment: "Alias with weights can not
/// be used with Provisioned Concurrency" (`PutProvisionedConcurrencyConfig`). Any other invalid value stays a mistake.
#[tokio::test]
async fn an_alias_that_is_being_shifted_is_left_alone() {
    let step = Step::Provision {
        function: account_fixtures::API.to_owned(),
        from: 0,
        to: 5,
    };
    let weights = "Alias with weights can not be used with Provisioned Concurrency";
    for (message, shifting) in [(weights, true), ("The value must be positive", false)] {
        let answer = lambda_refusal(400, "InvalidParameterValueException", message);
        let server = scripted(vec![("provisioned-concurrency", vec![answer])]).await;
        let outcome = account(&server).carry_out(&step).await;
        match shifting {
            true => assert_eq!(outcome, Err(ControlError::AliasShifting)),
            false => assert!(matches!(outcome, Err(ControlError::Broken(_))), "{outcome:?}"),
        }
    }
}

/// RDS accepts `SecondsUntilAutoPause` only beside a minimum of 0 ("Scaling to Zero ACUs", Aurora's guide), so a
/// request that raises the minimum above 0 must omit this member.
#[tokio::test]
async fn the_time_until_a_pause_is_sent_only_with_a_minimum_of_nothing() {
    for (from, to, sent) in [(0.0, 4.0, false), (4.0, 0.0, true)] {
        let xml = cluster_xml("available", "one", Some((from, 64.0)));
        let pausing = "</MaxCapacity><SecondsUntilAutoPause>300</SecondsUntilAutoPause>";
        let xml = xml.replace("</MaxCapacity>", pausing);
        let clusters = format!("<DBClusters><DBCluster>{xml}</DBCluster></DBClusters>");
        let server = scripted(vec![
            ("DescribeDBClusters", vec![rds("DescribeDBClusters", &clusters)]),
            (
                "ModifyDBCluster",
                vec![rds("ModifyDBCluster", "<DBCluster></DBCluster>")],
            ),
        ])
        .await;
        let step = Step::SetMinimumAcu { from, to };
        assert_eq!(account(&server).carry_out(&step).await, Ok(Carried::Started));
        let request = &server.requests("ModifyDBCluster")[0].body;
        assert!(request.contains("MaxCapacity=64"), "{request}");
        assert_eq!(request.contains("SecondsUntilAutoPause=300"), sent, "{request}");
    }
}

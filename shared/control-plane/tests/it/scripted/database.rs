//! Tests reads and changes of a database that is slow, in transition, or failing over.

use capacity::observed::ObservedDatabase;
use capacity::steps::Step;
use contracts::account::account_fixtures::SMALL;
use ports::prescale::{Carried, CarryOut, ControlError, Observe};

use crate::scripted::account::{account, provisioned, scripted, serverless};
use crate::scripted::answers::{cluster, instances, rds};
use crate::scripted::server::ScriptedServer;

fn fail_over() -> Step {
    Step::FailOver {
        from: "one".to_owned(),
        to: "two".to_owned(),
    }
}

/// Reads the account. Returns the writer, whether the next change may begin, and whether the database is available.
async fn look(server: &ScriptedServer) -> (Option<String>, bool, bool) {
    let seen = account(server).observe(&provisioned().baseline).await.unwrap();
    let ObservedDatabase::Provisioned { instances, available } = seen.observed.database else {
        panic!("{seen:?}");
    };
    let writer = instances.into_iter().find(|i| i.writer).map(|i| i.name);
    (writer, available, seen.database_available)
}

/// RDS reports the new writer some time before all parts are available again.
#[tokio::test]
async fn a_slow_fail_over_is_waited_for() {
    let one = || Some("one".to_owned());
    let two = || Some("two".to_owned());
    let server = scripted(vec![
        (
            "DescribeDBClusters",
            vec![
                cluster("available", "one", None),
                cluster("failing-over", "one", None),
                cluster("failing-over", "two", None),
                cluster("failing-over", "two", None),
                cluster("available", "two", None),
            ],
        ),
        (
            "FailoverDBCluster",
            vec![rds("FailoverDBCluster", "<DBCluster></DBCluster>")],
        ),
    ])
    .await;
    let account = account(&server);
    assert_eq!(account.carry_out(&fail_over()).await, Ok(Carried::Started));
    let sent = server.requests("FailoverDBCluster");
    assert_eq!(sent.len(), 1);
    assert!(
        sent[0].body.contains("TargetDBInstanceIdentifier=two"),
        "{sent:?}"
    );
    assert_eq!(look(&server).await, (one(), false, false));
    assert_eq!(look(&server).await, (two(), false, false));
    // A run before the end of the failover sends nothing, since the writer is already correct.
    assert_eq!(account.carry_out(&fail_over()).await, Ok(Carried::AlreadySo));
    assert_eq!(look(&server).await, (two(), true, true));
    assert_eq!(server.requests("FailoverDBCluster").len(), 1);
}

/// A second run during a failover sends nothing.
#[tokio::test]
async fn a_fail_over_under_way_is_not_begun_again() {
    let server = scripted(vec![(
        "DescribeDBClusters",
        vec![cluster("failing-over", "one", None)],
    )])
    .await;
    let outcome = account(&server).carry_out(&fail_over()).await;
    assert_eq!(outcome, Err(ControlError::InProgress));
    assert_eq!(server.requests("FailoverDBCluster").len(), 0);
}

/// RDS has started the failover, but its answer is lost. The next read shows the new writer, so the failover is not
/// started twice.
#[tokio::test]
async fn a_fail_over_whose_answer_is_lost_is_seen_by_the_next_look() {
    let server = scripted(vec![
        (
            "DescribeDBClusters",
            vec![
                cluster("available", "one", None),
                cluster("available", "two", None),
            ],
        ),
        (
            "FailoverDBCluster",
            vec![crate::scripted::server::Answer::Silence],
        ),
    ])
    .await;
    let account = account(&server);
    assert_eq!(account.carry_out(&fail_over()).await, Err(ControlError::Unknown));
    assert_eq!(account.carry_out(&fail_over()).await, Ok(Carried::AlreadySo));
    assert_eq!(server.requests("FailoverDBCluster").len(), 1);
}

#[tokio::test]
async fn an_instance_that_is_being_changed_keeps_the_next_change_waiting() {
    for (status, usable) in [
        ("available", true),
        ("backing-up", true),
        ("storage-optimization", true),
        ("modifying", false),
        ("rebooting", false),
        ("configuring-enhanced-monitoring", false),
        ("a word of tomorrow", false),
    ] {
        let all = [
            ("one", SMALL, "available", None),
            ("two", SMALL, status, None),
            ("three", SMALL, "available", None),
        ];
        let server = scripted(vec![("DescribeDBInstances", vec![instances(&all, None)])]).await;
        let (_, available, settled) = look(&server).await;
        assert_eq!(available, usable, "{status}");
        assert_eq!(settled, usable, "{status}");
    }
}

#[tokio::test]
async fn a_minimum_waits_while_the_cluster_is_changed_and_keeps_the_maximum() {
    let step = Step::SetMinimumAcu { from: 2.0, to: 16.0 };
    let capacity = Some((2.0, 64.0));
    let busy = scripted(vec![(
        "DescribeDBClusters",
        vec![cluster("modifying", "one", capacity)],
    )])
    .await;
    assert_eq!(
        account(&busy).carry_out(&step).await,
        Err(ControlError::InProgress)
    );
    assert_eq!(busy.requests("ModifyDBCluster").len(), 0);
    let free = scripted(vec![(
        "ModifyDBCluster",
        vec![rds("ModifyDBCluster", "<DBCluster></DBCluster>")],
    )])
    .await;
    assert_eq!(account(&free).carry_out(&step).await, Ok(Carried::Started));
    let sent = &free.requests("ModifyDBCluster")[0].body;
    for part in ["MinCapacity=16", "MaxCapacity=64", "ApplyImmediately=true"] {
        assert!(sent.contains(part), "{part}: {sent}");
    }
}

/// A database is changed only if the change is known to be safe.
#[tokio::test]
async fn a_database_of_the_other_kind_or_with_a_strange_writer_is_broken() {
    let without = scripted(vec![(
        "DescribeDBClusters",
        vec![cluster("available", "one", None)],
    )])
    .await;
    let seen = account(&without).observe(&serverless().baseline).await;
    assert!(matches!(seen, Err(ControlError::Broken(_))), "{seen:?}");
    let strange = scripted(vec![(
        "DescribeDBClusters",
        vec![cluster("available", "four", None)],
    )])
    .await;
    let seen = account(&strange).observe(&provisioned().baseline).await;
    assert!(matches!(seen, Err(ControlError::Broken(_))), "{seen:?}");
}

#[tokio::test]
async fn instances_come_in_pages() {
    let page = |name, next| instances(&[(name, SMALL, "available", None)], next);
    let pages = vec![
        page("one", Some("a")),
        page("two", Some("b")),
        page("three", None),
    ];
    let server = scripted(vec![("DescribeDBInstances", pages)]).await;
    assert_eq!(look(&server).await, (Some("one".to_owned()), true, true));
    let sent = server.requests("DescribeDBInstances");
    assert_eq!(sent.len(), 3);
    assert!(sent[2].body.contains("Marker=b"), "{sent:?}");
}

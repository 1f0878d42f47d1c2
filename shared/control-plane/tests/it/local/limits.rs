//! Tests the account's limits, and documents with mistakes.

use capacity::amounts::{Polling, WarmThroughput};
use capacity::quotas::Quotas;
use capacity::steps::Step;
use contracts::account::{ControlPlanes, account_fixtures};
use domain::drops::FieldError;
use ports::prescale::{CarryOut, Observe, ReadDocuments, ReadQuotas};

use crate::local::account::Local;

#[tokio::test]
async fn others_reservations_are_counted_and_ours_are_not() {
    let local = Local::serverless().await;
    let baseline = &local.documents().baseline;
    for (name, reserved) in [("stranger", 30), ("another", 12)] {
        local.past.make_function(name).await;
        let put = local.past.lambda.put_function_concurrency().function_name(name);
        put.reserved_concurrent_executions(reserved).send().await.unwrap();
    }
    let settings = local.past.lambda.get_account_settings().send().await.unwrap();
    let account = settings.account_limit.unwrap().concurrent_executions;
    let quotas = local.account.quotas(baseline).await.unwrap().unwrap();
    let expected = Quotas {
        account_concurrency: u32::try_from(account).unwrap(),
        // The declared provisioned concurrency of other functions is added.
        reserved_by_others: 30 + 12 + 7,
        provisioned_per_minute: 6_000,
        api_requests_per_second: 10_000,
        api_burst: 5_000,
        table_write_units: 40_000,
        table_read_units: 30_000,
        gateway_calls_per_second: 100,
    };
    assert_eq!(quotas, expected);
    let more = Step::Reserve {
        function: account_fixtures::API.to_owned(),
        from: None,
        to: Some(60),
    };
    local.account.carry_out(&more).await.unwrap();
    assert_eq!(local.account.quotas(baseline).await, Ok(Ok(expected)));
}

#[tokio::test]
async fn all_mistakes_in_all_documents_are_told_together() {
    let local = Local::serverless().await;
    local.put("calender/spring", "{}").await;
    local
        .put("budget", r#"{"usd_per_hour": "much", "usd_per_drop": 1}"#)
        .await;
    local.put("prices", "nothing").await;
    local
        .put("calendar/autumn", r#"{"id": "winter", "units": -1}"#)
        .await;
    let mistakes = local.account.documents().await.unwrap().unwrap_err();
    let fields: Vec<&str> = mistakes.iter().map(|m| m.field.as_str()).collect();
    for field in [
        "calender/spring",
        "budget.usd_per_hour",
        "prices",
        "calendar/autumn",
        "calendar/autumn.units",
    ] {
        assert!(fields.contains(&field), "{field}: {mistakes:?}");
    }
    let calendar = local.account.calendar().await.unwrap().unwrap_err();
    assert!(
        calendar.iter().all(|m| m.field.starts_with("calendar/autumn")),
        "{calendar:?}"
    );
}

#[tokio::test]
async fn missing_limits_are_a_mistake() {
    let local = Local::serverless().await;
    let name = format!("{}/quotas", crate::local::account::DOCUMENTS);
    local.past.ssm.delete_parameter().name(name).send().await.unwrap();
    let quotas = local.account.quotas(&local.documents().baseline).await;
    let missing = FieldError {
        field: "quotas".to_owned(),
        message: "is missing".to_owned(),
    };
    assert_eq!(quotas, Ok(Err(vec![missing.clone()])));
    assert_eq!(local.account.documents().await, Ok(Err(vec![missing])));
}

#[tokio::test]
async fn an_index_is_warmed_with_its_table() {
    let local = Local::serverless().await;
    let warm = |write_units, read_units| WarmThroughput {
        write_units,
        read_units,
    };
    let step = Step::Warm {
        table: account_fixtures::TABLE.to_owned(),
        from: account_fixtures::NEW_TABLE,
        to: warm(6_000, 15_000),
    };
    local.account.carry_out(&step).await.unwrap();
    let described = local.past.dynamodb.describe_table();
    let described = described.table_name(&local.names.tables[account_fixtures::TABLE]);
    let table = described.send().await.unwrap().table.unwrap();
    let index = table.global_secondary_indexes()[0].warm_throughput().unwrap();
    // Reads of an index count separately, so the index keeps its read units.
    assert_eq!(index.write_units_per_second(), Some(6_000));
    assert_eq!(index.read_units_per_second(), Some(12_000));
    let own = table.warm_throughput().unwrap();
    assert_eq!(own.write_units_per_second(), Some(6_000));
    assert_eq!(own.read_units_per_second(), Some(15_000));
}

#[tokio::test]
async fn the_maximum_is_left_as_it_is() {
    let local = Local::serverless().await;
    local
        .account
        .carry_out(&Step::SetMinimumAcu { from: 2.0, to: 8.5 })
        .await
        .unwrap();
    let clusters = local.past.rds.describe_db_clusters();
    let clusters = clusters
        .db_cluster_identifier(&local.names.cluster)
        .send()
        .await
        .unwrap();
    let scaling = clusters.db_clusters()[0]
        .serverless_v2_scaling_configuration()
        .unwrap();
    assert_eq!(scaling.min_capacity(), Some(8.5));
    assert_eq!(scaling.max_capacity(), Some(64.0));
}

/// A change of class that waits for its maintenance window is neither complete nor in progress.
#[tokio::test]
async fn a_deferred_class_is_seen_and_put_right() {
    let local = Local::provisioned().await;
    let baseline = &local.documents().baseline;
    let seen = local.account.observe(baseline).await.unwrap();
    let capacity::observed::ObservedDatabase::Provisioned { instances, .. } = &seen.observed.database else {
        panic!("{seen:?}");
    };
    let reader = instances[1].name.clone();
    let modify = local
        .past
        .rds
        .modify_db_instance()
        .db_instance_identifier(&reader);
    modify
        .db_instance_class(account_fixtures::LARGE)
        .apply_immediately(false)
        .send()
        .await
        .unwrap();
    let deferred = local.account.observe(baseline).await.unwrap();
    assert!(!deferred.database_available);
    assert_eq!(deferred.observed, seen.observed);
    let step = Step::ChangeClass {
        instance: reader,
        from: account_fixtures::SMALL.to_owned(),
        to: account_fixtures::LARGE.to_owned(),
        interrupts: false,
    };
    local.account.carry_out(&step).await.unwrap();
    let after = local.account.observe(baseline).await.unwrap();
    assert!(after.database_available);
    assert_eq!(after.observed, seen.observed.after(&step));
}

#[tokio::test]
async fn an_event_source_without_a_setting_counts_as_unlimited() {
    let local = Local::serverless().await;
    let worker = &local.names.functions[account_fixtures::WORKER].name;
    local
        .past
        .sqs
        .create_queue()
        .queue_name("free")
        .send()
        .await
        .unwrap();
    let source = &local.names.sources[account_fixtures::SOURCE];
    let update = local
        .past
        .lambda
        .update_event_source_mapping()
        .uuid(&source.mapping);
    let none = aws_sdk_lambda::types::ScalingConfig::builder().build();
    update
        .function_name(format!("{worker}:live"))
        .scaling_config(none)
        .send()
        .await
        .unwrap();
    let seen = local.account.observe(&local.documents().baseline).await.unwrap();
    assert_eq!(
        seen.observed.queues[account_fixtures::SOURCE],
        Polling::MaximumConcurrency(1_000)
    );
}

#[tokio::test]
async fn an_event_source_that_is_switched_off_is_inactive() {
    let local = Local::serverless().await;
    let source = &local.names.sources[account_fixtures::SOURCE];
    let update = local
        .past
        .lambda
        .update_event_source_mapping()
        .uuid(&source.mapping);
    update.enabled(false).send().await.unwrap();
    let seen = local.account.observe(&local.documents().baseline).await.unwrap();
    assert_eq!(
        seen.inactive_sources,
        [account_fixtures::SOURCE.to_owned()].into()
    );
    assert_eq!(
        seen.observed.queues[account_fixtures::SOURCE],
        Polling::MaximumConcurrency(10)
    );
}

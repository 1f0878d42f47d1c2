//! Tests reads of the account by the baseline's names.

use capacity::amounts::{Polling, WarmThroughput};
use capacity::baseline::{FunctionBaseline, QueueBaseline, TableBaseline};
use capacity::observed::Observed;
use capacity::readiness::Seen;
use ports::prescale::{CallFunction, Observe};

use super::account_fixtures::{API, NEW_TABLE, SOURCE, TABLE, WORKER};
use super::{ControlPlanes, assert_broken, look};
use crate::answered;

pub async fn at_the_baseline_everything_is_as_declared(control_planes: &impl ControlPlanes) {
    let baseline = &control_planes.documents().baseline;
    let expected = Seen {
        observed: Observed::at_baseline(baseline),
        database_available: true,
        inactive_tables: [].into(),
        inactive_sources: [].into(),
    };
    assert_eq!(look(control_planes).await, expected);
}

pub async fn a_function_that_is_not_there_is_broken(control_planes: &impl ControlPlanes) {
    let mut baseline = control_planes.documents().baseline.clone();
    baseline.functions.push(FunctionBaseline {
        function: "nobody".to_owned(),
        memory_mb: 256,
        provisioned: 0,
        reserved: None,
    });
    assert_broken(control_planes.account().observe(&baseline).await);
}

pub async fn tables_and_event_sources_that_are_not_there_are_inactive(control_planes: &impl ControlPlanes) {
    let mut baseline = control_planes.documents().baseline.clone();
    baseline.tables.push(TableBaseline {
        table: "NoTable".to_owned(),
        warm: NEW_TABLE,
        allowed: WarmThroughput::default(),
    });
    baseline.queues.push(QueueBaseline {
        source: "NoQueue".to_owned(),
        function: WORKER.to_owned(),
        polling: Polling::MaximumConcurrency(2),
    });
    let seen = answered(control_planes.account().observe(&baseline).await);
    assert_eq!(seen.inactive_tables, ["NoTable".to_owned()].into());
    assert_eq!(seen.inactive_sources, ["NoQueue".to_owned()].into());
    assert!(seen.observed.tables.keys().eq([TABLE]), "{seen:?}");
    assert!(seen.observed.queues.keys().eq([SOURCE]), "{seen:?}");
}

pub async fn messages_that_wait_are_orders_on_their_way(control_planes: &impl ControlPlanes) {
    assert!(!look(control_planes).await.observed.orders_draining);
    control_planes.send().await;
    assert!(look(control_planes).await.observed.orders_draining);
}

pub async fn a_function_answers_or_not(control_planes: &impl ControlPlanes) {
    let account = control_planes.account();
    assert!(answered(account.answers(API).await));
    assert!(answered(account.answers(WORKER).await));
    assert_broken(account.answers("nobody").await);
    control_planes.spoil().await;
    assert!(!answered(account.answers(API).await));
    assert!(answered(account.answers(WORKER).await));
}

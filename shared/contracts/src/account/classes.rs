//! Tests changes of a database of instances: of their classes, and of the writer.

use capacity::amounts::DatabaseSize;
use capacity::database::DatabaseBaseline;
use capacity::observed::{Instance, ObservedDatabase};
use capacity::steps::{Step, database_steps};
use ports::prescale::{Carried, CarryOut, Observe};

use super::account_fixtures::{LARGE, SMALL};
use super::{ControlPlanes, assert_broken, change, look};
use crate::answered;

async fn instances(control_planes: &impl ControlPlanes) -> Vec<Instance> {
    match look(control_planes).await.observed.database {
        ObservedDatabase::Provisioned { instances, available } => {
            assert!(available);
            instances
        }
        serverless @ ObservedDatabase::Serverless { .. } => panic!("{serverless:?}"),
    }
}

/// Carries out the first step to `class` that is left, until no step is left. Returns all steps.
async fn bring_to(control_planes: &impl ControlPlanes, class: &str) -> Vec<Step> {
    let mut taken = Vec::new();
    let size = DatabaseSize::Class(class.to_owned());
    loop {
        let seen = look(control_planes).await;
        assert!(seen.database_available);
        let steps = database_steps(&seen.observed.database, &size);
        let Some(next) = steps.first() else { return taken };
        assert!(taken.len() < 8, "{taken:?}");
        change(control_planes, next).await;
        assert_eq!(look(control_planes).await.observed, seen.observed.after(next));
        taken.push(next.clone());
    }
}

pub async fn classes_change_reader_by_reader_and_then_the_writer(control_planes: &impl ControlPlanes) {
    let before = instances(control_planes).await;
    assert!(before.iter().all(|i| i.class == SMALL));
    let wrote = |all: &[Instance]| all.iter().find(|i| i.writer).map(|i| i.name.clone());
    for (n, class) in [LARGE, SMALL].into_iter().enumerate() {
        let writer = wrote(&instances(control_planes).await);
        let taken = bring_to(control_planes, class).await;
        assert_eq!(taken.len(), 4, "{taken:?}");
        assert!(matches!(taken[2], Step::FailOver { .. }), "{taken:?}");
        let after = instances(control_planes).await;
        assert!(after.iter().all(|i| i.class == class), "{after:?}");
        assert_ne!(wrote(&after), writer, "way {n}");
    }
}

pub async fn whoever_writes_already_is_not_failed_over_to(control_planes: &impl ControlPlanes) {
    let before = instances(control_planes).await;
    let to = |name: &str| Step::FailOver {
        from: before[0].name.clone(),
        to: name.to_owned(),
    };
    let already = answered(control_planes.account().carry_out(&to(&before[0].name)).await);
    assert_eq!(already, Carried::AlreadySo);
    assert_eq!(instances(control_planes).await, before);
    change(control_planes, &to(&before[2].name)).await;
    let after = instances(control_planes).await;
    assert!(
        after.iter().map(|i| i.writer).eq([false, false, true]),
        "{after:?}"
    );
}

pub async fn instances_that_are_not_there_are_broken(control_planes: &impl ControlPlanes) {
    let before = instances(control_planes).await;
    let account = control_planes.account();
    let stranger = || "nobody".to_owned();
    let fail_over = Step::FailOver {
        from: before[0].name.clone(),
        to: stranger(),
    };
    assert_broken(account.carry_out(&fail_over).await);
    let change_class = Step::ChangeClass {
        instance: stranger(),
        from: SMALL.to_owned(),
        to: LARGE.to_owned(),
        interrupts: false,
    };
    assert_broken(account.carry_out(&change_class).await);
    let mut baseline = control_planes.documents().baseline.clone();
    if let DatabaseBaseline::Provisioned { instances, .. } = &mut baseline.database {
        instances.push(stranger());
    }
    assert_broken(account.observe(&baseline).await);
    assert_eq!(instances(control_planes).await, before);
}

pub async fn a_cluster_of_instances_has_no_minimum(control_planes: &impl ControlPlanes) {
    let step = Step::SetMinimumAcu { from: 2.0, to: 4.0 };
    assert_broken(control_planes.account().carry_out(&step).await);
}

pub async fn a_serverless_cluster_has_no_classes(control_planes: &impl ControlPlanes) {
    let step = Step::FailOver {
        from: "one".to_owned(),
        to: "nobody".to_owned(),
    };
    assert_broken(control_planes.account().carry_out(&step).await);
}

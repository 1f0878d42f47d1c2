//! Tests changes of the account: each step sets its value and nothing else.

use capacity::amounts::{Polling, WarmThroughput};
use capacity::observed::{Allocation, Observed, ObservedDatabase};
use capacity::steps::Step;
use ports::prescale::CarryOut;

use super::account_fixtures::{API, NEW_TABLE, SOURCE, TABLE, WORKER};
use super::{ControlPlanes, assert_broken, change, look};
use crate::answered;

fn provision(function: &str, from: u32, to: u32) -> Step {
    Step::Provision {
        function: function.to_owned(),
        from,
        to,
    }
}

fn reserve(function: &str, from: Option<u32>, to: Option<u32>) -> Step {
    Step::Reserve {
        function: function.to_owned(),
        from,
        to,
    }
}

fn poll(source: &str, from: u32, to: u32) -> Step {
    Step::Poll {
        source: source.to_owned(),
        from: Polling::MaximumConcurrency(from),
        to: Polling::MaximumConcurrency(to),
    }
}

fn warm(table: &str, write_units: u32, read_units: u32) -> Step {
    Step::Warm {
        table: table.to_owned(),
        from: NEW_TABLE,
        to: WarmThroughput {
            write_units,
            read_units,
        },
    }
}

/// Carries out the steps in order. After each step the observed state must equal the state that the domain derives.
async fn each(control_planes: &impl ControlPlanes, steps: &[Step]) {
    let mut expected = look(control_planes).await.observed;
    for step in steps {
        change(control_planes, step).await;
        expected = expected.after(step);
        assert_eq!(look(control_planes).await.observed, expected, "{step:?}");
    }
}

pub async fn what_is_provisioned_goes_up_and_down_and_away(control_planes: &impl ControlPlanes) {
    let steps = [
        provision(API, 0, 40),
        provision(API, 40, 60),
        provision(WORKER, 0, 3),
        provision(API, 60, 5),
        provision(API, 5, 0),
    ];
    each(control_planes, &steps).await;
    let there = look(control_planes).await.observed.function(WORKER);
    assert_eq!(there.allocated, 3);
    assert_eq!(there.allocation, Allocation::Ready);
}

pub async fn a_reservation_is_set_and_changed_and_removed(control_planes: &impl ControlPlanes) {
    let steps = [
        reserve(API, None, Some(50)),
        reserve(API, Some(50), Some(30)),
        reserve(API, Some(30), None),
        reserve(WORKER, Some(20), Some(25)),
    ];
    each(control_planes, &steps).await;
}

pub async fn an_event_source_is_set(control_planes: &impl ControlPlanes) {
    each(control_planes, &[poll(SOURCE, 10, 200), poll(SOURCE, 200, 2)]).await;
}

pub async fn a_table_is_warmed_and_never_cooled(control_planes: &impl ControlPlanes) {
    let up = [warm(TABLE, 6_000, 12_000), warm(TABLE, 6_000, 15_000)];
    each(control_planes, &up).await;
    for lower in [
        warm(TABLE, 4_000, 12_000),
        warm(TABLE, 7_000, 12_000),
        warm(TABLE, 4_000, 16_000),
    ] {
        assert_broken(control_planes.account().carry_out(&lower).await);
    }
    let there = look(control_planes).await.observed.tables[TABLE];
    assert_eq!(there.write_units, 6_000);
    assert_eq!(there.read_units, 15_000);
}

pub async fn what_is_there_already_is_set_without_harm(control_planes: &impl ControlPlanes) {
    let steps = [
        provision(API, 0, 40),
        reserve(WORKER, Some(20), Some(30)),
        poll(SOURCE, 10, 50),
        warm(TABLE, 5_000, 12_000),
    ];
    for step in &steps {
        change(control_planes, step).await;
    }
    let seen = look(control_planes).await;
    for step in &steps {
        answered(control_planes.account().carry_out(step).await);
        assert_eq!(look(control_planes).await, seen, "{step:?}");
    }
    for step in [provision(API, 40, 0), reserve(WORKER, Some(30), None)] {
        change(control_planes, &step).await;
        let seen = look(control_planes).await;
        answered(control_planes.account().carry_out(&step).await);
        assert_eq!(look(control_planes).await, seen, "{step:?}");
    }
}

pub async fn what_is_not_there_is_not_changed(control_planes: &impl ControlPlanes) {
    let before = look(control_planes).await;
    for step in [
        provision("nobody", 0, 4),
        provision("nobody", 4, 0),
        reserve("nobody", None, Some(4)),
        reserve("nobody", Some(4), None),
        poll("NoQueue", 2, 4),
        warm("NoTable", 5_000, 12_000),
    ] {
        assert_broken(control_planes.account().carry_out(&step).await);
    }
    assert_eq!(look(control_planes).await, before);
}

/// Raises the capacity and lowers it again. The account must then be at its baseline.
pub async fn the_way_back_is_exact(control_planes: &impl ControlPlanes) {
    let up = [
        reserve(API, None, Some(60)),
        provision(API, 0, 50),
        reserve(WORKER, Some(20), Some(30)),
        provision(WORKER, 0, 30),
        poll(SOURCE, 10, 30),
    ];
    let down = [
        provision(API, 50, 0),
        reserve(API, Some(60), None),
        provision(WORKER, 30, 0),
        reserve(WORKER, Some(30), Some(20)),
        poll(SOURCE, 30, 10),
    ];
    let baseline = Observed::at_baseline(&control_planes.documents().baseline);
    each(control_planes, &up).await;
    each(control_planes, &down).await;
    assert_eq!(look(control_planes).await.observed, baseline);
}

pub async fn the_minimum_is_set_and_set_back(control_planes: &impl ControlPlanes) {
    let step = |from, to| Step::SetMinimumAcu { from, to };
    let steps = [step(2.0, 16.0), step(16.0, 16.5), step(16.5, 2.0)];
    each(control_planes, &steps).await;
    let again = answered(control_planes.account().carry_out(&step(16.5, 2.0)).await);
    assert_eq!(again, ports::prescale::Carried::AlreadySo);
    let there = look(control_planes).await.observed.database;
    assert_eq!(there, ObservedDatabase::Serverless { minimum_acu: 2.0 });
}

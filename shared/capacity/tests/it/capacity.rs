//! Tests of the capacity and the lead time of the reference drop, with results computed by hand.
//!
//! The peak has 200,000 requests a second. 10,000 units that are reserved in 10 s are 1,000 units a second.
//! Each unit causes 4 requests, which are 4,000 of the 200,000. The other 196,000 requests come from shoppers
//! who each send 4 + 8: these are 16,333⅓ shoppers a second, who send 65,333⅓ requests to browse and 130,666⅔
//! to buy.

use capacity::amounts::{Concurrency, DatabaseSize, Polling, WarmThroughput};
use capacity::demand::Demand;
use capacity::lead::window;
use capacity::numbers::Share;
use capacity::wanted::wanted;

use crate::support::{at, documents, plenty, reference, small, with_classes};

const OPENING: i64 = 1_000_000;

#[test]
fn the_reference_spike_by_hand() {
    let docs = documents(vec![reference("spike", OPENING)]);
    assert_eq!(docs.mistakes(&plenty()), vec![]);
    let wanted = wanted(&docs, &plenty(), at(OPENING));
    let function = |name: &str| wanted.capacity.function(name);
    let only = |provisioned| Concurrency {
        provisioned,
        reserved: None,
    };
    // The need is 65,333.33 requests ÷ 10 × headroom 1.2.
    assert_eq!(function("get-drop"), only(7_840));
    // The need is 130,666.67 requests ÷ 10 × headroom 1.2; a quarter more is reserved.
    let buy = Concurrency {
        provisioned: 15_680,
        reserved: Some(19_600),
    };
    assert_eq!(function("reserve"), buy);
    // `checkout` serves 3 of 10 of the 4,000 requests in 150 ms each, so the need is 1,200 × 0.15 × 1.2.
    assert_eq!(function("checkout"), only(216));
    // The need is 2,800 requests ÷ 10 × headroom 1.2.
    assert_eq!(function("get-order"), only(336));
    // 10,000 ÷ 125 s × 2.5 = 200 requests a second take half a second each, and the headroom is 1.5. The
    // declared reservation grows with the need.
    let settle = Concurrency {
        provisioned: 150,
        reserved: Some(150),
    };
    assert_eq!(function("process-order"), settle);
    assert_eq!(
        function("conduct-drop"),
        Concurrency {
            provisioned: 0,
            reserved: Some(4)
        }
    );

    // The table needs 1,000 × 6 × 1.25 write units and 130,666.67 × 0.2 × 1.25 read units.
    let stock = WarmThroughput {
        write_units: 7_500,
        read_units: 32_667,
    };
    assert_eq!(wanted.capacity.table("stock"), stock);
    // The ledger writes 80 units a second × 6 rows × 1.5 = 720 rows a second. An ACU writes 100 rows, and the
    // minimum has steps of 0.5 ACU.
    assert_eq!(wanted.capacity.database, DatabaseSize::MinimumAcu(7.5));
    // The queue needs 200 messages a second × 0.5 s × 1.5 = 150 invocations. The gateway allows 2,000 ÷ 2 ×
    // 0.5 = 500.
    assert_eq!(
        wanted.capacity.queues["payments"],
        Polling::MaximumConcurrency(150)
    );
    // The queue needs 240 × 0.05 × 1.5 = 18 invocations, which are those of two pollers, as declared. The
    // database allows 750 ÷ 2 × 0.05 = 18.
    let ledger = Polling::ProvisionedPollers {
        minimum: 2,
        maximum: 4,
    };
    assert_eq!(wanted.capacity.queues["ledger"], ledger);
    assert_eq!(wanted.drops[0].share.factor(), 1.0);
    assert_eq!(wanted.drops[0].limits, vec![]);
}

#[test]
fn the_lead_time_is_solved_backwards() {
    let docs = documents(vec![reference("spike", OPENING)]);
    let window = window(&docs, &plenty(), &docs.calendar[0]);
    let parts: Vec<(&str, u32)> = window.parts.iter().map(|p| (p.part, p.seconds)).collect();
    // 7,838 + 15,678 + 216 + 336 + 150 = 24,218 units are missing at the baseline. Lambda allocates 100 units
    // a second.
    let expected = [
        ("next run notices", 60),
        ("database", 120),
        ("tables", 300),
        ("provisioned concurrency prepares", 120),
        ("provisioned concurrency allocates", 243),
        ("verification", 60),
        ("margin", 120),
    ];
    assert_eq!(parts, expected);
    assert_eq!(window.ready_by, at(OPENING - 600));
    assert_eq!(window.begins_at, at(OPENING - 600 - 1_023));
    assert_eq!(window.released_at, at(OPENING + 3_600 + 125));
    assert_eq!(window.held_seconds(), 1_023 + 600 + 3_600 + 125);
}

#[test]
fn classes_take_their_steps_one_after_the_other() {
    let docs = with_classes(vec![reference("spike", OPENING)]);
    assert_eq!(docs.mistakes(&plenty()), vec![]);
    // 720 rows a second need the largest class. The instances change one after the other, with a
    // failover between.
    let wanted = wanted(&docs, &plenty(), at(OPENING));
    assert_eq!(wanted.capacity.database, DatabaseSize::Class("2xlarge".into()));
    let window = window(&docs, &plenty(), &docs.calendar[0]);
    let database = window.parts.iter().find(|p| p.part == "database").unwrap();
    assert_eq!(database.seconds, 3 * 240 + 120);
}

#[test]
fn a_drop_by_the_shape_of_its_arrivals() {
    let docs = documents(vec![small("small", OPENING)]);
    let demand = Demand::of(&docs, &docs.calendar[0]);
    // 10,000 shoppers ÷ 60 s send 4 requests each to browse and 8 to buy. The arrivals before the opening are
    // fewer: 10,000 ÷ 600 × 2 × 1.
    assert!((demand.group_rps["browse"] - 666.666_666).abs() < 0.001);
    assert!((demand.group_rps["buy"] - 1_333.333_333).abs() < 0.001);
    // 100 units are reserved in 10 s, with 4 requests each.
    assert!((demand.group_rps["order"] - 40.0).abs() < 1e-9);
    assert!((demand.api_rps - 2_040.0).abs() < 1e-6);
    let wanted = wanted(&docs, &plenty(), at(OPENING));
    assert_eq!(wanted.capacity.function("get-drop").provisioned, 80);
    assert_eq!(wanted.capacity.function("reserve").provisioned, 160);
    // So few units need no larger database and no warmer table.
    assert_eq!(wanted.capacity.database, DatabaseSize::MinimumAcu(2.0));
    assert_eq!(wanted.capacity.table("stock"), docs.baseline.tables[0].warm);
}

#[test]
fn orders_come_over_a_longer_time_when_fewer_are_admitted() {
    let docs = documents(vec![reference("spike", OPENING)]);
    let settled = |part: f64| {
        let share = Share::of(part, 1.0);
        Demand::at(&docs, &docs.calendar[0], share).settled_units_per_second
    };
    assert_eq!(settled(1.0), 80.0);
    assert_eq!(settled(0.0), 0.0);
    // At a tenth of the rate, the units sell over 100 s instead of 10 s, so 10,000 units are processed over
    // 125 + 90 s.
    assert!((settled(0.1) - 10_000.0 / 215.0).abs() < 1e-9);
    // The payments slow down like the orders, but the API requests fall to a tenth.
    let tenth = Demand::at(&docs, &docs.calendar[0], Share::of(0.1, 1.0));
    assert!((tenth.group_rps["settle"] - 25_000.0 / 215.0).abs() < 1e-9);
    assert!((tenth.group_rps["order"] - 400.0).abs() < 1e-9);
}

#[test]
fn outside_every_window_the_baseline_is_wanted() {
    let docs = documents(vec![reference("spike", OPENING)]);
    let window = window(&docs, &plenty(), &docs.calendar[0]);
    let baseline = docs.baseline.capacity();
    let moment = |now| wanted(&docs, &plenty(), now).capacity;
    assert_eq!(moment(window.begins_at.plus_millis(-1)), baseline);
    assert_ne!(moment(window.begins_at), baseline);
    assert_ne!(moment(window.released_at.plus_millis(-1)), baseline);
    assert_eq!(moment(window.released_at), baseline);
}

#[test]
fn crowds_that_come_together_add_up_and_others_do_not() {
    let provisioned = |starts: &[i64], now: i64| {
        let names = ["one", "two", "three"];
        let calendar = names
            .iter()
            .zip(starts)
            .map(|(id, start)| small(id, *start))
            .collect();
        wanted(&documents(calendar), &plenty(), at(now))
            .capacity
            .function("get-drop")
            .provisioned
    };
    assert_eq!(provisioned(&[OPENING], OPENING), 80);
    assert_eq!(provisioned(&[OPENING, OPENING], OPENING), 160);
    // The second drop's shoppers arrive during the first drop's surge.
    assert_eq!(provisioned(&[OPENING, OPENING + 600], OPENING), 160);
    // The second drop's shoppers arrive after the first drop's surge.
    assert_eq!(provisioned(&[OPENING, OPENING + 661], OPENING), 80);
    // The middle drop overlaps both others, which do not overlap each other.
    assert_eq!(
        provisioned(&[OPENING, OPENING + 600, OPENING + 1_200], OPENING + 600),
        160
    );
}

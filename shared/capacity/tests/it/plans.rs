//! Tests of plans (rows, costs, refusals) and of the deployment freeze.

use capacity::calendar::CalendarState;
use capacity::freeze;
use capacity::plan::{PlanError, plan};
use capacity::steps::Step;

use crate::support::{at, at_baseline, defaults, documents, plenty, reference, small};

const OPENING: i64 = 1_000_000;

#[test]
fn a_plan_leads_up_and_exactly_back_except_for_one_way_rows() {
    let docs = documents(vec![reference("spike", OPENING)]);
    let id = docs.calendar[0].id.clone();
    let plan = plan(&docs, &plenty(), &at_baseline(&docs), &id, at(0)).unwrap();
    assert_eq!(plan.late_seconds, 0);
    assert_eq!(plan.limits.len(), 0);
    assert_eq!(plan.warnings.len(), 0);
    assert!(plan.up.iter().all(|row| row.at == plan.window.begins_at));
    assert!(plan.down.iter().all(|row| row.at == plan.window.released_at));
    let one_way: Vec<_> = plan.up.iter().filter(|row| row.one_way).collect();
    assert!(
        matches!(&one_way[..], [row] if matches!(&row.step, Step::Warm { table, .. } if table == "stock"))
    );
    assert_eq!(plan.down.len(), plan.up.len() - 1);
    let steps = plan.up.iter().chain(&plan.down).map(|row| &row.step);
    let mut end = steps.fold(at_baseline(&docs), capacity::observed::Observed::after);
    end.tables = at_baseline(&docs).tables;
    assert_eq!(end, at_baseline(&docs));
}

#[test]
fn costs_by_hand() {
    let docs = documents(vec![reference("spike", OPENING)]);
    let id = docs.calendar[0].id.clone();
    let cost = plan(&docs, &plenty(), &at_baseline(&docs), &id, at(0))
        .unwrap()
        .cost;
    // The window of 5,348 s is rounded up to a multiple of 300 s.
    assert_eq!(cost.held_seconds, 5_400);
    let buy = &cost.groups[1];
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} is not {b}");
    // The factors are 15,680 units × 0.25 GB × 0.000005 USD × 3,600 s.
    near(buy.held_usd_per_hour, 70.56);
    near(buy.held_usd, 105.84);
    near(buy.requests, 9_000_000.0);
    // Each of the 9 M requests costs (1 + 0.2) USD a million, and 0.01 s × 0.25 GB × 0.00001 USD. On demand,
    // the price of run time is twice as high.
    near(buy.running_usd, 10.8 + 0.225);
    near(buy.unscaled_usd, 10.8 + 0.45);
    // The group's requests come from a queue, so there is no API fee: the costs are 25,000 × 0.2 ÷ 1 M, and
    // 25,000 × 0.3 s × 0.25 GB × 0.00001.
    near(cost.groups[3].running_usd, 0.005 + 0.01875);
    near(cost.database_usd, 7.5 * 0.1 * 1.5);
    near(cost.database_unscaled_usd, 2.0 * 0.1 * 1.5);
    // The drop causes 60,000 write units and 1.8 M read units.
    near(cost.tables_usd, 0.03 + 0.45);
    assert_eq!(cost.warm_usd_once, None, "the list has no price");
    near(cost.held_usd_per_hour, 109.531);
    let rows = plan(&docs, &plenty(), &at_baseline(&docs), &id, at(0)).unwrap();
    near(rows.up.iter().map(|row| row.usd_per_hour).sum(), 109.531);
    near(rows.down.iter().map(|row| row.usd_per_hour).sum(), -109.531);
    assert_eq!(rows.up.iter().filter(|row| row.usd_once.is_none()).count(), 1);

    let mut priced = docs.clone();
    priced.prices.warm_write_unit = Some(0.001);
    priced.prices.warm_read_unit = Some(0.0001);
    let plan = plan(&priced, &plenty(), &at_baseline(&docs), &id, at(0)).unwrap();
    near(
        plan.cost.warm_usd_once.unwrap(),
        3_500.0 * 0.001 + 20_667.0 * 0.0001,
    );
    near(
        plan.cost.total_usd,
        cost.total_usd + plan.cost.warm_usd_once.unwrap(),
    );
}

#[test]
fn a_limited_plan_says_what_it_serves() {
    let docs = documents(vec![reference("spike", OPENING)]);
    let id = docs.calendar[0].id.clone();
    let plan = plan(&docs, &defaults(), &at_baseline(&docs), &id, at(0)).unwrap();
    let admission = plan.admission;
    assert!((admission.expected_shoppers_per_second - 16_333.333).abs() < 0.001);
    let expected = admission.expected_shoppers_per_second * admission.share.factor();
    assert!((admission.served_shoppers_per_second - expected).abs() < 1e-6);
    assert!(admission.share.factor() < 0.05 && !plan.limits.is_empty());
}

#[test]
fn a_late_plan_says_by_how_much() {
    let docs = documents(vec![reference("spike", OPENING)]);
    let id = docs.calendar[0].id.clone();
    let plan = plan(&docs, &plenty(), &at_baseline(&docs), &id, at(OPENING - 300)).unwrap();
    assert_eq!(plan.late_seconds, 600 + 1_023 - 300);
    assert_eq!(plan.warnings.len(), 1);
    assert!(plan.up.iter().all(|row| row.at == at(OPENING - 300)));
}

#[test]
fn nothing_is_planned_for_drops_that_want_nothing() {
    let mut docs = documents(vec![small("small", OPENING)]);
    let id = docs.calendar[0].id.clone();
    let ask = |docs: &_, id: &_, now| plan(docs, &plenty(), &at_baseline(docs), id, at(now)).map(|_| ());
    let other = "other".parse().unwrap();
    assert_eq!(ask(&docs, &other, 0), Err(PlanError::Unknown(other.clone())));
    assert_eq!(ask(&docs, &id, OPENING + 3_725), Err(PlanError::Past(id.clone())));
    docs.calendar[0].state = CalendarState::Cancelled;
    assert_eq!(ask(&docs, &id, 0), Err(PlanError::Off(id.clone())));
}

#[test]
fn no_deployment_runs_into_a_window() {
    let mut docs = documents(vec![small("one", OPENING), small("two", OPENING + 10_000)]);
    let begins_at = capacity::lead::window(&docs, &plenty(), &docs.calendar[0]).begins_at;
    let check = |docs: &_, now, seconds| freeze::check(docs, &plenty(), now, seconds);
    assert!(check(&docs, begins_at.plus_seconds(0).plus_millis(-301_000), 300).is_ok());
    let frozen = check(&docs, begins_at.plus_millis(-300_000), 300).unwrap_err();
    assert_eq!(frozen.drop.as_str(), "one");
    assert_eq!(frozen.from, begins_at);
    assert_eq!(frozen.until, at(OPENING + 3_725));
    assert!(check(&docs, at(OPENING), 0).is_err());
    assert!(check(&docs, at(OPENING + 3_725), 300).is_ok(), "between both");
    assert_eq!(
        check(&docs, at(OPENING), 100_000).unwrap_err().drop.as_str(),
        "two",
        "the last one it meets"
    );
    docs.calendar[0].state = CalendarState::Cancelled;
    assert!(check(&docs, at(OPENING), 300).is_ok());
}

//! Tests of limits and budgets, and of the share of a drop that fits within them.

use capacity::amounts::{Capacity, Polling, WarmThroughput};
use capacity::cost::usd_per_hour;
use capacity::fit::{Effect, Limit, LimitMet};
use capacity::quotas::Quotas;
use capacity::wanted::{Wanted, wanted};

use crate::support::{at, defaults, documents, plenty, reference, small, with_classes};

const OPENING: i64 = 1_000_000;

fn met(wanted: &Wanted, limit: &Limit) -> Option<LimitMet> {
    wanted.drops[0]
        .limits
        .iter()
        .find(|met| met.limit == *limit)
        .cloned()
}

fn names(wanted: &Wanted) -> Vec<Limit> {
    wanted.drops[0]
        .limits
        .iter()
        .map(|met| met.limit.clone())
        .collect()
}

#[test]
fn an_account_as_it_comes_serves_a_small_share_and_says_what_to_raise() {
    let docs = documents(vec![reference("spike", OPENING)]);
    let wanted = wanted(&docs, &defaults(), at(OPENING));
    let lowering = |is: f64, needed: f64| {
        Some(LimitMet {
            limit: Limit::ApiRate,
            is,
            needed,
            effect: Effect::LowersAdmission,
        })
    };
    assert_eq!(met(&wanted, &Limit::ApiRate), lowering(10_000.0, 200_000.0));
    let burst = met(&wanted, &Limit::ApiBurst).unwrap();
    assert_eq!(burst.is, 5_000.0);
    assert_eq!(burst.needed, 20_000.0);
    // The need is 7,840 + 19,600 reserved + 216 + 336 + 50 + 4, and 100 units that stay unreserved.
    // `process-order` has no more units than its event source invokes.
    let concurrency = met(&wanted, &Limit::AccountConcurrency).unwrap();
    assert_eq!(concurrency.is, 1_000.0);
    assert_eq!(concurrency.needed, 28_146.0);
    // 150 concurrent invocations make 2 calls each in half a second.
    let gateway = met(&wanted, &Limit::GatewayRate("payments".into())).unwrap();
    assert_eq!(gateway.is, 100.0);
    assert_eq!(gateway.needed, 600.0);
    assert_eq!(gateway.effect, Effect::DelaysOrders { times: 6.0 });
    // The capacity uses almost all units that it may use, and no more.
    let taken = wanted.capacity.concurrency_taken();
    assert!((895..=900).contains(&taken), "{taken}");
    let share = wanted.drops[0].share.factor();
    let served = wanted.drops[0].shoppers_per_second;
    assert!((served - 16_333.333 * share).abs() < 0.1, "{served}");
    assert!((0.025..0.04).contains(&share), "{share}");
}

#[test]
fn what_others_reserve_is_not_ours() {
    let docs = documents(vec![small("small", OPENING)]);
    let most = |reserved_by_others| {
        let quotas = Quotas {
            reserved_by_others,
            ..defaults()
        };
        wanted(&docs, &quotas, at(OPENING))
    };
    assert_eq!(names(&most(0)), vec![]);
    // The need is 80 + 200 reserved + 3 + 5 + 50 + 4 = 342 of 1000 - 100 units.
    let taken = most(0).capacity.concurrency_taken();
    assert_eq!(
        most(900 - u32::try_from(taken).unwrap()).drops[0].share.factor(),
        1.0
    );
    let tight = most(901 - u32::try_from(taken).unwrap());
    assert_eq!(names(&tight), [Limit::AccountConcurrency]);
    assert!(tight.capacity.concurrency_taken() < taken);
}

#[test]
fn a_table_is_raised_within_its_allowance_only() {
    let mut docs = documents(vec![reference("spike", OPENING)]);
    docs.baseline.tables[0].allowed = WarmThroughput::default();
    let never = wanted(&docs, &plenty(), at(OPENING));
    assert_eq!(never.capacity.table("stock"), docs.baseline.tables[0].warm);
    let reads = met(&never, &Limit::AllowedWarmReads("stock".into())).unwrap();
    assert_eq!(reads.is, 12_000.0);
    assert_eq!(reads.needed, 32_667.0);
    let writes = met(&never, &Limit::AllowedWarmWrites("stock".into())).unwrap();
    assert_eq!(writes.is, 4_000.0);
    assert_eq!(writes.needed, 7_500.0);
    // Read units limit the share most: the drop needs 32,666.67 and gets 12,000.
    assert!((never.drops[0].share.factor() - 12_000.0 / 32_666.667).abs() < 1e-5);

    let quotas = Quotas {
        table_read_units: 20_000,
        ..plenty()
    };
    docs.baseline.tables[0].allowed = WarmThroughput {
        write_units: 12_000,
        read_units: 40_000,
    };
    let quota = wanted(&docs, &quotas, at(OPENING));
    assert_eq!(
        met(&quota, &Limit::TableReads("stock".into())).unwrap().needed,
        32_667.0
    );
    assert!(quota.capacity.table("stock").read_units <= 20_000);
}

#[test]
fn a_budget_is_kept() {
    let extra = |capacity: &Capacity, docs: &capacity::documents::Documents| {
        usd_per_hour(docs, capacity) - usd_per_hour(docs, &docs.baseline.capacity())
    };
    let mut docs = documents(vec![reference("spike", OPENING)]);
    // The cost is 24,218 units × 0.25 GB × 0.000005 USD × 3,600 s = 108.981 USD, and 5.5 ACU × 0.1 USD.
    let whole = extra(&wanted(&docs, &plenty(), at(OPENING)).capacity, &docs);
    assert!((whole - 109.531).abs() < 1e-6, "{whole}");
    docs.budget.usd_per_hour = 50.0;
    let hourly = wanted(&docs, &plenty(), at(OPENING));
    assert_eq!(names(&hourly), [Limit::BudgetPerHour]);
    let spent = extra(&hourly.capacity, &docs);
    assert!((49.9..=50.0).contains(&spent), "{spent}");

    docs.budget.usd_per_hour = 200.0;
    docs.budget.usd_per_drop = 75.0;
    let total = wanted(&docs, &plenty(), at(OPENING));
    assert_eq!(names(&total), [Limit::BudgetPerDrop]);
    let hours = f64::from(total.drops[0].window.held_seconds()) / 3_600.0;
    let spent = extra(&total.capacity, &docs) * hours;
    assert!((74.8..=75.0).contains(&spent), "{spent}");
}

#[test]
fn what_is_behind_the_queues_delays_orders_and_refuses_nobody() {
    let docs = documents(vec![reference("spike", OPENING)]);
    let quotas = Quotas {
        gateway_calls_per_second: 300,
        ..plenty()
    };
    let wanted_now = wanted(&docs, &quotas, at(OPENING));
    assert_eq!(wanted_now.drops[0].share.factor(), 1.0);
    // The rate allows 300 calls ÷ 2 × 0.5 s = 75 invocations. The 150 wanted invocations make 600 calls
    // a second.
    assert_eq!(
        wanted_now.capacity.queues["payments"],
        Polling::MaximumConcurrency(75)
    );
    let worker = wanted_now.capacity.functions["process-order"];
    assert_eq!(worker.provisioned, 75);
    assert_eq!(worker.reserved, Some(75));
    let gateway = met(&wanted_now, &Limit::GatewayRate("payments".into())).unwrap();
    assert_eq!(gateway.is, 300.0);
    assert_eq!(gateway.needed, 600.0);
    assert_eq!(gateway.effect, Effect::DelaysOrders { times: 2.0 });

    let mut docs = with_classes(vec![reference("spike", OPENING)]);
    docs.profile.database.rows_per_unit = 12.0;
    let database = wanted(&docs, &plenty(), at(OPENING));
    // The ledger must write 80 × 12 × 1.5 = 1,440 rows a second, and the largest class writes 800.
    let size = met(&database, &Limit::DatabaseSize).unwrap();
    assert_eq!(size.is, 800.0);
    assert_eq!(size.needed, 1_440.0);
    assert_eq!(size.effect, Effect::DelaysOrders { times: 1.8 });
}

#[test]
fn a_later_drop_gets_what_an_earlier_one_leaves() {
    let quotas = Quotas {
        account_concurrency: 42_000,
        reserved_by_others: 0,
        ..plenty()
    };
    let mut docs = documents(vec![
        reference("first", OPENING),
        reference("second", OPENING + 300),
    ]);
    docs.budget.usd_per_hour = 1_000.0;
    docs.budget.usd_per_drop = 1_000.0;
    let alone = wanted(&docs, &quotas, at(OPENING - 1_500));
    assert_eq!(alone.drops.len(), 1);
    let both = wanted(&docs, &quotas, at(OPENING));
    let shares: Vec<(&str, f64)> = both
        .drops
        .iter()
        .map(|d| (d.drop.as_str(), d.share.factor()))
        .collect();
    assert_eq!(shares[0], ("first", 1.0));
    assert_eq!(shares[1].0, "second");
    // Of the stock table's 40,000 read units, 7,333⅓ are left for the second drop, which needs 32,666⅔. The
    // API would leave a quarter.
    assert!((shares[1].1 - 7_333.333 / 32_666.667).abs() < 1e-5, "{shares:?}");
    for (name, first) in &alone.capacity.functions {
        assert!(both.capacity.function(name).provisioned >= first.provisioned);
    }
}

//! Runs drops during an hour without the ledger's database.

use domain::limits::LEDGER_OUTAGE_SECONDS;
use replay::draw;
use replay::faults::Fault;
use replay::function::Function;
use replay::plan::{FaultPlan, Outage};
use replay::run::{Options, run};
use replay::tokens::Keys;

/// Every order is placed, paid for and ended while the database is unavailable. No event becomes a dead letter: the
/// ledger has every version at the end.
#[test]
fn an_hour_without_the_database_loses_nothing() {
    let keys = Keys::new().unwrap();
    let mut missed = 0;
    for seed in 1..=20 {
        let mut plan = draw::plan(seed);
        let to_ms = 1_000 * LEDGER_OUTAGE_SECONDS;
        plan.faults = FaultPlan {
            outages: vec![Outage {
                fault: Fault::PostgresOutage,
                from_ms: 0,
                to_ms,
            }],
            ..FaultPlan::default()
        };
        plan.system.calm_ms = to_ms;
        plan.system.visibility_ms = 1_000 * Function::ProjectLedger.limits().visibility_seconds();
        let options = Options {
            sabotage: None,
            telling: false,
        };
        let outcome = run(&plan, &keys, options);
        assert_eq!(outcome.violations, [], "seed {seed}");
        missed += outcome
            .situations
            .get("a message was not done with")
            .copied()
            .unwrap_or(0);
    }
    assert!(missed > 1_000, "{missed} deliveries met the outage");
}

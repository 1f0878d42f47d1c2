//! Tests a whole drop: the runs of the function `prescale` on this account, from the preparation until the capacity is
//! back at the baseline.

use capacity::observed::Observed;
use capacity::quotas::Quotas;
use contracts::account::{ControlPlanes, account_fixtures};
use contracts::fixtures::NOW;
use memory::{MemoryAccount, MemoryStore, TestRuntime};
use ports::prescale::{Observe, ReadQuotas};
use prescale::{Mode, Prescaler};

use crate::local::account::Local;

#[tokio::test]
async fn a_drop_is_prepared_for_found_ready_and_given_back() {
    let local = Local::serverless().await;
    let mut docs = local.documents().clone();
    docs.calendar.truncate(1);
    local.declare(&docs).await;
    let quotas: Quotas = local.account.quotas(&docs.baseline).await.unwrap().unwrap();
    assert_eq!(docs.mistakes(&quotas), vec![]);
    let drop = docs.calendar[0].clone();
    let runtime = TestRuntime::new(1);
    let store = MemoryAccount::at_baseline(docs.clone(), quotas, runtime.clone());
    let prescaler = Prescaler::new(
        local.account.clone(),
        store.clone(),
        MemoryStore::new(),
        runtime.clone(),
        "test",
    );
    let run = async |seconds: u32| {
        runtime.set(NOW.plus_seconds(seconds));
        let deadline = NOW.plus_seconds(seconds + 55);
        prescaler
            .run(Mode::Apply, &format!("run-{seconds}"), deadline)
            .await
            .unwrap();
        local.account.observe(&docs.baseline).await.unwrap().observed
    };
    let baseline = Observed::at_baseline(&docs.baseline);
    // Long before the drop, nothing is changed.
    assert_eq!(run(60).await, baseline);
    assert_eq!(store.readiness_of(&drop.id), None);
    // The drop opens at 3,600 s. Shoppers arrive from ten minutes before the opening, and the preparation takes some
    // minutes.
    let prepared = run(2_700).await;
    let there = prepared.function(account_fixtures::API);
    // 900 requests a second, of which one unit serves ten, need 90 units; a headroom of 1.2 makes 108 units.
    assert_eq!(there.asked.provisioned, 108);
    assert_eq!(there.allocated, 108);
    let waits = store.readiness_of(&drop.id).unwrap();
    assert!(!waits.ready, "nobody has measured the database yet: {waits:?}");
    local.acu(NOW.plus_seconds(2_730), 2.0).await;
    assert_eq!(run(2_760).await, prepared);
    let ready = store.readiness_of(&drop.id).unwrap();
    assert!(ready.ready, "{ready:?}");
    // During the drop no run lowers the capacity.
    for seconds in [3_600, 3_660, 7_140] {
        assert_eq!(run(seconds).await, prepared);
    }
    // The drop is over. The first run that wants no capacity lowers nothing; the second run lowers the capacity.
    assert_eq!(run(7_500).await, prepared);
    assert_eq!(run(7_560).await, baseline);
    assert_eq!(run(7_620).await, baseline);
    assert!(store.audited().iter().all(|change| change.outcome.is_some()));
}

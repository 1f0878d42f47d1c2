//! Tests the effects of consecutive steps: counts, returns, and the end of a drop.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::support::{Scene, id, shard, shopper};
use conduct_drop::bounds::{LEAD_MS, REFRESH_MS};
use conduct_drop::{Conductor, Settings};
use domain::claim::ClaimState;
use domain::drops::Drop;
use domain::ids::ShardKey;
use domain::lapse::COUNTED_AFTER_MS;
use domain::limits::{CLOCK_SKEW_MS, CONDUCTOR_PERIOD_MS, LATE_MS};
use domain::shard::Shard;
use domain::survey::SeenClaim;
use memory::{MemoryStore, Op, fixtures};
use ports::drops::ReadDrop as _;
use ports::runtime::Clock as _;
use ports::stock::{AllocateStock, Consistency, CountLapse, GiveBackStock, PeekStock as _, SurveyStock};
use ports::{Conditional, StoreError};

#[tokio::test(flavor = "current_thread")]
async fn what_is_there_is_counted_and_told() {
    let scene = Scene::new();
    scene.hold("A", 0, "ada", 2).await;
    scene.hold("A", 1, "bob", 1).await;
    let order = scene.order("A", 1, "bob").await.unwrap();
    scene.hold("B", 0, "eve", 2).await;
    let sold = scene.order("B", 0, "eve").await.unwrap();
    scene.settle(&sold.id).await;
    scene.conduct("one").await;
    let status = scene.status().await.unwrap();
    let told: Vec<_> = status
        .skus
        .iter()
        .map(|c| (c.sku.as_str(), c.allocated, c.free, c.held, c.ordered, c.sold))
        .collect();
    assert_eq!(told, [("A", 30, 27, 2, 1, 0), ("B", 5, 3, 0, 0, 2)]);
    assert_eq!(status.as_of, scene.runtime.now());
    assert_eq!(status.fencing, 1);
    assert_eq!(scene.counts("A").await.unwrap().free, [22, 5]);
    assert_eq!(scene.counts("B").await.unwrap().free, [3]);
    assert!(
        scene.order_as_it_is(&order.id).status.is_open(),
        "an open order is not ours to end"
    );
    scene.store.audit().unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn an_unlisted_drop_is_conducted_as_any_other() {
    let scene = Scene::new();
    let drop = scene.store.drop(&id()).await.unwrap().unwrap();
    scene.store.put_drop(&Drop {
        listed: false,
        ..drop
    });
    scene.hold("A", 0, "ada", 2).await;
    scene.conduct("one").await;
    assert_eq!(scene.counts("A").await.unwrap().free, [22, 6]);
    scene
        .runtime
        .advance(i64::from(fixtures::HOLD_SECONDS) * 1_000 + 60_000);
    scene.conduct("one").await;
    assert_eq!(scene.counts("A").await.unwrap().free, [24, 6]);
}

#[tokio::test(flavor = "current_thread")]
async fn a_status_is_written_when_it_changes_and_before_it_looks_stale() {
    let scene = Scene::new();
    let process = scene.process();
    let mut run = process.begin("one");
    let mut oldest = 0;
    for _ in 0..20 {
        run.look().await;
        run.round().await;
        scene.runtime.advance(CONDUCTOR_PERIOD_MS);
        let status = scene.status().await.unwrap();
        oldest = oldest.max(scene.runtime.now().millis_since(status.as_of));
    }
    assert!(oldest <= REFRESH_MS, "{oldest}");
    let quiet = scene.store.calls(Op::WriteStatus);
    assert!(quiet < 20, "unchanged, it is not written each period: {quiet}");

    scene.hold("A", 0, "ada", 1).await;
    run.round().await;
    assert_eq!(
        scene.told_free().await,
        [29, 5],
        "a change is written in the very next step"
    );
    let before = scene.store.calls(Op::WriteCounts);
    scene.hold("B", 0, "ada", 1).await;
    scene.runtime.advance(1);
    run.round().await;
    assert_eq!(
        scene.store.calls(Op::WriteCounts),
        before + 1,
        "only the counts of the SKU that changed"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_hold_goes_back_once_it_has_expired_on_every_clock() {
    let scene = Scene::new();
    scene.hold("A", 0, "ada", 2).await;
    let deadline = scene.claim("A", 0, "ada").unwrap().deadline;
    scene.runtime.set(deadline.plus_millis(CLOCK_SKEW_MS - 1));
    scene.conduct("one").await;
    assert_eq!(scene.held(), 2);
    assert_eq!(scene.told_free().await, vec![28, 5]);
    scene.runtime.advance(1);
    scene.conduct("one").await;
    assert_eq!(scene.held(), 0, "given back and told in one step");
    assert_eq!(
        scene.told_free().await,
        vec![30, 5],
        "given back and told in one step"
    );
    scene.store.audit().unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn of_two_holds_of_one_shopper_the_newer_stays() {
    let scene = Scene::new();
    scene.hold("A", 0, "ada", 1).await;
    scene.runtime.advance(50);
    scene.hold("A", 1, "ada", 1).await;
    scene.hold("A", 1, "bob", 2).await;
    scene.conduct("one").await;
    assert_eq!(scene.claim("A", 0, "ada"), None);
    assert!(scene.claim("A", 1, "ada").is_some() && scene.claim("A", 1, "bob").is_some());
    scene.store.audit().unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn an_unpaid_order_keeps_its_units_whatever_the_time() {
    let scene = Scene::new();
    scene.hold("A", 0, "ada", 1).await;
    let order = scene.order("A", 0, "ada").await.unwrap();
    scene.runtime.advance_seconds(2 * fixtures::PAYMENT_SECONDS);
    scene.conduct("one").await;
    assert_eq!(scene.claim("A", 0, "ada").unwrap().state, ClaimState::Ordered);
    assert_eq!(scene.order_as_it_is(&order.id), order);
}

#[tokio::test(flavor = "current_thread")]
async fn the_shards_of_a_restock_that_died_are_made() {
    let scene = Scene::new();
    let now = scene.runtime.now();
    let sku = "B".parse().unwrap();
    scene
        .change(|drop| drop.restock(&sku, 50, "request", now).unwrap())
        .await;
    scene.conduct("one").await;
    let counts = scene.status().await.unwrap().skus[1].clone();
    assert_eq!(counts.allocated, 5, "what was not there was not counted");
    assert_eq!(scene.counts("B").await.unwrap().free, [5, 0, 0, 0]);
    scene.conduct("one").await;
    let counts = scene.status().await.unwrap().skus[1].clone();
    assert_eq!(counts.allocated, 55);
    assert_eq!(counts.free, 55);
    assert_eq!(scene.store.calls(Op::Allocate), 3);
    scene.store.audit().unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn a_drop_is_on_from_shortly_before_its_start() {
    let scene = Scene::new();
    let starts_at = scene.drop().await.starts_at;
    for (before, on) in [(LEAD_MS + 1, false), (LEAD_MS, true), (0, true)] {
        scene.runtime.set(starts_at.plus_millis(-before));
        let process = scene.process();
        let mut run = process.begin("one");
        run.look().await;
        assert_eq!(run.on().count() == 1, on, "{before} ms before");
    }
}

async fn sell_out(scene: &Scene, sku: &str, index: u16, units: u32) {
    for n in 0..units / 2 {
        let who = format!("{}{index}x{n}", sku.to_ascii_lowercase());
        assert!(scene.hold(sku, index, &who, 2).await);
        let order = scene.order(sku, index, &who).await.unwrap();
        scene.settle(&order.id).await;
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_sold_out_drop_is_over_until_it_is_restocked() {
    let scene = Scene::with(&[("A", 26)]);
    let process = scene.process();
    let mut run = process.begin("one");
    sell_out(&scene, "A", 0, 24).await;
    scene.hold("A", 1, "zoe", 2).await;
    run.look().await;
    run.round().await;
    assert_eq!(run.on().count(), 1, "held is not sold");
    let order = scene.order("A", 1, "zoe").await.unwrap();
    scene.settle(&order.id).await;
    run.round().await;
    assert_eq!(run.on().count(), 0);
    assert!(scene.status().await.unwrap().is_sold_out());

    let surveys = scene.store.calls(Op::Survey);
    scene.runtime.advance_seconds(60);
    for process in [&process, &scene.process()] {
        let mut later = process.begin("two");
        later.look().await;
        later.round().await;
        assert_eq!(later.on().count(), 0);
    }
    assert_eq!(
        scene.store.calls(Op::Survey),
        surveys,
        "what is over is not surveyed again"
    );

    let (sku, now) = ("A".parse().unwrap(), scene.runtime.now());
    scene
        .change(|drop| drop.restock(&sku, 2, "request", now).unwrap())
        .await;
    scene.conduct("three").await;
    scene.conduct("three").await;
    assert_eq!(scene.told_free().await, [2]);
    scene.store.audit().unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn an_ended_drop_is_over_once_no_late_write_can_come() {
    let scene = Scene::new();
    let ends_at = scene.drop().await.ends_at;
    let process = scene.process();
    let mut run = process.begin("one");
    scene.runtime.set(ends_at.plus_millis(LATE_MS - 1));
    run.look().await;
    run.round().await;
    assert_eq!(run.on().count(), 1);
    // The hold is written at the last moment at which a request from before the drop's end may still write.
    scene.hold_for("A", 0, "ada", 1, 1).await;
    scene.runtime.advance(1);
    run.round().await;
    assert_eq!(run.on().count(), 1, "a hold is left");
    scene.runtime.advance(1_000 + CLOCK_SKEW_MS);
    run.round().await;
    assert_eq!(scene.held(), 0);
    assert_eq!(run.on().count(), 0);
    assert_eq!(scene.told_free().await, [30, 5], "the last status is true");

    let surveys = scene.store.calls(Op::Survey);
    scene.runtime.advance_seconds(86_400);
    scene.conduct("another").await;
    assert_eq!(
        scene.store.calls(Op::Survey),
        surveys,
        "a later process knows from the last status"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn an_extended_drop_is_on_again() {
    let scene = Scene::new();
    let ends_at = scene.drop().await.ends_at;
    let process = scene.process();
    scene.runtime.set(ends_at.plus_millis(LATE_MS));
    let mut run = process.begin("one");
    run.look().await;
    run.round().await;
    assert_eq!(run.on().count(), 0);
    // An operator's extension from just before the drop's end is stored only after the drop was found over.
    scene
        .change(|drop| {
            drop.extend(ends_at.plus_seconds(600), ends_at.plus_millis(-1))
                .unwrap()
        })
        .await;
    for process in [&process, &scene.process()] {
        let mut run = process.begin("two");
        run.look().await;
        assert_eq!(run.on().count(), 1);
    }
}

/// The stock as an eventually consistent read may return it: its state at an earlier moment.
#[derive(Clone)]
struct Lagging {
    truth: MemoryStore,
    seen: Arc<Mutex<Option<BTreeMap<ShardKey, Shard>>>>,
    strong: Arc<Mutex<u32>>,
}

impl SurveyStock for Lagging {
    async fn survey(
        &self,
        keys: &[ShardKey],
        consistency: Consistency,
    ) -> Result<Vec<(ShardKey, Shard)>, StoreError> {
        let truth = self.truth.survey(keys, consistency).await?;
        if consistency == Consistency::Strong {
            *self.strong.lock().unwrap() += 1;
            return Ok(truth);
        }
        let seen = self.seen.lock().unwrap();
        Ok(match &*seen {
            None => truth,
            Some(seen) => keys
                .iter()
                .filter_map(|key| Some((key.clone(), seen.get(key)?.clone())))
                .collect(),
        })
    }
}

impl CountLapse for Lagging {
    async fn count_lapse(&self, seen: &SeenClaim) -> Result<Conditional<()>, StoreError> {
        self.truth.count_lapse(seen).await
    }
}

impl GiveBackStock for Lagging {
    async fn give_back(&self, seen: &SeenClaim) -> Result<Conditional<()>, StoreError> {
        self.truth.give_back(seen).await
    }
}

impl AllocateStock for Lagging {
    async fn allocate(&self, key: &ShardKey, units: u32) -> Result<Conditional<()>, StoreError> {
        self.truth.allocate(key, units).await
    }
}

fn lagging(
    scene: &Scene,
) -> (
    Lagging,
    Conductor<MemoryStore, Lagging, MemoryStore, MemoryStore, memory::TestRuntime>,
) {
    let stock = Lagging {
        truth: scene.store.clone(),
        seen: Arc::default(),
        strong: Arc::default(),
    };
    let store = || scene.store.clone();
    let conductor = Conductor::new(
        store(),
        stock.clone(),
        store(),
        store(),
        scene.runtime.clone(),
        Settings::default(),
    );
    (stock, conductor)
}

#[tokio::test(flavor = "current_thread")]
async fn a_surplus_that_only_an_old_read_shows_is_left() {
    let scene = Scene::new();
    let (stock, conductor) = lagging(&scene);
    scene.hold("A", 0, "ada", 1).await;
    scene.runtime.advance(50);
    scene.hold("A", 1, "ada", 1).await;
    *stock.seen.lock().unwrap() = Some(scene.store.shards());
    let newer = SeenClaim {
        shard: shard("A", 1),
        shopper: shopper("ada"),
        claim: scene.claim("A", 1, "ada").unwrap(),
    };
    assert!(
        scene.store.give_back(&newer).await.unwrap().is_done(),
        "she releases the newer one"
    );
    let mut run = conductor.begin("one");
    run.look().await;
    run.round().await;
    assert!(scene.claim("A", 0, "ada").is_some(), "the only hold she has");
    assert_eq!(*stock.strong.lock().unwrap(), 1);
    scene.store.audit().unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn the_end_is_judged_by_what_certainly_is() {
    let scene = Scene::new();
    let (stock, conductor) = lagging(&scene);
    *stock.seen.lock().unwrap() = Some(scene.store.shards());
    scene.hold_for("A", 0, "ada", 1, 7_200).await;
    scene.runtime.set(scene.drop().await.ends_at.plus_millis(LATE_MS));
    let mut run = conductor.begin("one");
    run.look().await;
    run.round().await;
    assert_eq!(
        run.on().count(),
        1,
        "an old read shows nothing left, the truth a hold"
    );
    assert_eq!(scene.told_free().await, [29, 5]);
}

#[tokio::test(flavor = "current_thread")]
async fn gone_is_said_after_a_certain_look_and_only_one() {
    let scene = Scene::with(&[("A", 2), ("B", 5)]);
    let (stock, conductor) = lagging(&scene);
    sell_out(&scene, "A", 0, 2).await;
    let mut run = conductor.begin("one");
    run.look().await;
    for _ in 0..3 {
        run.round().await;
        scene.runtime.advance(CONDUCTOR_PERIOD_MS);
    }
    assert_eq!(*stock.strong.lock().unwrap(), 1);
    let status = scene.status().await.unwrap();
    assert_eq!(status.skus[0].sold, 2);
    assert_eq!(status.skus[0].free, 0);
}

#[tokio::test(flavor = "current_thread")]
async fn one_drop_in_trouble_does_not_hinder_another() {
    let scene = Scene::new();
    fixtures::open_drop(&scene.store, &scene.runtime, "other", &[("A", 3)], 1);
    // The read of the first drop's document fails permanently. Drops are processed in the order of their ids.
    let calls = scene.store.calls(Op::Drop);
    scene
        .store
        .set_plan(move |op, n| (op == Op::Drop && n == calls + 1).then_some(memory::Fault::Broken));
    let process = scene.process();
    let mut run = process.begin("one");
    run.look().await;
    run.round().await;
    let progress = run.take_progress();
    assert_eq!(progress.steps, 1);
    assert_eq!(progress.failed_steps, 1);
    assert_eq!(progress.drops, 2);
    run.round().await;
    assert_eq!(run.take_progress().steps, 2, "and it is tried again");
    let drop: Drop = scene.drop().await;
    assert_eq!(drop.id, id());
    assert_eq!(scene.told_free().await, [30, 5]);
}

#[tokio::test(flavor = "current_thread")]
async fn a_hold_that_expires_unused_is_counted_once_and_before_it_goes_back() {
    let scene = Scene::new();
    assert!(scene.hold("A", 0, "ada", 2).await);
    assert!(scene.hold("A", 1, "bob", 2).await);
    assert!(scene.order("A", 1, "bob").await.is_some());
    let counted = async |who: &str| {
        let peek = scene.store.peek(&id(), &shopper(who), &[]).await.unwrap();
        peek.lapses.map(|lapses| lapses.count)
    };
    let deadline = scene.claim("A", 0, "ada").unwrap().deadline;
    scene.runtime.set(deadline.plus_millis(COUNTED_AFTER_MS - 1));
    scene.conduct("one").await;
    assert_eq!(counted("ada").await, None);
    scene.runtime.set(deadline.plus_millis(COUNTED_AFTER_MS));
    for holder in ["one", "one"] {
        scene.conduct(holder).await;
        assert_eq!(counted("ada").await, Some(1));
        assert!(scene.claim("A", 0, "ada").is_some(), "others may not take it yet");
    }
    scene.runtime.set(deadline.plus_millis(CLOCK_SKEW_MS));
    scene.conduct("one").await;
    assert!(scene.claim("A", 0, "ada").is_none());
    assert_eq!(counted("ada").await, Some(1));
    assert_eq!(counted("bob").await, None);
}

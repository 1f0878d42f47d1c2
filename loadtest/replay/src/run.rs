//! Runs one drop, from the draft to the audit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use domain::drops::DropState;
use domain::ids::DropId;
use domain::limits::Trigger;
use futures_util::future::join_all;
use loadtest::audit::Promise;
use memory::{PaymentOutcome, fixtures};
use tokio::sync::oneshot;

use crate::bank::{PASSES, SLOW_DECLINES, SLOW_PAYS};
use crate::client::Client;
use crate::executor::{self, Ended};
use crate::faults::Fault;
use crate::fleet::Fleet;
use crate::function::Function;
use crate::lock::lock;
use crate::operator::{OnSale, Operator};
use crate::plan::{DROP, Plan};
use crate::sabotage::Sabotage;
use crate::shopper::{self, Shopper};
use crate::sources;
use crate::tokens::Keys;
use crate::verdict;
use crate::world::{Tallies, World};

/// More steps than a small drop can need. A run that makes more has not drained.
const MOST_STEPS: u64 = 3_000_000;
/// The time between two decisions of the operator while a drop drains, in milliseconds.
const DECIDES_MS: i64 = 60_000;
/// The time in which an order gets on without an operator unless the gateway fails, in milliseconds: a message that a dead
/// process had received is redelivered, and look-ups follow at increasing intervals.
const GETS_ON_MS: i64 = 600_000;
/// The longest time that a drop may take to drain after the last fault, in milliseconds. Every message may have to
/// be redelivered several times.
const DRAIN_MS: i64 = 1_800_000 + GETS_ON_MS;
/// The interval at which the shards are sampled and kept for lagging reads, in milliseconds.
const SAMPLE_MS: i64 = 500;
/// The number of kept samples.
const MOST_BEFORE: usize = 4;

/// Options beside the plan.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// The deliberate bug; `None` for none.
    pub sabotage: Option<Sabotage>,
    /// Whether to record the history.
    pub telling: bool,
}

/// Replays a plan. The same plan and options give the same outcome.
#[must_use]
pub fn run(plan: &Plan, keys: &Arc<Keys>, options: Options) -> Tallies {
    let world = World::new(plan, options.sabotage, options.telling);
    let fleet = Fleet::new(&world, keys);
    let gateway = &fleet.services.gateway;
    gateway.on(SLOW_PAYS, PaymentOutcome::Process);
    gateway.on(SLOW_DECLINES, PaymentOutcome::Process);
    gateway.on(PASSES, PaymentOutcome::DeclineOnce("try_again_later"));
    let on_sale = Arc::new(Mutex::new(OnSale::default()));
    let play = play(Arc::clone(&fleet), Arc::clone(&on_sale));
    let ended = executor::run(&world.timeline, plan.system.order, MOST_STEPS, Box::pin(play));
    match ended {
        Ended::Done => {}
        Ended::Stuck => world.broken(Promise::NotDrained, "nobody can go on"),
        Ended::Endless => world.broken(Promise::NotDrained, format!("more than {MOST_STEPS} steps")),
    }
    let on_sale = std::mem::take(&mut *lock(&on_sale));
    let findings = on_sale.published.then(|| verdict::judge(&fleet, &on_sale));
    Tallies {
        findings: findings.unwrap_or_default(),
        ..world.take_outcome()
    }
}

/// Plays the whole drop, and sets `put_on_sale` after the operator's acts.
async fn play(fleet: Arc<Fleet>, put_on_sale: Arc<Mutex<OnSale>>) {
    let (world, plan) = (&fleet.world, &fleet.world.plan);
    let Ok(drop) = DROP.parse::<DropId>() else {
        return;
    };
    sources::start(&fleet);
    schedule(&fleet, Function::ConductDrop, 0xc0);
    schedule(&fleet, Function::SweepOrders, 0x5e);
    take_samples(&fleet);
    let token = Arc::clone(&fleet.keys.operator_token);
    let client = Client::new(&fleet, "operator".to_owned(), token);
    let operator = Operator::new(client, drop.clone());
    let on_sale = operator.publish().await;
    if !on_sale.published {
        world.tell(|| "it was not published in time".to_owned());
        return;
    }
    let token = Arc::clone(&fleet.keys.operator_token);
    let closing = Operator::new(Client::new(&fleet, "closing".to_owned(), token), drop.clone());
    let operated = operator.operate(on_sale);
    let mut devices: BTreeMap<u32, usize> = BTreeMap::new();
    let mut visits = Vec::new();
    for plan in &plan.shoppers {
        let device = devices.entry(plan.name).or_default();
        *device += 1;
        let name = shopper::name(plan.name);
        let token = fleet.keys.of_shopper(&name);
        let client = Client::new(&fleet, format!("{name}.{device}"), token);
        let shopper = Shopper::new(client, drop.clone(), fixtures::shopper(&name), *device);
        let plan = plan.clone();
        let (ended, visited) = oneshot::channel::<()>();
        // Each visit is a task of its own, so that visits overlap.
        world.spawn(None, async move {
            shopper.visit(&plan).await;
            ended.send(()).ok();
        });
        visits.push(visited);
    }
    let on_sale = operated.await;
    let cancelled = on_sale.cancelled_ms.is_some();
    *lock(&put_on_sale) = on_sale;
    join_all(visits).await;
    drain(&fleet, &drop, cancelled, &closing).await;
    if let Some(ms) = plan.system.redrive_ms {
        world.timeline.leap(1_000 * i64::from(ms));
        let moved = fleet.services.deliveries.redrive(world);
        world.tell(|| format!("{moved} messages are moved back"));
        if moved > 0 {
            world.note("dead letters were moved back");
        }
        drain(&fleet, &drop, cancelled, &closing).await;
    }
}

/// Starts a scheduled function each minute. The first minute began some time before the run.
fn schedule(fleet: &Arc<Fleet>, function: Function, salt: u64) {
    let every_ms = match function.limits().trigger {
        Trigger::Schedule { every_seconds } => i64::from(every_seconds) * 1000,
        _ => i64::MAX,
    };
    let world = &fleet.world;
    let fleet = Arc::clone(fleet);
    let mut late_ms = world.drawn_ms(0, salt, 0, every_ms.unsigned_abs());
    world.spawn(None, async move {
        for nth in 0.. {
            let started = Arc::clone(&fleet);
            fleet.world.spawn(None, async move {
                let label = format!("{}:{nth}", function.name());
                if function == Function::ConductDrop {
                    started.conduct(label, late_ms).await;
                } else {
                    started.sweep(label, late_ms).await;
                }
            });
            fleet.world.sleep(every_ms - late_ms).await;
            late_ms = 0;
        }
    });
}

/// Samples the shards periodically, as a load run does, and keeps the tables for lagging reads.
fn take_samples(fleet: &Arc<Fleet>) {
    let lags = fleet.world.plan.faults.may_strike(Fault::StaleReads);
    let services = Arc::clone(&fleet.services);
    fleet.world.spawn(None, async move {
        loop {
            if lags {
                let mut before = lock(&services.world.before);
                before.push_front(services.memory.snapshot());
                before.truncate(MOST_BEFORE);
            }
            services.watch.sample();
            services.watch.none_overdue();
            services.world.sleep(SAMPLE_MS).await;
        }
    });
}

/// Waits until no work is left, and reports a drop that takes too long. An order for which the gateway has stored a
/// failure under each key waits until the operator ends it, as the alarm for such orders asks.
async fn drain(fleet: &Fleet, drop: &DropId, cancelled: bool, operator: &Operator) {
    let (world, services) = (&fleet.world, &fleet.services);
    let begun_ms = world.now_ms().max(i64::from(world.plan.system.calm_ms));
    let until_ms = begun_ms + DRAIN_MS;
    let mut decides_ms = begun_ms + 1_000 * i64::from(world.plan.drop.gateway_wait_seconds) + GETS_ON_MS;
    world.tell(|| "everybody has left".to_owned());
    loop {
        let drained = !world.is_busy()
            && services.stream.is_drained()
            && services.deliveries.is_drained()
            && services.memory.is_settled(drop)
            && (!cancelled || services.memory.drop_state(drop) != Some(DropState::Cancelling));
        if drained || world.is_broken() {
            return;
        }
        if world.now_ms() >= until_ms {
            let what = format!(
                "after {} s: busy {}, stream {}, queues {:?}",
                DRAIN_MS / 1000,
                world.is_busy(),
                services.stream.is_drained(),
                services.deliveries.left()
            );
            return world.broken(Promise::NotDrained, what);
        }
        if world.now_ms() >= decides_ms {
            operator.decide(&format!("closing-{decides_ms}"), true).await;
            decides_ms += DECIDES_MS;
        }
        world.sleep(SAMPLE_MS).await;
    }
}

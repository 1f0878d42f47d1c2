//! Runs one drop, from the draft to the audit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::drops::DropState;
use domain::ids::DropId;
use domain::limits::{FunctionLimits, Trigger};
use futures_util::future::join_all;
use loadtest::audit::Promise;
use memory::{PaymentOutcome, fixtures};

use crate::bank::{PASSES, SLOW_DECLINES, SLOW_PAYS};
use crate::client::{Client, Journal};
use crate::executor::{self, Ended};
use crate::faults::Fault;
use crate::fleet::Fleet;
use crate::operator::{OnSale, Operator};
use crate::plan::{DROP, Plan};
use crate::sabotage::Sabotage;
use crate::shopper::{self, Shopper};
use crate::sources;
use crate::stream::Stream;
use crate::tokens::Keys;
use crate::verdict;
use crate::watch::Watch;
use crate::world::{Tallies, World};

/// More steps than a small drop can need. A run that makes more has not drained.
const MOST_STEPS: u64 = 3_000_000;
/// The longest time that a drop may take to drain after the last fault, in milliseconds. Every message may have to
/// be redelivered several times.
const DRAIN_MS: i64 = 1_800_000;
/// The interval at which the shards are sampled and kept for lagging reads, in milliseconds.
const SAMPLE_MS: i64 = 500;
/// The number of kept samples.
const MOST_BEFORE: usize = 4;
/// The interval at which a scheduled function runs, in milliseconds.
const fn schedule_ms(limits: FunctionLimits) -> i64 {
    match limits.trigger {
        Trigger::Schedule { every_seconds } => every_seconds as i64 * 1000,
        _ => i64::MAX,
    }
}

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
    let stream = Stream::new(plan.system.lanes, plan.system.stream_batch);
    let watch = Watch::new(&world, plan.drop.units.len(), plan.drop.per_shopper_limit);
    let fleet = Fleet::new(&world, watch, keys, &stream);
    fleet.gateway.on(SLOW_PAYS, PaymentOutcome::Process);
    fleet.gateway.on(SLOW_DECLINES, PaymentOutcome::Process);
    fleet
        .gateway
        .on(PASSES, PaymentOutcome::DeclineOnce("try_again_later"));
    let journal = Arc::new(Journal::default());
    let on_sale = Arc::new(Mutex::new(OnSale::default()));
    let stage = Stage {
        plan: plan.clone(),
        world: Arc::clone(&world),
        fleet: Arc::clone(&fleet),
        keys: Arc::clone(keys),
        journal: Arc::clone(&journal),
        on_sale: Arc::clone(&on_sale),
    };
    let ended = executor::run(
        &world.timeline,
        plan.system.order,
        MOST_STEPS,
        Box::pin(stage.play()),
    );
    match ended {
        Ended::Done => {}
        Ended::Stuck => world.broken(Promise::NotDrained, "nobody can go on"),
        Ended::Endless => world.broken(Promise::NotDrained, format!("more than {MOST_STEPS} steps")),
    }
    let on_sale = on_sale.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let findings = on_sale.published.then(|| {
        let entries = std::mem::take(&mut *journal.entries());
        verdict::judge(plan, &world, &fleet, &on_sale, entries)
    });
    Tallies {
        findings: findings.unwrap_or_default(),
        ..world.take_outcome()
    }
}

/// The plan, the services and the records that the tasks of a run share.
struct Stage {
    plan: Plan,
    world: Arc<World>,
    fleet: Arc<Fleet>,
    keys: Arc<Keys>,
    journal: Arc<Journal>,
    on_sale: Arc<Mutex<OnSale>>,
}

impl Stage {
    async fn play(self) {
        let Ok(drop) = DROP.parse::<DropId>() else {
            return;
        };
        sources::start(&self.world, &self.fleet, &self.plan.system);
        self.schedules();
        self.samples();
        let operator = Operator::new(
            self.client("operator".to_owned(), self.keys.of_operator().into()),
            drop.clone(),
        );
        let on_sale = operator.publish(&self.plan.drop).await;
        if !on_sale.published {
            self.world.tell(|| "it was not published in time".to_owned());
            return;
        }
        let operated = operator.operate(&self.plan.drop, &self.plan.acts, on_sale);
        let mut devices: BTreeMap<u32, usize> = BTreeMap::new();
        let visits = self.plan.shoppers.iter().map(|plan| {
            let nth = devices.entry(plan.name).or_default();
            *nth += 1;
            (plan, *nth)
        });
        let visits: Vec<_> = visits
            .map(|(plan, device)| {
                let name = shopper::name(plan.name);
                let id = fixtures::shopper(&name);
                let token = self.keys.of_shopper(&name);
                let client = self.client(format!("{name}.{device}"), token);
                let shopper = Shopper::new(client, drop.clone(), id, device, self.plan.drop.opens_ms);
                let plan = plan.clone();
                let (ended, visited) = tokio::sync::oneshot::channel::<()>();
                // Each visit is a task of its own, so that visits overlap.
                self.world.spawn(None, async move {
                    shopper.visit(&plan).await;
                    ended.send(()).ok();
                });
                visited
            })
            .collect();
        let on_sale = operated.await;
        *self.on_sale.lock().unwrap_or_else(PoisonError::into_inner) = on_sale.clone();
        join_all(visits).await;
        let cancelled = on_sale.cancelled_ms.is_some();
        self.drain(&drop, cancelled).await;
        if let Some(ms) = self.plan.system.redrive_ms {
            self.world.leap(ms.into());
            let moved = self.fleet.deliveries.redrive(&self.world);
            self.world.tell(|| format!("{moved} messages are moved back"));
            if moved > 0 {
                self.world.note("dead letters were moved back");
            }
            self.drain(&drop, cancelled).await;
        }
    }

    fn client(&self, name: String, token: Arc<str>) -> Client {
        Client::new(&self.world, &self.fleet, &self.keys, &self.journal, name, token)
    }

    /// Starts the scheduled functions each minute. The first minute began some time before the run.
    fn schedules(&self) {
        for conducts in [true, false] {
            let (limits, salt) = if conducts {
                (conduct_drop::LIMITS, 0xc0)
            } else {
                (sweep_orders::LIMITS, 0x5e)
            };
            let every_ms = schedule_ms(limits);
            let drawn = crate::chance::keyed(self.world.seed, salt, 0) % every_ms.unsigned_abs();
            let late_ms = i64::try_from(drawn).unwrap_or(0);
            let (world, fleet) = (Arc::clone(&self.world), Arc::clone(&self.fleet));
            self.world.spawn(None, async move {
                let mut late_ms = late_ms;
                for nth in 0.. {
                    let (started, fleet) = (Arc::clone(&world), Arc::clone(&fleet));
                    started.spawn(None, async move {
                        if conducts {
                            fleet.conduct(format!("conduct-drop:{nth}"), late_ms).await;
                        } else {
                            fleet.sweep(format!("sweep-orders:{nth}"), late_ms).await;
                        }
                    });
                    world.sleep(every_ms - late_ms).await;
                    late_ms = 0;
                }
            });
        }
    }

    /// Samples the shards periodically, as a load run does, and keeps the tables for lagging reads.
    fn samples(&self) {
        let (world, fleet) = (Arc::clone(&self.world), Arc::clone(&self.fleet));
        let lags = match &self.plan.faults.strokes {
            None => self.plan.faults.rates.contains_key(&Fault::StaleReads),
            Some(strokes) => strokes.values().any(|struck| struck.fault == Fault::StaleReads),
        };
        self.world.spawn(None, async move {
            loop {
                if lags {
                    let mut before = world.before.lock().unwrap_or_else(PoisonError::into_inner);
                    before.push_front(fleet.memory.snapshot());
                    before.truncate(MOST_BEFORE);
                }
                fleet.watch.sample(&fleet.memory);
                fleet.watch.none_overdue(&fleet.memory);
                world.sleep(SAMPLE_MS).await;
            }
        });
    }

    /// Waits until no work is left, and reports a drop that takes too long.
    async fn drain(&self, drop: &DropId, cancelled: bool) {
        let (world, fleet) = (&self.world, &self.fleet);
        let until_ms = world.now_ms().max(world.calm_ms) + DRAIN_MS;
        world.tell(|| "everybody has left".to_owned());
        loop {
            let drained = !world.is_busy()
                && fleet.stream.is_drained()
                && fleet.deliveries.is_drained()
                && fleet.memory.is_settled(drop)
                && (!cancelled || fleet.memory.drop_state(drop) != Some(DropState::Cancelling));
            if drained || world.is_broken() {
                return;
            }
            if world.now_ms() >= until_ms {
                let what = format!(
                    "after {} s: busy {}, stream {}, queues {:?}",
                    DRAIN_MS / 1000,
                    world.is_busy(),
                    fleet.stream.is_drained(),
                    fleet.deliveries.left()
                );
                world.broken(Promise::NotDrained, what);
                return;
            }
            world.sleep(SAMPLE_MS).await;
        }
    }
}

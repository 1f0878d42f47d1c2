//! Runs one drop, from its publication to the audit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use domain::ids::{DropId, ShardKey};
use domain::shard::Shard;
use domain::survey::Tally as Units;
use http::{HeaderValue, Method};
use loadtest::audit::{audit, overdue, overdue_after_ms};
use loadtest::behaviour::plan;
use loadtest::client::{Answer, Call};
use loadtest::drop_file::DropFile;
use loadtest::facts::{DropFacts, Entry, Facts, QueueFact, Sampled, SkuFacts};
use loadtest::journal::Journal;
use loadtest::measure::Recorder;
use loadtest::operator;
use loadtest::shopper::Shopper;
use loadtest::world::{Addresses, Opening, Tally, World as Shoppers};
use memory::TestRuntime;
use ports::issuers::{IssuerList, IssuersDocument, StoreIssuers as _};
use ports::messages::Destination;
use replay::executor::{self, Ended};
use replay::hashed;
use replay::verdict;
use tokens::{Audience, Issuers, KeySet, Published, SigningKey};
use tokio::time::Instant;

use crate::crowd;
use crate::fleet::Fleet;
use crate::front::{Front, Modelled};
use crate::lock;
use crate::report::{Ingredients, Report};
use crate::settings::Settings;
use crate::world::{LEAD_US, World};

/// The drop's id.
const DROP: &str = "scale";
/// More steps than a run can need. A run that makes more fails.
const MOST_STEPS: u64 = 20_000_000_000;
/// The interval of samples of the units, in µs.
const SAMPLE_US: i64 = 500_000;
/// The time limit for all work that remains after the end of the drop, in µs.
const DRAIN_US: i64 = 900_000_000;
/// The time for which tokens are valid before and after the beginning of a run, in seconds.
const TOKENS_S: i64 = 6 * 3_600;
/// The time from the drop's publication to the opening, in µs, without a drop file.
const PUBLISH_BEFORE_US: i64 = 50_000_000;

/// The time of the drop's publication, in µs from the beginning.
fn publish_us(settings: &Settings, file: &DropFile) -> i64 {
    let before_us = match settings.drop {
        Some(_) => 1_000_000 * i64::from(file.lead_seconds),
        None => PUBLISH_BEFORE_US,
    };
    (LEAD_US - before_us).max(0)
}
/// The largest number of different unexpected answers that are reported.
const MOST_SURPRISES: usize = 20;
/// The largest number of times that a shopper sends the same request (`loadtest::faults`).
const TRIES: u32 = loadtest::faults::TRIES;

/// The virtual time, requests and shoppers of a run in progress, for the progress line.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Virtual seconds from the opening.
    pub second: i64,
    /// Requests that shoppers sent in `second`.
    pub requests: u64,
    /// Answers 5xx and 429 in `second`.
    pub failed: u64,
    /// Shoppers who have come.
    pub arrived: u64,
    /// Shoppers who have left.
    pub ended: u64,
    /// Units that shoppers have reserved.
    pub reserved: u64,
    /// Shoppers whose order was paid.
    pub paid: u64,
}

struct Keys {
    shoppers: SigningKey,
    operators: SigningKey,
}

impl Keys {
    fn new() -> anyhow::Result<Self> {
        if !hashed::install() {
            bail!("keys were made before the model's signatures were installed");
        }
        Ok(Self {
            shoppers: SigningKey::generate("shoppers")?,
            operators: SigningKey::generate("operators")?,
        })
    }

    fn bearer(key: &SigningKey, audience: Audience, subject: &str) -> Option<HeaderValue> {
        let began = TestRuntime::START.as_seconds();
        let token = key.sign(audience, subject, began - TOKENS_S, began + TOKENS_S);
        let token = token.ok()?;
        HeaderValue::from_str(&format!("Bearer {token}")).ok()
    }
}

/// Runs the drop of `settings`. The same settings give the same report. `tell` is called once in each virtual
/// second.
///
/// # Errors
///
/// When the drop cannot be published, or the run does not end.
pub fn run(settings: &Settings, tell: impl Fn(Progress) + Send + Sync + 'static) -> anyhow::Result<Report> {
    let keys = Keys::new()?;
    let world = World::new(settings.clone());
    let fleet = Fleet::new(&world);
    let front = Front::new(&world, &fleet);
    let file = crowd::drop_file(settings)?;
    let starts_at_ms = TestRuntime::START.as_millis() + LEAD_US / 1_000;
    let facts = DropFacts {
        drop_id: DROP.to_owned(),
        published_at_ms: TestRuntime::START.as_millis() + publish_us(settings, &file) / 1_000,
        starts_at_ms,
        ends_at_ms: starts_at_ms + 1_000 * i64::from(file.open_seconds),
        hold_seconds: file.hold_seconds,
        payment_seconds: file.payment_seconds,
        per_shopper_limit: file.per_shopper_limit,
        skus: (file.skus.iter())
            .map(|sku| SkuFacts {
                sku: sku.sku.clone(),
                units: sku.units,
            })
            .collect(),
    };
    let way = Modelled::new(&front, Instant::now());
    let shoppers = Arc::new(Shoppers {
        addresses: Addresses::new("http://api", DROP)?,
        journal: Journal::in_memory(),
        facts: facts.clone(),
        file,
        opening: Opening {
            wall_ms: starts_at_ms,
            instant: way.opening(),
        },
        reach: Arc::new(way),
        recorder: Recorder::default(),
        tally: Tally::default(),
        tries: TRIES,
    });
    let stage = Arc::new(Stage {
        world: Arc::clone(&world),
        fleet: Arc::clone(&fleet),
        front,
        keys,
        shoppers: Arc::clone(&shoppers),
        outcome: Mutex::default(),
    });
    let main = Box::pin(Arc::clone(&stage).play(Box::new(tell)));
    let ended = executor::run(&world.timeline, settings.seed, MOST_STEPS, main);
    let outcome = stage.outcome().clone();
    if let Some(failed) = outcome.failed {
        bail!("{failed}");
    }
    if ended != Ended::Done {
        bail!("the run did not come to an end: {ended:?}");
    }
    let journal = shoppers.journal.finish()?;
    let found = audit(&stage.facts(facts, journal.clone()));
    Ok(Report::new(Ingredients {
        world: &world,
        fleet: &fleet,
        measured: &shoppers.recorder.finish(),
        journal: &journal,
        findings: found,
        left_undone: outcome.left_undone,
        surprises: outcome.surprises,
        unfinished: Tally::get(&shoppers.tally.arrived) - Tally::get(&shoppers.tally.ended),
    }))
}

#[derive(Debug, Clone, Default)]
struct Outcome {
    failed: Option<String>,
    left_undone: bool,
    /// Answers that the API does not promise, with their counts.
    surprises: BTreeMap<String, u64>,
}

struct Stage {
    world: Arc<World>,
    fleet: Arc<Fleet>,
    front: Arc<Front>,
    keys: Keys,
    shoppers: Arc<Shoppers>,
    outcome: Mutex<Outcome>,
}

type Tell = Box<dyn Fn(Progress) + Send + Sync>;

impl Stage {
    async fn play(self: Arc<Self>, tell: Tell) {
        if let Err(error) = self.publish().await {
            self.outcome().failed = Some(format!("{error:#}"));
            return;
        }
        self.watch(tell);
        let settings = &self.world.settings;
        let arrivals = crowd::schedule(settings, self.file());
        let order = crowd::order(settings);
        let until_us = (settings.seconds).map_or(i64::MAX, |s| LEAD_US + 1_000_000 * i64::from(s));
        for (at_us, index) in arrivals.into_iter().zip(order) {
            if LEAD_US + at_us >= until_us {
                break;
            }
            if LEAD_US + at_us > self.world.timeline.now_us() {
                self.world.timeline.sleep_until(LEAD_US + at_us).await;
            }
            self.arrive(index, at_us);
        }
        self.rest(until_us).await;
    }

    fn outcome(&self) -> MutexGuard<'_, Outcome> {
        lock(&self.outcome)
    }

    fn file(&self) -> &DropFile {
        &self.shoppers.file
    }

    fn arrive(self: &Arc<Self>, index: u32, at_us: i64) {
        let plan = plan(self.file(), self.world.settings.seed, index);
        let Some(bearer) = Keys::bearer(&self.keys.shoppers, Audience::Shopper, &plan.subject) else {
            return;
        };
        let due = self.shoppers.opening.plus_micros(at_us);
        let visit = Shopper::new(Arc::clone(&self.shoppers), plan, bearer).visit(due);
        let stage = Arc::clone(self);
        self.world.timeline.spawn(None, async move {
            if let Some(surprise) = visit.await {
                stage.outcome().surprised(surprise);
            }
        });
    }

    /// Waits until no work is left. If the time limit passes before, the report says that work was left.
    async fn rest(&self, until_us: i64) {
        let world = &self.world;
        let drop: Option<DropId> = DROP.parse().ok();
        let open_us = 1_000_000 * i64::from(self.file().open_seconds);
        let latest_us = until_us.min(LEAD_US + open_us + DRAIN_US);
        loop {
            let tally = &self.shoppers.tally;
            let here = Tally::get(&tally.arrived) - Tally::get(&tally.ended);
            let settled = || {
                drop.as_ref()
                    .is_some_and(|drop| self.fleet.memory.is_settled(drop))
            };
            if here == 0 && self.fleet.behind.is_drained() && settled() {
                return;
            }
            if world.timeline.now_us() >= latest_us {
                self.outcome().left_undone = true;
                return;
            }
            let left_us = latest_us - world.timeline.now_us();
            world.timeline.sleep(SAMPLE_US.min(left_us)).await;
        }
    }

    /// Stores the keys, creates the drop, and publishes it, as an operator does.
    async fn publish(&self) -> anyhow::Result<()> {
        let store = &self.fleet.memory;
        for (list, audience, key) in [
            (IssuerList::Shoppers, Audience::Shopper, &self.keys.shoppers),
            (IssuerList::Operators, Audience::Operator, &self.keys.operators),
        ] {
            let issuers = Issuers::own(audience, KeySet::of(&[key])?);
            let merged = Published::merge(issuers, None, None, |_| None, 0);
            let text = merged.document.to_json();
            let document = IssuersDocument { version: 1, text };
            store.store_issuers(list, &document).await?;
        }
        self.fleet.behind.start_schedules();
        let publish_us = publish_us(&self.world.settings, self.file());
        self.world.timeline.sleep_until(publish_us).await;
        let facts = &self.shoppers.facts;
        let body = operator::body(self.file(), facts.starts_at_ms, facts.ends_at_ms)?;
        let path = format!("/operator/drops/{DROP}");
        let bytes = Bytes::from(serde_json::to_vec(&body)?);
        self.operate(Method::PUT, &path, Some(bytes)).await?;
        // A publication that reached its time limit continues where it stopped.
        for _ in 0..20 {
            let published = self.operate(Method::POST, &format!("{path}/publish"), None).await;
            if published.is_ok() {
                return Ok(());
            }
            self.world.timeline.sleep(500_000).await;
        }
        bail!("the drop could not be published")
    }

    async fn operate(&self, method: Method, path: &str, body: Option<Bytes>) -> anyhow::Result<Answer> {
        let bearer = Keys::bearer(&self.keys.operators, Audience::Operator, "scale");
        let uri = self.shoppers.addresses.at(path).context("an address")?;
        let call = Call {
            method,
            bearer,
            key: Some(HeaderValue::from_static("scale")),
            body: body.map(|body| (body, "application/json")),
            ..Call::get(uri)
        };
        let answer = self.front.answer(call).await;
        if answer.status >= 300 {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            bail!("{path} was answered {} {text}", answer.status);
        }
        Ok(answer)
    }

    /// Samples the units periodically, and reports the progress each second.
    fn watch(self: &Arc<Self>, tell: Tell) {
        let stage = Arc::clone(self);
        self.world.timeline.spawn(None, async move {
            let world = &stage.world;
            for nth in 0_u64.. {
                stage.sample();
                let waiting = |of| stage.fleet.behind.waiting(of);
                world.count(|second| {
                    second.payments_waiting = waiting(Destination::Payments);
                    second.ledger_waiting = waiting(Destination::Ledger);
                    second.mail_waiting = waiting(Destination::Mail);
                });
                if nth.is_multiple_of(2) {
                    let second = world.since_opening_us().div_euclid(1_000_000) - 1;
                    let counted = world.second(second);
                    let tally = &stage.shoppers.tally;
                    tell(Progress {
                        second,
                        requests: counted.requests,
                        failed: counted.errors + counted.too_many,
                        arrived: Tally::get(&tally.arrived),
                        ended: Tally::get(&tally.ended),
                        reserved: Tally::get(&tally.reserved),
                        paid: Tally::get(&tally.paid),
                    });
                }
                world.timeline.sleep(SAMPLE_US).await;
            }
        });
    }

    fn sample(&self) {
        let skus = &self.shoppers.facts.skus;
        let mut units = vec![Units::default(); skus.len()];
        let (mut broken, mut overdues) = (Vec::new(), Vec::<(ShardKey, Shard)>::new());
        let now_ms = self.world.now().as_millis();
        self.fleet.memory.look_at_shards(|key, shard| {
            if let Some(at) = skus.iter().position(|sku| sku.sku == key.sku.as_str())
                && let Some(tally) = units.get_mut(at)
            {
                tally.add(shard);
            }
            if !shard.adds_up() {
                broken.push(format!("{key} does not add up"));
            }
            let is_late = |claim: &domain::claim::Claim| claim.deadline.as_millis() < now_ms;
            if shard.claims.values().any(is_late) {
                overdues.push((key.clone(), shard.clone()));
            }
        });
        let overdue = overdue(overdues.iter().map(|(key, shard)| (key, shard)), now_ms);
        self.shoppers.note(Entry::Sampled(Sampled {
            at_ms: now_ms,
            skus: units.into_iter().map(Into::into).collect(),
            broken,
            overdue,
            // The journal has every hold whose answer arrived; a list of the holds of a crowd in each sample would
            // take too much memory.
            expired: Vec::new(),
        }));
    }

    fn facts(&self, drop: DropFacts, journal: Vec<Entry>) -> Facts {
        let memory = &self.fleet.memory;
        let queues = self.fleet.behind.report().into_iter().flat_map(|queue| {
            let fact = |messages, dead_letters| QueueFact {
                queue: queue.queue.to_owned(),
                messages,
                dead_letters,
            };
            [fact(queue.left, false), fact(queue.dead, true)]
        });
        let parked = QueueFact {
            queue: "relay-parked".to_owned(),
            messages: self.fleet.behind.parked(),
            dead_letters: true,
        };
        Facts {
            drop,
            at_ms: self.world.now().as_millis(),
            journal,
            shards: verdict::shards(memory),
            purchases: verdict::purchases(memory),
            orders: verdict::orders(memory),
            ledger: verdict::ledger(&self.fleet.ledger),
            money: verdict::money(&self.fleet.gateway),
            queues: queues.chain([parked]).collect(),
            unreadable: Vec::new(),
            // Throttling counts as a fault, although no fault was injected: answers may then be based on
            // older data.
            trouble: true,
            gateway_failed_ms: Vec::new(),
            overdue_after_ms: overdue_after_ms(false),
            every_change_sampled: false,
        }
    }
}

impl Outcome {
    fn surprised(&mut self, surprise: String) {
        let known = self.surprises.contains_key(&surprise) || self.surprises.len() < MOST_SURPRISES;
        let surprise = if known { surprise } else { "others".to_owned() };
        *self.surprises.entry(surprise).or_default() += 1;
    }
}

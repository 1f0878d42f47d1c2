//! Measures the CPU time that a function's process uses for one invocation.
//!
//! Calls go in blocks to one warm process, and the process's CPU clock is read before and after each block. Afterwards
//! the meter's figures are checked: every call must have ended as expected and made exactly the expected requests.

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use domain::time::Timestamp;
use loadtest::run::wall_ms;
use loadtest::shopper::checkout_body;
use serde_json::{Value, json};

use crate::event::{Call, event};
use crate::host::{BASELINE, CHECKOUT, Host, NODE, RESERVE, Reply, Used};
use crate::process::{cpu, only_child};
use crate::scene::{SKU, Scene};

/// The number of shards of a block. It is small, so that the data that the process caches of a shard is still fresh
/// at the next call for that shard, also with the slowest function on a slow machine.
const SHARDS: u16 = 16;
/// The number of calls for each shard after the first call, which reads the shard. So few calls leave the shard
/// half full, and no call reads the shard again.
const EACH: usize = 12;
/// The number of measured calls in a block of reservations.
pub const BLOCK: usize = SHARDS as usize * EACH;
/// The route of reservations.
const RESERVATIONS: &str = "POST /drops/{drop_id}/reservations";
/// The number of calls in a block of reservations that read before they write.
const PEEKS: u16 = 256;
/// The number of blocks for the warm-up of Node.js, which are about two thousand invocations.
const NODE_WARM_UP: usize = 10;
/// The largest number of times that a block is run. It is repeated when it was so slow that cached data became
/// stale.
const TRIES: usize = 8;

/// CPU time of an invocation, in microseconds: one value for each round.
#[derive(Debug, Clone, Default)]
pub struct Rounds {
    /// A reservation that writes without a read of its shards.
    pub reserve: Vec<f64>,
    /// A reservation that reads its shards first.
    pub reserve_with_peek: Vec<f64>,
    /// The minimal Rust function, for comparison.
    pub baseline: Vec<f64>,
    /// A reservation on Node.js, as in `reserve`.
    pub node: Vec<f64>,
    pub checkout: Vec<f64>,
    /// Blocks that were repeated because cached data became stale.
    pub disturbed: usize,
}

/// The CPU time of a call, in microseconds, with the answers of a block and its use of the tables.
struct Outcome {
    us: f64,
    replies: Vec<Reply>,
    used: Used,
}

/// Runs measurement rounds one after another and keeps their values.
pub struct Bench<'a> {
    host: &'a Host,
    scenes: u32,
    rounds: Rounds,
}

fn now() -> anyhow::Result<Timestamp> {
    Ok(Timestamp::from_millis(wall_ms()?))
}

impl<'a> Bench<'a> {
    #[must_use]
    pub fn new(host: &'a Host) -> Self {
        Self {
            host,
            scenes: 0,
            rounds: Rounds::default(),
        }
    }

    /// Warms up every process. Node.js takes longest, until its compiler has optimised the code.
    ///
    /// # Errors
    /// When a call is not answered as expected.
    pub async fn warm_up(&mut self) -> anyhow::Result<()> {
        for _ in 0..2 {
            self.round().await?;
        }
        for _ in 0..NODE_WARM_UP {
            self.claims(NODE).await?;
        }
        self.rounds = Rounds::default();
        Ok(())
    }

    /// Runs one block of each kind.
    ///
    /// # Errors
    /// When a call is not answered as expected, or the machine is too busy to measure on.
    pub async fn round(&mut self) -> anyhow::Result<()> {
        let baseline = self.baseline().await?;
        self.rounds.baseline.push(baseline);
        let (reserve, reservations) = self.claims(RESERVE).await?;
        self.rounds.reserve.push(reserve);
        let (node, _) = self.claims(NODE).await?;
        self.rounds.node.push(node);
        let peeked = self.peeks().await?;
        self.rounds.reserve_with_peek.push(peeked);
        let checkout = self.checkouts(&reservations).await?;
        self.rounds.checkout.push(checkout);
        Ok(())
    }

    /// Runs one block of reservations for a profiler. The profiler slows the function down, so some calls may read a
    /// shard again.
    ///
    /// # Errors
    /// When a call is not answered as expected.
    pub async fn profiled(&mut self) -> anyhow::Result<()> {
        let (calls, _) = self.claim_scene(RESERVE).await?;
        self.claim(RESERVE, calls).await
    }

    /// Returns the values of all rounds after the warm-up.
    #[must_use]
    pub fn finish(self) -> Rounds {
        self.rounds
    }

    async fn scene(&mut self, shards: u16) -> anyhow::Result<Scene> {
        self.scenes += 1;
        Scene::lay(self.host, self.scenes, shards, now()?).await
    }

    /// Calls the function once for each event, and measures the CPU time of its process.
    async fn run(&self, function: &'static str, calls: &[Bytes], status: u16) -> anyhow::Result<Outcome> {
        let pid = only_child(function)?;
        let mut replies = Vec::with_capacity(calls.len());
        let before = self.host.used();
        let began = cpu(pid)?;
        for call in calls {
            replies.push(self.host.call(function, call.clone()).await?);
        }
        let spent = cpu(pid)?.saturating_sub(began);
        if let Some(wrong) = replies.iter().find(|r| r.status_code != status) {
            bail!("{function} answered {wrong:?} instead of {status}");
        }
        Ok(Outcome {
            us: spent.as_secs_f64() * 1e6 / f64::from(u32::try_from(calls.len())?),
            replies,
            used: self.host.used().since(before),
        })
    }

    fn reserve_calls(&self, scene: &Scene, shoppers: &[String]) -> anyhow::Result<Vec<Bytes>> {
        let path = format!("/drops/{}/reservations", scene.drop.id);
        let body = json!({"sku": SKU, "quantity": 1});
        let now_s = now()?.as_seconds();
        let call = |shopper: &String| -> anyhow::Result<Bytes> {
            Ok(event(&Call {
                route: RESERVATIONS,
                path: &path,
                bearer: &self.host.bearer(shopper, now_s)?,
                key: &format!("bench-{shopper}"),
                drop_id: Some(scene.drop.id.as_str()),
                body: &body,
            }))
        };
        shoppers.iter().map(call).collect()
    }

    /// Measures reservations on shards that the process has just read and that have many units: each makes
    /// one write and no read. Also returns the answer to each shopper.
    async fn claims(&mut self, function: &'static str) -> anyhow::Result<(f64, Vec<(String, Reply)>)> {
        for _ in 0..TRIES {
            let (calls, shoppers) = self.claim_scene(function).await?;
            let outcome = self.run(function, &calls, 201).await?;
            if outcome.used == Used::writes(calls.len())? {
                return Ok((outcome.us, shoppers.into_iter().zip(outcome.replies).collect()));
            }
            self.rounds.disturbed += 1;
        }
        bail!("the machine is too busy: {TRIES} blocks of {function} in a row took longer than a second")
    }

    /// Lets the function's process read new shards, and returns calls for these shards with their shoppers.
    async fn claim_scene(&mut self, function: &'static str) -> anyhow::Result<(Vec<Bytes>, Vec<String>)> {
        let scene = self.scene(SHARDS).await?;
        let mut shoppers = scene.by_shard(1 + EACH)?;
        let rest = shoppers.split_off(usize::from(SHARDS));
        // All calls are signed before the process reads the shards, so that cached data does not become stale
        // in the meantime.
        let looks = self.reserve_calls(&scene, &shoppers)?;
        let calls = self.reserve_calls(&scene, &rest)?;
        self.claim(function, looks).await?;
        Ok((calls, rest))
    }

    /// Makes reservations that are not measured.
    async fn claim(&self, function: &'static str, calls: Vec<Bytes>) -> anyhow::Result<()> {
        for call in calls {
            let reply = self.host.call(function, call).await?;
            ensure!(reply.status_code == 201, "{function} answered {reply:?}");
        }
        Ok(())
    }

    /// Measures reservations on shards that the process has not read: each makes one read of two tables and
    /// one write.
    async fn peeks(&mut self) -> anyhow::Result<f64> {
        for _ in 0..TRIES {
            let scene = self.scene(2 * PEEKS + 8).await?;
            let shoppers = scene.strangers(usize::from(PEEKS) + 1)?;
            let calls = self.reserve_calls(&scene, &shoppers)?;
            let (first, calls) = calls.split_first().context("calls")?;
            // The first call is not measured, since it also reads the drop.
            self.host.call(RESERVE, first.clone()).await?;
            let outcome = self.run(RESERVE, calls, 201).await?;
            let writes = Used::writes(calls.len())?;
            let expected = Used {
                reads: 2 * writes.stock_writes,
                ..writes
            };
            if outcome.used == expected {
                return Ok(outcome.us);
            }
            self.rounds.disturbed += 1;
        }
        bail!(
            "the machine is too busy: {TRIES} blocks of reserve with a look in a row took longer than a second"
        )
    }

    /// Measures the minimal function on the same kind of items, with the condition of a reservation.
    async fn baseline(&mut self) -> anyhow::Result<f64> {
        let scene = self.scene(SHARDS).await?;
        let nothing = json!({"sku": SKU, "quantity": 1});
        let mut calls = Vec::new();
        for (n, shopper) in scene.by_shard(EACH)?.iter().enumerate() {
            let shard = n % usize::from(SHARDS);
            calls.push(event(&Call {
                route: RESERVATIONS,
                path: &format!("/drops/{}/reservations", scene.drop.id),
                bearer: &self.host.bearer(shopper, now()?.as_seconds())?,
                key: shopper,
                drop_id: Some(&format!("{}#{SKU}#{shard}", scene.drop.id)),
                body: &nothing,
            }));
        }
        if self.rounds.baseline.is_empty() {
            self.start(BASELINE).await?;
        }
        let outcome = self.run(BASELINE, &calls, 201).await?;
        let used = outcome.used;
        ensure!(used == Used::writes(calls.len())?, "the baseline used {used:?}");
        Ok(outcome.us)
    }

    /// Starts a function's process with a call that it refuses.
    async fn start(&self, function: &'static str) -> anyhow::Result<()> {
        let refused = event(&Call {
            route: "POST /orders",
            path: "/orders",
            bearer: "Bearer no.token.really",
            key: "start",
            drop_id: None,
            body: &Value::Null,
        });
        let reply = self.host.call(function, refused).await?;
        ensure!(reply.status_code == 401, "{function} answered {reply:?}");
        Ok(())
    }

    /// Measures checkouts of new reservations: each makes one transaction.
    async fn checkouts(&mut self, reservations: &[(String, Reply)]) -> anyhow::Result<f64> {
        let mut calls = Vec::with_capacity(reservations.len());
        for (shopper, reply) in reservations {
            let view = serde_json::from_str(reply.body.as_deref().unwrap_or_default())?;
            let (name, email) = ("Ada Example".to_owned(), "ada@example.org".to_owned());
            let body = checkout_body(&view, "pm_card_visa", name, email);
            calls.push(event(&Call {
                route: "POST /orders",
                path: "/orders",
                bearer: &self.host.bearer(shopper, now()?.as_seconds())?,
                key: &format!("buy-{shopper}"),
                drop_id: None,
                body: &serde_json::to_value(body)?,
            }));
        }
        if self.rounds.checkout.is_empty() {
            self.start(CHECKOUT).await?;
        }
        let outcome = self.run(CHECKOUT, &calls, 202).await?;
        let used = outcome.used;
        ensure!(
            used.transactions == u64::try_from(calls.len())? && used.refused == 0,
            "{} checkouts used {used:?}",
            calls.len()
        );
        Ok(outcome.us)
    }
}

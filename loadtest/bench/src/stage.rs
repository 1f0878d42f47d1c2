//! Measures whole stacks: starts a stack in each round, loads it, compares the answers with its tables, and stops
//! it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use loadtest::client::{Call, Client};
use loadtest::collect::Stores;
use loadtest::control;
use loadtest::drop_file::DropFile;
use loadtest::operator::{PUBLISH_LIMIT, publish};
use loadtest::progress::say;
use loadtest::run::wall_ms;
use loadtest::stack::{Start, shopper_key};
use loadtest::world::Addresses;
use nix::unistd::Pid;
use stack_api::faults::FaultPlan;
use stack_api::{Idle, StackFile};
use stampede_local::template::Model;
use tokio::sync::watch;

use crate::load::{self, Phase};
use crate::mix::{Kind, Mix, turn};
use crate::process::{children, cpu, peak_rss_bytes};

/// The number of connections of the closed loop: enough to keep the machine busy, few enough that no request is
/// refused.
const CLOSED: usize = 24;
/// The number of connections of the open loop, far more than are busy at half the rate.
const OPEN: usize = 128;
/// The number of shoppers with signed tokens.
const SHOPPERS: usize = 24_000;
/// The time limit for the work that a closed loop left in the stack.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// The settings of the measurements of whole stacks.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The folder of the functions' and the stack's programs.
    pub binaries: PathBuf,
    pub folder: PathBuf,
    /// The drop to sell.
    pub drop: PathBuf,
    pub rounds: usize,
    pub closed_seconds: f64,
    pub open_seconds: f64,
    /// Whether the load consists of reservations only, to see where their time goes.
    pub reserves_only: bool,
    /// The seed of random numbers.
    pub seed: u64,
}

/// The measurements of a whole stack under load. Each list has one value for each round.
#[derive(Debug, Clone, Default)]
pub struct Load {
    /// The rate of the closed loop, in requests a second, which is the highest rate.
    pub requests_per_second: Vec<f64>,
    /// The median latency at half of the highest rate, from the time at which a request was due to its
    /// answer, in milliseconds.
    pub p50_ms: Vec<f64>,
    /// The 99th percentile of the latency at half of the highest rate, in milliseconds.
    pub p99_ms: Vec<f64>,
    /// Requests answered a second at half of the highest rate, to compare with the rate at which they were
    /// due.
    pub half_load: Vec<f64>,
    /// CPU microseconds of each process for each request of the closed loops, by name; `bench` is the generator.
    pub cpu_us_per_request: BTreeMap<String, Vec<f64>>,
    /// The peak resident memory of any process of a function, in bytes, by function.
    pub rss_bytes: BTreeMap<String, u64>,
}

impl Load {
    /// Adds the values of another round.
    fn add(&mut self, round: Self) {
        self.requests_per_second.extend(round.requests_per_second);
        self.half_load.extend(round.half_load);
        self.p50_ms.extend(round.p50_ms);
        self.p99_ms.extend(round.p99_ms);
        for (name, values) in round.cpu_us_per_request {
            self.cpu_us_per_request.entry(name).or_default().extend(values);
        }
        for (name, bytes) in round.rss_bytes {
            let most = self.rss_bytes.entry(name).or_default();
            *most = bytes.max(*most);
        }
    }
}

/// Starts a fresh stack in each round, loads it, checks the result, and stops it. A fresh stack is needed because the
/// embedded DynamoDB scans all changes in a table's stream with every write, so a used stack is slower.
///
/// # Errors
/// When a request is refused unexpectedly, or the tables disagree with the answers.
pub async fn run(plan: &Plan, model: &Model) -> anyhow::Result<Load> {
    std::fs::create_dir_all(&plan.folder)?;
    let folder = plan.folder.join("stack");
    let log = plan.folder.join("stack.log");
    let mut load = Load::default();
    let (_running, stop) = watch::channel(false);
    for round in 1..=plan.rounds {
        let start = Start {
            functions: &plan.binaries,
            folder: &folder,
            log: &log,
            seed: plan.seed,
            faults: &FaultPlan::default(),
            further: &[],
        };
        let round = start.run(stop.clone(), async |file| {
            on(&file, &folder, plan, model, round).await
        });
        load.add(round.await?);
    }
    Ok(load)
}

async fn on(
    stack: &StackFile,
    folder: &Path,
    plan: &Plan,
    model: &Model,
    round: usize,
) -> anyhow::Result<Load> {
    let file = DropFile::load(&plan.drop)?;
    let facts = publish(
        stack,
        "bench",
        &file,
        wall_ms()?,
        file.lead_seconds,
        PUBLISH_LIMIT,
        false,
    )
    .await?;
    let opens_in = facts.starts_at_ms - wall_ms()?;
    tokio::time::sleep(Duration::from_millis(
        u64::try_from(opens_in).unwrap_or_default() + 50,
    ))
    .await;
    let mix = Arc::new(Mix::new(
        Addresses::new(&stack.api_url, &facts.drop_id)?,
        file.skus.iter().map(|s| s.sku.clone()).collect(),
        &shopper_key(&folder.join("keys"))?,
        SHOPPERS,
        wall_ms()?.div_euclid(1_000),
        if plan.reserves_only {
            vec![Kind::Reserve]
        } else {
            turn(plan.seed)
        },
    )?);
    let api = stack
        .api_url
        .strip_prefix("http://")
        .context("the API's address")?
        .trim_end_matches('/');
    let mut reserved = 0;
    let mut load = Load::default();
    let warm = load::closed(api, &mix, CLOSED, plan.closed_seconds.min(3.0)).await?;
    reserved += check(&warm)?;
    idle(stack).await?;
    let before = processes(stack)?;
    let closed = load::closed(api, &mix, CLOSED, plan.closed_seconds).await?;
    note_cpu(&mut load, &before, &processes(stack)?, closed.all());
    reserved += check(&closed)?;
    idle(stack).await?;
    let rate = closed.rate() / 2.0;
    let seed = plan.seed + u64::try_from(round)?;
    let open = load::open(api, &mix, OPEN, rate, plan.open_seconds, seed).await?;
    reserved += check(&open)?;
    say(&format!(
        "load {}/{}: {:.0} requests/s; at {:.0}/s p50 {:.1} ms, p99 {:.1} ms",
        round,
        plan.rounds,
        closed.rate(),
        open.rate(),
        open.latency_ms(0.5),
        open.latency_ms(0.99)
    ));
    load.requests_per_second.push(closed.rate());
    load.half_load.push(open.rate());
    load.p50_ms.push(open.latency_ms(0.5));
    load.p99_ms.push(open.latency_ms(0.99));
    // A path without a route starts the one function that has not been called yet, whose memory is measured,
    // too.
    let client = Client::new(Duration::from_secs(10));
    client
        .send(&Call::get(format!("{}/nowhere", stack.api_url).parse()?))
        .await?;
    if !plan.reserves_only {
        note_memory(&mut load, stack, model)?;
    }
    claimed(stack, &facts.drop_id, reserved).await?;
    Ok(load)
}

/// Fails if any request of the phase was refused; returns the number of reservations.
fn check(phase: &Phase) -> anyhow::Result<u64> {
    let (good, all) = (phase.good(), phase.all());
    ensure!(
        good == all && all > 0,
        "not every request was answered as it should be: {:?}",
        phase.answers
    );
    let reserved = phase.answers.get(&(Kind::Reserve, 201));
    Ok(reserved.copied().unwrap_or_default())
}

/// Checks that the tables contain every reservation that was answered 201 (held, ordered or sold), and no other.
async fn claimed(stack: &StackFile, drop_id: &str, reserved: u64) -> anyhow::Result<()> {
    let shards = Stores::new(stack).shards(drop_id).await?.found;
    let taken: u64 = shards
        .iter()
        .map(|fact| {
            let held: u32 = fact.shard.claims.values().map(|claim| claim.units).sum();
            u64::from(held + fact.shard.sold)
        })
        .sum();
    ensure!(
        taken == reserved,
        "{reserved} reservations were answered 201, and {taken} units are taken"
    );
    Ok(())
}

/// Waits until the stack has no work left.
async fn idle(stack: &StackFile) -> anyhow::Result<()> {
    let began = std::time::Instant::now();
    let mut interval = tokio::time::interval(Duration::from_millis(200));
    while began.elapsed() < IDLE_LIMIT {
        interval.tick().await;
        let state: Idle = control::get(stack, "/idle").await?;
        if state.idle {
            return Ok(());
        }
    }
    bail!("the stack was not idle within {} s", IDLE_LIMIT.as_secs())
}

/// The CPU time so far of the generator, the stack, and the stack's children.
fn processes(stack: &StackFile) -> anyhow::Result<BTreeMap<(i32, String), Duration>> {
    let pid = |id: u32| -> anyhow::Result<Pid> { Ok(Pid::from_raw(i32::try_from(id)?)) };
    let mut all = vec![
        (pid(std::process::id())?, "bench".to_owned()),
        (pid(stack.pid)?, "stampede-local".to_owned()),
    ];
    for (child, name) in children(stack.pid)? {
        let backends = children(u32::try_from(child.as_raw())?)?;
        all.extend(backends.into_iter().map(|(pid, _)| (pid, name.clone())));
        all.push((child, name));
    }
    Ok(all
        .into_iter()
        // A process that has just ended is left out.
        .filter_map(|(pid, name)| Some(((pid.as_raw(), name), cpu(pid).ok()?)))
        .collect())
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
fn note_cpu(
    load: &mut Load,
    before: &BTreeMap<(i32, String), Duration>,
    after: &BTreeMap<(i32, String), Duration>,
    requests: u64,
) {
    let mut spent: BTreeMap<&str, Duration> = BTreeMap::new();
    for (process, until) in after {
        let from = before.get(process).copied().unwrap_or_default();
        *spent.entry(&process.1).or_default() += until.saturating_sub(from);
    }
    for (name, time) in spent {
        let us = time.as_secs_f64() * 1e6 / requests.max(1) as f64;
        load.cpu_us_per_request
            .entry(name.to_owned())
            .or_default()
            .push(us);
    }
}

fn note_memory(load: &mut Load, stack: &StackFile, model: &Model) -> anyhow::Result<()> {
    for (pid, name) in children(stack.pid)? {
        if model.functions.contains_key(&name)
            && let Ok(bytes) = peak_rss_bytes(pid)
        {
            let most = load.rss_bytes.entry(name).or_default();
            *most = bytes.max(*most);
        }
    }
    // This stack runs without control planes, so functions that need them never run.
    let unseen: Vec<&String> = model
        .functions
        .iter()
        .filter(|(name, function)| !function.needs_control_planes() && !load.rss_bytes.contains_key(*name))
        .map(|(name, _)| name)
        .collect();
    ensure!(unseen.is_empty(), "no process of {unseen:?} ran");
    Ok(())
}

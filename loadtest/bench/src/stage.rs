//! Measures whole stacks: starts a stack in each round, loads it, compares the answers with its tables, and stops
//! it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use loadtest::client::{Call, Client};
use loadtest::collect::Stores;
use loadtest::control;
use loadtest::drop_file::DropFile;
use loadtest::facts::ShardFact;
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

/// The CPU time of processes, by process id and name.
type CpuTimes = BTreeMap<(i32, String), Duration>;

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

/// Starts a fresh stack in each round, loads it, checks the result, and stops it. A fresh stack is needed because the
/// embedded DynamoDB scans all changes in a table's stream with every write, so a used stack is slower.
///
/// # Errors
/// When a request is refused unexpectedly, or the tables disagree with the answers.
pub async fn run(plan: &Plan, model: &Model) -> anyhow::Result<Load> {
    let mut load = Load::default();
    let (_running, stop) = watch::channel(false);
    for round in 1..=plan.rounds {
        let start = Start {
            functions: &plan.binaries,
            out: &plan.folder,
            seed: plan.seed,
            faults: &FaultPlan::default(),
            further: &[],
        };
        let work = async |file: StackFile| on(&file, plan, model, round, &mut load).await;
        start.run(stop.clone(), work).await?;
    }
    Ok(load)
}

/// Adds the values of one round to `load`.
async fn on(
    stack: &StackFile,
    plan: &Plan,
    model: &Model,
    round: usize,
    load: &mut Load,
) -> anyhow::Result<()> {
    let file = DropFile::load(&plan.drop)?;
    let (now_ms, lead) = (wall_ms()?, file.lead_seconds);
    let facts = publish(stack, "bench", &file, now_ms, lead, PUBLISH_LIMIT, false).await?;
    let opens_in_ms = u64::try_from(facts.starts_at_ms - wall_ms()?).unwrap_or_default();
    tokio::time::sleep(Duration::from_millis(opens_in_ms + 50)).await;
    let mix = Arc::new(Mix::new(
        Addresses::new(&stack.api_url, &facts.drop_id)?,
        file.skus.iter().map(|s| s.sku.clone()).collect(),
        &shopper_key(&plan.folder.join("stack/keys"))?,
        SHOPPERS,
        wall_ms()?.div_euclid(1_000),
        if plan.reserves_only {
            vec![Kind::Reserve]
        } else {
            turn(plan.seed)
        },
    )?);
    let api = stack.api_url.strip_prefix("http://");
    let api = api.context("the API's address")?.trim_end_matches('/');
    let mut reserved = 0;
    let warm = load::closed(api, &mix, CLOSED, plan.closed_seconds.min(3.0)).await?;
    reserved += check(&warm)?;
    idle(stack).await?;
    let before = processes(stack)?;
    let closed = load::closed(api, &mix, CLOSED, plan.closed_seconds).await?;
    note_cpu(load, &before, &processes(stack)?, closed.all());
    reserved += check(&closed)?;
    idle(stack).await?;
    let rate = closed.rate() / 2.0;
    let seed = plan.seed + u64::try_from(round)?;
    let open = load::open(api, &mix, OPEN, rate, plan.open_seconds, seed).await?;
    reserved += check(&open)?;
    let (most, half) = (closed.rate(), open.rate());
    let (p50, p99) = (open.latency_ms(0.5), open.latency_ms(0.99));
    say(&format!(
        "load {round}/{}: {most:.0} requests/s; at {half:.0}/s p50 {p50:.1} ms, p99 {p99:.1} ms",
        plan.rounds
    ));
    load.requests_per_second.push(most);
    load.half_load.push(half);
    load.p50_ms.push(p50);
    load.p99_ms.push(p99);
    // A path without a route starts the one function that has not been called yet, whose memory is measured,
    // too.
    let client = Client::new(Duration::from_secs(10));
    let nowhere = format!("{}/nowhere", stack.api_url).parse()?;
    client.send(&Call::get(nowhere)).await?;
    if !plan.reserves_only {
        note_memory(load, stack, model)?;
    }
    claimed(stack, &facts.drop_id, reserved).await
}

/// Fails if any request of the phase was refused; returns the number of reservations.
fn check(phase: &Phase) -> anyhow::Result<u64> {
    let (good, all) = (phase.good(), phase.all());
    let answers = &phase.answers;
    ensure!(
        good == all && all > 0,
        "not every request was answered as it should be: {answers:?}"
    );
    let reserved = phase.answers.get(&(Kind::Reserve, 201));
    Ok(reserved.copied().unwrap_or_default())
}

/// Checks that the tables contain every reservation that was answered 201 (held, ordered or sold), and no other.
async fn claimed(stack: &StackFile, drop_id: &str, reserved: u64) -> anyhow::Result<()> {
    let shards = Stores::new(stack).shards(drop_id).await?.found;
    let taken = |fact: &ShardFact| u64::from(fact.shard.claimed() + fact.shard.sold);
    let taken: u64 = shards.iter().map(taken).sum();
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
fn processes(stack: &StackFile) -> anyhow::Result<CpuTimes> {
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
    // A process that has just ended is left out.
    let alive = |(pid, name): (Pid, String)| Some(((pid.as_raw(), name), cpu(pid).ok()?));
    Ok(all.into_iter().filter_map(alive).collect())
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
fn note_cpu(load: &mut Load, before: &CpuTimes, after: &CpuTimes, requests: u64) {
    let mut spent: BTreeMap<&str, Duration> = BTreeMap::new();
    for (process, until) in after {
        let from = before.get(process).copied().unwrap_or_default();
        *spent.entry(&process.1).or_default() += until.saturating_sub(from);
    }
    for (name, time) in spent {
        let us = time.as_secs_f64() * 1e6 / requests.max(1) as f64;
        let rounds = load.cpu_us_per_request.entry(name.to_owned()).or_default();
        rounds.push(us);
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
    let functions = model.functions.iter();
    let called = functions.filter(|(_, function)| !function.needs_control_planes());
    let names = called.map(|(name, _)| name);
    let unseen: Vec<&String> = names.filter(|name| !load.rss_bytes.contains_key(*name)).collect();
    ensure!(unseen.is_empty(), "no process of {unseen:?} ran");
    Ok(())
}

//! A whole run against a stack: publish, load, drain, audit, report.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use domain::order::OrderStatus;
use stack_api::{Processes, StackFile};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::arrivals;
use crate::audit::audit;
use crate::behaviour::plan;
use crate::client::Client;
use crate::collect::Stores;
use crate::demand::{Crowd, Watch};
use crate::drain::drain;
use crate::drop_file::DropFile;
use crate::facts::{DropFacts, Entry, OrderFact};
use crate::faults::{self, Allowance};
use crate::gateway::GatewayFigures;
use crate::journal::Journal;
use crate::load::Arrival;
use crate::measure::{Measured, Recorder};
use crate::operator::{self, PUBLISH_LIMIT};
use crate::prescaling::{Prepared, Prescaling};
use crate::progress::{self, say};
use crate::report::{Machine, Report, RunFacts, render};
use crate::sampler;
use crate::stack::shopper_key;
use crate::usage::{Sold, Usage, prices, processes, snapshot, subtract_processes};
use crate::world::{Addresses, Opening, Tally, World, sign_all};

/// How long a shopper waits for an answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How much earlier a drop is published in a run with faults.
const LEAD_IN_TROUBLE_SECONDS: u32 = 10;
/// The largest number of drops that an operator publishes until one is ready in time.
const MOST_OPENINGS: u32 = 5;

/// The load of a run.
#[derive(Debug, Clone, clap::Args)]
pub struct Load {
    /// The drop file.
    #[arg(long, default_value = "loadtest/drops/default.toml")]
    pub drop: PathBuf,
    /// How many shoppers, instead of the drop file's own number.
    #[arg(long, env = "SHOPPERS", value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
    pub shoppers: Option<u32>,
    /// The seed of every draw.
    #[arg(long, env = "SEED", default_value_t = 1)]
    pub seed: u64,
    /// The folder of the journal and the report.
    #[arg(long, default_value = "target/drop")]
    pub out: PathBuf,
}

/// The settings of a run.
#[derive(Debug, Clone)]
pub struct Options {
    pub load: Load,
    /// The folder of the stack's keys.
    pub keys: PathBuf,
    /// Whether pre-scaling must make the drop ready before the first arrival.
    pub prescaled: bool,
    /// How much longer the drain may take.
    pub patience: Duration,
}

/// The result of a run.
#[derive(Debug)]
pub struct Ran {
    /// The report, also in the run's folder.
    pub report: Report,
    /// The measurements of all requests.
    pub measured: Measured,
    /// Figures of the functions' processes, from just before the first arrival to the end of the drain.
    pub processes: Vec<Processes>,
    /// The result of pre-scaling, if it was used.
    pub prepared: Option<Prepared>,
    pub drop: DropFacts,
    pub file: DropFile,
}

/// Milliseconds since 1970.
///
/// # Errors
/// When the clock is before 1970.
pub fn wall_ms() -> anyhow::Result<i64> {
    Ok(i64::try_from(
        SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis(),
    )?)
}

/// Runs a drop against `stack` and writes `journal.jsonl`, `report.json` and `report.html`.
///
/// # Errors
/// When the run does not complete, or was stopped. A broken promise is not an error: the report contains it.
pub async fn run(stack: &StackFile, options: &Options, stop: watch::Receiver<bool>) -> anyhow::Result<Ran> {
    let load = &options.load;
    let file = DropFile::load(&load.drop)?;
    let shoppers = load.shoppers.unwrap_or(file.shoppers);
    let name = load
        .drop
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or("drop")
        .to_owned();
    std::fs::create_dir_all(&load.out).with_context(|| format!("creating {}", load.out.display()))?;

    // Everything possible is prepared in advance, so that it does not disturb the run.
    let plans: Vec<_> = (0..shoppers).map(|index| plan(&file, load.seed, index)).collect();
    let key = shopper_key(&options.keys)?;
    let bearers = sign_all(
        &key,
        plans.iter().map(|p| p.subject.as_str()),
        wall_ms()?.div_euclid(1_000),
    )?;
    let times = arrivals::schedule(&file.arrivals, shoppers, load.seed);
    let places = arrivals::places(shoppers, load.seed);
    let mut people: Vec<_> = places.into_iter().zip(plans.into_iter().zip(bearers)).collect();
    people.sort_unstable_by_key(|(place, _)| *place);
    let crowd: Vec<Arrival> = times
        .into_iter()
        .zip(people)
        .map(|(at_us, (_, (plan, bearer)))| Arrival { at_us, plan, bearer })
        .collect();

    let stores = Stores::new(stack);
    let before = snapshot(stack).await?;
    let allowance = Allowance::of(stack);
    let earliest_us = crowd.first().map_or(0, |first| first.at_us.min(0));
    let mut attempt = 1;
    let (drop, opening, published) = loop {
        match open(stack, &name, &file, earliest_us, allowance.operator_insists).await {
            Ok(opened) => break opened,
            Err(error) if allowance.operator_insists && attempt < MOST_OPENINGS && !*stop.borrow() => {
                say(&format!(
                    "the drop did not get ready, another one is put: {error:#}"
                ));
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    };
    let left_ms = drop.starts_at_ms - wall_ms()?;
    say(&format!(
        "{} is published and opens in {:.1} s",
        drop.drop_id,
        Duration::from_millis(u64::try_from(left_ms).unwrap_or(0)).as_secs_f64()
    ));

    let prepared = match options.prescaled {
        false => None,
        true => {
            let prescaling = Prescaling::new(stack)?;
            let by = opening.plus_micros(earliest_us);
            let prepared = prescaling.make_ready(stack, &drop, &file, shoppers, by).await?;
            say(&format!("ready after {:.1} s", prepared.took.as_secs_f64()));
            Some(prepared)
        }
    };
    let before_crowd = processes(stack).await?;

    let demand = Watch::begin(stack, opening, file.arrivals.surge.seconds);
    let world = Arc::new(World {
        reach: Arc::new(Client::new(REQUEST_TIMEOUT)),
        addresses: Addresses::new(&stack.api_url, &drop.drop_id)?,
        journal: Journal::create(&load.out.join("journal.jsonl"), &drop)?,
        facts: drop.clone(),
        file,
        opening,
        recorder: Recorder::default(),
        tally: Tally::default(),
        tries: allowance.tries,
    });
    let (end_watchers, watched) = watch::channel(false);
    let sampling = tokio::spawn(sampler::run(Arc::clone(&world), stores.clone(), watched.clone()));
    let showing = tokio::spawn(progress::show(Arc::clone(&world), u64::from(shoppers), watched));
    let sent = crate::load::run(&world, crowd, stop.clone()).await;
    let left_at = Instant::now();
    if *stop.borrow() {
        end_watchers.send_replace(true);
        let _ = tokio::join!(sampling, showing);
        world.journal.flush();
        bail!("stopped");
    }
    let demand = demand.left().await?;
    say("everyone has left; waiting for what is still under way");
    let mut stopped = stop.clone();
    let drained = tokio::select! {
        drained = drain(stack, &stores, &drop, allowance.drain + options.patience) => drained?,
        _ = stopped.wait_for(|stop| *stop) => bail!("stopped"),
    };
    let (duration_s, drain_s) = (published.elapsed().as_secs_f64(), left_at.elapsed().as_secs_f64());
    end_watchers.send_replace(true);
    let failed_samples = sampling.await?;
    showing.await?;

    let demand = demand.drained(&drop).await?;
    let faults = faults::end(stack).await?;
    let journal = world.journal.finish()?;
    let facts = stores.facts(&drop, journal, opening.now_ms()).await?;
    let findings = audit(&facts);
    let after = snapshot(stack).await?;
    let sold = Sold {
        reservations: reservations(&facts.journal),
        orders: u64::try_from(facts.orders.len())?,
        units: findings.paid,
    };
    let prices = prices()?;
    let usage = Usage::between(&before, &after, stack.table("STOCK_TABLE")?, sold, &prices);
    let measured = world.recorder.finish();
    let crowd = Crowd {
        run: format!("local run of {name}.toml, seed {}", load.seed),
        drop: &drop,
        shoppers,
        sold: findings.paid,
    };
    demand.write(&load.out, &crowd)?;
    let run = RunFacts {
        drop_file: name,
        title: world.file.title.clone(),
        seed: load.seed,
        shoppers: u64::from(shoppers),
        drop: drop.clone(),
        machine: machine().await,
        duration_s,
        drain_s,
        left_undone: drained.left,
        unfinished: sent.unfinished,
        surprises: sent.surprises,
        failed_samples,
        faults,
        prices_as_of: prices.as_of,
    };
    let mut report = Report::new(run, findings, &measured, &facts.journal, usage);
    let paid = |fact: &&OrderFact| fact.order.status == OrderStatus::Paid;
    report.gateway = GatewayFigures::read(stack, facts.orders.iter().filter(paid).count()).await?;
    write(&load.out, &report, &render(&report, &measured, &facts))?;
    Ok(Ran {
        report,
        measured,
        processes: subtract_processes(&before_crowd, &after.processes),
        prepared,
        drop,
        file: world.file.clone(),
    })
}

/// Publishes a drop that opens in time for the first arrival, at `earliest_us` before its opening. Returns the opening
/// and the publication time.
async fn open(
    stack: &StackFile,
    name: &str,
    file: &DropFile,
    earliest_us: i64,
    insists: bool,
) -> anyhow::Result<(DropFacts, Opening, Instant)> {
    let lead_seconds = file.lead_seconds + if insists { LEAD_IN_TROUBLE_SECONDS } else { 0 };
    let lead = Duration::from_secs(u64::from(lead_seconds));
    let within = match insists {
        true => lead.saturating_sub(Duration::from_micros(earliest_us.unsigned_abs())),
        false => PUBLISH_LIMIT,
    };
    let began_ms = wall_ms()?;
    let drop = operator::publish(stack, name, file, began_ms, lead_seconds, within, insists).await?;
    let (published, now_ms) = (Instant::now(), wall_ms()?);
    let left_ms =
        u64::try_from(drop.starts_at_ms - now_ms).context("publishing took until after the opening")?;
    let opening = Opening {
        wall_ms: drop.starts_at_ms,
        instant: published + Duration::from_millis(left_ms),
    };
    if opening.plus_micros(earliest_us) < published {
        bail!("publishing took until after the first arrival; the drop file needs a longer lead_seconds");
    }
    Ok((drop, opening, published))
}

fn write(out: &Path, report: &Report, page: &str) -> anyhow::Result<()> {
    let json = out.join("report.json");
    std::fs::write(&json, serde_json::to_vec_pretty(report)?)
        .with_context(|| format!("writing {}", json.display()))?;
    let html = out.join("report.html");
    std::fs::write(&html, page).with_context(|| format!("writing {}", html.display()))
}

fn reservations(journal: &[Entry]) -> u64 {
    let ids: std::collections::BTreeSet<&str> = journal
        .iter()
        .filter_map(|entry| match entry {
            Entry::Reserved(reserved) => Some(reserved.reservation_id.as_str()),
            _ => None,
        })
        .collect();
    u64::try_from(ids.len()).unwrap_or(u64::MAX)
}

async fn machine() -> Machine {
    let git = tokio::process::Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .await;
    let git_revision = git
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map(|text| text.trim().to_owned());
    Machine {
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        git_revision,
    }
}

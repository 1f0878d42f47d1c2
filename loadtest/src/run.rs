//! Makes a whole run against a stack: publishes, sends the load, drains, audits, reports.

use std::collections::BTreeSet;
use std::path::PathBuf;
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
use crate::demand::{Crowd, Demand, Watch};
use crate::drain::drain;
use crate::drop_file::DropFile;
use crate::facts::{DropFacts, Entry, OrderFact};
use crate::faults::{self, Allowance};
use crate::files::{create_folder, write};
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
use crate::usage::{Snapshot, Sold, Usage, prices, processes, snapshot, subtract_processes};
use crate::world::{Addresses, Opening, Tally, World, sign_all};

/// The time that a shopper waits for an answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The extra time from publishing to the opening in a run with faults, in seconds.
const LEAD_IN_TROUBLE_SECONDS: u32 = 10;
/// The largest number of drops that an operator publishes until a drop is scheduled in time.
const MOST_OPENINGS: u32 = 5;

/// The command-line options of a run: drop file, shoppers, seed and folder.
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

/// The settings of a run: its load, its keys, and whether pre-scaling prepares the drop.
#[derive(Debug, Clone)]
pub struct Options {
    pub load: Load,
    /// The folder of the stack's keys.
    pub keys: PathBuf,
    /// Whether pre-scaling must make the drop ready before the first arrival.
    pub prescaled: bool,
    /// The extra time that the drain may take.
    pub patience: Duration,
}

/// The report of a run, its measurements, and its drop file.
#[derive(Debug)]
pub struct Ran {
    /// The report, which the run also wrote into its folder.
    pub report: Report,
    /// The measurements of all requests.
    pub measured: Measured,
    /// The starts and invocations of each function's processes, from just before the first arrival to the end of the
    /// drain.
    pub processes: Vec<Processes>,
    /// The time and the cost of pre-scaling; `None` in a run without it.
    pub prepared: Option<Prepared>,
    pub file: DropFile,
}

/// The present time by the machine's clock, in ms since 1970.
///
/// # Errors
/// When the clock is before 1970.
pub fn wall_ms() -> anyhow::Result<i64> {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(i64::try_from(since_epoch.as_millis())?)
}

/// Runs a drop against `stack` and writes `journal.jsonl`, `report.json` and `report.html`.
///
/// # Errors
/// When the run does not complete, or was stopped. A broken promise is not an error: the report contains it.
pub async fn run(stack: &StackFile, options: &Options, stop: watch::Receiver<bool>) -> anyhow::Result<Ran> {
    let load = &options.load;
    let file = DropFile::load(&load.drop)?;
    let stem = load.drop.file_stem().and_then(|stem| stem.to_str());
    let run = Run {
        stack,
        options,
        name: stem.unwrap_or("drop"),
        shoppers: load.shoppers.unwrap_or(file.shoppers),
        stores: Stores::new(stack),
        allowance: Allowance::of(stack),
    };
    create_folder(&load.out)?;
    // All shoppers are drawn before the drop is published, since drawing takes CPU time that the run needs.
    let crowd = run.draw(&file)?;
    let earliest_us = crowd.first().map_or(0, |first| first.at_us.min(0));

    let before = snapshot(stack).await?;
    let published = run.publish(&file, earliest_us, &stop).await?;
    let prepared = match options.prescaled {
        false => None,
        true => Some(run.prescale(&file, earliest_us, &published).await?),
    };
    let before_crowd = processes(stack).await?;
    let over = run.send(file, crowd, published, stop).await?;
    let file = over.world.file.clone();
    let (report, measured, after) = run.account(over, &before).await?;
    Ok(Ran {
        report,
        measured,
        processes: subtract_processes(&before_crowd, &after.processes),
        prepared,
        file,
    })
}

/// The settings and stores that every phase of a run uses.
struct Run<'a> {
    stack: &'a StackFile,
    options: &'a Options,
    /// The drop file's name without its ending.
    name: &'a str,
    shoppers: u32,
    stores: Stores,
    allowance: Allowance,
}

/// A drop that the operator has published, with the time of its opening.
struct Published {
    drop: DropFacts,
    opening: Opening,
    at: Instant,
}

/// A run whose visits and drain have ended.
struct Over {
    world: Arc<World>,
    demand: Demand,
    facts: RunFacts,
}

impl Run<'_> {
    /// Draws a plan, a token and an arrival time for every shopper, in the order of arrival.
    fn draw(&self, file: &DropFile) -> anyhow::Result<Vec<Arrival>> {
        let (seed, shoppers) = (self.options.load.seed, self.shoppers);
        let plans: Vec<_> = (0..shoppers).map(|index| plan(file, seed, index)).collect();
        let key = shopper_key(&self.options.keys)?;
        let subjects = plans.iter().map(|p| p.subject.as_str());
        let bearers = sign_all(&key, subjects, wall_ms()?.div_euclid(1_000))?;
        let times = arrivals::schedule(&file.arrivals, shoppers, seed);
        let places = arrivals::places(shoppers, seed);
        let mut people: Vec<_> = places.into_iter().zip(plans.into_iter().zip(bearers)).collect();
        people.sort_unstable_by_key(|(place, _)| *place);
        let crowd = times.into_iter().zip(people);
        let crowd = crowd.map(|(at_us, (_, (plan, bearer)))| Arrival { at_us, plan, bearer });
        Ok(crowd.collect())
    }

    /// Publishes a drop. In a run with faults a drop may not be scheduled in time; then another drop is published.
    async fn publish(
        &self,
        file: &DropFile,
        earliest_us: i64,
        stop: &watch::Receiver<bool>,
    ) -> anyhow::Result<Published> {
        let insists = self.allowance.operator_insists;
        let mut attempt = 1;
        let published = loop {
            match open(self.stack, self.name, file, earliest_us, insists).await {
                Ok(published) => break published,
                Err(error) if insists && attempt < MOST_OPENINGS && !*stop.borrow() => {
                    say(&format!(
                        "the drop did not get ready, another one is put: {error:#}"
                    ));
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        };
        let left_ms = published.drop.starts_at_ms - wall_ms()?;
        say(&format!(
            "{} is published and opens in {:.1} s",
            published.drop.drop_id,
            Duration::from_millis(u64::try_from(left_ms).unwrap_or(0)).as_secs_f64()
        ));
        Ok(published)
    }

    /// Waits until pre-scaling has made the drop ready.
    async fn prescale(
        &self,
        file: &DropFile,
        earliest_us: i64,
        published: &Published,
    ) -> anyhow::Result<Prepared> {
        let prescaling = Prescaling::new(self.stack, &published.drop, file, self.shoppers)?;
        let by = published.opening.plus_micros(earliest_us);
        let prepared = prescaling.make_ready(by).await?;
        say(&format!("ready after {:.1} s", prepared.took.as_secs_f64()));
        Ok(prepared)
    }

    /// Sends all shoppers' requests, and waits for the end of the drain.
    async fn send(
        &self,
        file: DropFile,
        crowd: Vec<Arrival>,
        published: Published,
        stop: watch::Receiver<bool>,
    ) -> anyhow::Result<Over> {
        let (stack, load, drop) = (self.stack, &self.options.load, published.drop);
        let demand = Watch::begin(stack, published.opening, file.arrivals.surge.seconds);
        let world = Arc::new(World {
            reach: Arc::new(Client::new(REQUEST_TIMEOUT)),
            addresses: Addresses::new(&stack.api_url, &drop.drop_id)?,
            journal: Journal::create(&load.out.join("journal.jsonl"), &drop)?,
            facts: drop.clone(),
            file,
            opening: published.opening,
            recorder: Recorder::default(),
            tally: Tally::default(),
            tries: self.allowance.tries,
        });
        let (end_watchers, watched) = watch::channel(false);
        let sampling = sampler::run(Arc::clone(&world), self.stores.clone(), watched.clone());
        let sampling = tokio::spawn(sampling);
        let showing = progress::show(Arc::clone(&world), u64::from(self.shoppers), watched);
        let showing = tokio::spawn(showing);
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
        let patience = self.allowance.drain + self.options.patience;
        let mut stopped = stop.clone();
        let left_undone = tokio::select! {
            left = drain(stack, &self.stores, &drop, patience) => left?,
            _ = stopped.wait_for(|stop| *stop) => bail!("stopped"),
        };
        let duration_s = published.at.elapsed().as_secs_f64();
        let drain_s = left_at.elapsed().as_secs_f64();
        end_watchers.send_replace(true);
        let failed_samples = sampling.await?;
        showing.await?;
        // Everything after this reads the stores, which the faults would make unreachable.
        let faults = faults::end(stack).await?;
        let demand = demand.drained(&drop).await?;
        let facts = RunFacts {
            drop_file: self.name.to_owned(),
            title: world.file.title.clone(),
            seed: load.seed,
            shoppers: u64::from(self.shoppers),
            drop,
            machine: machine().await,
            duration_s,
            drain_s,
            left_undone,
            unfinished: sent.unfinished,
            surprises: sent.surprises,
            failed_samples,
            faults,
        };
        Ok(Over { world, demand, facts })
    }

    /// Audits the drop and writes the report. Also returns the last reading of the stack's figures.
    async fn account(&self, over: Over, before: &Snapshot) -> anyhow::Result<(Report, Measured, Snapshot)> {
        let (stack, load, world) = (self.stack, &self.options.load, over.world);
        let journal = world.journal.finish()?;
        let facts = self.stores.facts(&world.facts, journal, world.opening.now_ms());
        let facts = facts.await?;
        let findings = audit(&facts);
        let after = snapshot(stack).await?;
        let sold = Sold {
            reservations: reservations(&facts.journal),
            orders: u64::try_from(facts.orders.len())?,
            units: findings.paid,
        };
        let usage = Usage::between(before, &after, stack.table("STOCK_TABLE")?, sold, &prices()?);
        let measured = world.recorder.finish();
        let crowd = Crowd {
            run: format!("local run of {}.toml, seed {}", self.name, load.seed),
            drop: &world.facts,
            shoppers: self.shoppers,
            sold: findings.paid,
        };
        over.demand.write(&load.out, &crowd)?;
        let mut report = Report::new(over.facts, findings, &measured, &facts.journal, usage);
        let paid = |fact: &&OrderFact| fact.order.status == OrderStatus::Paid;
        report.gateway = GatewayFigures::read(stack, facts.orders.iter().filter(paid).count()).await?;
        write(&load.out.join("report.json"), serde_json::to_vec_pretty(&report)?)?;
        let page = render(&report, &measured, &facts);
        write(&load.out.join("report.html"), page)?;
        Ok((report, measured, after))
    }
}

/// Publishes a drop, and fails if the first arrival should already have been sent then. `earliest_us` is the first
/// arrival's time in µs relative to the opening, at most 0.
async fn open(
    stack: &StackFile,
    name: &str,
    file: &DropFile,
    earliest_us: i64,
    insists: bool,
) -> anyhow::Result<Published> {
    let lead_seconds = file.lead_seconds + if insists { LEAD_IN_TROUBLE_SECONDS } else { 0 };
    let lead = Duration::from_secs(u64::from(lead_seconds));
    let within = match insists {
        true => lead.saturating_sub(Duration::from_micros(earliest_us.unsigned_abs())),
        false => PUBLISH_LIMIT,
    };
    let began_ms = wall_ms()?;
    let drop = operator::publish(stack, name, file, began_ms, lead_seconds, within, insists).await?;
    let (at, now_ms) = (Instant::now(), wall_ms()?);
    let left_ms =
        u64::try_from(drop.starts_at_ms - now_ms).context("publishing took until after the opening")?;
    let opening = Opening {
        wall_ms: drop.starts_at_ms,
        instant: at + Duration::from_millis(left_ms),
    };
    if opening.plus_micros(earliest_us) < at {
        bail!("publishing took until after the first arrival; the drop file needs a longer lead_seconds");
    }
    Ok(Published { drop, opening, at })
}

fn reservations(journal: &[Entry]) -> u64 {
    let ids = journal.iter().filter_map(|entry| match entry {
        Entry::Reserved(reserved) => Some(reserved.reservation_id.as_str()),
        _ => None,
    });
    u64::try_from(ids.collect::<BTreeSet<_>>().len()).unwrap_or(u64::MAX)
}

async fn machine() -> Machine {
    let git = tokio::process::Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .await;
    let told = git.ok().filter(|output| output.status.success());
    let revision = told.and_then(|output| String::from_utf8(output.stdout).ok());
    Machine {
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        git_revision: revision.map(|text| text.trim().to_owned()),
    }
}

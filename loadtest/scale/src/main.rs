//! Contains the program `scale`, which runs a drop of full size in virtual time.
#![recursion_limit = "256"]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use clap::Parser;
use loadtest::drop_file::DropFile;
use prescale_plan::documents::Files;
use scale::report::Report;
use scale::run::{Progress, run};
use scale::settings::{Capacity, LIMITS, Lifted, Limits, OldDesign, Settings, Shape, TIMES, Times, capacity};
use scale::{find, page};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// When the payment gateway needs longer than this for all units, in seconds, holds and payments get longer
/// time limits.
const PATIENT_AFTER_S: u32 = 30;
/// The number of gateway calls for each unit: one call creates a payment, one confirms it, and some calls are
/// repeated.
const CALLS_PER_UNIT: u32 = 3;

/// Runs a drop of full size in virtual time, and reports the limits that requests reached.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// The arrival rate of the crowd over time.
    #[arg(long, value_enum, default_value_t = Shape::Steep)]
    crowd: Shape,
    /// Use this drop file of the load test instead. It sets the goods, the shoppers and their arrival times.
    #[arg(long, conflicts_with_all = ["crowd", "units", "skus"])]
    drop: Option<PathBuf>,
    /// Run the drop file on the platform of the local stack instead of AWS's, for a comparison with a load
    /// run.
    #[arg(long, requires = "drop")]
    here: bool,
    /// The number of shoppers; without it the full size of the crowd.
    #[arg(long)]
    shoppers: Option<u32>,
    /// The operator's estimate of the number of shoppers (`expected_shoppers`); without it five times the requests that
    /// the crowd sends in its busiest second.
    #[arg(long, conflicts_with_all = ["drop", "find_limit"])]
    expects: Option<u32>,
    /// Units on sale.
    #[arg(long, default_value_t = 10_000)]
    units: u32,
    /// The number of SKUs; without it one, or at least five if one cannot contain the units.
    #[arg(long)]
    skus: Option<u32>,
    /// Run without pre-scaling's plan, with the capacity of the declared baseline only.
    #[arg(long)]
    no_plan: bool,
    /// Put a CDN before the cacheable routes.
    #[arg(long)]
    cdn: bool,
    /// Limits to lift in this run, so that they refuse nothing.
    #[arg(long, value_enum, value_delimiter = ',')]
    lift: Vec<Lifted>,
    /// Run a former design of the hot path instead of the current one.
    #[arg(long, value_enum)]
    design: Option<OldDesign>,
    /// End after this many virtual seconds.
    #[arg(long)]
    seconds: Option<u32>,
    /// The seed of every draw.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The folder of pre-scaling's documents.
    #[arg(long, default_value = "infra/prescale")]
    documents: PathBuf,
    /// The capacity profile [default: profile.toml in that folder, or profile-cdn.toml with a CDN].
    #[arg(long)]
    profile: Option<PathBuf>,
    /// The baseline [default: baseline.toml in that folder].
    #[arg(long)]
    baseline: Option<PathBuf>,
    /// The account's limits.
    #[arg(long, default_value = "infra/prescale/quotas-raised.toml")]
    quotas: PathBuf,
    /// The folder for the report.
    #[arg(long, default_value = "target/scale")]
    out: PathBuf,
    /// Search for the largest spike that the capacity planned for this crowd serves, and for the limit that
    /// ends service.
    #[arg(long)]
    find_limit: bool,
    /// Print no progress.
    #[arg(long)]
    quiet: bool,
}

impl Cli {
    fn settings(&self) -> anyhow::Result<Settings> {
        let file = self.drop.as_deref().map(DropFile::load).transpose()?;
        let shoppers = match (self.shoppers, &file) {
            (Some(shoppers), _) => shoppers,
            (None, Some(file)) => file.shoppers,
            (None, None) => self.crowd.shoppers(),
        };
        let expects = match &file {
            Some(file) => file.shoppers,
            None => self.expects.unwrap_or_else(|| self.crowd.expects(shoppers)),
        };
        let units = file.as_ref().map_or(u64::from(self.units), DropFile::allocated);
        let units = u32::try_from(units).context("more units than a drop can have")?;
        let (capacity, limits, times) = if self.here {
            (Capacity::here(), Limits::here(), Times::here())
        } else {
            let behind_cdn = self.cdn.then(|| self.documents.join("profile-cdn.toml"));
            let files = Files {
                folder: self.documents.clone(),
                profile: self.profile.clone().or(behind_cdn),
                baseline: self.baseline.clone(),
                quotas: Some(self.quotas.clone()),
            };
            let capacity = capacity(&files, self.crowd, expects, units, !self.no_plan)?;
            (capacity, LIMITS, TIMES)
        };
        let calls = units.saturating_mul(CALLS_PER_UNIT);
        let patient = calls / capacity.quotas.gateway_calls_per_second.max(1) > PATIENT_AFTER_S;
        let of_one_sku = domain::limits::MAX_SHARD_UNITS * u32::from(domain::limits::MAX_SHARDS_PER_SKU);
        let skus = if units > of_one_sku {
            units.div_ceil(of_one_sku).max(5)
        } else {
            1
        };
        Ok(Settings {
            seed: self.seed,
            shape: self.crowd,
            drop: self.drop.clone(),
            shoppers,
            expects,
            units,
            skus: self.skus.unwrap_or(skus),
            cdn: self.cdn,
            lifted: self.lift.clone(),
            design: self.design,
            seconds: self.seconds,
            hold_seconds: if patient { 600 } else { 15 },
            payment_seconds: if patient { 900 } else { 20 },
            open_seconds: if patient { 1_800 } else { 120 },
            capacity,
            limits,
            times,
        })
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let settings = cli.settings()?;
    if cli.find_limit {
        find(&cli, &settings)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (quiet, shoppers) = (cli.quiet, settings.shoppers);
    let began = Instant::now();
    let report = run(&settings, move |progress| {
        if !quiet && progress.requests > 0 {
            tell(progress, shoppers);
        }
    })?;
    let took = began.elapsed();
    let json = write(&cli, "report.json", serde_json::to_vec_pretty(&report)?)?;
    write(&cli, "report.html", page::render(&report))?;
    let mut out = std::io::stdout().lock();
    for line in lines(&report) {
        writeln!(out, "{line}")?;
    }
    let us = took.as_secs_f64() * 1e6 / f64::from(u32::try_from(report.requests.max(1)).unwrap_or(u32::MAX));
    let seconds = took.as_secs_f64();
    writeln!(out, "speed       {seconds:.1} s for it, {us:.1} µs a request")?;
    writeln!(out, "report      {}", json.display())?;
    Ok(ExitCode::SUCCESS)
}

fn tell(progress: Progress, shoppers: u32) {
    let Progress {
        second,
        requests,
        failed,
        arrived,
        ended,
        reserved,
        paid,
    } = progress;
    eprintln!(
        "{second:>5} s  {requests:>7} requests, {failed:>7} failed; {arrived} of {shoppers} came, {ended} left; \
         {reserved} reserved, {paid} paid"
    );
}

/// Writes a file in the folder for the report, and returns the file's path.
fn write(cli: &Cli, name: &str, content: impl AsRef<[u8]>) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(&cli.out).with_context(|| format!("making {}", cli.out.display()))?;
    let path = cli.out.join(name);
    std::fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

/// Searches for the largest spike that is served, and prints and writes the result.
fn find(cli: &Cli, settings: &Settings) -> anyhow::Result<()> {
    let found = find::limit(settings, |probe| {
        let with = probe.raised.map_or_else(String::new, |raised| {
            format!(" with a quarter more of {raised:?}")
        });
        let share = probe.served_share.unwrap_or_default();
        let first = probe.first_refusal.as_deref().unwrap_or("nothing");
        eprintln!(
            "{} shoppers{with}: {} requests in the busiest second, {:.4} % served; refused first by {first}",
            probe.shoppers,
            probe.peak_rps,
            100.0 * share
        );
    })?;
    let json = write(cli, "limit.json", serde_json::to_vec_pretty(&found)?)?;
    let mut out = std::io::stdout().lock();
    match (found.served_rps, found.first_limit) {
        (None, _) => writeln!(out, "not even the smallest spike is served")?,
        (Some(rps), Some(limit)) => writeln!(
            out,
            "served      {rps} requests in the busiest second; {limit:?} ends it"
        )?,
        (Some(rps), None) => writeln!(
            out,
            "served      {rps} requests in the busiest second; no single resource, a quarter more of it, lets a tenth more be served"
        )?,
    }
    writeln!(out, "report      {}", json.display())?;
    Ok(())
}

/// The main figures of the report, in a few lines.
fn lines(report: &Report) -> Vec<String> {
    let ms = |ms: Option<i64>| ms.map_or_else(|| "never".to_owned(), |ms| format!("after {ms} ms"));
    let share = |share: Option<f64>, digits: usize| {
        share.map_or_else(|| "-".to_owned(), |share| format!("{:.digits$} %", 100.0 * share))
    };
    let found = &report.findings;
    let rest = match report.left_undone {
        true => "ended before all had come to rest",
        false => "all came to rest",
    };
    let mut lines = vec![
        format!(
            "requests    {} ({:.2} for each of {} shoppers), {} in the busiest second",
            report.requests, report.requests_per_shopper, report.settings.shoppers, report.peak_rps
        ),
        format!(
            "served      {} of them, partition_use_max {:.2}",
            share(report.served_share, 4),
            report.partition_use_max
        ),
        format!(
            "units       {} on sale, {} reserved, {} ordered, {} paid, {} free; all held {}, all paid {}",
            found.allocated,
            found.reserved,
            found.ordered,
            found.paid,
            found.free,
            ms(report.all_held_after_ms),
            ms(report.all_paid_after_ms)
        ),
        format!(
            "sold        {}; {rest}; at most {} ms between two steps of the conductor",
            share(found.sold_share, 2),
            report.conductor_period_max_ms
        ),
    ];
    let refusals = report.first_refusals.iter().take(12);
    lines.extend(refusals.map(|first| format!("refused     from {} ms on: {}", first.at_ms, first.limit)));
    lines.push(format!(
        "cost        {:.2} US dollars for what was used",
        report.cost_usd.total
    ));
    lines
}

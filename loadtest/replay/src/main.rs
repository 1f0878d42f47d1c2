//! Contains the program `replay`, which replays one drop from a seed or a plan, or many drops (`replay
//! prove`).
#![recursion_limit = "256"]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use loadtest::audit::Promise;
use replay::draw::Subject;
use replay::plan::Plan;
use replay::prove::{Extent, Sales, Summary, prove};
use replay::run::{Options, run};
use replay::sabotage::Sabotage;
use replay::shrink::shrink;
use replay::situations;
use replay::tokens::Keys;
use serde::Serialize;

/// The largest number of runs for shrinking.
const SHRINK_RUNS: u32 = 3_000;

/// Replays a whole small drop. The same seed gives the same history.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    many: Option<Many>,
    #[command(flatten)]
    one: One,
}

#[derive(Debug, Args)]
struct One {
    /// The drop of this seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The kind of plan to draw from the seed.
    #[arg(long, value_enum, default_value_t)]
    of: Subject,
    /// Replay the plan in this file, as `--save` wrote it.
    #[arg(long, conflicts_with = "seed")]
    plan: Option<PathBuf>,
    /// Put a bug in on purpose.
    #[arg(long)]
    sabotage: Option<Sabotage>,
    /// If the drop breaks a promise, shrink its plan as long as the promise stays broken.
    #[arg(long)]
    shrink: bool,
    /// The largest number of runs for shrinking.
    #[arg(long, default_value_t = SHRINK_RUNS)]
    shrink_runs: u32,
    /// Write the plan to this file.
    #[arg(long)]
    save: Option<PathBuf>,
    /// Print only broken promises.
    #[arg(long)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Many {
    /// Replay one seed after the other, on all cores.
    Prove(Prove),
}

#[derive(Debug, Args)]
struct Prove {
    /// The number of drops; without it as many as the time allows.
    #[arg(long)]
    drops: Option<u64>,
    /// The time limit in minutes; without it until all drops are done.
    #[arg(long)]
    minutes: Option<f64>,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The kind of plan to draw from each seed.
    #[arg(long, value_enum, default_value_t)]
    of: Subject,
    /// Inject a bug on purpose.
    #[arg(long)]
    sabotage: Option<Sabotage>,
    /// Continue after a broken promise.
    #[arg(long)]
    go_on: bool,
    /// The number of threads; without it one for each core.
    #[arg(long)]
    threads: Option<usize>,
    /// The file for the summary.
    #[arg(long, default_value = "target/prove/summary.json")]
    summary: PathBuf,
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let keys = Keys::new()?;
    match cli.many {
        Some(Many::Prove(what)) => many(&what, &keys),
        None => one(&cli.one, &keys),
    }
}

fn one(what: &One, keys: &Arc<Keys>) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let mut plan: Plan = match &what.plan {
        Some(file) => {
            let text = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
            serde_json::from_slice(&text).with_context(|| format!("{} is no plan", file.display()))?
        }
        None => what.of.plan(what.seed),
    };
    let options = Options {
        sabotage: what.sabotage,
        telling: true,
    };
    let mut outcome = run(&plan, keys, options);
    if what.shrink
        && let Some(first) = outcome.violations.first()
    {
        let shrunk = shrink(&plan, keys, options, first.promise, what.shrink_runs);
        writeln!(out, "shrunk in {} runs", shrunk.runs)?;
        plan = shrunk.plan;
        outcome = run(&plan, keys, options);
    }
    if let Some(file) = &what.save {
        write(file, &plan)?;
    }
    if !what.quiet {
        writeln!(out, "{}", serde_json::to_string_pretty(&plan)?)?;
        writeln!(out, "{}", outcome.history)?;
        for (situation, times) in &outcome.situations {
            writeln!(out, "{times:6}  {situation}")?;
        }
        for (fault, times) in &outcome.struck {
            writeln!(out, "{times:6}  fault: {fault}")?;
        }
    }
    let mut sales = Sales::default();
    sales.add(&outcome.findings);
    writeln!(out, "{sales}")?;
    let (steps, ms, broken) = (outcome.steps, outcome.virtual_ms, outcome.violations.len());
    writeln!(out, "{steps} steps, {ms} ms, {broken} broken promises")?;
    for violation in &outcome.violations {
        writeln!(out, "BROKEN {violation}")?;
    }
    Ok(exit_code(outcome.violations.is_empty()))
}

/// Writes a value as JSON.
fn write(file: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    std::fs::write(file, serde_json::to_vec_pretty(value)?)
        .with_context(|| format!("writing {}", file.display()))
}

fn exit_code(kept: bool) -> ExitCode {
    ExitCode::from(u8::from(!kept))
}

fn many(what: &Prove, keys: &Arc<Keys>) -> anyhow::Result<ExitCode> {
    let minutes = what.minutes.or(what.drops.is_none().then_some(2.0));
    let extent = Extent {
        first_seed: what.seed,
        drops: what.drops.unwrap_or(u64::MAX),
        within: minutes.map(|minutes| Duration::from_secs_f64(60.0 * minutes.max(0.0))),
        threads: what
            .threads
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
        stop_at_first: !what.go_on,
        sabotage: what.sabotage,
        subject: what.of,
    };
    let stop = stop_on_ctrl_c()?;
    let bar = what.drops.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    bar.set_style(ProgressStyle::with_template(
        "{elapsed_precise} {bar:30} {pos} drops, {per_sec}, {msg} broken promises",
    )?);
    bar.set_message("0");
    let broken = AtomicU64::new(0);
    let summary = prove(&extent, keys, &stop, &|done, violations| {
        bar.inc(done);
        if violations > 0 {
            let all = broken.fetch_add(violations, Ordering::Relaxed) + violations;
            bar.set_message(all.to_string());
        }
    });
    bar.finish();
    if let Some(folder) = what.summary.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    write(&what.summary, &summary)?;
    tell(&summary, what)?;
    if let Some(first) = summary.failures.first() {
        shrink_into(what, first.seed, first.promise, keys)?;
    }
    Ok(exit_code(summary.violations == 0))
}

fn tell(summary: &Summary, what: &Prove) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for situation in situations::ALL.into_iter().chain(situations::OF_ORDERS) {
        let times = summary.situations.get(situation).copied().unwrap_or(0);
        writeln!(out, "{times:10}  {situation}")?;
    }
    for (fault, times) in &summary.faults {
        writeln!(out, "{times:10}  fault: {fault}")?;
    }
    writeln!(out, "{}", summary.sales)?;
    writeln!(
        out,
        "{} drops (seeds {} to {}) in {:.1} s, {:.1} a second, {} steps, {} faults, {} broken promises; {}",
        summary.drops,
        summary.first_seed,
        summary.last_seed,
        summary.seconds,
        summary.drops_per_second,
        summary.steps,
        summary.faults_injected,
        summary.violations,
        what.summary.display()
    )?;
    let again = again(what);
    for failure in &summary.failures {
        writeln!(
            out,
            "BROKEN {}: {}\n       target/release/replay --seed {}{again}",
            failure.promise, failure.what, failure.seed
        )?;
    }
    Ok(())
}

/// The options of a single replay that repeat a drop of this `prove`.
fn again(what: &Prove) -> String {
    let of = match what.of {
        Subject::Drops => "",
        Subject::Orders => " --of orders",
    };
    let sabotage = what
        .sabotage
        .map(|sabotage| format!(" --sabotage {}", sabotage.name()));
    format!("{of}{}", sabotage.unwrap_or_default())
}

/// Shrinks the first seed that broke a promise, and writes its plan beside the summary.
fn shrink_into(what: &Prove, seed: u64, promise: Promise, keys: &Arc<Keys>) -> anyhow::Result<()> {
    let options = Options {
        sabotage: what.sabotage,
        telling: true,
    };
    let shrunk = shrink(&what.of.plan(seed), keys, options, promise, SHRINK_RUNS).plan;
    let plan = what.summary.with_file_name(format!("seed-{seed}.plan.json"));
    let history = what.summary.with_file_name(format!("seed-{seed}.history.txt"));
    write(&plan, &shrunk)?;
    std::fs::write(&history, run(&shrunk, keys, options).history)?;
    let (history, plan, again) = (history.display(), plan.display(), again(what));
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "shrunk to {history}: target/release/replay --plan {plan}{again}"
    )?;
    Ok(())
}

/// A flag that becomes true when Ctrl-C is pressed.
fn stop_on_ctrl_c() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context("listening for Ctrl-C")?;
    let pressed = Arc::clone(&stop);
    std::thread::spawn(move || {
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            pressed.store(true, Ordering::Relaxed);
        }
    });
    Ok(stop)
}

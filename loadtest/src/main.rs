//! Contains the program `loadtest`, which sends an open-model load to a whole drop, audits it, and writes
//! the report.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use loadtest::audit::audit;
use loadtest::calibrate::Calibrate;
use loadtest::collect::Stores;
use loadtest::compare::Compare;
use loadtest::journal;
use loadtest::progress::say;
use loadtest::report::Report;
use loadtest::room;
use loadtest::run::{Load, Options, run, wall_ms};
use loadtest::stack::{Start, go_first};
use stack_api::StackFile;
use stack_api::faults::{EVERYTHING, Fault, FaultPlan};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Load, audit and report of a drop on the local stack.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a stack, run a drop on it, audit, report, stop the stack.
    Drop {
        #[command(flatten)]
        load: Load,
        /// The folder of the functions' and the stack's binaries.
        #[arg(long, default_value = "target/release")]
        functions_dir: PathBuf,
        /// Faults to inject: names separated by commas, or `everything`.
        #[arg(long, env = "FAULTS", default_value = "")]
        faults: FaultPlan,
        /// The payment gateway's rate, in calls a second: the functions keep to it, and the gateway answers
        /// 429 beyond it. Without it the gateway has no limit, and the functions use the highest rate.
        #[arg(long, env = "GATEWAY_RATE", value_parser = clap::value_parser!(u32).range(1..=1_000))]
        gateway_rate: Option<u32>,
    },
    /// Run a drop on a stack that is already running.
    Run {
        #[command(flatten)]
        load: Load,
        /// The running stack's file.
        #[arg(long, default_value = "target/local/stack.json")]
        stack: PathBuf,
    },
    /// Run a drop with and without pre-scaling, and compare. The stack has control planes and starts
    /// processes as Lambda does.
    Compare(Compare),
    /// Audit the last run again, on the stack of that run.
    Audit {
        /// The running stack's file.
        #[arg(long, default_value = "target/local/stack.json")]
        stack: PathBuf,
        /// The folder of the run.
        #[arg(long, default_value = "target/drop")]
        out: PathBuf,
    },
    /// Make a capacity profile from measured drops.
    Calibrate(Calibrate),
    /// Print the names of all faults, one on each line.
    Faults,
}

/// Options of a run without pre-scaling and without extra time for the drain.
fn options(load: &Load, keys: PathBuf) -> Options {
    Options {
        load: load.clone(),
        keys,
        prescaled: false,
        patience: Duration::ZERO,
    }
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let cli = Cli::parse();
    if matches!(
        cli.command,
        Command::Drop { .. } | Command::Run { .. } | Command::Compare(_)
    ) {
        // Without privileges this fails, which is no error: a stack that this program starts gets a lower
        // priority in any case.
        let _ = go_first();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let done = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(execute(cli.command)));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

async fn execute(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Drop {
            load,
            functions_dir,
            faults,
            gateway_rate,
        } => {
            let rate = gateway_rate.map(|rate| format!("--gateway-rate={rate}"));
            drop_on_own_stack(&load, &functions_dir, &faults, rate.as_slice()).await
        }
        Command::Run { load, stack } => {
            let file = StackFile::load(&stack)?;
            let keys = stack.parent().unwrap_or(Path::new(".")).join("keys");
            let ran = run(&file, &options(&load, keys), stop_signal()?).await?;
            finish(&load, &ran.report)
        }
        Command::Compare(compare) => {
            let comparison = compare.run(stop_signal()?).await?;
            let plot = compare.load.out.join("prescale.svg");
            print(&comparison.table())?;
            print(&format!("  plot        {}", plot.display()))?;
            Ok(comparison.ok)
        }
        Command::Audit { stack, out } => {
            let stores = Stores::new(&StackFile::load(&stack)?);
            let (drop, entries) = journal::read(&out.join("journal.jsonl"))?;
            let findings = audit(&stores.facts(&drop, entries, wall_ms()?).await?);
            print(&serde_json::to_string_pretty(&findings)?)?;
            Ok(findings.kept())
        }
        Command::Calibrate(calibrate) => {
            print(calibrate.run()?.trim_end())?;
            Ok(true)
        }
        Command::Faults => {
            let names = Fault::IN_STACK.map(Fault::name).into_iter().chain([EVERYTHING]);
            print(&names.collect::<Vec<_>>().join("\n"))?;
            Ok(true)
        }
    }
}

async fn drop_on_own_stack(
    load: &Load,
    functions: &Path,
    faults: &FaultPlan,
    further: &[String],
) -> anyhow::Result<bool> {
    let stop = stop_signal()?;
    say("starting the stack");
    let further = [further, &room::arguments(faults)].concat();
    let start = Start {
        functions,
        out: &load.out,
        seed: load.seed,
        faults,
        further: &further,
    };
    let options = options(load, load.out.join("stack/keys"));
    let work = async |file: StackFile| run(&file, &options, stop.clone()).await;
    let ran = start.run(stop.clone(), work).await?;
    finish(load, &ran.report)
}

fn finish(load: &Load, report: &Report) -> anyhow::Result<bool> {
    let page = load.out.join("report.html");
    print(&report.summary())?;
    print(&format!("  report      {}", page.display()))?;
    Ok(report.ok)
}

/// A channel whose value becomes true on Ctrl-C or SIGTERM.
fn stop_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let (send, receive) = watch::channel(false);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        send.send_replace(true);
        // The task keeps the sender, since receivers must not see a closed channel.
        std::future::pending::<()>().await;
    });
    Ok(receive)
}

fn print(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}")?;
    Ok(())
}

//! Open-model load on a whole drop, the audit after it, and the report.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use loadtest::audit::audit;
use loadtest::calibrate::Calibrate;
use loadtest::collect::Stores;
use loadtest::compare::Compare;
use loadtest::progress::say;
use loadtest::report::Report;
use loadtest::run::{Options, run, wall_ms};
use loadtest::stack::{OwnStack, StackFile, go_first, shopper_key};
use loadtest::{journal, world};
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
        /// What goes wrong on purpose: names of faults separated by commas, or `everything`.
        #[arg(long, env = "FAULTS", default_value = "")]
        faults: String,
    },
    /// Run a drop on a stack that is up already.
    Run {
        #[command(flatten)]
        load: Load,
        /// The running stack's file.
        #[arg(long, default_value = "target/local/stack.json")]
        stack: PathBuf,
    },
    /// Run a drop with and without pre-scaling, on control planes and with starts as on Lambda, and compare.
    Compare {
        #[command(flatten)]
        load: Load,
        /// The folder of the functions' and the stack's binaries.
        #[arg(long, default_value = "target/release")]
        functions_dir: PathBuf,
        /// The documents of pre-scaling.
        #[arg(long, default_value = "loadtest/prescale")]
        documents: PathBuf,
        /// The platform's share of a cold start, in ms, which no own machine can measure.
        #[arg(long, default_value_t = 100)]
        platform_ms: u64,
    },
    /// Audit the last run again, on the stack it ran on.
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
    /// Print a shopper's bearer token.
    Token {
        /// The folder of the stack's keys.
        #[arg(long, default_value = "target/local/keys")]
        keys: PathBuf,
        /// The shopper's id: 1 to 12 of a-z and 0-9.
        #[arg(long)]
        shopper: domain::ids::ShopperId,
    },
}

#[derive(Debug, Args)]
struct Load {
    /// The drop file.
    #[arg(long, default_value = "loadtest/drops/default.toml")]
    drop: PathBuf,
    /// How many shoppers, instead of the drop file's own number.
    #[arg(long, env = "SHOPPERS", value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
    shoppers: Option<u32>,
    /// The seed of every draw.
    #[arg(long, env = "SEED", default_value_t = 1)]
    seed: u64,
    /// Where the journal and the report go.
    #[arg(long, default_value = "target/drop")]
    out: PathBuf,
}

impl Load {
    fn options(&self, keys: PathBuf) -> Options {
        Options {
            drop: self.drop.clone(),
            shoppers: self.shoppers,
            seed: self.seed,
            out: self.out.clone(),
            keys,
            prescaled: false,
            patience: Duration::ZERO,
        }
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
        Command::Drop { .. } | Command::Run { .. } | Command::Compare { .. }
    ) {
        // Without privileges the stack steps back instead.
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
        } => drop_on_own_stack(&load, &functions_dir, &faults).await,
        Command::Run { load, stack } => {
            let file = StackFile::load(&stack)?;
            let keys = stack.parent().unwrap_or(Path::new(".")).join("keys");
            let ran = run(&file, &load.options(keys), stop_signal()?).await?;
            finish(&load, &ran.report)
        }
        Command::Compare {
            load,
            functions_dir,
            documents,
            platform_ms,
        } => {
            let compare = Compare {
                drop: load.drop,
                shoppers: load.shoppers,
                seed: load.seed,
                out: load.out,
                functions: functions_dir,
                documents,
                platform_ms,
            };
            let comparison = compare.run(stop_signal()?).await?;
            print(&comparison.table())?;
            print(&format!(
                "  plot        {}",
                compare.out.join("prescale.svg").display()
            ))?;
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
        Command::Token { keys, shopper } => {
            let now_s = wall_ms()?.div_euclid(1_000);
            let headers = world::sign_all(&shopper_key(&keys)?, std::iter::once(shopper.as_str()), now_s)?;
            for header in headers {
                let text = header.to_str()?;
                print(text.strip_prefix("Bearer ").unwrap_or(text))?;
            }
            Ok(true)
        }
    }
}

async fn drop_on_own_stack(load: &Load, functions: &Path, faults: &str) -> anyhow::Result<bool> {
    let mut stop = stop_signal()?;
    std::fs::create_dir_all(&load.out)?;
    let folder = load.out.join("stack");
    say("starting the stack");
    let mut stack = OwnStack::start(
        functions,
        &folder,
        &load.out.join("stack.log"),
        load.seed,
        faults,
        &[],
    )?;
    let options = load.options(folder.join("keys"));
    let started = tokio::select! {
        started = stack.ready() => started,
        _ = stop.wait_for(|stop| *stop) => Err(anyhow::anyhow!("stopped")),
    };
    let outcome = match started {
        Ok(file) => tokio::select! {
            outcome = run(&file, &options, stop) => outcome,
            ended = stack.ended() => Err(anyhow::anyhow!("the stack ended by itself ({ended}); see stack.log")),
        },
        Err(error) => Err(error),
    };
    stack.stop().await;
    finish(load, &outcome?.report)
}

fn finish(load: &Load, report: &Report) -> anyhow::Result<bool> {
    print(&report.summary())?;
    print(&format!(
        "  report      {}",
        load.out.join("report.html").display()
    ))?;
    Ok(report.ok)
}

/// Turns true on Ctrl-C or SIGTERM.
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
        // Receivers must not see a closed channel.
        std::future::pending::<()>().await;
    });
    Ok(receive)
}

fn print(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}")?;
    Ok(())
}

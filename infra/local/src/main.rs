//! `stampede-local`: runs the stack, and signs tokens for it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use stampede_local::faults::FaultPlan;
use stampede_local::runtime::{DEFAULT_CONCURRENCY, OnDemand};
use stampede_local::stack::{Options, Stack, token};
use tokens::Audience;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// As the functions: the machine's time is for what is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The template, running on this machine.
#[derive(Debug, Parser)]
#[command(name = "stampede-local", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the stack until Ctrl-C.
    Up(Up),
    /// Print a bearer token of the running stack.
    Token(Token),
}

#[derive(Debug, clap::Args)]
struct Up {
    /// The SAM template.
    #[arg(long, default_value = "infra/template.yaml")]
    template: PathBuf,
    /// Where the functions' binaries lie.
    #[arg(long, default_value = "target/release")]
    functions_dir: PathBuf,
    /// The stack's own folder: stack.json, logs, keys.
    #[arg(long, default_value = "target/local")]
    out: PathBuf,
    /// Where the project keeps the tools it installs.
    #[arg(long, default_value = ".tools")]
    tools: PathBuf,
    /// Start control planes too, at the baseline of the documents in this folder: `infra/prescale`.
    #[arg(long)]
    control_planes: Option<PathBuf>,
    /// Processes per function at most.
    #[arg(long, default_value_t = DEFAULT_CONCURRENCY)]
    concurrency: usize,
    /// Scale as AWS does: a process at once for every request that finds none idle, with so many ms added to its start for what
    /// only the platform does; and, with control planes, a ledger's server of the size that they hold.
    #[arg(long, value_name = "PLATFORM_MS")]
    as_aws: Option<u64>,
    /// Invocations at the same time at most, all functions together.
    #[arg(long, default_value_t = 64)]
    account_concurrency: usize,
    /// The functions' log level, for instance `warn`; the template's own unless given.
    #[arg(long)]
    function_log: Option<String>,
    /// What the sandbox gateway's random draws follow from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What goes wrong on purpose: names of faults separated by commas, or `everything`.
    #[arg(long, env = "FAULTS", default_value = "")]
    faults: FaultPlan,
    /// What the faults' random draws follow from.
    #[arg(long, default_value_t = 1)]
    fault_seed: u64,
}

#[derive(Debug, clap::Args)]
struct Token {
    /// A shopper's id: 1 to 12 of a-z and 0-9.
    #[arg(long, conflicts_with = "operator", required_unless_present = "operator")]
    shopper: Option<String>,
    /// An operator's name.
    #[arg(long)]
    operator: Option<String>,
    /// The folder of the running stack.
    #[arg(long, default_value = "target/local")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,rustack_sqs_core=warn,dynoxide=error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let done = match Arguments::parse().command {
        Command::Up(up) => run(up),
        Command::Token(wanted) => print_token(&wanted),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(up: Up) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let options = Options {
        template: up.template,
        binaries: up.functions_dir,
        out: up.out,
        tools: up.tools,
        control_planes: up.control_planes,
        concurrency: up.concurrency,
        on_demand: match up.as_aws {
            None => OnDemand::Sparing,
            Some(ms) => OnDemand::AsLambda {
                platform_share: Duration::from_millis(ms),
            },
        },
        account_concurrency: up.account_concurrency,
        function_log: up.function_log,
        seed: up.seed,
        faults: up.faults,
        fault_seed: up.fault_seed,
    };
    runtime.block_on(async move {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let stopping = async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        tokio::pin!(stopping);
        let stack = tokio::select! {
            started = Stack::start(&options) => started?,
            () = &mut stopping => return Ok(()),
        };
        let (file, out) = (&stack.file, options.out.display());
        tracing::info!(api = %file.api_url, control = %file.control_url, "ready; {out}/stack.json tells the rest");
        stopping.await;
        tracing::info!("stopping");
        stack.stop().await;
        Ok(())
    })
}

fn print_token(wanted: &Token) -> Result<()> {
    let (audience, subject) = match (&wanted.shopper, &wanted.operator) {
        (Some(shopper), _) => {
            let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            if !(1..=12).contains(&shopper.len()) || !shopper.chars().all(valid) {
                bail!("a shopper's id is 1 to 12 of a-z and 0-9");
            }
            (Audience::Shopper, shopper)
        }
        (None, Some(operator)) => (Audience::Operator, operator),
        (None, None) => bail!("whose token?"),
    };
    let token = token(&wanted.out, audience, subject)?;
    std::io::Write::write_all(&mut std::io::stdout(), format!("{token}\n").as_bytes())?;
    Ok(())
}

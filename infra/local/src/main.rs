//! `stampede-local`: runs the stack, and signs tokens for it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use domain::ids::ShopperId;
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
    Up(Options),
    /// Print a bearer token of the running stack.
    Token(Token),
}

#[derive(Debug, clap::Args)]
struct Token {
    /// A shopper's id: 1 to 12 of a-z, 0-9 and -.
    #[arg(long, conflicts_with = "operator", required_unless_present = "operator")]
    shopper: Option<ShopperId>,
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
        Command::Up(options) => run(&options),
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

fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
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
            started = Stack::start(options) => started?,
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
        (Some(shopper), _) => (Audience::Shopper, shopper.as_str()),
        (None, Some(operator)) => (Audience::Operator, operator.as_str()),
        (None, None) => bail!("whose token?"),
    };
    let token = token(&wanted.out, audience, subject)?;
    std::io::Write::write_all(&mut std::io::stdout(), format!("{token}\n").as_bytes())?;
    Ok(())
}

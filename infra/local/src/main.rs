//! Contains the program `stampede-local`, which runs the stack and signs tokens for it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::builder::NonEmptyStringValueParser;
use clap::{Parser, Subcommand};
use stampede_local::child::Spawner;
use stampede_local::control_planes::proxy::serve;
use stampede_local::postgres::Postgres;
use stampede_local::stack::{Options, Stack, token};
use stampede_local::workdir::Place;
use tokens::Audience;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The functions use the same allocator. It keeps the stack's CPU time low, which the measured functions on the same
/// machine would otherwise lose.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs the SAM template on this machine, and signs tokens for it.
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
    /// Run a proxy of Lambda's control plane of an emulated account until Ctrl-C, for deployments to that account.
    ControlPlane(Proxy),
    /// Run the stack's PostgreSQL server alone until Ctrl-C, for deployments to an emulated account; postgres.json has
    /// its address.
    Postgres(Alone),
}

#[derive(Debug, clap::Args)]
struct Token {
    /// A shopper's subject, of any form: a name, a UUID, an e-mail address.
    #[arg(long, conflicts_with = "operator", required_unless_present = "operator",
        value_parser = NonEmptyStringValueParser::new())]
    shopper: Option<String>,
    /// An operator's name.
    #[arg(long)]
    operator: Option<String>,
    /// The folder of the running stack.
    #[arg(long, default_value = "target/local")]
    out: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Proxy {
    /// The address of the proxy.
    #[arg(long)]
    listen: SocketAddr,
    /// The account's address.
    #[arg(long)]
    account: String,
    /// The alias that carries provisioned concurrency.
    #[arg(long, default_value = "live")]
    alias: String,
}

#[derive(Debug, clap::Args)]
struct Alone {
    /// The server's own folder.
    #[arg(long)]
    out: PathBuf,
    /// The folder of the project's installed tools.
    #[arg(long, default_value = ".tools")]
    tools: PathBuf,
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
        Command::ControlPlane(proxy) => run_proxy(&proxy),
        Command::Postgres(alone) => run_postgres(&alone),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs `work`, which gets a future that completes at Ctrl-C or SIGTERM.
fn until_stopped<W>(work: W) -> Result<()>
where
    W: AsyncFnOnce(Pin<&mut dyn Future<Output = ()>>) -> Result<()>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let stopping = pin!(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        work(stopping).await
    })
}

fn run(options: &Options) -> Result<()> {
    until_stopped(async |mut stopping| {
        let stack = tokio::select! {
            started = Stack::start(options) => started?,
            () = &mut stopping => return Ok(()),
        };
        let (file, out) = (&stack.file, options.out.display());
        tracing::info!(api = %file.api_url, control = %file.control_url, mails = %file.mails.display(), "the stack is ready; {out}/stack.json has the addresses");
        stopping.await;
        tracing::info!("a stop signal has arrived; the stack ends its processes");
        stack.stop().await;
        Ok(())
    })
}

fn run_proxy(proxy: &Proxy) -> Result<()> {
    until_stopped(async |stopping| {
        let listener = TcpListener::bind(proxy.listen).await?;
        tracing::info!(listen = %proxy.listen, "the proxy accepts connections");
        tokio::select! {
            () = serve(listener, &proxy.account, &proxy.alias) => {}
            () = stopping => {}
        }
        Ok(())
    })
}

fn run_postgres(alone: &Alone) -> Result<()> {
    until_stopped(async |stopping| {
        let place = Place::take(&alone.out)?;
        let spawner = Spawner::start()?;
        let mut postgres = Postgres::start(place.root(), &place.logs(), &alone.tools, &spawner).await?;
        let file = place.root().join("postgres.json");
        let written = serde_json::to_vec(&postgres.parameters())?;
        // Another process waits for the file and reads it immediately, so the file gets its name when it is complete.
        let draft = place.root().join("postgres.json.new");
        std::fs::write(&draft, written)?;
        std::fs::rename(&draft, &file)?;
        tracing::info!(file = %file.display(), "PostgreSQL accepts connections; the file has its address");
        stopping.await;
        std::fs::remove_file(&file)?;
        postgres.stop().await;
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

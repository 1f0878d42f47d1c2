//! `sandbox-gateway`: the gateway as a program of its own, for a deployment that reaches it over this machine's network.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use clap::Parser;
use sandbox_gateway::{Options, serve};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// A payment gateway to test against. Prints its URL once it answers, and runs until it gets SIGINT or SIGTERM.
#[derive(Debug, Parser)]
#[command(name = "sandbox-gateway", version)]
struct Arguments {
    /// Address and port; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The file that the log of what happened to money is appended to.
    #[arg(long)]
    log: PathBuf,
    /// The secret key that callers show. `POST /sandbox/key` replaces it.
    #[arg(long, default_value = "sk_test_local")]
    key: String,
    /// What ids and faults are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let Arguments {
            listen,
            log,
            key,
            seed,
        } = arguments;
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("listening on {listen}"))?;
        // A caller that connects from now on is served: the listener queues it.
        writeln!(std::io::stdout(), "http://{}", listener.local_addr()?)?;
        let options = Options::new(key, &log, seed, Arc::new(now_millis));
        let stopping = async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        serve(listener, options, stopping)
            .await
            .with_context(|| format!("serving with the log {}", log.display()))
    })
}

fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

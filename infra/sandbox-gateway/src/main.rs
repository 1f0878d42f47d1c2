//! Contains the program `sandbox-gateway`: the gateway as a separate process, for a deployment that reaches
//! it over this machine's network.

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

/// A payment gateway for tests. Prints its URL when it answers, and runs until SIGINT or SIGTERM.
#[derive(Debug, Parser)]
#[command(name = "sandbox-gateway", version)]
struct Arguments {
    /// Address and port; port 0 selects a free port.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The file to which the log of money movements is appended.
    #[arg(long)]
    log: PathBuf,
    /// The secret key of callers. `POST /sandbox/key` replaces it.
    #[arg(long, default_value = "sk_test_local")]
    key: String,
    /// The seed of ids and faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the sandbox gateway ended: {error:#}");
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
        // Callers can connect from now on, since the listener queues connections.
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

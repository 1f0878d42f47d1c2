//! Injects crashes of PostgreSQL, which restarts with its data: repeated short crashes, or one long outage.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::Faults;
use super::chance::Chance;
use crate::postgres::Postgres;
use stack_api::faults::Fault;

/// The time between two crashes, in milliseconds: from, to.
pub const RUNS_MS: (u64, u64) = (4_000, 9_000);
/// How long the server stays down, without its recovery time, in milliseconds: from, to.
pub const AWAY_MS: (u64, u64) = (200, 2_500);

/// Stops the server once, a few seconds after the start, for the planned time or until the faults end. The server runs
/// when this returns.
pub(super) async fn outage(faults: Arc<Faults>, postgres: Arc<Mutex<Postgres>>) {
    let Some(chance) = Chance::of(&faults.plan, faults.seed, Fault::PostgresOutage, 0) else {
        return;
    };
    let lasts = Duration::from_secs(faults.plan.postgres_outage_seconds.into());
    tokio::select! {
        () = tokio::time::sleep(chance.pause(RUNS_MS)) => {}
        () = faults.over() => return,
    }
    let away = async {
        tokio::select! {
            () = tokio::time::sleep(lasts) => {}
            () = faults.over() => {}
        }
    };
    match postgres.lock().await.crash_and_restart(away).await {
        Ok(()) => faults.note(Fault::PostgresOutage, "outage"),
        Err(error) => {
            tracing::error!("PostgreSQL stays down; it cannot start after the injected outage: {error:#}")
        }
    }
}

/// Crashes the server repeatedly until the faults end. Unless a restart fails, the server runs when this
/// returns, and whenever another task holds the lock.
pub(super) async fn crash(faults: Arc<Faults>, postgres: Arc<Mutex<Postgres>>) {
    let Some(chance) = Chance::of(&faults.plan, faults.seed, Fault::PostgresRestart, 0) else {
        return;
    };
    loop {
        tokio::select! {
            () = tokio::time::sleep(chance.pause(RUNS_MS)) => {}
            () = faults.over() => return,
        }
        let mut postgres = postgres.lock().await;
        if !faults.is_on() {
            return;
        }
        let away = tokio::time::sleep(chance.pause(AWAY_MS));
        match postgres.crash_and_restart(away).await {
            Ok(()) => faults.note(Fault::PostgresRestart, "crash"),
            Err(error) => {
                tracing::error!("PostgreSQL is down: its restart after an injected crash failed: {error:#}")
            }
        }
    }
}

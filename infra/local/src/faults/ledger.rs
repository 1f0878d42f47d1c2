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
    if !faults.plan.has(Fault::PostgresOutage) {
        return;
    }
    let chance = Chance::new(faults.seed, Fault::PostgresOutage, 0);
    let (from, to) = RUNS_MS;
    let lasts = Duration::from_secs(faults.plan.postgres_outage_seconds.into());
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(chance.between(from, to))) => {}
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
    if !faults.plan.has(Fault::PostgresRestart) {
        return;
    }
    let chance = Chance::new(faults.seed, Fault::PostgresRestart, 0);
    let pause = |(from, to)| Duration::from_millis(chance.between(from, to));
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause(RUNS_MS)) => {}
            () = faults.over() => return,
        }
        let mut postgres = postgres.lock().await;
        if !faults.is_on() {
            return;
        }
        match postgres
            .crash_and_restart(tokio::time::sleep(pause(AWAY_MS)))
            .await
        {
            Ok(()) => faults.note(Fault::PostgresRestart, "crash"),
            Err(error) => {
                tracing::error!("PostgreSQL is down: its restart after an injected crash failed: {error:#}")
            }
        }
    }
}

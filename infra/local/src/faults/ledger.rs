//! PostgreSQL crashes and comes back with its data, again and again or once after a long time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::Faults;
use super::chance::Chance;
use crate::postgres::Postgres;
use stack_api::faults::Fault;

/// How long the server runs between two crashes, in milliseconds: from, to.
pub const RUNS_MS: (u64, u64) = (4_000, 9_000);
/// How long it stays away, its own recovery apart, in milliseconds: from, to.
pub const AWAY_MS: (u64, u64) = (200, 2_500);

/// Takes the server away once, a few seconds after the start, for as long as the plan says or until the faults are over; it runs when this
/// returns.
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
        Err(error) => tracing::error!("PostgreSQL did not come back: {error:#}"),
    }
}

/// Crashes the server again and again until the faults are over; it runs when this returns. Whoever holds the lock finds it
/// running, too.
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
            Err(error) => tracing::error!("PostgreSQL did not come back: {error:#}"),
        }
    }
}

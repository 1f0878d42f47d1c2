//! PostgreSQL crashes and comes back with its data.

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
        match postgres.crash_and_restart(pause(AWAY_MS)).await {
            Ok(()) => faults.note(Fault::PostgresRestart, "crash"),
            Err(error) => tracing::error!("PostgreSQL did not come back: {error:#}"),
        }
    }
}

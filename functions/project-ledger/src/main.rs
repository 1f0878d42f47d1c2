//! Wiring of the function `project-ledger`.

use std::process::ExitCode;

use ledger::PostgresLedger;
use project_ledger::Projection;
use startup::edge::SystemEdge;

fn main() -> ExitCode {
    startup::serve_events(|config| {
        let ledger = config.made("DATABASE_URL", PostgresLedger::new)?;
        Some(Projection::new(ledger, SystemEdge))
    })
}

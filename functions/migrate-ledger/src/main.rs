//! Wiring of the function `migrate-ledger`.

use std::process::ExitCode;

use ledger::{Address, Database, Role, Roots, SignIn};
use migrate_ledger::Migration;
use startup::edge::SystemEdge;

fn main() -> ExitCode {
    startup::serve_events(|config| {
        let address = config.made("DATABASE_URL", str::parse::<Address>);
        let roots = config.made("DATABASE_ROOTS", str::parse::<Roots>);
        let writer = config.made("LEDGER_ROLE", str::parse::<Role>);
        let sign_in = config.made("DATABASE_SIGN_IN", |how| match how {
            "none" => Ok(SignIn::nothing()),
            _ => Err("neither `secret` nor `none`"),
        });
        let database = Database::new(address?, roots?, sign_in?);
        Some(Migration::new(database, writer?, SystemEdge))
    })
}

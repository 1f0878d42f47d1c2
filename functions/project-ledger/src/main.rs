//! Starts the function `project-ledger` with its settings and its adapters.

use std::process::ExitCode;

use ledger::{Address, Database, PostgresLedger, Roots, SignIn};
use project_ledger::Projection;
use startup::aws;
use startup::runtime::SystemRuntime;

fn main() -> ExitCode {
    startup::serve_events(|config| {
        let address = config.made("DATABASE_URL", str::parse::<Address>);
        let roots = config.made("DATABASE_ROOTS", str::parse::<Roots>);
        let (keys, region) = (aws::credentials(config), config.text("AWS_REGION"));
        let sign_in = config.made("DATABASE_SIGN_IN", |how| match how {
            "iam" => Ok(SignIn::iam(keys, region, SystemRuntime)),
            "none" => Ok(SignIn::nothing()),
            _ => Err("neither `iam` nor `none`"),
        });
        let ledger = PostgresLedger::new(Database::new(address?, roots?, sign_in?));
        Some(Projection::new(ledger, SystemRuntime))
    })
}

//! Starts the function `migrate-ledger` with its settings and its adapters.

use std::process::ExitCode;

use ledger::{Address, Database, Role, Roots, SignIn};
use migrate_ledger::Migration;
use secrets::{CachedSecret, SecretName, SecretsManager};
use startup::aws;
use startup::runtime::SystemRuntime;

fn main() -> ExitCode {
    startup::serve_events(|config| {
        let address = config.made("DATABASE_URL", str::parse::<Address>);
        let roots = config.made("DATABASE_ROOTS", str::parse::<Roots>);
        let writer = config.made("LEDGER_ROLE", str::parse::<Role>);
        let (keys, region) = (aws::credentials(config), config.text("AWS_REGION"));
        let service = aws::service(config, secrets::ENDPOINT_VARIABLE);
        let secret = config.optional("DATABASE_SECRET");
        let sign_in = config.made("DATABASE_SIGN_IN", |how| match how {
            "iam" => Ok(SignIn::iam(keys, region, SystemRuntime)),
            "secret" => {
                let name: SecretName = secret
                    .ok_or("`secret` needs DATABASE_SECRET")?
                    .parse()
                    .map_err(|_| "DATABASE_SECRET is no name of a secret")?;
                let password = CachedSecret::new(SecretsManager::new(&service, name), SystemRuntime);
                Ok(SignIn::secret(password))
            }
            "none" => Ok(SignIn::nothing()),
            _ => Err("neither `iam` nor `secret` nor `none`"),
        });
        let database = Database::new(address?, roots?, sign_in?);
        Some(Migration::new(database, writer?, SystemRuntime))
    })
}

//! Wiring of the function `project-ledger`.

use std::process::ExitCode;

use aws_lambda_events::sqs::SqsEvent;
use lambda_runtime::LambdaEvent;
use ledger::PostgresLedger;
use startup::config::Config;

fn main() -> ExitCode {
    startup::run(|| async {
        let mut config = Config::from_env();
        let ledger = config.made("DATABASE_URL", |url| PostgresLedger::new(url));
        config.finish()?;
        let Some(ledger) = ledger else {
            return Err("no database".into());
        };
        startup::serve_events(move |event: LambdaEvent<SqsEvent>| {
            let ledger = ledger.clone();
            async move { Ok(project_ledger::handle(&ledger, event.payload).await) }
        })
        .await
    })
}

//! Wiring of the function `project-ledger`.

use std::process::ExitCode;
use std::sync::Arc;

use aws_lambda_events::sqs::SqsEvent;
use domain::time::Timestamp;
use lambda_runtime::LambdaEvent;
use ledger::PostgresLedger;
use project_ledger::Projection;
use startup::config::Config;
use startup::edge::SystemEdge;

fn main() -> ExitCode {
    startup::run(|| async {
        let mut config = Config::from_env();
        let ledger = config.made("DATABASE_URL", PostgresLedger::new);
        config.finish()?;
        let Some(ledger) = ledger else {
            return Err("no ledger".into());
        };

        let projection = Arc::new(Projection {
            ledger,
            edge: SystemEdge,
        });
        startup::serve_events(move |event: LambdaEvent<SqsEvent>| {
            let projection = Arc::clone(&projection);
            async move {
                let deadline = i64::try_from(event.context.deadline).unwrap_or(i64::MAX);
                Ok(projection
                    .project(&event.payload, Timestamp::from_millis(deadline))
                    .await?)
            }
        })
        .await
    })
}

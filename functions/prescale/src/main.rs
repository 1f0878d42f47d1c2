//! Wiring of the function `prescale`.
// The SDK's futures, nested in a run's, are deeper than the compiler's usual bound.
#![recursion_limit = "256"]

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use control_plane::{AwsAccount, Clients, Names, Patience};
use domain::time::Timestamp;
use dynamodb::{OrderStore, PrescaleStore, Tables};
use lambda_runtime::LambdaEvent;
use ports::edge::Edge as _;
use prescale::{Event, Prescaler, timeout_within_lease};
use startup::config::Config;
use startup::edge::SystemEdge;

fn main() -> ExitCode {
    startup::run(|| async {
        let mut config = Config::from_env();
        let client = startup::aws::dynamodb(&mut config);
        let clients = Clients::new(
            |service| startup::aws::service(&mut config, service.endpoint_variable()),
            Patience::default(),
        );
        let tables = Tables {
            // Only to see whether orders are open.
            orders: config.text("ORDERS_TABLE"),
            prescale: config.text("PRESCALE_TABLE"),
            ..Tables::default()
        };
        let documents = config.text("DOCUMENTS_PATH");
        config.made("TIMEOUT_SECONDS", timeout_within_lease);
        let names = config.made("NAMES", Names::from_json);
        let names = config.finish_with(names)?;

        let orders = OrderStore::new(&client, &tables);
        let prescaler = Arc::new(Prescaler {
            account: AwsAccount::new(clients, names, &documents, orders),
            store: PrescaleStore::new(&client, &tables),
            edge: SystemEdge,
        });
        startup::serve_events(move |event: LambdaEvent<Event>| {
            let prescaler = Arc::clone(&prescaler);
            async move {
                // The request id alone could come again with an invocation that is repeated.
                let holder = format!("{}.{:016x}", event.context.request_id, SystemEdge.random());
                let deadline = i64::try_from(event.context.deadline).unwrap_or(i64::MAX);
                let deadline = Timestamp::from_millis(deadline);
                let outcome = prescaler.run(event.payload.mode, &holder, deadline).await?;
                // Past the log's own form: CloudWatch reads metrics only from a line that is theirs alone.
                writeln!(std::io::stdout().lock(), "{}", outcome.metrics()).ok();
                Ok(outcome)
            }
        })
        .await
    })
}

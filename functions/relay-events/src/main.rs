//! Wiring of the function `relay-events`.
// The SDK's futures, nested in a batch's, are deeper than the compiler's usual bound.
#![recursion_limit = "256"]

use std::process::ExitCode;
use std::sync::Arc;

use domain::time::Timestamp;
use lambda_runtime::LambdaEvent;
use queues::{QueueUrls, SqsQueues};
use relay_events::{Relay, StreamBatch};
use startup::config::Config;
use startup::edge::SystemEdge;

fn main() -> ExitCode {
    startup::run(|| async {
        let mut config = Config::from_env();
        let client = startup::aws::sqs(&mut config);
        let urls = QueueUrls {
            payments: Some(config.text("PAYMENTS_QUEUE_URL")),
            ledger: Some(config.text("LEDGER_QUEUE_URL")),
            parked: Some(config.text("PARKED_QUEUE_URL")),
        };
        config.finish()?;

        let relay = Arc::new(Relay {
            queues: SqsQueues::new(&client, urls),
            edge: SystemEdge,
        });
        startup::serve_events(move |event: LambdaEvent<StreamBatch>| {
            let relay = Arc::clone(&relay);
            async move {
                let deadline = i64::try_from(event.context.deadline).unwrap_or(i64::MAX);
                Ok(relay
                    .relay(&event.payload, Timestamp::from_millis(deadline))
                    .await?)
            }
        })
        .await
    })
}

//! Wiring of the function `sweep-orders`.
// The SDK's futures, nested in a step's, are deeper than the compiler's usual bound.
#![recursion_limit = "256"]

use std::process::ExitCode;
use std::sync::Arc;

use domain::time::Timestamp;
use dynamodb::{OrderStore, Tables};
use lambda_runtime::LambdaEvent;
use queues::{QueueUrls, SqsQueues};
use serde::de::IgnoredAny;
use startup::config::Config;
use startup::edge::SystemEdge;
use sweep_orders::Sweeper;

fn main() -> ExitCode {
    startup::run(|| async {
        let mut config = Config::from_env();
        let client = startup::aws::dynamodb(&mut config);
        let sqs = startup::aws::sqs(&mut config);
        let tables = Tables {
            orders: config.text("ORDERS_TABLE"),
            stock: config.text("STOCK_TABLE"),
            purchases: config.text("PURCHASES_TABLE"),
            ..Tables::default()
        };
        let urls = QueueUrls {
            payments: Some(config.text("PAYMENTS_QUEUE_URL")),
            ..QueueUrls::default()
        };
        config.finish()?;
        let sweeper = Arc::new(Sweeper {
            orders: OrderStore::new(&client, &tables),
            queues: SqsQueues::new(&sqs, urls),
            edge: SystemEdge,
        });
        startup::serve_events(move |event: LambdaEvent<IgnoredAny>| {
            let sweeper = Arc::clone(&sweeper);
            async move {
                let deadline = i64::try_from(event.context.deadline).unwrap_or(i64::MAX);
                Ok(sweeper.run(Timestamp::from_millis(deadline)).await)
            }
        })
        .await
    })
}

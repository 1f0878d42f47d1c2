//! Wiring of the function `sweep-orders`.
// The SDK's futures, nested in a run's, are deeper than the compiler's usual bound.
#![recursion_limit = "256"]

use std::process::ExitCode;
use std::sync::Arc;

use domain::time::Timestamp;
use dynamodb::{OrderStore, Tables};
use lambda_runtime::LambdaEvent;
use ports::edge::Edge as _;
use queues::{QueueUrls, SqsQueues};
use startup::config::Config;
use startup::edge::SystemEdge;
use sweep_orders::Sweeper;
use sweep_orders::schedule::{Tick, until};

fn main() -> ExitCode {
    startup::run(|| async {
        let mut config = Config::from_env();
        let (dynamodb, sqs) = (
            startup::aws::dynamodb(&mut config),
            startup::aws::sqs(&mut config),
        );
        // Putting a look off moves no stock, so this function knows no other table.
        let tables = Tables {
            orders: config.text("ORDERS_TABLE"),
            ..Tables::default()
        };
        let urls = QueueUrls {
            payments: Some(config.text("PAYMENTS_QUEUE_URL")),
            ..QueueUrls::default()
        };
        config.finish()?;

        let sweeper = Arc::new(Sweeper {
            orders: OrderStore::new(&dynamodb, &tables),
            queues: SqsQueues::new(&sqs, urls),
            edge: SystemEdge,
        });
        startup::serve_events(move |event: LambdaEvent<Tick>| {
            let sweeper = Arc::clone(&sweeper);
            async move {
                let deadline = i64::try_from(event.context.deadline).unwrap_or(i64::MAX);
                let until = until(event.payload, SystemEdge.now(), Timestamp::from_millis(deadline));
                sweeper.run(until).await;
                Ok(())
            }
        })
        .await
    })
}
